"""Interval of a prevalence where several images are of one patient."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray


def prevalence_interval(
    labels: ArrayLike, clusters: ArrayLike, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of Wilson's interval, with the number of images that patients leave effectively independent.

    The variance of the prevalence p is that of a ratio over patients, Σ (y - p n)² / N², where a patient has y
    positives among n images with a known label, and N is the number of such images. Wilson's interval is taken for
    n_eff = p (1 - p) / variance images, at most N: images of one patient never add certainty here.

    Parameters
    ----------
    labels
        Shape (n_images, n_pathologies): 1 present, 0 absent, NaN unknown (left out).
    clusters
        Shape (n_images,), integers from 0: the patient of each image.
    confidence
        Between 0 and 1.

    Returns
    -------
    low, high
        Shape (n_pathologies,), 0 to 1; NaN where nothing is known.

    References
    ----------
    E. B. Wilson: Probable inference, the law of succession, and statistical inference. Journal of the American
    Statistical Association 22 (1927) 209-212. E. L. Korn, B. I. Graubard: Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data. Survey Methodology 24 (1998) 193-201 (the
    effective sample size).

    Examples
    --------
    >>> low, high = prevalence_interval([[1], [0], [0], [0]], [0, 1, 2, 3])
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.046, 0.699)
    """
    values = np.asarray(labels)
    codes = np.asarray(clusters, np.int64)
    quantile = NormalDist().inv_cdf(0.5 + confidence / 2)
    unknown = np.isnan(values)
    everything = np.bincount(codes)
    ends = []
    for column in range(values.shape[1]):
        left_out = codes[unknown[:, column]]
        sizes = everything - np.bincount(left_out, minlength=len(everything)) if len(left_out) else everything
        positives = np.bincount(codes[values[:, column] == 1], minlength=len(everything))
        ends.append(_interval(positives, sizes, quantile))
    low, high = np.array(ends, float).reshape(-1, 2).T
    return low, high


def _interval(positives: NDArray[np.int64], sizes: NDArray[np.int64], quantile: float) -> tuple[float, float]:
    total, n_clusters = int(sizes.sum()), int(np.count_nonzero(sizes))
    if not total:
        return math.nan, math.nan
    p = positives.sum() / total
    effective = float(total)
    if n_clusters > 1 and 0 < p < 1:
        variance = ((positives - p * sizes) ** 2).sum() / total**2
        if variance > 0:
            effective = min(effective, p * (1 - p) / variance)
    elif n_clusters < total:
        # All positive or all negative: nothing shows how alike the images of a patient are; patients count.
        effective = float(n_clusters)
    spread = quantile**2 / effective
    centre = (p + spread / 2) / (1 + spread)
    half = quantile * math.sqrt(p * (1 - p) / effective + spread / (4 * effective)) / (1 + spread)
    # Rounding must not put an end beyond the value itself.
    return min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p)
