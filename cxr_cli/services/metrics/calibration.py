"""Whether predicted probabilities can be taken at their word.

References
----------
B. Van Calster et al.: Calibration: the Achilles heel of predictive analytics. BMC Medicine 17 (2019) 230,
doi:10.1186/s12916-019-1466-7 (intercept and slope).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.services.metrics.delong import midranks
from cxr_cli.services.metrics.ranking import checked

Floats = NDArray[np.float64]

#: Probabilities are kept this far from 0 and 1 before their logit is taken: the resolution of float32 near 1.
CLIP = 2.0**-24
#: Steps of Newton's method before a fit is given up, and the largest slope or intercept that is believed.
_STEPS, _LARGEST = 100, 100.0


@dataclass(frozen=True)
class Fit:
    """An estimate of a logistic regression.

    Attributes
    ----------
    value
        NaN if it does not exist (one class only, constant predictions, or classes that the predictions separate).
    standard_error
        Robust against the likeness of images of one patient; NaN with a single patient.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class Bins:
    """A reliability curve: predicted against observed, in bins of about equal numbers of images.

    Attributes
    ----------
    number
        Of the bin of each image, from 0; -1 where the label is unknown. Shape (n_images,). Equal probabilities share
        a bin.
    n_images, n_positive
        Shape (n_bins,); bins are in ascending order of probability and none is empty.
    mean_predicted, observed
        Mean probability and prevalence in each bin.
    """

    number: NDArray[np.int64]
    n_images: NDArray[np.int64]
    n_positive: NDArray[np.int64]
    mean_predicted: Floats
    observed: Floats


def brier_score(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Return the mean squared difference between probability and label; lower is better.

    Parameters
    ----------
    labels
        Shape (n_images,) or (n_images, n_pathologies); 1 present, 0 absent, NaN unknown (left out).
    probabilities
        The same shape, in [0, 1].

    Returns
    -------
    Float64, shape () or (n_pathologies,), in [0, 1]; NaN without known labels.

    References
    ----------
    G. W. Brier: Verification of forecasts expressed in terms of probability. Monthly Weather Review 78 (1950) 1-3.

    Examples
    --------
    >>> float(brier_score([1, 0], [0.8, 0.4]))
    0.1
    """
    known, chances = _probabilities(labels, probabilities)
    return _mean_of_known((chances - known) ** 2)


def brier_skill(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Return how much lower the Brier score is than that of predicting the prevalence for every image.

    1 is perfect, 0 as good as the prevalence, negative worse. Parameters as `brier_score`.

    Examples
    --------
    >>> round(float(brier_skill([1, 0], [0.8, 0.4])), 3)
    0.6
    """
    known, _ = checked(labels, probabilities)
    prevalence = _mean_of_known(known)
    spread = prevalence * (1 - prevalence)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, 1 - brier_score(labels, probabilities) / spread, np.nan), np.float64)


def calibration_intercept(labels: ArrayLike, probabilities: ArrayLike, clusters: ArrayLike | None = None) -> Fit:
    """Return by how much the logits are too low on average: a in logit P(y = 1) = a + logit(p).

    0 is right; below 0 the probabilities are too high. "Calibration in the large".

    Parameters
    ----------
    labels
        Shape (n_images,); 1 present, 0 absent, NaN unknown (left out).
    probabilities
        The same shape, in [0, 1]; those within 2**-24 of 0 or 1 are moved there.
    clusters
        Shape (n_images,): a number for the patient of each image. Default: every image its own.
    """
    known, logits, codes = _known_logits(labels, probabilities, clusters)
    estimates = _logistic(np.ones((len(known), 1)), known, logits, codes)
    return estimates[0]


def calibration_slope(labels: ArrayLike, probabilities: ArrayLike, clusters: ArrayLike | None = None) -> Fit:
    """Return b in logit P(y = 1) = a + b logit(p): below 1 the probabilities are too extreme, above 1 too moderate.

    Parameters as `calibration_intercept`.

    References
    ----------
    D. R. Cox: Two further applications of a model for binary regression. Biometrika 45 (1958) 562-565.
    """
    known, logits, codes = _known_logits(labels, probabilities, clusters)
    if not len(known) or np.ptp(logits) == 0:
        return Fit(math.nan, math.nan)
    design = np.stack([np.ones(len(known)), logits], axis=1)
    return _logistic(design, known, np.zeros(len(known)), codes)[1]


def equal_mass_bins(labels: ArrayLike, probabilities: ArrayLike, n_bins: int = 10) -> Bins:
    """Divide images into bins of about equal size by their predicted probability.

    Bins of equal width would leave most images of a rare pathology in the first and two positives in the last.

    Parameters
    ----------
    labels
        Shape (n_images,); 1 present, 0 absent, NaN unknown (left out).
    probabilities
        The same shape, in [0, 1].
    n_bins
        At least 1; fewer come out where probabilities are equal.
    """
    known, chances = _probabilities(labels, probabilities)
    kept = np.flatnonzero(~np.isnan(known))
    number = np.full(len(known), -1, np.int64)
    if not len(kept):
        empty = np.empty(0)
        return Bins(number, empty.astype(np.int64), empty.astype(np.int64), empty, empty)
    places = ((midranks(chances[kept]) - 0.5) * n_bins / len(kept)).astype(np.int64)
    _, places = np.unique(places, return_inverse=True)
    number[kept] = places
    n_images = np.bincount(places)
    n_positive = np.bincount(places[known[kept] == 1], minlength=len(n_images))
    predicted = np.bincount(places, weights=chances[kept]) / n_images
    return Bins(number, n_images, n_positive, predicted, n_positive / n_images)


def expected_calibration_error(bins: Bins) -> float:
    """Return the mean distance between predicted and observed, over bins weighted by their images; in [0, 1].

    References
    ----------
    Equal masses: K. Nguyen, B. O'Connor: Posterior calibration and exploratory analysis for natural language
    processing models. EMNLP 2015, arXiv:1508.05154.
    """
    if not len(bins.n_images):
        return math.nan
    gaps = np.abs(bins.mean_predicted - bins.observed)
    return float((bins.n_images * gaps).sum() / bins.n_images.sum())


def correct_prior(probabilities: ArrayLike, positive_weights: ArrayLike, negative_weights: ArrayLike) -> Floats:
    """Turn the probabilities of a model trained with class weights into those of one trained without.

    Weighting multiplies the odds that a perfectly fitted model predicts by positive / negative weight; dividing by that
    again gives p = q n / (q n + (1 - q) w), with q the predicted probability, w the positive and n the negative weight.

    Parameters
    ----------
    probabilities
        Shape (n_images, n_pathologies) or what broadcasts with the weights; in [0, 1].
    positive_weights, negative_weights
        Shape (n_pathologies,); above 0.

    References
    ----------
    Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, theorem 2; King and Zeng (2001), section 4.1.

    Examples
    --------
    >>> correct_prior(0.5, 0.98, 0.02)
    array(0.02)
    """
    predicted = np.asarray(probabilities, dtype=np.float64)
    present = predicted * np.asarray(negative_weights, dtype=np.float64)
    absent = (1 - predicted) * np.asarray(positive_weights, dtype=np.float64)
    return np.asarray(present / (present + absent))


def logit(probabilities: ArrayLike) -> Floats:
    """Return log(p / (1 - p)), with p kept 2**-24 away from 0 and 1."""
    chances = np.clip(np.asarray(probabilities, np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(chances) - np.log1p(-chances), np.float64)


def sigmoid(logits: ArrayLike) -> Floats:
    """Return 1 / (1 + exp(-x)), without overflow."""
    values = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1, small) / (1 + small), np.float64)


def _probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Floats]:
    known, chances = checked(labels, probabilities)
    used = chances[~np.isnan(known)]
    if not ((used >= 0) & (used <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    return known, chances


def _mean_of_known(values: Floats) -> Floats:
    n_known = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nansum(values, axis=0) / n_known, np.float64)


def _known_logits(
    labels: ArrayLike, probabilities: ArrayLike, clusters: ArrayLike | None
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    known, chances = _probabilities(labels, probabilities)
    codes = np.arange(len(known)) if clusters is None else np.asarray(clusters, np.int64)
    kept = ~np.isnan(known)
    _, places = np.unique(codes[kept], return_inverse=True)
    return known[kept], logit(chances[kept]), places


def _logistic(design: Floats, labels: Floats, offset: Floats, clusters: NDArray[np.int64]) -> list[Fit]:
    """Fit a logistic regression by Newton's method; errors from the sandwich over clusters.

    References
    ----------
    K.-Y. Liang, S. L. Zeger: Longitudinal data analysis using generalized linear models. Biometrika 73 (1986) 13-22.
    """
    nothing = [Fit(math.nan, math.nan)] * design.shape[1]
    if not 0 < labels.sum() < len(labels):
        return nothing
    # Centred and scaled, so that a step is of the same size whatever the logits are.
    centre, scale = _centre(design)
    columns = (design - centre) / scale
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chances = sigmoid(columns @ beta + offset)
        gradient = columns.T @ (labels - chances)
        information = (columns * (chances * (1 - chances))[:, None]).T @ columns
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError:
            return nothing
        # A long step may overshoot.
        beta = beta + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))
        if not np.isfinite(beta).all() or np.abs(beta).max() > _LARGEST:
            return nothing
        if np.abs(step).max() < 1e-10:
            break
    else:
        return nothing
    residuals = columns * (labels - sigmoid(columns @ beta + offset))[:, None]
    n_clusters = int(clusters.max()) + 1
    scores = np.stack([np.bincount(clusters, weights=part, minlength=n_clusters) for part in residuals.T], axis=1)
    inverse = np.linalg.inv(information)
    covariance = inverse @ (scores.T @ scores) @ inverse
    correction = n_clusters / (n_clusters - 1) if n_clusters > 1 else math.nan
    errors = np.sqrt(np.diag(covariance) * correction) / scale
    values = beta / scale
    return [Fit(float(value), float(error)) for value, error in zip(values, errors, strict=True)]


def _centre(design: Floats) -> tuple[Floats, Floats]:
    if design.shape[1] == 1:
        return np.zeros(1), np.ones(1)
    return np.array([0.0, design[:, 1].mean()]), np.array([1.0, design[:, 1].std()])
