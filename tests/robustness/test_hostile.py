"""Hostile and unlucky inputs, command by command: what must come out, and that nothing comes out without a word."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT


@pytest.fixture
def image(sample_data):
    path = sorted((sample_data / "images-small").glob("*.png"))[3]
    return np.asarray(Image.open(path).convert("L"))


def preprocessed(cxr, folder, images, *options):
    """Preprocess images given as bytes by name; return the pixels of the store and the standard error."""
    (folder / "images").mkdir(parents=True)
    for name, content in images.items():
        (folder / "images" / name).write_bytes(content)
    table = folder / "train.csv"
    table.write_text("Image,PatientId,Mass\n" + "".join(f"{name},{i},1\n" for i, name in enumerate(images)))
    size = ("--image-size", "64", "--no-plots", "--workers", "1")
    done = cxr("preprocess", table, "--images", folder / "images", *size, "--output", folder / "out", *options)
    store = folder / "out" / "images.npy"
    return np.load(store) if store.exists() else None, done


def encoded(pixels, format, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def inverted_tag(content):
    """Turn BlackIsZero into WhiteIsZero."""
    start = content.find(struct.pack("<HHIH", 262, 3, 1, 1))
    assert start > 0
    return content[: start + 8] + b"\0" + content[start + 9 :]


def test_depths_and_polarities_give_one_store(cxr, image, tmp_path):
    twelve = (image.astype(np.uint32) * 4095 // 255).astype(np.uint16)
    sixteen = image.astype(np.uint16) * 257
    images = {
        "plain.png": encoded(image, "PNG"),
        "twelve.png": encoded(twelve, "PNG"),
        "sixteen.png": encoded(sixteen, "PNG"),
        "white-is-zero.tif": inverted_tag(encoded(65535 - sixteen, "TIFF")),
        "on-its-side.tif": encoded(np.ascontiguousarray(np.rot90(image)), "TIFF", tiffinfo={274: 6}),
    }
    pixels, done = preprocessed(cxr, tmp_path, images, "--dtype", "uint8")
    assert done.exit_code == 0, done.stderr
    for other in pixels[1:]:
        assert np.abs(other.astype(int) - pixels[0]).max() <= 1


def test_what_has_no_known_meaning_is_a_failure_by_name(cxr, image, tmp_path):
    images = {
        "good.png": encoded(image, "PNG"),
        "signed.tif": encoded(image.astype(np.int32), "TIFF"),
        "half.jpg": encoded(image, "JPEG")[: len(encoded(image, "JPEG")) // 2] + b"\xff\xd9",
        "webp.png": encoded(image, "WEBP"),
    }
    pixels, done = preprocessed(cxr, tmp_path, images, "--dtype", "uint8")
    assert done.exit_code == 1
    assert len(pixels) == 1
    rows = list(csv.reader(io.StringIO((tmp_path / "out" / "failures.csv").read_text())))
    reasons = {row[0]: " ".join(row[1:]) for row in rows}
    assert "SampleFormat" in reasons["signed.tif"]
    assert "damaged" in reasons["half.jpg"]
    assert "WebP" in reasons["webp.png"]


@pytest.mark.parametrize("command", ["explore", "weights", "split"])
def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path, command):
    os.mkfifo(tmp_path / "train.csv")
    line = [sys.executable, "-m", "cxr_cli", command, str(tmp_path / "train.csv")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 2
    assert "is a pipe" in done.stderr


def test_a_wrong_weight_file_is_refused_before_keras_loads(tmp_path):
    path = tmp_path / "vgg.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [f"c{i}".encode() for i in range(13)]
        for i in range(13):
            group = file.create_group(f"c{i}")
            group.attrs["weight_names"] = [f"c{i}/kernel:0".encode()]
            group[f"c{i}/kernel:0"] = np.ones((3, 3, 64, 64), np.float32)
    code = (
        "import sys; from cxr_cli.cli.app import app\n"
        f"try: app(['build-model', '--pathologies', 'A', '--pretrained', {str(path)!r}, '--no-plots'])\n"
        "except SystemExit as done: print(done.code, 'keras' in sys.modules, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["2", "False", "False"], done.stderr
    assert "holds the weights of VGG16" in done.stderr


@pytest.mark.slow
def test_a_weight_file_that_hangs_hdf5_ends_with_an_error_in_time(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file["d/kernel"] = np.ones((2, 2), np.float32)
    content = bytearray(path.read_bytes())
    content[content.find(b"GCOL") + 24] = 0
    path.write_bytes(content)
    start = time.monotonic()
    line = [sys.executable, "-m", "cxr_cli", "build-model", "--pathologies", "A", "--pretrained", str(path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 2
    assert "did not come to an end" in done.stderr
    assert time.monotonic() - start < 30


def test_dollars_in_image_names_are_no_formulas(cxr, image, tmp_path):
    images = {"$\\foo$.png": encoded(image, "PNG"), "a$\\frac{$.png": encoded(image[::-1], "PNG")}
    (tmp_path / "images").mkdir()
    for name, content in images.items():
        (tmp_path / "images" / name).write_bytes(content)
    table = tmp_path / "train.csv"
    table.write_text("Image,PatientId,Mass\n" + "".join(f"{name},{i},1\n" for i, name in enumerate(images)))
    done = cxr("explore", table, "--images", tmp_path / "images", "--output", tmp_path / "out", "--json")
    assert done.exit_code in (0, 1), done.stderr
    assert json.loads(done.stdout)["command"] == "explore"
    assert (tmp_path / "out").exists()
