"""Near duplicates between two sets of images: chosen by hash, confirmed by correlation, graded by both.

A copy may be re-encoded, resized, brighter, darker, of another contrast or gamma, mirrored, inverted, turned by right
angles, and put into an even frame. Crops of 5 %, rotations of 5 degrees and shifts of 2 % are not found by descriptors
as cheap as these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr_cli.services.check_leakage.descriptors import (
    HASH_BITS,
    correlation,
    orient_thumbnails,
    transpose_hashes,
)
from cxr_cli.services.check_leakage.hamming import flipped_distances, near_pairs
from cxr_cli.services.check_leakage.result import Thresholds

#: Pairs kept for a list, best first; all are counted, and the images of all near duplicates are marked.
MAX_NEAR, MAX_LOOK = 10_000, 200
#: Chosen pairs measured at a time; bounds the memory.
CHUNK = 1 << 14


class _Change(NamedTuple):
    """A change that hashes follow: rows and columns exchanged, then top and bottom, left and right, black and white."""

    transposed: bool
    upside_down: bool
    mirrored: bool
    inverted: bool

    @property
    def flips(self) -> tuple[bool, bool, bool, bool]:
        """Which words of the hash it complements: those of odd frequency where the order is reversed."""
        parities = ((False, False), (False, True), (True, False), (True, True))
        first, second, third, fourth = (
            (row and self.upside_down) ^ (column and self.mirrored) ^ self.inverted for row, column in parities
        )
        return first, second, third, fourth

    @property
    def name(self) -> str:
        # By (transposed, upside_down, mirrored): an image mirrored, then turned clockwise.
        mirrored, turned = {
            (False, False, False): (False, 0),
            (False, False, True): (True, 0),
            (False, True, True): (False, 180),
            (False, True, False): (True, 180),
            (True, False, True): (False, 90),
            (True, True, False): (False, 270),
            (True, True, True): (True, 90),
            (True, False, False): (True, 270),
        }[self.transposed, self.upside_down, self.mirrored]
        parts = ["mirrored"] * mirrored + [f"turned by {turned} degrees"] * bool(turned) + ["inverted"] * self.inverted
        return " and ".join(parts)


_CHANGES = tuple(
    _Change(transposed, upside_down, mirrored, inverted)
    for transposed in (False, True)
    for upside_down in (False, True)
    for mirrored in (False, True)
    for inverted in (False, True)
)
#: The combinations of complemented words that the changes lead to; the same with and without transposing.
_FLIPS = np.array([change.flips for change in _CHANGES[:8]], dtype=bool)
#: What was done to the second image of a pair: any of the changes, without and with a frame that only one of the two
#: images has.
ALTERATIONS = (
    *(change.name or "none" for change in _CHANGES),
    *(f"framed and {change.name}" if change.name else "framed" for change in _CHANGES),
)
_FRAMED = len(_CHANGES)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of images, best correlation first.

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
    """The pairs of one grade: a bounded list, their number, and which images they concern."""

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
        Which images of the two sets they concern, bool, shapes (n,) and (m,).
    """

    pairs: Pairs
    n_pairs: int
    first: NDArray[np.bool_]
    second: NDArray[np.bool_]


def find_near_duplicates(
    first: NDArray[np.void], second: NDArray[np.void], thresholds: Thresholds | None = None
) -> tuple[GradedPairs, GradedPairs]:
    """Compare every image of one set with every image of another.

    Parameters
    ----------
    first, second
        Fingerprints (`cxr_cli.services.check_leakage.fingerprints.RECORD`) of readable images that are not blank,
        shapes (n,) and (m,). Time and memory are best when no two images of a set have the same pixels.
    thresholds
        Default: `Thresholds()`.

    Returns
    -------
    near, look
        Near duplicates, and candidates for review. Images of exactly equal pixels are in neither.
    """
    limits = thresholds or Thresholds()
    near = _Grade(MAX_NEAR, len(first), len(second))
    look = _Grade(MAX_LOOK, len(first), len(second))
    searches = [
        _Search(one, other, transposed)
        for one in _views(first)
        for other in _views(second)
        for transposed in (False, True)
    ]
    for place, search in enumerate(searches):
        for rows, columns in search.chosen(limits.review_distance):
            for start in range(0, len(rows), CHUNK):
                part, others = rows[start : start + CHUNK], columns[start : start + CHUNK]
                new = (first["pixels"][part] != second["pixels"][others]).any(axis=1)
                for earlier in searches[:place]:
                    # Each pair is judged once, in all ways: what an earlier search has chosen is left out.
                    new &= earlier.distances(part, others).min(axis=0) > limits.review_distance
                pairs = _best_alteration(searches, part[new], others[new], limits)
                is_near = _within(pairs, limits.near_distance, limits.near_correlation)
                near.add(pairs.take(is_near))
                look.add(pairs.take(_within(pairs, limits.review_distance, limits.review_correlation) & ~is_near))
    return _graded(near), _graded(look)


class _View(NamedTuple):
    """The descriptors of some images of a set: of all of them, or of what is inside the frames of those that have one.

    Attributes
    ----------
    owners
        Positions of the images in the set, ascending.
    places
        Where in this view each image of the set is; -1 for those that are not in it.
    """

    owners: NDArray[np.int64]
    places: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.int8]
    framed: bool


def _views(records: NDArray[np.void]) -> list[_View]:
    everything = np.arange(len(records))
    views = [_View(everything, everything, np.ascontiguousarray(records["hash"]), records["thumbnail"], False)]
    framed = np.flatnonzero(records["framed"])
    if len(framed):
        places = np.full(len(records), -1, dtype=np.int64)
        places[framed] = np.arange(len(framed))
        inside = records[framed]
        views.append(_View(framed, places, np.ascontiguousarray(inside["inner_hash"]), inside["inner_thumbnail"], True))
    return views


class _Search:
    """One view of the first set against one of the second, in eight ways at once."""

    def __init__(self, first: _View, second: _View, transposed: bool) -> None:
        self.first = first
        self.second = second
        self.hashes = transpose_hashes(first.hashes) if transposed else first.hashes
        self.codes = [code for code, change in enumerate(_CHANGES) if change.transposed == transposed]
        self.offset = _FRAMED if first.framed != second.framed else 0

    def chosen(self, distance: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield positions of images in the two sets whose hashes are close in any of the ways."""
        for found in near_pairs(self.hashes, self.second.hashes, distance, flips=_FLIPS):
            yield self.first.owners[found.first], self.second.owners[found.second]

    def distances(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the distances of pairs in each way, shape (8, n_pairs); `HASH_BITS` for images not in the views."""
        one, other = self.first.places[rows], self.second.places[columns]
        found = flipped_distances(self.hashes[one], self.second.hashes[other], _FLIPS)
        found[:, (one < 0) | (other < 0)] = HASH_BITS
        return found

    def correlations(self, code: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Correlate the thumbnails of pairs, the first ones changed; all of them have to be in the views."""
        change = _CHANGES[code]
        changed = orient_thumbnails(
            self.first.thumbnails[self.first.places[rows]],
            transposed=change.transposed,
            upside_down=change.upside_down,
            mirrored=change.mirrored,
        )
        fit = correlation(changed, self.second.thumbnails[self.second.places[columns]])
        return -fit if change.inverted else fit


def _graded(grade: _Grade) -> GradedPairs:
    return GradedPairs(grade.pairs(), grade.n_pairs, grade.first, grade.second)


def _within(pairs: Pairs, distance: int, least: float) -> NDArray[np.bool_]:
    return (pairs.distance <= distance) & (pairs.correlation >= least)


def _best_alteration(
    searches: list[_Search], rows: NDArray[np.int64], columns: NDArray[np.int64], limits: Thresholds
) -> Pairs:
    """Measure pairs in every way, and keep for each the way that fits best."""
    best = Pairs(
        rows,
        columns,
        np.full(len(rows), HASH_BITS, np.int16),
        np.full(len(rows), -1, np.float32),
        np.zeros(len(rows), np.int8),
    )
    for search in searches:
        for code, distance in zip(search.codes, search.distances(rows, columns), strict=True):
            close = np.flatnonzero(distance <= limits.review_distance)
            if not len(close):
                continue
            fit = search.correlations(code, rows[close], columns[close])
            better = fit > best.correlation[close]
            chosen = close[better]
            best.distance[chosen], best.correlation[chosen] = distance[chosen], fit[better]
            best.alteration[chosen] = code + search.offset
    return best
