"""A model's predicted probabilities, read from CSV and matched with a label table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.files import InputFile
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.tables import RawTable, read_table
from cxr_cli.errors import InputError, shown

#: Names of the image column, in small letters: those of the data sets' own tables.
IMAGE_COLUMNS = ("image", "image index", "path")


@dataclass(frozen=True)
class Predictions:
    """Predicted probabilities in the order of a label table.

    Attributes
    ----------
    source
        The file, its size and SHA-256.
    probabilities
        Float64, shape (n_images, n_pathologies), in [0, 1]; rows and columns as in the label table.
    """

    source: InputFile
    probabilities: NDArray[np.float64]


def read_predictions(path: Path | str, table: LabelTable) -> Predictions:
    """Read a CSV of probabilities: a column of image names and one column per pathology of the label table.

    Rows and columns may stand in any order. An image that the label table names twice needs one prediction.

    Parameters
    ----------
    path
        The file; ``.csv``, ``.csv.gz`` or ``.zip``.
    table
        The label table that the predictions are for.

    Raises
    ------
    InputError
        The file is missing or no table; a pathology is missing or is none of the table's; an image is there twice,
        is not in the table or is missing; a probability is blank, no number or outside [0, 1]. The first such
        column or line is named.
    """
    raw = read_table(Path(path))
    image = _image_column(raw)
    _check_columns(raw, image, table)
    numbers = {name: np.float64 for name in table.pathologies}
    try:
        cells = raw.frame({image: str, **numbers})
    except InputError:
        # A cell that is no number: read as text, find it and name it.
        cells = raw.frame({image: str, **dict.fromkeys(table.pathologies, str)})
    names = cells[image].fillna("").str.strip()
    rows = _match_images(raw, image, names, table)
    values = np.column_stack([_probabilities(raw, name, cells[name]) for name in table.pathologies])
    return Predictions(raw.source, values[rows])


def _image_column(raw: RawTable) -> str:
    found = [name for name in raw.header if name.casefold() in IMAGE_COLUMNS]
    if len(found) != 1:
        what = f"columns {', '.join(found)} could both name the image" if found else "no image column"
        raise InputError(
            f"{raw.path}: line 1: {what}",
            expected="one column Image (or Image Index, or Path)",
            remedy="Name the column that holds the image names Image.",
        )
    return found[0]


def _check_columns(raw: RawTable, image: str, table: LabelTable) -> None:
    expected = f"the pathologies of {table.path}: {', '.join(table.pathologies)}"
    missing = [name for name in table.pathologies if name not in raw.header]
    extra = [name for name in raw.header if name not in (image, "") and name not in table.pathologies]
    for names, what in ((missing, "no column for pathology"), (extra, "not a pathology of the label table: column")):
        if names:
            more = f" ({len(names)} such columns)" if len(names) > 1 else ""
            raise InputError(
                f"{raw.path}: line 1: {what} {shown(names[0])}{more}",
                expected=expected,
                remedy="Give one column of probabilities for each pathology and nothing else but the image.",
            )


def _match_images(raw: RawTable, column: str, names: pd.Series[str], table: LabelTable) -> NDArray[np.intp]:
    """Return the row of the predictions for each row of the label table."""

    def fail(row: int, what: str) -> InputError:
        return InputError(
            f"{raw.path}: line {raw.line(row)}: {what}",
            expected=f"one row for each image of {table.path}",
            remedy=f"Check column {column}: the predictions must be for the images of this label table.",
        )

    index = pd.Index(names)
    repeated = np.flatnonzero(index.duplicated())
    if len(repeated):
        raise fail(int(repeated[0]), f"image '{shown(names.iloc[repeated[0]])}' is there for the second time")
    foreign = np.flatnonzero(~index.isin(table.images))
    if len(foreign):
        raise fail(
            int(foreign[0]),
            f"image '{shown(names.iloc[foreign[0]])}' is not in the label table ({len(foreign):,} such rows)",
        )
    rows = index.get_indexer(pd.Index(table.images))
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise InputError(
            f"{raw.path}: no prediction for image '{shown(table.images[missing[0]])}' ({len(missing):,} such images)",
            expected=f"one row for each image of {table.path}",
            remedy="Predict the missing images, or give the label table of the images that were predicted.",
        )
    return rows


def _probabilities(raw: RawTable, name: str, column: pd.Series[float]) -> NDArray[np.float64]:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(bad):
        cell = column.iloc[bad[0]]
        written = "blank" if pd.isna(cell) else shown(str(cell))
        raise InputError(
            f"{raw.path}: line {raw.line(int(bad[0]))}: column {name}: probability {written} ({len(bad):,} such cells)",
            expected="a number from 0 to 1",
            remedy="If the model gives logits, put them through a sigmoid first.",
        )
    return values
