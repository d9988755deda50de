"""Standardization of pixel values as Keras' ImageDataGenerator and DenseNet do it, as pure functions of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.choices import Standardization
from cxr_cli.data.documents import is_number
from cxr_cli.errors import UsageError, argument, shown
from cxr_cli.services.images.pixels import PixelSums
from cxr_cli.services.result import Result

#: What ImageDataGenerator adds to a standard deviation before it divides.
EPSILON = 1e-6
#: Means and standard deviations (red, green, blue) of ImageNet on the scale 0 to 1: `densenet.preprocess_input`.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Statistics(Result):
    """Mean and standard deviation of the pixels of a training table, for featurewise standardization.

    Attributes
    ----------
    mean
        Of all pixels of all images together after resizing, in grey levels from 0 to 255.
    std
        Population standard deviation (ddof 0) of the same.
    n_images
        Images they were fitted on.
    n_pixels
        Pixels they were fitted on.
    """

    mean: float
    std: float
    n_images: int
    n_pixels: int

    def __post_init__(self) -> None:
        # They come from files too.
        if not (is_number(self.mean) and 0 <= self.mean <= 255):
            raise ValueError(f"mean {shown(repr(self.mean))} is not a grey level from 0 to 255")
        # Half of all pixels black, half white: nothing can spread further. A little more for sums in floating point.
        if not (is_number(self.std) and 0 <= self.std <= 127.51):
            raise ValueError(f"std {shown(repr(self.std))} is not a deviation from 0 to 127.5 grey levels")
        for name in ("n_images", "n_pixels"):
            value = getattr(self, name)
            if type(value) is not int or not 0 < value < 1 << 63:
                raise ValueError(f"{name} {shown(repr(value))} is not a count above 0")


def standardize(
    levels: NDArray[Any],
    scheme: Standardization,
    mean: float | NDArray[np.float64] = 0.0,
    std: float | NDArray[np.float64] = 1.0,
) -> NDArray[np.float32]:
    """Standardize one resized image, or several at once.

    Parameters
    ----------
    levels
        Grey levels from 0 to 255, shape (…, height, width), uint8 or float32.
    scheme
        ``samplewise``: (x − mean) / (std + 1e-6) with the image's own mean and standard deviation;
        ``featurewise``: the same with those of a training table; ``imagenet``: x / 255, then each of three equal
        channels with ImageNet's mean and standard deviation; ``torchxrayvision``: (2x / 255 − 1) · 1024, the scale of
        that library's networks; ``none``: grey levels as they are.
    mean, std
        What `mean_and_std` gives; for several images, shape (n, 1, 1). Used by ``samplewise`` and ``featurewise``.

    Returns
    -------
    ndarray of float32
        Shape of `levels`, or (…, height, width, 3) for ``imagenet``. Computed in float32, as Keras does.

    References
    ----------
    Keras 3, ``keras/src/legacy/preprocessing/image.py`` (``ImageDataGenerator.standardize``) and
    ``keras/src/applications/imagenet_utils.py`` (mode "torch", which DenseNet uses). J. P. Cohen et al.:
    TorchXRayVision: A library of chest X-ray datasets and models, MIDL 2022 (``datasets.normalize``).
    """
    values = levels.astype(np.float32)
    if scheme == "none":
        return values
    if scheme == "torchxrayvision":
        scaled: NDArray[np.float32] = (np.float32(2) * (values / np.float32(255)) - np.float32(1)) * np.float32(1024)
        return scaled
    if scheme == "imagenet":
        channels: NDArray[np.float32] = values[..., None] / np.float32(255)
        channels = channels - np.array(IMAGENET_MEAN, np.float32)
        channels /= np.array(IMAGENET_STD, np.float32)
        return channels
    values -= np.asarray(mean, np.float32)
    values /= np.asarray(std + EPSILON, np.float32)
    return values


def mean_and_std(scheme: Standardization, sums: PixelSums, statistics: Statistics | None) -> tuple[float, float]:
    """Return the mean and standard deviation by which an image is standardized, in grey levels.

    Raises
    ------
    UsageError
        Featurewise without statistics.
    """
    if scheme == "samplewise":
        return sums.mean, sums.std
    if scheme == "featurewise":
        if statistics is None:
            raise UsageError(
                f"{argument('standardize', 'featurewise')} needs the statistics of the training table",
                remedy="Fit them on the training table.",
            )
        return statistics.mean, statistics.std
    return 0.0, 1.0


@dataclass(frozen=True)
class PixelValues:
    """Smallest and largest value, mean and standard deviation of an image's pixels."""

    minimum: float
    maximum: float
    mean: float
    std: float


def values_after(scheme: Standardization, sums: PixelSums, statistics: Statistics | None) -> PixelValues:
    """Return what standardization makes of an image's minimum, maximum, mean and standard deviation.

    Standardization is linear, so this needs no look at the pixels; over all channels together.
    """
    if scheme == "none":
        return PixelValues(sums.minimum, sums.maximum, sums.mean, sums.std)
    if scheme == "imagenet":
        channels = [(255 * mean, 255 * std) for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    elif scheme == "torchxrayvision":
        channels = [(127.5, 127.5 / 1024)]
    else:
        mean, std = mean_and_std(scheme, sums, statistics)
        channels = [(mean, std + EPSILON)]
    means = [(sums.mean - centre) / scale for centre, scale in channels]
    mean = sum(means) / len(means)
    squares = sum((sums.std / scale) ** 2 + (one - mean) ** 2 for one, (_, scale) in zip(means, channels, strict=True))
    return PixelValues(
        min((sums.minimum - centre) / scale for centre, scale in channels),
        max((sums.maximum - centre) / scale for centre, scale in channels),
        mean,
        math.sqrt(squares / len(channels)),
    )
