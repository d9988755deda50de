import io
import os
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cxr_cli.data import fast_decoders, images, native_stderr, png
from cxr_cli.data.images import read_gray, read_header
from cxr_cli.errors import ImageError

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def save(path, image, **options):
    image.save(path, **options)
    return path


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_png(width, height, raw, *, bits=8, colour=0, interlace=0, idat=None):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    body = zlib.compress(raw) if idat is None else idat
    return png.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def filtered(pixels, kinds):
    """Encode rows with the given PNG filters (0 none, 1 sub, 2 up, 3 average, 4 Paeth), straight from the standard."""
    rows = []
    above = np.zeros(pixels.shape[1], int)
    for row, kind in zip(pixels.astype(int), kinds, strict=True):
        left = np.concatenate([[0], row[:-1]])
        corner = np.concatenate([[0], above[:-1]])
        guess = left + above - corner
        far = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(far.argmin(axis=0), [left, above, corner])
        predicted = [0 * row, left, above, (left + above) // 2, paeth][kind]
        rows.append(bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes())
        above = row
    return b"".join(rows)


def test_plain_grey(tmp_path):
    image = read_gray(save(tmp_path / "a.png", Image.fromarray(RAMP)))
    np.testing.assert_array_equal(image.pixels, RAMP)
    assert (image.format, image.mode, image.height, image.width, image.full_scale) == ("PNG", "L", 3, 4, 255)
    assert image.pixels.dtype == np.uint8


@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    kind=st.integers(0, 4),
    mixed=st.booleans(),
)
def test_every_row_filter_decodes_to_the_pixels(tmp_path_factory, pixels, kind, mixed):
    path = tmp_path_factory.mktemp("filters") / "a.png"
    kinds = [(row + kind) % 5 if mixed else kind for row in range(len(pixels))]
    path.write_bytes(make_png(*pixels.shape[::-1], filtered(pixels, kinds)))
    np.testing.assert_array_equal(read_gray(path).pixels, pixels)


def test_16_bits_are_kept_not_clipped(tmp_path):
    pixels = np.array([[0, 255, 256], [40_000, 65_534, 65_535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        image = read_gray(save(tmp_path / name, Image.fromarray(pixels)))
        np.testing.assert_array_equal(image.pixels, pixels)
        assert image.pixels.dtype == np.uint16
        assert (image.mode, image.full_scale) == ("I;16", 65535)


def test_big_endian_tiff(tmp_path):
    pixels = np.array([[1, 258]], dtype=np.uint16)
    image = Image.frombytes("I;16B", (2, 1), pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_gray(save(tmp_path / "a.tif", image)).pixels, pixels)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 2), ("RGBA", 4)])
def test_alpha_never_enters(tmp_path, mode, channels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 6, channels), dtype=np.uint8)
    opaque = pixels.copy()
    opaque[..., -1] = 255
    one = read_gray(save(tmp_path / "a.png", Image.fromarray(pixels, mode)))
    other = read_gray(save(tmp_path / "b.png", Image.fromarray(opaque, mode)))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.mode == mode
    if mode == "LA":
        np.testing.assert_array_equal(one.pixels, pixels[..., 0])


def test_colour_by_pillows_weights(tmp_path):
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)
    image = read_gray(save(tmp_path / "a.png", Image.fromarray(pixels)))
    np.testing.assert_array_equal(image.pixels, [[76, 150, 29, 9]])
    assert image.mode == "RGB"


def test_palette_is_expanded(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90])
    read = read_gray(save(tmp_path / "a.png", image, transparency=b"\x00\x80\xff"))
    np.testing.assert_array_equal(read.pixels, [[200, 10, 90]])
    assert read.mode == "P"


def test_one_bit_is_black_and_white(tmp_path):
    image = read_gray(save(tmp_path / "a.png", Image.fromarray(RAMP > 100)))
    np.testing.assert_array_equal(image.pixels, np.where(RAMP > 100, 255, 0))
    assert image.mode == "1"


def test_interlaced(tmp_path):
    # One pixel: of Adam7's seven passes only the first has any.
    path = tmp_path / "a.png"
    path.write_bytes(make_png(1, 1, b"\x00\x2a", interlace=1))
    np.testing.assert_array_equal(read_gray(path).pixels, [[42]])


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.tif"])
def test_other_types_by_content_whatever_the_name(tmp_path, name):
    flat = Image.fromarray(np.full((8, 8), 77, dtype=np.uint8))
    path = save(tmp_path / name, flat)
    path = path.rename(tmp_path / "image.png")
    np.testing.assert_array_equal(read_gray(path).pixels, np.full((8, 8), 77))
    header = read_header(path)
    assert (header.mode, header.height, header.width) == ("L", 8, 8)


def test_header_agrees_with_pixels(tmp_path):
    for mode in ("L", "I;16", "RGBA", "1"):
        path = save(tmp_path / "a.png", Image.new(mode, (5, 4)))
        header, image = read_header(path), read_gray(path)
        assert header == images.ImageHeader(image.format, image.mode, image.height, image.width)


def fails(path, *words):
    with pytest.raises(ImageError) as caught:
        read_gray(path)
    assert str(path) in caught.value.what
    for word in words:
        assert word in str(caught.value)


def test_missing_and_folder_and_side_file(tmp_path):
    fails(tmp_path / "none.png", "no such file")
    fails(tmp_path, "not a file")
    fails(save(tmp_path / "._a.png", Image.fromarray(RAMP)), "macOS")


def test_not_an_image(tmp_path):
    for content, word in ((b"Image Index,Finding\n", "not an image"), (b"", "empty"), (b"\x00" * 200, "not an image")):
        path = tmp_path / "a.png"
        path.write_bytes(content)
        fails(path, word)
    path.write_bytes(b"\x00" * 128 + b"DICM" + b"\x00" * 50)
    fails(path, "cannot be decoded as DICOM", "unsupported transfer syntax")


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "P", "1"])
def test_every_flipped_bit_is_found(tmp_path, mode):
    path = save(tmp_path / "a.png", Image.new(mode, (7, 5)))
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        fails(path)


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA"])
def test_every_cut_is_found(tmp_path, mode):
    path = save(tmp_path / "a.png", Image.new(mode, (7, 5)))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        fails(path)


def test_cut_jpeg(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)))
    path.write_bytes(path.read_bytes()[:-200])
    fails(path, "JPEG", "truncated")


@pytest.mark.parametrize("colour", [0, 2, 3, 6])
def test_absurd_size_is_refused_before_decoding(tmp_path, colour):
    path = tmp_path / "a.png"
    path.write_bytes(make_png(60_000, 60_000, b"", colour=colour))
    fails(path)


def test_size_limit_names_the_numbers(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(make_png(8193, 8192, b""))
    fails(path, "8,193 × 8,192", "67,108,864")


def test_zlib_bomb_is_not_inflated(tmp_path):
    import tracemalloc

    path = tmp_path / "a.png"
    bomb = zlib.compressobj(9)
    body = b"".join([bomb.compress(bytes(1 << 20)) for _ in range(100)] + [bomb.flush()])
    for colour in (0, 6):
        path.write_bytes(make_png(4, 4, b"", colour=colour, idat=body))
        tracemalloc.start()
        read_gray(path)  # the 4 × 4 pixels at its beginning are sound
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
        tracemalloc.stop()


def test_too_few_rows(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(make_png(4, 4, bytes(5 * 3)))
    fails(path, "not have enough data")


def test_values_without_a_known_scale(tmp_path):
    fails(save(tmp_path / "a.tif", Image.new("F", (2, 2))), "floating-point", "SampleFormat", "Save it as PNG")
    fails(save(tmp_path / "b.tif", Image.fromarray(np.array([[70_000]], np.int32))), "signed", "SampleFormat")
    pages = [Image.fromarray(RAMP)] * 2
    fails(save(tmp_path / "c.tif", pages[0], save_all=True, append_images=pages[1:]), "2 images")


def test_messages_are_the_same_every_time(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff" + bytes(100))
    texts = set()
    for _ in range(3):
        with pytest.raises(ImageError) as caught:
            read_gray(path)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_real_images_are_as_pillow_reads_them(real_data):
    for path in sorted((real_data / "nih" / "images-small").glob("0*.png")):
        image = read_gray(path)
        with Image.open(io.BytesIO(path.read_bytes())) as expected:
            np.testing.assert_array_equal(image.pixels, np.asarray(expected))
        assert (image.format, image.mode, image.pixels.shape) == ("PNG", "L", (1024, 1024))


def test_published_values_of_the_first_image(real_data):
    values = read_gray(real_data / "nih" / "images-small" / "00008270_015.png").pixels / 255
    assert values.max() == pytest.approx(0.9804, abs=5e-5)
    assert values.min() == 0
    assert values.mean() == pytest.approx(0.4796, abs=5e-5)
    assert values.std() == pytest.approx(0.2757, abs=5e-5)


# ------------------------------------------------------------------------------------- full scale, polarity, top


ORIENTED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, -1),
}
"""What a camera held in each of EXIF's orientations stores of an upright image (EXIF 2.3, table 4.6.4)."""


def tiff_of(pixels, *, bits, photometric=1, orientation=None, order="<", extra=()):
    """Write an uncompressed grey TIFF by hand (TIFF 6.0)."""
    height, width = pixels.shape
    if bits == 12:
        pairs = pixels.reshape(height, -1, 2).astype(int)
        first, second = pairs[..., 0], pairs[..., 1]
        body = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    else:
        body = pixels.astype(f"{order}u{bits // 8}").tobytes()
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 3, height), (279, 4, len(body)), *extra]
    tags += [(274, 3, orientation)] if orientation else []
    directory = struct.pack(f"{order}H", len(tags))
    for tag, kind, value in sorted(tags):
        directory += struct.pack(f"{order}HHI", tag, kind, 1) + struct.pack(
            f"{order}{'I' if kind == 4 else 'Hxx'}", value
        )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return start + body + directory + bytes(4)


GREYS = {8: np.array([[0, 1, 100, 255]]), 12: np.array([[0, 1, 2000, 4095]]), 16: np.array([[0, 1, 30_000, 65_535]])}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_tiffs_with_white_as_0_are_turned(tmp_path, bits, order):
    if (bits, order) == (12, ">"):
        pytest.skip("Pillow reads 12 bits in little-endian files only")
    path = tmp_path / "a.tif"
    white = 2**bits - 1
    for photometric, expected in ((1, GREYS[bits]), (0, white - GREYS[bits])):
        path.write_bytes(tiff_of(GREYS[bits], bits=bits, photometric=photometric, order=order))
        image = read_gray(path)
        np.testing.assert_array_equal(image.pixels, expected)
        assert (image.full_scale, image.white_is_zero) == (white, photometric == 0)


def test_twelve_bits_in_a_big_endian_tiff_are_refused_by_name(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of(GREYS[12], bits=12, order=">"))
    fails(path, "12 bits")


@pytest.mark.parametrize(
    ("tags", "word"),
    [
        ([(339, 3, 2)], "signed"),
        ([(339, 3, 4)], "unknown kind"),
        ([(339, 3, 3)], "floating-point"),
        ([(259, 3, 1)], "twice"),
    ],
)
def test_tags_that_are_not_known_are_refused_by_name(tmp_path, tags, word):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of(GREYS[8], bits=8, extra=tags))
    fails(path, word)


@pytest.mark.parametrize(("bits", "photometric", "word"), [(32, 1, "32 bits"), (8, 5, "PhotometricInterpretation 5")])
def test_depths_and_colours_that_are_not_known_are_refused_by_name(tmp_path, bits, photometric, word):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of(GREYS[8], bits=bits, photometric=photometric))
    fails(path, word, "Save it as PNG")


def test_the_largest_value_by_tag_is_white(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of(np.array([[0, 700]]), bits=16, extra=[(281, 3, 16383)]))
    image = read_gray(path)
    assert (image.full_scale, image.scale_source) == (16383, "tag")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.png"])
def test_orientation_is_followed(tmp_path, name, orientation):
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 240  # one corner, so that all eight differ
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(ORIENTED[orientation](upright)))
    if name == "a.tif":
        path = tmp_path / name
        path.write_bytes(tiff_of(np.asarray(stored), bits=8, orientation=orientation))
    else:
        path = save(tmp_path / name, stored, exif=exif)
    image = read_gray(path)
    np.testing.assert_allclose(image.pixels, upright, atol=3)
    assert image.orientation == orientation
    header = read_header(path)
    assert (header.height, header.width) == (16, 24)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_the_range_of_values_in_16_bits_tells_the_detectors_depth(tmp_path, bits):
    pixels = np.array([[0, 2**bits // 2, 2**bits - 2]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        image = read_gray(save(tmp_path / name, Image.fromarray(pixels)))
        np.testing.assert_array_equal(image.pixels, pixels)
        assert (image.full_scale, image.scale_source) == (2**bits - 1, "range")
        assert image.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)


def with_sbit(pixels, bits):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    content = stream.getvalue()
    return content[:33] + chunk(b"sBIT", bytes([bits])) + content[33:]


def test_significant_bits_of_a_png(tmp_path):
    path = tmp_path / "a.png"
    plain = np.array([[0, 100, 900]], dtype=np.uint16)
    path.write_bytes(with_sbit(plain, 12))
    image = read_gray(path)
    assert (image.full_scale, image.scale_source) == (4095, "tag")
    np.testing.assert_array_equal(image.pixels, plain)
    # Scaled up as the standard wants it: by zeros, or by the high bits once more.
    for scaled in (plain << 4, plain << 4 | plain >> 8):
        path.write_bytes(with_sbit(scaled, 12))
        assert read_gray(path).full_scale == 65535
    path.write_bytes(with_sbit(np.array([[0, 40_001]], dtype=np.uint16), 12))
    assert read_gray(path).full_scale == 65535


@given(
    values=hnp.arrays(np.uint16, (2, 3)),
    maximum=st.none() | st.integers(0, 70_000),
    significant=st.none() | st.integers(1, 16),
    white_is_zero=st.booleans(),
)
def test_no_value_lies_above_full_scale(values, maximum, significant, white_is_zero):
    image = images.grey_of_16_bits(
        values, "PNG", "I;16", maximum=maximum, significant=significant, white_is_zero=white_is_zero
    )
    assert 255 <= image.full_scale <= 65535
    assert image.pixels.max() <= image.full_scale
    assert image.pixels.min() >= 0
    back = image.full_scale - image.pixels.astype(int) if white_is_zero else image.pixels
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colour_and_alpha_of_16_bits_keep_their_bits(tmp_path, colour, channels):
    path = tmp_path / "a.png"
    samples = np.random.default_rng(0).integers(0, 65536, (3, 4, channels), dtype=np.uint16)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    path.write_bytes(make_png(4, 3, raw, bits=16, colour=colour))
    weights = [1.0] if channels == 2 else [0.299, 0.587, 0.114]
    expected = samples[..., : len(weights)] @ np.array(weights)
    image = read_gray(path)
    np.testing.assert_allclose(image.pixels, expected, atol=2)
    assert image.full_scale == 65535


# --------------------------------------------------------------------------------------------- damage in JPEG, TIFF


def jpeg_of(**options):
    noise = np.random.default_rng(0).integers(0, 25, (512, 512))
    pixels = (np.add.outer(np.arange(512), np.arange(512)) // 5 + noise).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_damaged_jpegs_that_pillow_accepts_are_refused(tmp_path, options):
    content = jpeg_of(**options)
    middle = len(content) // 2
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_gray(path).pixels, np.asarray(image))
    lost = [content[:middle] + b"\xff\xd9", content[:middle] + content[middle + 4096 :]]
    # In a progressive file zeros are often valid codes, which no decoder can tell from what was there.
    zeroed = [] if options else [content[:middle] + bytes(512) + content[middle + 512 :]]
    for damaged in lost + zeroed:
        path.write_bytes(damaged)
        with Image.open(path) as image:
            image.load()
        fails(path, "damaged", "guesses")


def test_colour_jpegs_keep_pillows_grey_and_are_held_to_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(pixels))
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_gray(path).pixels, np.asarray(image.convert("L")))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff\xd9")
    fails(path, "damaged")


def test_jpeg_of_four_inks_is_refused_by_name(tmp_path):
    fails(save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8))), "CMYK", "Save it as PNG")


def tiff_with(pixels, compression):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", compression=compression)
    return stream.getvalue()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strips_of_tiffs_are_measured_and_read(tmp_path, compression, dtype):
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (150, 170)).astype(dtype)
    flat = np.full((300, 300), 7, dtype=dtype) + (np.arange(300)[:, None] // 100 * 30_000 % 251).astype(dtype)
    for pixels in (noise, flat, noise[:1, :1]):
        path.write_bytes(tiff_with(pixels, compression))
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_gray(path).pixels, np.asarray(image))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_a_height_that_is_not_that_of_the_strips_is_found(tmp_path, compression):
    path = tmp_path / "a.tif"
    content = tiff_with(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8), compression)
    place = re.search(rb"\x01\x01[\x03\x04]\x00\x01\x00\x00\x00\x28\x00", content).end() - 2
    for height in (39, 41):
        path.write_bytes(content[:place] + bytes([height]) + content[place + 1 :])
        fails(path, "TIFF")


def test_ways_of_compression_that_cannot_be_checked_are_refused_by_name(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_with(np.zeros((16, 16), np.uint8), "jpeg"))
    fails(path, "Compression 7", "Save it as PNG")


def test_libtiff_writes_nothing_past_the_console(tmp_path, capfd):
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    path = save(tmp_path / "a.tif", pixels, compression="tiff_adobe_deflate")
    content = bytearray(path.read_bytes())
    content[300:340] = bytes(40)
    path.write_bytes(content)
    fails(path, "TIFF")
    assert capfd.readouterr() == ("", "")


def test_what_others_write_to_stderr_meanwhile_is_handed_on(capfd):
    with native_stderr.libtiff_messages() as messages:
        os.write(2, b"working 3 of 4\nZIPDecode: incorrect data check.\n")
    assert messages == ["ZIPDecode: incorrect data check."]
    assert capfd.readouterr().err == "working 3 of 4\n"


# ------------------------------------------------------------------------------------------------------ other types


@pytest.mark.parametrize(
    ("format", "word"), [("WEBP", "a WebP image"), ("GIF", "a GIF image"), ("JPEG2000", "a JPEG 2000 image")]
)
def test_types_that_are_not_read_are_named_with_the_conversion(tmp_path, format, word):
    path = tmp_path / "x.png"
    Image.fromarray(RAMP).save(path, format)
    fails(path, word, "Convert it to")


def test_without_kornia_pillow_gives_the_same(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    paths = [
        save(tmp_path / "a.png", Image.fromarray(rng.integers(0, 256, (9, 8), dtype=np.uint8))),
        save(tmp_path / "b.png", Image.fromarray(rng.integers(0, 65536, (9, 8), dtype=np.uint16))),
        save(tmp_path / "c.jpg", Image.fromarray(rng.integers(0, 256, (9, 8), dtype=np.uint8))),
        save(tmp_path / "d.jpg", Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8))),
    ]
    fast = [read_gray(path) for path in paths]
    monkeypatch.setattr(fast_decoders, "kornia", None)
    for path, expected in zip(paths, fast, strict=True):
        image = read_gray(path)
        np.testing.assert_array_equal(image.pixels, expected.pixels)
        assert (image.mode, image.full_scale) == (expected.mode, expected.full_scale)
