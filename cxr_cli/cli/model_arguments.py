"""Arguments of the commands that run a saved model on images, and their first steps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.cli import console
from cxr_cli.cli.options import refuse_useless
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import TableOptions

if TYPE_CHECKING:
    from cxr_cli.data.labels import LabelTable

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Saved by cxr train or cxr build-model.", show_default=False)
]
ImagesOfArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGES",
        help="A store of cxr preprocess, a label table with --images, or a folder of images.",
        show_default=False,
    ),
]


def folder_or_table(
    given: Path, images: Path | None, how: TableOptions, *, other_table: bool = False
) -> Path | LabelTable:
    """Return the folder of images or of a store as given, or the label table that was given instead.

    Parameters
    ----------
    given, images
        IMAGES and ``--images``.
    how
        How a table is read.
    other_table
        Whether another table is read so too.

    Raises
    ------
    UsageError
        An option of label tables beside a folder.
    """
    if given.is_dir():
        refuse_useless("with a folder", images=images, **({} if other_table else how.given()))
        return given
    return read_table(given, how, allow_unsafe_names=True, quiet=True)


def start_keras() -> None:
    """Load Keras and TensorFlow, without their greetings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with console.quiet_libraries():
        from cxr_cli.services import keras_backend

        keras_backend.start_keras()
