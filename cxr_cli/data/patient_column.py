"""The patients of a table: from a column, or from image names by the pattern of a data set or of the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.account import Issue
from cxr_cli.data.patient_ids import (
    clean_patient_ids,
    coded_ids,
    coded_patients_in_names,
    ids_by_pattern,
    namespace_of,
    nih_numbers,
)
from cxr_cli.data.records import Records, some
from cxr_cli.data.schemas.nih import NAMESPACE as NIH_NAMESPACE
from cxr_cli.errors import UsageError, argument, shown


class PatientColumn:
    """The patients of one table.

    Attributes
    ----------
    numbers
        `nih_numbers` of the image names, shape (n_images,); -1 where names cannot be NIH's.
    without
        Why patients are unknown, and the rows concerned.
    """

    def __init__(self, source: Records, names: Sequence[str]) -> None:
        self.source = source
        self.names = names
        # Looking at all names takes time.
        may_be_nih = source.schema.patient_namespace in (None, NIH_NAMESPACE)
        self.numbers = nih_numbers(names) if may_be_nih else np.full(len(names), -1, dtype=np.int64)
        self.without: dict[str, NDArray[np.intp]] = {}

    def read(self, cells: pd.DataFrame) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        """Return each row's position among the distinct patient ids (-1: unknown), the ids, and their namespace."""
        names = self.names
        if self.source.reading.pattern is not None:
            return self._patients_by_pattern(names)
        if self.source.roles.patient is None:
            return self._patients_of_names(names)
        codes, written = self._factorized(cells[self.source.roles.patient], self.source.roles.patient)
        cleaned = clean_patient_ids(written)
        position: dict[str, int] = {}
        places = [position.setdefault(text, len(position)) if text else -1 for text in cleaned.ids]
        patient_codes = np.array([*places, -1], dtype=np.int64)[codes]  # code -1, a blank cell, finds the last
        for kind, message, these in (
            ("patient-id-marks", 'patient ids written as \'… or ="…": read without these marks', cleaned.marked),
            (
                "patient-id-digits-lost",
                "patient ids in exponent form, as 8.39860E+35: digits were lost, the patient is unknown",
                cleaned.digits_lost,
            ),
            ("patient-placeholder", "patient ids that are placeholders: taken as unknown", cleaned.placeholders),
        ):
            if these:
                rows = np.flatnonzero(np.isin(codes, these))
                self.source.issue(kind, f"{message} ({some(written, these)})", rows)
                if kind != "patient-id-marks":
                    reason = "digits lost" if kind == "patient-id-digits-lost" else "placeholder"
                    self.without[reason] = rows
        unknown = np.flatnonzero(patient_codes < 0)
        explained = [rows for rows in self.without.values()]
        blank = np.setdiff1d(unknown, np.concatenate(explained)) if explained else unknown
        if len(blank):
            self.without["blank cell"] = blank
        self.source.issue("no-patient", "no patient id", unknown)
        namespace = self.source.schema.patient_namespace or namespace_of(names, patient_codes >= 0)
        return patient_codes, tuple(position), namespace

    def _patients_by_pattern(self, names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        assert self.source.reading.pattern is not None
        ids = ids_by_pattern(names, self.source.reading.pattern)
        if not any(ids):
            raise UsageError(
                f"{argument('patient_pattern')} {self.source.reading.pattern.pattern}: fits none of "
                f"{len(names):,} images of {self.source.raw.path}, such as '{shown(names[0])}'",
                expected="a regular expression whose first group is the patient id",
            )
        return self._coded(ids, "image name that the pattern does not fit", self.source.schema.patient_namespace)

    def _patients_of_names(self, names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        """Take patients from image names in the pattern of a data set."""
        schema = self.source.schema
        if schema.patients_unknown is not None:
            self.source.issues.append(Issue("no-patient-column", f"patients are unknown: {schema.patients_unknown}", 1))
            self.without[schema.patients_unknown] = np.arange(len(names))
            return np.full(len(names), -1, dtype=np.int64), (), None
        found = coded_patients_in_names(names)
        if found is None:
            self.source.issues.append(Issue("no-patient-column", "the table has no patient column", 1))
            self.without["no patient column"] = np.arange(len(names))
            return np.full(len(names), -1, dtype=np.int64), (), schema.patient_namespace
        namespace, codes, ids = found
        if schema.patient_in_name is None:
            self.source.issue(
                "patients-from-names",
                f"patient ids are taken from image names in the pattern of {namespace}",
                np.flatnonzero(codes >= 0),
            )
        return self._noted(codes, ids, "image name without a patient", namespace)

    def _coded(
        self, ids: Sequence[str | None], why: str, namespace: str | None
    ) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        return self._noted(*coded_ids(ids), why, namespace)

    def _noted(
        self, codes: NDArray[np.int64], distinct: tuple[str, ...], why: str, namespace: str | None
    ) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
        unknown = np.flatnonzero(codes < 0)
        if len(unknown):
            self.without[why] = unknown
        self.source.issue("no-patient", "no patient id", unknown)
        return codes, distinct, namespace

    def _factorized(self, column: pd.Series[Any], name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return codes (-1: blank) and distinct ids (text) of the patient column, which pandas may take for numbers."""
        # Only plain digits come back from a number as they were: 1e5, +7, TRUE and ids too long for a float do not.
        plain = column.dtype.kind in "iu" and len(column) and column.min() > 0
        if (
            not (plain and b"+" not in self.source.raw.content)
            and name in self.source.texts
            and len(self.source.texts) == len(column)
        ):
            column = self.source.texts[name]
        codes, found = pd.factorize(column)
        return codes.astype(np.int64), [str(item) for item in found.tolist()]

    def check_file_names(self, patient_codes: NDArray[np.int64], patient_ids: Sequence[str]) -> None:
        """Hold the patient number in NIH file names (it always equals the patient id) against the patient column."""
        if self.source.roles.patient is None or not (self.numbers >= 0).any():
            return
        # A patient id that is not a number of up to eight digits contradicts any NIH name.
        ids = [int(item) if item.isascii() and item.isdigit() and len(item) <= 8 else -2 for item in patient_ids]
        known = np.array([*ids, -1], dtype=np.int64)[patient_codes]
        self.source.issue(
            "patient-contradicts-name",
            "patient id differs from the number in the file name: the column is taken",
            np.flatnonzero((self.numbers >= 0) & (patient_codes >= 0) & (self.numbers // 1000 != known)),
        )
