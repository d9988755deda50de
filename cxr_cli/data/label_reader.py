"""From raw cells to a LabelTable: roles of columns, labels, patients, and records brought together into images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.choices import ReadersPolicy, UncertainPolicy
from cxr_cli.data.account import ISSUE_ROWS, ColumnUse, Issue, TableAccount
from cxr_cli.data.cells import (
    MAX_AGE_YEARS,
    FindingLists,
    categories,
    label_value,
    label_values,
    looks_like_labels,
    numbers,
    read_ages,
    read_findings,
    read_sex,
    separators_of,
)
from cxr_cli.data.columns import Roles, assign
from cxr_cli.data.joins import Joined, join_sources
from cxr_cli.data.labels import (
    MAX_PATHOLOGIES,
    RESERVED,
    LabelTable,
    Links,
)
from cxr_cli.data.names import UNSAFE, unsafe_names, why_unsafe
from cxr_cli.data.patient_ids import clean_patient_ids, coded_ids, namespace_of, nih_numbers, patients_written_in_names
from cxr_cli.data.schemas import NO_FINDING, Schema
from cxr_cli.data.schemas.nih import NAMESPACE as NIH_NAMESPACE
from cxr_cli.data.schemas.vocabulary import fold
from cxr_cli.data.tables import DELIMITERS, RawTable
from cxr_cli.errors import LabelTableError, UsageError, argument, shown

Labels = NDArray[np.float32]
#: A class longer than this is free text, which is not a label.
LONGEST_CLASS = 60
#: More known one-hot columns than this beside a column of findings are read instead of it.
MANY_COLUMNS = 3


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


def read_raw(raw: RawTable, schema: Schema, reading: Reading) -> LabelTable:
    """Read the records of a file as a schema; see `cxr_cli.data.labels.read_labels`."""
    return _Reader(raw, schema, reading).read()


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
        self.raw = raw
        self.schema = schema
        self.reading = reading
        self.n_uncertain = 0
        self.n_findings_written: int | None = None
        self.issues: list[Issue] = []
        self.kept: NDArray[np.bool_] | None = None
        self.label_form = "none"
        self.without_patient: dict[str, NDArray[np.intp]] = {}
        self.first: NDArray[np.int64] | None = None
        self.roles: Roles = assign(raw.path, raw.names, schema, reading.said, self._distinct)

    def read(self) -> LabelTable:
        cells = self._cells()
        null_cells = tuple(int(column.isna().sum()) for _, column in cells.items())
        column_types = tuple(
            inferred_type(column, n_null) for (_, column), n_null in zip(cells.items(), null_cells, strict=True)
        )
        early = None if self.schema.name_image is not None else self._images(cells)
        labels = self._labels(cells)
        joined = join_sources(self.raw, cells, self.schema, self.reading.join)
        if joined.records is not None:
            cells = joined.cells
            labels = {name: values[joined.records] for name, values in labels.items()}
        else:
            cells = joined.cells
        self._joined_issues(joined)
        self._joined_roles(cells)
        columns: dict[str, Any] = {"image": self._images(cells) if early is None else early}
        names = columns["image"].tolist()
        numbers_ = nih_numbers(names) if self._may_be_nih() else np.full(len(names), -1, dtype=np.int64)
        patient_codes, patient_ids, namespace = self._patients(cells, columns["image"], numbers_)
        columns["patient_id"] = pd.Categorical.from_codes(patient_codes, pd.Index(patient_ids, dtype="str"))
        labels = self._mapped(labels)
        self._check_pathologies(tuple(labels))
        columns.update(labels)
        columns.update(self._demographics(cells))
        self._check_file_names(numbers_, patient_codes, patient_ids)
        frame = pd.DataFrame(columns, copy=False)
        links, aggregation = None, None
        if joined.records is not None:
            links = Links(joined.records, np.arange(len(frame), dtype=np.int64))
            aggregation = f"{len(frame):,} images from {self.raw.n_rows:,} studies"
        elif self.roles.boxes or self.roles.reader is not None:
            frame, links, aggregation = self._together(frame, tuple(labels), cells)
            patient_codes, kept = _recoded(frame["patient_id"])
            patient_ids = tuple(kept)
        else:
            self._check_duplicates(frame, numbers_, tuple(labels))
        if links is not None and self.kept is not None:
            links = replace(links, records=np.flatnonzero(self.kept)[links.records])
        elif self.kept is not None:
            links = Links(np.flatnonzero(self.kept).astype(np.int64), np.arange(len(frame), dtype=np.int64))
        account = self._account(frame, joined, links, aggregation, namespace, patient_codes)
        return LabelTable(
            path=self.raw.path,
            source=self.raw.source,
            schema=self.schema.name,
            frame=frame,
            pathologies=tuple(labels),
            issues=tuple(self.issues),
            account=account,
            columns=self.raw.header,
            column_types=column_types,
            null_cells=null_cells,
            n_findings_written=self.n_findings_written,
            uncertain=self.reading.uncertain,
            n_uncertain=self.n_uncertain,
            patient_codes=patient_codes,
            patient_ids=patient_ids,
            raw=self.raw,
            links=links,
            sources=(self.raw.source, *joined.sources),
        )

    # What the file says, as cells.

    def _cells(self) -> pd.DataFrame:
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
            dtypes.update({name: "category" for name in roles.labels if not self._one_hot_said(name)})
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
                self._issue("blank-rows", "row without any cell: passed over", np.flatnonzero(empty))
                self.kept = ~empty
                cells = cells.loc[self.kept].reset_index(drop=True)
        return cells

    def _distinct(self, name: str) -> list[str]:
        """Return the distinct texts of a column."""
        column = self.raw.frame({name: str}, [name])[name].dropna()
        return [str(text) for text in pd.unique(column)]

    @cached_property
    def _texts(self) -> pd.DataFrame:
        """The columns that pandas may take for numbers or truth values, as text."""
        roles = self.roles
        names = [*roles.labels, *roles.nothing, *roles.open, *roles.candidates, roles.patient, roles.follow_up]
        chosen = [name for name in dict.fromkeys(names) if name]
        texts = self.raw.frame(dict.fromkeys(chosen, str), chosen)
        return texts if self.kept is None else texts.loc[self.kept].reset_index(drop=True)

    def _written_issues(self) -> None:
        for kind, message in self._unusual().items():
            self.issues.append(Issue(kind, message, 1))

    def _unusual(self) -> dict[str, str]:
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

    def _issue(self, kind: str, message: str, rows: NDArray[Any] | Sequence[int]) -> None:
        if len(rows):
            self.issues.append(Issue(kind, message, len(rows), tuple(int(row) for row in rows[:ISSUE_ROWS])))

    def _error(self, row: int, what: str, *, count: int, expected: str | None, remedy: str) -> LabelTableError:
        more = f" ({count:,} such rows)" if count > 1 else ""
        return LabelTableError(
            f"{self.raw.path}: line {self._line(row)}: {what}{more}", expected=expected, remedy=remedy
        )

    def _line(self, row: int) -> int:
        return self.raw.line(row if self.kept is None else int(np.flatnonzero(self.kept)[row]))

    # Labels.

    def _labels(self, cells: pd.DataFrame) -> dict[str, Labels]:
        """Return a column of labels for each pathology, one value a record."""
        roles, schema = self.roles, self.schema
        self._choose_findings(cells)
        if schema.parse_labels is not None and not roles.said:
            by_name = {fold(name): name for name in cells.columns}
            wanted = {name: cells[by_name[fold(name)]] for name in schema.required or ()}
            self.label_form = "one column per pathology"
            return {
                name: values.astype(np.float32) for name, values in schema.parse_labels(pd.DataFrame(wanted)).items()
            }
        if roles.findings is not None:
            return self._from_findings(cells[roles.findings], roles.findings)
        self._open_columns(cells)
        return self._from_columns(cells)

    def _one_hot_said(self, name: str) -> bool:
        """Whether a column that the user called labels holds a label in each cell, and not names of findings."""
        return all(not np.isinf(label_value(text)) for text in self._distinct(name)[:1000])

    def _choose_findings(self, cells: pd.DataFrame) -> None:
        """Decide which of the columns that may name findings does."""
        roles = self.roles
        if roles.said:
            lists = [name for name in roles.labels if isinstance(cells[name].dtype, pd.CategoricalDtype)]
            if lists and len(roles.labels) > 1:
                raise LabelTableError(
                    f"{self.raw.path}: line 1: column {shown(lists[0])} names findings, and other columns are labels",
                    expected="one column of findings, or columns of labels",
                    remedy=f"Name one or the others with {argument('columns')} labels=….",
                )
            if lists:
                roles.findings = lists[0]
                roles.labels = {}
                roles.settle(lists[0], "findings")
            return
        known = [name for name in roles.labels]
        for name in list(roles.candidates):
            texts = [str(item) for item in cells[name].cat.categories]
            is_labels = looks_like_labels(np.array([label_value(text) for text in texts]))
            if not texts:
                roles.settle(name, "empty", "no cell is filled")
            elif is_labels:
                roles.open.append(name)
            elif roles.findings is not None or len(known) >= MANY_COLUMNS:
                roles.settle(name, "not used", f"names findings too; --columns labels={name} reads it")
            elif any(len(text) > LONGEST_CLASS and separators_of([text]) == "" for text in texts):
                roles.settle(name, "ignored", "free text")
            elif self._numbered_classes(texts):
                roles.settle(name, "not used", "numbers without names of classes")
            else:
                roles.findings = name
                roles.settle(name, "findings")
        roles.candidates = []

    @staticmethod
    def _numbered_classes(texts: Sequence[str]) -> bool:
        return all(re.fullmatch(r"\d+(?:\.\d+)?", text.strip()) for text in texts)

    def _open_columns(self, cells: pd.DataFrame) -> None:
        """Take columns of which only the values tell that they hold labels."""
        roles = self.roles
        read = []
        for name in roles.open:
            values = label_values(self._label_cells(cells[name], name))
            known = values[~np.isnan(values)]
            if not len(known):
                roles.settle(name, "empty", "no cell is filled")
                continue
            if not looks_like_labels(values):
                roles.settle(name, "not used")
            elif len(known) > 1 and (known == 1).all() and roles.labels:
                roles.settle(name, "not used", "1 in every row")
            else:
                roles.labels[name] = name
                read.append(name)
                roles.settle(name, "pathology", "no vocabulary knows this name")
        roles.open = []
        places = {name: place for place, name in enumerate(self.raw.names)}
        roles.labels = dict(sorted(roles.labels.items(), key=lambda item: places[item[0]]))
        if read and not roles.said and self.schema.any_table:
            self.issues.append(
                Issue("read-as-pathology", f"read as a pathology: {_listed(read)} (no vocabulary knows it)", len(read))
            )

    def _label_cells(self, column: pd.Series[Any], name: str) -> pd.Series[Any]:
        return column if column.dtype.kind in "iufb" else self._texts[name]

    def _from_findings(self, column: pd.Series[Any], name: str) -> dict[str, Labels]:
        """Spread a column of findings into one column per pathology."""
        schema, roles = self.schema, self.roles
        own = schema.any_table or roles.said
        texts = [str(item) for item in column.cat.categories]
        separators = separators_of(texts) if own else schema.separators
        if own and separators == "|" and any(";" in text for text in texts):
            both = next(text for text in texts if ";" in text)
            raise LabelTableError(
                f"{self.raw.path}: line 1: findings in column {shown(name)} could be separated by | or by ;, as in "
                f"'{shown(both)}'",
                expected="one sign between findings",
                remedy="Write all cells alike.",
            )
        found = read_findings(
            column,
            separators,
            pathologies=None if own else schema.pathologies,
            renamed=schema.renamed,
            ignored=schema.ignored_findings,
            undefined=schema.undefined_findings,
            negative=roles.negative,
        )
        self._check_findings(found, name, column)
        self.n_findings_written = found.n_written
        self.label_form = "list of findings" if separators else "one class"
        for left in roles.labels:
            roles.settle(left, "not used", f"{name} is read; --columns labels={left} reads this one")
        for left in roles.open:
            values = label_values(self._label_cells(self._texts[left], left))
            note = f"{name} is read; --columns labels={left} reads this one" if looks_like_labels(values) else None
            roles.settle(left, "not used", note)
        roles.labels, roles.open = {}, []
        labels = dict(found.labels)
        self._issue("no-findings-cell", "blank findings: labels not known", found.blank)
        self._issue("labels-undefined", "findings that say the labels are not known", found.undefined)
        self._issue(
            "no-finding-beside-finding", f"{NO_FINDING} beside a finding: the finding is kept", found.contradicting
        )
        return labels

    def _check_findings(self, found: FindingLists, name: str, column: pd.Series[Any]) -> None:
        if found.unknown:
            first = next(iter(found.unknown))
            raise self._error(
                first,
                f"column {name}: unknown finding '{shown(found.unknown[first])}'",
                count=len(found.unknown),
                expected=f"{NO_FINDING}, or some of {', '.join(self.schema.pathologies or ())}",
                remedy="Correct the cell.",
            )
        if len(found.labels) > MAX_PATHOLOGIES:
            raise LabelTableError(
                f"{self.raw.path}: line 1: column {shown(name)} names {len(found.labels):,} findings",
                expected=f"at most {MAX_PATHOLOGIES:,}",
                remedy=f"Name the columns of labels with {argument('columns')} labels=NAME+NAME.",
            )
        long = next((item for item in found.labels if len(item) > 4 * LONGEST_CLASS or not item.isprintable()), None)
        if long is not None:
            raise LabelTableError(
                f"{self.raw.path}: line 1: column {shown(name)} holds text that is not the name of a finding: "
                f"'{shown(long)}'",
                remedy=f"Name the columns of labels with {argument('columns')} labels=NAME+NAME.",
            )
        for item in found.labels:
            if item in RESERVED:
                raise LabelTableError(
                    f"{self.raw.path}: line 1: column {shown(name)}: finding '{item}': a pathology "
                    "cannot have this name",
                    remedy="Rename it.",
                )

    def _from_columns(self, cells: pd.DataFrame) -> dict[str, Labels]:
        """Check the one-hot columns and bring them to 1, 0 and NaN."""
        roles = self.roles
        self._check_number(roles.labels)
        labels: dict[str, Labels] = {}
        raw_values: dict[str, NDArray[np.float64]] = {}
        for name in roles.labels:
            raw_values[name] = label_values(self._label_cells(cells[name], name))
        self._refuse_probabilities(raw_values)
        empty = []
        for name, pathology in list(roles.labels.items()):
            values = self._one_hot(raw_values[name], cells[name], name)
            if np.isnan(raw_values[name]).all():
                empty.append(name)
                if self.schema.any_table and not roles.said:
                    roles.settle(name, "empty", "no cell is filled: not an output")
                    continue
            if pathology in labels:
                raise LabelTableError(
                    f"{self.raw.path}: line 1: two columns are {shown(pathology)}",
                    remedy=f"Remove one of them, or name the columns with {argument('columns')} labels=….",
                )
            labels[pathology] = values
        if empty:
            what = "is empty: nothing is known of it" if len(empty) == 1 else "are empty: nothing is known of them"
            word = "column" if len(empty) == 1 else "columns"
            self.issues.append(Issue("empty-label-column", f"{word} {_listed(empty)} {what}", len(empty)))
        self.label_form = "one column per pathology" if labels else "none"
        self._check_spellings(labels)
        if labels and self.n_uncertain:
            self._issue_uncertain(raw_values)
        if roles.nothing and labels:
            self._beside_nothing(cells, labels)
        return labels

    def _check_number(self, names: Mapping[str, str]) -> None:
        if len(names) > MAX_PATHOLOGIES:
            raise LabelTableError(
                f"{self.raw.path}: line 1: {len(names):,} columns of labels",
                expected=f"at most {MAX_PATHOLOGIES:,}",
                remedy="Remove the columns that are not pathologies.",
            )

    def _check_spellings(self, labels: Mapping[str, Labels]) -> None:
        seen: dict[str, str] = {}
        for name in labels:
            other = seen.setdefault(fold(name) or name, name)
            if other != name:
                raise LabelTableError(
                    f"{self.raw.path}: line 1: columns {shown(other)} and {shown(name)} are one pathology",
                    expected="one column for each",
                    remedy=f"Remove one of them, or name the columns with {argument('columns')} labels=….",
                )

    def _refuse_probabilities(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Tell a file of predicted probabilities from a label table."""
        predicted = [use.name for use in self.roles.uses.values() if use.use == "prediction"]
        fractions = [
            name
            for name, column in values.items()
            if ((column > 0) & (column < 1)).any() and not ((column < 0) | (column > 1)).any()
        ]
        what = None
        if predicted and not values:
            what = f"columns {_listed(predicted)}"
        elif fractions and len(fractions) == len(values):
            what = f"columns {_listed(fractions)} between 0 and 1"
        if what is not None:
            raise LabelTableError(
                f"{self.raw.path}: is a file of predicted probabilities ({what}), not a label table",
                expected="labels: 1, 0 or blank",
                remedy="Give the table of true labels here; predictions go to 'cxr evaluate' and 'cxr weights'.",
            )

    def _one_hot(self, values: NDArray[np.float64], column: pd.Series[Any], name: str) -> Labels:
        uncertain = (
            values == self.schema.uncertain if self.schema.uncertain is not None else np.zeros(len(values), dtype=bool)
        )
        bad = np.flatnonzero(~((values == 0) | (values == 1) | np.isnan(values) | uncertain))
        if len(bad):
            texts = column if column.dtype.kind in "iufb" else self._texts[name]
            first = int(bad[0])
            others: dict[str, int] = {}
            for row in bad.tolist()[:100_000]:
                others.setdefault(_shown(texts.iloc[row]), row)
                if len(others) == 3:
                    break
            more = "".join(f", {text} in line {self._line(row):,}" for text, row in list(others.items())[1:])
            count = f" ({len(bad):,} such rows{more})" if len(bad) > 1 else ""
            raise LabelTableError(
                f"{self.raw.path}: line {self._line(first)}: column {shown(name)}: label "
                f"{_shown(texts.iloc[first])}{count}",
                expected=f"0, 1, blank, or -1 for uncertain (see {argument('uncertain')})",
                remedy=f"Correct the cell, or name the columns of labels with {argument('columns')} labels=NAME+NAME.",
            )
        self.n_uncertain += int(uncertain.sum())
        stand_in = {"ignore": np.nan, "positive": 1.0, "negative": 0.0}[self.reading.uncertain]
        # Adding 0 makes 0 of -0.
        return np.where(uncertain, stand_in, values).astype(np.float32) + np.float32(0)

    def _issue_uncertain(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        if not self.schema.any_table:
            return  # -1 is part of the data set's form, and counted in the overview
        taken = {"ignore": "not known", "positive": "present", "negative": "absent"}[self.reading.uncertain]
        self.issues.append(
            Issue(
                "uncertain-labels",
                f"label -1 (uncertain): taken as {taken}; --uncertain decides",
                self.n_uncertain,
            )
        )
        together = np.concatenate([column[~np.isnan(column)] for column in values.values()])
        if self.reading.uncertain == "ignore" and not (together == 0).any() and len(together) > 1:
            self.issues.append(
                Issue(
                    "labels-without-zero",
                    "labels are 1 and -1, never 0: if -1 means absent, read the table with --uncertain negative",
                    1,
                )
            )

    def _beside_nothing(self, cells: pd.DataFrame, labels: Mapping[str, Labels]) -> None:
        kept = self.n_uncertain
        n_rows = len(cells)
        nothing = np.zeros(n_rows, dtype=bool)
        for name in self.roles.nothing:
            nothing |= self._one_hot(label_values(self._label_cells(cells[name], name)), cells[name], name) == 1
        self.n_uncertain = kept
        # CheXpert: support devices are not a finding of disease and stand beside No Finding by design.
        present = np.zeros(n_rows, dtype=bool)
        for name, values in labels.items():
            if name not in self.schema.not_findings:
                present |= values == 1
        self._issue(
            "no-finding-beside-finding",
            f"{NO_FINDING} beside a finding: the finding is kept",
            np.flatnonzero(nothing & present),
        )

    def _check_pathologies(self, names: Sequence[str]) -> None:
        self._check_number(dict.fromkeys(names, ""))
        for name in names:
            if name in RESERVED:
                raise LabelTableError(
                    f"{self.raw.path}: line 1: column {name}: a pathology cannot have this name",
                    remedy=f"Rename it if it is a pathology, as schema {self.schema.name} does if it is not.",
                )

    def _mapped(self, labels: Mapping[str, Labels]) -> dict[str, Labels]:
        """Rename pathologies as the user says; what falls together is present where any of them is."""
        mapped = self.reading.mapped
        if not mapped:
            return dict(labels)
        by_fold = {fold(name): name for name in labels}
        wanted = {}
        for old, new in mapped.items():
            if fold(old) not in by_fold:
                raise UsageError(
                    f"{argument('map_pathologies')} {old}={new}: {self.raw.path} has no pathology {shown(old)}",
                    expected=f"some of {', '.join(shown(name) for name in list(labels)[:20])}",
                )
            wanted[by_fold[fold(old)]] = new
        renamed: dict[str, Labels] = {}
        for name, values in labels.items():
            new = wanted.get(name, name)
            if new in renamed:
                one, other = renamed[new], values
                unknown = np.isnan(one) | np.isnan(other)
                present = (one == 1) | (other == 1)
                renamed[new] = np.where(present, 1, np.where(unknown, np.nan, 0)).astype(np.float32)
            else:
                renamed[new] = values
        said = ", ".join(f"{old} as {new}" for old, new in wanted.items())
        self.issues.append(Issue("mapped-pathologies", f"pathologies read under another name: {said}", len(wanted)))
        return renamed

    # Images and patients.

    def _images(self, cells: pd.DataFrame) -> pd.Series[Any]:
        roles, schema = self.roles, self.schema
        if schema.name_image is not None and roles.image is None:
            return pd.Series(schema.name_image(cells), dtype="str")
        assert roles.image is not None
        column = cells[roles.image]
        names = _stripped(column) if self.raw.has_stray_blanks else column
        blank = np.flatnonzero((names.isna() | (names == "")).to_numpy())
        if len(blank):
            raise self._error(
                int(blank[0]),
                f"no image in column {roles.image}",
                count=len(blank),
                expected="an image name in every row",
                remedy="Fill it in or remove the row.",
            )
        listed = names.tolist()
        unsafe = unsafe_names(listed)
        absolute = [row for row in unsafe if _is_absolute(listed[row])]
        if absolute and len(absolute) == len(listed):
            self._issue("absolute-image-names", "image names are absolute paths: no image is opened by them", absolute)
        elif unsafe and not self.reading.unsafe_ok:
            raise self._error(
                unsafe[0],
                f"image {why_unsafe(names.iloc[unsafe[0]])}",
                count=len(unsafe),
                expected="a name inside the image folder",
                remedy="Correct or remove the row; such files are never opened.",
            )
        else:
            self._issue("unsafe-image-name", UNSAFE, unsafe)
        return names

    def _patients(
        self, cells: pd.DataFrame, images: pd.Series[Any], numbers_: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        """Return each row's position among the distinct patient ids (-1: not known), the ids, and their namespace."""
        names = images.tolist()
        if self.reading.pattern is not None:
            return self._patients_by_pattern(names)
        if self.roles.patient is None:
            return self._patients_of_names(names)
        codes, written = self._factorized(cells[self.roles.patient], self.roles.patient)
        cleaned = clean_patient_ids(written)
        position: dict[str, int] = {}
        places = [position.setdefault(text, len(position)) if text else -1 for text in cleaned.ids]
        patient_codes = np.array([*places, -1], dtype=np.int64)[codes]  # code -1, a blank cell, finds the last
        for kind, message, these in (
            ("patient-id-marks", 'patient ids written as \'… or ="…": read without these marks', cleaned.marked),
            (
                "patient-id-digits-lost",
                "patient ids in exponent form, as 8.39860E+35: digits were lost, the patient is not known",
                cleaned.digits_lost,
            ),
            ("patient-placeholder", "patient ids that stand for no one: taken as not known", cleaned.placeholders),
        ):
            if these:
                rows = np.flatnonzero(np.isin(codes, these))
                self._issue(kind, f"{message} ({_some(written, these)})", rows)
                if kind != "patient-id-marks":
                    reason = "digits lost" if kind == "patient-id-digits-lost" else "placeholder"
                    self.without_patient[reason] = rows
        unknown = np.flatnonzero(patient_codes < 0)
        explained = [rows for rows in self.without_patient.values()]
        blank = np.setdiff1d(unknown, np.concatenate(explained)) if explained else unknown
        if len(blank):
            self.without_patient["blank cell"] = blank
        self._issue("no-patient", "no patient id", unknown)
        namespace = self.schema.patient_namespace or namespace_of(names, patient_codes >= 0, numbers_)
        return patient_codes, tuple(position), namespace

    def _patients_by_pattern(self, names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        from cxr_cli.data.patient_ids import ids_by_pattern

        assert self.reading.pattern is not None
        ids = ids_by_pattern(names, self.reading.pattern)
        if not any(ids):
            raise UsageError(
                f"{argument('patient_pattern')} {self.reading.pattern.pattern}: fits none of {len(names):,} images of "
                f" {self.raw.path}, such as '{shown(names[0])}'",
                expected="a regular expression whose first group is the patient id",
            )
        return self._coded(ids, "image name that the pattern does not fit", self.schema.patient_namespace)

    def _patients_of_names(self, names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        """Take patients from image names in the pattern of a data set."""
        schema = self.schema
        if schema.patients_unknown is not None:
            self.issues.append(Issue("no-patient-column", f"patients are unknown: {schema.patients_unknown}", 1))
            self.without_patient[schema.patients_unknown] = np.arange(len(names))
            return np.full(len(names), -1, dtype=np.int64), (), None
        found = patients_written_in_names(names)
        if found is None:
            self.issues.append(Issue("no-patient-column", "the table has no patient column", 1))
            self.without_patient["no patient column"] = np.arange(len(names))
            return np.full(len(names), -1, dtype=np.int64), (), schema.patient_namespace
        namespace, ids = found
        if schema.patient_in_name is None:
            self._issue(
                "patients-from-names",
                f"patient ids are taken from image names in the pattern of {namespace}",
                np.flatnonzero([item is not None for item in ids]),
            )
        return self._coded(ids, "image name without a patient", namespace)

    def _coded(
        self, ids: Sequence[str | None], why: str, namespace: str | None
    ) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        codes, distinct = coded_ids(ids)
        unknown = np.flatnonzero(codes < 0)
        if len(unknown):
            self.without_patient[why] = unknown
        self._issue("no-patient", "no patient id", unknown)
        return codes, distinct, namespace

    def _factorized(self, column: pd.Series[Any], name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return codes (-1: blank) and distinct ids (text) of the patient column, which pandas may take for numbers."""
        # Only plain digits come back from a number as they were: 1e5, +7, TRUE and ids too long for a float do not.
        plain = column.dtype.kind in "iu" and len(column) and column.min() > 0
        if not (plain and b"+" not in self.raw.content) and name in self._texts and len(self._texts) == len(column):
            column = self._texts[name]
        codes, found = pd.factorize(column)
        return codes.astype(np.int64), [str(item) for item in found.tolist()]

    def _check_file_names(
        self, numbers_: NDArray[np.int64], patient_codes: NDArray[np.int64], patient_ids: Sequence[str]
    ) -> None:
        """Hold the patient number in NIH file names (it always equals the patient id) against the patient column."""
        if self.roles.patient is None or not (numbers_ >= 0).any():
            return
        # A patient id that is not a number of up to eight digits contradicts any NIH name.
        ids = [int(item) if item.isascii() and item.isdigit() and len(item) <= 8 else -2 for item in patient_ids]
        known = np.array([*ids, -1], dtype=np.int64)[patient_codes]
        self._issue(
            "patient-contradicts-name",
            "patient id differs from the number in the file name: the column is taken",
            np.flatnonzero((numbers_ >= 0) & (patient_codes >= 0) & (numbers_ // 1000 != known)),
        )

    def _may_be_nih(self) -> bool:
        """Whether image names may be in the pattern of ChestX-ray14; looking at all of them takes time."""
        return self.schema.patient_namespace in (None, NIH_NAMESPACE)

    # Demographics.

    def _demographics(self, cells: pd.DataFrame) -> dict[str, Any]:
        roles = self.roles
        found: dict[str, Any] = {}
        if roles.ages:
            found["age"] = self._ages(cells)
        if roles.sex:
            found["sex"] = self._sexes(_categorical(cells[roles.sex]))
        if roles.view:
            found["view"] = self._views(cells)
        if roles.follow_up:
            found["follow_up"] = self._follow_ups(cells[roles.follow_up], roles.follow_up)
        if roles.split:
            column = _categorical(cells[roles.split])
            written = np.array([*(str(item).strip() or None for item in column.cat.categories), None], dtype=object)
            found["split"] = categories(written, column.cat.codes.to_numpy())
        return found

    def _follow_ups(self, column: pd.Series[Any], name: str) -> NDArray[np.float64]:
        values = column.to_numpy(dtype=np.float64) if column.dtype.kind in "iuf" else numbers(self._texts[name])
        strange = np.flatnonzero(np.isinf(values) | (values < 0))
        self._issue("follow-up-unreadable", "follow-up that is not a number: taken as not known", strange)
        return np.where(np.isfinite(values) & (values >= 0), values, np.nan)

    def _ages(self, cells: pd.DataFrame) -> NDArray[np.float64]:
        if self.schema.parse_ages is not None:
            years = np.asarray(self.schema.parse_ages(cells), dtype=np.float64)
            wrong = np.flatnonzero((years < 0) | (years > MAX_AGE_YEARS))
            self._issue("age-out-of-range", f"age below 0 or above {MAX_AGE_YEARS} years: taken as not known", wrong)
            years[wrong] = np.nan
            return years
        column = _categorical(cells[self.roles.ages[0]])
        codes, written = column.cat.codes.to_numpy(), [str(item) for item in column.cat.categories]
        ages = read_ages(written)
        for kind, these, message in (
            ("age-converted", ages.converted, "age in months, weeks or days: converted to years"),
            ("age-out-of-range", ages.too_old, f"age above {MAX_AGE_YEARS} years: taken as not known"),
            ("age-unreadable", ages.unreadable, "age that is not a number: taken as not known"),
        ):
            if these:
                self._issue(kind, f"{message} ({_some(written, these)})", np.flatnonzero(np.isin(codes, these)))
        return ages.years[codes]

    def _sexes(self, column: pd.Series[Any]) -> Any:
        codes, written = column.cat.codes.to_numpy(), [str(item) for item in column.cat.categories]
        sexes = np.array([*(read_sex(text) for text in written), None], dtype=object)
        odd = [code for code, text in enumerate(written) if sexes[code] is None and text.strip()]
        if odd:
            self._issue(
                "sex-unreadable",
                f"sex neither M nor F: taken as not known ({_some(written, odd)})",
                np.flatnonzero(np.isin(codes, odd)),
            )
        return categories(sexes, codes)

    def _views(self, cells: pd.DataFrame) -> Any:
        assert self.roles.view is not None
        column = _categorical(cells[self.roles.view])
        written = np.array([*(str(item).strip() or None for item in column.cat.categories), None], dtype=object)
        codes = column.cat.codes.to_numpy()
        if not self.roles.lateral:
            return categories(written, codes)
        lateral = _categorical(cells[self.roles.lateral])
        names = np.array([*(str(item).strip() or None for item in lateral.cat.categories), None], dtype=object)
        side, views = names[lateral.cat.codes.to_numpy()], written[codes]
        return pd.Categorical(np.where(pd.isna(views) | (side == "Lateral"), side, views))

    # Records and images.

    def _check_duplicates(self, frame: pd.DataFrame, numbers_: NDArray[np.int64], pathologies: Sequence[str]) -> None:
        ordered = np.sort(numbers_)
        images = frame["image"]
        # Names with distinct numbers are distinct: much sooner seen than with names.
        if (ordered[0] >= 0 and (np.diff(ordered) > 0).all()) or len(set(images.tolist())) == len(images):
            return
        repeated = images.duplicated().to_numpy()
        self._issue("duplicate-image", "image named by an earlier row too", np.flatnonzero(repeated))
        several = np.flatnonzero(images.duplicated(keep=False).to_numpy())
        codes, _ = pd.factorize(images.iloc[several])
        said = frame[["patient_id", *pathologies]].iloc[several]
        first = np.unique(codes, return_index=True)[1][codes]
        differs = np.zeros(len(several), dtype=bool)
        for name in said.columns:
            values = said[name].cat.codes.to_numpy() if name == "patient_id" else said[name].to_numpy()
            both_blank = (values != values) & (values[first] != values[first])
            differs |= (values != values[first]) & ~both_blank
        wrong = np.isin(codes, codes[differs])
        self._issue(
            "contradicting-rows",
            "rows that name one image and contradict each other in labels or patient: all of them are kept",
            several[wrong],
        )

    def _together(
        self, frame: pd.DataFrame, pathologies: Sequence[str], cells: pd.DataFrame
    ) -> tuple[pd.DataFrame, Links, str]:
        """Bring the rows of each image together: boxes, or the views of its readers."""
        codes, distinct = pd.factorize(frame["image"])
        codes = codes.astype(np.int64)
        n_images = len(distinct)
        first = np.full(n_images, len(codes), dtype=np.int64)
        np.minimum.at(first, codes, np.arange(len(codes)))
        self.first = first
        together = frame.iloc[first].reset_index(drop=True)
        reader = self.roles.reader
        votes: NDArray[np.int64] | None = None
        n_readers = np.ones(n_images)
        if reader is not None:
            by_reader, _ = pd.factorize(cells[reader].astype("str"), use_na_sentinel=False)
            pair = codes * (int(by_reader.max()) + 1) + by_reader
            votes, distinct_pairs = pd.factorize(pair)
            image_of_vote = distinct_pairs // (int(by_reader.max()) + 1)
            n_readers = np.bincount(image_of_vote, minlength=n_images).astype(np.float64)
        for name in pathologies:
            values = frame[name].to_numpy()
            if votes is None:
                together[name] = _any_of(values, codes, n_images)
                continue
            said = _any_of(values, votes, len(image_of_vote))
            yes = np.bincount(image_of_vote, weights=said == 1, minlength=n_images)
            unknown = np.bincount(image_of_vote, weights=np.isnan(said), minlength=n_images)
            known = n_readers - unknown
            needed: Any = {"any": 1.0, "majority": np.floor(known / 2) + 1, "all": np.maximum(known, 1)}[
                self.reading.readers
            ]
            merged = (yes >= needed).astype(np.float32)
            merged[known == 0] = np.nan
            together[name] = merged
        for name in ("patient_id", "age", "sex", "view", "split"):
            if name in frame:
                self._one_value(frame[name], codes, first, name)
        order = np.argsort(codes, kind="stable")
        links = Links(order.astype(np.int64), codes[order])
        how = (
            f"; {self.reading.readers} reader" if votes is not None else "; a finding is present where any row says so"
        )
        if votes is not None and self.reading.readers != "any":
            how = f"; {'a majority' if self.reading.readers == 'majority' else 'all'} of the readers"
        aggregation = f"{n_images:,} images from {len(frame):,} rows{how}"
        return together, links, aggregation

    def _one_value(self, column: pd.Series[Any], codes: NDArray[np.int64], first: NDArray[np.int64], name: str) -> None:
        values = column.cat.codes.to_numpy() if isinstance(column.dtype, pd.CategoricalDtype) else column.to_numpy()
        theirs = values[first][codes]
        differs = (values != theirs) & ~((values != values) & (theirs != theirs))
        self._issue(
            "contradicting-rows",
            f"rows of one image that differ in {name}: the first is taken",
            np.flatnonzero(differs),
        )

    # The account.

    def _joined_roles(self, cells: pd.DataFrame) -> None:
        """Find the columns of demographics that further files brought."""
        roles, schema = self.roles, self.schema
        if len(cells.columns) == len(self.raw.names) and list(cells.columns) == self.raw.names:
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
            self.issues.append(Issue(kind, message, count))

    def _account(
        self,
        frame: pd.DataFrame,
        joined: Joined,
        links: Links | None,
        aggregation: str | None,
        namespace: str | None,
        patient_codes: NDArray[np.int64],
    ) -> TableAccount:
        roles = self.roles
        names = self.raw.names
        uses = tuple(roles.uses[name] for name in names)
        unused = [use for use in uses if use.use == "not used"]
        if unused and (self.schema.any_table or any(use.note for use in unused)):
            notes = "; ".join(dict.fromkeys(use.note for use in unused if use.note))
            columns = "column" if len(unused) == 1 else "columns"
            message = f"{columns} not used: {_listed([use.name for use in unused])}" + (f" ({notes})" if notes else "")
            self.issues.append(Issue("columns-not-used", message[:1000], len(unused)))
        n_rows = self.raw.n_rows
        not_used = {}
        if self.kept is not None:
            not_used["row without any cell"] = int((~self.kept).sum())
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
        elif self.reading.pattern is not None or (patient_codes >= 0).any():
            patients = "image names"
        else:
            patients = "unknown"
        return TableAccount(
            columns=uses,
            rows_describe=describe,
            n_rows=n_rows,
            n_rows_used=n_rows - sum(not_used.values()),
            rows_not_used=not_used,
            n_images=len(frame) - sum(issue.count for issue in self.issues if issue.kind == "duplicate-image"),
            aggregation=aggregation,
            labels=self.label_form,
            blank=self.schema.blank,
            patients=patients,
            patient_namespace=namespace if (patient_codes >= 0).any() else None,
            n_rows_without_patient=int((patient_codes < 0).sum()),
            why_without_patient={
                reason: int(len(rows) if self.first is None else np.isin(rows, self.first).sum())
                for reason, rows in self.without_patient.items()
            },
            written_as=tuple(self._unusual().values()),
            joined=joined.described(),
            mapped=dict(self.reading.mapped),
        )


def _any_of(values: NDArray[np.float32], codes: NDArray[np.int64], n: int) -> Labels:
    """Return 1 where any value of a group is 1, else 0 where any is 0, else NaN."""
    positive = np.bincount(codes, weights=values == 1, minlength=n) > 0
    negative = np.bincount(codes, weights=values == 0, minlength=n) > 0
    return np.where(positive, 1, np.where(negative, 0, np.nan)).astype(np.float32)


def _recoded(column: pd.Series[Any]) -> tuple[NDArray[np.int64], list[str]]:
    codes, kept = pd.factorize(column.cat.codes.to_numpy())
    known = np.array([code >= 0 for code in kept], dtype=bool)
    places = np.append(np.where(known, np.cumsum(known) - 1, -1), -1)
    names = [str(column.cat.categories[int(code)]) for code in kept if code >= 0]
    return places[codes].astype(np.int64), names


def _categorical(column: pd.Series[Any]) -> pd.Series[Any]:
    return column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")


def _is_absolute(name: str) -> bool:
    return (
        re.match(r"[/\\]|[A-Za-z]:[/\\]", name) is not None
        and ".." not in re.split(r"[/\\]", name)
        and name.isprintable()
    )


def _some(written: Sequence[str], codes: Sequence[int]) -> str:
    """Name the first five of the cells with these codes."""
    return ", ".join(shown(written[code], 20) for code in codes[:5]) + (", …" if len(codes) > 5 else "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(shown(name, 40) for name in names[:10]) + (f", … ({len(names)} in all)" if len(names) > 10 else "")


def _stripped(column: pd.Series[Any]) -> pd.Series[Any]:
    # str.strip over 100,000 cells costs more than looking whether any cell needs it.
    values = column.tolist()
    if all(isinstance(value, str) and value == value.strip() for value in values):
        return column
    return pd.Series(
        [value.strip() if isinstance(value, str) else value for value in values], index=column.index, dtype=column.dtype
    )


def _shown(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:g}"
    return f"'{shown(value, 40)}'" if isinstance(value, str) else shown(str(value), 40)
