"""Time the stages of `cxr train` beside the same work without their caches, and `cxr predict` beside Keras.

    python benchmarks/train.py [--images 320] [--valid 64] [--size 224] [--rounds 4]

About a quarter of an hour on two quiet cores. Everything runs in one process on the same stored images. In a round each
regime takes its turn for one epoch; ratios are taken within a round, and the median and the range of all rounds are
printed, once in wall-clock and once in processor time. An epoch is all that `cxr train` does in one: the steps, the
metrics on the validation images and the checkpoint. Epochs in which functions are traced are not measured, but for
stage features, which is measured from its first image on. An epoch end to end is taken 50 times where 50 are compared,
because every epoch does the same work. Operations for an image are counted beside.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from timing import headline

import cxr_cli.models.classifier as classifier
from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import read_labels
from cxr_cli.models.architecture import describe_model
from cxr_cli.models.datasets import StoreDataset, as_three_channels
from cxr_cli.models.training import (
    CachedBatches,
    Hooks,
    StageSettings,
    StageState,
    StoredBatches,
    StoredImages,
    cut,
    keras_loss,
    run_stage,
)
from cxr_cli.services.build_model.build_model import build_model
from cxr_cli.services.build_model.options import ModelOptions
from cxr_cli.services.metrics.ranking import auroc, average_precision
from cxr_cli.services.predict.predict import predict
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.sources import StoreSource
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.train.cache import cached
from cxr_cli.services.train.checkpoint import Checkpoint
from cxr_cli.services.train.data import TrainingData, mean_loss, open_training_data

SAMPLE = Path(__file__).resolve().parent.parent / "sample_data"
NAMES = ("Infiltration", "Effusion", "Atelectasis", "Nodule", "Mass")
BATCH = 32
#: Epochs of the head that stage features is measured with.
EPOCHS = 50
#: Wall-clock and processor seconds.
Seconds = tuple[float, float]
Times = dict[str, list[Seconds]]


def prepared(folder: Path, counts: Mapping[str, int], size: int) -> None:
    """Make stores of sample images, used again under other names where there are too few, and a model for them."""
    header, *rows = (SAMPLE / "train-small.csv").read_text().splitlines()
    images = folder / "images"
    images.mkdir()
    for name, n_images in counts.items():
        lines = [header]
        for number in range(n_images):
            file, labels = rows[number % len(rows)].split(",", 1)
            shutil.copy(SAMPLE / "images-small" / file, images / f"{name}-{number}.png")
            lines.append(f"{name}-{number}.png,{labels}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        recipe = Recipe(image_size=(size, size), dtype="uint8")
        preprocess(read_labels(folder / f"{name}.csv"), images, folder / name, Options(recipe))
    build_model(ModelOptions(NAMES, (size, size), loss="binary-crossentropy"), save=folder / "model.keras")


def seconds_of(work: Callable[[], object]) -> Seconds:
    """Return the wall-clock and processor time that some work takes."""
    begin, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - used


class Data:
    """The stores, and what `cxr train` does with them besides the steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        card = classifier.read_model_card(folder / "model.keras")
        self.train: TrainingData = open_training_data(folder / "train", card)
        self.valid: TrainingData = open_training_data(folder / "valid", card)
        self.choice = card.loss
        self.loss = keras_loss(card.loss, card.pathologies)

    def network(self) -> keras.Model:
        """Return the model, built anew, so that no regime changes what another one trains."""
        return classifier.open_classifier(self.folder / "model.keras")[0]

    def shuffled(self) -> StoredBatches:
        """Return the training images."""
        return StoredBatches(self.train.store, self.train.labels, None, BATCH, 0)

    def activations(self, front: keras.Model, name: str, split: str) -> Any:
        """Compute the activations of a split into a cache file that was not there before."""
        data: TrainingData = getattr(self, split)
        path = self.folder / f"{name}-{split}.npy"
        path.unlink(missing_ok=True)

        def fill(first: int, last: int, take: Callable[[int, Any], None]) -> None:
            batches = StoredImages(data.store, BATCH, rows=np.arange(first, last))
            classifier.outputs_of(front, batches, lambda batch, outputs: take(batch * BATCH, outputs))

        shape = (len(data.labels), *front.output.shape[1:])
        return cached(path, name, shape, "float32", 32 * BATCH, fill, lambda done, total: None)[0]

    def evaluate(self, probabilities: Any) -> dict[str, Any]:
        """Return what a row of the history holds."""
        labels = self.valid.labels
        return {
            "valid_loss": mean_loss(labels, probabilities, self.choice),
            "valid_auroc": float(np.nanmean(auroc(labels, probabilities))),
            "valid_auprc": float(np.nanmean(average_precision(labels, probabilities))),
        }

    def train_stage(
        self, stage: Any, rest: keras.Model, batches: Any, valid: Any, epochs: int, after_epoch: Callable[[], None]
    ) -> None:
        """Train as `cxr train` does, with a checkpoint after each epoch."""

        def checkpoint(state: StageState) -> None:
            arrays = {"weights": state.weights, "best": state.best, "optimizer": state.optimizer}
            Checkpoint("", {}, arrays).write(self.folder / f"{threading.get_ident()}.npz")

        hooks = Hooks(
            self.evaluate, checkpoint, lambda row: after_epoch(), lambda done, total: None, lambda rows: str(rows)
        )
        settings = StageSettings(stage, epochs, epochs, "valid_auroc", 1e-4)
        run_stage(rest, batches, valid, self.loss, settings, None, hooks)


class Paced:
    """A training in a thread of its own that stops after each epoch until it is called for the next."""

    def __init__(self, train: Callable[[Callable[[], None]], None]) -> None:
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=lambda: train(self._after_epoch), daemon=True).start()
        self.done.acquire()  # epoch 0: the state before the first step

    def _after_epoch(self) -> None:
        self.done.release()
        self.go.acquire()

    def epoch(self) -> None:
        """Train one epoch."""
        self.go.release()
        self.done.acquire()


def stage_features(data: Data, times: Times) -> None:
    """Time stage features from its first image on: tracing, the base once, and all epochs of the head."""
    model = data.network()

    def whole() -> None:
        front, rest = cut(model, "features")
        train, valid = (data.activations(front, "features", split) for split in ("train", "valid"))
        batches = CachedBatches(train, data.train.labels, None, BATCH, 0)
        data.train_stage("features", rest, batches, valid, EPOCHS, lambda: None)

    times.setdefault("stage features: base once, 50 epochs", []).append(seconds_of(whole))


def regimes(data: Data, epochs: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield names and epochs of the regimes, each traced already."""

    def paced(stage: Any, rest: keras.Model, batches: Any, valid: Any) -> Callable[[], None]:
        run = Paced(lambda after: data.train_stage(stage, rest, batches, valid, epochs + 1, after))
        run.epoch()
        return run.epoch

    model = data.network()
    cut(model, "features")
    yield "base frozen, end to end: epoch", paced("features", model, data.shuffled(), _images(data))
    front, rest = cut(data.network(), "last-block")
    train, valid = (data.activations(front, "last-block", split) for split in ("train", "valid"))
    cache = CachedBatches(train, data.train.labels, None, BATCH, 0)
    yield "stage last-block: epoch", paced("last-block", rest, cache, valid)
    model = data.network()
    cut(model, "last-block")
    yield "last block without cache: epoch", paced("last-block", model, data.shuffled(), _images(data))
    model = data.network()
    cut(model, "all")
    yield "stage all: epoch", paced("all", model, data.shuffled(), _images(data))
    bare = data.network()
    cut(bare, "all")
    bare.compile(keras.optimizers.Adam(1e-4), data.loss, jit_compile=False)
    arrays = [
        (as_three_channels(some.store.batch(np.arange(len(some.labels)))), some.labels)
        for some in (data.train, data.valid)
    ]

    def fit() -> None:
        bare.fit(*arrays[0], batch_size=BATCH, validation_data=arrays[1], validation_batch_size=BATCH, verbose=0)

    fit()
    yield "everything, bare fit on arrays: epoch", fit
    yield "input of an epoch of all", lambda: [batch for some in (data.shuffled(), _images(data)) for batch in some]


def _images(data: Data) -> StoreDataset:
    return StoreDataset(data.valid.store, BATCH)


def predictions(data: Data) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield `predict`, and bare `model.predict` on decoded arrays, without the loading of the model."""
    path = data.folder / "model.keras"
    network, card = classifier.open_classifier(path)
    source = StoreSource(data.folder / "train", card)
    images = as_three_channels(source.store.batch(np.arange(len(source.names))))
    outputs = Outputs(data.folder / "predicted")

    def ours() -> None:
        load = classifier.open_classifier
        classifier.open_classifier = lambda path: (network, card)
        try:
            predict(path, source, outputs, "predictions.csv", batch_size=BATCH, start_over=True)
        finally:
            classifier.open_classifier = load

    def bare() -> None:
        network.predict(images, batch_size=BATCH, verbose=0)

    for name, work in (("predict", ours), ("bare model.predict on arrays", bare)):
        work()
        yield name, work


def measure(data: Data, rounds: int) -> Times:
    """Let every regime take its turn in each round."""
    work = [*regimes(data, rounds), *predictions(data)]
    times: Times = {}
    for number in range(rounds):
        stage_features(data, times)
        # A regime gains nothing from its place: every other round runs in the opposite order.
        for name, epoch in work if number % 2 == 0 else work[::-1]:
            times.setdefault(name, []).append(seconds_of(epoch))
    return times


def report(times: Times, n_images: int) -> None:
    """Print seconds of each regime, and the ratios."""
    print(f"{'':40} wall-clock       an image    processor")
    for name, values in times.items():
        wall, used = (statistics.median(some) for some in zip(*values, strict=True))
        print(f"{name:40} {wall:8.2f} s  {1000 * wall / n_images:8.2f} ms  {used:9.2f} s")
    for what, one, other, factor in (
        ("50 epochs, base frozen, end to end, against stage features", "base frozen", "stage features", EPOCHS),
        ("last block without its cache, against stage last-block", "last block without", "stage last-block", 1),
        ("an epoch of everything, against one of last-block", "stage all", "stage last-block", 1),
        ("stage all, against bare fit on arrays", "stage all", "everything, bare", 1),
        ("input's part of an epoch of stage all, %", "input", "stage all", 100),
        ("predict, against bare model.predict on arrays", "predict", "bare model", 1),
    ):
        pair = [next(values for name, values in times.items() if name.startswith(start)) for start in (one, other)]
        for kind, place in (("", 0), (" (processor time)", 1)):
            headline(f"{what}{kind}", _ratios(*pair, place, factor))


def _ratios(one: Sequence[Seconds], other: Sequence[Seconds], place: int, factor: float) -> list[float]:
    return [factor * some[place] / more[place] for some, more in zip(one, other, strict=True)]


def count_operations(model: keras.Model) -> None:
    """Print multiply-adds for an image: a forward pass, and a step (the backward pass takes twice a forward one)."""
    blocks = describe_model(model).blocks
    forward = sum(block.multiply_adds for block in blocks)
    last = sum(block.multiply_adds for block in blocks if block.name in ("dense block 4", "final", "head"))
    print(
        f"multiply-adds for an image: forward {forward / 1e9:.3f} billion, behind the last cut {last / 1e9:.3f} billion"
    )
    print(
        f"=> by operations: uncached against cached {(forward + 2 * last) / (3 * last):.1f}, all {forward / last:.1f}"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--valid", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepared(folder, {"train": options.images, "valid": options.valid}, options.size)
        data = Data(folder)
        report(measure(data, options.rounds), options.images)
        count_operations(data.network())
    os._exit(0)  # trainings that wait for another epoch are not waited for


if __name__ == "__main__":
    main()
