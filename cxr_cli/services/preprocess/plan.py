"""The plan of a run, settled before anything is opened or written."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cxr_cli import __version__
from cxr_cli.data.folders import LocatedImages
from cxr_cli.data.image_types import SUFFIXES
from cxr_cli.data.labels import LabelTable
from cxr_cli.errors import ImageError
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.result import plain

#: Names of the files in the output folder.
ROWS, PNGS, INDEX, FAILURES = "images.npy", "images", "index.csv", "failures.csv"
#: What an unfinished run leaves: a folder, in it a journal of the images done, and one of the fitted statistics.
PARTIAL, JOURNAL, STATISTICS = ".partial", "journal.jsonl", "statistics.jsonl"


@dataclass(frozen=True, eq=False)
class Plan:
    """A run: its inputs, its options and where it goes.

    Attributes
    ----------
    table, located, options
        What is preprocessed, where its images are, and how.
    output
        The folder it goes to.
    positions
        Positions in the table of the images that have a file.
    paths
        Their files, in the same order.
    n_source_bytes
        Size of these files.
    identity
        All that determines the result: a run continues one of the same identity only.
    """

    table: LabelTable
    located: LocatedImages
    options: Options
    output: Path
    positions: Sequence[int]
    paths: Sequence[str]
    n_source_bytes: int
    identity: dict[str, Any]

    @classmethod
    def of(cls, table: LabelTable, located: LocatedImages, output: Path, options: Options) -> Plan:
        """Look at the files and settle the plan."""
        positions = [position for position, path in enumerate(located.paths) if path is not None]
        paths = [str(path) for path in located.paths if path is not None]
        digest, n_source_bytes = _files_digest(paths)
        identity = {
            "labels": table.source.sha256,
            "schema": table.schema,
            "uncertain": table.uncertain,
            "files": digest,
            **plain(options.recipe),
            "engine": options.engine,
            "fit_statistics": options.fit_statistics,
            "fit_sample": options.fit_sample,
            "seed": options.seed,
            **{f"{name} version": number for name, number in versions_of(paths).items()},
        }
        return cls(table, located, options, output, positions, paths, n_source_bytes, identity)

    @property
    def partial(self) -> Path:
        """The hidden folder in which everything is made."""
        return self.output / PARTIAL

    @property
    def target(self) -> Path:
        """The array or the folder of PNGs, under its final name."""
        return self.output / (PNGS if self.options.recipe.format == "png" else ROWS)

    @property
    def n_missing(self) -> int:
        """Rows of the table whose image has no file, or none that may be opened."""
        return self.table.n_images - len(self.paths)

    def why_not(self, position: int) -> str:
        """Say why the image at a position of the table has no file."""
        if position in self.located.refused:
            return "its name or link leaves the image folder"
        return "no such file in the image folder"

    def stop_if_strict(self, entries: Sequence[Any], first: int) -> None:
        """Raise ImageError for the first image that failed, if that is what the options ask for.

        Parameters
        ----------
        entries
            What came of some images, see `cxr_cli.services.images.prepare.Prepared`.
        first
            Number of the first of them among those that have a file.
        """
        for number, entry in enumerate(entries, start=first):
            if self.options.strict and isinstance(entry, str):
                raise ImageError(f"{self.paths[number]}: {entry}")


def versions_of(paths: Sequence[str]) -> dict[str, str]:
    """Return the versions of all that decodes some images."""
    return _versions(any(Path(path).suffix.lower() in SUFFIXES["DICOM"] for path in paths))


@functools.cache
def _versions(with_dicom: bool) -> dict[str, str]:
    names = {"cxr": "cxr-cli", "numpy": "numpy", "pillow": "pillow", "kornia_rs": "kornia_rs"}
    for name in ("pydicom", "imagecodecs") if with_dicom else ():
        if find_spec(name) is not None:
            names[name] = name
    found = {"python": platform.python_version()}
    for name, package in names.items():
        found[name] = __version__ if name == "cxr" else version(package)
    return found


def _files_digest(paths: Sequence[str]) -> tuple[str, int]:
    """Return a digest of names, sizes and times of change, and the number of bytes."""
    digest = hashlib.sha256()
    total = 0
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:  # it will be a failure with a reason
            digest.update(f"{path}\0\n".encode(errors="surrogateescape"))
            continue
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        total += status.st_size
    return digest.hexdigest(), total
