"""The checkpoint of a training that was interrupted: one file, written whole or not at all after every epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import DAMAGED_ARCHIVE, atomic_path
from cxr_cli.services.result import plain

Arrays = Sequence[NDArray[Any]]
#: Name of the file in the output folder.
CHECKPOINT = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """The state from which a training continues.

    Attributes
    ----------
    key
        Of model, data, options and versions; another key is another training.
    meta
        Plain values.
    arrays
        Groups of arrays by name.
    """

    key: str
    meta: Mapping[str, Any]
    arrays: Mapping[str, Arrays]

    def write(self, path: Path) -> None:
        """Write to a temporary name, flush to the disk, rename.

        Raises
        ------
        OutputError
            The disk is full, or the folder cannot be written to. What was there before stays.
        """
        text = json.dumps({"key": self.key, "meta": plain(self.meta)}).encode()
        members = {f"{group}/{i:05d}": array for group, arrays in self.arrays.items() for i, array in enumerate(arrays)}
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, allow_pickle=False, **{"/": np.frombuffer(text, np.uint8)}, **members)


def read_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """Read a checkpoint; None if there is none, or it is of another training or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(file["/"].tobytes())
            if head["key"] != key:
                return None
            groups: dict[str, list[NDArray[Any]]] = {}
            for name in sorted(name for name in file.files if name != "/"):
                groups.setdefault(name.partition("/")[0], []).append(file[name])
            return Checkpoint(key, head["meta"], groups)
    except (*DAMAGED_ARCHIVE, TypeError, AttributeError, SyntaxError):
        return None
