"""From stored values to grey: one case of each step by hand, then laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr_cli.data.dicom.grey import LookupTable, Rendering, Rescale, StoredRange, Window, to_grey
from cxr_cli.data.dicom.terms import DicomRefused


def grey(values, *, bits=16, **steps):
    values = np.asarray(values)
    signed = values.dtype.kind == "i"
    padding = steps.pop("padding", None)
    return to_grey(values, Rendering(StoredRange(bits, signed, padding), **steps))


@pytest.mark.parametrize(
    ("window", "values", "expected"),
    [
        # PS3.3 C.11.2.1.2.1, its own example: centre 2048, width 4096 leaves 0 to 4095 as they are.
        (Window(2048, 4096), [0, 1, 2048, 4094, 4095], [0, 1 / 4095, 2048 / 4095, 4094 / 4095, 1]),
        # Its second example: centre 2048, width 1 is a threshold between 2047 and 2048.
        (Window(2048, 1), [2046, 2047, 2048, 2049], [0, 0, 1, 1]),
        # Its third: centre 0, width 100 from -50 to 49.
        (Window(0, 100), [-51, -50, 49, 50], [0, 0, 1, 1]),
        (Window(100, 50, "LINEAR_EXACT"), [74, 75, 100, 125, 126], [0, 0, 0.5, 1, 1]),
        (Window(100, 40, "SIGMOID"), [100, 110, 90], [0.5, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))]),
    ],
)
def test_the_three_window_functions(window, values, expected):
    np.testing.assert_allclose(window.fractions(np.array(values)), expected, atol=1e-12)


@pytest.mark.parametrize(
    "window", [Window(1, 0), Window(1, 0.5), Window(1, -2), Window(float("nan"), 2), Window(1, float("inf"))]
)
def test_a_window_without_meaning_is_said_and_percentiles_take_its_place(window):
    values = np.arange(4000, dtype=np.uint16).reshape(40, 100)
    pixels, issues = grey(values, bits=12, voi=window)
    assert issues == ("unusable window", "no window: grey range from percentiles")
    # 4 of 4,000 pixels at each end lie outside: 4 is black, 3,995 white.
    assert pixels.ravel()[[0, 4, 3995, 3999]].tolist() == [0, 0, 65535, 65535]
    assert pixels[0, 5] == round(65535 / 3991)


def test_widths_below_one_have_a_meaning_in_the_exact_functions():
    assert Window(1, 0.5, "LINEAR_EXACT").is_usable and Window(1, 0.5, "SIGMOID").is_usable
    assert not Window(1, 0, "LINEAR_EXACT").is_usable


def test_a_window_by_hand():
    pixels, issues = grey(np.array([[0, 1000, 4095]], np.uint16), bits=12, voi=Window(2048, 4096))
    assert pixels.dtype == np.uint16
    assert pixels.tolist() == [[0, round(1000 / 4095 * 65535), 65535]]
    assert issues == ()


def test_a_rescale_comes_before_the_window():
    pixels, _ = grey(np.array([[0, 50, 100]], np.uint16), modality=Rescale(2, -100), voi=Window(0.5, 201))
    assert pixels.tolist() == [[0, round(0.5 * 65535), 65535]]


def test_tables_by_hand_with_values_before_and_behind_them():
    modality = LookupTable(10, np.array([0, 100, 200], np.uint16), 8)
    voi = LookupTable(0, np.arange(256, dtype=np.uint16)[::-1], 8)
    pixels, issues = grey(np.array([[0, 10, 11, 12, 99]], np.uint16), modality=modality, voi=voi)
    assert pixels.tolist() == [[65535, 65535, 155 * 257, 55 * 257, 55 * 257]]
    assert issues == ()


def test_a_table_whose_entries_exceed_its_bits_is_scaled_by_what_holds_them():
    table = LookupTable(0, np.array([0, 4095], np.uint16), 8)
    pixels, issues = grey(np.array([[0, 1]], np.uint16), voi=table)
    assert pixels.tolist() == [[0, 65535]]
    assert issues == ("LUT entries exceed their bits",)


def test_eight_bits_without_window_are_left_as_they_are():
    values = np.array([[0, 8, 255]], np.uint8)
    pixels, issues = grey(values, bits=8)
    assert pixels.dtype == np.uint8 and pixels.tolist() == [[0, 8, 255]]
    assert issues == ("no window: grey range of all stored values",)
    pixels, _ = grey(values, bits=8, inverts=True)
    assert pixels.tolist() == [[255, 247, 0]]
    pixels, _ = grey(np.array([[-128, 127]], np.int8), bits=8)
    assert pixels.tolist() == [[0, 255]]


def test_a_falling_rescale_turns_eight_bits_round():
    pixels, _ = grey(np.array([[0, 255]], np.uint8), bits=8, modality=Rescale(-1, 0))
    assert pixels.tolist() == [[65535, 0]]


def test_the_full_range_counts_all_values_that_can_be_stored():
    values = np.array([[0, 100, 1023]], np.uint16)
    pixels, issues = grey(values, bits=10, window="full", voi=Window(3, 4))
    assert pixels.tolist() == [[0, round(100 / 1023 * 65535), 65535]]
    assert issues == ()
    pixels, _ = grey(np.array([[-512, 511]], np.int16), bits=10, window="full")
    assert pixels.tolist() == [[0, 65535]]


def test_a_window_that_hides_every_value_is_said():
    pixels, issues = grey(np.array([[5, 6]], np.uint16), voi=Window(40000, 10))
    assert issues == ("window misses the values",)
    assert not pixels.any()


def test_padding_becomes_black_and_has_no_part_in_the_range():
    values = np.full((10, 10), 63000, np.uint16)
    values[2:8, 2:8] = np.arange(36).reshape(6, 6) + 100
    for inverts in (False, True):
        pixels, issues = grey(values, padding=(63000, 63000), inverts=inverts)
        assert "padding masked" in issues
        assert not pixels[values == 63000].any()
        ends = (0, 65535)[:: -1 if inverts else 1]
        assert (pixels[2, 2], pixels[7, 7]) == ends
    _, issues = grey(values, padding=(1, 3))
    assert "padding masked" not in issues


def test_an_image_of_nothing_but_padding_or_of_one_grey_is_black_or_stated():
    pixels, issues = grey(np.full((3, 3), 7, np.uint16), padding=(7, 7))
    assert not pixels.any() and "padding masked" in issues
    pixels, issues = grey(np.full((3, 3), 65535, np.uint16))
    assert (pixels == 65535).all() and issues == ("no window: grey range of all stored values",)


def test_values_beyond_the_stored_bits_are_said():
    _, issues = grey(np.array([[0, 5000]], np.uint16), bits=12, voi=Window(2048, 4096))
    assert issues == ("values exceed bits stored",)


def test_a_rescale_that_gives_no_numbers_is_refused():
    with pytest.raises(DicomRefused, match="damaged header"):
        grey(np.array([[0, 60000]], np.uint16), modality=Rescale(1e306, 0), voi=Window(1, 2))


IMAGES = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4095))
WINDOWS = st.builds(
    Window,
    st.integers(-500, 5000).map(float),
    st.integers(1, 6000).map(float),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)


@given(IMAGES, st.one_of(st.none(), WINDOWS))
def test_law_monochrome1_of_the_complement_equals_monochrome2(values, window):
    shift = 1 if window is not None and window.function == "LINEAR" else 0
    mirrored = None if window is None else Window(4095 + shift - window.centre, window.width, window.function)
    plain, _ = grey(values, bits=12, voi=window)
    other, _ = grey(4095 - values, bits=12, voi=mirrored, inverts=True)
    # A window of width 1 is a step, whose foot belongs to the lower side: see PS3.3 C.11.2.1.2.1.
    if window is None or window.function != "LINEAR" or window.width > 1:
        np.testing.assert_allclose(plain.astype(int), other.astype(int), atol=0 if window is None else 1)


def test_a_value_half_way_between_two_levels_is_the_same_mirrored():
    values = np.array([[0, 730, 3084]], np.uint16)
    plain, _ = grey(values, bits=12)
    other, _ = grey(4095 - values, bits=12, inverts=True)
    np.testing.assert_array_equal(plain, other)


@given(IMAGES, st.one_of(st.none(), WINDOWS))
def test_law_grey_rises_with_the_stored_values(values, window):
    pixels, _ = grey(values, bits=12, voi=window)
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(pixels.ravel()[order].astype(int)) >= 0).all()


@given(IMAGES, WINDOWS)
def test_law_the_table_equals_the_formula_for_each_pixel(values, window):
    pixels, _ = grey(values, bits=12, voi=window)
    wide, _ = grey(values.astype(np.uint32), bits=12, voi=window)
    np.testing.assert_array_equal(pixels, wide)
    np.testing.assert_array_equal(pixels, np.rint(np.round(window.fractions(values) * 65535, 6)))


@given(IMAGES, st.floats(0.01, 100), st.floats(-5000, 5000))
def test_law_without_window_a_rescale_changes_nothing(values, slope, intercept):
    plain, _ = grey(values, bits=12)
    scaled, _ = grey(values, bits=12, modality=Rescale(slope, intercept))
    np.testing.assert_allclose(plain.astype(int), scaled.astype(int), atol=1)
