"""Train a classifier in stages, cheapest first, on stored images; check before, record on the way, judge afterwards."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import TRAINED, OutputFile, Outputs, describe_input, remove_abandoned
from cxr_cli.data.predictions import Predictions
from cxr_cli.errors import MissingPackageError, argument
from cxr_cli.services.metrics.ranking import auroc, average_precision
from cxr_cli.services.model_card import LossChoice, ModelCard, TrainedStage, Training, model_card_path, read_model_card
from cxr_cli.services.result import plain
from cxr_cli.services.train.cache import cached
from cxr_cli.services.train.checkpoint import CHECKPOINT, Checkpoint, read_checkpoint
from cxr_cli.services.train.data import (
    TrainingData,
    best_constant,
    check_labels,
    logits,
    mean_loss,
    open_training_data,
)
from cxr_cli.services.train.leakage import Overlap, overlap
from cxr_cli.services.train.options import TrainOptions
from cxr_cli.services.train.result import CacheFile, Epoch, PathologyScore, Sanity, TrainResult, TrainRun
from cxr_cli.services.train.sanity import against_chance, look_at, mean_of_known

if TYPE_CHECKING:
    import keras

    from cxr_cli.models.training import StageState

Array = NDArray[Any]
#: Images after which cached activations are safe on the disk: a multiple of every batch below.
_CHUNK_BATCHES = 32


@dataclass(frozen=True)
class Watch:
    """What a caller may see while training runs.

    Attributes
    ----------
    stage
        Called when work of another kind begins, with a few words on it.
    progress
        Called with (steps done, all steps) of that work.
    epoch
        Called with each epoch.
    note
        Called with what is worth knowing.
    """

    stage: Callable[[str], None] = lambda what: None
    progress: Callable[[int, int], None] = lambda done, total: None
    epoch: Callable[[Epoch], None] = lambda epoch: None
    note: Callable[[str], None] = lambda text: None


def train(
    model: Path | str,
    train_store: Path | str,
    valid_store: Path | str,
    outputs: Outputs,
    options: TrainOptions | None = None,
    *,
    watch: Watch | None = None,
) -> TrainResult:
    """Train a model that ``build_model`` saved on the images of a store.

    Each stage starts from the best weights of the one before. "features" runs the frozen base once and trains the head
    on its pooled outputs; "last-block" keeps the activations before the last dense block and trains from there; "all"
    trains everything. A training that was interrupted goes on when it is called again with the same arguments, and ends
    with the same weights on the same machine.

    Parameters
    ----------
    model
        The model's file, its model card beside it.
    train_store, valid_store
        Output folders of ``preprocess``.
    outputs
        Receives the best model with its card, the history, the predictions on the validation images, and a cache of
        activations that the next run uses again.
    options
        How to train.
    watch
        Sees what happens.

    Returns
    -------
    TrainResult
        ``trained`` is False, and nothing was done, if both stores share patients or images and leakage was not allowed.

    Raises
    ------
    InputError
        Model or stores are missing or damaged, or the loss became NaN.
    UsageError
        A store does not suit the model, or the loss does not suit the labels.
    OutputError
        Something cannot be written.
    MissingPackageError
        TensorBoard's logs are asked for, and tensorboard is not installed.
    """
    options, watch = options or TrainOptions(), watch or Watch()
    if options.tensorboard and find_spec("tensorboard") is None:
        raise MissingPackageError(
            f"{argument('tensorboard', True, option='--tensorboard')} needs the package tensorboard, which is missing",
            remedy="Run: pip install 'cxr-cli[tensorboard]'",
        )
    path = Path(model)
    card = read_model_card(path)
    loss = options.chosen_loss(card)
    data = {"train": open_training_data(Path(train_store), card), "valid": open_training_data(Path(valid_store), card)}
    check_labels(data["train"], loss, card)
    check_labels(data["valid"], LossChoice("binary-crossentropy", None), card)
    if loss.name == "categorical-crossentropy":
        check_labels(data["valid"], loss, card)
    shared = overlap(data["train"], data["valid"])
    result = TrainResult(
        trained=not (shared.patients or shared.images) or options.allow_leakage,
        model=describe_input(path),
        pathologies=card.pathologies,
        train=data["train"].source,
        valid=data["valid"].source,
        shared_patients=shared.patients,
        shared_images=shared.images,
        patients_checked=shared.known,
        options=options,
        loss=loss,
        learning_rates=options.rates(card),
        warnings=tuple(_warnings(data, shared, card, allowed=options.allow_leakage)),
    )
    if not result.trained:
        return result
    result = _Training(path, card, data, outputs, result, watch).run()
    if result.runs and outputs.plots:
        from cxr_cli.plots.train import plot_learning_curves

        outputs.write_figure("learning-curves.png", plot_learning_curves(result))
    return result


def _warnings(data: Mapping[str, TrainingData], shared: Overlap, card: ModelCard, *, allowed: bool) -> list[str]:
    found = []
    if allowed and (shared.patients or shared.images):
        found.append(
            f"{len(shared.patients):,} patients and {len(shared.images):,} images are in both stores: validation is "
            "optimistic"
        )
    if shared.unchecked is not None:
        found.append(shared.unchecked)
    interpolations = {item.store.manifest.recipe.interpolation for item in data.values()}
    if len(interpolations | {card.preprocessing.interpolation} - {None}) > 1:
        found.append(f"images were resized in different ways: {', '.join(sorted(interpolations))}")
    for name, counts in (("train", data["train"].source), ("valid", data["valid"].source)):
        lacking = [each for each, n in counts.n_positive.items() if n == 0]
        if lacking:
            found.append(f"no positives in {name}: {', '.join(lacking)}")
    return found


class _Training:
    """A training that has passed all checks."""

    def __init__(
        self,
        path: Path,
        card: ModelCard,
        data: Mapping[str, TrainingData],
        outputs: Outputs,
        result: TrainResult,
        watch: Watch,
    ) -> None:
        self.path, self.card, self.data, self.outputs = path, card, data, outputs
        self.result, self.options, self.watch = result, result.options, watch
        self.caches: list[CacheFile] = []
        self.half_precision: float | None = None
        self.head_bias: NDArray[np.float64] | None = None
        limit = self.options.time_limit
        self.deadline = None if limit is None else time.monotonic() + 60 * limit

    def run(self) -> TrainResult:
        """Train once for each seed."""
        from cxr_cli.models.training import on_devices, start

        runs = []
        with on_devices() as n_replicas:
            if n_replicas > 1:
                self.watch.note(f"training on {n_replicas} devices")
            for number in range(self.options.runs):
                seed = self.options.seed + number
                if self.options.runs > 1:
                    self.watch.note(f"training {number + 1} of {self.options.runs}, seed {seed}")
                start(seed)
                runs.append(_Run(self, seed).run())
        return replace(
            self.result,
            head_bias=self._head_bias(),
            half_precision=self.half_precision,
            caches=tuple(self.caches),
            runs=tuple(runs),
        )

    def _head_bias(self) -> dict[str, float] | None:
        if self.head_bias is None:
            return None
        return dict(zip(self.card.pathologies, self.head_bias.tolist(), strict=True))

    def key(self, seed: int) -> str:
        """Hash everything that determines the weights."""
        import keras

        options = plain(self.options)
        for name in ("time_limit", "tensorboard", "runs", "n_draws", "allow_leakage", "seed"):
            del options[name]
        parts = {
            "model": self.result.model.sha256,
            "data": [self.data["train"].key, self.data["valid"].key],
            "options": options,
            "loss": plain(self.result.loss),
            "rates": self.result.learning_rates,
            "seed": seed,
            "versions": [keras.__version__, np.__version__],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    # --- activations

    def activations(self, front: keras.Model, stage: Any, split: str, *, mirrored: bool = False) -> Array:
        """Return the outputs of the frozen part for the images of a store, from the cache or computed now."""
        from cxr_cli.models.classifier import outputs_of
        from cxr_cli.models.training import MirroredImages, StoredImages

        data = self.data[split]
        dtype = self.options.cache_type if stage == "last-block" else "float32"
        name = f"cache/{split}-{stage}{'-mirrored' if mirrored else ''}.npy"
        path = self.outputs.folder / name
        batch_size = self.options.batch_size
        dataset = MirroredImages if mirrored else StoredImages

        def fill(first: int, last: int, take: Callable[[int, Array], None]) -> None:
            batches = dataset(data.store, batch_size, rows=np.arange(first, last))
            outputs_of(front, batches, lambda batch, outputs: take(batch * batch_size, outputs))

        self.watch.stage(f"{'Mirrored' if mirrored else 'Frozen'} activations, {split}")
        shape = (len(data.labels), *(int(side) for side in front.output.shape[1:]))
        key = self._cache_key(front, data, stage, dtype, mirrored=mirrored)
        array, reused = cached(path, key, shape, dtype, _CHUNK_BATCHES * batch_size, fill, self.watch.progress)
        record = CacheFile(str(path), stage, split, mirrored, path.stat().st_size, reused)
        if all(item.path != record.path for item in self.caches):
            self.caches.append(record)
        return array

    def _cache_key(self, front: keras.Model, data: TrainingData, stage: Any, dtype: str, *, mirrored: bool) -> str:
        digest = hashlib.sha256(f"{data.key} {stage} {dtype} {mirrored} {self.options.batch_size}".encode())
        for array in front.get_weights():
            digest.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
        return digest.hexdigest()


class _Run:
    """One training with one seed."""

    def __init__(self, training: _Training, seed: int) -> None:
        self.training, self.seed = training, seed
        self.options, self.watch = training.options, training.watch
        self.folder = training.outputs.folder / (f"run-{seed}" if self.options.runs > 1 else "")
        self.checkpoint = self.folder / CHECKPOINT
        self.key = training.key(seed)
        self.epochs: list[Epoch] = []
        self.stages: list[TrainedStage] = []
        self.initial_loss = float("nan")

    def run(self) -> TrainRun:
        from cxr_cli.models.classifier import open_classifier
        from cxr_cli.models.training import head_is_new, set_head_bias

        self.model, _ = open_classifier(self.training.path)
        if head_is_new(self.model) and self.training.card.training is None:
            bias = logits(best_constant(self.training.data["train"].labels, self.training.result.loss))
            set_head_bias(self.model, bias)
            self.training.head_bias = bias
        saved = self._resume()
        last: Array | None = None
        for number, stage in enumerate(self.options.stages):
            if saved is not None and number < saved[0]:
                continue  # its history is in the checkpoint, and its weights in those of a later stage
            state = saved[1] if saved is not None and number == saved[0] else None
            last = self._stage(number, stage, state)
            if self.stages[-1].stopped_by == "time limit":
                break
        assert last is not None
        return self._finish(last)

    # --- checkpoint

    def _resume(self) -> tuple[int, StageState] | None:
        """Return number and state of the stage that an interrupted run was in."""
        from cxr_cli.models.training import StageState

        for name in (CHECKPOINT, *TRAINED, model_card_path(Path(TRAINED[0])).name):
            remove_abandoned(self.folder / name)
        saved = read_checkpoint(self.checkpoint, self.key)
        if saved is None:
            if self.checkpoint.exists():
                self.watch.note(f"{self.checkpoint} is of another training and is replaced")
            return None
        meta = saved.meta
        self.epochs = [Epoch(**_with_nan(row)) for row in meta["epochs"]]
        self.stages = [TrainedStage(**row) for row in meta["stages"]]
        self.initial_loss = meta["initial_loss"]
        self.training.half_precision = meta["half_precision"]
        state = StageState(
            epoch=meta["epoch"],
            best_epoch=meta["best_epoch"],
            best_value=float("nan") if meta["best_value"] is None else meta["best_value"],
            wait=meta["wait"],
            stopped_by=meta["stopped_by"],
            weights=list(saved.arrays["weights"]),
            best=list(saved.arrays["best"]),
            optimizer=list(saved.arrays["optimizer"]),
        )
        stage = self.options.stages[meta["stage"]]
        self.watch.note(f"continuing an interrupted training after epoch {state.epoch} of stage {stage}")
        return meta["stage"], state

    def _write_checkpoint(self, number: int, state: StageState) -> None:
        meta = {
            "stage": number,
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_value": state.best_value,
            "wait": state.wait,
            "stopped_by": state.stopped_by,
            "initial_loss": self.initial_loss,
            "half_precision": self.training.half_precision,
            "epochs": self.epochs,
            "stages": self.stages,
        }
        arrays = {"weights": state.weights, "best": state.best, "optimizer": state.optimizer}
        Checkpoint(self.key, meta, arrays).write(self.checkpoint)

    # --- stages

    def _stage(self, number: int, stage: Any, state: StageState | None) -> Array:
        """Train one stage; return the probabilities on the validation images after its last epoch."""
        from cxr_cli.models.training import (
            CachedBatches,
            Hooks,
            StageSettings,
            StoredBatches,
            cut,
            keras_loss,
            probabilities_of,
            run_stage,
        )

        training, options = self.training, self.options
        train, seed = training.data["train"], self.seed * 16 + number
        front, rest = cut(self.model, stage)
        epoch = 0 if state is None else state.epoch
        batches: CachedBatches | StoredBatches
        if front is None:
            batches = StoredBatches(train.store, train.labels, _ranges(options), options.batch_size, seed, epoch)
            valid = self._valid_images()
        else:
            mirror = None
            activations = training.activations(front, stage, "train")
            if "flip" in options.augment:
                mirror = training.activations(front, stage, "train", mirrored=True)
            valid = training.activations(front, stage, "valid")
            batches = CachedBatches(activations, train.labels, mirror, options.batch_size, seed, epoch)
        rate = training.result.learning_rates[number]
        self.watch.stage(f"Training, stage {stage}")
        settings = StageSettings(
            stage=stage,
            epochs=options.epochs,
            patience=options.patience,
            monitor={"auroc": "valid_auroc", "auprc": "valid_auprc", "loss": "valid_loss"}[options.monitor],
            learning_rate=rate,
            deadline=training.deadline,
            tensorboard=str(self.folder / "tensorboard" / stage) if options.tensorboard else None,
        )
        loss = keras_loss(training.result.loss, training.card.pathologies)
        hooks = Hooks(
            evaluate=self._evaluate,
            checkpoint=lambda reached: self._after_epoch(number, reached),
            epoch_done=lambda row: self.watch.epoch(self.epochs[-1]),
            progress=self.watch.progress,
            name_rows=lambda rows: (
                ", ".join(train.store.index["image"].iloc[rows[:5]]) + (", …" if len(rows) > 5 else "")
            ),
        )
        if options.cache_type == "float16" and stage == "last-block" and training.half_precision is None:
            training.half_precision = self._change_by_half_precision(rest, valid)
        done = run_stage(rest, batches, valid, loss, settings, state, hooks)
        last = probabilities_of(rest, valid)
        rest.set_weights(done.best)
        self.stages.append(
            TrainedStage(
                stage,
                done.epoch,
                done.best_epoch,
                rate,
                _n_trainable(rest),
                done.stopped_by or "epochs",  # type: ignore[arg-type]
            )
        )
        return last

    def _valid_images(self) -> Any:
        from cxr_cli.models.datasets import StoreDataset

        return StoreDataset(self.training.data["valid"].store, self.options.batch_size)

    def _after_epoch(self, number: int, state: StageState) -> None:
        row = state.history[-1]
        if not self.epochs:
            self.initial_loss = row["valid_loss"]
        self.epochs.append(Epoch(**row))
        self._write_checkpoint(number, state)

    def _evaluate(self, probabilities: Array) -> dict[str, Any]:
        data = self.training.data["valid"]
        areas = auroc(data.labels, probabilities)
        precisions = average_precision(data.labels, probabilities)
        known = ~np.isnan(areas)
        worst = int(np.nanargmin(areas)) if known.any() else None
        return {
            "valid_loss": mean_loss(data.labels, probabilities, self.training.result.loss),
            "valid_auroc": float(mean_of_known(areas[None])[0]),
            "valid_auprc": float(mean_of_known(precisions[None])[0]),
            "worst": None if worst is None else self.training.card.pathologies[worst],
            "worst_auroc": float("nan") if worst is None else float(areas[worst]),
        }

    def _change_by_half_precision(self, rest: keras.Model, cached_half: Array) -> float:
        """Return by how much the mean AUROC changes when activations are rounded to float16."""
        from cxr_cli.models.training import probabilities_of

        exact = probabilities_of(self.model, self._valid_images())
        rounded = probabilities_of(rest, cached_half)
        return float(self._evaluate(rounded)["valid_auroc"] - self._evaluate(exact)["valid_auroc"])

    # --- afterwards

    def _finish(self, last: Array) -> TrainRun:
        from cxr_cli.models.densenet import compile_densenet
        from cxr_cli.models.metrics import PathologyRanking
        from cxr_cli.models.saving import save_model
        from cxr_cli.models.training import keras_loss, probabilities_of

        training, outputs = self.training, self.training.outputs
        valid, card = training.data["valid"], training.card
        probabilities = probabilities_of(self.model, self._valid_images())
        values = self._evaluate(probabilities)
        sanity = self._judge(last)
        compile_densenet(
            self.model,
            keras_loss(training.result.loss, card.pathologies),
            learning_rate=training.result.learning_rates[-1],
            metrics=[PathologyRanking(card.pathologies)],
        )
        inside = Path(f"run-{self.seed}" if self.options.runs > 1 else "")
        target = outputs.folder / inside / "model.keras"
        with outputs.path(inside / target.name) as temporary:
            save_model(self.model, temporary)
            written = describe_input(temporary)
        saved = OutputFile(str(target), written.size, written.sha256)
        card_file = self._card(saved, values).write(outputs, target)
        history = outputs.write_text(inside / "history.csv", _csv(self.epochs))
        predicted = Predictions(
            images=tuple(valid.store.index["image"].astype(str)),
            pathologies=card.pathologies,
            probabilities=probabilities,
            patients=valid.patients if valid.patients_known else None,
        )
        predictions = predicted.write(outputs, inside / "valid-predictions.csv")
        if self.stages[-1].stopped_by != "time limit":
            self.checkpoint.unlink(missing_ok=True)
        return TrainRun(
            seed=self.seed,
            model=saved,
            model_card=str(card_file),
            history=str(history),
            predictions=str(predictions),
            stages=tuple(self.stages),
            auroc=values["valid_auroc"],
            auprc=values["valid_auprc"],
            pathologies=_scores(valid, probabilities, card),
            epochs=tuple(self.epochs),
            sanity=sanity,
        )

    def _judge(self, last: Array) -> Sanity:
        training = self.training
        valid = training.data["valid"]
        chance = against_chance(valid, last, self.options.n_draws, self.options.seed)
        constant = best_constant(training.data["train"].labels, training.result.loss)
        causes = look_at(
            training.card,
            training.data["train"],
            valid,
            training.result.learning_rates,
            base_trained="all" in self.options.stages,
        )
        # Where no epoch was better than the start, the model kept is the untrained one.
        kept = training.head_bias is None or any(stage.best_epoch for stage in self.stages)
        learnt = chance.learnt and kept
        if not kept:
            causes = ("no epoch was better than the start: a lower learning rate, or more patience", *causes)
        return Sanity(
            learnt=learnt,
            auroc=chance.auroc,
            low=chance.low,
            high=chance.high,
            n_draws=chance.n_draws,
            initial_loss=self.initial_loss,
            constant_loss=mean_loss(valid.labels, np.broadcast_to(constant, valid.labels.shape), training.result.loss),
            look_at=() if learnt else causes,
        )

    def _card(self, saved: OutputFile, values: Mapping[str, Any]) -> ModelCard:
        training, options = self.training, self.options
        result, card = training.result, training.card
        from cxr_cli.models.training import FREEZE

        return replace(
            card,
            model=saved,
            loss=result.loss,
            freeze=FREEZE[options.stages[-1]],
            learning_rate=result.learning_rates[-1],
            training=Training(
                train=result.train,
                valid=result.valid,
                patients_checked=result.patients_checked and not result.shared_patients,
                initialised_from=result.model,
                head_bias="as loaded" if training.head_bias is None else "prevalence",
                stages=tuple(self.stages),
                optimizer="Adam",
                batch_size=options.batch_size,
                augment=options.augment,
                epochs=options.epochs,
                monitor=options.monitor,
                patience=options.patience,
                seed=self.seed,
                auroc=values["valid_auroc"],
                auprc=values["valid_auprc"],
                warnings=result.warnings,
            ),
            command="train",
        )


def _with_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    numbers = ("loss", "valid_loss", "valid_auroc", "valid_auprc", "worst_auroc")
    return {name: float("nan") if value is None and name in numbers else value for name, value in row.items()}


def _ranges(options: TrainOptions) -> Any:
    from cxr_cli.services.train.augmentation import Ranges

    if not options.augment:
        return None
    flip = "flip" in options.augment
    return Ranges(flip=flip) if "geometric" in options.augment else Ranges(0.0, 0.0, 0.0, flip)


def _n_trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _csv(epochs: Sequence[Epoch]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = list(Epoch.__dataclass_fields__)
    rows.writerow(names)
    for epoch in epochs:
        values = [getattr(epoch, name) for name in names]
        rows.writerow(["" if value is None or value != value else value for value in values])
    return text.getvalue()


def _scores(data: TrainingData, probabilities: Array, card: ModelCard) -> tuple[PathologyScore, ...]:
    areas = auroc(data.labels, probabilities)
    precisions = average_precision(data.labels, probabilities)
    positive, negative = (data.labels == 1).sum(axis=0), (data.labels == 0).sum(axis=0)
    columns = zip(card.pathologies, positive, negative, areas, precisions, strict=True)
    return tuple(PathologyScore(name, int(p), int(n), float(a), float(v)) for name, p, n, a, v in columns)
