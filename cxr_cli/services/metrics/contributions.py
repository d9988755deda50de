"""How much each patient contributes to an AUROC, and on how many patients its interval therefore rests.

A bootstrap of few patients gives intervals that are too short: the variance that it imitates is itself an estimate, and
the fewer patients carry it, the more often it comes out too small. The usual remedy for a mean is a t quantile instead
of a normal one. The same is done here for percentiles: the quantiles of the draws that are taken lie further out, by
the degrees of freedom of the variance. With hundreds of patients with a finding this changes next to nothing.

References
----------
N. A. Obuchowski: Nonparametric analysis of clustered ROC curve data. Biometrics 53 (1997) 567-578, doi:10.2307/2533958
(contributions of patients with several images). F. E. Satterthwaite: An approximate distribution of estimates of
variance components. Biometrics Bulletin 2 (1946) 110-114, doi:10.2307/3002019; R. M. Bell, D. F. McCaffrey: Bias
reduction in standard errors for linear regression with multi-stage samples. Survey Methodology 28 (2002) 169-181
(degrees of freedom of a variance over clusters). T. C. Hesterberg: What teachers should know about the bootstrap. The
American Statistician 69 (2015) 371-386, doi:10.1080/00031305.2015.1089789 (percentile intervals at expanded levels).
D. L. Wallace: Bounds on normal approximations to Student's and the chi-square distributions. Annals of Mathematical
Statistics 30 (1959) 1121-1130, doi:10.1214/aoms/1177706085 (t quantiles).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.services.metrics.delong import placements
from cxr_cli.services.metrics.ranking import checked

Floats = NDArray[np.float64]


def auroc_contributions(labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike) -> Floats:
    """Return by how much each patient moves the AUROC: the sum over its images of their components less the mean.

    Parameters
    ----------
    labels, scores, clusters
        As for `cxr_cli.services.metrics.bootstrap.RankStatistics`.

    Returns
    -------
    Shape (n_clusters, n_pathologies). Each column sums to 0, and its squares to the variance of the AUROC over
    patients. 0 for pathologies without positives or without negatives.

    Raises
    ------
    ValueError
        As `ranking.auroc`.

    Examples
    --------
    >>> auroc_contributions([[1], [1], [0], [0]], [[0.9], [0.3], [0.5], [0.1]], [0, 1, 1, 2]).ravel().tolist()
    [0.125, -0.25, 0.125]
    """
    known, values = checked(labels, scores)
    codes = np.asarray(clusters, np.int64)
    found = np.zeros((int(codes.max(initial=-1)) + 1, known.shape[1]))
    for column in range(known.shape[1]):
        present, absent = np.flatnonzero(known[:, column] == 1), np.flatnonzero(known[:, column] == 0)
        if not len(present) or not len(absent):
            continue
        of_present, of_absent = placements(values[present, column], values[absent, column])
        area = of_present.mean()
        images = np.concatenate([codes[present], codes[absent]])
        parts = np.concatenate([(of_present - area) / len(present), (of_absent - area) / len(absent)])
        found[:, column] = np.bincount(images, parts, minlength=len(found))
    return found


def degrees_of_freedom(contributions: ArrayLike) -> float:
    """Return the degrees of freedom of a variance that is a sum of squares, one for each patient.

    Twice the square of the variance over the variance of the variance (Satterthwaite), at most the number of patients
    that contribute less one, and infinite where nothing varies.

    Parameters
    ----------
    contributions
        Shape (n_clusters,): by how much each patient moves the estimate.

    Examples
    --------
    >>> degrees_of_freedom([1.0, -1.0, 1.0, -1.0])
    3.0
    >>> round(degrees_of_freedom([10.0] + 10 * [-1.0]), 2)
    2.72
    """
    sizes = np.abs(np.asarray(contributions, np.float64))
    squares = (sizes / max(sizes.max(initial=0), np.finfo(float).tiny)) ** 2  # the scale does not matter
    n_patients = int((squares > 0).sum())
    if n_patients < 2:
        return math.inf
    spread = float((squares**2).sum()) / float(squares.sum()) ** 2 - 1 / n_patients
    most = n_patients - 1.0
    return min(2 / spread, most) if spread > 2 / most else most


def expanded(z: float, freedom: float) -> float:
    """Return the normal quantile to take in a bootstrap's draws instead of `z`, given the degrees of freedom.

    Student's t quantile in Wallace's approximation (within 0.3 % from 5 degrees of freedom up), times sqrt(1 + 1 /
    freedom), because the draws of n patients vary by the factor (n - 1) / n too little.

    Examples
    --------
    >>> [round(expanded(1.96, freedom), 2) for freedom in (5, 20, 200, math.inf)]
    [2.82, 2.14, 1.98, 1.96]
    """
    if math.isinf(freedom):
        return z
    scale = (8 * freedom + 3) / (8 * freedom + 1)
    student = math.sqrt(freedom * math.expm1((scale * z) ** 2 / freedom))
    return math.copysign(student * math.sqrt(1 + 1 / freedom), z)
