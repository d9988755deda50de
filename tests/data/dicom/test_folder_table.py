"""A folder of DICOM files is a table: patients, age, sex and view from headers, labels joined by UID or file name."""

from __future__ import annotations

import json

import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import LabelTableError
from tests.data.dicom.synthetic import dicom, ramp

UID = "1.2.826.0.1.3680043.10"


def image(number: int, **elements) -> bytes:
    """Return one of eight images: patient number // 2, one study each."""
    return dicom(
        ramp(12, seed=number, shape=(64, 64)),
        bits=12,
        **{
            "PatientID": f"p{number // 2}",
            "PatientAge": f"0{40 + number}Y",
            "PatientSex": "FM"[number % 2],
            "ViewPosition": ("PA", "AP", "LL")[number % 3],
            "SOPInstanceUID": f"{UID}.{number}",
            "StudyInstanceUID": f"{UID}.9{number}",
            **elements,
        },
    )


@pytest.fixture
def archive(tmp_path):
    """Return a folder as a hospital's archive writes it: a folder for each patient, files without ending."""
    for number in range(8):
        path = tmp_path / "archive" / f"P{number // 2}" / f"IM{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number))
    (tmp_path / "archive" / "README.txt").write_text("nothing")
    return tmp_path / "archive"


def issues(table):
    return {issue.kind: issue.count for issue in table.issues}


def test_headers_make_the_table(archive):
    table = read_labels(archive)
    assert (table.schema, table.n_images, table.pathologies) == ("dicom-folder", 8, ())
    assert table.images[:3] == ["P0/IM0", "P0/IM1", "P1/IM2"]
    frame = table.frame
    assert frame["patient_id"].tolist() == [f"p{number // 2}" for number in range(8)]
    assert frame["age"].tolist() == [float(40 + number) for number in range(8)]
    assert frame["sex"].tolist() == list("FM" * 4)
    assert frame["view"].tolist() == ["PA", "AP", "LL"] * 2 + ["PA", "AP"]
    assert {"study_id", "sop_instance"} <= set(table.columns)
    assert "folder" in issues(table)


def test_sub_folders_that_hold_several_patients_are_classes(tmp_path):
    for number in range(8):
        path = tmp_path / ("COVID", "normal")[number // 4] / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image(number))
    table = read_labels(tmp_path)
    assert table.labels.shape == (8, 1) and table.labels[:, 0].sum() == 4
    assert len(table.patient_ids) == 4


@pytest.mark.parametrize("by", ["uid", "name", "stem"])
def test_labels_are_joined(archive, tmp_path, by):
    names = {"uid": f"{UID}.{{}}", "name": "P{1}/IM{0}", "stem": "IM{}"}[by]
    rows = [f"{number % 2},{names.format(number, number // 2)},1" for number in (7, 0, 1, 2, 4, 5, 6)]
    (tmp_path / "labels.csv").write_text("Mass,key,Nodule\n" + "\n".join(rows) + "\n0,other,1\n")
    table = read_labels(archive, join=[tmp_path / "labels.csv"])
    assert table.pathologies == ("Mass", "Nodule") and table.n_images == 7
    assert table.images == [f"P{number // 2}/IM{number}" for number in (0, 1, 2, 4, 5, 6, 7)]
    assert table.labels[:, 0].tolist() == [0, 1, 0, 0, 1, 0, 1] and table.labels[:, 1].tolist() == [1] * 7
    assert table.frame["patient_id"].tolist() == ["p0", "p0", "p1", "p2", "p2", "p3", "p3"]
    assert issues(table)["rows-without-image"] == issues(table)["images-without-row"] == 1
    assert [source.path for source in table.sources] == [str(archive), str(tmp_path / "labels.csv")]


def test_patients_of_the_label_table_go_before_those_of_the_headers(archive, tmp_path):
    (tmp_path / "labels.csv").write_text(
        "SOPInstanceUID,Mass,Subject\n" + "".join(f"{UID}.{n},1,s{n}\n" for n in range(8))
    )
    table = read_labels(archive, join=[tmp_path / "labels.csv"])
    assert sorted(table.patient_ids) == [f"s{number}" for number in range(8)]
    assert table.frame["sex"].tolist() == list("FM" * 4)


def test_a_table_of_other_images_is_refused(archive, tmp_path):
    (tmp_path / "labels.csv").write_text("image,Mass\nx.png,1\ny.png,0\n")
    with pytest.raises(LabelTableError, match="names no image of the folder"):
        read_labels(archive, join=[tmp_path / "labels.csv"])


def test_damaged_headers_are_counted_and_their_images_stay(archive):
    (archive / "P0" / "broken.dcm").write_bytes(image(0)[:150])
    table = read_labels(archive)
    assert table.n_images == 9 and issues(table)["unreadable-header"] == 1
    assert table.patient_codes[table.images.index("P0/broken.dcm")] == -1


def test_leakage_between_two_folders(cxr, tmp_path):
    for number in range(8):
        folder = tmp_path / ("train" if number < 5 else "valid")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.dcm").write_bytes(image(number))
    run = cxr("check-leakage", tmp_path / "train", tmp_path / "valid", "--no-plots", "--json")
    assert run.exit_code == 1, run.stderr
    patients = json.loads(run.stdout)["result"]["pairs"][0]["patients"]
    assert patients["n_patients"] == 1 and patients["patients"][0]["patient_id"] == "p2"


def test_a_folder_is_preprocessed(cxr, archive):
    run = cxr("preprocess", archive, "--image-size", "16", "--no-plots", "--json", "--output", "out")
    assert run.exit_code == 0, run.stderr
    assert json.loads(run.stdout)["result"]["n_done"] == 8


def test_links_that_leave_the_folder_are_not_followed(archive, tmp_path):
    (tmp_path / "outside.dcm").write_bytes(image(0, PatientID="secret"))
    (archive / "P0" / "link.dcm").symlink_to(tmp_path / "outside.dcm")
    (archive / "P0" / "IM99").symlink_to(tmp_path / "outside.dcm")
    (archive / "P0" / "inside.dcm").symlink_to(archive / "P1" / "IM2")
    table = read_labels(archive)
    assert "P0/IM99" not in table.images and "secret" not in table.patient_ids
    patients = dict(zip(table.images, table.frame["patient_id"].tolist(), strict=True))
    assert patients["P0/inside.dcm"] == "p1" and not isinstance(patients["P0/link.dcm"], str)
