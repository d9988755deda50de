"""Images for a model from DICOM files: what it gets of a folder and of PNGs of the same grey values is the same."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cxr_cli.data.images import read_gray
from cxr_cli.data.labels import read_labels
from cxr_cli.errors import UsageError
from cxr_cli.services import sources
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.manifest import Preprocessing, check_recipe
from cxr_cli.services.store.recipe import Recipe
from tests.data.dicom.synthetic import dicom, ramp


@pytest.fixture
def folder(tmp_path):
    """Return a folder of five DICOM files of three patients, one of them truncated, and one without ending."""
    (tmp_path / "dicom" / "a").mkdir(parents=True)
    for number, name in enumerate(("a/0.dcm", "a/1.dcm", "2.dicom", "IM3", "4.dcm")):
        content = dicom(
            ramp(12, seed=number), bits=12, photometric=f"MONOCHROME{1 + number % 2}", PatientID=f"00{number // 2}"
        )
        (tmp_path / "dicom" / name).write_bytes(content[:-50] if number == 4 else content)
    (tmp_path / "dicom" / "notes.txt").write_text("nothing")
    return tmp_path / "dicom"


def opened(folder, monkeypatch, **recipe):
    monkeypatch.setattr(sources, "recipe_of_card", lambda card: Recipe(image_size=(16, 16), **recipe))
    return sources.open_folder(folder, None, workers=1)


def pixels_of(source):
    batches = list(source.batches(8, 0))
    return np.concatenate([batch.images for batch in batches]), [why for batch in batches for why in batch.failures]


@pytest.mark.slow
def test_pngs_of_the_grey_values_give_a_model_the_same(folder, tmp_path, monkeypatch):
    source = opened(folder, monkeypatch)
    assert source.names == ("2.dicom", "4.dcm", "IM3", "a/0.dcm", "a/1.dcm")
    assert source.patients == ("1", "2", "1", "0", "0")
    pixels, failures = pixels_of(source)
    assert [why is None for why in failures] == [True, False, True, True, True] and "truncated" in failures[1]
    (tmp_path / "png").mkdir()
    for place, name in enumerate(source.names):
        if name != "4.dcm":
            Image.fromarray(read_gray(folder / name).pixels).save(tmp_path / "png" / f"{place}.png")
    expected, _ = pixels_of(opened(tmp_path / "png", monkeypatch))
    np.testing.assert_array_equal(pixels, expected)
    other, _ = pixels_of(opened(folder, monkeypatch, window="1000,300"))
    assert not np.array_equal(pixels, other)


def test_a_store_with_another_window_is_refused(folder, tmp_path):
    recipe = Recipe(image_size=(16, 16), window="full")
    preprocess(read_labels(folder), folder, tmp_path / "store", Options(recipe))
    check_recipe(tmp_path / "store", (16, 16), Preprocessing(window="full"))
    with pytest.raises(UsageError, match="the window full, the model takes the window of each file") as caught:
        check_recipe(tmp_path / "store", (16, 16), Preprocessing())
    assert "without --window" in caught.value.remedy
