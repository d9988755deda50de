"""Tables that an earlier split left in the folder of a new one: they may share patients with the new tables."""

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
        what a user has put in their place is not ours to judge. Tables of a division that the new one goes on with,
        for it divides one of them, are not left over.
    """
    earlier = _tables_of(folder / MANIFEST)
    going_on = divided.sha256 in earlier["splits"].values()
    candidates = earlier["left_over"] if going_on else earlier["splits"] | earlier["left_over"]
    found = (_unchanged(folder / name, digest) for name, digest in candidates.items() if name not in replaced)
    return tuple(file for file in found if file is not None and file.sha256 != divided.sha256)


def _tables_of(manifest: Path) -> dict[str, dict[str, str]]:
    """Return file name and SHA-256 of the tables that a division wrote, and of those that it found left over."""
    kinds = ("splits", "left_over")
    try:
        document = json.loads(manifest.read_bytes())
        # A name without its folder, which the user may have moved.
        return {kind: {Path(item["path"]).name: item["sha256"] for item in document[kind]} for kind in kinds}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {kind: {} for kind in kinds}


def _unchanged(path: Path, digest: str) -> OutputFile | None:
    if not path.is_file():
        return None
    try:
        file = describe_input(path)
    except InputError:  # not readable, so it cannot be used for training either
        return None
    return OutputFile(file.path, file.size, file.sha256) if file.sha256 == digest else None
