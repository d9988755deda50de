"""Files of named arrays in the safetensors format, read as data: a JSON header and raw numbers, nothing else.

References
----------
The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import read_input
from cxr_cli.errors import WeightsFileError, shown

#: NumPy's name of each number type; bfloat16 has none and is widened by :func:`from_bfloat16`.
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "?",
}
#: The format's own limit of the header, in bytes.
_LONGEST_HEADER = 100_000_000
_DAMAGED = "Download or copy it again."


def looks_like_safetensors(start: bytes) -> bool:
    """Return whether a file with these first bytes can be a safetensors file."""
    return len(start) > 8 and start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of a safetensors file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Arrays by name, in the order of the header; read only. bfloat16 is widened to float32.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    WeightsFileError
        It is not a safetensors file, or is damaged: header cut off, numbers missing, arrays that overlap, leave gaps
        or have another size than their shape.
    """
    content = memoryview(read_input(path))
    header, start = _header(path, content)
    data = content[start:]
    arrays, end = {}, 0
    for name, first, last, type_name, shape in sorted(_entries(path, header), key=lambda entry: entry[1:3]):
        where = f"{path}: array {shown(name)}"
        if first != end or last > len(data):
            raise WeightsFileError(
                f"{where}: bytes {first:,} to {last:,} of {len(data):,}, where byte {end:,} is the next",
                expected="arrays one after the other",
                remedy=_DAMAGED,
            )
        if last - first != math.prod(shape) * np.dtype(_TYPES[type_name]).itemsize:
            raise WeightsFileError(f"{where}: {last - first:,} bytes do not fit shape {shape}", remedy=_DAMAGED)
        array = np.frombuffer(data[first:last], _TYPES[type_name]).reshape(shape)
        arrays[name], end = from_bfloat16(array) if type_name == "BF16" else array, last
    if end != len(data):
        raise WeightsFileError(f"{path}: {len(data) - end:,} bytes belong to no array", remedy=_DAMAGED)
    return {name: arrays[name] for name in header if name in arrays}


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the float32 numbers whose upper 16 bits are given."""
    widened: NDArray[np.float32] = (bits.astype("<u4") << np.uint32(16)).view("<f4")
    return widened


def _header(path: Path, content: memoryview) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(content[:8], "little")
    if not looks_like_safetensors(bytes(content[:9])):
        raise WeightsFileError(f"{path}: is not a safetensors file", remedy=_DAMAGED)
    if len(content) < 8 + length:
        raise WeightsFileError(f"{path}: is cut off (header of {length:,} bytes)", remedy=_DAMAGED)
    try:
        header = json.loads(bytes(content[8 : 8 + length]), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise WeightsFileError(f"{path}: header is not JSON ({shown(str(error), 100)})", remedy=_DAMAGED) from error
    if not isinstance(header, dict):
        raise WeightsFileError(f"{path}: header is not a JSON object", remedy=_DAMAGED)
    return header, 8 + length


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _entries(path: Path, header: dict[str, Any]) -> list[tuple[str, int, int, str, tuple[int, ...]]]:
    """Return name, first byte, byte after the last, type and shape of each array."""
    entries = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            type_name, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
            numbers = [*shape, first, last]
            if any(type(number) is not int or number < 0 for number in numbers) or first > last:
                raise ValueError("numbers must be whole and not negative")
        except (TypeError, ValueError, LookupError) as error:
            raise WeightsFileError(f"{path}: header of array {shown(name)} is damaged", remedy=_DAMAGED) from error
        if type_name not in _TYPES:
            raise WeightsFileError(
                f"{path}: array {shown(name)} has type {shown(str(type_name))}",
                expected=", ".join(_TYPES),
                remedy="Save the weights as float32.",
            )
        entries.append((name, first, last, type_name, tuple(shape)))
    return entries
