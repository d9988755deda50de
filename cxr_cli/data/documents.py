"""JSON documents as inputs: reading them, and telling numbers from what else may stand in their place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cxr_cli.data.files import read_input
from cxr_cli.errors import InputError, shown

#: Longest side of an image that a document may ask for, in pixels.
LONGEST_SIDE = 65_536


def read_json(path: Path, *, remedy: str | None = None) -> Any:
    """Read a JSON document.

    Raises
    ------
    InputError
        The file is missing, unreadable, or not JSON.
    """
    content = read_input(path, remedy=remedy)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {shown(str(error), 200)}", remedy=remedy) from error


def is_number(value: object) -> bool:
    """Whether a value is a finite number that fits a float.

    Examples
    --------
    >>> is_number(1), is_number(0.5), is_number(True), is_number(float("nan")), is_number(10**400), is_number("1")
    (True, True, False, False, False, False)
    """
    # Comparing, unlike math.isfinite, also takes integers that are too long for a float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def image_size_of(value: Any) -> tuple[int, int]:
    """Return (height, width) in pixels.

    Raises
    ------
    ValueError
        It is something else.

    Examples
    --------
    >>> image_size_of([320, 256])
    (320, 256)
    """
    if isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value):
        height, width = value
        if 1 <= height <= LONGEST_SIDE and 1 <= width <= LONGEST_SIDE:
            return height, width
    raise ValueError(f"{shown(repr(value))} is not an image size")
