"""What an earlier division left in the folder of a new one: its tables are no part of the new one and may leak."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from cxr_cli.data.files import InputFile, OutputFile, describe_input
from cxr_cli.errors import InputError

#: Name of the file in which a division says how it came about and which tables it wrote.
MANIFEST = "split.json"


def tables_left_over(folder: Path, replaced: Collection[str], divided: InputFile) -> tuple[OutputFile, ...]:
    """Return the tables of earlier divisions in a folder that a new division there leaves as they are.

    Parameters
    ----------
    folder
        Where the new division goes; nothing in it is changed.
    replaced
        Names of the tables that the new division writes.
    divided
        The table that it divides.

    Returns
    -------
    tuple of OutputFile
        Files named in the ``split.json`` of the folder that lie in it and still have the bytes they were written with:
        what a user has put in their place is not ours to judge. None of them if the new division divides one of
        them, for then it goes on where the earlier one stopped.
    """
    earlier = _tables_of(folder / MANIFEST)
    if divided.sha256 in earlier.values():
        return ()
    found = (_unchanged(folder / name, digest) for name, digest in earlier.items() if name not in replaced)
    return tuple(file for file in found if file is not None)


def _tables_of(manifest: Path) -> dict[str, str]:
    """Return file name and SHA-256 of the tables that a division wrote or found left over; empty if none is told."""
    try:
        document = json.loads(manifest.read_bytes())
        # A name without its folder, which the user may have moved.
        return {Path(item["path"]).name: item["sha256"] for item in [*document["splits"], *document["left_over"]]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def _unchanged(path: Path, digest: str) -> OutputFile | None:
    if not path.is_file():
        return None
    try:
        file = describe_input(path)
    except InputError:  # not readable: then it is no table for training either
        return None
    return OutputFile(file.path, file.size, file.sha256) if file.sha256 == digest else None
