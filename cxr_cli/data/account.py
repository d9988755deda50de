"""The account of a table's reading: how every column, every row and every patient id was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: What a column was taken for. "ignored": known, and of no use here. "not used": nothing that is known.
Use = Literal[
    "image",
    "patient",
    "pathology",
    "findings",
    "no finding",
    "age",
    "sex",
    "view",
    "follow-up",
    "split",
    "reader",
    "box",
    "index",
    "empty",
    "ignored",
    "prediction",
    "not used",
]
#: How many rows an issue names; its count is always whole.
ISSUE_ROWS = 20


@dataclass(frozen=True)
class BaseIssue:
    """Something that whoever reads a result should know.

    Attributes
    ----------
    kind
        A short fixed name, for scripts.
    message
        One sentence for people.
    count
        How many rows, cells, columns, images or patients are concerned.
    """

    kind: str
    message: str
    count: int


@dataclass(frozen=True)
class Issue(BaseIssue):
    """Something in a table that was repaired, set to "unknown", or left as it is.

    Attributes
    ----------
    rows
        The first rows concerned, counted from 0 below the header (empty where a column is concerned).
    """

    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class ColumnUse:
    """How one column was read.

    Attributes
    ----------
    name
        As in the header; empty where it has none.
    use
        Its role, "ignored" (known, and of no use here), or "not used".
    note
        More about it: the pathology as which it was read, or how to use it; None where there is nothing to say.
    """

    name: str
    use: Use
    note: str | None = None


@dataclass(frozen=True)
class TableAccount:
    """The account of every column, row and patient id of a table.

    Attributes
    ----------
    columns
        In the order of the file.
    rows_describe
        Content of a row: "images", "boxes", "readers" (one reader's view of an image) or "studies".
    n_rows
        Rows of the file.
    n_rows_used
        Those that describe an image of the result.
    rows_not_used
        Why the others are not used, and how many for each reason.
    n_images
        Images that came out of them.
    aggregation
        How several rows became one image, for people ("15,000 images from 67,914 rows; any reader"); None where
        each row is an image.
    labels
        How labels are written: "one column per pathology", "list of findings", "one class", "none".
    blank
        Meaning of a blank label: "unknown" or "absent".
    patients
        Where patient ids come from: "column NAME", "image names", or "unknown".
    patient_namespace
        Numbering within which the ids can be compared ("nih"); None for a table of one's own.
    n_rows_without_patient
        Rows of the result whose patient is unknown.
    why_without_patient
        Why, and how many rows for each reason.
    written_as
        Unusual features of the file: encoding, separators, decimal commas, empty columns.
    joined
        Further files that were joined, each with the columns it brought.
    mapped
        Pathologies that were renamed on demand.
    """

    columns: tuple[ColumnUse, ...]
    rows_describe: str
    n_rows: int
    n_rows_used: int
    rows_not_used: Mapping[str, int]
    n_images: int
    aggregation: str | None
    labels: str
    blank: str
    patients: str
    patient_namespace: str | None
    n_rows_without_patient: int
    why_without_patient: Mapping[str, int]
    written_as: tuple[str, ...]
    joined: tuple[str, ...]
    mapped: Mapping[str, str]

    def named(self, use: str) -> tuple[str, ...]:
        """Return the columns of one use."""
        return tuple(column.name for column in self.columns if column.use == use)
