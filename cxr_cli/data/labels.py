"""Label tables: `read_labels` turns a file of any data set, or of one's own, into one canonical LabelTable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.choices import ReadersPolicy, UncertainPolicy, checked
from cxr_cli.data.account import Issue, TableAccount
from cxr_cli.data.columns import parse_columns
from cxr_cli.data.files import InputFile
from cxr_cli.data.schemas import LISTS, recognise, schema_named
from cxr_cli.data.schemas.own import IMAGE_FOLDERS
from cxr_cli.data.tables import RawTable, read_table
from cxr_cli.errors import LabelTableError, UsageError, argument, shown

#: More columns of labels than this are not pathologies (the largest vocabulary in the field has some 200).
MAX_PATHOLOGIES = 1000
#: Columns of `LabelTable.frame` that no pathology may be called.
RESERVED = ("image", "patient_id", "age", "sex", "view", "follow_up", "split")


@dataclass(frozen=True)
class LabelCounts:
    """How often each pathology is present, absent and unknown.

    Attributes
    ----------
    n_positive, n_negative, n_unknown
        Rows, int64, shape (n_pathologies,); their sum is the number of rows.
    prevalence
        Fraction of positives among the rows where the pathology is known, float64, 0 to 1; NaN where it never is.
    """

    n_positive: NDArray[np.int64]
    n_negative: NDArray[np.int64]
    n_unknown: NDArray[np.int64]
    prevalence: NDArray[np.float64]

    @classmethod
    def of(cls, labels: NDArray[Any]) -> LabelCounts:
        """Count labels of shape (n_images, n_pathologies): 1 present, 0 absent, NaN unknown."""
        positive = (labels == 1).sum(axis=0).astype(np.int64)
        negative = (labels == 0).sum(axis=0).astype(np.int64)
        return cls(positive, negative, len(labels) - positive - negative, prevalence_of(positive, negative))


def prevalence_of(n_positive: NDArray[Any], n_negative: NDArray[Any]) -> NDArray[np.float64]:
    """Return the fraction of positives among what is known, 0 to 1; NaN where nothing is."""
    n_known = n_positive + n_negative
    fractions: NDArray[np.float64] = np.full(n_known.shape, np.nan)
    np.divide(n_positive, n_known, out=fractions, where=n_known > 0)
    return fractions


@dataclass(frozen=True)
class Links:
    """Which records of the file describe which rows of a LabelTable, where they are not one and the same.

    Attributes
    ----------
    records, rows
        Pairs of a record of the file and a row of the table, int64, shape (n_links,) each, sorted by row.
    """

    records: NDArray[np.int64]
    rows: NDArray[np.int64]


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
        One row per image described, in the order of the file: ``image`` (text), ``patient_id`` (text in one normal
        form, or missing), one float32 column per pathology (1 present, 0 absent, NaN unknown), then ``age``
        (years), ``sex`` (M, F or missing), ``view`` (text or missing), ``follow_up`` and ``split`` where the file has
        them. Patients, sex, view and split are categories of text. Where rows of the file are boxes or the views of
        several readers, they are brought together in one row; a table whose rows are images keeps its rows, also
        where two of them name the same image.
    pathologies
        Names of the pathologies, in the order of the file (or of the data set, where findings are listed).
    issues
        What was repaired, set to "unknown", or left as it is.
    account
        The account of every column, row and patient id.
    columns, column_types, null_cells
        The header of the file; the type pandas infers for each column ("str", "int64", "float64", …); and how many
        of its cells pandas reads as missing.
    n_findings_written
        Distinct cells of the column of findings, as written: the same findings in another order count apart. None
        where there is one column per pathology.
    uncertain, n_uncertain
        The policy for uncertain labels, and how many cells it touched.
    patient_codes, patient_ids
        Position of each row's patient in `patient_ids`, shape (n_images,), -1 where the patient is unknown; and
        the distinct patient ids, in no particular order.
    raw
        The bytes and records behind it.
    links
        Which records describe which rows; None where record i describes row i.
    sources
        All files that were read, the label table first.
    reading
        The options with which it was read, for `read_again`.
    part
        The value of the split column whose rows these are, in a table made by `parts`.
    """

    path: Path
    source: InputFile
    schema: str
    frame: pd.DataFrame
    pathologies: tuple[str, ...]
    issues: tuple[Issue, ...]
    account: TableAccount
    columns: tuple[str, ...]
    column_types: tuple[str, ...]
    null_cells: tuple[int, ...]
    n_findings_written: int | None
    uncertain: UncertainPolicy
    n_uncertain: int
    patient_codes: NDArray[np.int64]
    patient_ids: tuple[str, ...]
    raw: RawTable
    links: Links | None = None
    sources: tuple[InputFile, ...] = ()
    reading: Mapping[str, Any] | None = None
    part: str | None = None

    @property
    def file_name(self) -> str:
        """Name under which a table made of this one's lines is written: that of the file, as a rule."""
        name = self.path.name
        if self.path.suffix.lower() == ".zip":
            name = name[: -len(".zip")]
            name = name if name.lower().endswith((".csv", ".txt")) else f"{name}.csv"
        elif self.path.is_dir():
            name = f"{name}.csv"
        if self.part is None:
            return name
        stem, dot, ending = name.partition(".")
        return f"{stem}-{re.sub(r'[^0-9A-Za-z_-]', '_', self.part)}{dot}{ending}"

    @property
    def image_folders(self) -> tuple[str, ...]:
        """Names that the image folder beside the table may have."""
        return tuple(dict.fromkeys((*schema_named(self.schema).image_folders, *IMAGE_FOLDERS)))

    @property
    def n_images(self) -> int:
        """Number of rows of `frame`: one for each image described."""
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
        """Labels, shape (n_images, n_pathologies), float32: 1 present, 0 absent, NaN unknown."""
        labels = np.empty((len(self.frame), len(self.pathologies)), np.float32)
        for column, pathology in enumerate(self.pathologies):
            labels[:, column] = self.frame[pathology].to_numpy()
        return labels

    @cached_property
    def counts(self) -> LabelCounts:
        """How often each pathology is present, absent and unknown."""
        return LabelCounts.of(self.labels)

    @property
    def has_patients(self) -> bool:
        """Whether any row names its patient."""
        return bool(self.patient_ids)

    @property
    def patient_namespace(self) -> str | None:
        """Numbering within which the patient ids can be compared; None for a table of one's own."""
        return self.account.patient_namespace

    @property
    def names_images(self) -> bool:
        """Whether the rows name images; a list of patients does not."""
        return self.account.rows_describe != "patients"

    def has(self, column: str) -> bool:
        """Whether the file has ``age``, ``sex``, ``view``, ``follow_up`` or ``split``."""
        return column in self.frame.columns

    def select(self, rows: Iterable[int]) -> bytes:
        """Return the file with its header and all lines that describe the given rows, each as it was.

        Where several lines describe one image, all of them are kept.
        """
        if self.links is None:
            return self.raw.select(rows)
        wanted = np.zeros(self.n_images, dtype=bool)
        wanted[list(rows)] = True
        return self.raw.select(np.unique(self.links.records[wanted[self.links.rows]]).tolist())

    def line(self, row: int) -> int:
        """Return the line of the file on which a row is described first."""
        if self.links is None:
            return self.raw.line(row)
        return self.raw.line(int(self.links.records[np.searchsorted(self.links.rows, row)]))

    def take(self, rows: Sequence[int] | NDArray[Any]) -> LabelTable:
        """Return the table of some rows, in the order given; it knows the lines of the file it came from."""
        chosen = np.asarray(rows, dtype=np.int64)
        codes, kept = pd.factorize(self.patient_codes[chosen])
        # factorize gives -1 ("unknown") a place of its own.
        known = np.array([code >= 0 for code in kept], dtype=bool)
        places = np.where(known, np.cumsum(known) - 1, -1)
        frame = self.frame.iloc[chosen].reset_index(drop=True)
        if self.links is None:
            links = Links(chosen, np.arange(len(chosen), dtype=np.int64))
        else:
            starts = np.searchsorted(self.links.rows, chosen)
            ends = np.searchsorted(self.links.rows, chosen, side="right")
            records = [self.links.records[start:end] for start, end in zip(starts, ends, strict=True)]
            sizes = [len(part) for part in records]
            joined = np.concatenate(records) if records else np.empty(0, np.int64)
            links = Links(joined, np.repeat(np.arange(len(chosen), dtype=np.int64), sizes))
        return replace(
            self,
            frame=frame,
            patient_codes=places[codes].astype(np.int64) if len(chosen) else np.empty(0, np.int64),
            patient_ids=tuple(self.patient_ids[code] for code in kept if code >= 0),
            links=links,
        )

    def parts(self) -> dict[str, LabelTable]:
        """Return the tables of the values of the split column, by value in alphabetical order; none without one."""
        if not self.has("split"):
            return {}
        column = self.frame["split"]
        return {
            str(value): replace(self.take(np.flatnonzero((column == value).to_numpy())), part=str(value))
            for value in sorted(column.cat.categories.tolist())
            if (column == value).any()
        }

    def warnings(self) -> tuple[str, ...]:
        """Return notes on the reading of this table for every command, one sentence each."""
        return tuple(issue.message for issue in self.issues if issue.kind in LOUD)


#: Issues that any command which uses the table warns of.
LOUD = (
    "columns-not-used",
    "read-as-pathology",
    "empty-label-column",
    "contradicting-rows",
    "patient-id-digits-lost",
    "labels-without-zero",
    "uncertain-labels",
    "no-header",
    "header-line",
    "label-columns-without-names",
    "studies-without-images",
    "blank-rows",
    "mapped-pathologies",
)


def read_labels(
    path: Path | str,
    *,
    schema: str | None = None,
    uncertain: UncertainPolicy = "ignore",
    readers: ReadersPolicy = "any",
    columns: str | Mapping[str, Sequence[str]] | None = None,
    join: Sequence[Path | str] = (),
    map_pathologies: Mapping[str, str] | None = None,
    patient_pattern: str | None = None,
    allow_image_list: bool = False,
    allow_unsafe_names: bool = False,
    need_labels: bool = False,
) -> LabelTable:
    """Read and validate a label table; the schema is recognised from the header.

    Parameters
    ----------
    path
        A delimited text file (plain, ``.gz`` or ``.zip``), or a folder of images whose sub-folders are classes.
    schema
        Name of a schema in `cxr_cli.data.schemas`, to override recognition.
    uncertain
        What a label that is called uncertain (-1) becomes: NaN ("ignore"), 1 or 0.
    readers
        Where several readers read an image: a finding is present if "any", a "majority" (more than half) or "all" of
        its readers say so.
    columns
        Which column is which, as in ``--columns``: ``"image=filename,patient=subject,labels=Mass+Nodule"``, or the
        same as a dictionary of lists.
    join
        Further files of the data set: MIMIC's metadata and split, RSNA's DICOM headers.
    map_pathologies
        Pathologies, and the names under which they are read instead. What falls together is present where any of
        them is.
    patient_pattern
        Regular expression whose first group is the patient id in an image name.
    allow_image_list
        Also take a text file without labels: one image name a line, as NIH's ``train_val_list.txt``, or one patient.
    allow_unsafe_names
        Keep rows whose image name climbs out of the image folder, with an issue, instead of raising an error. Such
        files are never opened all the same.
    need_labels
        Raise an error if the table has no labels.

    Raises
    ------
    InputError
        The file is missing or unreadable.
    LabelTableError
        It is not a label table, has no rows, a row without image, an unsafe image name, two readings, or a label that
        is not one.
    UsageError
        `schema`, `columns`, `map_pathologies` or `patient_pattern` does not fit.
    """
    from cxr_cli.data.label_reader import read_raw
    from cxr_cli.data.lists import read_list
    from cxr_cli.data.patient_ids import compiled_pattern
    from cxr_cli.data.records import Reading

    path = Path(path)
    checked(UncertainPolicy, uncertain, "uncertain")
    checked(ReadersPolicy, readers, "readers")
    said = parse_columns(columns) if isinstance(columns, str) else columns
    reading = Reading(
        uncertain=uncertain,
        readers=readers,
        said=None if said is None else {key: tuple(names) for key, names in said.items()},
        join=tuple(Path(item) for item in join),
        mapped=dict(map_pathologies or {}),
        pattern=compiled_pattern(patient_pattern),
        unsafe_ok=allow_unsafe_names,
    )
    if path.is_dir():
        from cxr_cli.data.folder_tables import folder_table

        table = folder_table(path, schema, reading)
    elif path.name.lower().endswith((".txt", ".txt.gz")) and schema in (None, *LISTS):
        table = read_list(path, reading, allow_image_list)
    else:
        raw = read_table(path)
        found = recognise(path, raw.header, schema)
        if not raw.n_rows:
            raise LabelTableError(f"{path}: has a header and no rows", remedy="Give a table with at least one image.")
        table = read_raw(raw, found, reading)
    if need_labels and not table.pathologies:
        raise LabelTableError(
            f"{path}: has no labels",
            expected="a column for each pathology, or one that names the findings",
            remedy=f"Name the columns with {argument('columns')} labels=NAME+NAME, or join the table that has them.",
        )
    return replace(
        table,
        reading={
            "schema": None if schema is None else schema_named(schema).name,
            "uncertain": uncertain,
            "readers": readers,
            "columns": columns,
            "join": tuple(join),
            "map_pathologies": map_pathologies,
            "patient_pattern": patient_pattern,
            "allow_image_list": allow_image_list,
        },
    )


def read_again(table: LabelTable, path: Path | str) -> LabelTable:
    """Read a file as another table was read: a part of it that was written, for instance."""
    return read_labels(path, **{"schema": table.schema, **{k: v for k, v in (table.reading or {}).items() if v}})


def parse_mapping(text: str) -> dict[str, str]:
    """Read ``Effusion=Pleural Effusion,Nodule=Lung Lesion``, as ``--map-pathologies`` takes it.

    Raises
    ------
    UsageError
        An entry is not A=B, or a pathology is mapped twice.

    Examples
    --------
    >>> parse_mapping("Effusion=Pleural Effusion")
    {'Effusion': 'Pleural Effusion'}
    """
    found: dict[str, str] = {}
    for entry in text.split(","):
        old, sign, new = (part.strip() for part in entry.partition("="))
        if not sign or not old or not new or old in found:
            what = "is mapped twice" if old in found else "is not A=B"
            raise UsageError(
                f"{argument('map_pathologies')} {shown(text)}: '{shown(entry)}' {what}",
                expected="such as Effusion=Pleural Effusion,Pleural_Thickening=Pleural thickening",
            )
        found[old] = new
    return found
