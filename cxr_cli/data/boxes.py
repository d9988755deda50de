"""Box lists: where on an image a finding is, as in NIH's ``BBox_List_2017.csv``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import InputFile, describe_input, read_input
from cxr_cli.data.tables import check_text, unpack
from cxr_cli.errors import InputError, shown

Floats = NDArray[np.float64]

#: Names of columns, folded (see `_folded`), by what they hold.
_COLUMNS = {
    "image": ("imageindex", "image", "imageid", "filename", "file", "path"),
    "pathology": ("findinglabel", "pathology", "finding", "label", "classname"),
    "x": ("bbox[x", "x", "xmin"),
    "y": ("y", "ymin"),
    "width": ("w", "width"),
    "height": ("h]", "h", "height"),
    "right": ("xmax",),
    "bottom": ("ymax",),
}
#: NIH's box list writes one pathology otherwise than its label table.
_OTHER_NAMES = {"infiltrate": "Infiltration"}
#: Rows of these say that an image has nothing to draw a box around.
_WITHOUT_BOX = ("nofinding", "normal")


@dataclass(frozen=True)
class BoxList:
    """Boxes on images, in pixels of the images they were drawn on.

    Attributes
    ----------
    images, pathologies
        One image name and one pathology for each box.
    boxes
        Float64, shape (n_boxes, 4): x and y of the upper left corner, width and height, in pixels.
    n_without_box
        Rows that name an image and no box (VinDr's "No finding").
    source
        The file, its size and SHA-256.
    """

    images: tuple[str, ...]
    pathologies: tuple[str, ...]
    boxes: Floats
    n_without_box: int
    source: InputFile

    @property
    def extent(self) -> tuple[float, float]:
        """The lowest and the rightmost edge of all boxes, (height, width) in pixels."""
        ends = self.boxes[:, :2] + self.boxes[:, 2:]
        width, height = ends.max(axis=0, initial=0.0)
        return float(height), float(width)

    def of_pathology(self, pathology: str) -> dict[str, Floats]:
        """Return the boxes of one pathology by image, each of shape (n_boxes, 4)."""
        found: dict[str, list[int]] = {}
        for place, (image, name) in enumerate(zip(self.images, self.pathologies, strict=True)):
            if name == pathology:
                found.setdefault(image, []).append(place)
        return {image: self.boxes[places] for image, places in found.items()}


def read_boxes(path: Path | str, pathologies: Sequence[str] = ()) -> BoxList:
    """Read a box list: NIH's, or a CSV with an image, a pathology, and x, y, width, height or xmin, ymin, xmax, ymax.

    Upper case, blanks, underscores and hyphens in column names do not count. NIH's "Infiltrate" is Infiltration.

    Parameters
    ----------
    path
        The file; ``.csv``, ``.csv.gz`` or ``.zip``.
    pathologies
        The model's names: a box's pathology is spelled as there.

    Raises
    ------
    InputError
        The file is missing or not a table; a column is missing; a corner is not a number, or a box has no area or a
        negative corner. The line is named.
    """
    path = Path(path)
    packed = read_input(path)
    content = unpack(path, packed)
    check_text(path, content)
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    header = next(rows, [])
    columns = _columns(path, header)
    spelled = {_folded(name): name for name in pathologies}
    images, names, boxes, n_without = [], [], [], 0
    for line, row in _lines(rows):
        image, name = (_cell(path, line, row, columns[key], key) for key in ("image", "pathology"))
        folded = _folded(name)
        corners = [row[columns[key]].strip() if columns[key] < len(row) else "" for key in columns if key not in _TEXTS]
        if folded in _WITHOUT_BOX or not any(corners):
            n_without += 1
            continue
        images.append(image)
        name = _OTHER_NAMES.get(folded, name)
        names.append(spelled.get(_folded(name), name))
        boxes.append(_box(path, line, dict(zip([key for key in columns if key not in _TEXTS], corners, strict=True))))
    if not boxes:
        raise InputError(f"{path}: has no boxes", remedy="Give a list such as NIH's BBox_List_2017.csv.")
    return BoxList(tuple(images), tuple(names), np.array(boxes), n_without, describe_input(path, packed))


_TEXTS = ("image", "pathology")


def _lines(rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(rows, 2):
        if any(cell.strip() for cell in row):
            yield number, row


def _folded(name: str) -> str:
    return "".join(name.split()).replace("_", "").replace("-", "").casefold()


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    place: dict[str, int] = {}
    for number, name in enumerate(header):
        place.setdefault(_folded(name), number)
    found = {
        key: next(place[name] for name in names if name in place)
        for key, names in _COLUMNS.items()
        if any(name in place for name in names)
    }
    size = ("width", "height") if {"width", "height"} <= set(found) else ("right", "bottom")
    missing = [key for key in ("image", "pathology", "x", "y", *size) if key not in found]
    if missing:
        raise InputError(
            f"{path}: line 1: not a box list: no column for {', '.join(missing)}",
            expected="NIH's header (Image Index,Finding Label,Bbox [x,y,w,h]) or image, pathology, x, y, width, height",
        )
    return {key: found[key] for key in ("image", "pathology", "x", "y", *size)}


def _cell(path: Path, line: int, row: Sequence[str], column: int, what: str) -> str:
    text = row[column].strip() if column < len(row) else ""
    if not text:
        raise InputError(f"{path}: line {line}: no {what}")
    return text


def _box(path: Path, line: int, corners: dict[str, str]) -> tuple[float, float, float, float]:
    numbers = {}
    for key, text in corners.items():
        try:
            numbers[key] = float(text)
        except ValueError:
            numbers[key] = math.nan
        if not math.isfinite(numbers[key]):
            raise InputError(f"{path}: line {line}: {key} is '{shown(text)}'", expected="a number of pixels")
    x, y = numbers["x"], numbers["y"]
    width = numbers["width"] if "width" in numbers else numbers["right"] - x
    height = numbers["height"] if "height" in numbers else numbers["bottom"] - y
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise InputError(
            f"{path}: line {line}: box at x {x:g}, y {y:g} of width {width:g} and height {height:g}",
            expected="corners from 0 on and a positive width and height",
        )
    return x, y, width, height
