"""Find the results that commands left in folders, and read them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cxr_cli.data.documents import read_json
from cxr_cli.data.files import InputFile, describe_input
from cxr_cli.errors import CxrError, InputError, shown
from cxr_cli.services.envelope import SCHEMA_VERSION, is_intact
from cxr_cli.services.json_schema import RESULTS, result_type
from cxr_cli.services.result import Result, restore

#: Larger files are not results of ours.
_MOST_BYTES = 256 * 1024**2
#: Folders in a folder, at most.
_DEEPEST = 12


@dataclass(frozen=True, eq=False)
class Found:
    """The result of one run of a command.

    Attributes
    ----------
    path
        Its ``result.json``.
    command
        The command's name.
    version
        The version of cxr that wrote it.
    inputs
        Files it read, with their SHA-256.
    outputs
        Files it wrote; those whose content matters to later steps with their SHA-256.
    result
        Result of the command.
    source
        The file ``path`` itself, with its SHA-256.
    intact
        Whether the document is as cxr wrote it.
    arguments
        Command line after ``cxr``; empty if the library was called.
    """

    path: Path
    command: str
    version: str
    inputs: tuple[InputFile, ...]
    outputs: Mapping[str, str | None]
    result: Result
    source: InputFile
    intact: bool
    arguments: tuple[str, ...]

    @cached_property
    def folder(self) -> Path:
        """The folder in which the command ran, as far as its own paths show: relative paths start there."""
        here = Path(os.path.abspath(self.path))
        for name in self.outputs:
            parts = Path(name).parts
            if not Path(name).is_absolute() and here.parts[-len(parts) :] == parts:
                return Path(*here.parts[: -len(parts)])
        return here.parent

    def at(self, path: str) -> Path:
        """Return where a path of the document lies now."""
        return Path(os.path.normpath(self.folder / path))


@dataclass(frozen=True)
class Collection:
    """The results below some folders.

    Attributes
    ----------
    runs
        Results, by command in the order of the pipeline, then by path. Equal runs are listed once.
    ignored
        Files that look like results and are none, with the reason.
    """

    runs: tuple[Found, ...]
    ignored: Mapping[str, str]

    def of(self, command: str) -> tuple[Found, ...]:
        """Return the runs of one command."""
        return tuple(run for run in self.runs if run.command == command)


def collect(folders: Sequence[Path | str]) -> Collection:
    """Read every ``result.json`` and ``NAME.result.json`` below some folders.

    Links are not followed. Hidden folders are left out.

    Raises
    ------
    InputError
        A folder does not exist, or there is no result below any of them.
    """
    runs: dict[tuple[object, ...], Found] = {}
    ignored: dict[str, str] = {}
    for folder in dict.fromkeys(Path(item) for item in folders):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder", expected="a folder with results of cxr below it")
        for path in sorted(_candidates(folder, 0)):
            try:
                found = _read(path)
            except (CxrError, ValueError, KeyError, TypeError) as error:
                ignored[str(path)] = error.what if isinstance(error, CxrError) else str(error)
                continue
            runs.setdefault((found.command, found.source.sha256), found)
    order = list(RESULTS)
    if not runs:
        raise InputError(
            f"{', '.join(str(folder) for folder in folders)}: no results of cxr (result.json) below this folder",
            remedy="Run the commands with --output DIR, then 'cxr report DIR'.",
        )
    listed = sorted(runs.values(), key=lambda run: (order.index(run.command), str(run.path)))
    return Collection(tuple(listed), ignored)


def _candidates(folder: Path, depth: int) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".") and depth < _DEEPEST:
                yield from _candidates(Path(entry.path), depth + 1)
            elif entry.is_file(follow_symlinks=False) and (
                entry.name == "result.json" or entry.name.endswith(".result.json")
            ):
                yield Path(entry.path)


def _printable(value: Any) -> Any:
    """Return a document without characters that steer a terminal or begin a line of their own on the page."""
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if not isinstance(value, str) or value.isprintable():
        return value
    steers = {
        sign for sign in value if unicodedata.category(sign)[0] == "C" or unicodedata.category(sign) in ("Zl", "Zp")
    }
    return value.translate({ord(sign): shown(sign) for sign in steers})


def _read(path: Path) -> Found:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"{size:,} bytes: too large for a result")
    written: Any = read_json(path, remedy="Run the command again.")
    document = _printable(written)
    if not isinstance(document, dict) or document.get("command") not in RESULTS:
        raise ValueError("not a result of a command of cxr")
    if document["command"] == "report":
        raise ValueError("a report, not a result")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document.get('schema_version')}; this cxr reads {SCHEMA_VERSION}")
    command = document["command"]
    hashes = document.get("output_hashes", {})
    return Found(
        path=path,
        command=command,
        version=str(document.get("cxr_version", "")),
        inputs=restore(tuple[InputFile, ...], document["inputs"], "inputs"),
        outputs={name: hashes.get(name) for name in restore(tuple[str, ...], document["outputs"], "outputs")},
        result=restore(result_type(command), document["result"], "result"),
        source=describe_input(path),
        intact=is_intact(written),
        arguments=restore(tuple[str, ...], document.get("arguments", []), "arguments"),
    )
