"""Label tables: `read_labels` turns a file of any known data set into one canonical, validated LabelTable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.choices import UncertainPolicy, checked
from cxr_cli.data.files import InputFile
from cxr_cli.data.names import UNSAFE, is_unsafe_name, unsafe_names, why_unsafe
from cxr_cli.data.patient_ids import nih_numbers, normal_patient_id, patient_of_nih_name
from cxr_cli.data.schemas import NO_FINDING, Schema, recognise
from cxr_cli.data.tables import RawTable, read_lines, read_table
from cxr_cli.errors import LabelTableError, shown

#: How many rows a issue names; its count is always whole.
ISSUE_ROWS = 20
#: More columns of labels than this are no pathologies (the largest vocabulary in the field has some 200).
MAX_PATHOLOGIES = 1000
#: Columns of `LabelTable.frame` that no pathology may be called.
RESERVED = ("image", "patient_id", "age", "sex", "view", "follow_up")
#: Ages above this are typing errors: the 2017 table of ChestX-ray14 goes up to 414.
MAX_AGE_YEARS = 120
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([YMWDymwd]?)\s*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F"}


@dataclass(frozen=True)
class Issue:
    """Something odd in a table that was repaired, set to "not known", or left as it is.

    Attributes
    ----------
    kind
        A short fixed name, for scripts.
    message
        One sentence for people.
    count
        How many rows, cells or columns are concerned.
    rows
        The first of them, counted from 0 below the header (empty where a column is concerned).
    """

    kind: str
    message: str
    count: int
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class LabelTable:
    """A label table in canonical form.

    Attributes
    ----------
    path, source
        The file, and its size and SHA-256.
    schema
        Name of the schema it was read as.
    frame
        One row per table row, in the order of the file: ``image`` (text), ``patient_id`` (text in one normal form,
        or missing), one float32 column per pathology (1 present, 0 absent, NaN not known), then ``age`` (years),
        ``sex`` (M, F or missing), ``view`` (text or missing) and ``follow_up`` where the file has them. Patients,
        sex and view are categories of text.
    pathologies
        Names of the pathologies, in the order of the file (or of the data set, where findings are listed).
    issues
        What was found odd.
    columns, column_types, null_cells
        The header of the file; the type pandas infers for each column ("str", "int64", "float64", …); and how many
        of its cells pandas reads as missing.
    n_findings_written
        Distinct cells of the column of ``|``-separated findings, as written: the same findings in another order
        count apart. None where there is one column per pathology.
    uncertain, n_uncertain
        The policy for uncertain labels, and how many cells it touched.
    patient_codes, patient_ids
        Position of each row's patient in `patient_ids`, shape (n_images,), -1 where the patient is not known; and
        the distinct patient ids, in no particular order.
    raw
        The bytes and records behind it.
    """

    path: Path
    source: InputFile
    schema: str
    frame: pd.DataFrame
    pathologies: tuple[str, ...]
    issues: tuple[Issue, ...]
    columns: tuple[str, ...]
    column_types: tuple[str, ...]
    null_cells: tuple[int, ...]
    n_findings_written: int | None
    uncertain: UncertainPolicy
    n_uncertain: int
    patient_codes: NDArray[np.int64]
    patient_ids: tuple[str, ...]
    raw: RawTable

    @property
    def n_images(self) -> int:
        """Number of rows (a table names one image a row)."""
        return len(self.frame)

    @property
    def n_null_cells(self) -> int:
        """Number of cells that pandas reads as missing."""
        return sum(self.null_cells)

    @cached_property
    def images(self) -> list[str]:
        """Image names in the order of the rows."""
        names: list[str] = self.frame["image"].tolist()
        return names

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """Labels, shape (n_images, n_pathologies), float32: 1 present, 0 absent, NaN not known."""
        return np.ascontiguousarray(self.frame[list(self.pathologies)].to_numpy(dtype=np.float32))

    @property
    def has_patients(self) -> bool:
        """Whether any row names its patient."""
        return bool(self.patient_ids)

    def has(self, column: str) -> bool:
        """Whether the file tells ``age``, ``sex``, ``view`` or ``follow_up``."""
        return column in self.frame.columns


def read_labels(
    path: Path | str,
    *,
    schema: str | None = None,
    uncertain: UncertainPolicy = "ignore",
    allow_image_list: bool = False,
    allow_unsafe_names: bool = False,
) -> LabelTable:
    """Read and validate a label table; the schema is recognised from the header.

    Parameters
    ----------
    path
        A comma-separated file in UTF-8, plain, ``.gz`` or ``.zip``.
    schema
        Name of a schema in `cxr_cli.data.schemas`, to override recognition.
    uncertain
        What a label that the data set calls uncertain becomes: NaN ("ignore"), 1 or 0.
    allow_image_list
        Also take a text file with one image name a line, as NIH's ``train_val_list.txt``: no pathologies then, and
        the patient from the file name.
    allow_unsafe_names
        Keep rows whose image name is absolute or climbs out of the image folder, with a issue, instead of raising
        an error. Such files are never opened all the same.

    Raises
    ------
    InputError
        The file is missing or unreadable.
    LabelTableError
        It is no table of a known schema, has no rows, a row without image, an unsafe image name, or a label that is
        not 0, 1 or blank (or the schema's mark for uncertain).
    """
    path = Path(path)
    checked(UncertainPolicy, uncertain, "uncertain")
    if allow_image_list and path.name.lower().endswith((".txt", ".txt.gz")):
        return _read_image_list(path, allow_unsafe_names)
    raw = read_table(path)
    found = recognise(path, raw.header, schema)
    if not raw.n_rows:
        raise LabelTableError(f"{path}: has a header and no rows", remedy="Give a table with at least one image.")
    return _Reader(raw, found, uncertain, allow_unsafe_names).read()


def _inferred_type(column: pd.Series[Any], n_null: int) -> str:
    """Name the type that pandas infers for a column, which may have been parsed as text or as categories of text."""
    if n_null == len(column):
        return "float64"
    if isinstance(column.dtype, pd.CategoricalDtype):
        try:
            numbers = pd.to_numeric(column.cat.categories.to_series())
        except (ValueError, TypeError, OverflowError):
            return "str"
        return "float64" if n_null else str(numbers.dtype)
    return "str" if column.dtype.kind == "O" else str(column.dtype)


class _Reader:
    """One table on its way from raw cells to canonical columns, collecting issues."""

    def __init__(self, raw: RawTable, schema: Schema, uncertain: UncertainPolicy, unsafe_ok: bool) -> None:
        self.raw = raw
        self.schema = schema
        self.uncertain = uncertain
        self.unsafe_ok = unsafe_ok
        self.n_uncertain = 0
        self.issues: list[Issue] = []
        header = raw.header
        self.patient = schema.column(header, schema.patient)
        self.age = schema.column(header, schema.age)
        self.sex = schema.column(header, schema.sex)
        self.view = schema.column(header, schema.view)
        self.follow_up = schema.column(header, schema.follow_up)

    def read(self) -> LabelTable:
        header, schema = self.raw.header, self.schema
        # Columns with few distinct values are parsed as categories: each value is understood once, not once a row.
        grouped = [schema.findings, self.age, self.sex, self.view, schema.lateral]
        dtypes: dict[str, Any] = {name: "category" for name in grouped if name}
        dtypes[schema.image] = str
        cells = self.raw.frame(dtypes)
        if len(cells) != self.raw.n_rows:
            # Should never be: read_table refuses what the two are known to read differently.
            raise LabelTableError(
                f"{self.raw.path}: {self.raw.n_rows:,} lines but {len(cells):,} rows",
                expected="one row on each line",
                remedy="Save it again as CSV in UTF-8.",
            )
        null_cells = tuple(int(column.isna().sum()) for _, column in cells.items())
        columns: dict[str, Any] = {"image": self._images(cells[schema.image])}
        patient_codes, patient_ids = self._patients(cells, columns["image"])
        columns["patient_id"] = pd.Categorical.from_codes(patient_codes, pd.Index(patient_ids, dtype="str"))
        labels = self._from_findings(cells) if schema.findings else self._from_columns(cells)
        columns.update(labels)
        columns.update(self._demographics(cells))
        numbers = nih_numbers(columns["image"].tolist())
        self._check_duplicates(columns["image"], numbers)
        self._check_file_names(numbers, patient_codes, patient_ids)
        return LabelTable(
            path=self.raw.path,
            source=self.raw.source,
            schema=schema.name,
            frame=pd.DataFrame(columns, copy=False),
            pathologies=tuple(labels),
            issues=tuple(self.issues),
            columns=header,
            column_types=tuple(
                _inferred_type(column, n_null) for (_, column), n_null in zip(cells.items(), null_cells, strict=True)
            ),
            null_cells=null_cells,
            n_findings_written=len(cells[schema.findings].cat.categories) if schema.findings else None,
            uncertain=self.uncertain,
            n_uncertain=self.n_uncertain,
            patient_codes=patient_codes,
            patient_ids=patient_ids,
            raw=self.raw,
        )

    def _issue(self, kind: str, message: str, rows: NDArray[Any] | Sequence[int]) -> None:
        if len(rows):
            self.issues.append(Issue(kind, message, len(rows), tuple(int(row) for row in rows[:ISSUE_ROWS])))

    def _error(self, row: int, what: str, *, count: int, expected: str | None, remedy: str) -> LabelTableError:
        more = f" ({count:,} such rows)" if count > 1 else ""
        return LabelTableError(
            f"{self.raw.path}: line {self.raw.line(row)}: {what}{more}", expected=expected, remedy=remedy
        )

    def _images(self, column: pd.Series[Any]) -> pd.Series[Any]:
        names = _stripped(column) if self.raw.has_stray_blanks else column
        blank = np.flatnonzero((names.isna() | (names == "")).to_numpy())
        if len(blank):
            raise self._error(
                int(blank[0]),
                f"no image in column {self.schema.image}",
                count=len(blank),
                expected="an image name in every row",
                remedy="Fill it in or remove the row.",
            )
        unsafe = unsafe_names(names.tolist())
        if unsafe and not self.unsafe_ok:
            raise self._error(
                unsafe[0],
                f"image {why_unsafe(names.iloc[unsafe[0]])}",
                count=len(unsafe),
                expected="a name inside the image folder",
                remedy="Correct or remove the row; such files are never opened.",
            )
        self._issue("unsafe-image-name", UNSAFE, unsafe)
        return names

    def _patients(self, cells: pd.DataFrame, images: pd.Series[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return each row's position among the distinct patient ids in normal form (-1: not known), and the ids."""
        if self.patient is not None:
            codes, written = self._factorized(cells[self.patient], self.patient)
        elif self.schema.patient_pattern is not None:
            codes, found = pd.factorize(images.str.extract(self.schema.patient_pattern, expand=False))
            written = [str(item) for item in found]
        else:
            self.issues.append(Issue("no-patient-column", "the table has no patient column", 1))
            return np.full(len(images), -1, dtype=np.int64), ()
        # "007" and "7" fall together here. Most ids are plain numbers, whose normal form is seen at once.
        normal = [
            text if text.isdigit() and text.isascii() and text[0] != "0" else normal_patient_id(text)
            for text in written
        ]
        position: dict[str, int] = {}
        places = [position.setdefault(text, len(position)) if text else -1 for text in normal]
        patient_codes = np.array([*places, -1], dtype=np.int64)[codes]  # code -1, a blank cell, finds the last
        self._issue("no-patient", "no patient id", np.flatnonzero(patient_codes < 0))
        return patient_codes, tuple(position)

    @cached_property
    def _texts(self) -> pd.DataFrame:
        """The columns that pandas may take for numbers or truth values, as text."""
        names = [*self.schema.label_columns(self.raw.header), NO_FINDING, self.patient, self.follow_up]
        chosen = [name for name in dict.fromkeys(names) if name and name in self.raw.header]
        return self.raw.frame(dict.fromkeys(chosen, str), chosen)

    def _factorized(self, column: pd.Series[Any], name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return codes (-1: blank) and distinct ids (text) of the patient column, which pandas may take for numbers."""
        # Only plain digits come back from a number as they were: 1e5, +7, TRUE and ids too long for a float do not.
        if not (column.dtype.kind in "iu" and column.min() > 0 and b"+" not in self.raw.content):
            column = self._texts[name]
        codes, found = pd.factorize(column)
        return codes.astype(np.int64), [str(item) for item in found.tolist()]

    def _from_findings(self, cells: pd.DataFrame) -> dict[str, NDArray[np.float32]]:
        """Spread ``|``-separated findings into one column per pathology."""
        assert self.schema.findings is not None and self.schema.pathologies is not None
        column = cells[self.schema.findings]
        codes, combinations = column.cat.codes.to_numpy(), column.cat.categories.astype(str)
        pathologies = self.schema.pathologies
        place = {name: index for index, name in enumerate(pathologies)}
        table = np.zeros((len(combinations) + 1, len(pathologies)), dtype=np.float32)
        table[-1] = np.nan  # a blank cell: nothing is known
        blank, contradicting, unknown = [-1], [], {}
        for code, combination in enumerate(combinations):
            findings = [item.strip() for item in combination.split("|")]
            if findings == [""]:
                blank.append(code)
                table[code] = np.nan
                continue
            for item in findings:
                if item in place:
                    table[code, place[item]] = 1
                elif item != NO_FINDING:
                    unknown[code] = item
            if NO_FINDING in findings and len(set(findings)) > 1:
                contradicting.append(code)
        if unknown:
            rows = np.flatnonzero(np.isin(codes, list(unknown)))
            raise self._error(
                int(rows[0]),
                f"column {self.schema.findings}: unknown finding '{shown(unknown[codes[rows[0]]])}'",
                count=len(rows),
                expected=f"{NO_FINDING}, or some of {', '.join(pathologies)} separated by |",
                remedy="Correct the cell.",
            )
        self._issue("no-findings-cell", "blank findings: labels not known", np.flatnonzero(np.isin(codes, blank)))
        self._issue(
            "no-finding-beside-finding",
            f"{NO_FINDING} beside a finding: the finding is kept",
            np.flatnonzero(np.isin(codes, contradicting)) if contradicting else [],
        )
        spread = table[codes]
        return {name: spread[:, index] for index, name in enumerate(pathologies)}

    def _from_columns(self, cells: pd.DataFrame) -> dict[str, NDArray[np.float32]]:
        """Check the one-hot columns and bring them to 1, 0 and NaN."""
        names = self.schema.label_columns(self.raw.header)
        self._check_pathologies(names)
        labels: dict[str, NDArray[np.float32]] = {}
        for name in names:
            labels[name] = self._one_hot(cells[name], name)
            if np.isnan(labels[name]).all():
                self.issues.append(
                    Issue("empty-label-column", f"column {shown(name)} is empty: nothing is known of it", 1)
                )
        if NO_FINDING in self.raw.header and labels:
            nothing = self._one_hot(cells[NO_FINDING], NO_FINDING, count=False)
            present = np.max(np.nan_to_num(np.stack(list(labels.values()))), axis=0)
            devices = labels.get("Support Devices")
            if devices is not None:
                # CheXpert: support devices are no finding of disease and stand beside No Finding by design.
                others = [values for key, values in labels.items() if key != "Support Devices"]
                present = np.max(np.nan_to_num(np.stack(others)), axis=0) if others else present * 0
            self._issue(
                "no-finding-beside-finding",
                f"{NO_FINDING} beside a finding: the finding is kept",
                np.flatnonzero((nothing == 1) & (present == 1)),
            )
        return labels

    def _check_pathologies(self, names: Sequence[str]) -> None:
        if len(names) > MAX_PATHOLOGIES:
            raise LabelTableError(
                f"{self.raw.path}: line 1: {len(names):,} columns of labels",
                expected=f"at most {MAX_PATHOLOGIES:,}",
                remedy="Remove the columns that are no pathologies.",
            )
        for name in names:
            if name in RESERVED:
                raise LabelTableError(
                    f"{self.raw.path}: line 1: column {name}: no pathology can have this name",
                    remedy=f"Rename it if it is a pathology, as schema {self.schema.name} does if it is not.",
                )

    def _one_hot(self, column: pd.Series[Any], name: str, *, count: bool = True) -> NDArray[np.float32]:
        if column.dtype.kind in "iufb":
            # True/False is a spelling of 1/0 that R and pandas write.
            values = column.to_numpy(dtype=np.float64)
        else:
            column = self._texts[name]
            values = _numbers(column)
        uncertain = (
            values == self.schema.uncertain if self.schema.uncertain is not None else np.zeros(len(values), dtype=bool)
        )
        bad = np.flatnonzero(~((values == 0) | (values == 1) | np.isnan(values) | uncertain))
        if len(bad):
            defined = "0, 1, blank" if self.schema.uncertain is None else f"0, 1, {self.schema.uncertain:g}, blank"
            raise self._error(
                int(bad[0]),
                f"column {shown(name)}: label {_shown(column.iloc[int(bad[0])])}",
                count=len(bad),
                expected=defined,
                remedy="Correct the cell, or remove the column if it is no pathology.",
            )
        if count:
            self.n_uncertain += int(uncertain.sum())
        stand_in = {"ignore": np.nan, "positive": 1.0, "negative": 0.0}[self.uncertain]
        # Adding 0 makes 0 of -0.
        return np.where(uncertain, stand_in, values).astype(np.float32) + np.float32(0)

    def _demographics(self, cells: pd.DataFrame) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.age:
            found["age"] = self._ages(cells[self.age])
        if self.sex:
            found["sex"] = self._sexes(cells[self.sex])
        if self.view:
            found["view"] = self._views(cells)
        if self.follow_up:
            found["follow_up"] = self._follow_ups(cells[self.follow_up], self.follow_up)
        return found

    def _follow_ups(self, column: pd.Series[Any], name: str) -> NDArray[np.float64]:
        if column.dtype.kind in "iuf":
            values = column.to_numpy(dtype=np.float64)
        else:
            values = _numbers(self._texts[name])
        strange = np.flatnonzero(np.isinf(values) | (values < 0))
        self._issue("follow-up-unreadable", "follow-up that is no number: taken as not known", strange)
        return np.where(np.isfinite(values) & (values >= 0), values, np.nan)

    def _ages(self, column: pd.Series[Any]) -> NDArray[np.float64]:
        """Read ages in years from ``58``, ``058Y``, ``013M``, ``001D``."""
        codes, written = column.cat.codes.to_numpy(), [str(item) for item in column.cat.categories]
        years = np.full(len(written) + 1, np.nan)
        strange, converted, too_old = [], [], []
        for code, text in enumerate(written):
            match = _AGE.fullmatch(text)
            if not match:
                if text.strip():
                    strange.append(code)
                continue
            unit = match[2].upper()
            age = float(match[1]) * _YEARS[unit]
            if unit not in ("", "Y"):
                converted.append(code)
            if age > MAX_AGE_YEARS:
                too_old.append(code)
            else:
                years[code] = age
        for kind, these, message in (
            ("age-converted", converted, "age in months, weeks or days: converted to years"),
            ("age-out-of-range", too_old, f"age above {MAX_AGE_YEARS} years: taken as not known"),
            ("age-unreadable", strange, "age that is no number: taken as not known"),
        ):
            if these:
                rows = np.flatnonzero(np.isin(codes, these))
                self._issue(kind, f"{message} ({_some(written, these)})", rows)
        return years[codes]

    def _sexes(self, column: pd.Series[Any]) -> Any:
        codes, written = column.cat.codes.to_numpy(), [str(item) for item in column.cat.categories]
        sexes = np.array([*(_SEX.get(text.strip().casefold()) for text in written), None], dtype=object)
        odd = [code for code, text in enumerate(written) if sexes[code] is None and text.strip()]
        if odd:
            self._issue(
                "sex-unreadable",
                f"sex neither M nor F: taken as not known ({_some(written, odd)})",
                np.flatnonzero(np.isin(codes, odd)),
            )
        return _categories(sexes, codes)

    def _views(self, cells: pd.DataFrame) -> Any:
        assert self.view is not None
        column = cells[self.view]
        written = np.array([*(str(item).strip() or None for item in column.cat.categories), None], dtype=object)
        codes = column.cat.codes.to_numpy()
        if not self.schema.lateral:
            return _categories(written, codes)
        lateral = cells[self.schema.lateral]
        names = np.array([*(str(item).strip() for item in lateral.cat.categories), None], dtype=object)
        side, views = names[lateral.cat.codes.to_numpy()], written[codes]
        return pd.Categorical(np.where(pd.isna(views) | (side == "Lateral"), side, views))

    def _check_duplicates(self, images: pd.Series[Any], numbers: NDArray[np.int64]) -> None:
        ordered = np.sort(numbers)
        # Names with distinct numbers are distinct: much sooner seen than with names.
        if (ordered[0] >= 0 and (np.diff(ordered) > 0).all()) or images.is_unique:
            return
        self._issue(
            "duplicate-image", "image named by an earlier row too", np.flatnonzero(images.duplicated().to_numpy())
        )

    def _check_file_names(
        self, numbers: NDArray[np.int64], patient_codes: NDArray[np.int64], patient_ids: Sequence[str]
    ) -> None:
        """Hold the patient number in NIH file names (it always equals the patient id) against the patient column."""
        if self.patient is None or not (numbers >= 0).any():
            return
        # A patient id that is no number of up to eight digits contradicts any NIH name.
        ids = [int(item) if item.isascii() and item.isdigit() and len(item) <= 8 else -2 for item in patient_ids]
        known = np.array([*ids, -1], dtype=np.int64)[patient_codes]
        self._issue(
            "patient-contradicts-name",
            "patient id differs from the number in the file name: the column is taken",
            np.flatnonzero((numbers >= 0) & (patient_codes >= 0) & (numbers // 1000 != known)),
        )


def _categories(values: NDArray[np.object_], codes: NDArray[np.integer[Any]]) -> pd.Categorical:
    """Return ``values[codes]`` as categories; None is missing, and equal values fall together."""
    distinct = list(dict.fromkeys(value for value in values.tolist() if value is not None))
    places = np.array([-1 if value is None else distinct.index(value) for value in values.tolist()])
    return pd.Categorical.from_codes(places[codes], pd.Index(distinct, dtype="str"))


def _numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    """Read text as numbers: missing and blank cells are NaN, true and false 1 and 0, what is no number infinity."""
    codes, found = pd.factorize(column)
    values = np.array([*(_number(str(text).strip()) for text in found), np.nan])
    read: NDArray[np.float64] = values[codes]
    return read


def _number(text: str) -> float:
    if not text:
        return np.nan
    if text.casefold() in ("true", "false"):
        return float(text.casefold() == "true")
    try:
        # Python also reads 1_000, digits of other scripts and nan; none of these is a number in a table.
        return float(text) if _NUMBER.fullmatch(text) else np.inf
    except ValueError:
        return np.inf


def _some(written: Sequence[str], codes: Sequence[int]) -> str:
    """Name the first five of the cells with these codes."""
    return ", ".join(shown(written[code], 20) for code in codes[:5]) + (", …" if len(codes) > 5 else "")


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


def _read_image_list(path: Path, unsafe_ok: bool) -> LabelTable:
    """Read a list of image names; the patient comes from NIH file names, and no label is known."""
    raw = read_lines(path)
    if not raw.n_rows:
        raise LabelTableError(f"{path}: names no image", expected="one image name a line", remedy="Check the file.")
    names = [raw.record(row).decode("utf-8").strip() for row in range(raw.n_rows)]
    for row, name in enumerate(names):
        if not name or "," in name or (not unsafe_ok and is_unsafe_name(name)):
            what = f"'{shown(name)}' is no image name" if not name or "," in name else why_unsafe(name)
            raise LabelTableError(
                f"{path}: line {raw.line(row)}: {what}",
                expected="one image name a line",
                remedy="Correct the line; a table with columns needs the ending .csv.",
            )
    patients = [patient_of_nih_name(name) for name in names]
    patient_codes, patient_ids = pd.factorize(np.array(patients, dtype=object))
    images = pd.Series(names, dtype="str")
    unknown = [row for row, patient in enumerate(patients) if patient is None]
    unsafe = [row for row, name in enumerate(names) if is_unsafe_name(name)]
    repeated = np.flatnonzero(images.duplicated().to_numpy()).tolist()
    issues = [
        Issue(kind, message, len(rows), tuple(rows[:ISSUE_ROWS]))
        for kind, message, rows in (
            ("unsafe-image-name", UNSAFE, unsafe),
            ("no-patient", "no patient number in the file name", unknown),
            ("duplicate-image", "image named by an earlier row too", repeated),
        )
        if rows
    ]
    return LabelTable(
        path=path,
        source=raw.source,
        schema="image-list",
        frame=pd.DataFrame({"image": images, "patient_id": pd.array(patients, dtype="str")}),
        pathologies=(),
        issues=tuple(issues),
        columns=raw.header,
        column_types=("str",),
        null_cells=(0,),
        n_findings_written=None,
        uncertain="ignore",
        n_uncertain=0,
        patient_codes=patient_codes.astype(np.int64),
        patient_ids=tuple(patient_ids),
        raw=raw,
    )
