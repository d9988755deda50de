"""Time the stages of `cxr train` beside the same work without their caches, and `cxr predict` beside Keras.

    python benchmarks/train.py [--images 96] [--size 224] [--rounds 2]

Everything runs in one process on the same stored images, in turns. Per-image operations are counted beside. An epoch
end to end is measured once and taken 50 times where 50 are compared, because every epoch does the same work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from timing import functions_in_turns, headline, ratios

from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import read_labels
from cxr_cli.models.architecture import describe_model
from cxr_cli.models.classifier import open_classifier
from cxr_cli.models.datasets import StoreDataset, as_three_channels
from cxr_cli.models.training import CachedBatches, StoredBatches, cut, keras_loss
from cxr_cli.services.build_model.build_model import build_model
from cxr_cli.services.build_model.options import ModelOptions
from cxr_cli.services.predict.predict import predict
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.sources import StoreSource
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.train.data import open_training_data

SAMPLE = Path(__file__).resolve().parent.parent / "sample_data"
BATCH = 32
#: Epochs of the head that stage features is measured with.
EPOCHS = 50


def prepared(folder: Path, n_images: int, size: int) -> tuple[Path, Path]:
    """Make a store of sample images and a model for it."""
    table = folder / "table.csv"
    lines = (SAMPLE / "train-small.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(lines[: n_images + 1]))
    recipe = Recipe(image_size=(size, size), dtype="uint8")
    preprocess(read_labels(table), SAMPLE / "images-small", folder / "store", Options(recipe))
    names = ("Infiltration", "Effusion", "Atelectasis", "Nodule", "Mass")
    options = ModelOptions(names, (size, size), loss="binary-crossentropy")
    build_model(options, save=folder / "model.keras")
    return folder / "store", folder / "model.keras"


class Stages:
    """The same images and network under each regime."""

    def __init__(self, store: Path, model: Path) -> None:
        self.model, self.card = open_classifier(model)
        self.data = open_training_data(store, self.card)
        self.loss = keras_loss(self.card.loss, self.card.pathologies)

    def batches(self) -> StoredBatches:
        """Return the images, shuffled."""
        return StoredBatches(self.data.store, self.data.labels, None, BATCH, 0)

    def compiled(self, stage: Any, *, whole: bool) -> keras.Model:
        """Return the whole network with what the stage trains, or the part that it trains on."""
        _, rest = cut(self.model, stage)
        target = self.model if whole else rest
        target.compile(keras.optimizers.Adam(1e-4), self.loss, jit_compile=False)
        return target

    def front(self, stage: Any) -> Any:
        """Return the activations that a stage keeps."""
        front, _ = cut(self.model, stage)
        assert front is not None
        return front.predict(StoreDataset(self.data.store, BATCH), verbose=0)


def one_turn(stages: Stages, times: dict[str, list[float]]) -> None:
    """Time each regime once; what is compiled anew runs once unmeasured before."""
    labels = stages.data.labels

    def note(name: str, work: Callable[[], object]) -> None:
        begin = time.perf_counter()
        work()
        times.setdefault(name, []).append(time.perf_counter() - begin)

    def epoch(model: keras.Model, batches: Any, epochs: int = 1) -> Callable[[], object]:
        model.fit(batches, verbose=0, shuffle=False)
        return lambda: model.fit(batches, epochs=epochs, verbose=0, shuffle=False)

    note("features: base once", lambda: stages.front("features"))
    cached = CachedBatches(stages.front("features"), labels, None, BATCH, 0)
    note("features: 50 epochs of the head", epoch(stages.compiled("features", whole=False), cached, EPOCHS))
    note("end to end, base frozen: epoch", epoch(stages.compiled("features", whole=True), stages.batches()))
    cached = CachedBatches(stages.front("last-block"), labels, None, BATCH, 0)
    note("last-block, cached: epoch", epoch(stages.compiled("last-block", whole=False), cached))
    note("last-block, not cached: epoch", epoch(stages.compiled("last-block", whole=True), stages.batches()))
    whole = stages.compiled("all", whole=True)
    note("all: epoch", epoch(whole, stages.batches()))
    images = as_three_channels(stages.data.store.batch(np.arange(len(labels))))
    note("all, bare fit on arrays: epoch", lambda: whole.fit(images, labels, batch_size=BATCH, verbose=0))
    note("input of an epoch of all", lambda: [stages.batches()[i] for i in range(len(stages.batches()))])


def measure(stages: Stages, rounds: int) -> None:
    """Time the regimes in turns and print ratios."""
    n, times = len(stages.data.labels), {}
    for _ in range(rounds):
        one_turn(stages, times)
    for name, values in times.items():
        print(f"{name:36} {statistics.median(values):8.3f} s  {1000 * statistics.median(values) / n:8.2f} ms an image")
    middle = {name: statistics.median(values) for name, values in times.items()}
    once = middle["features: base once"] + middle["features: 50 epochs of the head"]
    frozen = EPOCHS * middle["end to end, base frozen: epoch"]
    print(f"=> 50 epochs end to end against stage features: {frozen / once:.1f}")
    cached_epoch = middle["last-block, cached: epoch"]
    print(
        f"=> last-block without its cache against with it: {middle['last-block, not cached: epoch'] / cached_epoch:.1f}"
    )
    print(f"=> an epoch of everything against one of last-block: {middle['all: epoch'] / cached_epoch:.1f}")
    print(f"=> stage all against bare fit: {middle['all: epoch'] / middle['all, bare fit on arrays: epoch']:.2f}")
    print(
        f"=> input's part of an epoch of all: {100 * middle['input of an epoch of all'] / middle['all: epoch']:.1f} %"
    )
    count_operations(stages)


def count_operations(stages: Stages) -> None:
    """Print multiply-adds for an image: a forward pass, and a step (the backward pass takes twice a forward one)."""
    blocks = describe_model(stages.model).blocks
    forward = sum(block.multiply_adds for block in blocks)
    last = sum(block.multiply_adds for block in blocks if block.name in ("dense block 4", "final", "head"))
    print(
        f"multiply-adds for an image: forward {forward / 1e9:.3f} billion, behind the last cut {last / 1e9:.3f} billion"
    )
    print(
        f"=> by operations: uncached against cached {(forward + 2 * last) / (3 * last):.1f}, all {forward / last:.1f}"
    )


def measure_predict(store: Path, model: Path, folder: Path, rounds: int) -> None:
    """Time `predict` beside bare `model.predict` on decoded arrays."""
    network, card = open_classifier(model)
    source = StoreSource(store, card)
    images = as_three_channels(source.store.batch(np.arange(len(source.names))))
    import cxr_cli.models.classifier as classifier

    classifier.open_classifier = lambda path: (network, card)
    timed = functions_in_turns(
        {
            "predict": lambda: predict(
                model, source, Outputs(folder / "predicted"), "predictions.csv", start_over=True
            ),
            "Keras": lambda: network.predict(images, batch_size=BATCH, verbose=0),
        },
        rounds,
    )
    headline("predict, against bare model.predict on decoded arrays", ratios(timed["predict"], timed["Keras"]))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store, model = prepared(Path(temporary), options.images, options.size)
        measure(Stages(store, model), options.rounds)
        measure_predict(store, model, Path(temporary), options.rounds)


if __name__ == "__main__":
    main()
