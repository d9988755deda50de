"""Every command that writes files leaves its document beside them, and replaces nothing that is not ours."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from cxr_cli.cli.options import PLOTS
from tests.robustness.harness import digest

COMMANDS = {
    "explore": ["train-small.csv", "--n-images", "2"],
    "check-leakage": ["train-small.csv", "valid-small.csv", "--images", "images-small"],
    "split": ["train-small.csv"],
    "preprocess": ["train-small.csv", "--image-size", "16", "--n-images", "1"],
    "weights": ["train-small.csv"],
}


@pytest.fixture
def data(sample_data, tmp_path):
    """Return a copy of the sample data whose images bear the names of plots, too."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train-small.csv", "valid-small.csv"):
        shutil.copy(sample_data / name, folder)
    (folder / "images-small").symlink_to(sample_data / "images-small")
    return folder


def placed(data, command):
    return [data / item if (data / item).exists() else item for item in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_document_is_kept(cxr, data, tmp_path, command):
    done = cxr(command, *placed(data, command), "--output", "out", "--json")
    assert done.exit_code in (0, 1), done.stderr
    assert (tmp_path / "out" / "result.json").read_text() == done.stdout
    document = json.loads(done.stdout)
    assert document["command"] == command and document["outputs"][-1] == "out/result.json"
    # All that is written is listed, and plots are those that were looked for before.
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {path.split("/")[1] for path in document["outputs"]}
    assert {name for name in written if name.endswith(".png")} <= set(PLOTS[command])
    # The same again: everything is ours.
    assert cxr(command, *placed(data, command), "--output", "out", "--json").exit_code == done.exit_code


@pytest.mark.parametrize("command", ["explore", "check-leakage", "weights"])
def test_told_to_write_nothing(cxr, data, tmp_path, command):
    before = digest(tmp_path)
    assert cxr(command, *placed(data, command), "--no-plots").exit_code in (0, 1)
    assert digest(tmp_path) == before
    assert cxr(command, *placed(data, command), "--no-plots", "--output", "out").exit_code in (0, 1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


def test_beside_a_single_file(cxr, data, tmp_path):
    done = cxr("weights", data / "train-small.csv", "--save", "w.csv", "--no-plots", "--json")
    assert (tmp_path / "w.csv.result.json").read_text() == done.stdout
    assert json.loads(done.stdout)["outputs"] == ["w.csv", "w.csv.result.json"]
    assert not (tmp_path / "cxr-output").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_ours_stays(cxr, data, tmp_path, command):
    names = [*PLOTS[command], "result.json"]
    if command == "preprocess":
        names += ["images.npy", "index.csv", "failures.csv", "preprocess.json"]
    if command == "split":
        names += ["train.csv", "valid.csv", "test.csv", "split.json"]
    for name in names:
        folder = tmp_path / f"out-{name}"
        folder.mkdir()
        (folder / name).write_text("precious")
        done = cxr(command, *placed(data, command), "--output", folder)
        # A plot that this run would not draw may lie there all the same.
        assert done.exit_code == 2 and f"{name}: already exists" in done.stderr.replace("\n", ""), (name, done.stderr)
        assert digest(folder) == {name: digest(folder)[name]}
        assert (folder / name).read_text() == "precious"


@pytest.mark.parametrize("command", COMMANDS)
def test_images_named_like_outputs_are_not_replaced(cxr, tmp_path, command):
    """The output folder is the image folder, whose images have the names of plots."""
    images = tmp_path / "images"
    images.mkdir()
    names = [*PLOTS[command], "other.png"]
    for number, name in enumerate(names):
        Image.effect_noise((40, 40), 30 + number).save(images / name)
    for table, patients in (("train-small.csv", 0), ("valid-small.csv", 100)):
        rows = [f"{name},{number % 2},{number + patients}" for number, name in enumerate(names)]
        (tmp_path / table).write_text("\n".join(["Image,Mass,PatientId", *rows * 3]) + "\n")
    before = digest(images)
    arguments = [item.replace("images-small", "images") for item in COMMANDS[command]]
    if command in ("explore", "preprocess"):
        arguments += ["--images", "images"]
    done = cxr(command, *arguments, "--output", images)
    assert done.exit_code == 2 and "Traceback" not in done.stderr
    assert digest(images) == before
