"""``cxr explain``: where a model looks, measured against boxes drawn by radiologists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.choices import MapMethod
from cxr_cli.cli import console
from cxr_cli.cli.exits import BAD_NEWS
from cxr_cli.cli.model_arguments import ImagesOfArgument, ModelArgument, folder_or_table, start_keras
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    OUTPUT,
    RUNNING,
    ImagesOption,
    JsonOption,
    NoPlotsOption,
    OutputOption,
    SeedOption,
    WorkersOption,
    image_size,
    keep_results_of,
    open_outputs,
    option,
    refuse_useless,
)
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.cli.tables.explain import tables_of

if TYPE_CHECKING:
    from cxr_cli.services.explain.result import ExplainResult


@with_table_options
def explain(
    model: ModelArgument,
    images_of: ImagesOfArgument,
    images: ImagesOption = None,
    boxes: Annotated[
        Path | None,
        option("--boxes", "Box list, such as NIH's BBox_List_2017.csv.", metavar="FILE", panel=INPUT),
    ] = None,
    box_frame: Annotated[
        str | None,
        option(
            "--box-frame",
            "Height and width in pixels of the images on which the boxes were drawn.",
            metavar="HxW",
            panel=INPUT,
            default="the image files', or NIH's 1024 if the boxes reach beyond them",
        ),
    ] = None,
    train_labels: Annotated[
        Path | None,
        option(
            "--train-labels",
            "Label table that the model was trained on: images of its patients are refused.",
            metavar="TABLE",
            panel=INPUT,
        ),
    ] = None,
    allow_training_patients: Annotated[
        bool, option("--allow-training-patients", "Explain them all the same.", panel=INPUT)
    ] = False,
    how: TableOptions = RECOGNISED,
    pathologies: Annotated[
        str | None,
        option("--pathologies", "Names, as Mass,Nodule.", metavar="NAMES", panel=COMPUTE, default="all of the model's"),
    ] = None,
    method: Annotated[
        MapMethod,
        option(
            "--method",
            "cam: exact, needs average pooling and one dense layer; grad-cam: other heads; auto: cam if exact.",
            metavar="METHOD",
            panel=COMPUTE,
        ),
    ] = "auto",
    limit: Annotated[
        int | None,
        option(
            "--limit", "Explain at most N images, drawn at random.", metavar="N", panel=COMPUTE, min=1, default="all"
        ),
    ] = None,
    draws: Annotated[int, option("--draws", "Bootstrap draws.", metavar="N", panel=COMPUTE, min=1)] = 1000,
    confidence: Annotated[
        float, option("--confidence", "Confidence of the intervals.", metavar="C", panel=COMPUTE)
    ] = 0.95,
    seed: SeedOption = 0,
    n_images: Annotated[
        int, option("--n-images", "Images on the sheet of maps.", metavar="N", panel=OUTPUT, min=0)
    ] = 9,
    save_maps: Annotated[
        bool,
        option("--save-maps", "Save the maps of these images as float32 arrays of the images' size.", panel=OUTPUT),
    ] = False,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
    batch_size: Annotated[
        int, option("--batch-size", "Images that go through the model at a time.", metavar="N", panel=RUNNING, min=1)
    ] = 16,
    workers: WorkersOption = None,
) -> None:
    """Show where a model looks, and measure how well that fits boxes drawn by radiologists, beside control maps.

    Example: `cxr explain model.keras store --boxes BBox_List_2017.csv --train-labels train.csv`
    """
    from cxr_cli.data.files import describe_input

    refuse_useless("without --boxes", box_frame=None if boxes is not None else box_frame)
    refuse_useless("without --train-labels", allow_training_patients=allow_training_patients and train_labels is None)
    given = [describe_input(path) for path in (model, boxes, train_labels) if path is not None]
    folder = images_of if images_of.is_dir() else images
    outputs = open_outputs(output, "explain", given, no_plots=no_plots, images=folder)
    keep_results_of(outputs, images_of)
    source = folder_or_table(images_of, images, how, other_table=train_labels is not None)
    train = None if train_labels is None else read_table(train_labels, how, allow_unsafe_names=True, quiet=True)
    start_keras()
    from cxr_cli.services.explain.explain import explain as service
    from cxr_cli.services.explain.gather import ExplainOptions

    options = ExplainOptions(
        pathologies=None if pathologies is None else tuple(name.strip() for name in pathologies.split(",")),
        method=method,
        n_images=n_images,
        limit=limit,
        save_maps=save_maps,
        box_frame=None if box_frame is None else image_size(box_frame),
        batch_size=batch_size,
        n_draws=draws,
        confidence=confidence,
        seed=seed,
    )
    with console.progress_bar("Explaining") as progress:
        found, inputs = service(
            model,
            source,
            images=images,
            boxes=boxes,
            train_labels=train,
            allow_training_patients=allow_training_patients,
            options=options,
            outputs=outputs,
            workers=workers,
            progress=progress,
        )
    console.show("explain", found.result, tables_of, as_json=as_json, inputs=inputs, outputs=outputs)
    _say(found.result)


def _say(result: ExplainResult) -> None:
    for text in result.issues:
        console.note(text)
    for name, reason in list(result.failures.items())[:5]:
        console.warn(f"{name}: {reason}")
    if len(result.failures) > 5:
        console.warn(f"{len(result.failures) - 5:,} more images could not be read")
    if result.shows_nothing:
        console.warn(
            f"the maps of {', '.join(result.shows_nothing)} show nothing: they point no better than the mean box"
        )
    if result.shows_nothing or result.failures:
        raise typer.Exit(BAD_NEWS)
