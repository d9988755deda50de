from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cxr_cli.services.metrics.bootstrap import RankStatistics, percentile_interval
from cxr_cli.services.metrics.contributions import auroc_contributions, degrees_of_freedom, expanded
from cxr_cli.services.metrics.delong import delong_covariance


def drawn(seed, n_images=60, n_patients=12):
    random = np.random.default_rng(seed)
    labels = (random.random((n_images, 2)) < 0.4).astype(float)
    labels[random.random((n_images, 2)) < 0.1] = np.nan
    scores = np.round(random.normal(size=(n_images, 2)) + np.nan_to_num(labels), 1)  # with ties
    return labels, scores, random.integers(0, n_patients, n_images)


def test_a_contribution_is_what_a_little_more_of_the_patient_changes():
    labels, scores, patients = drawn(0)
    statistics = RankStatistics(labels, scores, patients)
    found = auroc_contributions(labels, scores, patients)
    many = 100_000
    for patient in range(len(found)):
        counts = np.full((2, len(found)), many)
        counts[1, patient] += 1
        same, more = statistics(counts)[:, :, 0]
        np.testing.assert_allclose((more - same) * many, found[patient], atol=1e-4)


def test_over_images_the_squares_are_delong_variance():
    labels, scores, _ = drawn(1)
    known = ~np.isnan(labels[:, 0])
    found = auroc_contributions(labels[known, :1], scores[known, :1], np.arange(known.sum()))
    positive = labels[known, 0] == 1
    n_positive, n_negative = positive.sum(), (~positive).sum()
    _, covariance = delong_covariance(labels[known, 0], scores[None, known, 0])
    squares = (found[:, 0] ** 2) * np.where(positive, n_positive / (n_positive - 1), n_negative / (n_negative - 1))
    assert squares.sum() == pytest.approx(covariance[0, 0])
    assert found.sum() == pytest.approx(0, abs=1e-12)


def test_nothing_is_contributed_without_both_classes():
    assert not auroc_contributions([[1.0, 0], [1, np.nan]], [[0.1, 0.2], [0.3, 0.4]], [0, 1]).any()


@given(st.lists(st.floats(-10, 10), max_size=30))
def test_degrees_of_freedom_lie_between_those_of_one_patient_and_of_all(values):
    found = degrees_of_freedom(values)
    assert 0 < found <= max(len(values) - 1, 1) or math.isinf(found)
    assert math.isinf(found) or sum(value != 0 for value in values) >= 2


def test_degrees_of_freedom_of_normal_contributions_are_their_number():
    found = degrees_of_freedom(np.random.default_rng(0).normal(size=20_000))
    assert found == pytest.approx(20_000, rel=0.05)


@pytest.mark.parametrize("freedom", [5, 8.5, 20, 100])
def test_expanded_quantiles_are_student_t(freedom):
    z = stats.norm.ppf(0.975)
    student = expanded(z, freedom) / math.sqrt(1 + 1 / freedom)
    assert student == pytest.approx(stats.t.ppf(0.975, freedom), rel=3e-3)


def test_an_interval_of_few_degrees_of_freedom_is_longer():
    draws = np.random.default_rng(0).normal(size=4000)
    widths = [
        (interval := percentile_interval(draws, freedom=freedom)).high - interval.low for freedom in (4, 30, math.inf)
    ]
    assert widths[0] > 1.3 * widths[1]
    assert widths[1] > 1.03 * widths[2]
