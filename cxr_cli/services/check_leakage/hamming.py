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
    complements: bool = False,
    threads: int | None = None,
) -> Iterator[NearPairs]:
    """Find every pair of hashes that differ in at most `max_distance` bits.

    Parameters
    ----------
    first, second
        Hashes of 256 bits, uint64, shapes (n, 4) and (m, 4).
    max_distance
        Bits, 0 to 126.
    complements
        Find the pairs whose bits nearly all differ too (an inverted film has the complement as its hash):
        distance at least 256 - `max_distance`.
    threads
        Default: one per core.

    Yields
    ------
    NearPairs
        Pairs of one tile, in a fixed order whatever the number of threads; tiles without pairs are left out.

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
                waiting.append(pool.submit(_tile, first, columns, row, column, max_distance, complements))
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
    complements: bool,
) -> NearPairs:
    rows = first[row : row + ROWS]
    end = min(column + STRIPE, len(columns[0]))
    workspace = _Workspace(len(rows))
    hits = [
        _block(rows, columns, start, min(start + COLUMNS, end), max_distance, complements, workspace)
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
    complements: bool,
    workspace: _Workspace,
) -> NearPairs:
    width = slice(0, stop - start)
    differing, count = workspace.differing[:, width], workspace.count[:, width]
    distance, hit = workspace.distance[:, width], workspace.hit[:, width]
    for word, column in enumerate(columns):
        np.bitwise_xor(rows[:, word, None], column[start:stop], out=differing)
        np.bitwise_count(differing, out=count if word else distance)
        if word:
            np.add(distance, count, out=distance)
    # All 256 bits differing wraps round to 0 in 8 bits: such a pair is nominated, and its distance counted again below.
    if complements:
        np.subtract(distance, np.uint8(max_distance + 1), out=distance)
        np.greater(distance, np.uint8(254 - 2 * max_distance), out=hit)
    else:
        np.less_equal(distance, np.uint8(max_distance), out=hit)
    if not hit.any():
        empty = np.empty(0, np.int64)
        return NearPairs(empty, empty, np.empty(0, np.int16))
    row_hits, column_hits = np.nonzero(hit)
    column_hits += start
    exact = distances(rows[row_hits], np.stack([column[column_hits] for column in columns], axis=1))
    if not complements:
        near = exact <= max_distance
        row_hits, column_hits, exact = row_hits[near], column_hits[near], exact[near]
    return NearPairs(row_hits, column_hits, exact)
