import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cxr_cli.choices import Interpolation, choices
from cxr_cli.services.images.resize import area, area_and_moments, nearest, resize

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def grey(draw, dtypes=(np.uint8, np.uint16)):
    return draw(hnp.arrays(draw(st.sampled_from(dtypes)), draw(SIZES)))


def slow_area(pixels, size):
    """Average over covered rectangles in exact fractions, straight from the definition."""

    def shares(n_source, n_result):
        scale = Fraction(n_source, n_result)
        return [
            [max(Fraction(0), min((j + 1) * scale, i + 1) - max(j * scale, i)) / scale for i in range(n_source)]
            for j in range(n_result)
        ]

    rows = np.array(shares(pixels.shape[0], size[0]), dtype=object)
    columns = np.array(shares(pixels.shape[1], size[1]), dtype=object)
    return (rows @ pixels.astype(object) @ columns.T).astype(float)


def test_area_by_hand():
    # 3 × 2 pixels to 2 × 1: each result row covers one and a half source rows.
    pixels = np.array([[10, 20], [30, 50], [60, 100]], dtype=np.uint8)
    expected = [[(15 + 40 / 2) / 1.5], [(40 / 2 + 80) / 1.5]]
    np.testing.assert_array_equal(area(pixels, (2, 1)), np.float32(expected))


@given(grey(), st.tuples(st.integers(1, 24), st.integers(1, 24)))
def test_area_is_exact(pixels, size):
    np.testing.assert_array_equal(area(pixels, size), slow_area(pixels, size).astype(np.float32))


@given(grey(), SIZES)
@example(np.random.default_rng(0).integers(0, 256, (1024, 1024), dtype=np.uint8), (320, 320))
@example(np.full((1200, 900), 255, np.uint8), (48, 7))
@example(np.full((64, 33), 255, np.uint8), (64, 11))
def test_moments_are_those_of_the_source(pixels, size):
    averages, moments = area_and_moments(pixels, size)
    np.testing.assert_array_equal(averages, area(pixels, size))
    values = pixels.astype(np.int64)
    assert moments in (None, (values.sum(), (values**2).sum()))
    assert moments is not None or pixels.dtype == np.uint16 or math.prod(pixels.shape) * 255 >= 1 << 24


def test_moments_come_along_for_images():
    for size in ((320, 320), (224, 224), (512, 256)):
        assert area_and_moments(np.ones((1024, 1024), np.uint8), size)[1] == (1024**2, 1024**2)


@given(grey(), SIZES)
def test_area_keeps_the_mean_and_the_range(pixels, size):
    made = area(pixels, size)
    assert made.shape == size
    assert made.dtype == np.float32
    assert made.mean(dtype=np.float64) == pytest.approx(pixels.mean(), rel=1e-6)
    assert pixels.min() <= made.min()
    assert made.max() <= pixels.max()


@pytest.mark.parametrize("shape", [(1024, 1024), (1023, 1021), (401, 640)])
def test_area_of_a_large_image_keeps_the_mean(shape):
    pixels = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    assert area(pixels, (320, 320)).mean(dtype=np.float64) == pytest.approx(pixels.mean(dtype=np.float64), rel=1e-7)


@given(grey(), SIZES)
def test_area_of_mirrored_and_turned_images(pixels, size):
    made = area(pixels, size)
    np.testing.assert_array_equal(area(np.ascontiguousarray(pixels[::-1, ::-1]), size), made[::-1, ::-1])
    np.testing.assert_array_equal(area(np.ascontiguousarray(pixels.T), size[::-1]), made.T)


@given(grey(dtypes=[np.uint8]), st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_nearest_is_pillows(pixels, size):
    made = nearest(pixels, size)
    wide = nearest(pixels.astype(np.uint16), size)
    assert (made.dtype, wide.dtype) == (np.uint8, np.uint16)
    np.testing.assert_array_equal(made, wide)
    image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(made, np.asarray(image))


@given(st.integers(1, 4000), st.integers(1, 900))
def test_nearest_picks_the_same_rows_as_pillow(n_source, n_result):
    rows = np.arange(n_source, dtype=np.float32)[:, None]
    image = Image.fromarray(rows).resize((1, n_result), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(nearest(rows, (n_result, 1)), np.asarray(image))


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
def test_other_filters_are_pillows(name):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((20, 30), Image.Resampling[name.upper()])
    made = resize(pixels, (30, 20), name)
    np.testing.assert_array_equal(made, np.asarray(image))
    assert made.dtype == np.uint8
    # 16 bits: the same image on the longer scale, not rounded and never beyond it.
    wide = resize(pixels.astype(np.uint16) * 257, (30, 20), name)
    assert wide.dtype == np.float32
    # Pillow rounds and clips 8 bits after each of its two passes.
    assert abs(wide / 257 - made).max() <= 2
    assert 0 <= wide.min() <= wide.max() <= 65535


@pytest.mark.parametrize("name", choices(Interpolation))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_flat_and_same_size_images_stay_as_they_are(name, dtype):
    flat = np.full((31, 17), 200, dtype)
    np.testing.assert_array_equal(resize(flat, (10, 23), name), np.full((10, 23), 200))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8)).astype(dtype)
    np.testing.assert_array_equal(resize(pixels, (9, 8), name), pixels)
