"""A folder of DICOM files as a table: patients and views from headers, and labels joined by UID or file name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cxr_cli.data.dicom.container import PREFIX, PREFIX_AT
from cxr_cli.data.dicom.headers import DicomHeader, read_dicom_header
from cxr_cli.data.image_types import IMAGE_SUFFIXES, SUFFIXES, may_be_dicom
from cxr_cli.errors import ImageError

#: The columns that headers give, under names that tables of one's own are recognised by.
COLUMNS = ("patient_id", "age", "sex", "view_position", "study_id", "sop_instance")


#: Endings of files that are not looked into.
_OTHER_ENDINGS = {
    *IMAGE_SUFFIXES,
    *(".csv", ".txt", ".json", ".md", ".gz", ".zip", ".npy", ".h5", ".keras", ".pdf", ".xml", ".html"),
}
#: Cells of a column that holds labels, not names.
_LABELS = frozenset({"", "0", "1", "-1", "0.0", "1.0", "-1.0"})


@dataclass(frozen=True)
class HeaderColumns:
    """Facts from the headers of a folder's images, in the order of the images.

    Attributes
    ----------
    cells
        For each image the cells of `COLUMNS`; "" where its header does not tell, or cannot be read.
    n_dicom
        Images that are DICOM.
    unreadable
        Images whose header cannot be read, and why.
    """

    cells: tuple[tuple[str, ...], ...]
    n_dicom: int
    unreadable: Mapping[str, str]


def is_dicom_file(path: Path | str) -> bool:
    """Whether a file without an ending that tells is DICOM: the four letters at byte 128."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read(PREFIX_AT + len(PREFIX))[PREFIX_AT:] == PREFIX
    except OSError:
        return False


def is_nameless_dicom(path: Path | str) -> bool:
    """Whether a file whose name tells no type of image is DICOM, as archives of hospitals write them (IM000001)."""
    return os.path.splitext(path)[1].lower() not in _OTHER_ENDINGS and is_dicom_file(path)


def header_columns(folder: Path, files: Sequence[str]) -> HeaderColumns | None:
    """Read the headers of the DICOM files among the images of a folder.

    Parameters
    ----------
    folder, files
        The folder, and its images relative to it.

    Returns
    -------
    HeaderColumns or None
        None if none of them is DICOM.
    """
    blank = ("",) * len(COLUMNS)
    root = os.path.realpath(folder)
    cells: list[tuple[str, ...]] = []
    unreadable: dict[str, str] = {}
    n_dicom = 0
    for file in files:
        found = blank
        if may_be_dicom(PurePosixPath(file)):
            path = folder / file
            try:
                found = _cells(read_dicom_header(_inside(path, root)))
                n_dicom += 1
            except ImageError as error:
                if PurePosixPath(file).suffix.lower() in SUFFIXES["DICOM"]:
                    n_dicom += 1
                    unreadable[file] = error.what.removeprefix(f"{path}: ")
        cells.append(found)
    return HeaderColumns(tuple(cells), n_dicom, unreadable) if n_dicom else None


def _inside(path: Path, root: str) -> Path:
    """Return where a file lies; a link must not lead out of the folder."""
    if not path.is_symlink():
        return path
    real = os.path.realpath(path)
    if not real.startswith(root.rstrip(os.sep) + os.sep):
        raise ImageError(f"{path}: its link leaves the image folder")
    return Path(real)


def _cells(header: DicomHeader) -> tuple[str, ...]:
    return (header.patient_id, header.age, header.sex, header.view, header.study, header.sop_instance)


def are_classes(files: Sequence[str], headers: HeaderColumns) -> bool:
    """Whether the sub-folders of DICOM files are classes, not patients or studies.

    Archives put each patient or study into a folder of its own, mostly with folders in it; classes hold several
    patients, and files.
    """
    if any(file.count("/") != 1 for file in files):
        return False
    folders: dict[str, set[str]] = {}
    for file, (patient, *_, study, _) in zip(files, headers.cells, strict=True):
        name = file.partition("/")[0]
        if name in (patient, study):
            return False
        folders.setdefault(name, set()).add(patient)
    one_each = all(len(patients) == 1 for patients in folders.values())
    return not (one_each and len(set().union(*folders.values())) == len(folders)) or all(
        "" in patients for patients in folders.values()
    )


@dataclass(frozen=True)
class JoinedLabels:
    """Rows of a label table, joined to the images of a folder.

    Attributes
    ----------
    column
        Of the label table: what it names images by.
    by
        "SOP instance UID" or "file name".
    matches
        (image, row) for each row of the label table that names an image, in the order of the images.
    n_rows_without_image, n_images_without_row
        What found no partner.
    """

    column: int
    by: str
    matches: tuple[tuple[int, int], ...]
    n_rows_without_image: int
    n_images_without_row: int


def join_labels(files: Sequence[str], uids: Sequence[str], columns: Sequence[Sequence[str]]) -> JoinedLabels | None:
    """Find the column of a label table that names images by SOP instance UID or file name, and join by it.

    Parameters
    ----------
    files
        Images, relative to their folder.
    uids
        SOP instance UID of each; "" where unknown.
    columns
        Cells of the label table, column by column.

    Returns
    -------
    JoinedLabels or None
        By the column that names most images, UIDs before file names; None if no column names any.
    """
    keys: dict[str, dict[str, int]] = {"SOP instance UID": {}, "file name": {}}
    for image, (file, uid) in enumerate(zip(files, uids, strict=True)):
        if uid:
            keys["SOP instance UID"].setdefault(uid, image)
        for name in _names(file):
            keys["file name"].setdefault(name, image)
    best: JoinedLabels | None = None
    most = (0, 0)
    for by, places in keys.items():
        for column, cells in enumerate(columns):
            if _LABELS.issuperset(cells):  # although a file may be called 1.dcm
                continue
            found = [(places[key], row) for row, cell in enumerate(cells) if (key := cell.strip()) in places]
            n_images = len({image for image, _ in found})
            if (n_images, len(found)) > most:
                most = (n_images, len(found))
                best = JoinedLabels(column, by, tuple(sorted(found)), len(cells) - len(found), len(files) - n_images)
    return best


def _names(file: str) -> tuple[str, ...]:
    """Return the names under which a label table may know a file: with and without folders and ending."""
    path = PurePosixPath(file)
    ending = path.suffix if path.suffix.lower() in SUFFIXES["DICOM"] else ""
    return tuple(dict.fromkeys((file, path.name, file.removesuffix(ending), path.name.removesuffix(ending))))
