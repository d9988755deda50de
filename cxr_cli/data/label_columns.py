"""The labels of a table: one column per pathology, a list of findings, or one class, brought to 1, 0 and NaN."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.account import Issue
from cxr_cli.data.cells import (
    FindingLists,
    label_value,
    label_values,
    looks_like_labels,
    read_findings,
    separators_of,
)
from cxr_cli.data.columns import labels_are
from cxr_cli.data.labels import MAX_PATHOLOGIES, RESERVED
from cxr_cli.data.records import Records, listed
from cxr_cli.data.schemas import NO_FINDING
from cxr_cli.data.schemas.vocabulary import fold
from cxr_cli.errors import LabelTableError, Message, UsageError, argument, shown

Labels = NDArray[np.float32]
#: A class longer than this is free text, which is not a label.
LONGEST_CLASS = 60
#: As many known one-hot columns beside a column of findings are read instead of it.
MANY_COLUMNS = 3
#: A column with a smaller fraction of other cells is nearly one of labels, and that is said.
_FEW = 0.2


class LabelColumns:
    """The columns of labels of one table.

    Attributes
    ----------
    n_uncertain
        Cells that hold an uncertain label.
    n_findings_written
        Distinct cells of the column of findings; None where there is none.
    form
        How labels are written, for `TableAccount.labels`.
    """

    def __init__(self, source: Records) -> None:
        self.source = source
        self.n_uncertain = 0
        self.n_findings_written: int | None = None
        self.form = "none"

    def read(self, cells: pd.DataFrame) -> dict[str, Labels]:
        """Return a column of labels for each pathology, one value a record."""
        roles, schema = self.source.roles, self.source.schema
        self._choose_findings(cells)
        if schema.parse_labels is not None and not roles.said:
            by_name = {fold(name): name for name in cells.columns}
            wanted = {name: cells[by_name[fold(name)]] for name in schema.required or ()}
            self.form = "one column per pathology"
            return {
                name: values.astype(np.float32) for name, values in schema.parse_labels(pd.DataFrame(wanted)).items()
            }
        if roles.findings is not None:
            return self._from_findings(cells[roles.findings], roles.findings)
        self._open_columns(cells)
        return self._from_columns(cells)

    def _choose_findings(self, cells: pd.DataFrame) -> None:
        """Decide which of the columns that may name findings does."""
        roles = self.source.roles
        if roles.said:
            lists = [name for name in roles.labels if isinstance(cells[name].dtype, pd.CategoricalDtype)]
            if lists and len(roles.labels) > 1:
                raise LabelTableError(
                    f"{self.source.raw.path}: line 1: column {shown(lists[0])} names findings, and others are labels",
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
                roles.settle(name, "not used", Message(f"names findings too; {labels_are(name)} reads it"))
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
        """Take columns that are recognised as labels by their values only."""
        roles = self.source.roles
        read = []
        for name in roles.open:
            values = label_values(self._label_cells(cells[name], name))
            known = values[~np.isnan(values)]
            if not len(known):
                roles.settle(name, "empty", "no cell is filled")
                continue
            if not looks_like_labels(values):
                roles.settle(name, "not used", self._nearly_labels(values, name))
            elif len(known) > 1 and (known == 1).all() and roles.labels:
                roles.settle(name, "not used", "1 in every row")
            else:
                roles.labels[name] = name
                read.append(name)
                roles.settle(name, "pathology", "no vocabulary knows this name")
        roles.open = []
        places = {name: place for place, name in enumerate(self.source.raw.names)}
        roles.labels = dict(sorted(roles.labels.items(), key=lambda item: places[item[0]]))
        if read and not roles.said and self.source.schema.any_table:
            self.source.issues.append(
                Issue("read-as-pathology", f"read as a pathology: {listed(read)} (no vocabulary knows it)", len(read))
            )

    def _nearly_labels(self, values: NDArray[np.float64], name: str) -> str | None:
        """Say which cells keep a column from being labels, if nearly all of it is 0 and 1."""
        others = np.flatnonzero(~(np.isin(values, (-1.0, 0.0, 1.0)) | np.isnan(values)))
        n_known = int(np.count_nonzero(~np.isnan(values)))
        if len(others) > _FEW * n_known:
            return None
        texts = self.source.texts[name]
        shown_first = ", ".join(f"{_shown(texts.iloc[row])} in line {self.source.line(row):,}" for row in others[:3])
        rows = "1 row" if len(others) == 1 else f"{len(others):,} rows"
        return Message(f"{name} is 0 and 1 but for {rows}, {shown_first}; {labels_are(name)} reads it once corrected")

    def _label_cells(self, column: pd.Series[Any], name: str) -> pd.Series[Any]:
        return column if column.dtype.kind in "iufb" else self.source.texts[name]

    def _from_findings(self, column: pd.Series[Any], name: str) -> dict[str, Labels]:
        """Spread a column of findings into one column per pathology."""
        schema, roles = self.source.schema, self.source.roles
        own = schema.any_table or roles.said
        texts = [str(item) for item in column.cat.categories]
        separators = separators_of(texts) if own else schema.separators
        if own and separators == "|" and any(";" in text for text in texts):
            both = next(text for text in texts if ";" in text)
            raise LabelTableError(
                f"{self.source.raw.path}: line 1: findings in column {shown(name)} could be separated by "
                f"| or by ;, as in '{shown(both)}'",
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
        self.form = "list of findings" if separators else "one class"
        for left in roles.labels:
            roles.settle(left, "not used", Message(f"{name} is read; {labels_are(left)} reads this one"))
        for left in roles.open:
            values = label_values(self._label_cells(self.source.texts[left], left))
            note = Message(f"{name} is read; {labels_are(left)} reads this one")
            roles.settle(left, "not used", note if looks_like_labels(values) else None)
        roles.labels, roles.open = {}, []
        labels = dict(found.labels)
        self.source.issue("no-findings-cell", "blank findings: labels unknown", found.blank)
        self.source.issue("labels-undefined", "findings that say the labels are unknown", found.undefined)
        self.source.issue(
            "no-finding-beside-finding", f"{NO_FINDING} beside a finding: the finding is kept", found.contradicting
        )
        return labels

    def _check_findings(self, found: FindingLists, name: str, column: pd.Series[Any]) -> None:
        if found.unknown:
            first = next(iter(found.unknown))
            raise self.source.error(
                first,
                f"column {name}: unknown finding '{shown(found.unknown[first])}'",
                count=len(found.unknown),
                expected=f"{NO_FINDING}, or some of {', '.join(self.source.schema.pathologies or ())}",
                remedy="Correct the cell.",
            )
        if len(found.labels) > MAX_PATHOLOGIES:
            raise LabelTableError(
                f"{self.source.raw.path}: line 1: column {shown(name)} names {len(found.labels):,} findings",
                expected=f"at most {MAX_PATHOLOGIES:,}",
                remedy=f"Name the columns of labels with {argument('columns')} labels=NAME+NAME.",
            )
        long = next((item for item in found.labels if len(item) > 4 * LONGEST_CLASS or not item.isprintable()), None)
        if long is not None:
            raise LabelTableError(
                f"{self.source.raw.path}: line 1: column {shown(name)} holds text that is not the name of a finding: "
                f"'{shown(long)}'",
                remedy=f"Name the columns of labels with {argument('columns')} labels=NAME+NAME.",
            )
        for item in found.labels:
            if item in RESERVED:
                raise LabelTableError(
                    f"{self.source.raw.path}: line 1: column {shown(name)}: finding '{item}': a pathology "
                    "cannot have this name",
                    remedy="Rename it.",
                )

    def _from_columns(self, cells: pd.DataFrame) -> dict[str, Labels]:
        """Check the one-hot columns and bring them to 1, 0 and NaN."""
        roles = self.source.roles
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
                if self.source.schema.any_table and not roles.said:
                    roles.settle(name, "empty", "no cell is filled: not an output")
                    continue
            if pathology in labels:
                raise LabelTableError(
                    f"{self.source.raw.path}: line 1: two columns are {shown(pathology)}",
                    remedy=f"Remove one of them, or name the columns with {argument('columns')} labels=….",
                )
            labels[pathology] = values
        if empty:
            what = "is empty: nothing is known of it" if len(empty) == 1 else "are empty: nothing is known of them"
            word = "column" if len(empty) == 1 else "columns"
            self.source.issues.append(Issue("empty-label-column", f"{word} {listed(empty)} {what}", len(empty)))
        self.form = "one column per pathology" if labels else "none"
        self._check_spellings(labels)
        if labels and self.n_uncertain:
            self._issue_uncertain(raw_values)
        if roles.nothing and labels:
            self._beside_nothing(cells, labels)
        return labels

    def _check_number(self, names: Mapping[str, str]) -> None:
        if len(names) > MAX_PATHOLOGIES:
            raise LabelTableError(
                f"{self.source.raw.path}: line 1: {len(names):,} columns of labels",
                expected=f"at most {MAX_PATHOLOGIES:,}",
                remedy="Remove the columns that are not pathologies.",
            )

    def _check_spellings(self, labels: Mapping[str, Labels]) -> None:
        seen: dict[str, str] = {}
        for name in labels:
            other = seen.setdefault(fold(name) or name, name)
            if other != name:
                raise LabelTableError(
                    f"{self.source.raw.path}: line 1: columns {shown(other)} and {shown(name)} are one pathology",
                    expected="one column for each",
                    remedy=f"Remove one of them, or name the columns with {argument('columns')} labels=….",
                )

    def _refuse_probabilities(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Tell a file of predicted probabilities from a label table."""
        predicted = [use.name for use in self.source.roles.uses.values() if use.use == "prediction"]
        fractions = [
            name
            for name, column in values.items()
            if ((column > 0) & (column < 1)).any() and not ((column < 0) | (column > 1)).any()
        ]
        what = None
        if predicted and not values:
            what = f"columns {listed(predicted)}"
        elif fractions and len(fractions) == len(values):
            what = f"columns {listed(fractions)} between 0 and 1"
        if what is not None:
            raise LabelTableError(
                f"{self.source.raw.path}: is a file of predicted probabilities ({what}), not a label table",
                expected="labels: 1, 0 or blank",
                remedy="Give the table of true labels here; predictions go to 'cxr evaluate' and 'cxr weights'.",
            )

    def _one_hot(self, values: NDArray[np.float64], column: pd.Series[Any], name: str) -> Labels:
        uncertain = (
            values == self.source.schema.uncertain
            if self.source.schema.uncertain is not None
            else np.zeros(len(values), dtype=bool)
        )
        bad = np.flatnonzero(~((values == 0) | (values == 1) | np.isnan(values) | uncertain))
        if len(bad):
            texts = column if column.dtype.kind in "iufb" else self.source.texts[name]
            first = int(bad[0])
            others: dict[str, int] = {}
            for row in bad.tolist()[:100_000]:
                others.setdefault(_shown(texts.iloc[row]), row)
                if len(others) == 3:
                    break
            more = "".join(f", {text} in line {self.source.line(row):,}" for text, row in list(others.items())[1:])
            count = f" ({len(bad):,} such rows{more})" if len(bad) > 1 else ""
            raise LabelTableError(
                f"{self.source.raw.path}: line {self.source.line(first)}: column {shown(name)}: label "
                f"{_shown(texts.iloc[first])}{count}",
                expected=f"0, 1, blank, or -1 for uncertain (see {argument('uncertain')})",
                remedy=f"Correct the cell, or name the columns of labels with {argument('columns')} labels=NAME+NAME.",
            )
        self.n_uncertain += int(uncertain.sum())
        stand_in = {"ignore": np.nan, "positive": 1.0, "negative": 0.0}[self.source.reading.uncertain]
        # Adding 0 makes 0 of -0.
        return np.where(uncertain, stand_in, values).astype(np.float32) + np.float32(0)

    def _issue_uncertain(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        if not self.source.schema.any_table:
            return  # -1 is part of the data set's form, and counted in the overview
        taken = {"ignore": "unknown", "positive": "present", "negative": "absent"}[self.source.reading.uncertain]
        self.source.issues.append(
            Issue(
                "uncertain-labels",
                Message(f"label -1 (uncertain): taken as {taken}; {argument('uncertain')} decides"),
                self.n_uncertain,
            )
        )
        together = np.concatenate([column[~np.isnan(column)] for column in values.values()])
        if self.source.reading.uncertain == "ignore" and not (together == 0).any() and len(together) > 1:
            self.source.issues.append(
                Issue(
                    "labels-without-zero",
                    Message(
                        "labels are 1 and -1, never 0: if -1 means absent, read the table with "
                        f"{argument('uncertain', 'negative')}"
                    ),
                    1,
                )
            )

    def _beside_nothing(self, cells: pd.DataFrame, labels: Mapping[str, Labels]) -> None:
        kept = self.n_uncertain
        n_rows = len(cells)
        nothing = np.zeros(n_rows, dtype=bool)
        for name in self.source.roles.nothing:
            nothing |= self._one_hot(label_values(self._label_cells(cells[name], name)), cells[name], name) == 1
        self.n_uncertain = kept
        # CheXpert: support devices are not a finding of disease and stand beside No Finding by design.
        present = np.zeros(n_rows, dtype=bool)
        for name, values in labels.items():
            if name not in self.source.schema.not_findings:
                present |= values == 1
        self.source.issue(
            "no-finding-beside-finding",
            f"{NO_FINDING} beside a finding: the finding is kept",
            np.flatnonzero(nothing & present),
        )

    def check_names(self, names: Sequence[str]) -> None:
        """Raise LabelTableError for too many pathologies, or one that has a reserved name."""
        self._check_number(dict.fromkeys(names, ""))
        for name in names:
            if name in RESERVED:
                raise LabelTableError(
                    f"{self.source.raw.path}: line 1: column {name}: a pathology cannot have this name",
                    remedy=f"Rename it if it is a pathology, as schema {self.source.schema.name} does if it is not.",
                )

    def mapped(self, labels: Mapping[str, Labels]) -> dict[str, Labels]:
        """Rename pathologies on demand; merged ones are present where any of them is."""
        mapped = self.source.reading.mapped
        if not mapped:
            return dict(labels)
        by_fold = {fold(name): name for name in labels}
        wanted = {}
        for old, new in mapped.items():
            if fold(old) not in by_fold:
                raise UsageError(
                    f"{argument('map_pathologies')} {old}={new}: {self.source.raw.path} has no pathology {shown(old)}",
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
        self.source.issues.append(
            Issue("mapped-pathologies", f"pathologies read under another name: {said}", len(wanted))
        )
        return renamed


def _shown(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:g}"
    return f"'{shown(value, 40)}'" if isinstance(value, str) else shown(str(value), 40)
