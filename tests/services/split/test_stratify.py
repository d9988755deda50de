from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr_cli.services.split.stratify import assign_units, count_per_unit, plan_targets, promises

THREE = np.array([0.7, 0.1, 0.2])


def sums(counts, assigned, n_splits):
    return np.stack([counts[assigned == split].sum(axis=0) for split in range(n_splits)])


def objective(counts, assigned, fractions, minimum):
    """The sum that assign_units promises to lower, written out from its docstring."""
    totals = counts.sum(axis=0)
    held = sums(counts, assigned, len(fractions))
    squares = (plan_targets(totals, fractions, minimum) - held) ** 2
    squares = squares + 1000 * np.maximum(minimum - held, 0) ** 2
    return float((squares / np.maximum(totals, 1) ** 2 / fractions[:, None]).sum())


@st.composite
def unit_counts(draw, max_units=30):
    """Units with one to five images and up to four pathologies, some of them absent."""
    n_units, n_pathologies = draw(st.integers(3, max_units)), draw(st.integers(1, 4))
    images = draw(hnp.arrays(np.int64, n_units, elements=st.integers(1, 5)))
    shares = draw(hnp.arrays(np.float64, (n_units, n_pathologies), elements=st.floats(0, 1)))
    return np.column_stack([np.floor(shares * images[:, None]).astype(np.int64), images])


fractions = st.sampled_from([THREE, np.array([0.5, 0.5]), np.full(5, 0.2), np.array([0.85, 0.15])])


def test_count_per_unit_by_hand():
    nan = np.nan
    labels = np.array([[1, 0], [1, nan], [0, 1], [0, 0]], dtype=np.float32)
    counts = count_per_unit(np.array([0, 0, 1, 1]), labels)
    # positives of both pathologies, images where the second is known, images
    assert counts.tolist() == [[2, 0, 1, 2], [0, 1, 2, 2]]


def test_targets_by_hand():
    targets = plan_targets(np.array([10, 100]), THREE, np.array([[3, 0], [3, 0], [3, 0]]))
    # Valid's 1 and test's 2 are raised to 3; train pays for it. Without a minimum nothing changes.
    assert targets.tolist() == [pytest.approx([4, 70]), pytest.approx([3, 10]), pytest.approx([3, 20])]


def test_promises_leave_the_training_split_no_less_than_the_others():
    counts = np.zeros((227, 5), dtype=np.int64)
    for measure, number in enumerate((227, 100, 2, 0)):
        counts[:number, measure] = 1
    counts[:2, 4] = 30  # two patients with thirty images each cannot serve three splits
    assert promises(counts, 3, 50).tolist() == [50, 33, 0, 0, 0]


def test_four_patients_by_hand():
    counts = np.array([[1, 1], [1, 1], [0, 1], [0, 1]])
    assigned = assign_units(counts, np.array([0.5, 0.5]))
    assert sums(counts, assigned, 2).tolist() == [[1, 2], [1, 2]]


def test_a_large_patient_is_not_cut():
    counts = np.array([[8, 10], *[[0, 1]] * 10])
    assigned = assign_units(counts, np.array([0.5, 0.5]))
    assert sorted(sums(counts, assigned, 2)[:, 1].tolist()) == [10, 10]


def test_the_seed_decides_between_equals():
    counts = np.ones((12, 1), dtype=np.int64)
    ways = {tuple(assign_units(counts, np.full(3, 1 / 3), seed=seed).tolist()) for seed in range(10)}
    assert len(ways) > 5


@given(unit_counts(), fractions, st.integers(0, 3), st.integers(0, 2**32))
def test_every_unit_has_one_split_and_the_same_seed_gives_the_same(counts, fractions, min_positives, seed):
    minimum = np.tile(promises(counts, len(fractions), min_positives), (len(fractions), 1))
    assigned = assign_units(counts, fractions, minimum=minimum, seed=seed)
    assert assigned.shape == (len(counts),)
    assert set(assigned.tolist()) <= set(range(len(fractions)))
    assert (assigned == assign_units(counts, fractions, minimum=minimum, seed=seed)).all()


@given(unit_counts(), fractions, st.integers(0, 3))
def test_targets_add_up_and_hold_the_minimum(counts, fractions, min_positives):
    totals = counts.sum(axis=0)
    minimum = np.tile(promises(counts, len(fractions), min_positives), (len(fractions), 1))
    targets = plan_targets(totals, fractions, minimum)
    assert targets.sum(axis=0) == pytest.approx(totals)
    assert (targets >= minimum - 1e-9).all()


@given(unit_counts(max_units=12), fractions, st.integers(0, 2), st.integers(0, 100))
def test_no_single_move_would_be_better(counts, fractions, min_positives, seed):
    minimum = np.tile(promises(counts, len(fractions), min_positives), (len(fractions), 1))
    assigned = assign_units(counts, fractions, minimum=minimum, seed=seed)
    reached = objective(counts, assigned, fractions, minimum)
    for unit in range(len(counts)):
        for split in range(len(fractions)):
            moved = assigned.copy()
            moved[unit] = split
            assert objective(counts, moved, fractions, minimum) >= reached - 1e-9 * max(reached, 1)


single_images = hnp.arrays(np.int64, st.integers(10, 200), elements=st.integers(0, 4)).map(
    lambda findings: np.column_stack([findings[:, None] == np.arange(1, 5), np.ones(len(findings))]).astype(np.int64)
)


@given(single_images, fractions, st.integers(0, 100))
def test_single_images_with_one_finding_each_are_divided_as_exactly_as_whole_numbers_allow(counts, fractions, seed):
    held = sums(counts, assign_units(counts, fractions, seed=seed), len(fractions))
    assert np.abs(held - np.outer(fractions, counts.sum(axis=0))).max() < 1.5


@given(single_images, fractions, st.integers(1, 30), st.integers(0, 100))
def test_with_single_images_every_promise_is_kept(counts, fractions, min_positives, seed):
    minimum = np.tile(promises(counts, len(fractions), min_positives), (len(fractions), 1))
    minimum[:, -1] = 0
    held = sums(counts, assign_units(counts, fractions, minimum=minimum, seed=seed), len(fractions))
    assert (held >= minimum).all()
