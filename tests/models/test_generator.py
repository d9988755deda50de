"""The fast engine against Keras' own ImageDataGenerator, and the engine that runs it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from cxr_cli.choices import Standardization, choices
from cxr_cli.data.labels import read_labels
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.reader import open_store
from cxr_cli.services.store.recipe import Recipe

pytestmark = pytest.mark.slow
KERAS_INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "lanczos"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = ["Image,Mass,PatientId"]
    for patient in range(1, 8):
        name = f"{patient:08d}_000.png"
        pixels = rng.integers(0, 256, (90 + patient, 70), dtype=np.uint8)
        image = Image.fromarray(pixels)
        if patient == 3:  # as some of NIH's images are
            alpha = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
            image = Image.fromarray(np.stack([pixels, pixels, pixels, alpha], axis=-1))
        if patient == 4:
            image = image.convert("P")
        image.save(folder / "images" / name)
        rows.append(f"{name},0,{patient}")
    (folder / "images" / "00000006_000.png").write_text("text")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return read_labels(folder / "labels.csv"), folder / "images"


def both(images, tmp_path, recipe, **options):
    fast = preprocess(*images, tmp_path / "fast", Options(recipe, **options))
    keras = preprocess(*images, tmp_path / "keras", Options(recipe, engine="keras", **options))
    return fast, keras


@pytest.mark.parametrize("interpolation", KERAS_INTERPOLATIONS)
@pytest.mark.parametrize("scheme", [name for name in choices(Standardization) if name != "torchxrayvision"])
def test_engines_agree(images, tmp_path, scheme, interpolation):
    recipe = Recipe((32, 48), scheme, interpolation)
    fast, keras = both(images, tmp_path, recipe, fit_statistics=scheme == "featurewise")
    one, other = np.load(fast.store), np.load(keras.store)
    assert one.shape == other.shape
    assert fast.n_failed == keras.n_failed == 1
    # 1e-5 of a standard deviation; grey levels up to 255 are equal to float32's rounding.
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-5)
    pd.testing.assert_frame_equal(pd.read_csv(fast.index), pd.read_csv(keras.index))
    assert open_store(keras.output).batch([0]).shape == open_store(fast.output).batch([0]).shape


def test_statistics_are_those_that_keras_fits(images, tmp_path):
    recipe = Recipe((32, 48), "featurewise", "nearest")
    fitted = preprocess(*images, tmp_path / "out", Options(recipe, fit_statistics=True))
    plain = preprocess(*images, tmp_path / "plain", Options(Recipe((32, 48), "none", "nearest")))
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        featurewise_center=True, featurewise_std_normalization=True
    )
    levels = np.load(plain.store)[..., None]
    generator.fit(levels)
    assert fitted.recipe.statistics.mean == pytest.approx(generator.mean.item(), rel=1e-6)
    assert fitted.recipe.statistics.std == pytest.approx(generator.std.item(), rel=1e-5)
    np.testing.assert_allclose(np.load(fitted.store), generator.standardize(levels)[..., 0], atol=1e-5)


@pytest.mark.parametrize("scheme", ["samplewise", "featurewise", "imagenet"])
def test_engines_agree_on_all_real_images(real_data, tmp_path, scheme):
    images = (read_labels(real_data / "nih" / "train-small.csv"), real_data / "nih" / "images-small")
    recipe = Recipe((320, 320), scheme, "nearest")
    fast, keras = both(images, tmp_path, recipe, fit_statistics=scheme == "featurewise")
    assert fast.n_done == keras.n_done == 39
    difference = np.abs(np.load(fast.store) - np.load(keras.store)).max()
    assert difference < 1e-5


def test_preprocess_input_is_densenets(images, tmp_path):
    recipe = Recipe((32, 48), "imagenet", "nearest")
    made = np.load(preprocess(*images, tmp_path / "out", Options(recipe)).store)
    plain = Recipe((32, 48), "none", "nearest")
    levels = np.load(preprocess(*images, tmp_path / "plain", Options(plain)).store)
    colour = np.repeat(levels[..., None], 3, axis=-1)
    np.testing.assert_allclose(made, tf.keras.applications.densenet.preprocess_input(colour), atol=1e-6)
