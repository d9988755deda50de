from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import read_labels
from cxr_cli.errors import CxrError, OutputError, UsageError
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.remove import remove_leakage, rows_to_remove
from cxr_cli.services.check_leakage.split_images import fingerprint_splits
from tests.drawn_images import image_pixels, save
from tests.services.check_leakage.test_check_leakage import COURSE, course, of_patients


def removed(tables, order, folder, **options):
    return remove_leakage(tables, check_leakage(tables), order, Outputs(folder), check_leakage, **options).removal


def test_every_remaining_line_stays_as_it_was(tmp_path):
    begin = b"\xef\xbb\xbf Image ,Mass,PatientId,Note\r\n"
    lines = [b"a.png,0,1,\r\n", b'b.png, 1 ,"2","1"\r\n', b"\r\n", b"c.png,1,0003,0\r\n", b"d.png,0,4.0,1"]
    path = tmp_path / "valid.csv"
    path.write_bytes(begin + b"".join(lines))
    original = path.read_bytes()
    tables = {"train": of_patients(tmp_path, "train", [3, 9]), "valid": read_labels(path)}
    outcome = removed(tables, ["valid"], tmp_path / "out")
    written = (tmp_path / "out" / "valid.csv").read_bytes()
    assert written == begin + lines[0] + lines[1] + lines[4]
    assert path.read_bytes() == original
    (cleaned,) = outcome.splits
    assert (cleaned.n_images_before, cleaned.n_images_after, cleaned.rows_removed) == (4, 3, (2,))
    assert outcome.after.verdict == "clean"
    assert not (tmp_path / "out" / "train.csv").exists()


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zip", ".zip"])
def test_packed_tables(tmp_path, ending):
    content = (COURSE + "a.png,0,1,1\nb.png,0,2,1\n").encode()
    path = tmp_path / f"valid{ending}"
    if ending.endswith("gz"):
        path.write_bytes(gzip.compress(content))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("valid.csv", content)
    tables = {"train": of_patients(tmp_path, "train", [1]), "valid": read_labels(path)}
    (cleaned,) = removed(tables, ["valid"], tmp_path / "out").splits
    written = (tmp_path / "out" / ("valid.csv.gz" if ending.endswith("gz") else "valid.csv")).read_bytes()
    assert cleaned.path.endswith(".csv.gz" if ending.endswith("gz") else "valid.csv")
    assert (gzip.decompress(written) if ending.endswith("gz") else written) == (COURSE + "b.png,0,2,1\n").encode()


def test_image_lists_stay_lists(tmp_path):
    for name, lines in (("a.txt", "00000001_000.png\n"), ("b.txt", "00000001_001.png\r\n00000002_000.png\r\n")):
        (tmp_path / name).write_bytes(lines.encode())
    tables = {name: read_labels(tmp_path / f"{name}.txt", allow_image_list=True) for name in ("a", "b")}
    outcome = removed(tables, ["b"], tmp_path / "out")
    assert (tmp_path / "out" / "b.txt").read_bytes() == b"00000002_000.png\r\n"
    assert outcome.after.verdict == "clean" and outcome.splits[0].pathologies == ()


SPLITS = st.lists(st.lists(st.integers(0, 12), min_size=3, max_size=12), min_size=3, max_size=3)


@given(SPLITS, st.permutations(["train", "valid", "test"]))
def test_what_was_written_is_disjoint(tmp_path_factory, patients, order):
    folder = tmp_path_factory.mktemp("splits")
    tables = {
        name: of_patients(folder, name, [*ids, 100 + place])
        for place, (name, ids) in enumerate(zip(("train", "valid", "test"), patients, strict=True))
    }
    outcome = removed(tables, order[:2], folder / "out")
    assert outcome.after.verdict == "clean"
    last = set(tables[order[2]].patient_ids)
    first = next(split for split in outcome.splits if split.name == order[0])
    others = last | set(tables[order[1]].patient_ids)
    # The split named first loses whatever it shares, and nothing else.
    gone = [row for row, item in enumerate(tables[order[0]].frame["patient_id"]) if item in others]
    assert list(first.rows_removed) == gone


def test_the_split_named_first_loses(tmp_path):
    tables = {
        "train": of_patients(tmp_path, "train", [1, 2, 3]),
        "valid": of_patients(tmp_path, "valid", [1, 5, 6]),
        "test": of_patients(tmp_path, "test", [1, 5, 7]),
    }
    report = check_leakage(tables)
    gone = rows_to_remove(tables, report, ["test", "valid"])
    assert {name: rows.tolist() for name, rows in gone.items()} == {
        "test": [True, True, False],
        "valid": [True, False, False],
    }
    outcome = removed(tables, ["test"], tmp_path / "out")
    assert outcome.after.verdict == "leakage"  # what train and valid share is still there


def test_a_finding_that_loses_its_last_positive_is_named(tmp_path):
    (tmp_path / "valid.csv").write_text(COURSE + "a.png,1,1,1\nb.png,0,2,1\nc.png,0,3,\n")
    tables = {"train": of_patients(tmp_path, "train", [1]), "valid": read_labels(tmp_path / "valid.csv")}
    (cleaned,) = removed(tables, ["valid"], tmp_path / "out").splits
    assert cleaned.lost_pathologies == ("Mass",)
    assert [(loss.pathology, loss.n_positive_before, loss.n_positive_after) for loss in cleaned.pathologies] == [
        ("Mass", 1, 0),
        ("Nodule", 2, 1),
    ]


@pytest.fixture
def copies(tmp_path):
    """Valid holds: 0 a stranger, 1 an exact copy, 2 another image of that patient, 3 a near copy, 4 a shared name."""
    images = tmp_path / "images"
    for seed in range(3):
        save(images / f"t{seed}.png", image_pixels(seed))
    save(images / "v0.png", image_pixels(100))
    save(images / "v1.bmp", image_pixels(0))
    save(images / "v2.png", image_pixels(102))
    save(images / "v3.png", np.clip(image_pixels(1) * 1.1, 0, 255).astype(np.uint8))
    tables = {
        "train": course(tmp_path, "train", [(f"t{seed}.png", seed) for seed in range(3)]),
        "valid": course(
            tmp_path, "valid", [("v0.png", 10), ("v1.bmp", 11), ("v2.png", 11), ("v3.png", 12), ("t2.png", 13)]
        ),
    }

    def check(tables):
        return check_leakage(tables, fingerprint_splits(tables, dict.fromkeys(tables, images)))

    return tables, check


@pytest.mark.parametrize(
    ("level", "gone", "verdict"),
    [
        ("patients", (), "leakage"),
        ("exact-duplicates", (1, 2, 4), "leakage"),
        ("near-duplicates", (1, 2, 3, 4), "clean"),
    ],
)
def test_levels_include_those_before_them_and_patients_go_whole(copies, tmp_path, level, gone, verdict):
    tables, check = copies
    outcome = remove_leakage(tables, check(tables), ["valid"], Outputs(tmp_path / "out"), check, level).removal
    assert outcome.splits[0].rows_removed == gone
    assert outcome.after.verdict == verdict


def test_rows_without_patient_go_one_by_one(tmp_path):
    tables = {
        "train": course(tmp_path, "train", [("a.png", 1)]),
        "valid": course(tmp_path, "valid", [("a.png", ""), ("b.png", ""), ("c.png", 2)]),
    }
    assert rows_to_remove(tables, check_leakage(tables), ["valid"])["valid"].tolist() == [True, False, False]


def test_nothing_is_written_if_nothing_would_be_left(tmp_path):
    tables = {"train": of_patients(tmp_path, "train", [1, 2]), "valid": of_patients(tmp_path, "valid", [1])}
    with pytest.raises(CxrError, match="nothing would be left of valid"):
        removed(tables, ["valid"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_originals_are_never_overwritten(tmp_path):
    tables = {"train": of_patients(tmp_path, "train", [1]), "valid": of_patients(tmp_path, "valid", [1, 2])}
    outputs = Outputs(tmp_path, [table.path for table in tables.values()])
    with pytest.raises(OutputError, match="is an input"):
        remove_leakage(tables, check_leakage(tables), ["valid"], outputs, check_leakage)


@pytest.mark.parametrize("order", [["valid", "valid"], ["other"]])
def test_an_order_that_makes_no_sense_is_refused(tmp_path, order):
    tables = {"train": of_patients(tmp_path, "train", [1]), "valid": of_patients(tmp_path, "valid", [1, 2])}
    with pytest.raises(UsageError):
        rows_to_remove(tables, check_leakage(tables), order)


def test_values_of_the_courses_lab(real_data, tmp_path):
    reference = next(
        item["expected"]
        for item in json.loads((real_data / "reference_values.json").read_text())["values"]
        if item["id"] == "leakage.lab4.after_removal"
    )
    tables = {name: read_labels(real_data / "nih" / f"{name}-small.csv") for name in ("train", "valid")}
    outcome = removed(tables, ["valid"], tmp_path / "out")
    (cleaned,) = outcome.splits
    assert cleaned.n_images_after == reference["valid_rows"]
    assert cleaned.n_patients_after == reference["valid_unique_patients"]
    assert outcome.after.pairs[0].patients.n_patients == reference["overlap"]
    assert {loss.pathology: loss.n_positive_after for loss in cleaned.pathologies} == reference["positives"]
    (instead,) = removed(tables, ["train"], tmp_path / "other").splits
    assert {"rows": instead.n_images_after, "unique_patients": instead.n_patients_after} == reference[
        "if_dropped_from_train_instead"
    ]
