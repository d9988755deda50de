"""The records of one table on their way to a LabelTable: its bytes, the roles of its columns, and what was noticed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.choices import ReadersPolicy, UncertainPolicy
from cxr_cli.data.account import ISSUE_ROWS, ColumnUse, Issue
from cxr_cli.data.cells import label_value
from cxr_cli.data.columns import Roles, assign
from cxr_cli.data.schemas import Schema
from cxr_cli.data.schemas.vocabulary import fold
from cxr_cli.data.tables import DELIMITERS, RawTable
from cxr_cli.errors import LabelTableError, shown


@dataclass(frozen=True)
class Reading:
    """The options of `cxr_cli.data.labels.read_labels`."""

    uncertain: UncertainPolicy = "ignore"
    readers: ReadersPolicy = "any"
    said: Mapping[str, tuple[str, ...]] | None = None
    join: tuple[Path, ...] = ()
    mapped: Mapping[str, str] = field(default_factory=dict)
    pattern: re.Pattern[str] | None = None
    unsafe_ok: bool = False


class Records:
    """The records of a file, read as a schema, and the issues that come up.

    Attributes
    ----------
    raw, schema, reading
        The file, as what it is read, and with which options.
    roles
        Which column is which.
    issues
        What was noticed so far.
    kept
        Which records are not empty; None where all are kept.
    """

    def __init__(self, raw: RawTable, schema: Schema, reading: Reading) -> None:
        self.raw = raw
        self.schema = schema
        self.reading = reading
        self.issues: list[Issue] = []
        self.kept: NDArray[np.bool_] | None = None
        self.roles: Roles = assign(raw.path, raw.names, schema, reading.said, self.distinct)

    def cells(self) -> pd.DataFrame:
        """Parse the file. Columns with few distinct values become categories: each value is understood only once."""
        roles, schema = self.roles, self.schema
        grouped = [roles.findings, roles.sex, roles.view, roles.lateral, roles.split, roles.reader, *roles.candidates]
        dtypes: dict[str, Any] = {name: "category" for name in grouped if name}
        if schema.parse_ages is None:
            dtypes.update(dict.fromkeys(roles.ages, "category"))
        if roles.image is not None:
            dtypes[roles.image] = str
        if schema.parse_labels is not None:
            dtypes.update({name: str for name in self.raw.names if fold(name) in map(fold, schema.required or ())})
        if roles.said:
            dtypes.update({name: "category" for name in roles.labels if not self.one_hot_said(name)})
        cells = self.raw.frame(dtypes)
        if len(cells) != self.raw.n_rows:
            # Should never be: read_table refuses what the two are known to read differently.
            raise LabelTableError(
                f"{self.raw.path}: {self.raw.n_rows:,} lines but {len(cells):,} rows",
                expected="one row on each line",
                remedy="Save it again as CSV in UTF-8.",
            )
        self._written_issues()
        if roles.image is not None and cells[roles.image].isna().any():
            empty = cells.isna().all(axis=1).to_numpy()
            if empty.any() and not empty.all():
                self.issue("blank-rows", "row without any cell: passed over", np.flatnonzero(empty))
                self.kept = ~empty
                cells = cells.loc[self.kept].reset_index(drop=True)
        return cells

    def distinct(self, name: str) -> list[str]:
        """Return the distinct texts of a column."""
        column = self.raw.frame({name: str}, [name])[name].dropna()
        return [str(text) for text in pd.unique(column)]

    @cached_property
    def texts(self) -> pd.DataFrame:
        """The columns that pandas may take for numbers or truth values, as text."""
        roles = self.roles
        names = [*roles.labels, *roles.nothing, *roles.open, *roles.candidates, roles.patient, roles.follow_up]
        chosen = [name for name in dict.fromkeys(names) if name]
        texts = self.raw.frame(dict.fromkeys(chosen, str), chosen)
        return texts if self.kept is None else texts.loc[self.kept].reset_index(drop=True)

    def _written_issues(self) -> None:
        for kind, message in self.unusual().items():
            self.issues.append(Issue(kind, message, 1))

    def unusual(self) -> dict[str, str]:
        """Return unusual features of the file: a kind of issue, and its message."""
        raw = self.raw
        found = {}
        if raw.encoding != "utf-8":
            found["utf-16"] = "the file is UTF-16: read, and written in the same encoding"
        if raw.delimiter != ",":
            found["delimiter"] = f"columns are separated by {DELIMITERS[raw.delimiter]}"
        if raw.decimal != ".":
            found["decimal-commas"] = "numbers are written with a decimal comma"
        if raw.n_formulas:
            found["formula-cells"] = f'cells written as ="…" are read without it ({raw.n_formulas:,} such cells)'
        empty = [use for use in self.roles.uses.values() if use.use == "empty"]
        surplus = max(raw.n_fields - len(raw.header), 0)
        if empty or surplus:
            found["empty-columns"] = f"columns without a name at the end of rows: passed over ({len(empty) + surplus})"
        if self.roles.uses.get(raw.names[0], ColumnUse("", "ignored")).use == "index":
            found["index-column"] = "the first column is an index that a program wrote: not used"
        return found

    def issue(self, kind: str, message: str, rows: NDArray[Any] | Sequence[int]) -> None:
        """Note an issue of some rows; none if there are no such rows."""
        if len(rows):
            first = np.asarray(rows[:ISSUE_ROWS])
            if self.kept is not None:  # rows of the file, not of what is left of it
                first = np.flatnonzero(self.kept)[first]
            self.issues.append(Issue(kind, message, len(rows), tuple(first.tolist())))

    def error(self, row: int, what: str, *, count: int, expected: str | None, remedy: str) -> LabelTableError:
        """Return the error of a row, with the number of rows like it."""
        more = f" ({count:,} such rows)" if count > 1 else ""
        return LabelTableError(
            f"{self.raw.path}: line {self.line(row)}: {what}{more}", expected=expected, remedy=remedy
        )

    def line(self, row: int) -> int:
        """Return the line of the file on which a row of the cells stands."""
        return self.raw.line(row if self.kept is None else int(np.flatnonzero(self.kept)[row]))

    def one_hot_said(self, name: str) -> bool:
        """Whether a column that the user called labels holds labels, and not names of findings.

        Each cell is a label, or some are and there are further columns of labels: then the others are errors.
        """
        values = np.array([label_value(text) for text in self.distinct(name)[:1000]])
        return not np.isinf(values).any() or (len(self.roles.labels) > 1 and bool(np.isin(values, (0.0, 1.0)).any()))


def listed(names: Sequence[str]) -> str:
    """Name the first ten columns."""
    return ", ".join(shown(name, 40) for name in names[:10]) + (f", … ({len(names)} in all)" if len(names) > 10 else "")


def some(written: Sequence[str], codes: Sequence[int]) -> str:
    """Name the first five of the cells with these codes."""
    return ", ".join(shown(written[code], 20) for code in codes[:5]) + (", …" if len(codes) > 5 else "")


def categorical(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as categories."""
    return column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")
