"""Keras' ImageDataGenerator (legacy, deprecated upstream): the reference for preprocessing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from cxr_cli.services.store.recipe import Recipe

#: Images per batch: Keras' own default.
BATCH_SIZE = 32


def generator(recipe: Recipe) -> Any:
    """Return the ImageDataGenerator that standardizes by the recipe."""
    scheme = recipe.standardize
    made = tf.keras.preprocessing.image.ImageDataGenerator(
        samplewise_center=scheme == "samplewise",
        samplewise_std_normalization=scheme == "samplewise",
        featurewise_center=scheme == "featurewise",
        featurewise_std_normalization=scheme == "featurewise",
        preprocessing_function=(tf.keras.applications.densenet.preprocess_input if scheme == "imagenet" else None),
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
    three = recipe.standardize == "imagenet"
    with contextlib.redirect_stdout(io.StringIO()):  # Keras tells there how many files it found
        batches = generator(recipe).flow_from_dataframe(
            pd.DataFrame({"path": list(paths)}),
            x_col="path",
            class_mode=None,
            target_size=recipe.image_size,
            color_mode="rgb" if three else "grayscale",
            interpolation=recipe.interpolation,
            batch_size=BATCH_SIZE,
            shuffle=False,
            validate_filenames=False,
        )
    for index in range(len(batches)):
        batch: NDArray[np.float32] = batches[index]
        yield batch if three else batch[..., 0]
