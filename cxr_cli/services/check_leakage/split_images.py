"""The images of split tables: found in their folders, fingerprinted once each, and what could not be checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.folders import LocatedImages, locate_images
from cxr_cli.data.labels import LabelTable
from cxr_cli.errors import ImageError, argument
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
        A folder cannot be read, or it is not certain which file an image name means.
    """
    places: dict[Path, int] = {}
    located = {
        name: locate_images(folders[name], table.images if table.names_images else ()) for name, table in splits.items()
    }
    for where in located.values():
        where.refuse_uncertain()
    _refuse_two_beginnings(located)
    positions = {
        name: np.array(
            [-1 if path is None else places.setdefault(path, len(places)) for path in where.paths], dtype=np.int64
        )
        if splits[name].names_images
        else np.full(splits[name].n_images, -1, dtype=np.int64)
        for name, where in located.items()
    }
    found = fingerprint_images(list(places), executor=executor, cache=cache, progress=progress)
    checks = {name: _check(table, located[name], positions[name], found) for name, table in splits.items()}
    # The last place serves position -1: no file, nothing readable.
    readable = np.append(found.records["readable"], False)
    usable = {name: np.where(readable[rows], rows, -1) for name, rows in positions.items()}
    return SplitImages(found, usable, checks)


def _refuse_two_beginnings(located: Mapping[str, LocatedImages]) -> None:
    """Raise ImageError if two splits would take equal files of one folder for images in different folders."""
    dropped: dict[str, tuple[str, str]] = {}
    for name, where in located.items():
        if not where.dropped:
            continue
        real = os.path.realpath(where.folder)
        other, beginning = dropped.setdefault(real, (name, where.dropped))
        if beginning != where.dropped:
            raise ImageError(
                f"{where.folder}: the image names of {other} begin with {beginning}, those of {name} with "
                f"{where.dropped}, and the folder has neither",
                expected="one folder with both, or one folder for each split",
                remedy=f"Give {argument('folders', option='--images')} once per split, in the order of the splits.",
            )


def _check(
    table: LabelTable,
    located: LocatedImages,
    positions: NDArray[np.int64],
    found: Fingerprints,
) -> ImageCheck:
    missing, refused = _names(table, located.missing), _names(table, located.refused)
    there = np.flatnonzero(positions >= 0)
    readable = found.records["readable"][positions[there]]
    broken = {table.images[row]: found.unreadable[int(positions[row])] for row in there[~readable]}
    blank = _names(table, there[readable & found.records["blank"][positions[there]]].tolist())
    n_images = len(set(table.images)) if table.names_images else 0
    return ImageCheck(
        folder=str(located.folder),
        n_images=n_images,
        n_checked=n_images - len(missing) - len(refused) - len(broken) - len(blank),
        missing=missing,
        refused=refused,
        broken=tuple(BrokenImage(image, reason) for image, reason in broken.items()),
        blank=blank,
        notes=located.notes(),
    )


def _names(table: LabelTable, rows: list[int] | tuple[int, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(table.images[row] for row in rows))
