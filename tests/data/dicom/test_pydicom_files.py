"""The test files of pydicom and pydicom-data: an outcome expected of each, and pydicom's own pixels beside ours."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from cxr_cli.data.dicom.container import is_dicom
from cxr_cli.data.dicom.image import decode
from cxr_cli.data.dicom.terms import DicomRefused, Reason

data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")

#: "grey": equals what pydicom makes of it (without the GPL decoder it reads no JPEG of 12 bits). "colour": weighed to
#: grey. "not DICOM": no prefix. Else why it is refused.
PYDICOM = {
    "693_J2KI.dcm": "grey",
    "CT_small.dcm": "grey",
    "ExplVR_BigEnd.dcm": "colour",
    "ExplVR_BigEndNoMeta.dcm": "not DICOM",
    "ExplVR_LitEndNoMeta.dcm": "not DICOM",
    "GDCMJ2K_TextGBR.dcm": "colour",
    "J2K_pixelrep_mismatch.dcm": "grey",
    "JPEG-lossy.dcm": "grey, not by pydicom",
    "JPEG2000-embedded-sequence-delimiter.dcm": "damaged pixel data",
    "JPEG2000.dcm": "grey",
    "JPEGLSNearLossless_08.dcm": "grey",
    "JPEGLSNearLossless_16.dcm": "grey",
    "JPGExtended.dcm": "grey, not by pydicom",
    "MR_small.dcm": "grey",
    "MR_small_RLE.dcm": "grey",
    "MR_small_bigendian.dcm": "grey",
    "MR_small_expb.dcm": "grey",
    "MR_small_implicit.dcm": "grey",
    "MR_small_jp2klossless.dcm": "grey",
    "MR_small_jpeg_ls_lossless.dcm": "grey",
    "MR_small_padded.dcm": "grey",
    "MR_truncated.dcm": "truncated",
    "SC_jpeg_no_color_transform.dcm": "colour",
    "SC_jpeg_no_color_transform_2.dcm": "colour",
    "SC_rgb_dcmtk_+eb+cr.dcm": "colour",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm": "colour",
    "SC_rgb_dcmtk_+eb+cy+n2.dcm": "colour",
    "SC_rgb_dcmtk_+eb+cy+np.dcm": "colour",
    "SC_rgb_dcmtk_+eb+cy+s2.dcm": "colour",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm": "colour",
    "SC_rgb_gdcm_KY.dcm": "colour",
    "SC_rgb_jls_lossy_line.dcm": "colour",
    "SC_rgb_jls_lossy_sample.dcm": "colour",
    "SC_rgb_jpeg.dcm": "colour",
    "SC_rgb_jpeg_app14_dcmd.dcm": "colour",
    "SC_rgb_jpeg_dcmd.dcm": "colour",
    "SC_rgb_jpeg_dcmtk.dcm": "colour",
    "SC_rgb_jpeg_gdcm.dcm": "colour",
    "SC_rgb_jpeg_lossy_gdcm.dcm": "colour",
    "SC_rgb_rle.dcm": "colour",
    "SC_rgb_rle_16bit.dcm": "colour",
    "SC_rgb_rle_16bit_2frame.dcm": "several frames",
    "SC_rgb_rle_2frame.dcm": "several frames",
    "SC_rgb_rle_32bit.dcm": "unsupported pixel format",
    "SC_rgb_rle_32bit_2frame.dcm": "several frames",
    "SC_rgb_small_odd.dcm": "colour",
    "SC_rgb_small_odd_big_endian.dcm": "colour",
    "SC_rgb_small_odd_jpeg.dcm": "colour",
    "SC_ybr_full_422_uncompressed.dcm": "colour",
    "UN_sequence.dcm": "no pixel data",
    "badVR.dcm": "damaged header",
    "dicomdirtests/77654033/CR1/6154": "grey",
    "dicomdirtests/77654033/CR2/6247": "grey",
    "dicomdirtests/77654033/CR3/6278": "grey",
    "dicomdirtests/77654033/CT2/17106": "grey",
    "dicomdirtests/77654033/CT2/17136": "grey",
    "dicomdirtests/77654033/CT2/17166": "grey",
    "dicomdirtests/77654033/CT2/17196": "grey",
    "dicomdirtests/98892001/CT2N/6293": "grey",
    "dicomdirtests/98892001/CT2N/6924": "grey",
    "dicomdirtests/98892001/CT5N/2062": "grey",
    "dicomdirtests/98892001/CT5N/2392": "grey",
    "dicomdirtests/98892001/CT5N/2693": "grey",
    "dicomdirtests/98892001/CT5N/3023": "grey",
    "dicomdirtests/98892001/CT5N/3353": "grey",
    "dicomdirtests/98892003/MR1/15820": "grey",
    "dicomdirtests/98892003/MR1/4919": "grey",
    "dicomdirtests/98892003/MR1/5641": "grey",
    "dicomdirtests/98892003/MR2/15970": "grey",
    "dicomdirtests/98892003/MR2/4950": "grey",
    "dicomdirtests/98892003/MR2/4981": "grey",
    "dicomdirtests/98892003/MR2/5011": "grey",
    "dicomdirtests/98892003/MR2/6273": "grey",
    "dicomdirtests/98892003/MR2/6605": "grey",
    "dicomdirtests/98892003/MR2/6935": "grey",
    "dicomdirtests/98892003/MR700/4467": "grey",
    "dicomdirtests/98892003/MR700/4528": "grey",
    "dicomdirtests/98892003/MR700/4558": "grey",
    "dicomdirtests/98892003/MR700/4588": "grey",
    "dicomdirtests/98892003/MR700/4618": "grey",
    "dicomdirtests/98892003/MR700/4648": "grey",
    "dicomdirtests/98892003/MR700/4678": "grey",
    "dicomdirtests/DICOMDIR": "no pixel data",
    "dicomdirtests/DICOMDIR-bigEnd": "no pixel data",
    "dicomdirtests/DICOMDIR-empty.dcm": "no pixel data",
    "dicomdirtests/DICOMDIR-implicit": "no pixel data",
    "dicomdirtests/DICOMDIR-nooffset": "no pixel data",
    "dicomdirtests/DICOMDIR-nopatient": "no pixel data",
    "dicomdirtests/DICOMDIR-reordered": "no pixel data",
    "dicomdirtests/TINY_ALPHA/DICOMDIR": "no pixel data",
    "dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/IM000000": "no pixel data",
    "empty_charset_LEI.dcm": "no pixel data",
    "examples_jpeg2k.dcm": "colour",
    "examples_overlay.dcm": "grey",
    "examples_palette.dcm": "unsupported photometric interpretation",
    "examples_rgb_color.dcm": "colour",
    "examples_ybr_color.dcm": "several frames",
    "image_dfl.dcm": "grey",
    "liver_1frame.dcm": "grey",
    "liver_expb_1frame.dcm": "grey",
    "meta_missing_tsyntax.dcm": "unsupported transfer syntax",
    "nested_priv_SQ.dcm": "damaged header",
    "no_meta.dcm": "not DICOM",
    "no_meta_group_length.dcm": "no pixel data",
    "priv_SQ.dcm": "no pixel data",
    "reportsi.dcm": "no pixel data",
    "reportsi_with_empty_number_tags.dcm": "no pixel data",
    "rtdose.dcm": "several frames",
    "rtdose_1frame.dcm": "grey",
    "rtdose_expb.dcm": "several frames",
    "rtdose_expb_1frame.dcm": "grey",
    "rtdose_rle.dcm": "several frames",
    "rtdose_rle_1frame.dcm": "grey",
    "rtplan.dcm": "no pixel data",
    "rtplan_truncated.dcm": "no pixel data",
    "rtstruct.dcm": "not DICOM",
    "test-SR.dcm": "no pixel data",
    "waveform_ecg.dcm": "no pixel data",
}
PYDICOM_DATA = {
    "693_J2KR.dcm": "grey",
    "693_UNCI.dcm": "grey",
    "693_UNCR.dcm": "grey",
    "JPEG-LL.dcm": "grey",
    "JPEG2000_UNC.dcm": "grey",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "grey",
    "MR-SIEMENS-DICOM-WithOverlays.dcm": "grey",
    "MR2_J2KI.dcm": "grey",
    "MR2_J2KR.dcm": "grey",
    "MR2_UNCI.dcm": "grey",
    "MR2_UNCR.dcm": "grey",
    "OBXXXX1A.dcm": "unsupported photometric interpretation",
    "OBXXXX1A_2frame.dcm": "several frames",
    "OBXXXX1A_expb.dcm": "unsupported photometric interpretation",
    "OBXXXX1A_expb_2frame.dcm": "several frames",
    "OBXXXX1A_rle.dcm": "unsupported photometric interpretation",
    "OBXXXX1A_rle_2frame.dcm": "several frames",
    "OT-PAL-8-face.dcm": "not DICOM",
    "RG1_J2KI.dcm": "grey",
    "RG1_J2KR.dcm": "grey",
    "RG1_UNCI.dcm": "grey",
    "RG1_UNCR.dcm": "grey",
    "RG3_J2KI.dcm": "grey",
    "RG3_J2KR.dcm": "grey",
    "RG3_UNCI.dcm": "grey",
    "RG3_UNCR.dcm": "grey",
    "SC_rgb.dcm": "colour",
    "SC_rgb_16bit.dcm": "colour",
    "SC_rgb_16bit_2frame.dcm": "several frames",
    "SC_rgb_2frame.dcm": "several frames",
    "SC_rgb_32bit.dcm": "unsupported pixel format",
    "SC_rgb_32bit_2frame.dcm": "several frames",
    "SC_rgb_dcmtk_ebcr_dcmd.dcm": "colour",
    "SC_rgb_dcmtk_ebcyn1_dcmd.dcm": "colour",
    "SC_rgb_dcmtk_ebcyn2_dcmd.dcm": "colour",
    "SC_rgb_dcmtk_ebcynp_dcmd.dcm": "colour",
    "SC_rgb_dcmtk_ebcys2_dcmd.dcm": "colour",
    "SC_rgb_dcmtk_ebcys4_dcmd.dcm": "colour",
    "SC_rgb_expb.dcm": "colour",
    "SC_rgb_expb_16bit.dcm": "colour",
    "SC_rgb_expb_16bit_2frame.dcm": "several frames",
    "SC_rgb_expb_2frame.dcm": "several frames",
    "SC_rgb_expb_32bit.dcm": "unsupported pixel format",
    "SC_rgb_expb_32bit_2frame.dcm": "several frames",
    "SC_rgb_gdcm2k_uncompressed.dcm": "colour",
    "SC_ybr_full_uncompressed.dcm": "colour",
    "US1_J2KI.dcm": "colour",
    "US1_J2KR.dcm": "colour",
    "US1_UNCI.dcm": "colour",
    "US1_UNCR.dcm": "colour",
    "bad_sequence.dcm": "grey",
    "color-pl.dcm": "colour",
    "color-px.dcm": "colour",
    "color3d_jpeg_baseline.dcm": "several frames",
    "eCT_Supplemental.dcm": "several frames",
    "emri_small.dcm": "several frames",
    "emri_small_RLE.dcm": "several frames",
    "emri_small_big_endian.dcm": "several frames",
    "emri_small_jpeg_2k_lossless.dcm": "several frames",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "several frames",
    "emri_small_jpeg_ls_lossless.dcm": "several frames",
    "explicit_VR-UN.dcm": "grey",
    "gdcm-US-ALOKA-16.dcm": "unsupported photometric interpretation",
    "gdcm-US-ALOKA-16_big.dcm": "unsupported photometric interpretation",
    "liver.dcm": "several frames",
    "liver_expb.dcm": "several frames",
    "mlut_18.dcm": "grey",
    "vlut_04.dcm": "grey",
}
FOLDERS = {
    "pydicom": Path(pydicom.__file__).parent / "data" / "test_files",
    "pydicom-data": Path(data_store.__file__).parent / "data",
}
FILES = [(FOLDERS["pydicom"] / name, outcome) for name, outcome in PYDICOM.items()]
FILES += [(FOLDERS["pydicom-data"] / name, outcome) for name, outcome in PYDICOM_DATA.items()]
#: What is not meant as a DICOM file.
OTHERS = (".py", ".pyc", ".txt", ".json", ".icc", ".dump", ".gz")


def path_id(value):
    return value.name if isinstance(value, Path) else str(value)


def test_the_table_knows_every_file_of_pydicom():
    known = {path for path, _ in FILES}
    tiny = FOLDERS["pydicom"] / "dicomdirtests" / "TINY_ALPHA"  # fifty copies of one header
    there = {
        path
        for path in FOLDERS["pydicom"].rglob("*")
        if path.is_file() and path.suffix not in OTHERS and path.name != "README" and tiny not in path.parents
    }
    if pydicom.__version__.startswith("3.0."):
        assert there <= known
    assert len(known) > 150


@pytest.mark.parametrize(("path", "outcome"), FILES, ids=path_id)
def test_outcome(path, outcome):
    if not path.exists():
        pytest.skip("this release does not have the file")
    content = path.read_bytes()
    if not is_dicom(content):
        assert outcome == "not DICOM"
        return
    try:
        image = decode(content)
    except DicomRefused as refused:
        assert refused.reason in get_args(Reason)
        assert refused.reason == outcome
        return
    assert outcome.partition(",")[0] == ("colour" if "colour" in image.issues else "grey")
    if outcome != "grey":
        return
    expected = pydicoms_grey(path)
    ours = image.pixels / image.full_scale
    # Padding is black here whatever the window makes of it.
    compared = ~((image.pixels == 0) & (expected > 0)) if "padding masked" in image.issues else np.True_
    np.testing.assert_allclose(ours * compared, expected * compared, atol=0.51 / image.full_scale + 1e-9)


def pydicoms_grey(path: Path) -> np.ndarray:
    """Return what pydicom's functions give, as a fraction of white."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        pixels = ds.pixel_array
        units = apply_modality_lut(pixels, ds)
        made = apply_voi_lut(units, ds)
    if ds.get("VOILUTSequence"):
        fractions = made / (2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1)
    elif "WindowWidth" in ds:
        # The ends of pydicom's range: a value far below the window, and one far above it.
        ends = apply_voi_lut(np.array([-1e9, 1e9]), ds)
        fractions = (made - ends[0]) / (ends[1] - ends[0])
    elif ds.BitsStored <= 8:
        fractions = made / (2**ds.BitsStored - 1)
    else:
        ordered = np.sort(made, axis=None).astype(float)
        skipped = made.size // 1000
        low, high = ordered[skipped], ordered[-1 - skipped]
        fractions = np.clip((made - low) / (high - low), 0, 1)
    return 1 - fractions if ds.PhotometricInterpretation == "MONOCHROME1" else fractions


def test_a_real_radiograph_gives_the_published_numbers():
    folder = FOLDERS["pydicom-data"]
    raw = decode((folder / "RG1_UNCR.dcm").read_bytes())
    assert (raw.mode, raw.pixels.shape, raw.full_scale) == ("MONOCHROME1 15 bit", (1955, 1841), 65535)
    on_255 = raw.pixels / 65535 * 255
    assert round(on_255.min(), 2) == 29.92
    assert round(on_255.max(), 2) == 247.57
    assert round(on_255.mean(), 2) == 192.17
    packed = decode((folder / "RG1_J2KR.dcm").read_bytes())
    np.testing.assert_array_equal(packed.pixels, raw.pixels)


def test_the_stored_values_of_a_real_radiograph():
    from cxr_cli.data.dicom.container import open_dicom
    from cxr_cli.data.dicom.stored import PIXEL_TAGS, pixel_format, stored_values

    def stored(name):
        opened = open_dicom((FOLDERS["pydicom-data"] / name).read_bytes(), PIXEL_TAGS)
        return stored_values(opened, pixel_format(opened.dataset))[0]

    raw = stored("RG1_UNCR.dcm")
    assert (int(raw.min()), int(raw.max()), round(float(raw.mean()), 2)) == (874, 26479, 7391.46)
    np.testing.assert_array_equal(stored("RG1_J2KR.dcm"), raw)
    lossy, twin = stored("RG1_J2KI.dcm"), stored("RG1_UNCI.dcm")
    assert np.abs(lossy.astype(int) - raw).max() == 403
    assert np.abs(twin.astype(int) - raw).max() == 403


def test_the_pair_of_a_real_radiograph_is_exactly_inverted(real_data):
    def on_1024(name):
        image = decode((real_data / "dicom" / name).read_bytes())
        return (image.pixels / image.full_scale * 2 - 1) * 1024

    plain, inverted = on_1024("rsna_jpeg_monochrome2.dcm"), on_1024("rsna_jpeg_monochrome1.dcm")
    np.testing.assert_allclose(plain, -inverted, atol=1e-9)
    assert round(plain[60, 2], 2) == -959.75 or round(plain[60, 2], 2) == 959.75
    assert round(abs(inverted[60, 2]), 2) == 959.75
