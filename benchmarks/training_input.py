"""Time one epoch of training input: from the store of `cxr preprocess`, and from PNGs of the same size.

    python benchmarks/training_input.py [--images 400] [--rounds 5] [--size 320]

All hand out the same thing: shuffled batches of 32 standardized float32 images with three channels, and their labels.
ImageDataGenerator and tf.data read PNGs that are already resized, which is the best case for them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cxr_cli.choices import PixelType, StoreFormat

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import tensorflow as tf
from inputs import image_files, repeated
from timing import functions_in_turns, headline, ratios

from cxr_cli.data.labels import read_labels
from cxr_cli.models.datasets import StoreDataset, tf_dataset
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.reader import Store, open_store
from cxr_cli.services.store.recipe import Recipe

BATCH = 32
OWN, OWN_TF = "PyDataset, uint8 store", "tf.data, uint8 store"
KERAS, TF_PNG = "ImageDataGenerator, PNGs", "tf.data, PNGs"


def drain(batches: Iterable[Any], shape: tuple[int, ...], n_images: int) -> None:
    """Take every batch and see that it is what training needs."""
    seen = 0
    for images, labels in batches:
        if tuple(images.shape[1:]) != shape or images.dtype != np.float32 or len(images) != len(labels):
            raise SystemExit(f"batch of {images.dtype}, {images.shape}")
        seen += len(images)
    if seen != n_images:
        raise SystemExit(f"{seen} images instead of {n_images}")


def by_keras(store: Store, size: int) -> Iterable[Any]:
    """Return Keras' own loader over the PNGs of a store."""
    frame = pd.DataFrame({"path": [str(store.folder / name) for name in store.index["file"]]})
    frame[list(store.pathologies)] = store.labels
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        samplewise_center=True, samplewise_std_normalization=True
    )
    with contextlib.redirect_stdout(io.StringIO()):
        batches = generator.flow_from_dataframe(
            frame,
            x_col="path",
            y_col=list(store.pathologies),
            class_mode="raw",
            target_size=(size, size),
            batch_size=BATCH,
            shuffle=True,
        )
    return (batches[index] for index in range(len(batches)))


def by_tf_data(store: Store) -> Iterable[Any]:
    """Return a tf.data pipeline over the PNGs of a store."""

    def load(path: Any, labels: Any) -> tuple[Any, Any]:
        image = tf.cast(tf.io.decode_png(tf.io.read_file(path), channels=3), tf.float32)
        return (image - tf.reduce_mean(image)) / (tf.math.reduce_std(image) + 1e-6), labels

    paths = [str(store.folder / name) for name in store.index["file"]]
    data = tf.data.Dataset.from_tensor_slices((paths, store.labels)).shuffle(len(store))
    return data.map(load, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def batches_of(dataset: StoreDataset) -> Iterable[Any]:
    """Take the batches one by one, as training does without workers."""
    return (dataset[index] for index in range(len(dataset)))


def main() -> None:
    """Print a line for each way to read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=320)
    options = parser.parse_args()
    shape = (options.size, options.size)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        sources, what = image_files(folder)
        labels, images = repeated(sources, options.images, folder / "repeated")
        table = read_labels(labels)

        def store(dtype: PixelType, form: StoreFormat) -> Store:
            target = folder / f"{dtype}-{form}"
            preprocess(table, images, target, Options(Recipe(shape, dtype=dtype, format=form)))
            return open_store(target)

        levels, values = store("uint8", "npy"), store("float32", "npy")
        pngs = store("uint8", "png")
        ways: dict[str, Callable[[], Iterable[Any]]] = {
            OWN: lambda: batches_of(StoreDataset(levels, BATCH, shuffle=True)),
            "PyDataset, float32 store": lambda: batches_of(StoreDataset(values, BATCH, shuffle=True)),
            OWN_TF: lambda: tf_dataset(levels, BATCH, shuffle=True),
            "tf.data, float32 store": lambda: tf_dataset(values, BATCH, shuffle=True),
            KERAS: lambda: by_keras(pngs, options.size),
            TF_PNG: lambda: by_tf_data(pngs),
        }
        functions = {
            name: lambda way=way: drain(way(), (*shape, 3), options.images)  # type: ignore[misc]
            for name, way in ways.items()
        }
        timings = functions_in_turns(functions, options.rounds)
    print(f"{what}, repeated to {options.images}, {options.size} × {options.size}, batches of {BATCH}")
    print(f"{'':28}{'ms an image':>12}{'/ first':>9}{'cores busy':>12}")
    for name, timing in timings.items():
        wall = statistics.median(timing.wall) / options.images * 1e3
        relative = statistics.median(ratios(timing, timings[OWN]))
        print(f"{name:28}{wall:12.3f}{relative:9.2f}{timing.cores:12.2f}")
    headline(f"{KERAS}, against {OWN}", ratios(timings[KERAS], timings[OWN]))
    headline(f"{KERAS}, against {OWN_TF}", ratios(timings[KERAS], timings[OWN_TF]))
    headline(f"{TF_PNG}, against {OWN_TF}", ratios(timings[TF_PNG], timings[OWN_TF]))


if __name__ == "__main__":
    main()
