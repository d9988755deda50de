"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_cli.choices import ReadersPolicy, UncertainPolicy
from cxr_cli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cxr_cli.data.files import InputFile, Outputs


#: Panels of the help, in the order in which they are shown.
INPUT, COMPUTE, OUTPUT, RUNNING = "Input", "What to compute", "Output", "Running"


def option(
    name: str,
    help: str,
    *,
    panel: str,
    metavar: str = "",
    default: str | None = None,
    min: int | None = None,
) -> Any:
    """Declare an option.

    Parameters
    ----------
    name
        As typed: ``--seed``.
    help
        One or two sentences. Choices are named here, because `metavar` is one word.
    panel
        The panel of the help in which it stands.
    metavar
        What stands for the value; empty for a flag.
    default
        What happens without it, where the default is None.
    min
        Smallest number allowed.
    """
    return typer.Option(name, help=help, metavar=metavar, rich_help_panel=panel, min=min, show_default=default or True)


# Path options are checked where the file is read, so that the library gives the same error as the command line.
LabelsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        help="Label table of a public data set or of your own (.csv, .csv.gz or .zip), or a folder of images whose "
        "sub-folders are classes. Columns are recognised by words.",
        show_default=False,
    ),
]
ImagesOption = Annotated[
    Path | None,
    option(
        "--images",
        "Image folder, flat or nested.",
        metavar="DIR",
        panel=INPUT,
        default="images-small/, images/ or images_001/… beside the table",
    ),
]
SchemaOption = Annotated[
    str | None,
    option(
        "--schema",
        "Read the table in this format, such as nih, chexpert or course; an unknown name lists them all.",
        metavar="NAME",
        panel=INPUT,
        default="recognised",
    ),
]
ColumnsOption = Annotated[
    str | None,
    option(
        "--columns",
        "Which column is which: image=filename,patient=subject,labels=Mass+Nodule; also age, sex, view, split, reader, "
        "and negative for a class without finding.",
        metavar="KEY=NAME",
        panel=INPUT,
        default="recognised",
    ),
]
JoinOption = Annotated[
    list[Path] | None,
    option(
        "--join",
        "Further file of the data set: MIMIC's metadata and split, RSNA's headers. Repeatable.",
        metavar="FILE",
        panel=INPUT,
    ),
]
ReadersOption = Annotated[
    ReadersPolicy,
    option(
        "--readers",
        "How many readers of an image must see a finding: any, majority or all.",
        metavar="HOW",
        panel=INPUT,
    ),
]
PatientPatternOption = Annotated[
    str | None,
    option(
        "--patient-pattern",
        "Take patients from image names: a regular expression with the patient id as first group.",
        metavar="REGEX",
        panel=INPUT,
    ),
]
PatientMapOption = Annotated[
    Path | None,
    option(
        "--patient-map",
        "Who is who across data sets: CSV with two columns, or JSON as RSNA publishes it; ids or image names.",
        metavar="FILE",
        panel=INPUT,
    ),
]
MapOption = Annotated[
    str | None,
    option(
        "--map-pathologies",
        "Read pathologies under other names, such as Effusion=Pleural Effusion.",
        metavar="A=B",
        panel=INPUT,
    ),
]
UncertainOption = Annotated[
    UncertainPolicy,
    option(
        "--uncertain",
        "How to read uncertain labels (CheXpert's -1): ignore (as unknown), positive or negative.",
        metavar="POLICY",
        panel=INPUT,
    ),
]
WindowOption = Annotated[
    str | None,
    option(
        "--window",
        "Window of DICOM images: centre and width, or full for all values that can be stored.",
        metavar="C,W|full",
        panel=COMPUTE,
        default="the window in each file",
    ),
]
SeedOption = Annotated[
    int, option("--seed", "Random seed; the same seed gives the same result.", metavar="N", panel=COMPUTE, min=0)
]
OutputOption = Annotated[
    Path | None,
    option("--output", "Folder to write into.", metavar="DIR", panel=OUTPUT, default="cxr-output/COMMAND/"),
]
NoPlotsOption = Annotated[bool, option("--no-plots", "Draw no plots.", panel=OUTPUT)]
JsonOption = Annotated[bool, option("--json", "Print one JSON document instead of tables.", panel=OUTPUT)]
WorkersOption = Annotated[
    int | None,
    option("--workers", "Worker processes.", metavar="N", panel=RUNNING, default="one per core", min=1),
]
ClusterOption = Annotated[
    str | None,
    option(
        "--cluster",
        "Use the workers of a Dask scheduler, such as tcp://host:8786, which must see the same folders. Needs the "
        "extra 'cluster'.",
        metavar="ADDRESS",
        panel=RUNNING,
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
    "preprocess": ("distributions.png", "samples.png", "interpolations.png"),
    "weights": ("class-distribution.png", "contributions.png", "loss-shares.png"),
    "build-model": ("architecture.png", "depth.png"),
    "evaluate": ("roc.png", "precision-recall.png", "reliability.png", "forest.png"),
    "explain": ("maps.png", "outside.png", "localization.png"),
    "train": ("learning-curves.png",),
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


def keep_results_of(outputs: Outputs, *stores: Path) -> None:
    """Refuse to write into a store that is read: its ``result.json`` tells how it was made.

    Raises
    ------
    OutputError
        The output folder is one of the stores.
    """
    from cxr_cli.data.files import RESULT

    outputs.protect(inputs=[store / RESULT for store in stores])
    outputs.refuse_input(outputs.folder / RESULT)


def refuse_useless(why: str, **options: object) -> None:
    """Raise UsageError for the first of the options that is given, for `why` ("without --images") it would do nothing.

    Only for options that promise something: --workers and the like stand in aliases, where they may come to nothing.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name.replace('_', '-')} has no effect {why}")


def image_size_option(what: str, default: str | None = None) -> Any:
    """Return the declaration of ``--image-size``: the size of what."""
    return option(
        "--image-size", f"Height and width of {what} in pixels.", metavar="N|HxW", panel=COMPUTE, default=default
    )


def image_size(text: str) -> tuple[int, int]:
    """Read (height, width) in pixels from ``--image-size``: one number for both, or HEIGHTxWIDTH."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    if match is None:
        raise UsageError(f"--image-size {text} is not a size", remedy="Give pixels, such as 320 or 320x256.")
    return int(match[1]), int(match[2] or match[1])
