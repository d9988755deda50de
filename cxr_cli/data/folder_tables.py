"""A folder of images as a label table: its sub-folders are classes that exclude each other."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cxr_cli.data.account import Issue
from cxr_cli.data.columns import is_image_name
from cxr_cli.data.files import InputFile
from cxr_cli.data.folders import walk_files
from cxr_cli.data.image_types import may_be_dicom
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.schemas import DICOM_FOLDER, FOLDER, recognise, schema_named
from cxr_cli.data.schemas.vocabulary import ROLES, fold
from cxr_cli.data.tables import RawTable, parse_table, read_table
from cxr_cli.errors import InputError, LabelTableError, shown

if TYPE_CHECKING:
    from cxr_cli.data.dicom.table import HeaderColumns
    from cxr_cli.data.records import Reading

#: Tables that lie inside a folder of images and name them, as Roboflow writes them.
TABLES_INSIDE = ("_classes.csv",)
#: Names of sub-folders that are splits, not classes.
_SPLITS = {"train", "test", "val", "valid", "validation", "training", "testing"}


def table_inside(folder: Path) -> Path | None:
    """Return the table that lies in a folder of images and names them, if there is one."""
    return next((folder / name for name in TABLES_INSIDE if (folder / name).is_file()), None)


def folder_table(folder: Path, schema: str | None, reading: Reading) -> LabelTable:
    """Read a folder: the table inside it, or its images, by class where they lie in sub-folders.

    Raises
    ------
    InputError
        The folder cannot be read, or holds no image.
    LabelTableError
        A sub-folder holds no image, or the sub-folders are splits.
    """
    from cxr_cli.data.label_reader import read_raw

    inside = table_inside(folder)
    if inside is not None:
        raw = read_table(inside)
        table = read_raw(raw, recognise(inside, raw.header, schema), reading)
        said = Issue("table-inside-folder", f"the folder's own table is read: {inside}", 1)
        return replace(table, issues=(*table.issues, said))
    listing = _listing(folder)
    headers = _headers(listing, folder)
    if headers is not None:
        return _dicom_table(listing, headers, folder, schema, reading)
    table = read_raw(_raw(folder, listing.rows()), FOLDER, reading)
    said = Issue("folder", f"read as a folder of images: {_described(table)}", 1)
    return replace(table, issues=(*table.issues, said))


def _raw(folder: Path, rows: Iterable[Sequence[str]]) -> RawTable:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    content = stream.getvalue().encode("utf-8", "surrogateescape")
    return parse_table(folder, content, InputFile(str(folder), len(content), hashlib.sha256(content).hexdigest()))


def _described(table: LabelTable) -> str:
    if not table.pathologies and table.account.labels == "none":
        return f"{table.n_images:,} images, no classes"
    return f"{table.n_images:,} images; classes are the names of its sub-folders"


@dataclass(frozen=True)
class _Listing:
    """The images of a folder in the order of their names, and whether its sub-folders are classes."""

    files: list[str]
    with_classes: bool

    def columns(self) -> dict[str, list[str]]:
        """Return the images, and their classes where there are any."""
        if not self.with_classes:
            return {"image": self.files}
        return {"image": self.files, "class": [file.partition("/")[0] for file in self.files]}

    def rows(self) -> list[tuple[str, ...]]:
        """Return the header and the rows."""
        return rows_of(self.columns())


def rows_of(columns: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return header and rows of a table given by its columns."""
    return [tuple(columns), *zip(*columns.values(), strict=True)]


def _headers(listing: _Listing, folder: Path) -> HeaderColumns | None:
    """Read the headers of a folder's images; None if none of them is DICOM."""
    if not any(may_be_dicom(PurePosixPath(file)) for file in listing.files):
        return None
    from cxr_cli.data.dicom.table import header_columns

    return header_columns(folder, listing.files)


def _dicom_table(
    listing: _Listing, headers: HeaderColumns, folder: Path, schema: str | None, reading: Reading
) -> LabelTable:
    """Read a folder of DICOM files: patients and views from headers, and labels of further tables."""
    from cxr_cli.data.dicom.table import COLUMNS, are_classes
    from cxr_cli.data.label_reader import read_raw

    cells = dict(zip(COLUMNS, map(list, zip(*headers.cells, strict=True)), strict=True))
    classes = listing.with_classes and are_classes(listing.files, headers)
    columns = {
        **replace(listing, with_classes=classes).columns(),
        **{name: values for name, values in cells.items() if any(values)},
    }
    issues = [Issue("folder", f"read as a folder of {headers.n_dicom:,} DICOM files, described by their headers", 1)]
    if headers.unreadable:
        first = next(iter(headers.unreadable.items()))
        example = f"{shown(first[0])}: {first[1]}"
        issues.append(
            Issue("unreadable-header", f"DICOM files whose header cannot be read ({example})", len(headers.unreadable))
        )
    sources: list[InputFile] = []
    for path in reading.join:
        table = read_table(path)
        columns, said = _joined(columns, cells["sop_instance"], listing.files, table)
        sources.append(table.source)
        issues += said
    found = DICOM_FOLDER if schema is None and not sources else schema_named(schema or "own")
    made = read_raw(_raw(folder, rows_of(columns)), found, replace(reading, join=()))
    return replace(
        made,
        issues=(*made.issues, *issues),
        sources=(*made.sources, *sources),
        account=replace(made.account, joined=(*made.account.joined, *(source.path for source in sources))),
    )


def _joined(
    columns: Mapping[str, list[str]], uids: Sequence[str], files: Sequence[str], table: RawTable
) -> tuple[dict[str, list[str]], list[Issue]]:
    """Add the columns of a label table whose rows name the images by SOP instance UID or file name."""
    from cxr_cli.data.dicom.table import join_labels

    frame = table.frame({}, list(table.names)).astype("str").where(lambda cells: cells.notna(), "")
    given = [frame[name].tolist() for name in frame.columns]
    joined = join_labels(files, uids, given) if len(columns["image"]) == len(files) else None
    if joined is None:
        raise LabelTableError(
            f"{table.path}: names no image of the folder",
            expected="a column with the SOP instance UIDs or the file names of its images",
            remedy="Look whether both are of the same data set; join one table.",
        )
    others = {
        name: cells
        for place, (name, cells) in enumerate(zip(frame.columns, given, strict=True))
        if place != joined.column
    }
    # What the label table tells of patients, ages and so on goes before the headers.
    told = {role for role, names in ROLES.items() for name in others if fold(name) in names}
    kept = {
        name: values
        for name, values in columns.items()
        if name == "image" or not any(fold(name) in ROLES[role] for role in told)
    }
    made = {name: [values[image] for image, _ in joined.matches] for name, values in kept.items()}
    made |= {name: [cells[row] for _, row in joined.matches] for name, cells in others.items() if name not in made}
    name = frame.columns[joined.column]
    issues = [Issue("joined-labels", f"labels of {table.path} joined by {joined.by} (column {shown(name)})", 1)]
    for kind, count, what in (
        ("rows-without-image", joined.n_rows_without_image, f"rows of {table.path.name} that name no image here"),
        ("images-without-row", joined.n_images_without_row, f"images that {table.path.name} does not name: left out"),
    ):
        if count:
            issues.append(Issue(kind, what, count))
    return made, issues


def _listing(folder: Path) -> _Listing:
    """List the images in a folder."""
    from cxr_cli.data.dicom.table import is_nameless_dicom

    try:
        files = sorted(
            place
            for place, path, is_link in walk_files(str(folder))
            if is_image_name(place) or (not is_link and is_nameless_dicom(path))
        )
        with os.scandir(folder) as entries:
            classes = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read: {error.strerror}", remedy="Check it.") from error
    if not files:
        tables = sorted(
            item.name for item in folder.iterdir() if item.name.lower().endswith((".csv", ".csv.gz", ".txt"))
        )
        held = f"; it holds {', '.join(shown(name) for name in tables[:5])}" if tables else ""
        raise InputError(
            f"{folder}: is a folder without images{held}",
            expected="a label table, or a folder of images",
            remedy="Give the table itself." if tables else "Check the path.",
        )
    nested = [file for file in files if "/" in file]
    by_class = {name: [file for file in nested if file.startswith(f"{name}/")] for name in classes}
    if nested and len(nested) == len(files):
        if classes and {name.casefold() for name in classes} <= _SPLITS:
            raise LabelTableError(
                f"{folder}: its sub-folders are splits: {', '.join(shown(name) for name in classes)}",
                expected="a folder whose sub-folders are classes",
                remedy=f"Give them one by one, such as {folder / classes[0]}; check-leakage compares them.",
            )
        empty = [name for name, held_ in by_class.items() if not held_]
        if empty:
            raise LabelTableError(
                f"{folder}: the class folder {shown(empty[0])} has no image",
                expected="images in every sub-folder",
                remedy="Remove it, or give a label table.",
            )
    # NIH's images_001/… and other parts of one set are not classes.
    parts = all(name.casefold().startswith("images") or name.isdigit() for name in classes)
    with_classes = bool(nested) and len(nested) == len(files) and not parts
    return _Listing(files, with_classes)
