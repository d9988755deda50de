"""Patients that the tables do not name and the headers of their DICOM images do."""

from __future__ import annotations

import json

import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.services.check_leakage.check_and_remove import check_and_remove
from cxr_cli.services.check_leakage.header_patients import FROM_HEADERS, with_header_patients
from tests.data.dicom.synthetic import dicom, ramp

UID = "1.2.826.0.1.3680043.10"


@pytest.fixture
def lists(tmp_path):
    """Return two lists of images without patients, whose headers share patient 2, and the image folder."""
    (tmp_path / "images").mkdir()
    for number in range(8):
        content = dicom(
            ramp(12, seed=number, shape=(64, 64)),
            bits=12,
            PatientID=f"00{number // 2}" if number < 7 else "",
            SOPInstanceUID=f"{UID}.{number}",
        )
        (tmp_path / "images" / f"{number}.dcm").write_bytes(content)
    (tmp_path / "train.txt").write_text("".join(f"{number}.dcm\n" for number in range(5)))
    (tmp_path / "valid.txt").write_text("".join(f"{UID}.{number}\n" for number in range(5, 8)))
    return tmp_path


def read(lists):
    return {name: read_labels(lists / f"{name}.txt", allow_image_list=True) for name in ("train", "valid")}


def test_patients_come_from_the_headers(lists):
    tables = read(lists)
    assert not any(table.has_patients for table in tables.values())
    filled = with_header_patients(tables, dict.fromkeys(tables, lists / "images"))
    assert filled["train"].frame["patient_id"].tolist() == ["0", "0", "1", "1", "2"]
    assert filled["valid"].frame["patient_id"].iloc[:2].tolist() == ["2", "3"]
    assert filled["valid"].patient_codes.tolist() == [0, 1, -1]
    said = {name: [issue for issue in table.issues if issue.kind == FROM_HEADERS] for name, table in filled.items()}
    assert [issue.count for issue in said["train"]] == [5] and [issue.count for issue in said["valid"]] == [2]


def test_tables_that_name_patients_are_left_alone(lists):
    (lists / "own.csv").write_text("Image,Mass,PatientId\n0.dcm,1,77\n")
    tables = {"own": read_labels(lists / "own.csv"), **read(lists)}
    filled = with_header_patients(tables, {"own": lists / "images"})
    assert all(filled[name] is tables[name] for name in tables)


def test_leakage_is_found_and_the_source_of_patients_is_said(lists):
    report = check_and_remove(read(lists), lists / "images")
    assert report.verdict == "leakage"
    patients = report.pairs[0].patients
    assert patients is not None and [shared.patient_id for shared in patients.patients] == ["2"]
    assert any("DICOM headers" in note for note in report.splits[0].notes)
    assert report.splits[0].patients_from == "DICOM headers"
    assert [(item.split, item.what, item.count) for item in report.unchecked] == [("valid", "rows without patient", 1)]
    assert check_and_remove(read(lists)).pairs[0].patients is None


def test_the_command_says_so(cxr, lists):
    run = cxr("check-leakage", lists / "train.txt", lists / "valid.txt", "--images", lists / "images", "--no-plots")
    assert run.exit_code == 1
    assert "those of 5 of 5 images are from DICOM headers" in run.stderr
    run = cxr(
        *(
            "check-leakage",
            lists / "train.txt",
            lists / "valid.txt",
            "--images",
            lists / "images",
            "--no-plots",
            "--json",
        )
    )
    assert json.loads(run.stdout)["result"]["pairs"][0]["patients"]["n_patients"] == 1
