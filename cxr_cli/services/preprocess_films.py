"""A few films before and after preprocessing, with their pixels, for looking at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.folders import locate_images
from cxr_cli.data.images import read_gray
from cxr_cli.services.pixels import sum_pixels
from cxr_cli.services.preparation import PixelType, Recipe, StoreFormat, resize_to_levels
from cxr_cli.services.standardization import mean_and_std, standardize


@dataclass(frozen=True, eq=False)
class Film:
    """One film before and after.

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


def read_films(folder: Path, images: Sequence[str], recipe: Recipe) -> tuple[Film, ...]:
    """Read some films and preprocess them again.

    Parameters
    ----------
    folder
        The image folder.
    images
        Names of films that are there and can be read.
    recipe
        How they were preprocessed; the result is standardized whatever the store holds.
    """
    seen = replace(recipe, dtype=PixelType.FLOAT32, format=StoreFormat.NPY)
    films = []
    for image, path in zip(images, locate_images(folder, images).paths, strict=True):
        if path is not None:
            source = read_gray(path)
            before = source.pixels.astype(np.float32) * np.float32(255 / source.full_scale)
            resized = resize_to_levels(source.pixels, seen)
            sums = sum_pixels(resized, 255)
            after = standardize(resized, seen.standardize, *mean_and_std(seen.standardize, sums, seen.statistics))
            films.append(Film(image, before, resized, after))
    return tuple(films)
