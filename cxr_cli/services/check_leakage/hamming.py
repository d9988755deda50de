"""All pairs of hashes that lie close together: exhaustive, in bounded memory, on all cores.

At the distances that matter here (60 of 256 bits) indexes gain nothing over looking at every pair, and looking at
every pair takes about a quarter of a minute for 6.3 thousand million of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr_cli.services.parallel import available_cores

#: Hashes of the first array and of the second that are compared at a time: working memory that fits a core's cache.
ROWS, COLUMNS = 128, 2048
#: Columns that one task walks through; bounds the pairs that can be waiting.
STRIPE = 8 * COLUMNS


class NearPairs(NamedTuple):
    """Pairs of hashes, as positions in the two arrays.

    Attributes
    ----------
    first, second
        Positions, int64, shape (n_pairs,).
    distance
        Bits that differ, int16, shape (n_pairs,).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.int16]


def near_pairs(
    first: NDArray[np.uint64],
    second: NDArray[np.uint64],
    max_distance: int,
    *,
    flips: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> Iterator[NearPairs]:
    """Find every pair of hashes that differ in at most `max_distance` bits.

    Parameters
    ----------
    first, second
        Hashes of 256 bits, uint64, shapes (n, 4) and (m, 4).
    max_distance
        Bits, 0 to 126.
    flips
        Also find pairs that come so close if words of one hash are complemented: which of the four words, one
        combination per row, bool, shape (n_flips, 4). All false, the plain distance, has to be among them. Looking
        for all combinations takes one pass over the pairs.
    threads
        Default: one per core.

    Yields
    ------
    NearPairs
        Pairs of one tile, in a fixed order whatever the number of threads; tiles without pairs are left out.
        ``distance`` is the least over the flips.

    Raises
    ------
    ValueError
        Shapes, types or `max_distance` are not as described.
    """
    for hashes in (first, second):
        if hashes.dtype != np.uint64 or hashes.ndim != 2 or hashes.shape[1] != 4:
            raise ValueError(f"hashes of type {hashes.dtype} and shape {hashes.shape}; expected uint64, (n, 4)")
    if not 0 <= max_distance <= 126:
        raise ValueError(f"max_distance {max_distance}; expected 0 to 126")
    threads = threads or available_cores()
    columns = [np.ascontiguousarray(second[:, word]) for word in range(4)]
    tiles = product(range(0, len(first), ROWS), range(0, len(second), STRIPE))
    waiting: deque[Future[NearPairs]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for row, column in tiles:
                waiting.append(pool.submit(_tile, first, columns, row, column, max_distance, flips))
                if len(waiting) > 2 * threads:
                    yield from _found(waiting.popleft())
            while waiting:
                yield from _found(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()


def distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Count the bits that differ between hashes, pair by pair: shapes (n, 4) -> int16, shape (n,)."""
    counts: NDArray[np.int16] = np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int16)
    return counts


def flipped_distances(
    first: NDArray[np.uint64], second: NDArray[np.uint64], flips: NDArray[np.bool_]
) -> NDArray[np.int16]:
    """Count the bits that differ with some words complemented: shapes (n, 4), (n, 4), (k, 4) -> int16, (k, n)."""
    counts = np.bitwise_count(first ^ second).astype(np.int16)
    signs = np.where(flips, -1, 1).astype(np.int16)
    found: NDArray[np.int16] = signs @ counts.T + (64 * flips.sum(axis=1, dtype=np.int16))[:, None]
    return found


def _found(future: Future[NearPairs]) -> Iterator[NearPairs]:
    pairs = future.result()
    if len(pairs.first):
        yield pairs


def _tile(
    first: NDArray[np.uint64],
    columns: list[NDArray[np.uint64]],
    row: int,
    column: int,
    max_distance: int,
    flips: NDArray[np.bool_] | None,
) -> NearPairs:
    rows = first[row : row + ROWS]
    end = min(column + STRIPE, len(columns[0]))
    workspace = _Workspace(len(rows))
    hits = [
        _block(rows, columns, start, min(start + COLUMNS, end), max_distance, flips, workspace)
        for start in range(column, end, COLUMNS)
    ]
    row_hits, column_hits, distance = (np.concatenate(parts) for parts in zip(*hits, strict=True))
    return NearPairs(row_hits + row, column_hits, distance)


class _Workspace:
    """Arrays that the blocks of one tile share, so that memory is not asked for again and again."""

    def __init__(self, n_rows: int) -> None:
        shape = (n_rows, COLUMNS)
        self.differing = np.empty(shape, np.uint64)
        self.count = np.empty(shape, np.uint8)
        self.distance = np.empty(shape, np.uint8)
        self.hit = np.empty(shape, np.bool_)


def _block(
    rows: NDArray[np.uint64],
    columns: list[NDArray[np.uint64]],
    start: int,
    stop: int,
    max_distance: int,
    flips: NDArray[np.bool_] | None,
    workspace: _Workspace,
) -> NearPairs:
    width = slice(0, stop - start)
    differing, count = workspace.differing[:, width], workspace.count[:, width]
    distance, hit = workspace.distance[:, width], workspace.hit[:, width]
    for word, column in enumerate(columns):
        np.bitwise_xor(rows[:, word, None], column[start:stop], out=differing)
        part = count if word else distance
        np.bitwise_count(differing, out=part)
        if flips is not None:
            # How far a word is from half its bits tells how much complementing it can gain.
            np.subtract(part, np.uint8(32), out=part)
            np.abs(part.view(np.int8), out=part.view(np.int8))
        if word:
            np.add(distance, count, out=distance)
    if flips is None:
        # All 256 bits differing wraps round to 0 in 8 bits: such a pair's distance is counted again below.
        np.less_equal(distance, np.uint8(max_distance), out=hit)
    else:
        # The least over all 16 ways of complementing words; those that are not asked for are sorted out below.
        np.greater_equal(distance, np.uint8(128 - max_distance), out=hit)
    if not hit.any():
        empty = np.empty(0, np.int64)
        return NearPairs(empty, empty, np.empty(0, np.int16))
    row_hits, column_hits = np.nonzero(hit)
    column_hits += start
    near_rows, near_columns = rows[row_hits], np.stack([column[column_hits] for column in columns], axis=1)
    if flips is None:
        exact = distances(near_rows, near_columns)
    else:
        exact = flipped_distances(near_rows, near_columns, flips).min(axis=0)
    near = exact <= max_distance
    return NearPairs(row_hits[near], column_hits[near], exact[near])
