"""Counts of header tags over the DICOM files of a table, and what `cxr explore` says of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydicom.dataset import Dataset

from cxr_cli.data.dicom.headers import read_dicom_header
from cxr_cli.errors import ImageError
from cxr_cli.services.explore.dicom import survey_headers
from cxr_cli.services.images.dicom_headers import read_headers
from cxr_cli.services.parallel import Workers
from tests.data.dicom.synthetic import dicom, lut, ramp

VALUES = ramp(12)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of seven DICOM files and one PNG, each with something of its own."""
    files = {
        "plain.dcm": dicom(VALUES, bits=12, ViewPosition="PA", Manufacturer="Maker", ImagerPixelSpacing=[0.143, 0.143]),
        "named.dcm": dicom(
            VALUES, bits=12, PatientName="Doe^Jane", PatientBirthDate="19500101", WindowCenter=1, WindowWidth=2
        ),
        "lateral.dicom": dicom(VALUES, bits=12, ViewPosition="LL", BurnedInAnnotation="YES", RescaleSlope=1),
        "1.2.840.1": dicom(VALUES, bits=12, Modality="CT", photometric="MONOCHROME1", PixelSpacing=[1, 2]),
        "frames.dcm": dicom(VALUES, bits=12, NumberOfFrames=2, syntax="implicit"),
        "report.dcm": dicom(VALUES, bits=12, PixelData=None, Modality="SR"),
        "table.dcm": dicom(VALUES, bits=12, VOILUTSequence=[lut([1, 2])], PatientName="ANONYMOUS", syntax="big endian"),
        "broken.dcm": dicom(VALUES, bits=12)[:150],
        "image.png": b"\x89PNG",
        "notes": b"nothing of the kind",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_tags_are_counted_and_people_are_not_named(folder):
    facts = survey_headers(sorted(folder.iterdir()))
    tags = {tag.tag: dict(tag.values) for tag in facts.tags}
    assert facts.n_files == 8 and facts.n_unreadable == 1
    assert list(facts.unreadable) == [
        "cannot be decoded as DICOM: truncated: the file ends in its file meta information"
    ]
    assert tags["modality"] == {"DX": 5, "CT": 1, "SR": 1}
    assert tags["view"] == {"": 5, "LL": 1, "PA": 1}
    assert tags["photometric interpretation"] == {"MONOCHROME2": 6, "MONOCHROME1": 1}
    assert tags["bits stored"] == {"12 of 16": 7}
    assert tags["window"] == {"": 5, "1/2": 1, "LUT": 1}
    assert tags["rescale"] == {"": 6, "yes": 1}
    assert tags["pixel spacing (mm)"] == {"": 5, "0.143": 1, "1 × 2": 1}
    assert tags["transfer syntax"]["Explicit VR Big Endian"] == 1
    assert (facts.n_lateral, facts.n_other_modality, facts.n_without_pixels) == (1, 2, 1)
    assert (facts.n_several_frames, facts.n_burnt_in) == (1, 1)
    assert facts.n_patient_data == 1
    assert facts.patient_data == {"PatientName": 1, "PatientBirthDate": 1}
    assert "Doe" not in repr(facts) and "1950" not in repr(facts)


def test_no_dicom_no_facts(folder):
    assert survey_headers([folder / "image.png"]) is None
    assert survey_headers([folder / "notes"]) is None


@pytest.mark.slow
def test_workers_read_the_same(folder):
    paths = sorted(folder.iterdir())
    with Workers(2) as workers:
        assert read_headers(paths, executor=workers) == read_headers(paths)


@pytest.mark.parametrize(
    ("view", "lateral"),
    [("LL", True), ("RL", True), ("LATERAL", True), ("PA", False), ("AP", False), ("LLD", False), ("", False)],
)
def test_lateral_views(tmp_path, view, lateral):
    (tmp_path / "a.dcm").write_bytes(dicom(VALUES, bits=12, ViewPosition=view))
    assert read_dicom_header(tmp_path / "a.dcm").is_lateral is lateral


def test_the_view_code_stands_in_for_the_view_position(tmp_path):
    code = Dataset()
    code.CodeMeaning = "left lateral"
    (tmp_path / "a.dcm").write_bytes(dicom(VALUES, bits=12, ViewCodeSequence=[code]))
    header = read_dicom_header(tmp_path / "a.dcm")
    assert header.view == "left lateral" and header.is_lateral


def test_a_long_header_is_read_to_its_end(tmp_path):
    long = dicom(VALUES, bits=12, VOILUTSequence=[lut(np.arange(60000) % 4096)], PresentationLUTShape="IDENTITY")
    (tmp_path / "a.dcm").write_bytes(long)
    header = read_dicom_header(tmp_path / "a.dcm")
    assert (header.window, header.presentation_shape, header.has_pixels) == ("LUT", "IDENTITY", True)


def test_names_in_other_scripts(tmp_path):
    content = dicom(VALUES, bits=12, SpecificCharacterSet="ISO_IR 192", PatientID="é-17", PatientName="Ünal^Ö")
    (tmp_path / "a.dcm").write_bytes(content)
    header = read_dicom_header(tmp_path / "a.dcm")
    assert header.patient_id == "é-17" and header.patient_data == ("PatientName",)


def test_errors_name_the_file(tmp_path):
    for name, content, words in (
        ("a.dcm", b"nothing", "is not DICOM"),
        ("b.dcm", dicom(VALUES, bits=12)[:140], "truncated"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=words) as caught:
            read_dicom_header(tmp_path / name)
        assert str(tmp_path / name) in caught.value.what
    with pytest.raises(ImageError, match="no such file"):
        read_dicom_header(tmp_path / "c.dcm")


def test_another_window_changes_what_is_measured(cxr, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.dcm").write_bytes(dicom(VALUES, bits=12, WindowCenter=2048, WindowWidth=4096))
    (tmp_path / "t.csv").write_text("Image,Mass,PatientId\na.dcm,1,1\n")

    def explored(*options):
        run = cxr("explore", tmp_path / "t.csv", "--json", *options)
        assert run.exit_code == 0, run.stderr
        return json.loads(run.stdout)["result"]["images"]

    own, narrow = explored(), explored("--window", "1000.0, 11", "--output", "out")
    assert own["dicom"]["window"] is None and narrow["dicom"]["window"] == "1000,11"
    means = [result["check"]["statistics"]["mean"] for result in (own, narrow)]
    assert means[0] == pytest.approx(VALUES.mean() / 4095, abs=1e-4)
    assert means[1] == pytest.approx((VALUES > 1000).mean(), abs=0.01)
    assert cxr("explore", tmp_path / "t.csv", "--window", "1").exit_code == 2


def test_a_window_without_dicom_is_said_to_change_nothing(cxr, sample_data):
    run = cxr("explore", sample_data / "valid-small.csv", "--window", "full", "--no-plots", "--n-images", "1")
    assert run.exit_code == 0 and "none of the images is DICOM" in run.stderr


def test_the_command_shows_tags_and_warns(cxr, folder, tmp_path):
    table = tmp_path / "t.csv"
    names = [path.name for path in sorted(folder.iterdir()) if path.suffix in (".dcm", ".dicom")]
    table.write_text("Image,Mass,PatientId\n" + "".join(f"{name},1,1\n" for name in names))
    run = cxr("explore", table, "--images", folder, "--no-plots", "--n-images", 20)
    assert run.exit_code == 1, run.stderr
    assert "Headers of 7 DICOM files" in run.stdout and "photometric interpretation" in run.stdout
    for words in (
        "1 of 7 DICOM files are lateral views",
        "annotations burnt into",
        "hold patient data",
        "several frames",
    ):
        assert words in run.stderr
    assert "Doe" not in run.output and "1950" not in run.output
    run = cxr("explore", table, "--images", folder, "--no-plots", "--json")
    dicom_part = json.loads(run.stdout)["result"]["images"]["dicom"]
    assert dicom_part["n_files"] == 7 and dicom_part["patient_data"] == {"PatientName": 1, "PatientBirthDate": 1}
