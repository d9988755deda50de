"""The envelope around a result: the JSON document of a command, printed, and kept as ``result.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from cxr_cli import __version__
from cxr_cli.data.files import InputFile, Outputs, describe_input
from cxr_cli.services.result import Result, plain

#: Version of the envelope and of all documents in it: raised when a name changes, not when one is added.
SCHEMA_VERSION = 1
#: What was typed after ``cxr``; empty where the library was called. Set by the command line, by `typed`.
ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("ARGUMENTS", default=())
#: Files written that later steps read: their hashes tie the steps together. Pixels are known by their manifest.
_HASHED = (".csv", ".json", ".keras", ".gz", ".txt")
_MOST_HASHED = 2 * 1024**3


#: Options that do not change a result, and whether a value follows: documents are the same with and without them.
_WITHOUT_EFFECT = {"--json": False, "--workers": True, "--cluster": True}


def typed(arguments: Sequence[str]) -> None:
    """Remember what was typed after ``cxr``, for the documents: that by which a result can be made again."""
    kept, skip = [], False
    for argument in map(str, arguments):
        name, equals, _ = argument.partition("=")
        if skip or name in _WITHOUT_EFFECT:
            skip = not skip and not equals and _WITHOUT_EFFECT[name]
        else:
            kept.append(argument)
    ARGUMENTS.set(tuple(kept))


def head(command: str) -> dict[str, Any]:
    """Return how every JSON document of a command begins; by it `cxr` knows its own files again."""
    return {"schema_version": SCHEMA_VERSION, "command": command, "cxr_version": __version__}


def envelope(
    command: str,
    result: Result,
    inputs: Sequence[InputFile],
    outputs: Sequence[Path] = (),
    hashes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Wrap a result as the JSON document of its command.

    Parameters
    ----------
    command
        The command's name.
    result
        Result of its service.
    inputs, outputs
        The files read and written.
    hashes
        SHA-256 of files written that later steps read.

    Returns
    -------
    dict
        With the arguments of the command line, and a seal: the SHA-256 of the document itself without it.
    """
    document = {
        **head(command),
        "arguments": list(ARGUMENTS.get()),
        "inputs": plain(list(inputs)),
        "outputs": plain(list(outputs)),
        "output_hashes": dict(hashes or {}),
        "result": result.to_dict(),
    }
    return {**document, "seal": _seal(document)}


def is_intact(document: Mapping[str, Any]) -> bool:
    """Whether a document is as `envelope` made it.

    A seal shows that a file was edited; whoever wants to deceive can compute a new one.
    """
    return bool(document.get("seal") == _seal({name: value for name, value in document.items() if name != "seal"}))


def _seal(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _hashes(outputs: Sequence[Path]) -> dict[str, str]:
    found = {}
    for path in outputs:
        if path.suffix in _HASHED and path.is_file() and path.stat().st_size <= _MOST_HASHED:
            found[str(path)] = describe_input(path).sha256
    return found


def keep_result(command: str, result: Result, inputs: Sequence[InputFile], outputs: Outputs) -> dict[str, Any]:
    """Return the document of a command, and write it beside its outputs unless the command is to write nothing.

    Raises
    ------
    OutputError
        A file that is not ours has the name, or it cannot be written.
    """
    hashes = _hashes(outputs.written)
    path = outputs.result_path()
    document = envelope(command, result, inputs, outputs.written if path is None else [*outputs.written, path], hashes)
    if path is not None:
        outputs.write_json(path, document, folder=Path())
    return document
