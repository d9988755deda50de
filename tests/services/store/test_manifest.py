import json

import pytest

from cxr_cli.data.files import InputFile, Outputs, describe_input
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.store.manifest import Preprocessing, StoreManifest
from cxr_cli.services.store.standardization import Statistics
from tests.stores import manifest_document


def written(folder, document):
    path = folder / "preprocess.json"
    path.write_text(json.dumps(document))
    return path


def test_a_manifest_of_the_first_version(tmp_path):
    path = written(tmp_path, manifest_document())
    for given in (path, tmp_path, str(path)):
        found = StoreManifest.read(given)
        assert found.preprocessing == Preprocessing("featurewise", 128.5, 60.25, "area", describe_input(path))
        assert found.image_size == (256, 320)
        assert found.pathologies == ("Mass", "Hernia")
        assert found.table == InputFile("train.csv", 1234, "ab" * 32)
        assert found.recipe.statistics == Statistics(128.5, 60.25, 10, 819200)
        assert (found.shape, found.n_done, found.store) == ((10, 256, 320), 10, "images.npy")


def test_what_is_written_is_read_back(tmp_path):
    given = manifest_document(image_issues={"odd": 3}, table_schema="nih", patient_namespace="nih")
    given["recipe"]["window"] = "full"
    first = StoreManifest.read(written(tmp_path, given))
    assert first.recipe.window == "full"
    path = first.write(Outputs(tmp_path / "again"))
    assert path.name == "preprocess.json"
    assert StoreManifest.read(path) == first
    document = json.loads(path.read_text())
    assert list(document)[:6] == ["schema_version", "command", "cxr_version", "versions", "inputs", "image_folder"]
    assert {**given, **document} == document and list(given) == list(document)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"schema_version": 2}, "expected schema_version 1"),
        ({"recipe": None}, "(recipe is NoneType)"),
        ({"recipe": {"image_size": [320, 320]}, "pathologies": 3}, "pathologies is int"),
        ({"image_size": 320}, "recipe.image_size is int"),
        ({"image_size": [0, 320]}, "is not an image size"),
        ({"standardize": "global"}, "recipe.standardize"),
        ({"statistics": None}, "recipe.statistics are missing"),
        ({"statistics": {"mean": 1e300, "std": 0, "n_images": 1, "n_pixels": 1}}, "mean 1e+300 is not a grey level"),
        ({"statistics": {"mean": -5, "std": 9, "n_images": 1, "n_pixels": 1}}, "mean -5.0 is not a grey level"),
        ({"statistics": {"mean": 5, "std": 1e9, "n_images": 1, "n_pixels": 1}}, "std 1000000000.0 is not a deviation"),
        ({"statistics": {"mean": 5, "std": 9, "n_images": -1, "n_pixels": 1}}, "n_images -1 is not a count"),
        ({"statistics": {"mean": 5, "std": 9, "n_images": 1, "n_pixels": 0}}, "n_pixels 0 is not a count"),
        ({"inputs": []}, "the label table is missing"),
        ({"store": "../images.npy"}, "lies outside the folder"),
        ({"index": "/etc/passwd"}, "lies outside the folder"),
        ({"pathologies": ["Mass", "Mass"]}, "pathologies: 'Mass'"),
        ({"n_done": -1}, "a count is negative"),
        ({"engine": "slow"}, "engine"),
    ],
)
def test_what_is_no_manifest(tmp_path, changes, text):
    path = written(tmp_path, manifest_document(**changes))
    with pytest.raises(InputError) as caught:
        StoreManifest.read(path)
    assert text in str(caught.value) and f"{path}: is not the manifest of a store" in str(caught.value)


@pytest.mark.parametrize("name", ["inputs", "recipe", "uncertain", "engine", "pathologies", "store", "index", "n_done"])
def test_what_no_manifest_is_without(tmp_path, name):
    document = manifest_document()
    del document[name]
    with pytest.raises(InputError, match=f"{name} is missing"):
        StoreManifest.read(written(tmp_path, document))


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        StoreManifest.read(tmp_path / "missing.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        StoreManifest.read(tmp_path / "x.json")


def test_impossible_schemes():
    with pytest.raises(UsageError, match="standardize='global'"):
        Preprocessing("global")
    with pytest.raises(UsageError, match="needs mean and standard deviation"):
        Preprocessing("featurewise", mean=3.0)
    for mean, std in ((-1, 3), (256, 3), (3, 128), (3, float("nan"))):
        with pytest.raises(UsageError, match="cannot standardize with"):
            Preprocessing("featurewise", mean=mean, std=std)
