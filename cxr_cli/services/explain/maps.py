"""Maps at other sizes, and the maps that a model's are compared with. Pure arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.services.explain.localize import inside_boxes

Floats = NDArray[np.float32]

#: (height, width) of the grid on which mean boxes are kept.
PRIOR_GRID = (64, 64)
#: Where findings usually lie, as fractions of (height, width): (top, bottom), (left, right). This rectangle holds
#: 98.2 % of the area of NIH's 984 boxes (BBox_List_2017.csv, measured).
USUAL_FIELD = ((0.10, 0.90), (0.08, 0.92))
#: Side of the corners, as a fraction of height and width: where side markers and burnt-in text stand.
CORNER = 0.15


def resized(heat: ArrayLike, size: tuple[int, int]) -> Floats:
    """Return maps at another size, by bilinear interpolation between the centres of their cells.

    Parameters
    ----------
    heat
        Shape (…, height, width).
    size
        (height, width) of the result. Outside the outermost centres the map goes on as it is there.

    Returns
    -------
    Float32, shape (…, *size).

    Examples
    --------
    >>> resized([[0.0, 4.0]], (1, 4)).tolist()
    [[0.0, 1.0, 3.0, 4.0]]
    """
    values = np.asarray(heat, np.float32)
    below, above, weight = _neighbours(values.shape[-2], size[0])
    rows = values[..., below, :] * (1 - weight)[:, None] + values[..., above, :] * weight[:, None]
    below, above, weight = _neighbours(values.shape[-1], size[1])
    return np.asarray(rows[..., below] * (1 - weight) + rows[..., above] * weight, np.float32)


@lru_cache
def _neighbours(n_cells: int, n_pixels: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the cells before and behind each pixel, and the weight of the one behind."""
    centres = np.clip((np.arange(n_pixels) + 0.5) * (n_cells / n_pixels) - 0.5, 0, n_cells - 1)
    below = np.minimum(centres.astype(np.intp), max(n_cells - 2, 0))
    found = below, np.minimum(below + 1, n_cells - 1), (centres - below).astype(np.float32)
    for array in found:
        array.flags.writeable = False
    return found


def random_map(cells: tuple[int, int], size: tuple[int, int], seed: tuple[int, ...]) -> Floats:
    """Return independent normal values in the cells of a model's map: as smooth as that, and pointing nowhere."""
    return resized(np.random.default_rng(seed).standard_normal(cells), size)


class MeanBoxes:
    """The centre prior: how often each place is inside a box of a pathology, without looking at the image.

    Parameters
    ----------
    boxes
        For each image its boxes as fractions of (width, height, width, height), shape (n_boxes, 4).
    patients
        For each image its patient.
    """

    def __init__(self, boxes: Mapping[str, ArrayLike], patients: Mapping[str, str]) -> None:
        height, width = PRIOR_GRID
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._patients = dict(patients)
        for image, fractions in boxes.items():
            scaled = np.asarray(fractions, float) * [width, height, width, height]
            patient = self._patients[image]
            self._sums[patient] = self._sums.get(patient, np.zeros(PRIOR_GRID)) + inside_boxes(scaled, PRIOR_GRID)
        self._total = sum(self._sums.values(), np.zeros(PRIOR_GRID))

    @property
    def mean(self) -> Floats:
        """The mean of all boxes, shape `PRIOR_GRID`."""
        return np.asarray(self._total / max(self._total.max(), 1), np.float32)

    def without(self, image: str, size: tuple[int, int]) -> Floats:
        """Return the mean of the boxes of all other patients at a size; zeros if there are none."""
        others = self._total - self._sums[self._patients[image]]
        return resized(others / max(others.max(), 1), size)


@lru_cache
def outside_field(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels lie outside `USUAL_FIELD`; shape `size`, read only."""
    inside = [
        (centres >= low) & (centres <= high)
        for (low, high), centres in zip(USUAL_FIELD, (_centres(size[0]), _centres(size[1])), strict=True)
    ]
    return _read_only(~np.logical_and.outer(*inside))


@lru_cache
def corners(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels lie in one of the four corners; shape `size`, read only."""
    ends = [(centres < CORNER) | (centres > 1 - CORNER) for centres in (_centres(size[0]), _centres(size[1]))]
    return _read_only(np.asarray(np.logical_and.outer(*ends)))


def _read_only(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask.flags.writeable = False  # it is kept for the next call
    return mask


def _centres(n_pixels: int) -> NDArray[np.float64]:
    return (np.arange(n_pixels) + 0.5) / n_pixels


def fractions_of_mass(heat: ArrayLike, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the fraction of each map's positive values that lies where a mask is true; NaN if none is positive.

    Parameters
    ----------
    heat
        Shape (…, height, width).
    where
        Booleans, shape (height, width).

    Returns
    -------
    Float64, shape (…).

    Examples
    --------
    >>> fractions_of_mass([[[3, 1], [-5, 0]]], np.array([[True, False], [True, True]])).tolist()
    [0.75]
    """
    values = np.clip(np.asarray(heat, np.float64), 0, None)
    total = np.asarray(values.sum(axis=(-2, -1)))
    return np.asarray(values[..., where].sum(axis=-1) / np.where(total > 0, total, np.nan))
