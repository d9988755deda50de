"""A folder of images as a label table: its sub-folders are classes that exclude each other."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_cli.data.account import Issue
from cxr_cli.data.columns import is_image_name
from cxr_cli.data.files import InputFile
from cxr_cli.data.folders import walk_files
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.schemas import FOLDER, recognise
from cxr_cli.data.tables import parse_table, read_table
from cxr_cli.errors import InputError, LabelTableError, shown

if TYPE_CHECKING:
    from cxr_cli.data.label_reader import Reading

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
    content = _listing(folder)
    path = folder
    raw = parse_table(path, content, InputFile(str(folder), len(content), hashlib.sha256(content).hexdigest()))
    table = read_raw(raw, FOLDER, reading)
    said = Issue("folder", f"read as a folder of images: {_described(table)}", 1)
    return replace(table, issues=(*table.issues, said))


def _described(table: LabelTable) -> str:
    if not table.pathologies and table.account.labels == "none":
        return f"{table.n_images:,} images, no classes"
    return f"{table.n_images:,} images; classes are the names of its sub-folders"


def _listing(folder: Path) -> bytes:
    """Return a table of the images in a folder, in the order of their names: image, and class where there are any."""
    try:
        files = sorted(place for place, _, _ in walk_files(str(folder)) if is_image_name(place))
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
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if with_classes:
        writer.writerow(["image", "class"])
        writer.writerows((file, file.partition("/")[0]) for file in files)
    else:
        writer.writerow(["image"])
        writer.writerows((file,) for file in files)
    return stream.getvalue().encode("utf-8", "surrogateescape")
