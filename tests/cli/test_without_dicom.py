"""Without the extra, a DICOM file is named with the line that installs it, and nothing else changes."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.data.dicom.synthetic import dicom, ramp

LINE = "pip install 'cxr-cli[dicom]'"


@pytest.fixture
def images(tmp_path):
    """Return a folder with two PNGs and a DICOM file, and the table that names them."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(ramp(8, seed=len(name))).save(tmp_path / "images" / name)
    (tmp_path / "images" / "c.dcm").write_bytes(dicom(ramp(8)))
    (tmp_path / "t.csv").write_text("Image,Mass,PatientId\na.png,1,1\nb.png,0,2\nc.dcm,1,3\n")
    return tmp_path


def without_pydicom(folder, *arguments):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['pydicom'] = None\n"
        f"from cxr_cli.cli.app import app; app({[str(item) for item in arguments]!r})"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)


def test_preprocess(images):
    done = without_pydicom(images, "preprocess", "t.csv", "--image-size", "16", "--no-plots", "--output", "out")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    failures = list(csv.DictReader((images / "out" / "failures.csv").open()))
    assert [(failure["image"], failure["reason"]) for failure in failures] == [
        ("c.dcm", f"is DICOM; to read it, run {LINE}")
    ]
    assert len((images / "out" / "index.csv").read_text().splitlines()) == 3


def test_explore(images):
    done = without_pydicom(images, "explore", "t.csv", "--no-plots", "--check-images", "--workers", "1")
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr
    done = without_pydicom(images, "explore", "t.csv", "--no-plots")
    assert done.returncode == 1 and LINE in done.stdout


def test_check_leakage(images):
    (images / "u.csv").write_text("Image,Mass,PatientId\nc.dcm,1,9\n")
    done = without_pydicom(images, "check-leakage", "t.csv", "u.csv", "--images", "images", "--no-plots")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr and LINE in done.stdout + done.stderr


def test_a_folder_of_dicom_files(images):
    (images / "images" / "a.png").unlink()
    (images / "images" / "b.png").unlink()
    done = without_pydicom(images, "explore", "images", "--no-plots")
    assert "Traceback" not in done.stderr and LINE in done.stdout + done.stderr
