from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.explain.maps import (
    MeanBoxes,
    corners,
    fractions_of_mass,
    outside_field,
    random_map,
    resized,
)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20), st.integers(1, 20))
def test_resizing_keeps_constants_and_the_range(rows, columns, height, width):
    heat = np.random.default_rng([rows, columns]).normal(size=(2, rows, columns)).astype(np.float32)
    grown = resized(heat, (height, width))
    assert grown.shape == (2, height, width) and grown.dtype == np.float32
    assert grown.min() >= heat.min() - 1e-5 and grown.max() <= heat.max() + 1e-5
    np.testing.assert_allclose(resized(np.full((rows, columns), 2.5), (height, width)), 2.5, rtol=1e-6)


def test_resizing_is_linear_between_centres():
    grown = resized([[0.0, 1.0], [2.0, 3.0]], (4, 4))
    np.testing.assert_allclose(grown[:, 0], [0, 0.5, 1.5, 2])
    np.testing.assert_allclose(grown[0], [0, 0.25, 0.75, 1])


def test_the_prior_knows_other_patients_only():
    boxes = {"a": [[0, 0, 0.5, 1]], "b": [[0.5, 0, 0.5, 1]], "c": [[0.5, 0, 0.5, 1]]}
    prior = MeanBoxes(boxes, {"a": "1", "b": "2", "c": "2"})
    left = prior.without("b", (4, 4))
    assert left[:, 0].tolist() == [1] * 4 and left[:, 3].tolist() == [0] * 4
    assert prior.mean[:, -1].max() == 1 and prior.mean[:, 0].max() == 0.5
    alone = MeanBoxes({"a": [[0, 0, 1, 1]]}, {"a": "1"})
    assert alone.without("a", (4, 4)).max() == 0


def test_the_usual_field_and_the_corners():
    size = (100, 200)
    assert outside_field(size).mean() == pytest.approx(1 - 0.8 * 0.84)
    assert corners(size).mean() == pytest.approx(4 * 0.15**2)
    assert outside_field(size)[[0, 50, 50], [100, 0, 100]].tolist() == [True, True, False]
    assert corners(size)[[0, 0, 99], [0, 100, 199]].tolist() == [True, False, True]


def test_fractions_of_mass():
    where = np.array([[True, False], [False, False]])
    assert fractions_of_mass([[3, 1], [-9, 0]], where) == 0.75
    assert np.isnan(fractions_of_mass([[-1, 0], [0, 0]], where))


def test_random_maps_depend_on_their_seed_alone():
    one, same, other = (random_map((3, 4), (30, 40), (5, number)) for number in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other) and one.shape == (30, 40)
