from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import UsageError
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.fingerprints import fingerprint_images
from cxr_cli.services.check_leakage.split_images import fingerprint_splits
from tests.drawn_images import image_pixels, save

COURSE = "Image,Mass,PatientId,Nodule\n"


def course(folder, name, rows):
    """Write a table of (image, patient) rows in the course's form and read it."""
    path = folder / f"{name}.csv"
    path.write_text(COURSE + "".join(f"{image},0,{patient},1\n" for image, patient in rows))
    return read_labels(path)


def of_patients(folder, name, patients):
    return course(folder, name, [(f"{name}-{row}.png", patient) for row, patient in enumerate(patients)])


def only_pair(report):
    (pair,) = report.pairs
    return pair


def test_rows_and_shares_worked_by_hand(tmp_path):
    tables = {
        "train": of_patients(tmp_path, "train", ["00013118", "7", "7", "5", "9"]),
        "valid": of_patients(tmp_path, "valid", ["3", "7.0", "13118", "13118"]),
    }
    report = check_leakage(tables)
    found = only_pair(report).patients
    assert report.verdict == "leakage"
    assert [(item.patient_id, item.first_rows, item.second_rows) for item in found.patients] == [
        ("7", (1, 2), (1,)),
        ("13118", (0,), (2, 3)),
    ]
    assert (found.n_patients, found.first.rows, found.second.rows) == (2, (0, 1, 2), (1, 2, 3))
    assert found.second.images == ("valid-1.png", "valid-2.png", "valid-3.png")
    assert (found.first.fraction_of_images, found.second.fraction_of_images) == (3 / 5, 3 / 4)
    assert (found.first.fraction_of_patients, found.second.fraction_of_patients) == (2 / 4, 2 / 3)


@pytest.mark.parametrize(("first", "second", "leaks"), [([0, 1, 2], [2, 3, 4], True), ([0, 1, 2], [3, 4, 5], False)])
def test_the_courses_public_tests(tmp_path, first, second, leaks):
    tables = {"df1": of_patients(tmp_path, "df1", first), "df2": of_patients(tmp_path, "df2", second)}
    assert check_leakage(tables).verdict == ("leakage" if leaks else "clean")


PATIENTS = st.lists(st.one_of(st.integers(0, 20).map(str), st.integers(0, 20).map("{:08d}".format), st.just("")))


@given(PATIENTS.filter(len), PATIENTS.filter(len))
def test_the_overlap_is_the_intersection_of_the_sets(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("splits")
    tables = {"a": of_patients(folder, "a", first), "b": of_patients(folder, "b", second)}
    report = check_leakage(tables)
    one, other = ([str(int(item)) if item else None for item in items] for items in (first, second))
    shared = (set(one) & set(other)) - {None}
    unknown = None in one or None in other
    found = only_pair(report).patients
    if found is None:
        assert not any(one) or not any(other)
    else:
        assert {item.patient_id for item in found.patients} == shared
        assert found.first.rows == tuple(row for row, patient in enumerate(one) if patient in shared)
        assert found.second.rows == tuple(row for row, patient in enumerate(other) if patient in shared)
    assert report.verdict == ("leakage" if shared else "unchecked" if unknown else "clean")
    mirrored = only_pair(check_leakage({"b": tables["b"], "a": tables["a"]})).patients
    assert mirrored is None or (mirrored.first, mirrored.second) == (found.second, found.first)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_same_image_name_is_leakage_without_any_patient(tmp_path):
    for name, lines in (("a.txt", "x.png\ny.png\n"), ("b.txt", "z.png\ny.png\n")):
        (tmp_path / name).write_text(lines)
    tables = {name: read_labels(tmp_path / f"{name}.txt", allow_image_list=True) for name in ("a", "b")}
    report = check_leakage(tables)
    pair = only_pair(report)
    assert pair.patients is None
    assert (pair.names.images, pair.names.first.rows, pair.names.second.rows) == (("y.png",), (1,), (1,))
    assert report.verdict == "leakage"
    assert [(item.split, item.what, item.count) for item in report.unchecked] == [
        ("a", "rows without patient", 2),
        ("b", "rows without patient", 2),
    ]


def test_image_lists_and_tables_are_compared(tmp_path):
    (tmp_path / "test_list.txt").write_text("00000013_005.png\n00000014_000.png\n")
    tables = {
        "train": course(tmp_path, "train", [("00000013_000.png", 13), ("00000099_000.png", 99)]),
        "test": read_labels(tmp_path / "test_list.txt", allow_image_list=True),
    }
    assert [item.patient_id for item in only_pair(check_leakage(tables)).patients.patients] == ["13"]


def test_numbers_of_different_data_sets_are_not_compared(tmp_path):
    chexpert = tmp_path / "chexpert.csv"
    chexpert.write_text(
        "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema\ntrain/patient00013/study1/view1.jpg,M,60,Frontal,AP,1\n"
    )
    nih = tmp_path / "nih.csv"
    nih.write_text("Image Index,Finding Labels,Patient ID\n00000013_000.png,Edema,13\n")
    report = check_leakage({"chexpert": read_labels(chexpert), "nih": read_labels(nih)})
    assert only_pair(report).patients is None
    assert report.verdict == "clean"
    assert "different data sets" in report.notes[0]


def test_every_two_splits_are_compared(tmp_path):
    tables = {
        "train": of_patients(tmp_path, "train", [1, 2]),
        "valid": of_patients(tmp_path, "valid", [3]),
        "test": of_patients(tmp_path, "test", [2, 3]),
    }
    assert [(pair.first, pair.second, pair.leakage) for pair in check_leakage(tables).pairs] == [
        ("train", "valid", False),
        ("train", "test", True),
        ("valid", "test", True),
    ]


def test_repeated_rows_inside_a_split_are_noted(tmp_path):
    tables = {
        "train": course(tmp_path, "train", [("a.png", 1), ("b.png", 1), ("a.png", 1), ("a.png", 1)]),
        "valid": of_patients(tmp_path, "valid", [2]),
    }
    report = check_leakage(tables)
    assert (report.splits[0].n_repeated_rows, report.splits[0].repeated_images) == (2, ("a.png",))
    assert report.verdict == "clean"


def test_one_split_is_refused(tmp_path):
    with pytest.raises(UsageError, match="1 split given; expected two or more"):
        check_leakage({"train": of_patients(tmp_path, "train", [1])})


class Scene:
    """Two splits with images: `add` puts an image into one of them."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = {"train": [], "valid": []}

    def add(self, split, image, patient, pixels=None, **options):
        self.rows[split].append((image, patient))
        if pixels is not None:
            save(self.folder / "images" / image, pixels, **options)
        return self.folder / "images" / image

    def check(self):
        tables = {name: course(self.folder, name, rows) for name, rows in self.rows.items()}
        folders = dict.fromkeys(tables, self.folder / "images")
        return check_leakage(tables, fingerprint_splits(tables, folders))


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    for seed in range(4):
        made.add("train", f"t{seed}.png", seed, image_pixels(seed))
        made.add("valid", f"v{seed}.png", 10 + seed, image_pixels(100 + seed))
    return made


def test_different_images_are_clean(scene):
    report = scene.check()
    assert report.verdict == "clean"
    assert [split.image_check.n_checked for split in report.splits] == [4, 4]
    assert report.splits[0].duplicates == ()
    json.dumps(report.to_dict(), allow_nan=False)


def test_kinds_of_exact_duplicates(scene):
    scene.add("valid", "bytes.png", 0, image_pixels(0))
    scene.add("valid", "pixels.bmp", 50, image_pixels(1))
    scene.add("valid", "t2.png", 2)
    report = scene.check()
    pair = only_pair(report)
    assert pair.names.images == ("t2.png",)
    assert [
        (item.kind, item.first_images, item.second_images, item.different_patient)
        for item in pair.exact_duplicates.duplicates
    ] == [
        ("same bytes", ("t0.png",), ("bytes.png",), False),
        ("same pixels", ("t1.png",), ("pixels.bmp",), True),
    ]
    assert pair.near_duplicates.n_pairs == 0
    assert (pair.exact_duplicates.first.rows, pair.exact_duplicates.second.rows) == ((0, 1), (4, 5))
    assert report.n_copies_under_different_patient == pair.exact_duplicates.n_different_patient == 1


def test_one_file_under_two_names_is_the_same_file(scene):
    scene.add("train", "sub/x.png", 20, image_pixels(55))
    scene.add("valid", "x.png", 21)
    (duplicate,) = only_pair(scene.check()).exact_duplicates.duplicates
    assert (duplicate.kind, duplicate.first_images, duplicate.second_images) == (
        "same file",
        ("sub/x.png",),
        ("x.png",),
    )


def test_a_brightened_copy_under_another_patient_is_news(scene):
    bright = np.clip(image_pixels(3) * 1.1, 0, 255).astype(np.uint8)
    scene.add("valid", "copy.jpg", 77, bright, quality=60)
    report = scene.check()
    pair = only_pair(report)
    (duplicate,) = pair.near_duplicates.pairs
    assert (duplicate.first_image, duplicate.second_image) == ("t3.png", "copy.jpg")
    assert (duplicate.first_patient, duplicate.second_patient, duplicate.different_patient) == ("3", "77", True)
    assert duplicate.distance <= 40 and duplicate.correlation >= 0.85 and duplicate.alteration == "none"
    assert pair.patients.n_patients == 0
    assert report.verdict == "leakage" and report.n_copies_under_different_patient == 1
    assert (pair.near_duplicates.first.rows, pair.near_duplicates.second.rows) == ((3,), (4,))


def test_all_rows_of_a_duplicated_image_are_involved(scene):
    scene.add("train", "again.bmp", 3, image_pixels(3))
    scene.add("valid", "copy.jpg", 3, image_pixels(3), quality=60)
    pair = only_pair(scene.check())
    assert pair.near_duplicates.n_pairs == 1
    assert pair.near_duplicates.first.rows == (3, 4)


def test_equal_images_inside_a_split_are_a_note(scene):
    scene.add("train", "again.bmp", 0, image_pixels(0))
    report = scene.check()
    assert report.splits[0].duplicates == (("t0.png", "again.bmp"),)
    assert report.verdict == "clean"


def test_what_could_not_be_checked_is_never_clean(scene):
    scene.add("valid", "missing.png", 60)
    scene.add("valid", "broken.png", 61, image_pixels(7)).write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    scene.add("train", "grey.png", 62, np.full((64, 64), 100, np.uint8))
    report = scene.check()
    assert report.verdict == "unchecked"
    check = report.splits[1].image_check
    assert (check.n_images, check.n_checked, check.missing) == (6, 4, ("missing.png",))
    assert [item.image for item in check.broken] == ["broken.png"] and check.broken[0].reason
    assert report.splits[0].image_check.blank == ("grey.png",)
    assert [(item.split, item.count) for item in report.unchecked] == [("train", 1), ("valid", 1), ("valid", 1)]


def test_leakage_outweighs_what_could_not_be_checked(scene):
    scene.add("valid", "missing.png", 0)
    assert scene.check().verdict == "leakage"


def test_blank_images_are_compared_exactly_only(scene):
    scene.add("train", "black.png", 30, np.zeros((64, 64), np.uint8))
    scene.add("valid", "black.bmp", 31, np.zeros((64, 64), np.uint8))
    scene.add("valid", "white.bmp", 32, np.full((64, 64), 255, np.uint8))
    pair = only_pair(scene.check())
    assert pair.exact_duplicates.n_duplicates == 1
    assert pair.near_duplicates.n_pairs == pair.candidates.n_pairs == 0


def test_a_folder_without_any_of_the_images(tmp_path):
    tables = {"a": of_patients(tmp_path, "a", [1]), "b": of_patients(tmp_path, "b", [2])}
    (tmp_path / "empty").mkdir()
    report = check_leakage(tables, fingerprint_splits(tables, dict.fromkeys(tables, tmp_path / "empty")))
    assert report.verdict == "unchecked"
    assert [item.what for item in report.unchecked] == ["images without a file"] * 2


def test_links_out_of_the_folder_are_refused(scene, tmp_path):
    outside = save(tmp_path / "outside.png", image_pixels(0))
    (tmp_path / "images" / "link.png").symlink_to(outside)
    scene.add("valid", "link.png", 40)
    report = scene.check()
    assert report.splits[1].image_check.refused == ("link.png",)
    assert report.verdict == "unchecked"


def test_values_of_the_courses_lab(real_data):
    reference = {
        item["id"]: item["expected"] for item in json.loads((real_data / "reference_values.json").read_text())["values"]
    }
    tables = {name: read_labels(real_data / "nih" / f"{name}-small.csv") for name in ("train", "valid")}
    report = check_leakage(tables)
    found = only_pair(report)
    assert {split.name: split.n_patients for split in report.splits} == reference["leakage.lab4.unique"]
    overlap = reference["leakage.lab4.overlap"]
    assert found.patients.n_patients == overlap["n"]
    assert [int(item.patient_id) for item in found.patients.patients] == overlap["ids_sorted"]
    indices = reference["leakage.lab4.indices"]
    assert list(found.patients.first.rows) == sorted(indices["train_rows"])
    assert list(found.patients.second.rows) == sorted(indices["valid_rows"])
    assert list(found.names.images) == reference["leakage.lab4.shared_image"]["identical_image_names"]


def test_nih_split_at_random_by_image(real_data, tmp_path):
    table = read_labels(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    in_test = np.zeros(table.n_images, dtype=bool)
    in_test[np.random.default_rng(0).permutation(table.n_images)[: table.n_images // 5]] = True
    tables = {}
    for name, rows in (("train", ~in_test), ("test", in_test)):
        path = tmp_path / f"{name}.csv"
        path.write_bytes(table.raw.select(np.flatnonzero(rows).tolist()))
        tables[name] = read_labels(path)
    found = only_pair(check_leakage(tables)).patients
    patients = table.frame["patient_id"]
    expected = patients[in_test].isin(set(patients[~in_test])).to_numpy()
    assert found.second.n_images == expected.sum()
    assert found.second.fraction_of_images == pytest.approx(0.82, abs=0.01)


def test_fingerprints_are_taken_once_per_file(scene, monkeypatch):
    seen = []

    def once(paths, **options):
        seen.extend(paths)
        return fingerprint_images(paths, **options)

    monkeypatch.setattr("cxr_cli.services.check_leakage.split_images.fingerprint_images", once)
    scene.add("valid", "t0.png", 0)
    scene.add("valid", "t0.png", 0)
    scene.check()
    assert len(seen) == len(set(seen)) == 8
