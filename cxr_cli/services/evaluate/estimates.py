"""Statistics of the same draws, and the estimates that come of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cxr_cli.services.evaluate.result import Estimate
from cxr_cli.services.metrics.bootstrap import Statistic, percentile_interval, replicate
from cxr_cli.services.metrics.calibration import Fit

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

#: With fewer draws on the other side of 0, a p value is not read from their number.
_FEW = 10


class Plan:
    """Statistics to be computed of the same draws, all in one pass.

    Parameters
    ----------
    clusters
        Unit that a draw takes (patient or image), a number from 0 for each image; shape (n_images,).
    """

    def __init__(self, clusters: NDArray[np.int64]) -> None:
        self.clusters = clusters
        self.n_clusters = int(clusters.max()) + 1
        self._statistics: list[Statistic] = []
        self._draws: list[Floats] = []

    def add(self, statistic: Statistic) -> int:
        """Take in a statistic; return the number under which `draws` gives its values."""
        self._statistics.append(statistic)
        return len(self._statistics) - 1

    def run(self, n_draws: int, seed: int, workers: int, progress: Progress | None = None) -> None:
        """Compute everything."""
        self._draws = replicate(
            self._statistics, self.n_clusters, n_draws, seed=seed, workers=workers, progress=progress
        )
        self._statistics = []

    def draws(self, number: int) -> Floats:
        """Return the values of a statistic; the first axis is the draws."""
        return self._draws[number]


def estimate(value: float, draws: Floats, confidence: float, freedom: float = math.inf) -> Estimate:
    """Return a number with its percentile interval; without interval where the number is undefined.

    `freedom` are the degrees of freedom of its variance over patients, where they are known.
    """
    if np.isnan(value):
        return Estimate(float("nan"))
    interval = percentile_interval(draws, confidence, freedom)
    return Estimate(float(value), interval.low, interval.high, interval.n_undefined)


def of_fit(fit: Fit, confidence: float) -> Estimate:
    """Return the estimate of a fit with its normal interval."""
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * fit.standard_error
    return Estimate(fit.value, fit.value - reach, fit.value + reach)


def p_value(differences: Floats) -> float:
    """Return the two-sided p value of no difference from paired draws; NaN without any.

    Twice the fraction of draws on the other side of 0, with one draw added to each, so that p is never 0. Where fewer
    than 10 are there, too few to tell how small p is, the normal distribution with the draws' mean and standard
    deviation takes over: a correction for many tests needs p values far below 1 / n_draws.
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return float("nan")
    fewer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    counted = min(1.0, 2 * (1 + fewer) / (1 + len(defined)))
    spread = float(defined.std())
    if fewer >= _FEW or spread == 0:
        return counted
    return min(counted, math.erfc(abs(float(defined.mean())) / spread / math.sqrt(2)))
