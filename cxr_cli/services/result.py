"""Result, the base of what every service returns; ``to_dict()`` is the JSON contract."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any, Literal, Union


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

    NaN and infinities become None, because JSON has no word for them. Fields whose metadata says
    ``{"json": False}`` stay out.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
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


def restore(kind: Any, value: Any, where: str = "") -> Any:
    """Turn plain JSON values back into what `plain` made them from.

    Parameters
    ----------
    kind
        A dataclass, or any type that its fields have.
    value
        Plain values. Unknown names are ignored, so that files of later versions can be read; None becomes NaN where a
        number is expected.
    where
        Names of the fields that lead here, for messages.

    Raises
    ------
    ValueError
        A name is missing, or a value is not of its type.

    Examples
    --------
    >>> restore(tuple[float, ...], [1, None])
    (1.0, nan)
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin in (Union, types.UnionType):
        return _restore_one_of(arguments, value, where)
    if origin is Literal and value in arguments:
        return value
    if kind is float and value is None:
        return math.nan
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (int, str, bool, type(None)) and type(value) is kind:
        return value
    if isinstance(kind, type) and issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _restore_fields(kind, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is ... else list(arguments)
        if len(kinds) == len(value):
            return tuple(restore(item, part, where) for item, part in zip(kinds, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        # JSON has no other names than texts.
        numbers = arguments[0] is int
        return {
            (int(name) if numbers else name): restore(arguments[1], item, f"{where}.{name}")
            for name, item in value.items()
        }
    raise ValueError(f"{where.lstrip('.') or 'the document'} is {type(value).__name__}")


def _restore_one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    problem = ValueError(where)
    for kind in kinds:
        try:
            return restore(kind, value, where)
        except ValueError as error:
            problem = error
            if dataclasses.is_dataclass(kind):
                break
    raise problem


def _restore_fields(kind: Any, value: dict[str, Any], where: str) -> Any:
    types_of = typing.get_type_hints(kind)
    given = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            given[field.name] = restore(types_of[field.name], value[field.name], f"{where}.{field.name}")
        elif not field.metadata.get("json", True):
            given[field.name] = None  # such as arrays, which stay out of documents
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}.{field.name}".lstrip(".") + " is missing")
    return kind(**given)
