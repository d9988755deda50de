"""Random flips, rotations, shifts and zooms of training images, as Keras' ImageDataGenerator draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.errors import UsageError


@dataclass(frozen=True)
class Transform:
    """One transformation in the parameters of ``ImageDataGenerator.apply_transform``.

    Attributes
    ----------
    rotation
        Degrees; positive turns the image counter-clockwise (Keras: ``theta``).
    shift_x, shift_y
        Pixels by which the image moves to the left and up. (Keras calls them ``tx`` and ``ty``; what it draws from
        ``height_shift_range`` moves the image sideways, and the other way round.)
    zoom_x, zoom_y
        Below 1 the image looks larger, above 1 smaller.
    flip
        Mirrored left to right, after everything else.
    """

    rotation: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    flip: bool = False


@dataclass(frozen=True)
class Ranges:
    """Ranges as ImageDataGenerator takes them.

    Attributes
    ----------
    rotation
        Degrees, to either side (``rotation_range``).
    shift
        Fraction of width and height, to either side (``width_shift_range``, ``height_shift_range``).
    zoom
        Zoom factors run from 1 - zoom to 1 + zoom (``zoom_range``).
    flip
        Mirror half of the images (``horizontal_flip``).
    """

    rotation: float = 10.0
    shift: float = 0.1
    zoom: float = 0.1
    flip: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.rotation <= 180 and 0 <= self.shift < 1 and 0 <= self.zoom < 1):
            raise UsageError(
                "augmentation ranges out of bounds",
                expected="a rotation from 0 to 180 degrees, shift and zoom from 0 to below 1",
            )


def apply_transform(pixels: NDArray[Any], transform: Transform) -> NDArray[np.float32]:
    """Transform one image as ``ImageDataGenerator.apply_transform`` does (bilinear, edges repeated).

    Parameters
    ----------
    pixels
        Shape (height, width), any number type.

    Returns
    -------
    ndarray of float32
        Same shape and scale.

    References
    ----------
    Keras 3, ``keras/src/legacy/preprocessing/image.py``, ``apply_affine_transform`` with ``fill_mode="nearest"``.
    """
    values = pixels.astype(np.float32)
    height, width = values.shape
    angle = math.radians(transform.rotation)
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    shift = np.array([[1, 0, transform.shift_x], [0, 1, transform.shift_y], [0, 0, 1]])
    zoom = np.diag([transform.zoom_x, transform.zoom_y, 1])
    # Keras centres with (height, width) although its axes are (x, y); for square images it makes no difference.
    to_centre = np.array([[1, 0, height / 2 - 0.5], [0, 1, width / 2 - 0.5], [0, 0, 1]])
    matrix = to_centre @ turn @ shift @ zoom @ np.linalg.inv(to_centre)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    from_column = matrix[0, 0] * columns + matrix[0, 1] * rows + matrix[0, 2]
    from_row = matrix[1, 0] * columns + matrix[1, 1] * rows + matrix[1, 2]
    moved = _bilinear(values, np.clip(from_row, 0, height - 1), np.clip(from_column, 0, width - 1))
    return np.ascontiguousarray(moved[:, ::-1]) if transform.flip else moved


def _bilinear(
    values: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float32]:
    top, left = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    bottom, right = np.minimum(top + 1, values.shape[0] - 1), np.minimum(left + 1, values.shape[1] - 1)
    down, across = rows - top, columns - left
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    blended: NDArray[np.float32] = (upper * (1 - down) + lower * down).astype(np.float32)
    return blended


def random_transform(ranges: Ranges, shape: tuple[int, int], rng: np.random.Generator) -> Transform:
    """Draw a transformation from the ranges, uniformly as ImageDataGenerator does."""
    height, width = shape
    return Transform(
        rotation=float(rng.uniform(-ranges.rotation, ranges.rotation)),
        shift_x=float(rng.uniform(-ranges.shift, ranges.shift) * width),
        shift_y=float(rng.uniform(-ranges.shift, ranges.shift) * height),
        zoom_x=float(rng.uniform(1 - ranges.zoom, 1 + ranges.zoom)),
        zoom_y=float(rng.uniform(1 - ranges.zoom, 1 + ranges.zoom)),
        flip=bool(ranges.flip and rng.random() < 0.5),
    )
