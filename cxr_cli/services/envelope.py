"""The envelope around a result: the JSON document of a command, printed, and kept as ``result.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxr_cli import __version__
from cxr_cli.data.files import InputFile, Outputs
from cxr_cli.services.result import Result, plain

#: Version of the envelope and of all documents in it: raised when a name changes, not when one is added.
SCHEMA_VERSION = 1


def head(command: str) -> dict[str, Any]:
    """Return how every JSON document of a command begins; by it `cxr` knows its own files again."""
    return {"schema_version": SCHEMA_VERSION, "command": command, "cxr_version": __version__}


def envelope(command: str, result: Result, inputs: Sequence[InputFile], outputs: Sequence[Path] = ()) -> dict[str, Any]:
    """Wrap a result as the JSON document of its command.

    Parameters
    ----------
    command
        The command's name.
    result
        What its service returned.
    inputs, outputs
        The files read and written.
    """
    return {**head(command), "inputs": plain(list(inputs)), "outputs": plain(list(outputs)), "result": result.to_dict()}


def keep_result(command: str, result: Result, inputs: Sequence[InputFile], outputs: Outputs) -> dict[str, Any]:
    """Return the document of a command, and write it beside its outputs unless the command was told to write nothing.

    Raises
    ------
    OutputError
        A file that is not ours has the name, or it cannot be written.
    """
    path = outputs.result_path()
    document = envelope(command, result, inputs, outputs.written if path is None else [*outputs.written, path])
    if path is not None:
        outputs.write_json(path, document, folder=Path())
    return document
