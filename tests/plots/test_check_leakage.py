from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cxr_cli.data.files import Outputs
from cxr_cli.plots.check_leakage import near_duplicate_sheet, split_sizes
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.pair_images import pair_images
from cxr_cli.services.check_leakage.remove import remove_leakage
from cxr_cli.services.check_leakage.split_images import fingerprint_splits
from tests.drawn_images import image_pixels, save
from tests.services.check_leakage.test_check_leakage import course, of_patients


def texts(axes):
    return [text.get_text() for text in axes.texts]


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    with Image.open(stream) as image:
        return np.asarray(image.convert("L"))


def test_bars_show_the_shared_part_before_and_after(tmp_path):
    tables = {
        "train": of_patients(tmp_path, "train", [1, 1, 2, 3]),
        "valid": of_patients(tmp_path, "valid", [1, 4, 5]),
    }
    report = remove_leakage(tables, check_leakage(tables), ["valid"], Outputs(tmp_path / "out"), check_leakage)
    figure = split_sizes(report)
    images, patients = figure.axes
    assert [label.get_text() for label in images.get_yticklabels()] == ["train", "valid", "valid, cleaned"]
    assert texts(images) == ["2 of 4 (50.0 %)", "1 of 3 (33.3 %)", "0 of 2 (0.0 %)"]
    assert texts(patients) == ["1 of 3 (33.3 %)", "1 of 3 (33.3 %)", "0 of 2 (0.0 %)"]
    own, shared = images.containers
    assert [bar.get_width() for bar in own] == [2, 2, 2]
    assert [(bar.get_x(), bar.get_width()) for bar in shared] == [(2, 2), (2, 1), (2, 0)]
    assert png(figure).std() > 0


def test_splits_without_patients_say_so(tmp_path):
    tables = {
        "a": course(tmp_path, "a", [("x.png", "")]),
        "b": course(tmp_path, "b", [("y.png", "")]),
    }
    assert texts(split_sizes(check_leakage(tables)).axes[1]) == ["none known", "none known"]


@pytest.fixture
def scene(tmp_path):
    """Three near copies in the validation table, one of them of the same patient, one mirrored."""
    images = tmp_path / "images"
    for seed in range(3):
        save(images / f"t{seed}.png", image_pixels(seed))
    save(images / "v0.png", np.clip(image_pixels(0) * 1.1, 0, 255).astype(np.uint8))
    save(images / "v1.jpg", image_pixels(1), quality=60)
    save(images / "v2.png", np.ascontiguousarray(image_pixels(2)[:, ::-1]))
    tables = {
        "train": course(tmp_path, "train", [(f"t{seed}.png", seed) for seed in range(3)]),
        "valid": course(tmp_path, "valid", [("v0.png", 0), ("v1.jpg", 11), ("v2.png", 12)]),
    }
    found = fingerprint_splits(tables, dict.fromkeys(tables, images))
    return tables, found, check_leakage(tables, found)


def test_copies_under_another_patient_come_first(scene):
    tables, found, report = scene
    images = pair_images(report, tables, found, side=64)
    assert [item.pair.second_image for item in images] == ["v2.png", "v1.jpg", "v0.png"]
    assert images[0].first.shape == (64, 64)
    expected = image_pixels(2).reshape(64, 2, 64, 2).mean(axis=(1, 3)) / 255
    assert np.allclose(images[0].first, expected, atol=1e-6)
    assert len(pair_images(report, tables, found, n_pairs=1)) == 1


def test_the_sheet_shows_pairs_side_by_side(scene):
    tables, found, report = scene
    figure = near_duplicate_sheet(pair_images(report, tables, found, side=64))
    assert len(figure.axes) == 6
    titles = [cell.get_suptitle() for cell in figure.subfigs]
    assert "mirrored, different patient ids" in titles[0] and "correlation 1.00" in titles[0]
    assert "same patient" in titles[2]
    assert figure.axes[0].get_title() == "train: t2.png\npatient 2"
    assert figure.axes[1].get_title() == "valid: v2.png\npatient 12"
    assert np.array_equal(figure.axes[0].images[0].get_array(), pair_images(report, tables, found, side=64)[0].first)
    assert png(figure).std() > 0
