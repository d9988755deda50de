"""Predictions files: probabilities by a model of any framework, one row per image and one column per pathology."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.files import InputFile, Outputs
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.patient_ids import normal_patient_id
from cxr_cli.data.schemas import CHEXPERT_PATHOLOGIES, NIH_PATHOLOGIES, NO_FINDING
from cxr_cli.data.tables import RawTable, read_table
from cxr_cli.errors import InputError, argument, shown

Floats = NDArray[np.float64]

#: Names of the image column, folded: those of the data sets' own tables and of common training code.
IMAGE_COLUMNS = ("image", "imageindex", "path", "imagepath", "filename", "imagename", "imageid")
#: Names of the patient column, folded.
PATIENT_COLUMNS = ("patientid", "patient")
#: Columns of numbers that are parsed together.
_AT_ONCE = 4
#: What stands before or after the name of a pathology where a file marks its predictions.
PREFIXES, SUFFIXES = ("prob_", "pred_"), ("_pred", "_prob")


@dataclass(frozen=True)
class Predictions:
    """Predicted probabilities: what `read_predictions` reads and ``write`` writes.

    Attributes
    ----------
    images
        Image names, each once.
    pathologies
        Names of the columns of `probabilities`.
    probabilities
        Float64, shape (n_images, n_pathologies), finite. In [0, 1] unless the model gives something else (logits).
    patients
        Patient ids in normal form, "" where unknown; None if the file has none.
    labels
        Labels that stand in the same file, float64, shape (n_images, n_pathologies): 1 present, 0 absent, NaN unknown
        or without a column; None if the file has none.
    unused
        Columns of the file that were not read.
    source
        The file, its size and SHA-256; None if they come from no file.
    raw
        The records of the file, for messages that name a line.
    """

    images: tuple[str, ...]
    pathologies: tuple[str, ...]
    probabilities: Floats
    patients: tuple[str, ...] | None = None
    labels: Floats | None = None
    unused: tuple[str, ...] = ()
    source: InputFile | None = None
    raw: RawTable | None = field(default=None, repr=False, compare=False)

    @property
    def path(self) -> str:
        """The file, for messages."""
        return "predictions" if self.source is None else self.source.path

    def where(self, row: int) -> str:
        """Name a row for a message: the file and the line in it."""
        return self.path if self.raw is None else f"{self.path}: line {self.raw.line(row)}"

    def in_order(self, table: LabelTable) -> Predictions:
        """Return the predictions for the rows and columns of a label table, in its order.

        An image that the table names twice gets its prediction twice.

        Raises
        ------
        InputError
            A pathology or an image is missing or is not in the table, or a value is outside [0, 1].
        """
        columns = self._columns(table)
        rows = self._rows(table)
        outside = np.argwhere(~((self.probabilities >= 0) & (self.probabilities <= 1)))
        if len(outside):
            row, column = outside[0]
            raise InputError(
                f"{self.where(int(row))}: column {self.pathologies[column]}: probability "
                f"{self.probabilities[row, column]:g} ({len(outside):,} such cells)",
                expected="a number from 0 to 1",
                remedy="If the model gives logits, put them through a sigmoid first.",
            )
        return replace(
            self,
            images=tuple(table.images),
            pathologies=table.pathologies,
            probabilities=self.probabilities[np.ix_(rows, columns)],
            patients=None if self.patients is None else tuple(self.patients[row] for row in rows),
            labels=None if self.labels is None else self.labels[np.ix_(rows, columns)],
            raw=None,
        )

    def _columns(self, table: LabelTable) -> list[int]:
        place = {folded(name): index for index, name in enumerate(self.pathologies)}
        expected = f"the pathologies of {table.path}: {', '.join(table.pathologies)}"
        wanted = [folded(name) for name in table.pathologies]
        missing = [name for name in table.pathologies if folded(name) not in place]
        extra = [name for name in self.pathologies if folded(name) not in wanted and name != NO_FINDING]
        for names, what in (
            (missing, "no column for pathology"),
            (extra, "not a pathology of the label table: column"),
        ):
            if names:
                more = f" ({len(names)} such columns)" if len(names) > 1 else ""
                raise InputError(
                    f"{self.path}: line 1: {what} {shown(names[0])}{more}",
                    expected=expected,
                    remedy="Give one column of probabilities for each pathology.",
                )
        return [place[name] for name in wanted]

    def _rows(self, table: LabelTable) -> list[int]:
        place = {name: row for row, name in enumerate(self.images)}
        known = set(table.images)
        foreign = [row for row, name in enumerate(self.images) if name not in known]
        if foreign:
            raise InputError(
                f"{self.where(foreign[0])}: image '{shown(self.images[foreign[0]])}' is not in the label table "
                f"({len(foreign):,} such rows)",
                expected=f"one row for each image of {table.path}",
                remedy="The predictions must be for the images of this label table.",
            )
        missing = [name for name in table.images if name not in place]
        if missing:
            raise InputError(
                f"{self.path}: no prediction for image '{shown(missing[0])}' ({len(missing):,} such images)",
                expected=f"one row for each image of {table.path}",
                remedy="Predict the missing images, or give the label table of the images that were predicted.",
            )
        return [place[name] for name in table.images]

    def write(self, outputs: Outputs, name: str | Path) -> Path:
        """Write a CSV with the columns Image, patient_id (where known) and one per pathology; return its path.

        Numbers are written with as many digits as it takes to read the same value back.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        patients = [] if self.patients is None else ["patient_id"]
        rows.writerow(["Image", *patients, *self.pathologies])
        for row, (image, values) in enumerate(zip(self.images, self.probabilities, strict=True)):
            patient = [] if self.patients is None else [self.patients[row]]
            # str of a NumPy number is the shortest text of its own precision, also where that is float32.
            rows.writerow([image, *patient, *map(str, values)])
        return outputs.write_text(name, text.getvalue())


def read_predictions(path: Path | str, pathologies: Sequence[str] = ()) -> Predictions:
    """Read a CSV of predictions: an image column and one column per pathology, in any order.

    Columns of predictions may be marked (``Mass_pred``, ``prob_Mass``); then a column ``Mass`` beside them holds the
    labels. Upper case, blanks and underscores in names do not count. Columns of any other meaning are left out and
    listed as unused.

    Parameters
    ----------
    path
        The file; ``.csv``, ``.csv.gz`` or ``.zip``.
    pathologies
        Names to look for besides those of ChestX-ray14 and CheXpert; the result spells them as given here.

    Raises
    ------
    InputError
        The file is missing or not a table; it has no image column or several, or no column of a pathology; an image is
        blank or stands there twice; a prediction is blank or not a finite number, or a label is not 0, 1 or blank. The
        first such line is named.
    """
    raw = read_table(Path(path))
    image = _image_column(raw)
    patient = next((name for name in raw.header if folded(name) in PATIENT_COLUMNS), None)
    predicted, labelled = _columns(raw, pathologies)
    if not predicted:
        raise InputError(
            f"{raw.path}: line 1: no column of predictions: {', '.join(shown(name) for name in raw.header[:20])}",
            expected="one column for each pathology, named as in the label table, such as Mass, Mass_pred or prob_Mass",
            remedy="Name the columns by their pathologies.",
        )
    used = [image, *([patient] if patient else []), *predicted.values(), *labelled.values()]
    cells = _texts(raw, used[: len(used) - len(predicted) - len(labelled)])
    names = cells[image].fillna("").str.strip().tolist()
    _check_images(raw, image, names)
    values = np.empty((raw.n_rows, len(predicted)))
    columns = list(predicted.values())
    # A few at a time: as text, the numbers of a large file take several times the memory.
    for start in range(0, len(columns), _AT_ONCE):
        texts = _texts(raw, columns[start : start + _AT_ONCE])
        for place, column in enumerate(columns[start : start + _AT_ONCE], start):
            values[:, place] = _numbers(raw, column, texts[column].tolist())
    labels = None
    if labelled:
        texts = _texts(raw, list(labelled.values()))
        labels = np.full(values.shape, np.nan)
        for place, name in enumerate(predicted):
            if name in labelled:
                labels[:, place] = _labels(raw, labelled[name], texts[labelled[name]].tolist())
    return Predictions(
        images=tuple(names),
        pathologies=tuple(predicted),
        probabilities=values,
        patients=tuple(normal_patient_id(item) for item in cells[patient].fillna("")) if patient else None,
        labels=labels,
        unused=tuple(name for name in raw.header if name and name not in used),
        source=raw.source,
        raw=raw,
    )


def folded(name: str) -> str:
    """Return a name without what tables spell differently.

    Examples
    --------
    >>> folded("Pleural_Thickening") == folded("pleural thickening")
    True
    """
    return re.sub(r"[\s_-]+", "", name).casefold()


def _image_column(raw: RawTable) -> str:
    found = [name for name in raw.header if folded(name) in IMAGE_COLUMNS]
    if len(found) != 1:
        what = f"columns {', '.join(found)} could both name the image" if found else "no image column"
        raise InputError(
            f"{raw.path}: line 1: {what}",
            expected="one column Image (or Image Index, or Path)",
            remedy="Name the column that holds the image names Image.",
        )
    return found[0]


def _columns(raw: RawTable, pathologies: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the columns of predictions and of labels by pathology, in the order of the file."""
    vocabulary = {folded(name): name for name in (*CHEXPERT_PATHOLOGIES, *NIH_PATHOLOGIES, NO_FINDING, *pathologies)}
    # What a marked column is named after is a pathology too, and a plain column of that name holds its labels.
    for name in raw.header:
        bare = _unmarked(name)
        if bare is not None:
            vocabulary.setdefault(folded(bare), bare)
    marked: dict[str, str] = {}
    plain: dict[str, str] = {}
    for name in raw.header:
        bare = _unmarked(name)
        if bare is None and folded(name) not in vocabulary:
            continue
        pathology = vocabulary[folded(name if bare is None else bare)]
        columns = plain if bare is None else marked
        if pathology in columns:
            raise InputError(
                f"{raw.path}: line 1: columns {shown(columns[pathology])} and {shown(name)} are the same pathology",
                expected="one column for each pathology",
                remedy="Remove one of them.",
            )
        columns[pathology] = name
    if not marked:
        return plain, {}
    return marked, {name: column for name, column in plain.items() if name in marked}


def _unmarked(name: str) -> str | None:
    """Return the pathology of a column that is marked as predictions; None if it is not."""
    lower = name.casefold()
    for prefix in PREFIXES:
        if lower.startswith(prefix):
            return name[len(prefix) :]
    for suffix in SUFFIXES:
        if lower.endswith(suffix):
            return name[: -len(suffix)]
    return None


def _check_images(raw: RawTable, column: str, names: list[str]) -> None:
    seen: set[str] = set()
    for row, name in enumerate(names):
        if not name or name in seen:
            what = f"image '{shown(name)}' is there for the second time" if name else f"no image in column {column}"
            raise InputError(
                f"{raw.path}: line {raw.line(row)}: {what}",
                expected="one row for each image",
                remedy="Remove the row.",
            )
        seen.add(name)


def _numbers(raw: RawTable, column: str, cells: list[str | float]) -> Floats:
    """Read a column exactly: pandas' parser is off in the last digit of some numbers."""
    try:
        values = np.array(cells, dtype=object).astype(np.float64)
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        cell = cells[int(bad[0])]
        written = shown(cell) if isinstance(cell, str) else "blank"
        raise InputError(
            f"{raw.path}: line {raw.line(int(bad[0]))}: column {column}: probability {written} "
            f"({len(bad):,} such cells)",
            expected="a finite number, from 0 to 1 if it is a probability",
            remedy="Predict this image again, or remove the row.",
        )
    return values


def _texts(raw: RawTable, columns: list[str]) -> pd.DataFrame:
    return raw.frame(dict.fromkeys(columns, str), columns)


def _labels(raw: RawTable, column: str, texts: list[str | float]) -> Floats:
    values = np.array([_number(text) if isinstance(text, str) and text.strip() else np.nan for text in texts])
    blank = np.array([not isinstance(text, str) or not text.strip() for text in texts], bool)
    bad = np.flatnonzero(~(blank | (values == 0) | (values == 1)))
    if len(bad):
        raise InputError(
            f"{raw.path}: line {raw.line(int(bad[0]))}: column {column}: label {shown(str(texts[int(bad[0])]))} "
            f"({len(bad):,} such cells)",
            expected="1, 0 or blank, because another column holds the predictions for this pathology",
            remedy=f"Correct the column, or give the {argument('labels')}.",
        )
    return values


def _number(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
