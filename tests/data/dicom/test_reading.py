"""DICOM files among the other image types: chosen by content, described by their header, named where they fail."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cxr_cli.data.dicom.grey import Window
from cxr_cli.data.images import read_gray, read_header
from cxr_cli.errors import ImageError
from tests.conftest import ROOT
from tests.data.dicom.synthetic import dicom, ramp


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "1.2.840.7"
    path.write_bytes(dicom(ramp(12), bits=12, photometric="MONOCHROME1", WindowCenter=2048, WindowWidth=4096))
    return path


def test_grey_and_header(image):
    gray = read_gray(image)
    assert (gray.format, gray.mode, gray.full_scale) == ("DICOM", "MONOCHROME1 12 bit", 65535)
    assert gray.white_is_zero and gray.issues == ("no rescale",)
    np.testing.assert_allclose(gray.pixels / 65535, 1 - ramp(12) / 4095, atol=1e-5)
    header = read_header(image)
    assert (header.format, header.mode, header.height, header.width) == ("DICOM", gray.mode, *ramp(12).shape)


def test_another_window(image):
    np.testing.assert_allclose(
        read_gray(image, Window(1000, 11)).pixels.mean(), 65535 * (ramp(12) < 1000).mean(), rtol=0.02
    )
    np.testing.assert_array_equal(read_gray(image, "full").pixels, read_gray(image).pixels)


@pytest.mark.parametrize("beginning", [b"II*\0", b"MM\0*", b"BM", b"MZ", b"\xff\xd8\xff"])
def test_a_preamble_of_another_type_does_not_hide_dicom(image, beginning):
    content = image.read_bytes()
    image.write_bytes(beginning + content[len(beginning) :])
    assert read_gray(image).format == "DICOM"


def test_refusals_name_the_file_and_the_reason(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(ramp(12), bits=12)[:-50])
    with pytest.raises(ImageError) as caught:
        read_gray(path)
    assert caught.value.what.startswith(f"{path}: cannot be decoded as DICOM: truncated: the pixel data hold ")
    assert caught.value.remedy == "Fetch the file again."
    path.write_bytes(dicom(ramp(12), bits=12, NumberOfFrames=3))
    with pytest.raises(ImageError, match="several frames") as caught:
        read_gray(path)
    assert "Fetch" not in caught.value.remedy


def test_without_the_extra_a_dicom_file_is_named_with_the_line_that_installs_it(image):
    png = image.with_name("a.png")
    from PIL import Image

    Image.fromarray(ramp(8)).save(png)
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from cxr_cli.data.images import read_gray\n"
        f"print(read_gray({str(png)!r}).format)\n"
        f"try: read_gray({str(image)!r})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    first, second = done.stdout.splitlines()
    assert first == "PNG"
    assert second == f"ImageError {image}: is DICOM; to read it, run pip install 'cxr-cli[dicom]'"


def test_other_types_load_no_pydicom(tmp_path):
    from PIL import Image

    Image.fromarray(ramp(8)).save(tmp_path / "a.png")
    code = (
        "import sys; from cxr_cli.data.images import read_gray\n"
        f"read_gray({str(tmp_path / 'a.png')!r}); print('pydicom' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"
