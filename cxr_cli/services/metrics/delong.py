"""DeLong's variance of the AUROC, and his test of two models on the same images.

Images are taken as independent. Where patients have several, the patient bootstrap has the last word.

References
----------
E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson: Comparing the areas under two or more correlated receiver operating
characteristic curves: a nonparametric approach. Biometrics 44 (1988) 837-845, doi:10.2307/2531595. Computed from
midranks as in X. Sun, W. Xu: Fast implementation of DeLong's algorithm. IEEE Signal Processing Letters 21 (2014)
1389-1393, doi:10.1109/LSP.2014.2337313.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.services.metrics.ranking import checked

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs compared on the same images.

    Attributes
    ----------
    difference
        First minus second; NaN without positives or without negatives.
    standard_error
        Of the difference; NaN with fewer than two positives or two negatives.
    z, p_value
        The test that there is no difference, two-sided. If the standard error is 0, p is 1 for equal areas and 0
        otherwise.
    """

    difference: float
    standard_error: float
    z: float
    p_value: float


def delong_test(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> DeLong:
    """Test whether two models have the same AUROC for one pathology.

    Parameters
    ----------
    labels
        Shape (n_images,); 1 present, 0 absent, NaN unknown (left out).
    first, second
        Scores of the two models, the same shape.

    Raises
    ------
    ValueError
        As `ranking.auroc`.

    Examples
    --------
    >>> result = delong_test([1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], [0.9, 0.2, 0.7, 0.3, 0.8, 0.1])
    >>> round(result.difference, 4), round(result.standard_error, 4), round(result.p_value, 4)
    (0.3333, 0.2722, 0.2207)
    """
    known, _ = checked(labels, first)
    checked(labels, second)
    areas, covariance = delong_covariance(known, np.stack([np.asarray(first), np.asarray(second)]))
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan
    if math.isnan(error):
        return DeLong(difference, error, math.nan, math.nan)
    # Rounding leaves some 1e-17 of a variance that is 0.
    if error < 1e-8:
        z = 0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference)
    else:
        z = difference / error
    return DeLong(difference, error, z, math.erfc(abs(z) / math.sqrt(2)))


def delong_covariance(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return the AUROCs of some models on the same images and the covariance of these estimates.

    Parameters
    ----------
    labels
        Shape (n_images,); 1 present, 0 absent, NaN unknown (left out).
    scores
        Shape (n_models, n_images).

    Returns
    -------
    areas, covariance
        Shapes (n_models,) and (n_models, n_models); NaN where the images do not suffice.
    """
    known, values = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    positives, negatives = values[:, known == 1], values[:, known == 0]
    n_models, n_positive, n_negative = len(values), positives.shape[1], negatives.shape[1]
    if not n_positive or not n_negative:
        return np.full(n_models, np.nan), np.full((n_models, n_models), np.nan)
    of_positives, of_negatives = np.empty(positives.shape), np.empty(negatives.shape)
    for model in range(n_models):
        of_positives[model], of_negatives[model] = placements(positives[model], negatives[model])
    areas = of_positives.mean(axis=1)
    if n_positive < 2 or n_negative < 2:
        return areas, np.full((n_models, n_models), np.nan)
    covariance = np.atleast_2d(np.cov(of_positives)) / n_positive + np.atleast_2d(np.cov(of_negatives)) / n_negative
    return areas, covariance


def placements(positives: ArrayLike, negatives: ArrayLike) -> tuple[Floats, Floats]:
    """Return DeLong's structural components; the mean of each array is the AUROC.

    Parameters
    ----------
    positives, negatives
        Scores, shapes (n_positive,) and (n_negative,), neither empty.

    Returns
    -------
    The fraction of negatives below each positive, and of positives above each negative; ties count half.

    Examples
    --------
    >>> [part.tolist() for part in placements([0.9, 0.3], [0.5, 0.1])]
    [[1.0, 0.5], [0.5, 1.0]]
    """
    ours, theirs = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    together = midranks(np.concatenate([ours, theirs]))
    of_positives: Floats = (together[: len(ours)] - midranks(ours)) / len(theirs)
    of_negatives: Floats = 1 - (together[len(ours) :] - midranks(theirs)) / len(ours)
    return of_positives, of_negatives


def midranks(values: ArrayLike) -> Floats:
    """Return ranks from 1, ascending; equal values get the mean of their ranks.

    Examples
    --------
    >>> midranks([10, 20, 20, 5]).tolist()
    [2.0, 3.5, 3.5, 1.0]
    """
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[inverse]
    return ranks
