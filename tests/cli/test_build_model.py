from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.services.build_model.build_model import build_model
from cxr_cli.services.build_model.options import ModelOptions
from tests.conftest import ROOT
from tests.models.legacy_files import base_arrays, write_legacy
from tests.stores import manifest_document

pytestmark = pytest.mark.slow

NAMES = "Mass,Hernia"


@pytest.fixture
def train(sample_data):
    return sample_data / "train-small.csv"


@pytest.fixture
def no_building(monkeypatch, network):
    """Take the network that is there: these tests end before it matters."""
    monkeypatch.setattr("cxr_cli.models.densenet.build_densenet", lambda *arguments, **options: network)


@pytest.fixture(scope="module")
def weight_file(network, tmp_path_factory):
    layers = base_arrays(network)
    layers["fc1000"] = {"kernel": np.zeros((1024, 1000), np.float32), "bias": np.zeros(1000, np.float32)}
    return write_legacy(tmp_path_factory.mktemp("weights") / "densenet.hdf5", layers)


def test_golden(cxr, train, golden):
    done = cxr("build-model", "--labels", train, "--image-size", 64, "--seed", 2, "--no-plots", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["result"].pop("versions")["keras"]
    assert document["result"]["labels"].pop("path") == str(train)
    golden("build-model", json.dumps(document))


def test_json_is_what_the_service_returns(cxr, train):
    done = cxr(
        "build-model",
        *("--labels", train, "--pathologies", NAMES, "--image-size", "64x96", "--loss", "binary-crossentropy"),
        *("--freeze", "all-but-last-2-blocks", "--standardize", "imagenet", "--learning-rate", "0.01", "--json"),
    )
    document = json.loads(done.stdout)
    assert (document["command"], done.exit_code) == ("build-model", 0)
    assert document["outputs"] == [
        f"cxr-output/build-model/{name}" for name in ("architecture.png", "depth.png", "result.json")
    ]
    from cxr_cli.services.store.manifest import Preprocessing

    options = ModelOptions(
        ("Mass", "Hernia"),
        (64, 96),
        Preprocessing("imagenet"),
        loss="binary-crossentropy",
        freeze="all-but-last-2-blocks",
        learning_rate=0.01,
    )
    assert document["result"] == build_model(options, table=read_labels(train)).to_dict()


def test_tables_on_stdout_talk_on_stderr(cxr, train, weight_file, tmp_path):
    saved = cxr("weights", train, "--save", "weights.json", "--no-plots")
    assert saved.exit_code == 0
    done = cxr(
        "build-model",
        *("--labels", train, "--class-weights", "weights.json", "--pretrained", weight_file, "--image-size", 64),
        *("--save", "out/model.keras", "--summary", "full", "--output", "plots"),
    )
    assert done.exit_code == 0, done.stderr
    for text in (
        "604 arrays, 7,037,504 numbers, by name (HDF5 weights)",
        "weighted-bce (frequency weights)",
        "121 of 121 batch normalisations in inference mode",
        "Last five layers of the base",
        "conv5_block16_concat",
        "Layers of the base by type",
        "All layers",
        "conv3_block7_1_relu",
        "7,051,854",
        "14,350",
    ):
        assert text in done.stdout and text not in done.stderr
    for text in (
        "do not pass class_weight to fit()",
        "the file's head of 1,000 units",
        "may include your test images",
        *(f"saved {name}" for name in ("out/model.keras", "out/model.keras.json", "plots/architecture.png")),
    ):
        assert text in done.stderr and text not in done.stdout
    assert "categorical" not in done.stderr and "another table" not in done.stderr
    assert (tmp_path / "plots" / "depth.png").read_bytes().startswith(b"\x89PNG")
    model_card = json.loads((tmp_path / "out" / "model.keras.json").read_text())
    weights = json.loads((tmp_path / "weights.json").read_text())["result"]["class_weights"]
    assert model_card["loss"]["class_weights"] == weights


def test_the_trap_is_told_with_the_numbers_of_the_table(cxr, real_data, no_building):
    done = cxr("build-model", "--labels", real_data / "nih" / "train-small.csv", "--no-plots")
    assert done.exit_code == 0
    warning = done.stderr.partition("warning: categorical")[2].splitlines()
    assert "562 of 1,000 images" in warning[0]
    assert "--loss binary-crossentropy" in warning[1] and "weighted-bce" in warning[1]
    assert "random weights and is frozen" in done.stderr


def test_labels_that_are_not_known_are_told(cxr, tmp_path, no_building):
    table = tmp_path / "labels.csv"
    table.write_text("Image,Mass,Hernia,PatientId\na.png,1,,1\nb.png,0,0,2\n")
    done = cxr("build-model", "--labels", table, "--loss", "binary-crossentropy", "--no-plots")
    assert "1 labels of" in done.stderr and "binary-crossentropy becomes NaN on them" in done.stderr


def test_one_pathology_and_categorical_crossentropy(cxr, no_building):
    done = cxr("build-model", "--pathologies", "Mass", "--no-plots")
    assert "is 0 for every image, so the model would learn nothing" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the pathologies are unknown"),
        (["--pathologies", "Mass,,Hernia"], "a pathology without a name"),
        (["--pathologies", "Mass,Mass"], "Mass is given twice"),
        (["--pathologies", NAMES, "--image-size", "big"], "--image-size big is not a size"),
        (["--pathologies", NAMES, "--image-size", "16"], "--image-size 16x16; expected at least 32 pixels"),
        (["--pathologies", NAMES, "--freeze", "all"], "--freeze all; expected"),
        (["--pathologies", NAMES, "--learning-rate", "nan"], "--learning-rate nan; expected"),
        (["--pathologies", NAMES, "--pretrained", "missing.h5"], "missing.h5: no such file"),
        (["--pathologies", NAMES, "--standardize", "featurewise"], "standard deviation of the training images"),
        (["--pathologies", NAMES, "--loss", "weighted-bce"], "needs class weights"),
        (["--pathologies", NAMES, "--keep-head"], "--keep-head has no effect with --pretrained none"),
        (["--pathologies", NAMES, "--class-weights", "missing.json"], "missing.json: no such file"),
        (["--labels", "missing.csv"], "missing.csv: no such file"),
        (["--store", "."], "preprocess.json: no such file\nPass the preprocess.json that"),
        (["--pathologies", NAMES, "--save", "model.h5"], "--save model.h5; expected a file ending in .keras"),
    ],
)
def test_mistakes_are_one_message_and_exit_2(cxr, arguments, text):
    done = cxr("build-model", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert "keras" not in done.stderr.lower() or "--" in done.stderr


def test_preprocessing_is_taken_from_the_manifest(cxr, tmp_path, no_building):
    manifest = tmp_path / "preprocess.json"
    manifest.write_text(json.dumps(manifest_document(image_size=[64, 64], standardize="imagenet", statistics=None)))
    arguments = ["build-model", "--store", manifest, "--no-plots"]
    done = cxr(*arguments, "--json")
    document = json.loads(done.stdout)
    assert document["result"]["pathologies"] == ["Mass", "Hernia"]
    assert document["result"]["image_size"] == [64, 64]
    assert document["result"]["preprocessing"]["standardize"] == "imagenet"
    assert document["result"]["preprocessing"]["manifest"] == document["inputs"][0]
    for extra, text in (
        (["--image-size", 320], "contradicts the manifest, whose images are 64 × 64"),
        (["--standardize", "samplewise"], "contradicts the manifest: imagenet"),
        (["--pathologies", "Hernia,Mass"], "not those of the preprocessed images, in order"),
    ):
        refused = cxr(*arguments, *extra)
        assert refused.exit_code == 2 and text in refused.stderr


def test_class_weights_of_other_pathologies(cxr, train):
    cxr("weights", train, "--save", "weights.json", "--no-plots")
    done = cxr("build-model", "--pathologies", NAMES, "--class-weights", "weights.json")
    assert done.exit_code == 2
    assert "there are class weights for" in done.stderr


def test_class_weights_of_another_table(cxr, train, sample_data, tmp_path, no_building):
    cxr("weights", sample_data / "valid-small.csv", "--save", "weights.json", "--no-plots")
    done = cxr("build-model", "--labels", train, "--class-weights", "weights.json", "--no-plots")
    assert done.exit_code == 0
    assert f"weights.json was computed from another table than {train}" in done.stderr
    cxr("weights", sample_data / "valid-small.csv", "--save", "weights.csv", "--no-plots")
    done = cxr("build-model", "--labels", train, "--class-weights", "weights.csv", "--no-plots")
    assert f"weights.csv was computed from another table than {train}" in done.stderr
    text = (tmp_path / "weights.csv").read_text()
    (tmp_path / "weights.csv").write_text(text.replace("source_sha256", "other"))  # which tells no table
    done = cxr("build-model", "--labels", train, "--class-weights", "weights.csv", "--no-plots")
    assert done.exit_code == 0 and "another table" not in done.stderr


def test_class_weights_of_another_table_than_the_store(cxr, train, sample_data, tmp_path, no_building):
    small = ["--image-size", 32, "--dtype", "uint8", "--no-plots", "--n-images", 0]
    assert cxr("preprocess", train, *small, "--output", "store").exit_code == 0
    for name, table in (("other.json", sample_data / "valid-small.csv"), ("same.json", train), ("other.csv", None)):
        cxr("weights", table or sample_data / "valid-small.csv", "--save", name, "--no-plots")
        done = cxr("build-model", "--store", "store", "--class-weights", name, "--no-plots")
        assert done.exit_code == 0, done.stderr
        warned = f"{name} was computed from another table than {train}" in done.stderr
        assert warned == name.startswith("other")
    both = ["--store", "store", "--labels", train, "--class-weights", "other.json", "--no-plots"]
    assert cxr("build-model", *both).stderr.count("another table") == 1


def test_mistakes_do_not_wait_for_keras():
    code = (
        "import sys\nfrom cxr_cli.cli.app import app\n"
        "try: app(['build-model', '--pathologies', 'A', '--freeze', 'x'])\n"
        "except SystemExit as end: print(end.code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"]


@pytest.mark.parametrize("spoil", ["half", "nan", "html"])
def test_wrong_weights_exit_2_and_save_nothing(cxr, tmp_path, no_building, network, weight_file, spoil):
    path = tmp_path / "densenet.hdf5"
    content = weight_file.read_bytes()
    if spoil == "half":
        path.write_bytes(content[: len(content) // 2])
    elif spoil == "html":
        path.write_text("<html></html>")
    else:
        layers = base_arrays(network)
        layers["bn"]["gamma"][7] = np.nan
        write_legacy(path, layers)
    done = cxr("build-model", "--pathologies", NAMES, "--pretrained", path, "--save", "model.keras")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert {"half": "is cut off", "nan": "gamma of layer bn holds 1 of 1,024", "html": "HTML page"}[
        spoil
    ] in done.stderr
    assert sorted(item.name for item in tmp_path.iterdir()) == ["densenet.hdf5"]


def test_the_real_command_keeps_both_streams_clean(tmp_path):
    """TensorFlow's greetings come from native code, past the streams of Python."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "cxr_cli", "build-model", "--pathologies", NAMES, "--image-size", "32", "--json"]
    done = subprocess.run(
        [*command, "--no-plots", "--save", "model.keras", "--freeze", "none", "--loss", "binary-crossentropy"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == ["model.keras", "model.keras.json", "model.keras.result.json"]
    assert done.stderr.splitlines() == [f"saved model.keras{end}" for end in ("", ".json", ".result.json")]


def test_pytorch_weights_need_a_standardization(cxr, tmp_path):
    weights = ROOT / "tests" / "fixtures" / "torch" / "zip.pt"
    result = cxr("build-model", "--pathologies", "Mass", "--pretrained", weights, "--no-plots")
    assert result.exit_code == 2
    assert "does not tell how its images were standardized" in result.stderr
    assert "--standardize imagenet" in result.stderr
    result = cxr(
        "build-model",
        "--pathologies",
        "Mass",
        "--pretrained",
        weights,
        "--standardize",
        "torchxrayvision",
        "--no-plots",
    )
    assert result.exit_code == 2
    assert "holds other layers" in result.stderr
