"""JSON Schemas of the commands' output, made from the result dataclasses and their docstrings.

The dataclass is the one place where a field is named, typed and explained. ``cxr_cli/json_schemas/`` holds the
schemas as files, and ``docs/`` shows them as tables; ``docs/make_docs.py`` writes both.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any, Literal, Union

from cxr_cli.data.files import InputFile
from cxr_cli.services.result import Result

#: The result that each command prints with ``--json``.
RESULTS: dict[str, str] = {
    "explore": "cxr_cli.services.explore.result.ExploreResult",
    "check-leakage": "cxr_cli.services.check_leakage.result.LeakageReport",
    "split": "cxr_cli.services.split.result.SplitResult",
    "preprocess": "cxr_cli.services.preprocess.result.PreprocessResult",
    "weights": "cxr_cli.services.weights.result.WeightsResult",
    "build-model": "cxr_cli.services.build_model.result.BuildModelResult",
    "train": "cxr_cli.services.train.result.TrainResult",
    "predict": "cxr_cli.services.predict.result.PredictResult",
    "evaluate": "cxr_cli.services.evaluate.result.EvaluateResult",
    "explain": "cxr_cli.services.explain.result.ExplainResult",
    "report": "cxr_cli.services.report.result.ReportResult",
}

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    # NaN and infinities become null, so every number may be null.
    float: {"type": ["number", "null"]},
    Any: {},
    object: {},
    type(None): {"type": "null"},
}


def result_type(command: str) -> type[Result]:
    """Return the result class of a command."""
    module, _, name = RESULTS[command].rpartition(".")
    found: type[Result] = getattr(importlib.import_module(module), name)
    return found


def document_schema(command: str) -> dict[str, Any]:
    """Return the JSON Schema of the document that a command prints with ``--json``."""
    definitions: dict[type, dict[str, Any]] = {}
    result = _schema(result_type(command), definitions)
    input_file = _schema(InputFile, definitions)
    return {
        "$schema": _DIALECT,
        "title": f"cxr {command} --json",
        "type": "object",
        "properties": {
            "schema_version": {"const": 1, "description": "Raised when a name changes, not when one is added."},
            "command": {"const": command, "description": "The command that printed it."},
            "cxr_version": {"type": "string", "description": "The version of cxr that printed it."},
            "inputs": {"type": "array", "items": input_file, "description": "Every file read."},
            "arguments": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What was typed after `cxr`; empty if the library was called.",
            },
            "outputs": {"type": "array", "items": {"type": "string"}, "description": "Every file written."},
            "output_hashes": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "SHA-256 of the files written that later steps read.",
            },
            "seal": {"type": "string", "description": "SHA-256 of the document without this field."},
            "result": result,
        },
        "required": ["schema_version", "command", "cxr_version", "inputs", "outputs", "result"],
        "$defs": _named(definitions),
    }


def field_descriptions(kind: type) -> dict[str, str]:
    """Return the description of each field in the Attributes section of a class' docstring, in one line each."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        text = inspect.cleandoc(parent.__dict__.get("__doc__") or "")
        section = re.search(
            r"^(?:Attributes|Parameters)\n-+\n(.*?)(?:\n\n\w[^\n]*\n-+\n|\Z)", text, re.DOTALL | re.MULTILINE
        )
        if not section:
            continue
        names: list[str] = []
        lines: list[str] = []
        for line in [*section[1].splitlines(), "end"]:
            if line and not line[0].isspace():
                for name in names:
                    found[name] = " ".join(lines)
                names, lines = [part.strip() for part in line.partition(":")[0].split(",")], []
            elif line.strip():
                lines.append(line.strip())
    return found


def _schema(kind: Any, definitions: dict[type, dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of one type; dataclasses go into `definitions` and are referred to."""
    if kind in _SIMPLE:
        return dict(_SIMPLE[kind])
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _any_of([_schema(item, definitions) for item in arguments])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        items = [_schema(item, definitions) for item in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if origin is not None and issubclass(origin, (Sequence, Set)):
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _object(kind, definitions)
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return {"type": "string"}
    raise TypeError(f"no JSON Schema for {kind!r}")


def _object(kind: type, definitions: dict[type, dict[str, Any]]) -> dict[str, Any]:
    if kind not in definitions:
        definitions[kind] = {}  # a place, for classes that refer to themselves
        hints, texts = typing.get_type_hints(kind), field_descriptions(kind)
        properties = {}
        for field in dataclasses.fields(kind):
            if field.metadata.get("json", True):
                properties[field.name] = _schema(hints[field.name], definitions)
                if field.name in texts:
                    properties[field.name]["description"] = _in_json(texts[field.name])
        definitions[kind] = {
            "type": "object",
            "description": _in_json((inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")),
            "properties": properties,
            "required": list(properties),
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _named(definitions: dict[type, dict[str, Any]]) -> dict[str, Any]:
    named = {kind.__name__: definition for kind, definition in definitions.items()}
    if len(named) < len(definitions):
        raise TypeError(f"two classes of one name among {sorted(kind.__qualname__ for kind in definitions)}")
    return named


def _in_json(text: str) -> str:
    """Rewrite a docstring's description of a Python object for its JSON."""
    return re.sub(r"\b(None|NaN)\b", "null", text).replace("``", "`")


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    if all(set(schema) == {"type"} for schema in schemas):
        kinds: list[str] = []
        for schema in schemas:
            these = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            kinds.extend(kind for kind in these if kind not in kinds)
        return {"type": kinds if len(kinds) > 1 else kinds[0]}
    return {"anyOf": schemas}
