"""``cxr preprocess``: decode, resize, standardize and store the images of a table."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.choices import Engine, Interpolation, PixelType, Standardization, StoreFormat
from cxr_cli.cli import console
from cxr_cli.cli.options import (
    COMPUTE,
    OUTPUT,
    RUNNING,
    ClusterOption,
    ImagesOption,
    JsonOption,
    LabelsArgument,
    NoPlotsOption,
    OutputOption,
    SeedOption,
    WindowOption,
    WorkersOption,
    image_size_option,
    open_outputs,
    option,
)
from cxr_cli.cli.options import image_size as read_image_size
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.errors import ImageError

if TYPE_CHECKING:
    from cxr_cli.data.files import Outputs
    from cxr_cli.data.labels import LabelTable
    from cxr_cli.services.preprocess.options import Options
    from cxr_cli.services.preprocess.result import PreprocessResult, Start


@with_table_options
def preprocess(
    labels: LabelsArgument,
    images: ImagesOption = None,
    how: TableOptions = RECOGNISED,
    image_size: Annotated[str, image_size_option("the result")] = "320",
    standardize: Annotated[
        Standardization,
        option(
            "--standardize",
            "samplewise: by each image's mean and deviation. featurewise: by those of the training table. imagenet: as "
            "DenseNet's preprocess_input. torchxrayvision: grey levels from -1024 to 1024. none: grey levels.",
            metavar="HOW",
            panel=COMPUTE,
        ),
    ] = "samplewise",
    statistics: Annotated[
        str | None,
        option(
            "--statistics",
            "For featurewise. fit: compute mean and deviation from this table (the training table). FILE: take them "
            "from the store of the training table (its folder, or its preprocess.json).",
            metavar="fit|FILE",
            panel=COMPUTE,
        ),
    ] = None,
    fit_sample: Annotated[
        int | None,
        option("--fit-sample", "Fit on N random images.", metavar="N", panel=COMPUTE, default="all", min=1),
    ] = None,
    interpolation: Annotated[
        Interpolation,
        option(
            "--interpolation",
            "area (averages), nearest (Keras' default; loses fine structure), bilinear, bicubic or lanczos.",
            metavar="HOW",
            panel=COMPUTE,
        ),
    ] = "area",
    window: WindowOption = None,
    engine: Annotated[
        Engine,
        option(
            "--engine",
            "fast; or keras: Keras' own ImageDataGenerator in one process, for comparison.",
            metavar="NAME",
            panel=COMPUTE,
        ),
    ] = "fast",
    n_images: Annotated[
        int, option("--n-images", "How many random images to compare and show.", metavar="N", panel=COMPUTE, min=0)
    ] = 4,
    seed: SeedOption = 0,
    format: Annotated[
        StoreFormat,
        option("--format", "npy (one array of all images) or png (one file per image).", metavar="KIND", panel=OUTPUT),
    ] = "npy",
    dtype: Annotated[
        PixelType | None,
        option(
            "--dtype",
            "float32 (standardized values) or uint8 (grey levels: a quarter of the size, standardized when read).",
            metavar="TYPE",
            panel=OUTPUT,
            default="float32; uint8 for PNGs",
        ),
    ] = None,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
    strict: Annotated[bool, option("--strict", "Stop at the first image that fails.", panel=RUNNING)] = False,
    start_over: Annotated[
        bool, option("--start-over", "Discard an unfinished run instead of continuing it.", panel=RUNNING)
    ] = False,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Decode, resize and standardize every image of a table into a store for training; compare before and after.

    An interrupted run continues when the command is repeated. Exit code 1: some images are missing or damaged; they
    are not in the store, and failures.csv names them.

    Example: `cxr preprocess train.csv --images images-small --image-size 320 --output store/train`
    """
    from cxr_cli.cli.tables.preprocess import tables_of
    from cxr_cli.data.dicom.grey import read_window, window_text
    from cxr_cli.data.folders import find_image_folder
    from cxr_cli.services.preprocess import options as preprocess_options
    from cxr_cli.services.store.recipe import Recipe

    chosen_dtype = dtype or ("uint8" if format == "png" else "float32")
    recipe = Recipe(
        image_size=read_image_size(image_size),
        standardize=standardize,
        interpolation=interpolation,
        dtype=chosen_dtype,
        format=format,
        window=window_text(read_window(window)),
    )
    source = None
    if statistics not in (None, "fit"):
        fitted, source = preprocess_options.read_statistics(Path(statistics), recipe)
        recipe = replace(recipe, statistics=fitted)
    options = preprocess_options.Options(
        recipe=recipe,
        engine=engine,
        fit_statistics=statistics == "fit",
        fit_sample=fit_sample,
        statistics_from=source,
        strict=strict,
        start_over=start_over,
        seed=seed,
        n_sample=n_images,
    )
    preprocess_options.check(options)
    table = read_table(labels, how, allow_unsafe_names=True)
    folder = find_image_folder(labels, images, names=table.image_folders, example=table.images[0])
    if folder is None:
        raise ImageError(f"{labels}: no image folder beside it", remedy="Give the image folder with --images.")
    inputs = [*table.sources, *([] if source is None else [source.manifest])]
    outputs = open_outputs(output, "preprocess", inputs, no_plots=no_plots, images=folder)
    if engine == "keras":
        from cxr_cli.services.keras_backend import require_tensorflow

        require_tensorflow()
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with console.quiet_libraries():
            import cxr_cli.models.generator  # noqa: F401
    result = _run(table, folder, outputs, options, workers, cluster)
    console.show("preprocess", result, tables_of, as_json=as_json, inputs=inputs, outputs=outputs)
    if result.n_repeated:
        rows = console.counted(result.n_repeated, "row")
        console.warn(f"{rows} of {result.n_images:,} name an image of an earlier row; it is stored once for each")
    if result.n_contradicting:
        told = console.counted(result.n_contradicting, "image")
        console.warn(f"{told} of the store: rows contradict each other in labels or patient")
    if result.n_failed:
        console.warn(f"{result.n_failed:,} of {result.n_images:,} images are not in the store: {result.failures_file}")
        raise typer.Exit(1)


def _run(
    table: LabelTable, folder: Path, outputs: Outputs, options: Options, workers: int | None, cluster: str | None
) -> PreprocessResult:
    from contextlib import ExitStack

    from cxr_cli.services.cluster import open_executor
    from cxr_cli.services.preprocess.preprocess import preprocess as run

    with ExitStack() as stack:
        # Local processes are the service's own: it knows how many are worth starting.
        executor = None if cluster is None else stack.enter_context(open_executor(workers, cluster))
        bars: list[console.Progress] = []

        def start(what: Start) -> None:
            _announce(what)
            bars.append(stack.enter_context(console.progress_bar("Preprocessing images")))

        return run(
            table,
            folder,
            outputs,
            options,
            workers=workers,
            executor=executor,
            progress=lambda done, total: bars[0](done, total),
            on_start=start,
        )


def _announce(start: Start) -> None:
    old = start.replaces
    if old is not None:
        made = f"{old.recipe.image_size[0]} × {old.recipe.image_size[1]}, {old.recipe.standardize}, {old.recipe.dtype}"
        stays = f"; {start.left_over} stays without an index; delete it" if start.left_over else ""
        console.note(
            f"replaces the store of {old.table.path} in {start.target.parent} ({old.n_done:,} images, {made}){stays}"
        )
    for note in start.notes:
        console.note(note)
    missing = f" ({start.n_missing:,} missing)" if start.n_missing else ""
    again = f", continuing after {start.n_done_before:,}" if start.n_done_before else ""
    console.note(
        f"preprocessing {start.n_images - start.n_missing:,} of {start.n_images:,} images{missing} into {start.target} "
        f"(up to {console.size(start.n_bytes)}){again}"
    )
