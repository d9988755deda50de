from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.recipe import Recipe


@pytest.fixture
def labels(tmp_path, sample_data):
    """A table of 12 sample images, one of which is missing and one broken."""
    lines = (sample_data / "train-small.csv").read_text().splitlines(keepends=True)[:13]
    (tmp_path / "labels.csv").write_text("".join(lines))
    (tmp_path / "images").mkdir()
    for line in lines[1:-2]:
        shutil.copy(sample_data / "images-small" / line.split(",")[0], tmp_path / "images")
    (tmp_path / "images" / lines[-2].split(",")[0]).write_text("text")
    return tmp_path / "labels.csv"


def test_tables_on_stdout_talk_on_stderr(cxr, labels, tmp_path):
    done = cxr("preprocess", labels, "--image-size", "32x48")
    assert done.exit_code == 1
    assert "10 × 32 × 48, float32, 61.6 kB" in done.stdout
    assert "Before and after" in done.stdout and "all 10" in done.stdout
    assert "2 images failed, 1 of them missing" in done.stdout
    assert "not an image" in done.stdout
    assert (
        "note: preprocessing 11 of 12 images (1 missing) into cxr-output/preprocess/images.npy (up to 67.6 kB)"
        in done.stderr
    )
    assert "warning: 2 of 12 images are not in the store: cxr-output/preprocess/failures.csv" in done.stderr
    folder = tmp_path / "cxr-output" / "preprocess"
    for name in ("images.npy", "index.csv", "failures.csv", "preprocess.json"):
        assert f"saved cxr-output/preprocess/{name}" in done.stderr
    for name in ("samples.png", "distributions.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert np.load(folder / "images.npy").shape == (10, 32, 48)
    assert not (folder / ".partial").exists()


def test_golden(cxr, sample_data, golden):
    done = cxr("preprocess", sample_data / "train-small.csv", "--image-size", 64, "--n-images", 2, "--json")
    assert done.exit_code == 0
    golden("preprocess", done.stdout)


def test_json_is_what_the_service_returns(cxr, labels, tmp_path):
    done = cxr("preprocess", labels, "--image-size", 32, "--n-images", 3, "--json", "--output", "out", "--no-plots")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["command"]) == (1, "preprocess")
    assert [item["path"] for item in document["inputs"]] == [str(labels)]
    names = ("images.npy", "index.csv", "failures.csv", "preprocess.json", "result.json")
    assert document["outputs"] == [f"out/{name}" for name in names]
    options = Options(Recipe((32, 32)), n_sample=3)
    again = preprocess(read_labels(labels), tmp_path / "images", tmp_path / "again", options)
    assert json.loads(json.dumps(again.to_dict()).replace(str(tmp_path / "again"), "out")) == document["result"]


def test_statistics_go_from_train_to_valid(cxr, labels, tmp_path):
    options = ["--standardize", "featurewise", "--image-size", 32, "--no-plots"]
    train = cxr("preprocess", labels, *options, "--statistics", "fit", "--output", "train")
    assert "fitted on 10 images of this table" in train.stdout
    valid = cxr("preprocess", labels, *options, "--statistics", "train", "--output", "valid", "--json")
    document = json.loads(valid.stdout)
    assert [item["path"] for item in document["inputs"]] == [str(labels), "train/preprocess.json"]
    shown = cxr("preprocess", labels, *options, "--statistics", "train", "--output", "valid")
    assert f"of {labels} (train/preprocess.json)" in shown.stdout
    assert (tmp_path / "train/images.npy").read_bytes() == (tmp_path / "valid/images.npy").read_bytes()


def test_a_store_that_is_replaced_is_noted_before_the_work(cxr, labels):
    options = ["--image-size", "32x48", "--no-plots", "--output", "out"]
    assert "replaces" not in cxr("preprocess", labels, *options).stderr
    assert "replaces" not in cxr("preprocess", labels, *options).stderr
    done = cxr("preprocess", labels, *options, "--format", "png")
    told, at_start = done.stderr.splitlines()[:2]
    assert told == (
        f"note: replaces the store of {labels} in out (10 images, 32 × 48, samplewise, float32); "
        "out/images.npy stays without an index; delete it"
    )
    assert at_start.startswith("note: preprocessing 11 of 12 images")


def test_the_source_images_are_not_replaced(cxr, labels, tmp_path):
    before = sorted((tmp_path / "images").iterdir())
    done = cxr("preprocess", labels, "--format", "png", "--output", ".")
    assert done.exit_code == 2 and not done.stdout
    assert "error: images: holds images that are to be preprocessed" in done.stderr
    assert sorted((tmp_path / "images").iterdir()) == before


def test_pngs_are_grey_levels_without_being_asked(cxr, labels, tmp_path):
    done = cxr("preprocess", labels, "--format", "png", "--image-size", 32, "--json")
    assert json.loads(done.stdout)["result"]["dtype"] == "uint8"
    assert len(list((tmp_path / "cxr-output/preprocess/images").glob("*.png"))) == 10


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--image-size", "big"], "Give pixels, such as 320"),
        (["--image-size", "0"], "--image-size 0x0; expected at least 1 pixel"),
        (["--standardize", "featurewise"], "fit them with --statistics fit"),
        (["--format", "png", "--dtype", "float32"], "--dtype uint8"),
        (["--engine", "keras"], "--interpolation nearest"),
        (["--images", "nowhere"], "no such image folder"),
        (["--strict"], "no such file in the image folder"),
        (
            ["--statistics", "nowhere.json", "--standardize", "featurewise"],
            "no such file\nGive the preprocess.json that",
        ),
        (
            ["--statistics", ".", "--standardize", "featurewise"],
            "preprocess.json: no such file\nGive the preprocess.json that",
        ),
        (["--workers", "2", "--cluster", "tcp://127.0.0.1:1"], "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_2(cxr, labels, tmp_path, arguments, word):
    done = cxr("preprocess", labels, *arguments)
    assert done.exit_code == 2
    assert word in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "cxr-output" / "preprocess" / "preprocess.json").exists()


def test_without_an_image_folder(cxr, labels, tmp_path):
    shutil.move(tmp_path / "images", tmp_path / "elsewhere")
    assert "--images" in cxr("preprocess", labels).stderr
    assert cxr("preprocess", labels, "--images", "elsewhere", "--image-size", 16).exit_code == 1


@pytest.mark.slow
def test_keras_engine(cxr, labels, tmp_path):
    options = ["--interpolation", "nearest", "--image-size", 32, "--no-plots", "--json"]
    fast = json.loads(cxr("preprocess", labels, *options, "--output", "fast").stdout)["result"]
    done = cxr("preprocess", labels, *options, "--engine", "keras", "--output", "keras")
    keras = json.loads(done.stdout)["result"]
    assert keras["engine"] == "keras"
    assert keras["comparison"] == fast["comparison"]
    difference = np.load(tmp_path / "fast/images.npy") - np.load(tmp_path / "keras/images.npy")
    assert np.abs(difference).max() < 1e-5
