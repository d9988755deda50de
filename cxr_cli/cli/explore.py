"""``cxr explore``: what is in a label table and its images."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.cli import console
from cxr_cli.cli.options import (
    COMPUTE,
    ClusterOption,
    ImagesOption,
    JsonOption,
    LabelsArgument,
    NoPlotsOption,
    OutputOption,
    SeedOption,
    WindowOption,
    WorkersOption,
    open_outputs,
    option,
    refuse_useless,
)
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.services.explore.dicom import DicomFacts
    from cxr_cli.services.explore.result import ExploreResult


@with_table_options
def explore(
    labels: LabelsArgument,
    images: ImagesOption = None,
    how: TableOptions = RECOGNISED,
    n_images: Annotated[
        int, option("--n-images", "How many random images to open and show.", metavar="N", panel=COMPUTE, min=0)
    ] = 9,
    check_images: Annotated[
        bool, option("--check-images", "Open every image, not only the random ones.", panel=COMPUTE)
    ] = False,
    window: WindowOption = None,
    seed: SeedOption = 0,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Show what is in a label table and its images: issues, possible shortcuts, counts, patients, pathologies.

    Exit code 1: some opened images are broken, or a name could mean several. Missing images are counted only.

    Example: `cxr explore train-small.csv --images images-small --check-images`
    """
    from cxr_cli.cli.tables.explore import tables_of
    from cxr_cli.data.dicom.grey import read_window, window_text
    from cxr_cli.data.folders import find_image_folder
    from cxr_cli.services.explore import explore as service

    if not check_images:
        refuse_useless("without --check-images", cluster=cluster)
    chosen_window = window_text(read_window(window))
    table = read_table(labels, how, allow_image_list=True, quiet=True)
    folder = find_image_folder(labels, images, names=table.image_folders, example=table.images[0])
    if check_images and folder is None:
        raise UsageError("--check-images: no image folder was found beside the table", remedy="Give one with --images.")
    outputs = open_outputs(output, "explore", table.sources, no_plots=no_plots, images=folder)
    with ExitStack() as stack:
        executor = progress = None
        if check_images:
            from cxr_cli.services.cluster import open_executor

            executor = stack.enter_context(open_executor(workers, cluster))
            progress = stack.enter_context(console.progress_bar("Opening images"))
        result = service.explore(
            table,
            folder,
            n_images=n_images,
            seed=seed,
            check_images=check_images,
            window=chosen_window,
            executor=executor,
            progress=progress,
            outputs=outputs,
        )
    console.show("explore", result, tables_of, as_json=as_json, inputs=table.sources, outputs=outputs)
    _say(result, check_images, window)
    if result.images is not None and (result.images.check.n_broken or result.images.n_ambiguous):
        raise typer.Exit(1)


def _say(result: ExploreResult, check_images: bool, window: str | None) -> None:
    survey = result.images
    if survey is None:
        console.note("no image folder was found beside the table, so no image was opened; give one with --images")
        return
    if survey.n_missing:
        say = console.note if survey.n_found else console.warn
        say(f"{survey.n_missing:,} of {survey.n_named:,} images named in the table are not in {survey.folder}")
    for note in survey.notes:
        console.note(note)
    if survey.n_ambiguous:
        names = "1 image name does" if survey.n_ambiguous == 1 else f"{survey.n_ambiguous:,} image names do"
        console.warn(f"{names} not say which file is meant: not opened")
    if survey.check.n_broken:
        console.warn(f"{survey.check.n_broken:,} of the images opened are broken")
    if survey.dicom is not None:
        _say_of_headers(survey.dicom)
    elif window is not None:
        console.note("none of the images is DICOM, so --window changes nothing")
    if not check_images and survey.n_found > survey.check.n_opened + survey.check.n_broken:
        console.note(f"{survey.n_found:,} images were found; --check-images opens all of them")


def _say_of_headers(facts: DicomFacts) -> None:
    of = f"of {facts.n_files:,} DICOM files"
    for count, what in (
        (facts.n_lateral, "are lateral views"),
        (facts.n_other_modality, "are of another modality than CR and DX"),
        (facts.n_without_pixels, "have no pixel data"),
        (facts.n_several_frames, "have several frames and are refused"),
        (facts.n_burnt_in, "declare annotations burnt into their pixels"),
    ):
        if count:
            console.warn(f"{count:,} {of} {what}")
    if facts.n_patient_data:
        tags = ", ".join(f"{keyword} {count:,}" for keyword, count in facts.patient_data.items())
        console.warn(
            f"{facts.n_patient_data:,} {of} hold patient data in their headers ({tags}); the values are not shown"
        )
