from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from cxr_cli.services.explain.localize import (
    boxes_of_map,
    inside_boxes,
    iobb,
    localization,
    mass_inside,
    pointing_game,
    regions,
)

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def oracle(mask):
    labelled, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    found = [(c.start, r.start, c.stop - c.start, r.stop - r.start) for r, c in ndimage.find_objects(labelled)]
    return sorted(found, key=lambda box: (box[1], box[0], box[2], box[3]))


@given(MASKS)
def test_regions_are_those_of_scipy(mask):
    found = [tuple(box) for box in regions(mask).tolist()]
    assert sorted(found, key=lambda box: (box[1], box[0], box[2], box[3])) == oracle(mask)


def test_both_thresholds_give_boxes():
    heat = np.zeros((6, 8))
    heat[1:5, 1:5] = 100  # above 60 of 255, not above 180
    heat[2, 2] = 255
    assert boxes_of_map(heat).tolist() == [[1, 1, 4, 4], [2, 2, 1, 1]]
    # One region that both thresholds give is listed once; the scale of the map does not matter.
    assert boxes_of_map([[0, 0], [0, 7]]).tolist() == [[1, 1, 1, 1]]
    assert boxes_of_map(-3 + 0.01 * heat).tolist() == boxes_of_map(heat).tolist()
    assert boxes_of_map(np.full((3, 3), 5.0)).shape == (0, 4)


def test_overlap_is_taken_of_the_detected_area():
    detected = [[0, 0, 4, 2], [10, 10, 2, 2], [0, 0, 20, 20]]
    truth = [[2, 0, 10, 10], [11, 11, 5, 5]]
    np.testing.assert_allclose(iobb(detected, truth), [[0.5, 0], [0, 0.25], [0.25, 25 / 400]])
    assert iobb([], truth).shape == (0, 2)


@given(
    st.lists(st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 9)] * 2), min_size=1, max_size=4),
    st.lists(st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 9)] * 2), min_size=1, max_size=4),
)
def test_overlap_is_what_counting_pixels_gives(detected, truth):
    counted = [
        [(inside_boxes([one], (20, 20)) & inside_boxes([other], (20, 20))).sum() / (one[2] * one[3]) for other in truth]
        for one in detected
    ]
    np.testing.assert_allclose(iobb(detected, truth), counted)


def test_a_pixel_belongs_to_a_box_that_holds_its_centre():
    assert inside_boxes([[0.5, 0.4, 1.0, 0.7]], (2, 3)).tolist() == [[True, False, False], [False, False, False]]
    assert inside_boxes([[0.6, 0, 1.0, 1]], (1, 3)).tolist() == [[False, True, False]]
    assert inside_boxes([[-5, -5, 6, 6], [9, 9, 5, 5]], (10, 10)).sum() == 2


def test_pointing_game_shares_the_point_among_several_maxima():
    heat = np.array([[1.0, 5, 0], [5, 0, 2]])
    assert pointing_game(heat, [[1, 0, 1, 1]]) == 0.5
    assert pointing_game(heat, [[0, 0, 2, 2]]) == 1
    assert pointing_game(np.zeros((2, 2)), [[0, 0, 1, 1]]) == 0.25


def test_mass_is_that_of_positive_values():
    assert mass_inside([[3, 1], [-100, 0]], [[0, 0, 1, 1]]) == 0.75
    assert np.isnan(mass_inside([[-1, -2]], [[0, 0, 1, 1]]))


def test_localization_finds_the_spot_and_counts_false_boxes():
    heat = np.zeros((40, 40))
    heat[4:8, 4:8] = 255
    heat[30:33, 30:33] = 255
    overlap, n_false = localization(heat, [[2, 2, 10, 10], [20, 2, 5, 5]])
    assert overlap.tolist() == [1.0, 0.0] and n_false == 1


@pytest.mark.parametrize("heat", [np.zeros(3), np.full((2, 2), np.nan)])
def test_maps_that_are_none(heat):
    with pytest.raises(ValueError, match="map"):
        boxes_of_map(heat)
