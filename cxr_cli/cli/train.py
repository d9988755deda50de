"""``cxr train``: from a store and a model to a trained model, with checks before and a verdict after."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.choices import CacheType, Loss, Monitor
from cxr_cli.cli import console
from cxr_cli.cli.model_arguments import ModelArgument, start_keras
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    OUTPUT,
    RUNNING,
    JsonOption,
    NoPlotsOption,
    OutputOption,
    SeedOption,
    keep_results_of,
    open_outputs,
    option,
)
from cxr_cli.data.names import in_print
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.services.train.result import Epoch, TrainResult
    from cxr_cli.services.train.train import Watch


def train(
    model: ModelArgument,
    train_store: Annotated[
        Path,
        typer.Option(
            "--train",
            metavar="STORE",
            help="Training images: an output folder of cxr preprocess.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ],
    valid_store: Annotated[
        Path,
        typer.Option(
            "--valid",
            metavar="STORE",
            help="Validation images, of other patients.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ],
    class_weights: Annotated[
        Path | None,
        option(
            "--class-weights",
            "File of 'cxr weights --save', for the loss weighted-bce.",
            metavar="FILE",
            panel=INPUT,
            default="the model's",
        ),
    ] = None,
    allow_leakage: Annotated[
        bool, option("--allow-leakage", "Train although both stores share patients or images.", panel=INPUT)
    ] = False,
    stages: Annotated[
        str,
        option(
            "--stages",
            "features: the head, on features computed once. last-block: the last dense block too, from activations "
            "computed once. all: everything; slow without a GPU. Each starts from the best of the one before.",
            metavar="A,B,…",
            panel=COMPUTE,
        ),
    ] = "features",
    epochs: Annotated[
        int, option("--epochs", "Train each stage for at most N epochs.", metavar="N", panel=COMPUTE, min=1)
    ] = 50,
    patience: Annotated[
        int,
        option("--patience", "End a stage after N epochs without a better one.", metavar="N", panel=COMPUTE, min=1),
    ] = 3,
    monitor: Annotated[
        Monitor,
        option(
            "--monitor",
            "What makes an epoch better on the validation images: auroc, auprc (means) or loss.",
            metavar="METRIC",
            panel=COMPUTE,
        ),
    ] = "auroc",
    learning_rate: Annotated[
        str | None,
        option(
            "--learning-rate",
            "Step size of Adam: one, or one for each stage.",
            metavar="R,…",
            panel=COMPUTE,
            default="the model's, and a tenth of it after features",
        ),
    ] = None,
    loss: Annotated[
        Loss | None,
        option(
            "--loss",
            "weighted-bce, binary-crossentropy or categorical-crossentropy (for exclusive classes only).",
            metavar="NAME",
            panel=COMPUTE,
            default="the model's",
        ),
    ] = None,
    augment: Annotated[
        str | None,
        option(
            "--augment",
            "flip: mirror half of the images, in every stage. geometric: rotate, shift and zoom, in stage all.",
            metavar="A,B",
            panel=COMPUTE,
            default="none",
        ),
    ] = None,
    batch_size: Annotated[int, option("--batch-size", "Images in a step.", metavar="N", panel=COMPUTE, min=1)] = 32,
    runs: Annotated[
        int,
        option(
            "--runs",
            "Train N times with seeds counted up; cxr evaluate compares them.",
            metavar="N",
            panel=COMPUTE,
            min=1,
        ),
    ] = 1,
    seed: SeedOption = 0,
    tensorboard: Annotated[bool, option("--tensorboard", "Write logs for TensorBoard.", panel=OUTPUT)] = False,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
    time_limit: Annotated[
        float | None,
        option(
            "--time-limit",
            "Begin no epoch after so many minutes; the same command continues later.",
            metavar="MINUTES",
            panel=RUNNING,
        ),
    ] = None,
    cache_type: Annotated[
        CacheType,
        option(
            "--cache-type",
            "How activations of last-block are kept: float32 (exact) or float16 (half the disk; the change of AUROC is "
            "measured).",
            metavar="TYPE",
            panel=RUNNING,
        ),
    ] = "float32",
) -> None:
    """Train a model on stored images, cheapest stage first, and judge whether it learnt anything.

    Example: `cxr train model.keras --train stores/train --valid stores/valid --stages features,last-block`

    An interrupted training continues when the command is repeated. Exit code 1: both stores share patients (nothing is
    trained), or the model did not learn.
    """
    from cxr_cli.cli.tables.train import tables_of
    from cxr_cli.data.class_weights import read_class_weights
    from cxr_cli.data.files import TRAINED, TRAINED_CARD, describe_input
    from cxr_cli.services.model_card import read_model_card
    from cxr_cli.services.train.options import TrainOptions
    from cxr_cli.services.train.train import train as service

    options = TrainOptions(
        stages=_list(stages),  # type: ignore[arg-type]
        epochs=epochs,
        patience=patience,
        monitor=monitor,
        batch_size=batch_size,
        augment=_list(augment),  # type: ignore[arg-type]
        learning_rate=_rates(learning_rate),
        loss=loss,
        class_weights=None if class_weights is None else read_class_weights(class_weights),
        seed=seed,
        runs=runs,
        allow_leakage=allow_leakage,
        time_limit=time_limit,
        cache_type=cache_type,
        tensorboard=tensorboard,
    )
    read_model_card(model)  # before seconds are spent on loading Keras
    inputs = [describe_input(path) for path in (model, *([] if class_weights is None else [class_weights]))]
    outputs = open_outputs(output, "train", inputs, no_plots=no_plots)
    names = [
        Path(f"run-{seed + n}" if runs > 1 else "") / name for n in range(runs) for name in (*TRAINED, TRAINED_CARD)
    ]
    outputs.refuse_to_replace(*names)
    keep_results_of(outputs, train_store, valid_store)
    start_keras()
    with ExitStack() as stack:
        watch = _watch(stack)
        result = service(model, train_store, valid_store, outputs, options, watch=watch)
    inputs += [result.train.store, result.valid.store]
    console.show("train", result, tables_of, as_json=as_json, inputs=inputs, outputs=outputs)
    _say(result)
    if not result.learnt:
        raise typer.Exit(1)


def _list(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(part.strip() for part in text.split(","))


def _rates(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _list(text))
    except ValueError:
        raise UsageError(f"--learning-rate {text}", expected="numbers, such as 0.001 or 0.001,0.0001") from None


def _watch(stack: ExitStack) -> Watch:
    """Show work as it goes: one bar at a time, a line for each epoch."""
    from cxr_cli.services.train.train import Watch

    bars = stack.enter_context(ExitStack())
    current: list[console.Progress] = [lambda done, total: None]

    def stage(what: str) -> None:
        bars.close()
        unit = "batches" if what.startswith("Training") else "images"
        current[0] = bars.enter_context(console.progress_bar(what, unit))

    return Watch(stage, lambda done, total: current[0](done, total), _say_epoch, console.note)


def _say_epoch(epoch: Epoch) -> None:
    worst = "" if epoch.worst is None else f", worst {epoch.worst_auroc:.3f} ({in_print(epoch.worst)})"
    trained = "" if epoch.epoch == 0 else f", loss {epoch.loss:.4f}"
    console.note(
        f"{epoch.stage} epoch {epoch.epoch}: AUROC {epoch.valid_auroc:.3f}{worst}, AUPRC {epoch.valid_auprc:.3f}, "
        f"validation loss {epoch.valid_loss:.4f}{trained}"
    )


def _say(result: TrainResult) -> None:
    for text in result.warnings:
        console.warn(text)
    if not result.trained:
        console.warn(
            f"nothing was trained: {console.counted(len(result.shared_patients), 'patient')} and "
            f"{console.counted(len(result.shared_images), 'image')} are in both stores; 'cxr check-leakage' removes "
            "them, --allow-leakage trains all the same"
        )
    for run in result.runs:
        sanity = run.sanity
        if sanity.initial_loss > 2 * sanity.constant_loss:
            console.warn(
                f"the loss began at {sanity.initial_loss:.3f}, a constant prediction has {sanity.constant_loss:.3f}: "
                "the head's inputs are far larger than they should be (standardization, pretrained weights)"
            )
        if run.stages[-1].stopped_by == "time limit":
            console.note("the time limit ended the training; the same command continues it")
        if not sanity.learnt:
            where = "lies below" if sanity.high < 0.5 else "holds"
            why = (
                f"the mean validation AUROC is {sanity.auroc:.3f}, and its interval over patients, {sanity.low:.3f} to "
                f"{sanity.high:.3f}, {where} 0.5"
                if not sanity.low > 0.5
                else "the untrained model was kept"
            )
            console.warn(
                f"nothing was learnt: {why}. Check, in this order:\n"
                + "\n".join(f"{number}. {cause}" for number, cause in enumerate(sanity.look_at, 1))
            )
