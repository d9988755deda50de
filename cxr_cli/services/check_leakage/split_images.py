"""The images of split tables: found in their folders, fingerprinted once each, and what could not be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.folders import locate_images
from cxr_cli.data.labels import LabelTable
from cxr_cli.services.check_leakage.fingerprints import FingerprintCache, Fingerprints, fingerprint_images
from cxr_cli.services.check_leakage.result import BrokenImage, ImageCheck
from cxr_cli.services.parallel import Workers


@dataclass(frozen=True, eq=False)
class SplitImages:
    """Fingerprints of the images of several splits.

    Attributes
    ----------
    fingerprints
        Of every distinct file.
    positions
        For each split, the position of each row's image in `fingerprints`, int64, shape (n_images,); -1 where there
        is none.
    checks
        For each split, what could be checked.
    """

    fingerprints: Fingerprints
    positions: dict[str, NDArray[np.int64]]
    checks: dict[str, ImageCheck]


def fingerprint_splits(
    splits: Mapping[str, LabelTable],
    folders: Mapping[str, Path],
    *,
    executor: Executor | Workers | None = None,
    cache: FingerprintCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SplitImages:
    """Find and fingerprint the images of every split; a file that several rows name is read once.

    Parameters
    ----------
    splits
        Label tables by name.
    folders
        Image folder of each split.
    executor, cache, progress
        See `fingerprint_images`.

    Raises
    ------
    ImageError
        A folder cannot be read.
    """
    places: dict[Path, int] = {}
    positions: dict[str, NDArray[np.int64]] = {}
    missing: dict[str, tuple[str, ...]] = {}
    refused: dict[str, tuple[str, ...]] = {}
    for name, table in splits.items():
        located = locate_images(folders[name], table.images)
        positions[name] = np.array(
            [-1 if path is None else places.setdefault(path, len(places)) for path in located.paths], dtype=np.int64
        )
        missing[name] = _names(table, located.missing)
        refused[name] = _names(table, located.refused)
    found = fingerprint_images(list(places), executor=executor, cache=cache, progress=progress)
    checks = {
        name: _check(table, folders[name], positions[name], found, missing[name], refused[name])
        for name, table in splits.items()
    }
    # The last place serves position -1: no file, nothing readable.
    readable = np.append(found.records["readable"], False)
    usable = {name: np.where(readable[rows], rows, -1) for name, rows in positions.items()}
    return SplitImages(found, usable, checks)


def _check(
    table: LabelTable,
    folder: Path,
    positions: NDArray[np.int64],
    found: Fingerprints,
    missing: tuple[str, ...],
    refused: tuple[str, ...],
) -> ImageCheck:
    there = np.flatnonzero(positions >= 0)
    readable = found.records["readable"][positions[there]]
    broken = {table.images[row]: found.unreadable[int(positions[row])] for row in there[~readable]}
    blank = _names(table, there[readable & found.records["blank"][positions[there]]].tolist())
    n_images = len(set(table.images))
    return ImageCheck(
        folder=str(folder),
        n_images=n_images,
        n_checked=n_images - len(missing) - len(refused) - len(broken) - len(blank),
        missing=missing,
        refused=refused,
        broken=tuple(BrokenImage(image, reason) for image, reason in broken.items()),
        blank=blank,
    )


def _names(table: LabelTable, rows: list[int] | tuple[int, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(table.images[row] for row in rows))
