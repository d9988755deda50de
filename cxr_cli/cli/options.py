"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_cli.choices import UncertainPolicy
from cxr_cli.data.schemas import SCHEMAS
from cxr_cli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cxr_cli.data.files import InputFile, Outputs


def _any_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


# Path options are checked where the file is read, so that the library gives the same error as the command line.
LabelsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        help=f"Label table: {_any_of(schema.title.partition(' (')[0] for schema in SCHEMAS)}; .csv, .csv.gz or .zip.",
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Image folder, flat or nested as NIH ships it. Default: images-small/, images/ or images_001/… "
        "beside the table.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="DIR", help="Where files are written. Default: cxr-output/COMMAND/."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, metavar="N", help="Seed of everything random: the same seed, the same result.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
NoPlotsOption = Annotated[bool, typer.Option("--no-plots", help="Save no plots.")]
SchemaOption = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        help=f"Read the table as {_any_of(schema.name for schema in SCHEMAS)} instead of recognising it.",
    ),
]
UncertainOption = Annotated[
    UncertainPolicy,
    typer.Option("--uncertain", help="What an uncertain label (CheXpert's -1) becomes; ignore = not known."),
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="CENTRE,WIDTH|full",
        help="Window of DICOM images, in place of the one in each file; full: all values that can be stored.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Worker processes. Default: one per core."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Run on the workers of a Dask scheduler, such as tcp://host:8786, which see the same folders. "
        "Needs the extra 'cluster'.",
    ),
]


def output_folder(output: Path | None, command: str) -> Path:
    """Return the folder a command writes into.

    Raises
    ------
    OutputError
        It is a file: said before any work is done.
    """
    folder = Path("cxr-output") / command if output is None else output
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, not a folder to write into", remedy="Choose another --output.")
    return folder


#: Plots of each command: names that its output folder must not hold already, unless `cxr` drew them.
PLOTS: dict[str, tuple[str, ...]] = {
    "explore": (
        "label-distribution.png",
        "co-occurrence.png",
        "images-per-patient.png",
        "age-sex-view.png",
        "images.png",
        "intensities.png",
    ),
    "check-leakage": ("split-sizes.png", "near-duplicates.png"),
    "split": ("split.png",),
    "preprocess": ("distributions.png", "samples.png", "interpolations.png", "augmentation.png"),
    "weights": ("class-distribution.png", "contributions.png", "loss-shares.png"),
    "build-model": ("architecture.png", "depth.png"),
}


def open_outputs(
    output: Path | None,
    command: str,
    inputs: Iterable[InputFile],
    *,
    no_plots: bool,
    images: Path | None = None,
) -> Outputs:
    """Return what a command writes into, having looked that nothing stands in the way.

    Parameters
    ----------
    output
        ``--output`` as given. Without it and with `no_plots` the command keeps no ``result.json``.
    command
        Its name.
    inputs
        Its input files, never overwritten.
    no_plots
        ``--no-plots`` as given.
    images
        Its image folder, in which nothing is ever replaced.

    Raises
    ------
    OutputError
        The folder is a file, or holds a file that has the name of an output and is not ours.
    """
    from cxr_cli.data.files import RESULT, Outputs

    outputs = Outputs(
        output_folder(output, command),
        [item.path for item in inputs],
        images=images,
        plots=not no_plots,
        keeps_result=output is not None or not no_plots,
    )
    plots = () if no_plots else PLOTS.get(command, ())
    outputs.refuse_to_replace(*plots, *([RESULT] if outputs.keeps_result else []))
    return outputs


def refuse_useless(why: str, **options: object) -> None:
    """Raise UsageError for the first of the options that is given, for `why` ("without --images") it would do nothing.

    Only for options that promise something: --workers and the like stand in aliases, where they may come to nothing.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name.replace('_', '-')} is of no use {why}")


def image_size_option(what: str, more: str = "") -> Any:
    """Return the declaration of ``--image-size``: the size of what, and what else there is to say."""
    return typer.Option("--image-size", metavar="N|HxW", help=f"Height and width of the {what} in pixels{more}.")


def image_size(text: str) -> tuple[int, int]:
    """Read (height, width) in pixels from ``--image-size``: one number for both, or HEIGHTxWIDTH."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    if match is None:
        raise UsageError(f"--image-size {text}", expected="pixels, as 320, or HEIGHTxWIDTH")
    return int(match[1]), int(match[2] or match[1])
