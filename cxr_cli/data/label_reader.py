"""From raw cells to a LabelTable: roles of columns, labels, patients, and records brought together into images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.account import Issue, TableAccount
from cxr_cli.data.demographics import Demographics
from cxr_cli.data.joins import Joined, join_sources
from cxr_cli.data.label_columns import LabelColumns
from cxr_cli.data.labels import LabelTable, Links
from cxr_cli.data.names import UNSAFE, unsafe_names, why_unsafe
from cxr_cli.data.patient_column import PatientColumn
from cxr_cli.data.records import Reading, Records, listed
from cxr_cli.data.schemas import Schema
from cxr_cli.data.schemas.vocabulary import fold
from cxr_cli.data.tables import RawTable
from cxr_cli.data.together import Together, recoded
from cxr_cli.errors import Message, marked


def read_raw(raw: RawTable, schema: Schema, reading: Reading) -> LabelTable:
    """Read the records of a file as a schema; see `cxr_cli.data.labels.read_labels`."""
    return _Reader(raw, schema, reading).read()


#: How many notes on columns that are not used an issue quotes; the account has all of them.
_MOST_NOTES = 5


def inferred_type(column: pd.Series[Any], n_null: int) -> str:
    """Name the type that pandas infers for a column, which may have been parsed as text or as categories of text."""
    if n_null == len(column):
        return "float64"
    if isinstance(column.dtype, pd.CategoricalDtype):
        try:
            values = pd.to_numeric(column.cat.categories.to_series())
        except (ValueError, TypeError, OverflowError):
            return "str"
        return "float64" if n_null else str(values.dtype)
    return "str" if column.dtype.kind == "O" else str(column.dtype)


class _Reader:
    """One table on its way from raw cells to canonical columns, collecting issues."""

    def __init__(self, raw: RawTable, schema: Schema, reading: Reading) -> None:
        self.source = Records(raw, schema, reading)
        self.labels = LabelColumns(self.source)
        self.together = Together(self.source)

    def read(self) -> LabelTable:
        cells = self.source.cells()
        null_cells = tuple(int(column.isna().sum()) for _, column in cells.items())
        column_types = tuple(
            inferred_type(column, n_null) for (_, column), n_null in zip(cells.items(), null_cells, strict=True)
        )
        early = None if self.source.schema.name_image is not None else self._images(cells)
        labels = self.labels.read(cells)
        joined = join_sources(self.source.raw, cells, self.source.schema, self.source.reading.join)
        if joined.records is not None:
            cells = joined.cells
            labels = {name: values[joined.records] for name, values in labels.items()}
        else:
            cells = joined.cells
        self._joined_issues(joined)
        self._joined_roles(cells)
        images, names = self._images(cells) if early is None else early
        columns: dict[str, Any] = {"image": images}
        patients = PatientColumn(self.source, names)
        patient_codes, patient_ids, namespace = patients.read(cells)
        columns["patient_id"] = pd.Categorical.from_codes(patient_codes, pd.Index(patient_ids, dtype="str"))
        labels = self.labels.mapped(labels)
        self.labels.check_names(tuple(labels))
        columns.update(labels)
        columns.update(Demographics(self.source).read(cells))
        patients.check_file_names(patient_codes, patient_ids)
        frame = pd.DataFrame(columns, copy=False)
        links, aggregation = None, None
        if joined.records is not None:
            links = Links(joined.records, np.arange(len(frame), dtype=np.int64))
            aggregation = f"{len(frame):,} images from {self.source.raw.n_rows:,} studies"
        elif self.source.roles.boxes or self.source.roles.reader is not None:
            frame, links, aggregation = self.together.bring(frame, tuple(labels), cells)
            patient_codes, kept = recoded(frame["patient_id"])
            patient_ids = tuple(kept)
        else:
            self.together.check_duplicates(frame, names, patients.numbers, tuple(labels))
        if links is not None and self.source.kept is not None:
            links = replace(links, records=np.flatnonzero(self.source.kept)[links.records])
        elif self.source.kept is not None:
            links = Links(np.flatnonzero(self.source.kept).astype(np.int64), np.arange(len(frame), dtype=np.int64))
        account = self._account(frame, joined, links, aggregation, namespace, patient_codes, patients.without)
        return LabelTable(
            path=self.source.raw.path,
            source=self.source.raw.source,
            schema=self.source.schema.name,
            frame=frame,
            pathologies=tuple(labels),
            issues=tuple(self.source.issues),
            account=account,
            columns=self.source.raw.header,
            column_types=column_types,
            null_cells=null_cells,
            n_findings_written=self.labels.n_findings_written,
            uncertain=self.source.reading.uncertain,
            n_uncertain=self.labels.n_uncertain,
            patient_codes=patient_codes,
            patient_ids=patient_ids,
            raw=self.source.raw,
            links=links,
            sources=(self.source.raw.source, *joined.sources),
        )

    def _images(self, cells: pd.DataFrame) -> tuple[pd.Series[Any], list[str]]:
        """Return the name of each row's image, as a column and as a list."""
        roles, schema = self.source.roles, self.source.schema
        if schema.name_image is not None and roles.image is None:
            made = pd.Series(schema.name_image(cells), dtype="str")
            return made, made.tolist()
        assert roles.image is not None
        column = cells[roles.image]
        names = _stripped(column) if self.source.raw.has_stray_blanks else column
        texts = names.tolist()
        missing = names.isna().to_numpy()
        if missing.any() or not all(texts):
            blank = np.flatnonzero(missing | np.array([text == "" for text in texts]))
            raise self.source.error(
                int(blank[0]),
                f"no image in column {roles.image}",
                count=len(blank),
                expected="an image name in every row",
                remedy="Fill it in or remove the row.",
            )
        unsafe = unsafe_names(texts)
        absolute = [row for row in unsafe if _is_absolute(texts[row])]
        if absolute and len(absolute) == len(texts):
            self.source.issue(
                "absolute-image-names", "image names are absolute paths: no image is opened by them", absolute
            )
        elif unsafe and not self.source.reading.unsafe_ok:
            raise self.source.error(
                unsafe[0],
                f"image {why_unsafe(names.iloc[unsafe[0]])}",
                count=len(unsafe),
                expected="a name inside the image folder",
                remedy="Correct or remove the row; such files are never opened.",
            )
        else:
            self.source.issue("unsafe-image-name", UNSAFE, unsafe)
        return names, texts

    def _joined_roles(self, cells: pd.DataFrame) -> None:
        """Find the columns of demographics that further files brought."""
        roles, schema = self.source.roles, self.source.schema
        if len(cells.columns) == len(self.source.raw.names) and list(cells.columns) == self.source.raw.names:
            return
        present = {fold(name): str(name) for name in cells.columns}

        def first(candidates: Sequence[str]) -> str | None:
            return next((present[fold(name)] for name in candidates if fold(name) in present), None)

        roles.view = roles.view or first(schema.view)
        roles.sex = roles.sex or first(schema.sex)
        roles.split = roles.split or first(schema.split)
        if not roles.ages and schema.parse_ages is None:
            age = first(schema.age)
            roles.ages = (age,) if age else ()

    def _joined_issues(self, joined: Joined) -> None:
        for kind, message, count in joined.issues:
            self.source.issues.append(Issue(kind, message, count))

    def _account(
        self,
        frame: pd.DataFrame,
        joined: Joined,
        links: Links | None,
        aggregation: str | None,
        namespace: str | None,
        patient_codes: NDArray[np.int64],
        without: Mapping[str, NDArray[np.intp]],
    ) -> TableAccount:
        roles = self.source.roles
        names = self.source.raw.names
        uses = tuple(roles.uses[name] for name in names)
        unused = [use for use in uses if use.use == "not used"]
        if unused and (self.source.schema.any_table or any(use.note for use in unused)):
            notes = "; ".join(list(dict.fromkeys(marked(use.note) for use in unused if use.note))[:_MOST_NOTES])
            columns = "column" if len(unused) == 1 else "columns"
            message = f"{columns} not used: {listed([use.name for use in unused])}" + (f" ({notes})" if notes else "")
            self.source.issues.append(Issue("columns-not-used", Message(message), len(unused)))
        n_rows = self.source.raw.n_rows
        not_used = {}
        if self.source.kept is not None:
            not_used["row without any cell"] = int((~self.source.kept).sum())
        not_used.update(joined.not_used)
        describe = "images"
        if joined.records is not None:
            describe = "studies"
        elif roles.reader is not None:
            describe = "readers"
        elif roles.boxes:
            describe = "boxes"
        if roles.patient is not None:
            patients = f"column {roles.patient}"
        elif self.source.reading.pattern is not None or (patient_codes >= 0).any():
            patients = "image names"
        else:
            patients = "unknown"
        return TableAccount(
            columns=uses,
            rows_describe=describe,
            n_rows=n_rows,
            n_rows_used=n_rows - sum(not_used.values()),
            rows_not_used=not_used,
            n_images=len(frame) - sum(issue.count for issue in self.source.issues if issue.kind == "duplicate-image"),
            aggregation=aggregation,
            labels=self.labels.form,
            blank=self.source.schema.blank,
            patients=patients,
            patient_namespace=namespace if (patient_codes >= 0).any() else None,
            n_rows_without_patient=int((patient_codes < 0).sum()),
            why_without_patient={
                reason: int(len(rows) if self.together.first is None else np.isin(rows, self.together.first).sum())
                for reason, rows in without.items()
            },
            written_as=tuple(self.source.unusual().values()),
            joined=joined.described(),
            mapped=dict(self.source.reading.mapped),
        )


def _is_absolute(name: str) -> bool:
    return (
        re.match(r"[/\\]|[A-Za-z]:[/\\]", name) is not None
        and ".." not in re.split(r"[/\\]", name)
        and name.isprintable()
    )


def _stripped(column: pd.Series[Any]) -> pd.Series[Any]:
    # str.strip over 100,000 cells costs more than looking whether any cell needs it.
    values = column.tolist()
    if all(isinstance(value, str) and value == value.strip() for value in values):
        return column
    return pd.Series(
        [value.strip() if isinstance(value, str) else value for value in values], index=column.index, dtype=column.dtype
    )
