"""The DICOM twins among the sample data: the same images as their PNGs, drawn again byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_cli.data.dicom.headers import read_dicom_header
from cxr_cli.data.images import read_gray
from tests.helpers import load_script


def twins(folder):
    return sorted((folder / "dicom").iterdir())


def test_twins_show_what_their_pngs_show(sample_data):
    modes = set()
    for path in twins(sample_data):
        gray, png = read_gray(path), read_gray(sample_data / "images-small" / f"{path.stem}.png")
        levels = gray.pixels / gray.full_scale * 255
        modes.add(gray.mode)
        if gray.full_scale == 255:
            np.testing.assert_array_equal(gray.pixels, png.pixels)
        elif any("percentiles" in issue for issue in gray.issues):
            assert np.corrcoef(levels.ravel(), png.pixels.ravel())[0, 1] > 0.9999
        else:
            assert np.abs(levels - png.pixels).max() < 1
    assert modes == {f"MONOCHROME{which} {bits} bit" for which in (1, 2) for bits in (8, 12)}


def test_headers_name_the_patients_of_the_table(sample_data):
    headers = [read_dicom_header(path) for path in twins(sample_data)]
    assert [header.patient_id for header in headers] == [str(int(path.stem[:8])) for path in twins(sample_data)]
    assert {header.view for header in headers} == {"PA"} and {header.modality for header in headers} == {"DX"}
    assert [header.patient_data for header in headers].count(("PatientName", "PatientBirthDate")) == 1
    assert sum(header.is_burnt_in for header in headers) == 1
    assert len({header.sop_instance for header in headers}) == len({header.study for header in headers}) == 5


def test_the_folder_stays_small(sample_data):
    assert sum(path.stat().st_size for path in twins(sample_data)) < 600_000
    assert sum(path.stat().st_size for path in sample_data.rglob("*") if path.is_file()) < 8_000_000


@pytest.mark.slow
def test_the_script_draws_them_again(sample_data, tmp_path):
    script = load_script(sample_data / "make_sample_data.py")
    script.write_dicom(tmp_path, script.tables()[0])
    for path in twins(sample_data):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_command_on_the_sample_data(cxr, sample_data):
    run = cxr("explore", sample_data / "train-small.csv", "--images", sample_data / "dicom", "--no-plots")
    assert run.exit_code == 0
    assert "Headers of 5 DICOM files" in run.stdout and "Invented" not in run.output
    assert "1 of 5 DICOM files hold patient data" in run.stderr
