"""What the headers of a folder say of its images, and labels joined to them."""

from __future__ import annotations

import pytest

from cxr_cli.data.dicom.table import COLUMNS, header_columns, is_dicom_file, join_labels
from tests.data.dicom.synthetic import dicom, ramp

UID = "1.2.826.0.1.3680043.10"


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two DICOM files, a damaged one and a PNG."""
    for number, place in enumerate(("a/1.dcm", "IM2")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(
            dicom(
                ramp(8),
                PatientID=f"p{number}",
                PatientAge="058Y",
                PatientSex="F",
                ViewPosition="PA",
                StudyInstanceUID=f"{UID}.9",
                SOPInstanceUID=f"{UID}.{number}",
            )
        )
    (tmp_path / "broken.dcm").write_bytes(dicom(ramp(8))[:140])
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_headers_become_columns(folder):
    files = ["a/1.dcm", "IM2", "broken.dcm", "x.png"]
    found = header_columns(folder, files)
    assert found is not None and found.n_dicom == 3
    assert dict(zip(COLUMNS, found.cells[0], strict=True)) == {
        "patient_id": "p0",
        "age": "058Y",
        "sex": "F",
        "view_position": "PA",
        "study_id": f"{UID}.9",
        "sop_instance": f"{UID}.0",
    }
    assert found.cells[1][0] == "p1" and found.cells[2] == found.cells[3] == ("",) * 6
    assert list(found.unreadable) == ["broken.dcm"] and "truncated" in found.unreadable["broken.dcm"]
    assert header_columns(folder, ["x.png"]) is None


def test_dicom_is_told_by_its_content(folder):
    assert is_dicom_file(folder / "IM2")
    assert not is_dicom_file(folder / "x.png") and not is_dicom_file(folder / "absent")


FILES, UIDS = ("a/1.dcm", "IM2", "b/3.dcm"), (f"{UID}.0", f"{UID}.1", "")


@pytest.mark.parametrize(
    ("cells", "by", "matches"),
    [
        ([f"{UID}.1", f"{UID}.0", f"{UID}.7"], "SOP instance UID", ((0, 1), (1, 0))),
        (["1.dcm", "3", "IM2"], "file name", ((0, 0), (1, 2), (2, 1))),
        (["a/1", "b/3.dcm", "c/1.dcm"], "file name", ((0, 0), (2, 1))),
        (["IM2", "IM2", "other"], "file name", ((1, 0), (1, 1))),
    ],
)
def test_labels_are_joined_by_uid_or_name(cells, by, matches):
    joined = join_labels(FILES, UIDS, [["0", "1", "0"], cells])
    assert joined is not None and (joined.column, joined.by, joined.matches) == (1, by, matches)
    assert joined.n_rows_without_image == 3 - len(matches)
    assert joined.n_images_without_row == 3 - len({image for image, _ in matches})


def test_a_table_that_names_no_image_is_not_joined():
    assert join_labels(FILES, UIDS, [["0", "1"], ["x.png", "y.png"]]) is None
