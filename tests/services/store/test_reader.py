import json

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import InputError
from cxr_cli.services.images.prepare import prepare_image
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.reader import open_store
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import Statistics

SIZE = (24, 32)
ROWS = [3, 0, 5]


@pytest.fixture(scope="module")
def few(tmp_path_factory, sample_data):
    """Return a table of the first rows of the sample data."""
    path = tmp_path_factory.mktemp("few") / "few.csv"
    lines = (sample_data / "train-small.csv").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:9]))
    return read_labels(path)


@pytest.fixture
def stored(few, sample_data, tmp_path):
    def make(**recipe):
        options = Options(Recipe(image_size=SIZE, **recipe))
        preprocess(few, sample_data / "images-small", tmp_path / "store", options, workers=1)
        return open_store(tmp_path / "store")

    return make


def directly(few, sample_data, recipe):
    """Prepare the same images without a store."""
    names = [few.images[row] for row in ROWS]
    return np.stack([prepare_image(str(sample_data / "images-small" / name), recipe)[0] for name in names])


SCHEMES = [
    {"standardize": "samplewise"},
    {"standardize": "featurewise", "statistics": Statistics(120.0, 60.0, 8, 1000)},
    {"standardize": "imagenet"},
    {"standardize": "none"},
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["standardize"])
def test_a_float_store_gives_back_what_a_direct_computation_gives(stored, few, sample_data, scheme):
    store = stored(**scheme)
    expected = directly(few, sample_data, Recipe(image_size=SIZE, **scheme))
    batch = store.batch(ROWS)
    np.testing.assert_array_equal(batch, expected)
    assert batch.dtype == np.float32
    assert batch.shape == (3, *store.image_shape)
    assert batch.flags.writeable


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["standardize"])
@pytest.mark.parametrize("kind", ["npy", "png"])
def test_uint8_levels_are_standardized_on_reading(stored, few, sample_data, scheme, kind):
    store = stored(dtype="uint8", format=kind, interpolation="nearest", **scheme)
    # Nearest gives whole grey levels, so nothing is lost by storing them.
    recipe = Recipe(image_size=SIZE, interpolation="nearest", **scheme)
    np.testing.assert_allclose(store.batch(ROWS), directly(few, sample_data, recipe), atol=2e-6)


def test_rounding_costs_little_more_than_half_a_grey_level(stored, few, sample_data):
    store = stored(dtype="uint8")
    direct = directly(few, sample_data, Recipe(image_size=SIZE))
    deviations = store.index["resized_std"].to_numpy()[ROWS]
    # Half a level by rounding each pixel, the rest by the mean and deviation of so few (768) rounded pixels.
    assert (np.abs(store.batch(ROWS) - direct).max(axis=(1, 2)) <= 0.75 / deviations).all()


def test_labels_and_index_follow_the_table(stored, few):
    store = stored()
    np.testing.assert_array_equal(store.labels, few.labels)
    assert store.index["image"].tolist() == few.images
    assert store.index["patient_id"].tolist() == few.frame["patient_id"].tolist()
    assert store.pathologies == few.pathologies
    assert len(store) == 8
    assert store.batch(slice(2, 4)).shape == (2, *SIZE)


def test_errors(stored, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_store(tmp_path / "nothing")
    store = stored()
    manifest = store.folder / "preprocess.json"
    index = store.folder / "index.csv"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="7 lines and the manifest counts 8"):
        open_store(store.folder)
    index.write_text("".join(lines))
    np.save(store.folder / "images.npy", np.zeros((2, *SIZE), np.float32))
    with pytest.raises(InputError, match="is not the array of 8 images"):
        open_store(store.folder).batch([0])
    document = json.loads(manifest.read_text())
    del document["recipe"]
    manifest.write_text(json.dumps(document))
    with pytest.raises(InputError, match="is not the manifest of a store"):
        open_store(store.folder)
