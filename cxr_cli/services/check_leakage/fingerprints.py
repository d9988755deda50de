"""Fingerprints of image files: hashes for exact duplicates, and the descriptors that find near duplicates.

One pure function of one file, run over many on any executor, and a cache file, so that a second run decodes
nothing that has not changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import DAMAGED_ARCHIVE, atomic_path, raise_if_machine_failed
from cxr_cli.data.images import GrayImage, decode_gray, read_content
from cxr_cli.errors import ImageError, InputError, argument
from cxr_cli.services.check_leakage.descriptors import (
    CONFIRM_SIDE,
    THUMBNAIL_SIDE,
    Descriptor,
    describe,
    is_blank,
)
from cxr_cli.services.check_leakage.frames import inside_frame
from cxr_cli.services.images.resize import area
from cxr_cli.services.parallel import KILLED_WORKER, Workers, map_in_order

#: Raised when the same file would give another fingerprint; caches of another version are made anew.
CACHE_VERSION = 2
#: A long run saves its cache after this number of files, so that a kill costs minutes, not hours.
SAVE_EVERY = 10_000
_CACHE_KIND = "cxr image fingerprints"


class Fingerprint(NamedTuple):
    """The fingerprint of one image file.

    Attributes
    ----------
    crc
        CRC-32 of the file. Files of equal pixels, size and CRC are taken for equal bytes.
    pixels
        SHA-256 of the grey pixels and the shape, uint64, shape (4,); the same for 8 bits and the same widened to 16.
    hash, thumbnail
        See `cxr_cli.services.check_leakage.descriptors.Descriptor`.
    blank
        Nearly one grey: the descriptors say nothing.
    framed, inner_hash, inner_thumbnail
        Whether the image has an even frame (`frames.inside_frame`), and the descriptor of what is inside it.
    """

    crc: int
    pixels: NDArray[np.uint64]
    hash: NDArray[np.uint64]
    thumbnail: NDArray[np.int8]
    blank: bool
    framed: bool
    inner_hash: NDArray[np.uint64]
    inner_thumbnail: NDArray[np.int8]


class Unreadable(NamedTuple):
    """Reason why an image file could not be read."""

    reason: str


#: Fingerprints as rows of an array; `size` (bytes) and `mtime` (ns) tell whether the file is still the same.
RECORD = np.dtype(
    [
        ("size", "<i8"),
        ("mtime", "<i8"),
        ("crc", "<u4"),
        ("pixels", "<u8", (4,)),
        ("hash", "<u8", (4,)),
        ("thumbnail", "i1", (CONFIRM_SIDE * CONFIRM_SIDE,)),
        ("readable", "?"),
        ("blank", "?"),
        ("framed", "?"),
        ("inner_hash", "<u8", (4,)),
        ("inner_thumbnail", "i1", (CONFIRM_SIDE * CONFIRM_SIDE,)),
    ]
)


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Fingerprints of many image files.

    Attributes
    ----------
    paths
        The files.
    records
        One `RECORD` per file; its other fields count only where ``readable`` is true.
    unreadable
        Position of each file that could not be read, and the reason.
    n_decoded, n_cached
        How many files were read now, and how many came from the cache.
    """

    paths: tuple[Path, ...]
    records: NDArray[np.void]
    unreadable: dict[int, str]
    n_decoded: int
    n_cached: int


def fingerprint_image(path: Path) -> Fingerprint | Unreadable:
    """Read one image file and take its fingerprint; a damaged file gives the reason instead."""
    try:
        content = read_content(path)
        image = decode_gray(content, path)
    except ImageError as error:
        raise_if_machine_failed(error, path)
        return Unreadable(error.what.removeprefix(f"{path}: "))
    thumbnail = area(image.pixels, (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    descriptor = describe(thumbnail)
    inner = _inside(image)
    return Fingerprint(
        crc=zlib.crc32(content),
        pixels=_digest(image),
        hash=descriptor.hash,
        thumbnail=descriptor.thumbnail,
        blank=is_blank(thumbnail, image.full_scale),
        framed=inner is not None,
        inner_hash=(inner or descriptor).hash,
        inner_thumbnail=(inner or descriptor).thumbnail,
    )


def _inside(image: GrayImage) -> Descriptor | None:
    """Describe what is inside the frame of an image; None if it has no frame, or nothing inside."""
    pixels = inside_frame(image.pixels, image.full_scale)
    if pixels is None:
        return None
    thumbnail = area(np.ascontiguousarray(pixels), (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return None if is_blank(thumbnail, image.full_scale) else describe(thumbnail)


def _lost(path: Path) -> Unreadable:
    return Unreadable(KILLED_WORKER)


def fingerprint_images(
    paths: Sequence[Path],
    *,
    executor: Executor | Workers | None = None,
    cache: FingerprintCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fingerprints:
    """Take the fingerprints of image files.

    Parameters
    ----------
    paths
        The files, each once.
    executor
        `Workers`, or any `concurrent.futures.Executor`; None works here, one after the other.
    cache
        Fingerprints of earlier runs. A file of the same path, size and modification time is not read again. What is
        new is added, and saved if the cache is a file, even when the run is interrupted.
    progress
        Called with (done, total).

    Returns
    -------
    Fingerprints
        In the order of `paths`; files that cannot be decoded are listed, not raised.

    Raises
    ------
    OutputError
        The cache cannot be written.
    """
    records = np.zeros(len(paths), dtype=RECORD)
    unreadable: dict[int, str] = {}
    for position, path in enumerate(paths):
        records["size"][position], records["mtime"][position] = _state(path)
    if cache is not None:
        cache.fill(paths, records)
    todo = np.flatnonzero(~records["readable"]).tolist()
    n_cached = len(paths) - len(todo)
    n_done = 0

    def advance(done: int, total: int) -> None:
        if progress is not None:
            progress(n_cached + done, n_cached + total)

    try:
        results = map_in_order(
            fingerprint_image,
            [paths[position] for position in todo],
            lost=_lost,
            executor=executor,
            progress=advance,
        )
        for position, result in zip(todo, results, strict=True):
            n_done += 1
            if isinstance(result, Unreadable):
                unreadable[position] = result.reason
            else:
                _store(records[position], result)
            if cache is not None and n_done % SAVE_EVERY == 0:
                cache.add(paths, records)
                cache.save()
    finally:
        if cache is not None and n_done:
            cache.add(paths, records)
            cache.save()
    return Fingerprints(tuple(paths), records, unreadable, n_decoded=n_done, n_cached=n_cached)


class FingerprintCache:
    """Fingerprints by path, size and modification time; in memory, or in a file as well.

    Parameters
    ----------
    path
        The file that `save` writes; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        self._records: NDArray[np.void] = np.zeros(0, dtype=RECORD)

    @classmethod
    def load(cls, path: Path) -> FingerprintCache:
        """Open a cache file; a missing one and one of an older version are empty.

        Raises
        ------
        InputError
            The file is something else, or damaged; it will not be overwritten.
        """
        cache = cls(path)
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise InputError(
                f"{path}: is not a cache of fingerprints, or is damaged",
                remedy=f"Name another file with {argument('cache')}.",
            )
        try:
            with np.load(path, allow_pickle=False) as stored:
                about = json.loads(stored["about"].tobytes())
                if about["kind"] != _CACHE_KIND:
                    raise ValueError("another kind of file")
                if about["version"] != CACHE_VERSION:
                    return cache
                names, records = json.loads(stored["paths"].tobytes()), stored["records"]
                if not _are_names(names):
                    raise ValueError("names of another form")
                if records.dtype != RECORD or records.shape != (len(names),):
                    raise ValueError("records of another form")
        except FileNotFoundError:
            return cache
        except (*DAMAGED_ARCHIVE, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path}: is not a cache of fingerprints, or is damaged",
                remedy=f"Delete it or name another file with {argument('cache')}.",
            ) from error
        cache._places = {name: place for place, name in enumerate(names)}
        cache._records = records
        return cache

    def __len__(self) -> int:
        return len(self._places)

    def fill(self, paths: Sequence[Path], records: NDArray[np.void]) -> None:
        """Copy the fingerprints of unchanged files into `records`, whose size and mtime are set."""
        known = np.array([self._places.get(os.path.abspath(path), -1) for path in paths], dtype=np.int64)
        here = np.flatnonzero(known >= 0)
        stored = self._records[known[here]]
        same = (stored["size"] == records["size"][here]) & (stored["mtime"] == records["mtime"][here])
        records[here[same]] = stored[same]

    def add(self, paths: Sequence[Path], records: NDArray[np.void]) -> None:
        """Keep the fingerprints of readable files, in place of older ones of the same paths."""
        good = np.flatnonzero(records["readable"])
        names = [os.path.abspath(paths[position]) for position in good.tolist()]
        new = set(names)
        others = [(name, place) for name, place in self._places.items() if name not in new]
        names += [name for name, _ in others]
        kept = np.array([place for _, place in others], dtype=np.int64)
        self._records = np.concatenate([records[good], self._records[kept]])
        self._places = {name: place for place, name in enumerate(names)}

    def save(self) -> None:
        """Write the file, if there is to be one; whole or not at all."""
        if self.path is None:
            return
        about = {"kind": _CACHE_KIND, "version": CACHE_VERSION}
        with atomic_path(self.path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, about=_as_array(about), paths=_as_array(list(self._places)), records=self._records)


def _are_names(names: object) -> bool:
    return isinstance(names, list) and len({name for name in names if isinstance(name, str)}) == len(names)


def _as_array(document: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)


def _state(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1  # reading it says why
    return status.st_size, status.st_mtime_ns


def _digest(image: GrayImage) -> NDArray[np.uint64]:
    pixels = image.pixels
    if pixels.dtype == np.uint16 and not (pixels % 257).any():
        pixels = (pixels // 257).astype(np.uint8)
    digest = hashlib.sha256(f"{pixels.dtype} {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(digest.digest(), dtype=np.uint64)


def _store(record: np.void, fingerprint: Fingerprint) -> None:
    for name, value in fingerprint._asdict().items():
        record[name] = value
    record["readable"] = True
