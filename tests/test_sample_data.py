"""The sample data are what their README says, and their script draws them again."""

from __future__ import annotations

import csv
import hashlib
import itertools
import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_cli.services.check_leakage.descriptors import MIRROR_MASK, correlation, describe
from tests.helpers import load_script

COURSE_HEADER = (
    "Image,Atelectasis,Cardiomegaly,Consolidation,Edema,Effusion,Emphysema,Fibrosis,Hernia,Infiltration,Mass,Nodule,"
    "PatientId,Pleural_Thickening,Pneumonia,Pneumothorax"
)
PATHOLOGIES = [name for name in COURSE_HEADER.split(",") if name not in ("Image", "PatientId")]
TABLES = ("train-small.csv", "valid-small.csv")


@pytest.fixture(scope="module")
def script(sample_data):
    return load_script(sample_data / "make_sample_data.py")


@pytest.fixture(scope="module")
def drawn_again(script, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    script.write(folder)
    return folder


@pytest.fixture(scope="module")
def rows(sample_data) -> dict[str, list[dict[str, str]]]:
    result = {}
    for name in TABLES:
        with (sample_data / name).open(newline="", encoding="ascii") as file:
            result[name] = list(csv.DictReader(file))
    return result


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def images(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "images-small").iterdir())


@pytest.mark.slow
def test_script_writes_the_same_tables_and_images(sample_data, drawn_again):
    for name in (*TABLES, "boxes.csv"):
        assert (drawn_again / name).read_bytes() == (sample_data / name).read_bytes()
    assert images(drawn_again) == images(sample_data)
    for name in images(sample_data):
        np.testing.assert_array_equal(
            pixels(drawn_again / "images-small" / name), pixels(sample_data / "images-small" / name), err_msg=name
        )


@pytest.mark.slow
def test_script_writes_the_same_bytes(sample_data, drawn_again):
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(bytes(i * i % 251 for i in range(100_000))) + packer.flush()
    if hashlib.sha256(packed).hexdigest() != "37c308e348ec13b38ab5149b8fdb3012bc5d29c43fc06f1b5a4c9881b036dae4":
        pytest.skip("this build of zlib packs differently from all that were tried; the pixels are compared above")
    for name in images(sample_data):
        path = Path("images-small") / name
        assert (drawn_again / path).read_bytes() == (sample_data / path).read_bytes(), name


@pytest.mark.parametrize(("name", "n"), list(zip(TABLES, (200, 50), strict=True)))
def test_tables_have_the_course_form(sample_data, rows, name, n):
    assert (sample_data / name).read_text(encoding="ascii").splitlines()[0] == COURSE_HEADER
    assert len(rows[name]) == n
    for row in rows[name]:
        match = re.fullmatch(r"(\d{8})_\d{3}\.png", row["Image"])
        assert match
        assert row["PatientId"] == str(int(match[1]))
        assert {row[pathology] for pathology in PATHOLOGIES} <= {"0", "1"}


def test_header_is_that_of_the_real_table(real_data):
    with (real_data / "nih" / "train-small.csv").open(encoding="utf-8") as file:
        assert file.readline().strip() == COURSE_HEADER


def test_no_patient_is_one_of_nih(rows):
    assert min(int(row["PatientId"]) for row in itertools.chain(*rows.values())) > 30805


def test_every_image_is_there_and_named_once(sample_data, rows):
    named = [row["Image"] for row in itertools.chain(*rows.values())]
    assert len(set(named)) == 250
    assert sorted(named) == images(sample_data)


def test_images_are_grey_and_small(sample_data):
    paths = sorted((sample_data / "images-small").iterdir())
    assert sum(path.stat().st_size for path in paths) < 8_000_000
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (256, 256))
            assert np.asarray(image).std() > 20


@pytest.mark.parametrize("name", TABLES)
def test_prevalences_follow_the_real_ones(rows, name):
    counts = {pathology: sum(row[pathology] == "1" for row in rows[name]) for pathology in PATHOLOGIES}
    per_row = Counter(sum(row[pathology] == "1" for pathology in PATHOLOGIES) for row in rows[name])
    assert per_row[0] > len(rows[name]) / 2
    assert any(n > 1 for n in per_row)
    assert max(counts, key=counts.get) == "Infiltration"
    assert min(counts, key=counts.get) == "Hernia"
    if name == "train-small.csv":
        assert min(counts.values()) == 2


def test_prevalences_are_near_those_of_the_real_table(rows, real_data):
    with (real_data / "nih" / "train-small.csv").open(encoding="utf-8") as file:
        real = list(csv.DictReader(file))
    for pathology in PATHOLOGIES:
        ours = np.mean([row[pathology] == "1" for row in rows["train-small.csv"]])
        theirs = np.mean([row[pathology] == "1" for row in real])
        assert abs(ours - theirs) < 0.015, pathology


def test_five_patients_are_in_both_tables(sample_data, rows):
    train, valid = ({row["PatientId"] for row in rows[name]} for name in TABLES)
    shared = train & valid
    assert len(shared) == 5
    readme = (sample_data / "README.md").read_text(encoding="utf-8")
    assert all(f"`{patient}`" in readme for patient in shared)


def test_one_validation_image_is_a_brightened_copy(sample_data, rows, script):
    copies = [image for image in script.tables()[1] if image.copy_of]
    assert len(copies) == 1
    copy, original = copies[0], copies[0].copy_of
    assert copy.name in {row["Image"] for row in rows["valid-small.csv"]}
    assert original.name in {row["Image"] for row in rows["train-small.csv"]}
    assert copy.patient != original.patient
    assert copy.findings == original.findings
    readme = (sample_data / "README.md").read_text(encoding="utf-8")
    assert f"`{copy.name}`" in readme
    assert f"`{original.name}`" in readme
    before, after = (pixels(sample_data / "images-small" / image.name).astype(int) for image in (original, copy))
    difference = after - before
    assert difference.min() >= 0
    assert 4 <= difference.mean() <= 14
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.999


def test_no_two_other_images_are_alike(sample_data, rows, script):
    """Only the planted copy comes near another image, as check-leakage measures it, plain or mirrored."""
    names = [row["Image"] for row in itertools.chain(*rows.values())]
    described = [describe(thumbnail(sample_data / "images-small" / name)) for name in names]
    hashes, thumbnails = (np.array(values) for values in zip(*described, strict=True))
    first, second = np.triu_indices(len(names), 1)
    for flip in (False, True):
        others = hashes ^ MIRROR_MASK if flip else hashes
        distance = np.bitwise_count(hashes[first] ^ others[second]).sum(axis=1)
        close = correlation(thumbnails[first], thumbnails[second], mirrored=flip)
        alike = np.flatnonzero((distance <= 60) | (close >= 0.75))
        found = [{names[first[i]], names[second[i]]} for i in alike]
        copy = next(image for image in script.tables()[1] if image.copy_of)
        assert found == ([] if flip else [{copy.name, copy.copy_of.name}])


def thumbnail(path: Path) -> np.ndarray:
    return pixels(path).reshape(64, 4, 64, 4).mean(axis=(1, 3))


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_each_finding_is_plain_to_see_and_changes_nothing_else(script, pathology):
    healthy = script.draw_image(99001, 0).astype(int)
    changed = np.abs(script.draw_image(99001, 0, [pathology]).astype(int) - healthy)
    assert 0.001 < (changed > 12).mean() < 0.5
    assert not changed[:20].any()  # neck and marker
    assert not changed[:, :20].any()  # right arm


def boxes_in(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="ascii").splitlines()
    assert lines[0] == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    return [line.split(",") for line in lines[1:]]


def test_every_finding_has_a_box_and_no_other_has(sample_data, rows):
    boxed = {(row[0], row[1]) for row in boxes_in(sample_data / "boxes.csv")}
    labels = itertools.chain(*rows.values())
    assert boxed == {(row["Image"], name) for row in labels for name in PATHOLOGIES if row[name] == "1"}


def test_boxes_lie_on_the_image(sample_data):
    for _, _, *numbers in boxes_in(sample_data / "boxes.csv"):
        x, y, width, height = map(float, numbers)
        assert x >= 0 and y >= 0 and width >= 1 and height >= 1
        assert x + width <= 256 and y + height <= 256


@pytest.mark.parametrize("pathology", ["Mass", "Nodule", "Pneumothorax", "Consolidation", "Hernia"])
def test_boxes_hold_what_the_finding_changed(script, pathology):
    healthy = script.draw_image(99001, 0).astype(int)
    drawing = script.draw(99001, 0, [pathology])
    changed = np.abs(drawing.pixels.astype(int) - healthy)
    inside = np.zeros(changed.shape, bool)
    for box in drawing.boxes:
        inside[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)] = True
    assert changed[inside].sum() > 0.8 * changed.sum()
    assert changed[inside].mean() > 4 * changed[~inside].mean()


def test_box_of_two_marks_and_a_speck(script):
    """By hand: a square of 20 pixels, one of 10 far from it with half the change, and a speck of 2."""
    change = np.zeros((256, 256), np.float32)
    change[16:36, 40:60] = 0.6
    change[200:210, 100:110] = 0.3
    change[100, 200:202] = 0.6
    found = script.boxes_of("Mass", change)
    assert found == [script.Box("Mass", 40, 16, 20, 20), script.Box("Mass", 100, 200, 10, 10)]


@pytest.fixture(scope="module")
def others(script, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("others")
    script.main([str(folder), "--n-images", "40", "--prevalence", "0.2", "--size", "64", "--workers", "1"])
    return folder


def labels_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


def test_other_images_are_as_many_as_asked_for(others, rows):
    labels = labels_in(others)
    assert len(labels) == 40
    assert sorted(row["Image"] for row in labels) == sorted(path.name for path in (others / "images").iterdir())
    assert not {row["PatientId"] for row in labels} & {row["PatientId"] for row in itertools.chain(*rows.values())}
    for pathology in PATHOLOGIES:
        assert 7 <= sum(row[pathology] == "1" for row in labels) <= 8, pathology
    with Image.open(others / "images" / labels[0]["Image"]) as image:
        assert image.size == (64, 64)


def test_boxes_shrink_with_the_image(others, script):
    row = labels_in(others)[1]
    findings = [name for name in PATHOLOGIES if row[name] == "1"]
    whole = script.draw(int(row["PatientId"]), int(row["Image"][-7:-4]), sorted(findings))
    numbers = [list(map(float, box[2:])) for box in boxes_in(others / "boxes.csv") if box[0] == row["Image"]]
    assert numbers == [[n / 4 for n in (box.x, box.y, box.width, box.height)] for box in whole.boxes]
    expected = whole.pixels.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(pixels(others / "images" / row["Image"]) - expected).max() <= 0.5


def test_permuted_labels_are_those_of_other_patients(others, script, tmp_path):
    script.write_others(tmp_path, 40, 0.2, 64, permute_labels=True)
    before, after = labels_in(others), labels_in(tmp_path)
    assert [row["Image"] for row in before] == [row["Image"] for row in after]
    for pathology in PATHOLOGIES:
        assert sum(row[pathology] == "1" for row in before) == sum(row[pathology] == "1" for row in after)
    assert sum(any(one[name] != two[name] for name in PATHOLOGIES) for one, two in zip(before, after, strict=True)) > 20
    image = before[0]["Image"]
    assert (others / "images" / image).read_bytes() == (tmp_path / "images" / image).read_bytes()
    assert (others / "boxes.csv").read_bytes() == (tmp_path / "boxes.csv").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--n-images", "5"],
        ["--size", "64", "folder"],
        ["folder", "--n-images", "0"],
        ["folder", "--n-images", "5", "--size", "100"],
        ["folder", "--n-images", "5", "--prevalence", "1.5"],
    ],
)
def test_script_refuses_what_it_cannot_draw(script, arguments, capsys):
    with pytest.raises(SystemExit) as error:
        script.main(arguments)
    assert error.value.code == 2
    assert "usage:" in capsys.readouterr().err
