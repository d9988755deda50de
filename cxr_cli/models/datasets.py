"""A store of preprocessed images as training input: a Keras PyDataset and a tf.data.Dataset."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cxr_cli.errors import UsageError
from cxr_cli.services.store.reader import Store


def as_three_channels(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Repeat grey images three times along a new last axis: (n, height, width) becomes (n, height, width, 3)."""
    if images.ndim != 3:
        return images
    made = np.empty((*images.shape, 3), images.dtype)
    # Image by image, so that each is still in the cache for its second and third channel; np.repeat is slower.
    for image, channels in zip(images, made, strict=True):
        for channel in range(3):
            channels[..., channel] = image
    return made


class StoreDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of (images, labels) of a store, for ``model.fit``, ``evaluate`` and ``predict``.

    Images: float32, shape (batch, height, width, 3). Labels: float32, shape (batch, n_pathologies), 1, 0, NaN where
    unknown, in the order of ``store.pathologies``.

    Parameters
    ----------
    store
        An open store.
    batch_size
        Images a batch; the last one may be smaller.
    shuffle
        Draw a new order for every epoch; else the order of the store.
    seed
        With the number of the epoch, determines the order.
    rows
        Use only these rows of the store.
    **options
        ``workers``, ``use_multiprocessing``, ``max_queue_size`` of ``keras.utils.PyDataset``.

    Raises
    ------
    UsageError
        The batch size is not positive.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rows: NDArray[np.integer[Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if batch_size < 1:
            raise UsageError(f"batch size {batch_size}", expected="1 or more")
        self.store = store
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._rows = np.arange(len(store)) if rows is None else np.asarray(rows)
        self._order = self._rows
        self._draw()

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return batch number `index` of this epoch."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return as_three_channels(self.store.batch(rows)), self.store.labels[rows]

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self.epoch += 1
        self._draw()

    def _draw(self) -> None:
        if self.shuffle:
            self._order = np.random.default_rng([self.seed, self.epoch]).permutation(self._rows)


def tf_dataset(store: Store, batch_size: int = 32, *, shuffle: bool = False, seed: int = 0) -> tf.data.Dataset:
    """Return the same batches as a ``tf.data.Dataset``, read ahead in parallel.

    Parameters
    ----------
    store, batch_size, shuffle, seed
        As for `StoreDataset`; the order drawn from a seed is tf.data's own.

    Returns
    -------
    tf.data.Dataset
        Of (images, labels): float32, shapes (None, height, width, 3) and (None, n_pathologies).
    """
    height, width = store.image_shape[:2]
    n_pathologies = len(store.pathologies)

    def read(rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return as_three_channels(store.batch(rows)), store.labels[rows]

    def load(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = tf.numpy_function(read, [rows], (tf.float32, tf.float32))
        images.set_shape((None, height, width, 3))
        labels.set_shape((None, n_pathologies))
        return images, labels

    rows = tf.data.Dataset.range(len(store))
    if shuffle:
        # Numbers are shuffled, not images, so the whole store fits into the buffer.
        rows = rows.shuffle(max(len(store), 1), seed=seed, reshuffle_each_iteration=True)
    return rows.batch(batch_size).map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
