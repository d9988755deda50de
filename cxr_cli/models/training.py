"""Training a classifier in stages with Keras' ``fit``: cut at a layer, callbacks that record, resume and stop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cxr_cli.errors import CxrError, InputError, argument
from cxr_cli.models.datasets import StoreDataset, as_three_channels
from cxr_cli.models.densenet import HEAD_LAYER, POOLING_LAYER, freeze
from cxr_cli.models.losses import WeightedBinaryCrossentropy
from cxr_cli.services.model_card import LossChoice
from cxr_cli.services.store.reader import Store
from cxr_cli.services.train.augmentation import Ranges, apply_transform, random_transform

Array = NDArray[Any]
Stage = Literal["features", "last-block", "all"]

#: The layer whose output each stage starts from, and what ``freeze`` leaves trainable; "all" starts from images.
CUTS = {"features": POOLING_LAYER, "last-block": "pool4_pool"}
FREEZE = {"features": "base", "last-block": "all-but-last-1-blocks", "all": "none"}


def start(seed: int) -> None:
    """Make the process' training repeatable: the same operations in the same order, for the same seed."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def on_devices(devices: Sequence[str] | None = None) -> Iterator[int]:
    """Build models in this context to train them on several devices; yields how many replicas there are.

    Parameters
    ----------
    devices
        TensorFlow's names of them; None: all GPUs of the machine.
    """
    names = [device.name for device in tf.config.list_logical_devices("GPU")] if devices is None else list(devices)
    if len(names) < 2:
        yield 1
        return
    strategy = tf.distribute.MirroredStrategy(names)
    with strategy.scope():
        yield int(strategy.num_replicas_in_sync)


def cut(model: keras.Model, stage: Stage) -> tuple[keras.Model | None, keras.Model]:
    """Cut a model in two at the layer that a stage starts from; both parts share the model's layers.

    Parameters
    ----------
    model
        From :func:`cxr_cli.models.densenet.build_densenet`.
    stage
        Also decides which layers are trainable (:data:`FREEZE`). In "last-block" the batch normalisations are not:
        they keep the statistics of the trained base, so that the stage starts from exactly what the one before ended
        with, and small data sets do not destroy them.

    Returns
    -------
    front, rest
        `front` is frozen and runs in inference mode; None for "all".

    References
    ----------
    Keras' guide to transfer learning and fine-tuning: "When you unfreeze a model that contains BatchNormalization
    layers in order to do fine-tuning, you should keep the BatchNormalization layers in inference mode".
    """
    freeze(model, FREEZE[stage])
    if stage == "all":
        return None, model
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    middle = model.get_layer(CUTS[stage]).output
    return keras.Model(model.inputs, middle), keras.Model(middle, model.outputs)


def keras_loss(loss: LossChoice, pathologies: Sequence[str]) -> Any:
    """Return the Keras loss; binary cross-entropy masks unknown labels and is Keras' own where all are known."""
    if loss.name == "categorical-crossentropy":
        return "categorical_crossentropy"
    weights = loss.class_weights
    if weights is not None:
        return WeightedBinaryCrossentropy(pathologies, weights.positive, weights.negative)
    even = [1 / len(pathologies)] * len(pathologies)
    return WeightedBinaryCrossentropy(pathologies, even, even, name="binary_crossentropy")


def set_head_bias(model: keras.Model, bias: NDArray[np.float64]) -> None:
    """Set the bias of the head."""
    model.get_layer(HEAD_LAYER).bias.assign(bias.astype(np.float32))


def head_is_new(model: keras.Model) -> bool:
    """Return whether the head's bias is what it is made with, zeros."""
    return not np.any(keras.ops.convert_to_numpy(model.get_layer(HEAD_LAYER).bias))


# ------------------------------------------------------------------------------------------------------------- batches


class _Shuffled(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of numbered rows, drawn anew for every epoch from the seed and the epoch's number.

    The order is that of :class:`cxr_cli.models.datasets.StoreDataset` for the same seed.
    """

    def __init__(self, n_rows: int, batch_size: int, seed: int, epoch: int = 0, *, mirror: bool = False) -> None:
        super().__init__()
        self.n_rows, self.batch_size, self.seed, self.epoch, self.mirror = n_rows, batch_size, seed, epoch, mirror
        self._draw()

    def __len__(self) -> int:
        return math.ceil(self.n_rows / self.batch_size)

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self.epoch += 1
        self._draw()

    def _draw(self) -> None:
        self.order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n_rows)
        flips = np.random.default_rng([self.seed, self.epoch, 1])
        self.mirrored = flips.random(self.n_rows) < 0.5 if self.mirror else np.zeros(self.n_rows, bool)

    def rows(self, batch: int) -> NDArray[np.int64]:
        """Return the rows of a batch of this epoch."""
        return self.order[batch * self.batch_size : (batch + 1) * self.batch_size]


class CachedBatches(_Shuffled):
    """Cached activations with labels; of images that are mirrored in this epoch, those of the mirror image.

    Parameters
    ----------
    activations
        Shape (n_images, …), in memory or memory-mapped.
    labels
        Shape (n_images, n_pathologies).
    mirrored_activations
        Those of the mirrored images; None without mirroring.
    batch_size, seed, epoch
        As in :class:`cxr_cli.models.datasets.StoreDataset`; `epoch` is where a continued run begins.
    """

    def __init__(
        self,
        activations: Array,
        labels: Array,
        mirrored_activations: Array | None,
        batch_size: int,
        seed: int,
        epoch: int = 0,
    ) -> None:
        self.activations, self.labels, self.mirror_images = activations, labels, mirrored_activations
        super().__init__(len(labels), batch_size, seed, epoch, mirror=mirrored_activations is not None)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """Return batch number `index` of this epoch."""
        rows = self.rows(index)
        batch = np.asarray(self.activations[rows], np.float32)
        flipped = self.mirrored[rows]
        if self.mirror_images is not None and flipped.any():
            batch[flipped] = self.mirror_images[rows[flipped]]
        return batch, self.labels[rows]


class StoredBatches(_Shuffled):
    """Images of a store with labels, augmented if asked for.

    Parameters
    ----------
    store
        The images.
    labels
        Shape (n_images, n_pathologies), in the order of the model.
    ranges
        Ranges of random rotations, shifts, zooms and flips; None leaves images as they are.
    batch_size, seed, epoch
        As in `CachedBatches`.
    """

    def __init__(
        self, store: Store, labels: Array, ranges: Ranges | None, batch_size: int, seed: int, epoch: int = 0
    ) -> None:
        self.store, self.labels, self.ranges = store, labels, ranges
        super().__init__(len(labels), batch_size, seed, epoch, mirror=ranges is not None and ranges.flip)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """Return batch number `index` of this epoch."""
        rows = self.rows(index)
        images = finite_images(self.store, rows)
        if self.ranges is not None:
            images = np.stack([self._altered(image, int(row)) for image, row in zip(images, rows, strict=True)])
        return as_three_channels(images), self.labels[rows]

    def _altered(self, image: Array, row: int) -> Array:
        assert self.ranges is not None
        if self.ranges.rotation or self.ranges.shift or self.ranges.zoom:
            rng = np.random.default_rng([self.seed, self.epoch, 2, row])
            plain = Ranges(self.ranges.rotation, self.ranges.shift, self.ranges.zoom, False)
            drawn = random_transform(plain, (image.shape[0], image.shape[1]), rng)
            if image.ndim == 3:
                image = np.stack([apply_transform(image[..., i], drawn) for i in range(image.shape[2])], axis=-1)
            else:
                image = apply_transform(image, drawn)
        return image[:, ::-1] if self.mirrored[row] else image


def finite_images(store: Store, rows: Array) -> Array:
    """Return images of a store; a pixel that is not a number would pass through ReLU and pooling unseen.

    Raises
    ------
    InputError
        An image has one.
    """
    images = store.batch(rows)
    bad = np.flatnonzero(~np.isfinite(images).all(axis=tuple(range(1, images.ndim))))
    if len(bad):
        name = store.index["image"].iloc[int(rows[bad[0]])]
        raise InputError(
            f"{store.folder}: image {name} has pixels that are NaN or infinite ({len(bad)} such images in its batch)",
            remedy="Run 'cxr preprocess' again.",
        )
    return images


class StoredImages(StoreDataset):
    """The batches of a store in order, all pixels finite."""

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """Return batch number `index`."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return as_three_channels(finite_images(self.store, rows)), self.store.labels[rows]


class MirroredImages(StoredImages):
    """The same, each image mirrored left to right."""

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """Return batch number `index`."""
        images, labels = super().__getitem__(index)
        return np.ascontiguousarray(images[:, :, ::-1]), labels


# ---------------------------------------------------------------------------------------------------------- one stage


class Diverged(CxrError):
    """The loss became NaN or infinite."""


@dataclass
class StageState:
    """Where a stage stands after an epoch; enough to go on as if nothing had happened.

    Attributes
    ----------
    epoch
        Epochs done.
    best_epoch
        The one whose weights are kept, 0 for those the stage started with.
    best_value
        Its monitored value.
    wait
        Epochs since without a better one.
    stopped_by
        "patience", "epochs" or "time limit" once the stage has ended.
    history
        One row per epoch, from epoch 0 (before any step).
    weights, best, optimizer
        Arrays of the trained part, of its best epoch, and of the optimizer.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = math.nan
    wait: int = 0
    stopped_by: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)
    best: list[Array] = field(default_factory=list)
    optimizer: list[Array] = field(default_factory=list)


@dataclass(frozen=True)
class StageSettings:
    """How a stage is trained.

    Attributes
    ----------
    stage
        Its name.
    epochs, patience
        Most epochs; epochs without a better value after which it ends.
    monitor
        The key of a history row that chooses the epoch; "valid_loss" is better when lower, all others when higher.
    learning_rate
        Of Adam.
    deadline
        ``time.monotonic()`` after which no further epoch is begun; None without.
    tensorboard
        Folder for TensorBoard's logs; None without.
    """

    stage: Stage
    epochs: int
    patience: int
    monitor: str
    learning_rate: float
    deadline: float | None = None
    tensorboard: str | None = None

    def better(self, value: float, than: float) -> bool:
        """Return whether a value is better than another; any value is better than NaN."""
        if math.isnan(value):
            return False
        return math.isnan(than) or (value < than if self.monitor == "valid_loss" else value > than)


@dataclass(frozen=True)
class Hooks:
    """What a stage calls.

    Attributes
    ----------
    evaluate
        Turns probabilities on the validation images into values of a history row.
    checkpoint
        Called with the state after each epoch.
    epoch_done
        Called with the history row of each epoch.
    progress
        Called with (batches done, batches of the epoch).
    name_rows
        Says which images stand in some rows of the training data.
    """

    evaluate: Callable[[Array], Mapping[str, Any]]
    checkpoint: Callable[[StageState], None]
    epoch_done: Callable[[Mapping[str, Any]], None]
    progress: Callable[[int, int], None]
    name_rows: Callable[[Array], str]


def run_stage(
    rest: keras.Model,
    batches: _Shuffled,
    valid: Any,
    loss: Any,
    settings: StageSettings,
    state: StageState | None,
    hooks: Hooks,
) -> StageState:
    """Train a part of a model with ``fit``; afterwards it has the weights of the last epoch.

    Parameters
    ----------
    rest
        The part, on which layers are trainable.
    batches
        Training data; their ``epoch`` must be that of `state`.
    valid
        Inputs for validation: an array, or a dataset of batches in order.
    loss
        A Keras loss.
    settings, hooks
        As described there.
    state
        Where an earlier run stopped; None to begin.

    Returns
    -------
    StageState
        With ``stopped_by`` set.

    Raises
    ------
    Diverged
        The loss is NaN or infinite; the batch is named.
    """
    optimizer = keras.optimizers.Adam(settings.learning_rate, name="adam")
    # Keras compiles to XLA where it may; what is compiled anew for a batch of another size rounds differently.
    rest.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    optimizer.build(rest.trainable_variables)
    run = _Run(rest, valid, settings, state or StageState(), hooks, batches)
    if state is None:
        run.begin()
    else:
        rest.set_weights(state.weights)
        for variable, value in zip(optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
    if run.state.stopped_by is None and settings.epochs > run.state.epoch:
        watchers: list[keras.callbacks.Callback] = [_Evaluate(run), _Patience(run), _Record(run)]
        if settings.tensorboard is not None:
            watchers.insert(2, keras.callbacks.TensorBoard(settings.tensorboard, write_graph=False))
        rest.fit(
            batches,
            epochs=settings.epochs,
            initial_epoch=run.state.epoch,
            callbacks=watchers,
            shuffle=False,
            verbose=0,
        )
    run.state.stopped_by = run.state.stopped_by or "epochs"
    return run.state


class _Run:
    """What the callbacks of one stage share."""

    def __init__(
        self,
        rest: keras.Model,
        valid: Any,
        settings: StageSettings,
        state: StageState,
        hooks: Hooks,
        batches: _Shuffled,
    ) -> None:
        self.rest, self.valid, self.settings, self.state = rest, valid, settings, state
        self.hooks, self.batches = hooks, batches
        self.row: dict[str, Any] = {}

    def begin(self) -> None:
        """Evaluate what the stage starts from: epoch 0."""
        self.row = {"stage": self.settings.stage, "epoch": 0, "loss": math.nan} | dict(self.evaluated())
        self.state.best = self.rest.get_weights()
        self.state.best_value = float(self.row[self.settings.monitor])
        self.finish_epoch()

    def evaluated(self) -> Mapping[str, Any]:
        return self.hooks.evaluate(probabilities_of(self.rest, self.valid))

    def finish_epoch(self) -> None:
        state = self.state
        state.history.append(self.row)
        state.weights = self.rest.get_weights()
        state.optimizer = [keras.ops.convert_to_numpy(variable) for variable in self.rest.optimizer.variables]
        self.hooks.checkpoint(state)
        self.hooks.epoch_done(self.row)


def probabilities_of(rest: keras.Model, valid: Any) -> Array:
    """Return the probabilities of the validation images, float32 of shape (n_images, n_pathologies)."""
    if isinstance(valid, keras.utils.PyDataset):
        return np.asarray(rest.predict(valid, verbose=0))
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:  # each replica would predict the whole batch
        return np.asarray(rest.predict(np.asarray(valid, np.float32), batch_size=256, verbose=0))
    parts = [rest.predict_on_batch(np.asarray(part, np.float32)) for part in _parts(valid, 256)]
    return np.concatenate([np.asarray(part) for part in parts])


def _parts(array: Array, size: int) -> Iterator[Array]:
    for first in range(0, len(array), size):
        yield array[first : first + size]


class _Evaluate(keras.callbacks.Callback):  # type: ignore[misc]
    """Before the others at the end of an epoch: adds validation metrics to the logs, which EarlyStopping reads."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run = run

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop where the loss is no longer a number, and report how far the epoch is."""
        run = self.run
        if not math.isfinite(float((logs or {})["loss"])):
            rows = run.batches.rows(batch)
            raise Diverged(
                f"stage {run.settings.stage}, epoch {run.state.epoch + 1}, batch {batch + 1}: the loss is not a finite "
                f"number (images of this batch: {run.hooks.name_rows(rows)})",
                remedy=f"Try a lower {argument('learning_rate')}; look for images that are not finite with "
                "'cxr preprocess'.",
            )
        run.hooks.progress(batch + 1, len(run.batches))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluate on the validation images."""
        run = self.run
        logs = {} if logs is None else logs
        run.row = {"stage": run.settings.stage, "epoch": epoch + 1, "loss": float(logs["loss"])}
        values = dict(run.evaluated())
        run.row |= values
        # Numbers only: TensorBoard draws what it finds here.
        logs |= {name: value for name, value in values.items() if isinstance(value, float) and math.isfinite(value)}
        logs.setdefault(run.settings.monitor, math.nan)


class _Patience(keras.callbacks.EarlyStopping):  # type: ignore[misc]
    """Keras' EarlyStopping, going on from where an interrupted run was."""

    def __init__(self, run: _Run) -> None:
        mode = "min" if run.settings.monitor == "valid_loss" else "max"
        super().__init__(monitor=run.settings.monitor, patience=run.settings.patience, mode=mode)
        self.run = run

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take up the best value and the count of epochs without a better one."""
        super().on_train_begin(logs)
        if not math.isnan(self.run.state.best_value):
            self.best = self.run.state.best_value
        self.wait = self.run.state.wait

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count, and stop when patience is over."""
        value = float((logs or {}).get(self.run.settings.monitor, math.nan))
        if math.isnan(value):
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = epoch
                self.model.stop_training = True
            return
        super().on_epoch_end(epoch, logs)


class _Record(keras.callbacks.Callback):  # type: ignore[misc]
    """After the others: keeps the best weights, the state and the checkpoint, and looks at the clock."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch."""
        state, settings = self.run.state, self.run.settings
        value = float(self.run.row[settings.monitor])
        state.epoch = epoch + 1
        if settings.better(value, state.best_value):
            state.best_value, state.best_epoch, state.wait = value, epoch + 1, 0
            state.best = self.run.rest.get_weights()
        else:
            state.wait += 1
        if self.model.stop_training:
            state.stopped_by = "patience"
        elif state.epoch >= settings.epochs:
            state.stopped_by = "epochs"
        elif settings.deadline is not None and time.monotonic() >= settings.deadline:
            self.model.stop_training = True
        self.run.finish_epoch()
        if self.model.stop_training and state.stopped_by is None:
            state.stopped_by = "time limit"  # not in the checkpoint: the same command goes on from there
