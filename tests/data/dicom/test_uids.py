"""Tables that name DICOM images by their SOP instance UID find the files, whatever these are called."""

from __future__ import annotations

import pytest

from cxr_cli.data.dicom.uids import uid_of_name
from cxr_cli.data.folders import locate_images
from tests.data.dicom.synthetic import dicom, ramp

UIDS = [f"1.2.826.0.1.3680043.10.{number}" for number in range(1, 5)]


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three images, the last of them twice, under names of their own."""
    for place, uid in (("IM0001", UIDS[0]), ("a/b.dcm", UIDS[1]), ("c.dcm", UIDS[2]), ("d.dcm", UIDS[2])):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(dicom(ramp(8), SOPInstanceUID=uid))
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "other.dcm").write_bytes(b"not DICOM")
    return tmp_path


def test_files_are_found_by_uid(folder):
    located = locate_images(folder, [UIDS[0], UIDS[1] + ".dcm", "other.dcm"])
    assert located.paths == (folder / "IM0001", folder / "a" / "b.dcm", folder / "other.dcm")
    assert any("2 image names are SOP instance UIDs of DICOM files" in note for note in located.notes())


def test_a_uid_of_two_files_is_uncertain_and_one_of_none_is_missing(folder):
    located = locate_images(folder, [UIDS[2], UIDS[3]])
    assert located.paths == (None, None) and located.missing == (1,)
    assert located.ambiguous[0].files == ("c.dcm", "d.dcm")


def test_a_file_named_by_its_uid_is_found_without_a_look_into_it(folder):
    (folder / f"{UIDS[3]}.dcm").write_bytes(b"anything")
    located = locate_images(folder, [UIDS[3]])
    assert located.paths == (folder / f"{UIDS[3]}.dcm",)


@pytest.mark.parametrize("name", ["1.5", "12", "a.b.c.d", "1.2.03.4.5", "3.1.2.3.4.5", "1.2.3", "1." + "2." * 40])
def test_names_that_are_no_uids(name):
    assert uid_of_name(name) is None
