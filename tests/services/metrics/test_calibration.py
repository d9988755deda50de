from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from cxr_cli.services.metrics.calibration import (
    brier_score,
    brier_skill,
    calibration_intercept,
    calibration_slope,
    equal_mass_bins,
    expected_calibration_error,
    logit,
    sigmoid,
)


def calibrated(n=4000, seed=0):
    """Labels that are drawn with exactly the probabilities predicted."""
    random = np.random.default_rng(seed)
    chances = sigmoid(random.normal(-1, 1.5, n))
    return (random.random(n) < chances).astype(float), chances


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=30))
def test_brier_score_as_scikit_learn(case):
    labels, chances = np.array(case, float).T
    if 0 < labels.sum() < len(labels):
        assert brier_score(labels, chances) == pytest.approx(brier_score_loss(labels, chances))
    else:
        assert brier_score(labels, chances) == pytest.approx(((labels - chances) ** 2).mean())


def test_brier_skill_by_hand():
    # Prevalence 1/4: its score is 3/16. Predictions (0.5, 0, 0, 0) score 1/16.
    assert brier_skill([1, 0, 0, 0], [0.5, 0, 0, 0]) == pytest.approx(1 - (1 / 16) / (3 / 16))
    assert brier_skill([1, 0, 0, 0], [0.25] * 4) == pytest.approx(0)
    assert np.isnan(brier_skill([0, 0], [0.1, 0.2]))


def test_unknown_labels_are_left_out():
    labels, chances = np.array([[1, np.nan], [0, 0]]), np.array([[0.8, np.nan], [0.4, 0.5]])
    np.testing.assert_allclose(brier_score(labels, chances), [0.1, 0.25])
    assert np.isnan(brier_score([np.nan], [0.5]))


def test_calibrated_predictions_have_intercept_0_and_slope_1():
    labels, chances = calibrated()
    intercept, slope = calibration_intercept(labels, chances), calibration_slope(labels, chances)
    assert abs(intercept.value) < 3 * intercept.standard_error < 0.15
    assert abs(slope.value - 1) < 3 * slope.standard_error < 0.2


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.0, 2.0), (-2.0, 0.5), (3.0, 4.0)])
def test_fits_as_other_optimisers_find_them(shift, scale):
    labels, chances = calibrated(500)
    bent = sigmoid(shift + scale * logit(chances))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(bent)[:, None], labels)
    assert calibration_slope(labels, bent).value == pytest.approx(model.coef_[0, 0], rel=1e-4)

    def loss(a):
        z = a[0] + logit(bent)
        return np.sum(np.logaddexp(0, z) - labels * z)

    assert calibration_intercept(labels, bent).value == pytest.approx(minimize(loss, [0.0]).x[0], abs=1e-4)


def test_an_intercept_undoes_a_shift():
    labels, chances = calibrated()
    before = calibration_intercept(labels, chances).value
    assert calibration_intercept(labels, sigmoid(logit(chances) + 2)).value == pytest.approx(before - 2)
    slope = calibration_slope(labels, chances).value
    assert calibration_slope(labels, sigmoid(1.5 * logit(chances))).value == pytest.approx(slope / 1.5, rel=1e-5)


def test_errors_of_images_of_one_patient_are_larger():
    labels, chances = calibrated(300)
    labels, chances = np.repeat(labels, 10), np.repeat(chances, 10)
    patients = np.repeat(np.arange(300), 10)
    for fit in (calibration_intercept, calibration_slope):
        ratio = fit(labels, chances, patients).standard_error / fit(labels, chances).standard_error
        assert ratio == pytest.approx(np.sqrt(10), rel=0.01)


def test_errors_are_the_spread_of_the_estimates():
    fits = [calibration_slope(*calibrated(400, seed)) for seed in range(200)]
    spread = np.std([fit.value for fit in fits])
    assert np.mean([fit.standard_error for fit in fits]) == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize(
    ("labels", "chances"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3]),
        ([1, 1], [0.1, 0.9]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([0, 1, 0], [0.5, 0.5, 0.5]),
        ([], []),
    ],
)
def test_a_slope_that_does_not_exist_is_nan(labels, chances):
    assert np.isnan(calibration_slope(labels, chances).value)


def test_certain_predictions_are_kept_finite():
    assert np.isfinite(calibration_intercept([0, 1, 1, 0], [0.0, 1.0, 0.0, 1.0]).value)


def test_bins_by_hand():
    labels = [0, 0, 1, 0, 1, np.nan]
    bins = equal_mass_bins(labels, [0.1, 0.2, 0.3, 0.3, 0.9, 0.5], n_bins=5)
    # The two that share 0.3 have midrank 3.5: both fall into the fourth bin, and the third is empty.
    assert bins.number.tolist() == [0, 1, 2, 2, 3, -1]
    assert bins.n_images.tolist() == [1, 1, 2, 1]
    assert bins.n_positive.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(bins.mean_predicted, [0.1, 0.2, 0.3, 0.9])
    assert expected_calibration_error(bins) == pytest.approx((0.1 + 0.2 + 2 * 0.2 + 0.1) / 5)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60), st.integers(1, 12))
def test_laws_of_bins(case, n_bins):
    labels, chances = np.array(case, float).T
    bins = equal_mass_bins(labels, chances, n_bins)
    assert len(bins.n_images) <= n_bins
    assert bins.n_images.sum() == len(labels) and bins.n_positive.sum() == labels.sum()
    assert (np.diff(bins.mean_predicted) >= 0).all()
    assert 0 <= expected_calibration_error(bins) <= 1
    if len(set(chances)) == len(chances) and len(labels) >= n_bins:
        assert bins.n_images.max() - bins.n_images.min() <= 1


def test_no_images_no_bins():
    bins = equal_mass_bins([np.nan], [0.5])
    assert not len(bins.n_images)
    assert np.isnan(expected_calibration_error(bins))


def test_not_a_probability():
    for call in (brier_score, calibration_intercept, equal_mass_bins):
        with pytest.raises(ValueError, match="probabilities"):
            call([1, 0], [1.2, 0.1])


@given(st.floats(-15, 15))
def test_logit_and_sigmoid_are_inverse(value):
    assert logit(sigmoid(value)) == pytest.approx(value, abs=1e-6)
