"""Standardization of pixel values as Keras' ImageDataGenerator and DenseNet do it, as pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.errors import UsageError
from cxr_cli.services.pixels import PixelSums
from cxr_cli.services.result import Result

#: What ImageDataGenerator adds to a standard deviation before it divides.
EPSILON = 1e-6
#: Means and standard deviations (red, green, blue) of ImageNet on the scale 0 to 1: `densenet.preprocess_input`.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Standardization(StrEnum):
    """How grey levels from 0 to 255 become what a network sees."""

    SAMPLEWISE = "samplewise"
    FEATUREWISE = "featurewise"
    IMAGENET = "imagenet"
    NONE = "none"


@dataclass(frozen=True)
class Statistics(Result):
    """Mean and standard deviation of the pixels of a training table, for featurewise standardization.

    Attributes
    ----------
    mean, std
        Of all pixels of all images together after resizing, in grey levels from 0 to 255; population standard
        deviation (ddof 0).
    n_images, n_pixels
        How much they were fitted on.
    """

    mean: float
    std: float
    n_images: int
    n_pixels: int


def standardize(
    pixels: NDArray[Any], scheme: Standardization, *, sums: PixelSums, statistics: Statistics | None = None
) -> NDArray[np.float32]:
    """Standardize one resized image.

    Parameters
    ----------
    pixels
        Grey levels from 0 to 255, shape (height, width), uint8 or float32.
    scheme
        ``samplewise``: (x − mean) / (std + 1e-6) with the image's own mean and standard deviation;
        ``featurewise``: the same with those of a training table; ``imagenet``: x / 255, then each of three equal
        channels with ImageNet's mean and standard deviation; ``none``: grey levels as they are.
    sums
        Of `pixels`.
    statistics
        For ``featurewise``.

    Returns
    -------
    ndarray of float32
        Shape (height, width), or (height, width, 3) for ``imagenet``.

    Raises
    ------
    UsageError
        Featurewise without statistics.

    References
    ----------
    Keras 3, ``keras/src/legacy/preprocessing/image.py`` (``ImageDataGenerator.standardize``) and
    ``keras/src/applications/imagenet_utils.py`` (mode "torch", which DenseNet uses).
    """
    values = pixels.astype(np.float32)
    if scheme is Standardization.NONE:
        return values
    if scheme is Standardization.IMAGENET:
        values = values[..., None] / np.float32(255)
        return (values - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    mean, scale = centre_and_scale(scheme, sums, statistics)
    values -= np.float32(mean)
    values /= np.float32(scale)
    return values


def centre_and_scale(scheme: Standardization, sums: PixelSums, statistics: Statistics | None) -> tuple[float, float]:
    """Return what is taken off and what is divided by, in grey levels; (0, 1) for schemes without either."""
    if scheme is Standardization.SAMPLEWISE:
        return sums.mean, sums.std + EPSILON
    if scheme is Standardization.FEATUREWISE:
        if statistics is None:
            raise UsageError(
                "featurewise standardization needs the statistics of the training table",
                remedy="Fit them on the training table with --fit-stats, or give the file with --stats.",
            )
        return statistics.mean, statistics.std + EPSILON
    return 0.0, 1.0
