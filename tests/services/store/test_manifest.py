import json

import pytest

from cxr_cli.data.files import describe_input
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.store.manifest import Preprocessing, read_manifest

MANIFEST = {
    "schema_version": 1,
    "command": "preprocess",
    "recipe": {
        "image_size": [256, 320],
        "standardize": "featurewise",
        "interpolation": "area",
        "dtype": "uint8",
        "format": "npy",
        "statistics": {"mean": 128.5, "std": 60.25, "n_images": 10, "n_pixels": 819200},
    },
    "pathologies": ["Mass", "Hernia"],
}


def test_everything_of_the_manifest_that_concerns_a_model(tmp_path):
    path = tmp_path / "preprocess.json"
    path.write_text(json.dumps(MANIFEST))
    expected = Preprocessing("featurewise", 128.5, 60.25, "area", describe_input(path))
    for given in (path, tmp_path):
        found = read_manifest(given)
        assert found.preprocessing == expected
        assert found.image_size == (256, 320)
        assert found.pathologies == ("Mass", "Hernia")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"recipe": None}, "says nothing of how images were prepared"),
        ({"recipe": {"image_size": [320, 320]}}, "is not the manifest of a store ('standardize')"),
        ({"recipe": MANIFEST["recipe"] | {"image_size": 320}}, "is not the manifest of a store"),
    ],
)
def test_what_is_no_manifest(tmp_path, change, text):
    path = tmp_path / "preprocess.json"
    path.write_text(json.dumps(MANIFEST | change))
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert text in str(caught.value) and str(path) in str(caught.value)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_manifest(tmp_path / "missing.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        read_manifest(tmp_path / "x.json")


def test_impossible_schemes():
    with pytest.raises(UsageError, match="standardize='global'"):
        Preprocessing("global")
    with pytest.raises(UsageError, match="needs mean and standard deviation"):
        Preprocessing("featurewise", mean=3.0)
