"""Exact sums of 8-bit values that are held as float32, as fast as the linear algebra library adds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# 256 squares of 8-bit values stay below 2**24, so float32 adds them exactly in whatever order.
_RUN = 256
_ONES = np.ones(_RUN, np.float32)


def sum_of_values(values: NDArray[np.float32]) -> int:
    """Return the sum of integers from 0 to 255, shape (n,)."""
    runs, rest = _in_runs(values)
    return int((runs @ _ONES).sum(dtype=np.float64)) + int(rest.sum(dtype=np.float64))


def sum_of_squares(values: NDArray[np.float32]) -> int:
    """Return the sum of the squares of integers from 0 to 255, shape (n,)."""
    runs, rest = _in_runs(values)
    return int(np.vecdot(runs, runs).sum(dtype=np.float64)) + int(np.vecdot(rest, rest))


def _in_runs(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    whole = values.size - values.size % _RUN
    return values[:whole].reshape(-1, _RUN), values[whole:]
