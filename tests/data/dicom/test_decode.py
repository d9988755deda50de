"""Whole files: every combination of bits, sign, polarity, window and transfer syntax, and what is said of odd ones."""

from __future__ import annotations

import builtins
import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from cxr_cli.data.dicom import decoders
from cxr_cli.data.dicom.grey import Window
from cxr_cli.data.dicom.image import decode, read_shape
from cxr_cli.data.dicom.terms import DicomRefused
from tests.data.dicom.synthetic import LOSSLESS, UIDS, _with_fragments, _written, dataset, dicom, encoded, lut, ramp

NO_WINDOW = "no window: grey range from percentiles"


def expected_grey(values, bits, signed, photometric, window):
    """Work out the grey values in one line of arithmetic per step."""
    values = values.astype(np.float64)
    if window is not None:
        fractions = np.clip((values - (window[0] - 0.5)) / (window[1] - 1) + 0.5, 0, 1)
    elif bits == 8:
        fractions = (values - (-128 if signed else 0)) / 255
    else:
        ordered = np.sort(values, axis=None)
        skipped = values.size // 1000
        low, high = ordered[skipped], ordered[-1 - skipped]
        fractions = np.clip((values - low) / (high - low), 0, 1)
    return 1 - fractions if photometric == "MONOCHROME1" else fractions


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_every_combination(syntax, bits):
    for signed in (False, True):
        values = ramp(bits, signed=signed, seed=bits)
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            centre = 0 if signed else 1 << (bits - 1)
            for window in (None, (centre, 1 << (bits - 1))):
                elements = {} if window is None else {"WindowCenter": window[0], "WindowWidth": window[1]}
                content = dicom(values, bits=bits, photometric=photometric, syntax=syntax, **elements)
                image = decode(content)
                expected = expected_grey(values, bits, signed, photometric, window)
                np.testing.assert_allclose(image.pixels / image.full_scale, expected, atol=0.5001 / 65535)
                assert image.mode == f"{photometric} {bits} bit"
                assert read_shape(content) == (image.mode, *values.shape)
                assert image.full_scale == (255 if bits == 8 and window is None else 65535)
                stated = {"no rescale"}
                if window is None:
                    stated.add(NO_WINDOW if bits > 8 else "no window: grey range of all stored values")
                assert set(image.issues) == stated


#: Distinct combinations in the headers of the OpenI collection: photometric interpretation, bits stored, window,
#: presentation LUT shape, rescale.
OPENI = [
    (photometric, bits, window, shape, rescale)
    for photometric in ("MONOCHROME1", "MONOCHROME2")
    for bits in (10, 12, 14, 15)
    for window in (None, (800, 1200))
    for shape in (None, "IDENTITY", "INVERSE")
    for rescale in (None, (1, 0))
]


@pytest.mark.parametrize(("photometric", "bits", "window", "shape", "rescale"), OPENI)
def test_combinations_of_a_real_collection(photometric, bits, window, shape, rescale):
    elements = {}
    if window:
        elements |= {"WindowCenter": window[0], "WindowWidth": window[1]}
    if shape:
        elements["PresentationLUTShape"] = shape
    if rescale:
        elements |= {"RescaleSlope": rescale[0], "RescaleIntercept": rescale[1]}
    values = ramp(bits, shape=(40, 50))
    image = decode(dicom(values, bits=bits, photometric=photometric, **elements))
    expected = expected_grey(values, bits, False, photometric, window)
    np.testing.assert_allclose(image.pixels / 65535, expected, atol=0.5001 / 65535)
    agrees = shape is None or shape == {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[photometric]
    assert ("contradictory presentation LUT shape" in image.issues) == (not agrees)
    assert ("no rescale" in image.issues) == (rescale is None)
    assert (NO_WINDOW in image.issues) == (window is None)


@pytest.mark.parametrize("syntax", ["JPEG", "JPEG-LS near", "JPEG 2000"])
def test_lossy_syntaxes_come_close(syntax):
    gradient = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    image = decode(dicom(gradient, syntax=syntax))
    assert np.abs(image.pixels.astype(int) - gradient).max() <= 4


def test_signed_values_written_as_unsigned_codestreams_are_signed_again():
    values = ramp(12, signed=True)
    for syntax in ("JPEG-LS", "JPEG 2000 lossless"):
        made = decode(dicom(values, bits=12, syntax=syntax, WindowCenter=0, WindowWidth=4096)).pixels
        plain = decode(dicom(values, bits=12, WindowCenter=0, WindowWidth=4096)).pixels
        np.testing.assert_array_equal(made, plain)


@pytest.mark.parametrize(
    ("name", "encode", "tolerance"),
    [
        ("HTJ2K", lambda values: imagecodecs.htj2k_encode(values, reversible=True), 0),
        ("JPEG Extended", lambda values: imagecodecs.jpeg8_encode(values, level=98, bitspersample=12), 40),
    ],
)
def test_high_throughput_jpeg2000_and_jpeg_of_twelve_bits(name, encode, tolerance):
    values = np.add.outer(np.arange(64) * 30, np.arange(80) * 20).astype(np.uint16)
    ds = _with_fragments(dataset(values, bits=12, WindowCenter=2048, WindowWidth=4096), [encode(values)])
    decoded = decode(_written(ds, name)).pixels / 65535 * 4095
    np.testing.assert_allclose(decoded, values, atol=tolerance + 0.1)


def test_a_pair_marked_both_ways_is_exactly_inverted():
    values = ramp(8)
    pair = [decode(dicom(values, photometric=name)).pixels for name in ("MONOCHROME1", "MONOCHROME2")]
    np.testing.assert_array_equal(pair[0], 255 - pair[1])


def test_the_complement_marked_monochrome1_is_the_same_image():
    values = ramp(12)
    plain = decode(dicom(values, bits=12)).pixels
    other = decode(dicom(4095 - values, bits=12, photometric="MONOCHROME1")).pixels
    np.testing.assert_array_equal(plain, other)


def test_overlay_bits_above_the_stored_ones_are_dropped():
    values = ramp(12)
    marked = values | np.uint16(0xF000)
    image = decode(dicom(marked, bits=12))
    np.testing.assert_array_equal(image.pixels, decode(dicom(values, bits=12)).pixels)
    assert "unused bits set" in image.issues


def test_a_high_bit_above_the_stored_bits_is_followed():
    values = ramp(12)
    image = decode(dicom(values << 4, bits=12, HighBit=15))
    np.testing.assert_array_equal(image.pixels, decode(dicom(values, bits=12)).pixels)
    signed = ramp(12, signed=True)
    image = decode(dicom(signed << 4, bits=12, HighBit=15))
    np.testing.assert_array_equal(image.pixels, decode(dicom(signed, bits=12)).pixels)


def test_bits_are_packed_and_words_are_wide():
    mask = np.random.default_rng(3).integers(0, 2, (10, 20)).astype(np.uint8)
    ds = dataset(
        mask, bits=1, BitsAllocated=1, PixelData=np.packbits(mask, axis=None, bitorder="little").tobytes() + b"\0"
    )
    np.testing.assert_array_equal(decode(encoded(ds)).pixels, mask * np.uint16(65535))
    wide = ramp(32)
    image = decode(dicom(wide, bits=32))
    np.testing.assert_allclose(image.pixels / 65535, expected_grey(wide, 32, False, "MONOCHROME2", None), atol=1e-5)


def test_the_first_of_several_windows_is_taken_and_another_one_on_request():
    values = ramp(12)
    content = dicom(values, bits=12, WindowCenter=[1000, 2048], WindowWidth=[500, 4096])
    np.testing.assert_allclose(decode(content).pixels / 65535, Window(1000, 500).fractions(values), atol=1e-5)
    chosen = decode(content, Window(2048, 4096))
    np.testing.assert_allclose(chosen.pixels / 65535, values / 4095, atol=1e-5)
    np.testing.assert_array_equal(chosen.pixels, decode(content, "full").pixels)


@pytest.mark.parametrize("function", ["SIGMOID", "LINEAR_EXACT", "LINEAR"])
def test_the_window_function_of_the_file_is_followed(function):
    values = ramp(12)
    content = dicom(values, bits=12, WindowCenter=2000, WindowWidth=900, VOILUTFunction=function)
    expected = Window(2000, 900, function).fractions(values)
    np.testing.assert_allclose(decode(content).pixels / 65535, expected, atol=1e-5)


def test_a_voi_table_goes_before_a_window():
    values = ramp(8)
    curve = (np.arange(256)[::-1] ** 2 // 255).astype(np.uint16)
    content = dicom(values, VOILUTSequence=[lut(curve, bits=8)], WindowCenter=5, WindowWidth=6)
    image = decode(content)
    np.testing.assert_allclose(image.pixels / 65535, curve[values] / 255, atol=1e-5)


def test_tables_of_bytes_words_and_numbers_say_the_same():
    values = ramp(8)
    curve = (np.arange(256) ** 2 // 255).astype(np.uint16)
    wanted = decode(dicom(values, VOILUTSequence=[lut(curve, bits=8)])).pixels
    numbers = lut(curve, bits=8)
    numbers.add_new("LUTData", "US", curve.tolist())
    bytes_ = lut(curve, bits=8)
    bytes_.add_new("LUTData", "OW", curve.astype(np.uint8).tobytes())
    for item in (numbers, bytes_):
        np.testing.assert_array_equal(decode(dicom(values, VOILUTSequence=[item])).pixels, wanted)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian"])
def test_a_signed_modality_table(syntax):
    values = ramp(12, signed=True)
    curve = np.linspace(0, 65535, 4096).astype(np.uint16)[::-1]
    item = lut(curve, first=-2048, signed=True)
    if syntax == "big endian":
        item.add_new("LUTData", "OW", curve.astype(">u2").tobytes())
    image = decode(
        dicom(values, bits=12, syntax=syntax, ModalityLUTSequence=[item], WindowCenter=32768, WindowWidth=65536)
    )
    np.testing.assert_allclose(image.pixels, curve[values + 2048], atol=1)
    assert image.issues == ()


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("items", [[], [Dataset()]])
def test_an_empty_table_sequence_is_said_and_passed_over(keyword, items):
    values = ramp(12)
    image = decode(dicom(values, bits=12, WindowCenter=2048, WindowWidth=4096, **{keyword: items}))
    assert "empty LUT sequence" in image.issues
    np.testing.assert_allclose(image.pixels / 65535, values / 4095, atol=1e-5)


def test_damaged_tables_are_refused():
    short = lut([1, 2, 3], bits=16)
    short.add_new("LUTDescriptor", "US", [300, 0, 16])
    strange = lut([1, 2, 3], bits=3)
    lone = Dataset()
    lone.add_new("LUTData", "OW", b"\0\1")
    for item in (short, strange, lone):
        with pytest.raises(DicomRefused, match="damaged lookup table"):
            decode(dicom(ramp(12), bits=12, VOILUTSequence=[item]))


@pytest.mark.parametrize(("centre", "width"), [("x", "100"), ("100", "-5"), ("100", "0"), ("nan", "5"), ("5", None)])
def test_a_damaged_window_is_an_issue(centre, width):
    ds = dataset(ramp(12), bits=12)
    content = encoded(ds)
    ds.add_new("WindowCenter", "LO", centre)
    if width is not None:
        ds.add_new("WindowWidth", "LO", width)
    image = decode(encoded(ds))
    assert {"unusable window", NO_WINDOW} <= set(image.issues)
    np.testing.assert_array_equal(image.pixels, decode(content).pixels)


def test_padding_of_either_sign_is_masked():
    values = ramp(12, signed=True)
    values[5:9] = -2048
    ds = dataset(values, bits=12, WindowCenter=-1500, WindowWidth=1000)
    ds.add_new("PixelPaddingValue", "US", 65536 - 2048)
    image = decode(encoded(ds))
    assert "padding masked" in image.issues and not image.pixels[5:9].any()
    limit = dataset(ramp(12), bits=12, PixelPaddingValue=4000, PixelPaddingRangeLimit=4095, photometric="MONOCHROME1")
    image = decode(encoded(limit))
    assert not image.pixels[ramp(12) >= 4000].any()


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian", "RLE", "JPEG"])
@pytest.mark.parametrize("planar", [0, 1])
def test_colour_becomes_grey_as_in_other_formats(syntax, planar):
    from PIL import Image

    colours = np.zeros((16, 16, 3), np.uint8)
    colours[:, :8], colours[8:, :, 1] = (200, 30, 90), 120
    stored = colours if planar == 0 else np.ascontiguousarray(colours.transpose(2, 0, 1)).reshape(16, 16, 3)
    if syntax in ("RLE", "JPEG") and planar:
        pytest.skip("is not written so")
    image = decode(dicom(stored, photometric="RGB", syntax=syntax, PlanarConfiguration=planar))
    grey = np.asarray(Image.fromarray(colours).convert("L"))
    assert np.abs(image.pixels.astype(int) - grey).max() <= (60 if syntax == "JPEG" else 0)
    assert set(image.issues) >= ({"colour", "planar colour"} if planar else {"colour"})


def test_colour_of_sixteen_bits_keeps_them():
    colours = np.random.default_rng(1).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    image = decode(dicom(colours, photometric="RGB"))
    assert image.pixels.dtype == np.uint16
    np.testing.assert_allclose(image.pixels, colours @ np.array([0.299, 0.587, 0.114]), atol=1.5)


def test_pixels_that_are_not_square_are_said():
    assert "pixels not square" in decode(dicom(ramp(8), PixelSpacing=[0.2, 0.1])).issues
    assert "pixels not square" in decode(dicom(ramp(8), PixelAspectRatio=["1", "2"])).issues
    assert "pixels not square" not in decode(dicom(ramp(8), ImagerPixelSpacing=[0.143, 0.143])).issues


REFUSED = [
    ({"PixelData": None}, "no pixel data"),
    ({"NumberOfFrames": 2}, "several frames"),
    ({"NumberOfFrames": 0}, "damaged header"),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "unsupported photometric interpretation"),
    ({"PhotometricInterpretation": None}, "unsupported photometric interpretation"),
    ({"SamplesPerPixel": 3}, "damaged header"),
    ({"BitsAllocated": 12}, "unsupported pixel format"),
    ({"BitsAllocated": 64}, "unsupported pixel format"),
    ({"BitsStored": 17}, "damaged header"),
    ({"HighBit": 10}, "damaged header"),
    ({"PixelRepresentation": 2}, "damaged header"),
    ({"Rows": None}, "damaged header"),
    ({"Rows": 0}, "damaged header"),
    ({"Rows": 60000, "Columns": 60000}, "too large"),
    ({"Rows": 300}, "truncated"),
    ({"RescaleSlope": 0, "RescaleIntercept": 0}, "damaged header"),
]


@pytest.mark.parametrize(("elements", "reason"), REFUSED)
def test_refusals_have_a_reason_of_the_closed_list(elements, reason):
    with pytest.raises(DicomRefused) as refused:
        decode(dicom(ramp(16), **elements))
    assert refused.value.reason == reason
    assert str(refused.value).startswith(reason)


def test_fractions_are_refused():
    ds = dataset(ramp(16))
    content = encoded(ds).replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x08\x00OF")
    with pytest.raises(DicomRefused, match="unsupported pixel format"):
        decode(content)


@pytest.mark.parametrize("last", ["92", "94", "11"])
def test_transfer_syntaxes_that_are_not_read(last):
    content = dicom(ramp(8), syntax="JPEG").replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4." + last.encode())
    with pytest.raises(DicomRefused, match=rf"unsupported transfer syntax: 1\.2\.840\.10008\.1\.2\.4\.{last}"):
        decode(content)


def test_excess_pixel_data_are_said_and_several_offsets_are_several_frames():
    image = decode(dicom(ramp(8), PixelData=ramp(8).tobytes() + b"\0" * 100))
    assert "excess pixel data" in image.issues
    frame = pydicom.encaps.get_frame(
        pydicom.dcmread(io.BytesIO(dicom(ramp(8), syntax="JPEG"))).PixelData, 0, number_of_frames=1
    )
    with pytest.raises(DicomRefused, match="several frames"):
        decode(_written(_with_fragments(dataset(ramp(8)), [frame, frame]), "JPEG"))


@pytest.mark.parametrize("syntax", [name for name in UIDS if name not in LOSSLESS or "JPEG" in name or name == "RLE"])
def test_codestreams_of_another_size_are_refused_before_decoding(syntax):
    values = ramp(8, shape=(32, 32))
    content = dicom(values, syntax=syntax)
    ds = pydicom.dcmread(io.BytesIO(content))
    ds.Rows = 16
    stream = io.BytesIO()
    ds.save_as(stream)
    with pytest.raises(DicomRefused) as refused:
        decode(stream.getvalue())
    assert refused.value.reason == "damaged pixel data"


@pytest.mark.parametrize("syntax", ["JPEG Lossless", "JPEG Lossless SV1", "JPEG-LS", "JPEG 2000 lossless"])
def test_decoders_that_stand_in_give_the_same_pixels(syntax, monkeypatch):
    files = [dicom(ramp(bits, signed=signed), bits=bits, syntax=syntax) for bits in (8, 12, 16) for signed in (0, 1)]
    wanted = [decode(content).pixels for content in files]
    find = decoders.importlib.util.find_spec
    monkeypatch.setattr(decoders.importlib.util, "find_spec", lambda name: name != "imagecodecs" and find(name) or None)
    for content, pixels in zip(files, wanted, strict=True):
        np.testing.assert_array_equal(decode(content).pixels, pixels)


@pytest.mark.parametrize("syntax", ["JPEG Lossless", "JPEG Lossless SV1"])
def test_lossless_data_that_end_too_early_or_too_late_are_noticed(syntax):
    values = np.add.outer(np.arange(80), np.arange(90)).astype(np.uint16) * 7
    values += np.random.default_rng(0).integers(0, 60, values.shape).astype(np.uint16)
    ds = pydicom.dcmread(io.BytesIO(dicom(values, bits=12, syntax=syntax)))
    frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    half = frame[: len(frame) // 2] + b"\xff\xd9"
    with pytest.raises(DicomRefused, match="truncated: compressed data are missing"):
        decode(_written(_with_fragments(ds, [half]), syntax))
    more = frame[:-3] + frame[-300:-3] + b"\xff\xd9"
    with pytest.raises(DicomRefused, match="damaged pixel data: compressed data are left over"):
        decode(_written(_with_fragments(ds, [more]), syntax))


@pytest.mark.parametrize("syntax", UIDS)
def test_truncated_files_are_refused_wherever_they_end(syntax):
    content = dicom(ramp(8, shape=(64, 64)), syntax=syntax)
    for stop in sorted({*range(133, len(content), 97), len(content) - 9, len(content) - 200}):
        with pytest.raises(DicomRefused) as refused:
            decode(content[:stop])
        assert refused.value.reason in ("truncated", "damaged header", "no pixel data", "damaged pixel data")


def test_a_deflated_bomb_is_stopped(monkeypatch):
    from cxr_cli.data.dicom import container

    monkeypatch.setattr(container, "MAX_FILE_BYTES", 1 << 20)
    content = dicom(np.zeros((2000, 2000), np.uint8), syntax="deflated")
    assert len(content) < 20_000
    with pytest.raises(DicomRefused, match="too large"):
        decode(content)


def test_headers_that_would_take_for_ever_are_stopped():
    ds = dataset(ramp(8))
    ds.add_new(0x00090010, "LO", "HERE")
    content = encoded(ds)
    at = content.index(b"\x09\x00\x10\x00")
    elements = b"\x09\x00\x11\x00LO\x00\x00" * 300_000
    sequence = b"\x09\x00\x12\x00SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    for inside in (elements, sequence + elements, sequence * 3000):
        with pytest.raises(DicomRefused, match="damaged header"):
            decode(content[:at] + inside + content[at:])


def test_a_missing_decoder_is_named_with_the_line_that_brings_it(monkeypatch):
    content = dicom(ramp(8), syntax="JPEG Lossless SV1")
    find = decoders.importlib.util.find_spec
    absent = ("imagecodecs", "gdcm", "libjpeg")
    monkeypatch.setattr(decoders.importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    with pytest.raises(DicomRefused, match=r"missing decoder: JPEG Lossless SV1.*pip install 'cxr-cli\[dicom\]'"):
        decode(content)


def test_without_pydicom_the_import_fails_as_imports_do(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == "pydicom":
            raise ImportError(name)
        return real(name, *arguments, **options)

    content = dicom(ramp(8))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError):
        decode(content)
