"""Exact sums of integers that are held as floats, as fast as the linear algebra library adds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Integers up to here are exact in float32, whatever the order in which they are added.
EXACT_IN_FLOAT32 = 1 << 24
# Of squares of 8-bit values, a run of this length stays below.
_RUN = 256
_ONES = np.ones(_RUN, np.float32)


def sum_of_values(values: NDArray[np.float32], *, largest: int = 255) -> int:
    """Return the sum of integers from 0 to `largest`, `EXACT_IN_FLOAT32` at most; shape (n,)."""
    run = min(_RUN, EXACT_IN_FLOAT32 // largest)
    runs, rest = _in_runs(values, run)
    total = int((runs @ _ONES[:run]).sum(dtype=np.float64))
    return total + int(rest.sum(dtype=np.float64)) if rest.size else total


def sum_of_squares(values: NDArray[np.float32]) -> int:
    """Return the sum of the squares of integers from 0 to 255, shape (n,)."""
    runs, rest = _in_runs(values, _RUN)
    total = int(np.vecdot(runs, runs).sum(dtype=np.float64))
    return total + int(np.vecdot(rest, rest)) if rest.size else total


def _in_runs(values: NDArray[np.float32], run: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    whole = values.size - values.size % run
    return values[:whole].reshape(-1, run), values[whole:]
