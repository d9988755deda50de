"""Near duplicates between two sets of films: nominated by hash, confirmed by correlation, graded by both.

A copy may be re-encoded, resized, brighter, darker, of another contrast or gamma, mirrored or inverted. Crops of 5 %,
rotations of 5 degrees and shifts of 2 % are not found by descriptors as cheap as these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_cli.services.check_leakage.descriptors import HASH_BITS, MIRROR_MASK, correlation
from cxr_cli.services.check_leakage.hamming import distances, near_pairs
from cxr_cli.services.check_leakage.result import Thresholds

#: Pairs kept for a list, best first; all are counted, and the films of all near duplicates are marked.
MAX_NEAR, MAX_LOOK = 10_000, 200
#: Nominated pairs measured at a time; bounds the memory.
CHUNK = 1 << 14
#: What was done to the second film of a pair, by (mirrored, inverted).
ALTERATIONS = ("none", "inverted", "mirrored", "mirrored and inverted")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of films, best correlation first.

    Attributes
    ----------
    first, second
        Positions in the two sets, int64, shape (n,).
    distance
        Bits of 256 that differ, int16.
    correlation
        Of the normalised thumbnails, float32.
    alteration
        Index into `ALTERATIONS`, int8.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.int16]
    correlation: NDArray[np.float32]
    alteration: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.first)

    def alterations(self) -> list[str]:
        """Return the name of each pair's alteration."""
        return [ALTERATIONS[code] for code in self.alteration]

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Pairs:
        """Return some of the pairs."""
        return Pairs(
            self.first[chosen],
            self.second[chosen],
            self.distance[chosen],
            self.correlation[chosen],
            self.alteration[chosen],
        )

    def best(self, n: int) -> Pairs:
        """Return the `n` pairs of highest correlation; ties by distance, then position."""
        order = np.lexsort((self.second, self.first, self.distance, -self.correlation))
        return self.take(order[:n])


def _joined(parts: list[Pairs]) -> Pairs:
    return Pairs(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.distance for part in parts]),
        np.concatenate([part.correlation for part in parts]),
        np.concatenate([part.alteration for part in parts]),
    )


_NO_PAIRS = Pairs(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.int16),
    np.empty(0, np.float32),
    np.empty(0, np.int8),
)


class _Grade:
    """The pairs of one grade: a bounded list, their number, and which films they concern."""

    def __init__(self, cap: int, n_first: int, n_second: int) -> None:
        self.cap = cap
        self.n_pairs = 0
        self.first = np.zeros(n_first, dtype=bool)
        self.second = np.zeros(n_second, dtype=bool)
        self._kept = [_NO_PAIRS]
        self._n_kept = 0

    def add(self, pairs: Pairs) -> None:
        self.n_pairs += len(pairs)
        self.first[pairs.first] = True
        self.second[pairs.second] = True
        self._kept.append(pairs)
        self._n_kept += len(pairs)
        if self._n_kept > 4 * self.cap:
            self._kept = [self.pairs()]
            self._n_kept = len(self._kept[0])

    def pairs(self) -> Pairs:
        return _joined(self._kept).best(self.cap)


@dataclass(frozen=True, eq=False)
class GradedPairs:
    """Pairs of one grade.

    Attributes
    ----------
    pairs
        The best of them.
    n_pairs
        How many there are.
    first, second
        Which films of the two sets they concern, bool, shapes (n,) and (m,).
    """

    pairs: Pairs
    n_pairs: int
    first: NDArray[np.bool_]
    second: NDArray[np.bool_]


def find_near_duplicates(
    first: NDArray[np.void], second: NDArray[np.void], thresholds: Thresholds | None = None
) -> tuple[GradedPairs, GradedPairs]:
    """Compare every film of one set with every film of another.

    Parameters
    ----------
    first, second
        Fingerprints (`cxr_cli.services.check_leakage.fingerprints.RECORD`) of readable images that are not blank,
        shapes (n,) and (m,). Time and memory are best when no two films of a set have the same pixels.
    thresholds
        Default: `Thresholds()`.

    Returns
    -------
    near, look
        Near duplicates, and pairs to be looked at. Films of exactly equal pixels are in neither.
    """
    limits = thresholds or Thresholds()
    near = _Grade(MAX_NEAR, len(first), len(second))
    look = _Grade(MAX_LOOK, len(first), len(second))
    one, other = np.ascontiguousarray(first["hash"]), np.ascontiguousarray(second["hash"])
    for mirrored in (False, True):
        hashes = other ^ MIRROR_MASK if mirrored else other
        for found in near_pairs(one, hashes, limits.review_distance, complements=True):
            for start in range(0, len(found.first), CHUNK):
                rows, columns = found.first[start : start + CHUNK], found.second[start : start + CHUNK]
                new = (first["pixels"][rows] != second["pixels"][columns]).any(axis=1)
                if mirrored:
                    # Each pair is judged once, in all four ways: what the first search has judged is left out.
                    new &= ~_nominated(distances(one[rows], other[columns]), limits)
                pairs = _best_alteration(first, second, rows[new], columns[new], limits)
                is_near = _within(pairs, limits.near_distance, limits.near_correlation)
                near.add(pairs.take(is_near))
                look.add(pairs.take(_within(pairs, limits.review_distance, limits.review_correlation) & ~is_near))
    return _graded(near), _graded(look)


def _graded(grade: _Grade) -> GradedPairs:
    return GradedPairs(grade.pairs(), grade.n_pairs, grade.first, grade.second)


def _nominated(distance: NDArray[np.int16], limits: Thresholds) -> NDArray[np.bool_]:
    return (distance <= limits.review_distance) | (distance >= HASH_BITS - limits.review_distance)


def _within(pairs: Pairs, distance: int, least: float) -> NDArray[np.bool_]:
    return (pairs.distance <= distance) & (pairs.correlation >= least)


def _best_alteration(
    first: NDArray[np.void],
    second: NDArray[np.void],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    limits: Thresholds,
) -> Pairs:
    """Measure pairs as they are, inverted, mirrored, and both; keep for each the way that fits best."""
    best = Pairs(
        rows,
        columns,
        np.full(len(rows), HASH_BITS, np.int16),
        np.full(len(rows), -1, np.float32),
        np.zeros(len(rows), np.int8),
    )
    hashes, other_hashes = first["hash"][rows], second["hash"][columns]
    for code in range(len(ALTERATIONS)):
        mirrored, inverted = code >= 2, code % 2 == 1
        distance = distances(hashes, other_hashes ^ MIRROR_MASK if mirrored else other_hashes)
        if inverted:
            distance = (HASH_BITS - distance).astype(np.int16)
        close = np.flatnonzero(distance <= limits.review_distance)
        fit = correlation(first["thumbnail"][rows[close]], second["thumbnail"][columns[close]], mirrored=mirrored)
        if inverted:
            fit = -fit
        better = fit > best.correlation[close]
        chosen = close[better]
        best.distance[chosen], best.correlation[chosen], best.alteration[chosen] = distance[chosen], fit[better], code
    return best
