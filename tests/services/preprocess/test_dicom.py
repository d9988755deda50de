"""A store made of DICOM images: the window asked for, what was assumed, what failed, and the same store from PNGs."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from cxr_cli.data.dicom.grey import Window, read_window, window_text
from cxr_cli.data.images import read_gray
from cxr_cli.data.labels import read_labels
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.parallel import Workers
from cxr_cli.services.preprocess.options import Options, read_statistics
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.recipe import Recipe
from tests.data.dicom.synthetic import dicom, ramp

SIZE = (16, 24)
RECIPE = Recipe(image_size=SIZE, dtype="uint8")


@pytest.fixture
def images(tmp_path):
    """Return a table of eight DICOM images, one of them truncated and one of several frames, and their folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(8):
        elements = {"WindowCenter": 2048, "WindowWidth": 4096} if number % 2 else {}
        if number == 5:
            elements["NumberOfFrames"] = 3
        syntax = ("explicit", "JPEG 2000 lossless", "JPEG-LS", "RLE")[0 if number == 5 else number % 4]
        polarity = f"MONOCHROME{1 + number % 2}"
        content = dicom(ramp(12, seed=number), bits=12, photometric=polarity, syntax=syntax, **elements)
        (folder / f"{number}.dcm").write_bytes(content[:-100] if number == 6 else content)
    rows = [f"{number}.dcm,{number % 2},{number}" for number in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["Image,Mass,PatientId", *rows]) + "\n")
    return read_labels(tmp_path / "labels.csv"), folder


def store(images, output, recipe=RECIPE, **options):
    return preprocess(*images, output, Options(recipe), **options)


def test_issues_are_counted_and_failures_have_reasons(images, tmp_path):
    result = store(images, tmp_path / "out")
    assert (result.n_done, result.n_failed) == (6, 2)
    assert result.image_issues == {"no rescale": 6, "no window: grey range from percentiles": 3}
    failures = list(csv.DictReader(result.failures_file.open()))
    assert [failure["image"] for failure in failures] == ["5.dcm", "6.dcm"]
    assert "several frames: 3" in failures[0]["reason"] and "truncated" in failures[1]["reason"]
    manifest = json.loads(result.manifest.read_text())
    assert manifest["recipe"]["window"] is None
    assert {"pydicom", "imagecodecs"} <= manifest["versions"].keys()
    assert manifest["image_issues"] == result.image_issues
    index = list(csv.DictReader(result.index.open()))
    assert {row["source_mode"] for row in index} == {"MONOCHROME1 12 bit", "MONOCHROME2 12 bit"}


def test_pngs_of_the_grey_values_give_the_same_store(images, tmp_path):
    table, folder = images
    pngs = tmp_path / "pngs"
    pngs.mkdir()
    for path in folder.iterdir():
        if path.name not in ("5.dcm", "6.dcm"):
            Image.fromarray(read_gray(path).pixels).save(pngs / path.name, "PNG")
    for recipe in (RECIPE, Recipe(image_size=SIZE)):
        from_dicom = store(images, tmp_path / f"d-{recipe.dtype}", recipe)
        from_png = store((table, pngs), tmp_path / f"p-{recipe.dtype}", recipe)
        assert from_dicom.store.read_bytes() == from_png.store.read_bytes()


def test_the_complement_marked_monochrome1_gives_the_same_store(images, tmp_path):
    table, _ = images
    for name, photometric in (("plain", "MONOCHROME2"), ("turned", "MONOCHROME1")):
        (tmp_path / name).mkdir()
        for number in range(8):
            values = ramp(12, seed=number)
            stored = values if name == "plain" else (4095 - values).astype(np.uint16)
            (tmp_path / name / f"{number}.dcm").write_bytes(dicom(stored, bits=12, photometric=photometric))
    made = [
        store((table, tmp_path / name), tmp_path / f"{name}-out").store.read_bytes() for name in ("plain", "turned")
    ]
    assert made[0] == made[1]


def test_a_window_takes_the_place_of_those_in_the_files(images, tmp_path):
    own = store(images, tmp_path / "own")
    chosen = store(images, tmp_path / "chosen", Recipe(image_size=SIZE, dtype="uint8", window="1000,500"))
    full = store(images, tmp_path / "full", Recipe(image_size=SIZE, dtype="uint8", window="full"))
    assert chosen.image_issues == full.image_issues == {"no rescale": 6}
    assert len({made.store.read_bytes() for made in (own, chosen, full)}) == 3
    assert json.loads(chosen.manifest.read_text())["recipe"]["window"] == "1000,500"
    # The odd images have the window of the full range.
    own_rows, full_rows = np.load(own.store), np.load(full.store)
    np.testing.assert_array_equal(own_rows[[1, 3]], full_rows[[1, 3]])


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(images, tmp_path):
    alone = store(images, tmp_path / "alone")
    with Workers(2) as workers:
        together = store(images, tmp_path / "together", executor=workers)
    for name in ("images.npy", "index.csv", "failures.csv", "preprocess.json"):
        assert (alone.output / name).read_bytes() == (together.output / name).read_bytes()


def test_statistics_of_another_window_are_refused(images, tmp_path):
    recipe = Recipe(image_size=SIZE, standardize="featurewise")
    fitted = preprocess(*images, tmp_path / "fitted", Options(recipe, fit_statistics=True))
    assert read_statistics(fitted.manifest, recipe)[0].n_images == 6
    with pytest.raises(InputError, match="window None, not full"):
        read_statistics(fitted.manifest, Recipe(image_size=SIZE, standardize="featurewise", window="full"))


@pytest.mark.parametrize("text", ["", "5", "a,b", "5,0", "5,-1", "1,2,3", "nan,5", "1,inf", "FULL"])
def test_windows_that_mean_nothing(text, images, tmp_path):
    with pytest.raises(UsageError, match="window="):
        read_window(text)
    with pytest.raises(UsageError, match="window="):
        store(images, tmp_path / "out", Recipe(image_size=SIZE, window=text))


def test_windows_as_text():
    assert read_window("40,400") == Window(40, 400)
    assert [window_text(read_window(text)) for text in ("-600.0, 1500", "full", None)] == ["-600,1500", "full", None]


def test_the_command(cxr, images, tmp_path):
    table, folder = images
    run = cxr("preprocess", table.path, "--image-size", "16", "--window", "full", "--no-plots", "--output", "out")
    assert run.exit_code == 1
    assert "Assumed or lost on reading images" in run.stdout and "no rescale" in run.stdout
    run = cxr("preprocess", table.path, "--image-size", "16", "--window", "wide", "--no-plots")
    assert run.exit_code == 2 and "--window wide" in run.stderr and "2048,4096" in run.stderr


def test_a_model_built_from_the_store_keeps_its_window(images, tmp_path):
    from cxr_cli.services.store.manifest import StoreManifest

    made = store(images, tmp_path / "out", Recipe(image_size=SIZE, window="1000,500"))
    assert StoreManifest.read(made.manifest).preprocessing.window == "1000,500"
    assert StoreManifest.read(store(images, tmp_path / "own").manifest).preprocessing.window is None
