import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cxr_cli.data import images, png
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
    path = path.rename(tmp_path / "film.png")
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
    fails(path, "is DICOM")


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
    fails(save(tmp_path / "a.tif", Image.new("F", (2, 2))), "fractions")
    fails(save(tmp_path / "b.tif", Image.fromarray(np.array([[70_000]], np.int32))), "70000")
    pages = [Image.fromarray(RAMP)] * 2
    fails(save(tmp_path / "c.tif", pages[0], save_all=True, append_images=pages[1:]), "2 pictures")


def test_messages_are_the_same_every_time(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff" + bytes(100))
    texts = set()
    for _ in range(3):
        with pytest.raises(ImageError) as caught:
            read_gray(path)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_real_films_are_as_pillow_reads_them(real_data):
    for path in sorted((real_data / "nih" / "images-small").glob("0*.png")):
        image = read_gray(path)
        with Image.open(io.BytesIO(path.read_bytes())) as film:
            np.testing.assert_array_equal(image.pixels, np.asarray(film))
        assert (image.format, image.mode, image.pixels.shape) == ("PNG", "L", (1024, 1024))


def test_published_values_of_the_first_film(real_data):
    values = read_gray(real_data / "nih" / "images-small" / "00008270_015.png").pixels / 255
    assert values.max() == pytest.approx(0.9804, abs=5e-5)
    assert values.min() == 0
    assert values.mean() == pytest.approx(0.4796, abs=5e-5)
    assert values.std() == pytest.approx(0.2757, abs=5e-5)
