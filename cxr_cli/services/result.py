"""Result, the base of what every service returns; ``to_dict()`` is the JSON contract."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any


@dataclasses.dataclass(frozen=True)
class Result:
    """Base of the frozen dataclasses that services return: plain values only, big arrays stay in files."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values: NaN becomes None, a path its text, a tuple a list."""
        plain_values = plain(self)
        assert isinstance(plain_values, dict)
        return plain_values


#: Types that are JSON values as they are.
_PLAIN = frozenset({int, str, bool, type(None)})


def plain(value: Any) -> Any:
    """Turn dataclasses, numpy scalars and arrays, paths, tuples and mappings into plain JSON values.

    NaN and infinities become None, for JSON has no word for them. Fields whose metadata says
    ``{"json": False}`` stay out.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in _json_fields(type(value))}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Set):
        return [plain(item) for item in sorted(value)]
    if isinstance(value, (list, tuple)):
        # Long lists of rows and names are the bulk of a result.
        return list(value) if _PLAIN.issuperset(map(type, value)) else [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas Series and Index
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no place in a result: {value!r}")


@functools.cache
def _json_fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.metadata.get("json", True))
