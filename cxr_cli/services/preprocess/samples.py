"""A few images before and after preprocessing, with their pixels, for looking at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.choices import Interpolation, choices
from cxr_cli.data.dicom.grey import read_window
from cxr_cli.data.folders import locate_images
from cxr_cli.data.images import read_gray
from cxr_cli.services.images.pixels import sum_pixels
from cxr_cli.services.images.prepare import resize_to_levels
from cxr_cli.services.images.resize import area, resize
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import mean_and_std, standardize


@dataclass(frozen=True, eq=False)
class Sample:
    """One image before and after.

    Attributes
    ----------
    image
        Its name.
    before
        Grey levels of the source from 0 to 255, shape (height, width), float32.
    resized
        Grey levels after resizing, size of the recipe.
    after
        Standardized values, shape of the recipe, float32.
    """

    image: str
    before: NDArray[np.float32]
    resized: NDArray[np.uint8] | NDArray[np.float32]
    after: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Interpolated:
    """One image resized by one interpolation.

    Attributes
    ----------
    interpolation
        Which.
    levels
        Grey levels, shape of the size asked for.
    distance
        Root mean square difference from the mean of the source pixels under each result pixel (``area``), in grey
        levels: what picking or weighing pixels otherwise adds as noise.
    """

    interpolation: Interpolation
    levels: NDArray[np.float32]
    distance: float


def compare_interpolations(sample: Sample, size: tuple[int, int]) -> tuple[Interpolated, ...]:
    """Resize an image by every interpolation.

    Parameters
    ----------
    sample
        An image before preprocessing.
    size
        (height, width) of the results.
    """
    source = np.rint(sample.before).astype(np.uint8)
    mean = area(source, size)
    made = []
    for interpolation in choices(Interpolation):
        levels = resize(source, size, interpolation).astype(np.float32)
        distance = float(np.sqrt(np.mean((levels - mean) ** 2, dtype=np.float64)))
        made.append(Interpolated(interpolation, levels, distance))
    return tuple(made)


def read_samples(folder: Path, images: Sequence[str], recipe: Recipe) -> tuple[Sample, ...]:
    """Read some images and preprocess them again.

    Parameters
    ----------
    folder
        The image folder.
    images
        Names of images that exist and can be read.
    recipe
        How they were preprocessed; the result is standardized whatever the store holds.
    """
    seen = replace(recipe, dtype="float32", format="npy")
    samples = []
    for image, path in zip(images, locate_images(folder, images).paths, strict=True):
        if path is not None:
            source = read_gray(path, read_window(recipe.window))
            before = source.pixels.astype(np.float32) * np.float32(255 / source.full_scale)
            resized = resize_to_levels(source, seen)
            sums = sum_pixels(resized, 255)
            after = standardize(resized, seen.standardize, *mean_and_std(seen.standardize, sums, seen.statistics))
            samples.append(Sample(image, before, resized, after))
    return tuple(samples)
