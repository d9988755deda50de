from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from cxr_cli.services.metrics.delong import delong_covariance, delong_test, midranks
from cxr_cli.services.metrics.ranking import auroc


def by_definition(labels, scores):
    """Areas and covariance from DeLong's equations 3 to 6, pair by pair."""
    components = []
    for row in scores:
        x, y = row[labels == 1], row[labels == 0]
        kernel = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
        components.append((kernel.mean(axis=1), kernel.mean(axis=0), kernel.mean()))
    m, n = (labels == 1).sum(), (labels == 0).sum()
    covariance = np.empty((len(scores), len(scores)))
    for r, (v10, v01, area) in enumerate(components):
        for s, (w10, w01, other) in enumerate(components):
            s10 = ((v10 - area) * (w10 - other)).sum() / (m - 1)
            s01 = ((v01 - area) * (w01 - other)).sum() / (n - 1)
            covariance[r, s] = s10 / m + s01 / n
    return np.array([area for *_, area in components]), covariance


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_midranks_give_what_the_definition_gives(m, n, seed):
    random = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0], [m, n])
    scores = random.integers(0, 6, (3, m + n)).astype(float)
    areas, covariance = delong_covariance(labels, scores)
    expected_areas, expected = by_definition(labels, scores)
    np.testing.assert_allclose(areas, expected_areas, atol=1e-12)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
    np.testing.assert_allclose(areas, [auroc(labels, row) for row in scores], atol=1e-12)


def test_a_case_by_hand():
    # Positives 3 and 1 against negatives 2 and 0: of the pairs (3,2) (3,0) (1,0) are right. Components of the
    # positives 1 and 1/2, of the negatives 1/2 and 1; both have variance 1/8, so the variance is 1/8/2 + 1/8/2.
    areas, covariance = delong_covariance([1, 1, 0, 0], [[3, 1, 2, 0]])
    assert areas.tolist() == [0.75]
    assert covariance.tolist() == [[0.125]]


@given(st.integers(0, 2**32 - 1))
def test_laws(seed):
    random = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0, np.nan], [8, 12, 3])
    first, second = random.random((2, 23))
    one, other = delong_test(labels, first, second), delong_test(labels, second, first)
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.p_value == pytest.approx(2 * norm.sf(abs(one.z)))
    assert delong_test(labels, np.exp(first), second) == one
    same = delong_test(labels, first, first)
    assert (same.difference, same.z, same.p_value) == (0, 0, 1)


def test_p_values_are_uniform_where_models_are_equal():
    random = np.random.default_rng(0)
    labels = np.repeat([1.0, 0.0], [60, 240])
    p_values = []
    for _ in range(400):
        signal = random.normal(size=300) + labels
        first, second = signal + random.normal(size=(2, 300))
        p_values.append(delong_test(labels, first, second).p_value)
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.08


def test_too_few_images():
    assert all(math.isnan(v) for v in vars(delong_test([1, 1], [0.1, 0.2], [0.3, 0.4])).values())
    one_positive = delong_test([1, 0, 0], [0.9, 0.1, 0.2], [0.1, 0.2, 0.0])
    assert one_positive.difference == pytest.approx(0.5)
    assert math.isnan(one_positive.p_value)


def test_a_difference_without_any_spread():
    result = delong_test([1, 1, 0, 0], [3, 4, 1, 2], [1, 2, 3, 4])
    assert (result.difference, result.standard_error, result.p_value) == (1, 0, 0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_midranks_as_scipy(values):
    np.testing.assert_array_equal(midranks(values), rankdata(values))
