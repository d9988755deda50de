from __future__ import annotations

import json

import numpy as np
import pytest

from cxr_cli.data.files import Outputs
from cxr_cli.errors import UsageError
from cxr_cli.services.check_leakage import split_images
from cxr_cli.services.check_leakage.check_and_remove import check_and_remove
from tests.drawn_images import image_pixels, save
from tests.services.check_leakage.test_check_leakage import course, of_patients


@pytest.fixture
def splits(tmp_path):
    """Train and valid share patient 1, and valid has a brighter copy of a training image under patient 9."""
    images = {"t1.png": 1, "t2.png": 2, "v1.png": 3, "v2.png": 4}
    for name, seed in images.items():
        save(tmp_path / "images" / name, image_pixels(seed))
    save(tmp_path / "images" / "v9.png", np.clip(image_pixels(2) * 1.1, 0, 255).astype(np.uint8))
    return {
        "train": course(tmp_path, "train", [("t1.png", 1), ("t2.png", 2)]),
        "valid": course(tmp_path, "valid", [("v1.png", 1), ("v2.png", 4), ("v9.png", 9)]),
    }


def test_compare_remove_and_compare_again(tmp_path, splits):
    outputs = Outputs(tmp_path / "out")
    report = check_and_remove(
        splits, tmp_path / "images", remove_from=["valid"], remove="near-duplicates", outputs=outputs, plots=True
    )
    (pair,) = report.pairs
    assert (report.verdict, pair.patients.n_patients, pair.near_duplicates.n_pairs) == ("leakage", 1, 1)
    assert report.removal.after.verdict == "clean"
    assert report.removal.splits[0].rows_removed == (0, 2)
    assert (tmp_path / "out" / "valid.csv").read_text().splitlines()[1:] == ["v2.png,0,4,1"]
    assert [path.name for path in outputs.written] == ["valid.csv", "split-sizes.png", "near-duplicates.png"]


def test_images_are_read_once(tmp_path, splits, monkeypatch):
    decoded = []
    real = split_images.fingerprint_images

    def spy(paths, **options):
        found = real(paths, **options)
        decoded.append((found.n_decoded, found.n_cached))
        return found

    monkeypatch.setattr(split_images, "fingerprint_images", spy)
    folders = dict.fromkeys(splits, tmp_path / "images")
    check_and_remove(splits, folders, remove_from=["valid"], outputs=Outputs(tmp_path / "out"))
    assert decoded == [(5, 0), (0, 4)]


def test_hidden_ids_are_in_no_result(tmp_path, splits):
    report = check_and_remove(splits, tmp_path / "images", hide_ids=True)
    text = json.dumps(report.to_dict())
    assert "v9.png" not in text and "image-" in text


def test_nothing_is_written_unless_asked_for(tmp_path):
    tables = {"a": of_patients(tmp_path, "a", [1]), "b": of_patients(tmp_path, "b", [2])}
    before = sorted(tmp_path.rglob("*"))
    assert check_and_remove(tables).verdict == "clean"
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(UsageError, match="without outputs"):
        check_and_remove(tables, remove_from=["a"])
