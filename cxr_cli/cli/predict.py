"""``cxr predict``: probabilities of a model for the images of a store, a table or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.cli import console
from cxr_cli.cli.model_arguments import ImagesOfArgument, ModelArgument, folder_or_table, start_keras
from cxr_cli.cli.options import (
    COMPUTE,
    OUTPUT,
    RUNNING,
    ImagesOption,
    JsonOption,
    WorkersOption,
    option,
    refuse_useless,
)
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.errors import OutputError

if TYPE_CHECKING:
    from cxr_cli.data.files import InputFile
    from cxr_cli.services.model_card import ModelCard
    from cxr_cli.services.sources import FileSource, StoreSource


@with_table_options
def predict(
    model: ModelArgument,
    images_of: ImagesOfArgument,
    images: ImagesOption = None,
    how: TableOptions = RECOGNISED,
    undo_class_weights: Annotated[
        Path | None,
        option(
            "--undo-class-weights",
            "Class weights of the training loss (a file of cxr weights, or a model card): correct the probabilities "
            "for them.",
            metavar="FILE",
            panel=COMPUTE,
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        option("--thresholds", "thresholds.json of cxr evaluate: write decisions too.", metavar="FILE", panel=COMPUTE),
    ] = None,
    rule: Annotated[
        str | None,
        option(
            "--rule",
            "Which of its thresholds: youden, best-f1, sensitivity-0.9 or specificity-0.9.",
            metavar="RULE",
            panel=COMPUTE,
            default="the one that the file names",
        ),
    ] = None,
    output: Annotated[Path, option("--output", "The predictions file.", metavar="FILE", panel=OUTPUT)] = Path(
        "cxr-output/predict/predictions.csv"
    ),
    as_json: JsonOption = False,
    batch_size: Annotated[
        int, option("--batch-size", "Images computed together.", metavar="N", panel=RUNNING, min=1)
    ] = 32,
    start_over: Annotated[
        bool,
        option("--start-over", "Discard an unfinished run instead of continuing it.", panel=RUNNING),
    ] = False,
    workers: WorkersOption = None,
) -> None:
    """Predict a probability per pathology for every image, prepared as the model card says.

    Example: `cxr predict cxr-output/train/model.keras test.csv --images images --output test-predictions.csv`

    An interrupted run continues when the command is repeated. Exit code 1: some images could not be read; a second
    file names them.
    """
    from cxr_cli.cli.tables.predict import tables_of
    from cxr_cli.data.class_weights import read_class_weights
    from cxr_cli.data.files import Outputs, describe_input, result_beside
    from cxr_cli.data.thresholds import read_thresholds
    from cxr_cli.services.model_card import read_model_card
    from cxr_cli.services.predict.predict import predict as service
    from cxr_cli.services.sources import open_images

    if thresholds is None:
        refuse_useless("without --thresholds", rule=rule)
    if output.is_dir():
        raise OutputError(f"{output}: is a folder", remedy="Name a file, such as --output predictions.csv.")
    card = read_model_card(model)
    source = open_images(folder_or_table(images_of, images, how), images, card, workers)
    options = [path for path in (undo_class_weights, thresholds) if path is not None]
    inputs: list[InputFile] = [describe_input(model), *source.inputs, *(describe_input(path) for path in options)]
    outputs = Outputs(output.parent, [item.path for item in inputs], result_file=result_beside(output))
    outputs.refuse_to_replace(output.name, result_beside(output).name)
    weights = None if undo_class_weights is None else read_class_weights(undo_class_weights)
    limits = None if thresholds is None else read_thresholds(thresholds)
    start_keras()
    with console.progress_bar("Predicting") as progress:
        result = service(
            model,
            source,
            outputs,
            output.name,
            undo_class_weights=weights,
            thresholds=limits,
            rule=rule,
            batch_size=batch_size,
            start_over=start_over,
            progress=progress,
        )
    console.show("predict", result, tables_of, as_json=as_json, inputs=inputs, outputs=outputs)
    _say(card, source, corrected=weights is not None, decided=limits is not None)
    if result.n_failed:
        console.warn(f"{result.n_failed:,} of {result.n_images:,} images have no prediction: {result.failures_file}")
        raise typer.Exit(1)


def _say(card: ModelCard, source: StoreSource | FileSource, *, corrected: bool, decided: bool) -> None:
    for text in getattr(source, "notes", ()):
        console.note(text)
    if card.training is None:
        console.warn("cxr did not train this model; the meaning of its probabilities is unknown")
    elif card.training.warnings:
        console.note("when the model was trained: " + "; ".join(card.training.warnings))
    if source.kind != "store" and card.preprocessing.interpolation is None:
        console.note("the model card does not say how images were resized: areas are averaged")
    if corrected and decided:
        console.warn("thresholds apply to the corrected probabilities: they must have been chosen on such")
