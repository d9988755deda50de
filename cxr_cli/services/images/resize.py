"""Resizing as pure functions of arrays: area by exact averaging, the others as Pillow (and so Keras) does them."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_cli.choices import Interpolation, checked
from cxr_cli.services.images.exact_sums import EXACT_IN_FLOAT32, sum_of_squares, sum_of_values

#: Grey values in: one 8- or 16-bit number a pixel.
Grey = NDArray[np.uint8] | NDArray[np.uint16]
Resized = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

# Output rows made by one product of a banded matrix; wider bands multiply more zeros.
_BAND = 16
# Pixels worked on at a time: a megabyte as float32, about what the cache of one core holds. Measured; not critical.
_STRIP = 1 << 18


_PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resize(pixels: Grey, size: tuple[int, int], interpolation: Interpolation = "area") -> Resized:
    """Resize a grey image.

    Parameters
    ----------
    pixels
        Source, shape (height, width), uint8 or uint16.
    size
        (height, width) of the result.
    interpolation
        ``area``: mean of the source pixels that a result pixel covers, the right choice for making images
        smaller. ``nearest``, ``bilinear``, ``bicubic``, ``lanczos``: Pillow's filters of these names, which
        are those of Keras' ``load_img``.

    Returns
    -------
    ndarray
        Shape `size`, on the source's scale. ``nearest`` keeps the dtype; ``area`` gives float32, not rounded;
        the other filters give uint8 for uint8 (rounded and clipped by Pillow) and float32 for uint16 (not
        rounded, clipped to 0–65535).
    """
    checked(Interpolation, interpolation, "interpolation")
    if interpolation == "area":
        return area(pixels, size)
    if interpolation == "nearest":
        return nearest(pixels, size)
    image = Image.fromarray(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32))
    made = np.asarray(image.resize((size[1], size[0]), _PILLOW[interpolation]))
    return made if pixels.dtype == np.uint8 else np.clip(made, 0, 65535)


def nearest(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Take for each result pixel the source pixel under its centre, as Pillow's NEAREST does.

    Parameters
    ----------
    pixels
        Source, shape (height, width), any dtype.
    size
        (height, width) of the result.

    Returns
    -------
    ndarray
        Shape `size`, dtype of the source.
    """
    rows = _nearest_index(pixels.shape[0], size[0])
    columns = _nearest_index(pixels.shape[1], size[1])
    return pixels.take(rows, axis=0).take(columns, axis=1)


@functools.lru_cache(maxsize=64)
def _nearest_index(n_source: int, n_result: int) -> NDArray[np.intp]:
    # Pillow steps through the source in floating point, adding the scale each time; so do we.
    scale = n_source / n_result
    steps = np.full(n_result, scale)
    steps[0] = scale * 0.5
    index: NDArray[np.intp] = np.minimum(np.add.accumulate(steps).astype(np.intp), n_source - 1)
    index.setflags(write=False)
    return index


def area(pixels: Grey, size: tuple[int, int]) -> NDArray[np.float32]:
    """Average the source over the rectangle that each result pixel covers.

    The averages are exact: sources are integers, so are the weights of fully and partly covered pixels (in
    units of the greatest common divisor of both lengths), and their sums stay below what the float type
    holds exactly. The result is therefore the same to the last bit on every machine and with any number of
    threads; only the division at the end rounds.

    Parameters
    ----------
    pixels
        Source, shape (height, width), uint8 or uint16.
    size
        (height, width) of the result; larger than the source is allowed.

    Returns
    -------
    ndarray of float32
        Shape `size`, on the source's scale, not rounded.
    """
    return _area(pixels, size, with_moments=False)[0]


def area_and_moments(pixels: Grey, size: tuple[int, int]) -> tuple[NDArray[np.float32], tuple[int, int] | None]:
    """Average as `area` does, and sum up the source on the way.

    Parameters
    ----------
    pixels, size
        As of `area`.

    Returns
    -------
    averages
        As of `area`.
    moments
        Sum of the source's pixels and of their squares; None where they do not come for little (16 bits, or sizes
        that have little in common).
    """
    return _area(pixels, size, with_moments=True)


def _area(
    pixels: Grey, size: tuple[int, int], *, with_moments: bool
) -> tuple[NDArray[np.float32], tuple[int, int] | None]:
    (used, made), (used_columns, made_columns) = (
        _reduced(*lengths) for lengths in zip(pixels.shape, size, strict=True)
    )
    units = used * used_columns
    white = 256**pixels.itemsize - 1
    small = units * white < EXACT_IN_FLOAT32
    exact: type[np.floating[Any]] = np.float32 if small else np.float64
    with_moments = with_moments and small and pixels.dtype == np.uint8
    totals = np.empty(size, exact)
    squares = 0
    # Strip by strip, whole blocks each, so that all is done with a strip while it is in the cache.
    height, width = pixels.shape
    n_rows = used * max(1, _STRIP // (used * width))
    strip = np.empty((min(n_rows, height), width), exact)
    for start in range(0, height, n_rows):
        source = pixels[start : start + n_rows]
        values = strip[: len(source)]
        np.copyto(values, source)
        n_made = len(source) // used * made
        first = start // used * made
        _add_columns(_add_rows(values, n_made), totals[first : first + n_made])
        if with_moments:
            squares += sum_of_squares(values.ravel())
    moments = None
    if with_moments:
        # Every source pixel is in the totals as often as its parts are counted, in both directions.
        total = sum_of_values(totals.ravel(), largest=units * white)
        moments = total // (made * made_columns), squares
    np.divide(totals, exact(units), out=totals)
    return totals.astype(np.float32, copy=False), moments


def _reduced(n_source: int, n_result: int) -> tuple[int, int]:
    """Return the smallest numbers of source and result pixels that cover the same length."""
    divisor = math.gcd(n_source, n_result)
    return n_source // divisor, n_result // divisor


def _add_rows(values: NDArray[Any], n_result: int) -> NDArray[Any]:
    """Add up the rows under each of `n_result` rows, weighted by their integer overlap."""
    n_source, width = values.shape
    if n_source == n_result:
        return values
    n_blocks = math.gcd(n_source, n_result)
    weights = _overlaps(n_source // n_blocks, n_result // n_blocks, values.dtype)
    made, used = weights.shape
    blocks = values.reshape(n_blocks, used, width)
    if made <= _BAND:
        sums: NDArray[Any] = np.matmul(weights, blocks)
        return sums.reshape(n_result, width)
    result = np.empty((n_blocks, made, width), values.dtype)
    for start in range(0, made, _BAND):
        stop = min(start + _BAND, made)
        first, last = start * used // made, -(-stop * used // made)
        np.matmul(weights[start:stop, first:last], blocks[:, first:last], out=result[:, start:stop])
    return result.reshape(n_result, width)


def _add_columns(values: NDArray[Any], result: NDArray[Any]) -> None:
    """Add up the columns under each column of `result`, weighted by their integer overlap, into `result`."""
    height, n_source = values.shape
    n_result = result.shape[1]
    n_blocks = math.gcd(n_source, n_result)
    if n_source == n_result or n_result // n_blocks > _BAND:
        result[...] = _add_rows(values.T, n_result).T
        return
    weights = _overlaps_of_columns(n_source // n_blocks, n_result // n_blocks, values.dtype)
    # One tall product is faster than many small ones on a transposed array.
    n_products = height * n_blocks
    np.matmul(values.reshape(n_products, -1), weights, out=result.reshape(n_products, -1))


@functools.lru_cache(maxsize=64)
def _overlaps(n_source: int, n_result: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return how much of each source interval lies in each result interval, in units 1/n_result of a source pixel.

    Each of the `n_result` rows adds up to `n_source`.
    """
    source = np.arange(n_source) * n_result
    result = np.arange(n_result)[:, None] * n_source
    covered = np.minimum(source + n_result, result + n_source) - np.maximum(source, result)
    overlaps: NDArray[Any] = np.maximum(covered, 0).astype(dtype)
    overlaps.setflags(write=False)
    return overlaps


@functools.lru_cache(maxsize=64)
def _overlaps_of_columns(n_source: int, n_result: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the same with a column for each result interval, laid out as a product from the right is fastest."""
    overlaps = np.ascontiguousarray(_overlaps(n_source, n_result, dtype).T)
    overlaps.setflags(write=False)
    return overlaps
