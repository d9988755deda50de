from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.check_leakage.descriptors import (
    CONFIRM_SIDE,
    MIRROR_MASK,
    correlation,
    describe,
    is_blank,
    normalise_contrast,
    orient_thumbnails,
    transpose_hashes,
)
from tests.drawn_images import image_thumbnail

SEEDS = st.integers(0, 2**32 - 1)


def bits(words):
    """Return the bits of a hash by (row, column) frequency, from 1 on."""
    parts = np.unpackbits(words.view(np.uint8)).reshape(2, 2, 8, 8)
    made = np.empty((16, 16), dtype=int)
    for row, column in np.ndindex(2, 2):
        made[1 - row :: 2, 1 - column :: 2] = parts[row, column]
    return made


def test_bits_are_the_signs_of_cosines_worked_by_hand():
    # A wave of 3 half periods across and 5 down, and nothing else: its own bit is the sign of its amplitude.
    position = np.arange(64) + 0.5
    wave = np.outer(np.cos(5 * np.pi * position / 64), np.cos(3 * np.pi * position / 64))
    assert bits(describe(wave).hash)[5 - 1, 3 - 1] == 1
    assert bits(describe(-wave).hash)[5 - 1, 3 - 1] == 0


def test_mirroring_flips_the_columns_of_odd_frequency():
    assert bits(MIRROR_MASK).tolist() == [[1, 0] * 8] * 16


@given(SEEDS, st.floats(0.01, 300), st.floats(-1000, 1000))
def test_brightness_and_contrast_play_no_role(seed, contrast, brightness):
    thumbnail = image_thumbnail(seed)
    one, other = describe(thumbnail), describe(contrast * thumbnail + brightness)
    assert np.bitwise_count(one.hash ^ other.hash).sum() <= 1  # a coefficient of about zero may round either way
    assert np.abs(one.thumbnail.astype(int) - other.thumbnail).max() <= 1


@given(SEEDS)
def test_a_mirrored_image_has_the_masked_hash(seed):
    thumbnail = image_thumbnail(seed)
    one, other = describe(thumbnail), describe(thumbnail[:, ::-1])
    assert np.bitwise_count(one.hash ^ MIRROR_MASK ^ other.hash).sum() <= 1
    assert correlation(one.thumbnail[None], other.thumbnail[None], mirrored=True)[0] > 0.999


@given(SEEDS)
def test_an_inverted_image_has_the_complement(seed):
    thumbnail = image_thumbnail(seed)
    one, other = describe(thumbnail), describe(255 - thumbnail)
    assert np.bitwise_count(~one.hash ^ other.hash).sum() <= 1
    assert correlation(one.thumbnail[None], other.thumbnail[None])[0] < -0.999


def test_correlation_is_pearsons():
    random = np.random.default_rng(0)
    first, second = random.integers(-127, 128, (2, 5000, CONFIRM_SIDE**2), dtype=np.int8)
    expected = [np.corrcoef(one, other)[0, 1] for one, other in zip(first[::500], second[::500], strict=True)]
    assert np.allclose(correlation(first, second)[::500], expected, atol=1e-5)
    assert np.array_equal(correlation(first, second, chunk=7), correlation(first, second))


def test_thumbnails_are_turned_like_images():
    thumbnails = np.arange(2 * 1024).reshape(2, 1024).astype(np.int8)
    image = thumbnails[1].reshape(32, 32)
    for expected, options in (
        (image[:, ::-1], {"mirrored": True}),
        (np.rot90(image, 2), {"mirrored": True, "upside_down": True}),
        (np.rot90(image, -1), {"transposed": True, "mirrored": True}),
        (np.rot90(image), {"transposed": True, "upside_down": True}),
    ):
        assert orient_thumbnails(thumbnails, **options)[1].reshape(32, 32).tolist() == expected.tolist()


@given(SEEDS)
def test_a_transposed_image_has_the_transposed_hash(seed):
    thumbnail = image_thumbnail(seed)
    one, other = describe(thumbnail), describe(thumbnail.T)
    assert np.bitwise_count(transpose_hashes(one.hash[None])[0] ^ other.hash).sum() <= 1
    assert transpose_hashes(transpose_hashes(one.hash[None]))[0].tolist() == one.hash.tolist()


@given(SEEDS)
def test_an_image_upside_down_has_words_of_odd_rows_complemented(seed):
    thumbnail = image_thumbnail(seed)
    one, other = describe(thumbnail), describe(thumbnail[::-1])
    mask = np.array([0, 0, 2**64 - 1, 2**64 - 1], dtype=np.uint64)
    assert np.bitwise_count(one.hash ^ mask ^ other.hash).sum() <= 1


def test_an_even_image_is_blank_and_correlates_with_nothing():
    even = np.full((64, 64), 128.0)
    assert is_blank(even, 255) and is_blank(np.full((64, 64), 40_000.0), 65_535)
    assert not is_blank(image_thumbnail(1), 255)
    assert not normalise_contrast(even).any()
    nothing = describe(even).thumbnail[None]
    assert correlation(nothing, describe(image_thumbnail(1)).thumbnail[None])[0] == 0
    assert correlation(nothing, nothing)[0] == 0


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(32, 32\); expected \(64, 64\)"):
        describe(np.zeros((32, 32)))
