"""Intervals from a bootstrap that draws patients, fast enough to be the default.

Images of one patient resemble each other, so a draw takes whole patients: n of them with replacement, each with all
its images. Drawing images instead gives intervals that are too narrow.

A draw is a vector of counts, one per patient: how often it was drawn. Nothing is copied or sorted again. Scores are
sorted once; for each draw the counts are gathered in that order and summed between one positive image and the next,
which is all that AUROC and average precision need. What can be written as a sum over images (confusion counts, Brier
score, bins of a reliability curve) is one matrix product. All sums are of integers, so that the result has the same
bytes for any number of threads.

References
----------
C. A. Field, A. H. Welsh: Bootstrapping clustered data. Journal of the Royal Statistical Society B 69 (2007) 369-390,
doi:10.1111/j.1467-9868.2007.00593.x (the cluster bootstrap). B. Efron, R. J. Tibshirani: An Introduction to the
Bootstrap, 1993, chapter 13 (percentile intervals).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.services.metrics.contributions import expanded
from cxr_cli.services.metrics.ranking import checked

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What is computed from some draws: counts of shape (n_draws, n_clusters) in, values of shape (n_draws, …) out.
Statistic = Callable[[Integers], Floats]

#: Draws that are worked on together; part of the seed, so that it does not depend on the number of threads.
BLOCK = 40
#: Counts gathered at once, in cells of 8 bytes: what fits a processor's cache.
_GATHERED = 1 << 18
#: Multiplications in a matrix product that OpenBLAS leaves to one thread; more threads would compete with ours.
_ONE_THREAD = 1 << 18
#: Sums of real numbers are taken in multiples of this.
_UNIT = 2.0**-32


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes
    ----------
    low, high
        Its ends; NaN if fewer than two draws gave a value.
    n_draws
        Draws that gave a value.
    n_undefined
        Draws left out because the value is undefined in them (no positives or no negatives were drawn).
    """

    low: float
    high: float
    n_draws: int
    n_undefined: int


def clusters_of(patients: ArrayLike) -> Integers:
    """Return the number of each image's cluster, counted from 0: its patient, or itself where that is unknown (-1).

    Parameters
    ----------
    patients
        Integers, shape (n_images,); images of one patient have the same number.

    Examples
    --------
    >>> clusters_of([7, -1, 7, -1, 2]).tolist()
    [0, 1, 0, 2, 3]
    """
    codes = np.asarray(patients, np.int64).copy()
    unknown = np.flatnonzero(codes < 0)
    codes[unknown] = np.arange(len(unknown)) + codes.max(initial=-1) + 1
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    places = np.empty(len(first), np.int64)
    # In the order of their first images, so that numbers do not depend on how patients are coded.
    places[np.argsort(first)] = np.arange(len(first))
    return places[inverse]


def draw_counts(n_clusters: int, n_draws: int, seed: int, start: int = 0) -> Integers:
    """Draw `n_clusters` clusters with replacement, `n_draws` times.

    Parameters
    ----------
    n_clusters
        How many there are.
    n_draws
        How many draws; at most `BLOCK`.
    seed
        The same seed gives the same draws.
    start
        The number of the first of these draws, a multiple of `BLOCK`.

    Returns
    -------
    Int64, shape (n_draws, n_clusters); each row sums to `n_clusters`.
    """
    random = np.random.default_rng([seed, start])
    drawn = random.integers(n_clusters, size=(n_draws, n_clusters))
    drawn += np.arange(n_draws)[:, None] * n_clusters
    counts = np.bincount(drawn.ravel(), minlength=n_draws * n_clusters)
    return counts.reshape(n_draws, n_clusters).astype(np.int64)


def replicate(
    statistics: Sequence[Statistic],
    n_clusters: int,
    n_draws: int,
    *,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Floats]:
    """Compute statistics of the same draws of patients.

    Parameters
    ----------
    statistics
        Such as `RankStatistics` and `Sums`. All see the same draws, so that their differences are paired.
    n_clusters
        Number of patients.
    n_draws
        Number of draws, at least 1.
    seed
        The same seed gives the same bytes, whatever `workers` is.
    workers
        Threads; NumPy works outside of Python's lock.
    progress
        Called with (draws done, all draws).

    Returns
    -------
    One array for each statistic, its first axis the draws.
    """
    blocks = [(start, min(BLOCK, n_draws - start)) for start in range(0, n_draws, BLOCK)]
    results: list[list[Floats]] = [[] for _ in blocks]

    def work(number: int) -> None:
        start, size = blocks[number]
        counts = draw_counts(n_clusters, size, seed, start)
        results[number] = [statistic(counts) for statistic in statistics]

    done = 0
    for number in _in_threads(work, len(blocks), workers):
        done += blocks[number][1]
        if progress is not None:
            progress(done, n_draws)
    return [np.concatenate([block[place] for block in results]) for place in range(len(statistics))]


def _in_threads(work: Callable[[int], None], n_items: int, workers: int) -> Iterator[int]:
    """Do the work of each number and yield the numbers as they are done."""
    if workers <= 1 or n_items == 1:
        for number in range(n_items):
            work(number)
            yield number
        return
    executor = ThreadPoolExecutor(workers)
    try:
        waiting: dict[Future[None], int] = {executor.submit(work, number): number for number in range(n_items)}
        while waiting:
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                yield waiting.pop(future)
    finally:
        executor.shutdown(cancel_futures=True)


class RankStatistics:
    """AUROC and average precision of draws of patients.

    Parameters
    ----------
    labels
        Shape (n_images, n_pathologies); 1 present, 0 absent, NaN unknown (left out).
    scores
        The same shape; higher means more likely present.
    clusters
        Shape (n_images,), integers from 0: the place of each image's patient in a draw (`clusters_of`).

    Raises
    ------
    ValueError
        As `ranking.auroc`.
    """

    def __init__(self, labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike) -> None:
        known, values = checked(labels, scores)
        codes = np.asarray(clusters, np.int64)
        if known.ndim != 2 or codes.shape != known.shape[:1]:
            raise ValueError(f"labels of shape {known.shape} and clusters of shape {codes.shape}")
        self.columns = [_Sorted.of(known[:, k], values[:, k], codes) for k in range(known.shape[1])]

    def __call__(self, counts: Integers) -> Floats:
        """Return values of shape (n_draws, n_pathologies, 2): AUROC and average precision.

        Both are NaN in draws without positives or without negatives.
        """
        values = np.empty((len(counts), len(self.columns), 2))
        for place, column in enumerate(self.columns):
            step = max(1, _GATHERED // max(len(column.negatives), 1))
            for start in range(0, len(counts), step):
                values[start : start + step, place] = column.measure(counts[start : start + step])
        return values


@dataclass(frozen=True)
class _Sorted:
    """One pathology, sorted by descending score.

    Attributes
    ----------
    positives, negatives
        The clusters of the images with each label, in descending order of their scores.
    positive_starts
        Where each distinct score begins among the positives; None if no two have the same score.
    negative_starts
        Where each run of negatives begins that no positive interrupts, whole scores at a time.
    above, down_to
        For each distinct score of the positives, how many of these runs lie above it, and above or at it; None for
        `down_to` if no negative has the score of a positive.
    """

    positives: Integers
    negatives: Integers
    positive_starts: Integers | None
    negative_starts: Integers
    above: Integers
    down_to: Integers | None

    @classmethod
    def of(cls, labels: Floats, scores: Floats, clusters: Integers) -> _Sorted:
        present, absent = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        present = present[np.argsort(-scores[present], kind="stable")]
        absent = absent[np.argsort(-scores[absent], kind="stable")]
        distinct, starts = np.unique(-scores[present], return_index=True)
        # Negatives above each positive score, and above or at it.
        above = np.searchsorted(-scores[absent], distinct, side="left")
        down_to = np.searchsorted(-scores[absent], distinct, side="right")
        cuts = np.unique(np.concatenate([[0], above, down_to]))
        cuts = cuts[cuts < len(absent)]
        tied = bool((above != down_to).any())
        return cls(
            clusters[present],
            clusters[absent],
            None if len(starts) == len(present) else starts,
            cuts,
            np.searchsorted(cuts, above),
            np.searchsorted(cuts, down_to) if tied else None,
        )

    def measure(self, counts: Integers) -> Floats:
        """Return AUROC and average precision of some draws; shape (n_draws, 2)."""
        if not len(self.positives) or not len(self.negatives):
            return np.full((len(counts), 2), np.nan)
        positive, above, down_to, n_negative = self.steps(counts)
        true = np.cumsum(positive, axis=1)
        n_positive = true[:, -1].copy()
        # Twice the number of pairs in the wrong order: a whole number, and exact.
        wrong = np.einsum("ij,ij->i", positive, above if down_to is above else above + down_to)
        pairs = np.where((n_positive > 0) & (n_negative > 0), n_positive * n_negative, np.nan)
        area = 1 - wrong / pairs if down_to is above else 1 - wrong / (2 * pairs)
        predicted = true + down_to
        np.maximum(predicted, 1, out=predicted)
        true *= positive
        precision = (true / predicted).sum(axis=1) / np.where(np.isnan(pairs), np.nan, n_positive)
        return np.stack([area, precision], axis=1)

    def steps(self, counts: Integers) -> tuple[Integers, Integers, Integers, Integers]:
        """Count images at each distinct score of the positives, in some draws.

        Returns
        -------
        positive, above, down_to
            Shape (n_draws, n_scores), descending: positives with the score; negatives above it; negatives above or at
            it (the same array as `above` where no negative ties with a positive).
        n_negative
            Shape (n_draws,).
        """
        positive = np.take(counts, self.positives, axis=1, mode="clip")
        if self.positive_starts is not None:
            positive = np.add.reduceat(positive, self.positive_starts, axis=1)
        runs = np.take(counts, self.negatives, axis=1, mode="clip")
        sums = np.zeros((len(counts), len(self.negative_starts) + 1), np.int64)
        np.cumsum(np.add.reduceat(runs, self.negative_starts, axis=1), axis=1, out=sums[:, 1:])
        above = np.take(sums, self.above, axis=1, mode="clip")
        down_to = above if self.down_to is None else np.take(sums, self.down_to, axis=1, mode="clip")
        return positive, above, down_to, sums[:, -1]


class CurveStatistics:
    """ROC and precision-recall curves of draws of patients, at fixed places.

    Parameters
    ----------
    labels, scores, clusters
        As for `RankStatistics`.
    grid
        Shape (n_places,), in [0, 1]: false positive rates at which the ROC curve is read, and recalls at which the
        precision is.
    """

    def __init__(self, labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike, grid: ArrayLike) -> None:
        self.columns = RankStatistics(labels, scores, clusters).columns
        self.grid = np.asarray(grid, np.float64)

    def __call__(self, counts: Integers) -> Floats:
        """Return values of shape (n_draws, n_pathologies, 2, n_places): sensitivity and precision.

        NaN in draws without positives or without negatives.
        """
        values = np.full((len(counts), len(self.columns), 2, len(self.grid)), np.nan)
        for place, column in enumerate(self.columns):
            if len(column.positives) and len(column.negatives):
                steps = column.steps(counts)
                for draw in range(len(counts)):
                    values[draw, place] = self._read(*(item[draw] for item in steps))
        return values

    def _read(self, positive: Integers, above: Integers, down_to: Integers, n_negative: np.int64) -> Floats:
        true = np.cumsum(positive)
        if not true[-1] or not n_negative:
            return np.full((2, len(self.grid)), np.nan)
        # From the corner before each score to the one behind it: straight up, or slanted where both classes tie.
        across = np.stack([above, down_to], axis=1).ravel() / n_negative
        up = np.stack([true - positive, true], axis=1).ravel() / true[-1]
        sensitivity = np.interp(self.grid, np.append(across, 1.0), np.append(up, 1.0))
        # The highest point of a vertical step.
        last = np.searchsorted(down_to / n_negative, self.grid, side="right") - 1
        sensitivity = np.maximum(sensitivity, np.where(last >= 0, true[last] / true[-1], 0.0))
        first = np.minimum(np.searchsorted(true, self.grid * true[-1] - 1e-9), len(true) - 1)
        return np.stack([sensitivity, true[first] / np.maximum(true[first] + down_to[first], 1)])


class Tallies:
    """How many images of draws of patients fall into each category.

    Parameters
    ----------
    categories
        Integers, shape (n_images, n_columns), below `n_categories`; -1 for images that are left out.
    clusters
        Shape (n_images,), integers from 0: the place of each image's patient in a draw.
    n_categories
        How many there are.
    """

    def __init__(self, categories: ArrayLike, clusters: ArrayLike, n_categories: int) -> None:
        table, codes = np.asarray(categories), np.asarray(clusters, np.int64)
        if table.ndim != 2 or table.dtype.kind not in "iu" or codes.shape != table.shape[:1]:
            raise ValueError(f"categories of shape {table.shape} and clusters of shape {codes.shape}")
        if table.size and not (table.min() >= -1 and table.max() < n_categories):
            raise ValueError(f"categories must lie between -1 and {n_categories - 1}")
        self.n_categories = n_categories
        if codes.max(initial=0) < 2**31:
            codes = codes.astype(np.int32)  # half the memory, of which tallies are most
        self.columns: list[tuple[NDArray[np.integer[Any]], Integers, Integers]] = []
        for column in table.T:
            order = np.argsort(column, kind="stable")
            order = order[np.searchsorted(column[order], 0) :]
            present, starts = np.unique(column[order], return_index=True)
            self.columns.append((codes[order], present, starts))

    def __call__(self, counts: Integers) -> Floats:
        """Return counts of shape (n_draws, n_columns, n_categories)."""
        values = np.zeros((len(counts), len(self.columns), self.n_categories))
        for place, (codes, present, starts) in enumerate(self.columns):
            step = max(1, _GATHERED // max(len(codes), 1))
            for start in range(0, len(counts) if len(codes) else 0, step):
                gathered = np.take(counts[start : start + step], codes, axis=1, mode="clip")
                values[start : start + step, place, present] = np.add.reduceat(gathered, starts, axis=1)
        return values


class Sums:
    """Sums over the images of draws of patients.

    Parameters
    ----------
    values
        Shape (n_images, n_values), finite, below 2**20 in size; rounded to multiples of 2**-32, which makes sums exact
        and the same on every machine. Whole numbers are summed as they are.
    clusters
        Shape (n_images,), integers from 0: the place of each image's patient in a draw.

    Raises
    ------
    ValueError
        Shapes do not fit, or a value is not finite or too large.
    """

    def __init__(self, values: ArrayLike, clusters: ArrayLike) -> None:
        table, codes = np.asarray(values, np.float64), np.asarray(clusters, np.int64)
        if table.ndim != 2 or codes.shape != table.shape[:1]:
            raise ValueError(f"values of shape {table.shape} and clusters of shape {codes.shape}")
        if not (np.abs(table) < 2**20).all():
            raise ValueError("values must be finite and below 2**20")
        self.unit = 1.0 if all((column == np.rint(column)).all() for column in table.T) else _UNIT
        # Only the patients that the images are of: a subgroup has few of them.
        self.members, places = np.unique(codes, return_inverse=True)
        # Column by column, because a table of all images is large. Whole numbers are summed exactly in any order.
        self.totals = np.empty((len(self.members), table.shape[1]))
        for place, column in enumerate(table.T):
            self.totals[:, place] = np.bincount(places, np.rint(column / self.unit), len(self.members))

    def __call__(self, counts: Integers) -> Floats:
        """Return the sums of each draw; shape (n_draws, n_values)."""
        drawn = counts[:, self.members].astype(np.float64)
        sums = np.zeros((len(counts), self.totals.shape[1]))
        step = max(8, _ONE_THREAD // max(sums.size, 1))
        for start in range(0, len(self.members), step):
            sums += drawn[:, start : start + step] @ self.totals[start : start + step]
        return sums * self.unit


def percentile_interval(values: ArrayLike, confidence: float = 0.95, freedom: float = math.inf) -> Interval:
    """Return the interval between two quantiles of the draws, such as 2.5 % and 97.5 % for a confidence of 95 %.

    Parameters
    ----------
    values
        Shape (n_draws,); NaN where a draw has no value.
    confidence
        Between 0 and 1.
    freedom
        Degrees of freedom of the variance that the draws imitate. With few, quantiles further out are taken; see
        `contributions`.

    Examples
    --------
    >>> interval = percentile_interval(range(101), 0.5)
    >>> interval.low, interval.high, interval.n_draws
    (25.0, 75.0, 101)
    >>> interval = percentile_interval(range(101), 0.5, 10)
    >>> round(interval.low, 1), round(interval.high, 1)
    (23.2, 76.8)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    draws = np.asarray(values, np.float64)
    defined = draws[~np.isnan(draws)]
    if len(defined) < 2:
        return Interval(float("nan"), float("nan"), len(defined), len(draws) - len(defined))
    tail = (1 - confidence) / 2
    if math.isfinite(freedom):
        tail = NormalDist().cdf(-expanded(-NormalDist().inv_cdf(tail), freedom))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high), len(defined), len(draws) - len(defined))
