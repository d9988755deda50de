"""Sums over pixels: minimum, maximum, mean, standard deviation and saturation of one image or of many together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.services.images.exact_sums import sum_of_squares, sum_of_values

#: How many pixels are summed up at a time.
_PART = 1 << 16


@dataclass(frozen=True)
class PixelSums:
    """Sums over a set of pixels; sets are joined with ``+``.

    Attributes
    ----------
    n
        Number of pixels.
    minimum, maximum
        Smallest and largest value.
    total, squares
        Sum of the values and of their squares: exact integers for uint8 and uint16 pixels.
    n_saturated
        Number of pixels at black (0) or white (full scale).
    """

    n: int
    minimum: float
    maximum: float
    total: float
    squares: float
    n_saturated: int

    def __add__(self, other: PixelSums) -> PixelSums:
        """Sum up both sets together."""
        return PixelSums(
            self.n + other.n,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.total + other.total,
            self.squares + other.squares,
            self.n_saturated + other.n_saturated,
        )

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self.total / self.n

    @property
    def std(self) -> float:
        """Standard deviation of the values (population, ddof 0)."""
        if isinstance(self.total, int) and isinstance(self.squares, int):
            # In integers there is no cancellation.
            return math.sqrt(self.n * self.squares - self.total * self.total) / self.n
        return math.sqrt(max(self.squares / self.n - self.mean**2, 0.0))

    @property
    def saturated(self) -> float:
        """Fraction of the pixels at black or white."""
        return self.n_saturated / self.n


def sum_pixels(pixels: NDArray[Any], white: float, *, moments: tuple[int, int] | None = None) -> PixelSums:
    """Sum up the pixels of an image.

    Parameters
    ----------
    pixels
        Any shape, not empty; uint8, uint16 or float32.
    white
        The full-scale value.
    moments
        Sum of the pixels and of their squares, if they are known already.

    Returns
    -------
    PixelSums
        Exact for integers: the order of addition and the number of threads make no difference.
    """
    total: float
    squares: float
    if moments is not None:
        total, squares = moments
    elif pixels.dtype == np.uint8:
        total, squares = _sum_bytes(pixels)
    elif pixels.dtype == np.uint16:
        total, squares = _sum_words(pixels)
    else:
        total, squares = _sum_floats(pixels)
    minimum, maximum = pixels.min().item(), pixels.max().item()
    n_saturated = pixels.size - np.count_nonzero(pixels) if minimum == 0 else 0
    n_saturated += np.count_nonzero(pixels == white) if maximum == white else 0
    return PixelSums(pixels.size, minimum, maximum, total, squares, int(n_saturated))


def _sum_bytes(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    # In parts, because fresh memory for a whole image of float32 takes longer than the sums.
    values = pixels.ravel()
    total = squares = 0
    for start in range(0, values.size, _PART):
        part = values[start : start + _PART].astype(np.float32)
        total += sum_of_values(part)
        squares += sum_of_squares(part)
    return total, squares


def _sum_words(pixels: NDArray[np.uint16]) -> tuple[int, int]:
    total = int(pixels.sum(dtype=np.uint64))
    values = pixels.reshape(len(pixels), -1).astype(np.float64)
    # A row of squares is exact in float64 (below 2**53); the rows are added as integers.
    return total, sum(int(row) for row in np.vecdot(values, values))


def _sum_floats(pixels: NDArray[Any]) -> tuple[float, float]:
    values = pixels.ravel().astype(np.float64)
    centre = values.mean()
    spread = values - centre
    # About the mean first: squares of values with a small spread would cancel.
    np.multiply(spread, spread, out=spread)
    squares = float(np.add.reduce(spread)) + values.size * centre * centre
    return float(centre * values.size), squares
