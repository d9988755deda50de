import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr_cli.services.images.pixels import sum_pixels

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
INTEGERS = hnp.arrays(st.sampled_from([np.uint8, np.uint16]), SHAPES)


def test_by_hand():
    sums = sum_pixels(np.array([[0, 2], [4, 255]], np.uint8), 255)
    assert (sums.n, sums.minimum, sums.maximum, sums.total, sums.squares, sums.n_saturated) == (
        4,
        0,
        255,
        261,
        4 + 16 + 255**2,
        2,
    )
    assert sums.mean == 65.25
    assert sums.saturated == 0.5
    assert sums.std == pytest.approx(np.std([0, 2, 4, 255]), rel=1e-15)


@given(INTEGERS)
def test_integers_are_summed_exactly(pixels):
    sums = sum_pixels(pixels, np.iinfo(pixels.dtype).max)
    values = [int(value) for value in pixels.ravel()]
    assert sums.total == sum(values)
    assert sums.squares == sum(value * value for value in values)
    assert isinstance(sums.total, int) and isinstance(sums.squares, int)
    assert sums.std == pytest.approx(np.std(pixels.astype(np.longdouble)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("value", [255, 65_535])
def test_the_largest_image_is_exact_too(value):
    pixels = np.full((3000, 2600), value, np.uint8 if value == 255 else np.uint16)
    sums = sum_pixels(pixels, value)
    assert sums.total == value * pixels.size
    assert sums.squares == value**2 * pixels.size
    assert sums.std == 0
    assert sums.saturated == 1


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(0, 255, width=32)))
def test_fractions(pixels):
    sums = sum_pixels(pixels, 255)
    wide = pixels.astype(np.float64)
    assert sums.mean == pytest.approx(wide.mean(), rel=1e-12, abs=1e-12)
    assert sums.std == pytest.approx(wide.std(), rel=1e-6, abs=1e-4)
    assert sums.n_saturated == np.count_nonzero((pixels == 0) | (pixels == 255))


@given(INTEGERS, st.data())
def test_sums_of_parts_add_up_to_the_sums_of_the_whole(pixels, data):
    cut = data.draw(st.integers(0, len(pixels)))
    white = np.iinfo(pixels.dtype).max
    parts = [sum_pixels(part, white) for part in (pixels[:cut], pixels[cut:]) if part.size]
    joined = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    assert joined == sum_pixels(pixels, white)
