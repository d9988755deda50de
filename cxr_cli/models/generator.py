"""Keras' ImageDataGenerator (legacy, deprecated upstream): the reference for preprocessing, and augmentation."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from cxr_cli.errors import MissingPackageError
from cxr_cli.services.preparation import Recipe
from cxr_cli.services.standardization import Standardization

#: Images per batch: Keras' own default.
BATCH_SIZE = 32


def generator(recipe: Recipe) -> Any:
    """Return the ImageDataGenerator that standardizes as the recipe says."""
    scheme = recipe.standardize
    made = tf.keras.preprocessing.image.ImageDataGenerator(
        samplewise_center=scheme is Standardization.SAMPLEWISE,
        samplewise_std_normalization=scheme is Standardization.SAMPLEWISE,
        featurewise_center=scheme is Standardization.FEATUREWISE,
        featurewise_std_normalization=scheme is Standardization.FEATUREWISE,
        preprocessing_function=(
            tf.keras.applications.densenet.preprocess_input if scheme is Standardization.IMAGENET else None
        ),
    )
    if recipe.statistics is not None:
        # What `fit` would set, which needs all images in memory.
        made.mean = np.float32(recipe.statistics.mean)
        made.std = np.float32(recipe.statistics.std)
    return made


def standardized_by_keras(paths: Sequence[str], recipe: Recipe) -> Iterator[NDArray[np.float32]]:
    """Yield batches of images as `ImageDataGenerator.flow_from_dataframe` gives them, in order.

    Grey images, shape (n, height, width), or (n, height, width, 3) for ``imagenet``. Keras reads 16-bit images on
    their own scale, 0 to 65535, which matters to every scheme but ``samplewise``.

    Parameters
    ----------
    paths
        Files that can be read as images.
    recipe
        Size, interpolation and standardization; the statistics for ``featurewise``.
    """
    if not paths:
        return
    three = recipe.standardize is Standardization.IMAGENET
    with contextlib.redirect_stdout(io.StringIO()):  # Keras tells there how many files it found
        batches = generator(recipe).flow_from_dataframe(
            pd.DataFrame({"path": list(paths)}),
            x_col="path",
            class_mode=None,
            target_size=recipe.image_size,
            color_mode="rgb" if three else "grayscale",
            interpolation=recipe.interpolation.value,
            batch_size=BATCH_SIZE,
            shuffle=False,
            validate_filenames=False,
        )
    for index in range(len(batches)):
        batch: NDArray[np.float32] = batches[index]
        yield batch if three else batch[..., 0]


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes, as ImageDataGenerator takes them.

    Attributes
    ----------
    horizontal_flip
        Mirror left and right. A mirrored chest has its heart on the wrong side.
    rotation
        Up to so many degrees either way.
    shift
        Up to this share of the width and of the height.
    zoom
        Up to this share larger or smaller.
    """

    horizontal_flip: bool = True
    rotation: float = 10.0
    shift: float = 0.05
    zoom: float = 0.10


def augmented(films: NDArray[np.float32], augmentation: Augmentation, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """Show what each kind of augmentation, and all together, does to some films.

    Parameters
    ----------
    films
        Grey images, shape (n, height, width).
    augmentation
        The ranges; each film gets a change of its own within them, except that every film is flipped under "flip".
    seed
        Draws the changes.

    Returns
    -------
    dict
        For each kind, the changed films, shape (n, height, width).

    Raises
    ------
    MissingPackageError
        SciPy is not installed, which Keras needs for this.
    """
    ranges = {
        f"rotation ± {augmentation.rotation:g}°": {"rotation_range": augmentation.rotation},
        f"shift ± {augmentation.shift:.0%}": {
            "width_shift_range": augmentation.shift,
            "height_shift_range": augmentation.shift,
        },
        f"zoom ± {augmentation.zoom:.0%}": {"zoom_range": augmentation.zoom},
    }
    together: dict[str, Any] = {name: value for one in ranges.values() for name, value in one.items()}
    together["horizontal_flip"] = augmentation.horizontal_flip
    kinds: dict[str, dict[str, Any]] = {**ranges, "all together": together}
    made: dict[str, NDArray[np.float32]] = {}
    if augmentation.horizontal_flip:
        flipper = tf.keras.preprocessing.image.ImageDataGenerator()
        made["horizontal flip"] = np.stack(
            [flipper.apply_transform(film[..., None], {"flip_horizontal": True})[..., 0] for film in films]
        )
    for name, options in kinds.items():
        changer = tf.keras.preprocessing.image.ImageDataGenerator(**options)
        try:
            made[name] = np.stack(
                [changer.random_transform(film[..., None], seed=seed + n)[..., 0] for n, film in enumerate(films)]
            )
        except ImportError as error:
            raise MissingPackageError(
                "augmentation needs SciPy, which is not installed", remedy="Install it with: pip install scipy"
            ) from error
    return made
