"""Where preprocessed images go: one ``images.npy`` that grows row by row, or one PNG per image."""

from __future__ import annotations

import contextlib
import io
import math
import os
import posixpath
import unicodedata
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import unwritable
from cxr_cli.errors import ImageError, argument, shown

#: Long enough for the header of any array of up to four dimensions, so that it can be written last.
HEADER_BYTES = 128

# The disk gets its work in portions of this size, so that little is left at the end.
_FLUSHED_BYTES = 8 << 20


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return the header of a C-ordered .npy file (format 1.0), always `HEADER_BYTES` long.

    References
    ----------
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
    """
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    stream = io.BytesIO()
    stream.write(np.lib.format.magic(1, 0))
    stream.write((HEADER_BYTES - 10).to_bytes(2, "little"))
    stream.write(text.ljust(HEADER_BYTES - 11).encode("latin-1") + b"\n")
    return stream.getvalue()


class RowsPart:
    """The place of a few rows in the file of a `RowsWriter`: where a worker writes its part.

    Parameters
    ----------
    path
        The file.
    first_row
        Where the first row goes that is written; the others follow.
    """

    def __init__(self, path: Path, first_row: int) -> None:
        self.path = path
        self.next_row = first_row

    def __enter__(self) -> RowsPart:
        self._stream = open(self.path, "r+b", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, row: NDArray[Any]) -> None:
        """Write the next row.

        Raises
        ------
        OSError
            The disk is full or fails.
        """
        self._stream.seek(HEADER_BYTES + self.next_row * row.nbytes)
        _write_all(self._stream, row)
        self.next_row += 1


def _write_all(stream: io.FileIO, rows: NDArray[Any]) -> None:
    rest = np.ascontiguousarray(rows).data.cast("B")
    while rest:
        rest = rest[stream.write(rest) :]


class RowsWriter:
    """An ``images.npy`` in the making: rows are committed in order, and written by the workers where possible.

    A worker is told at which row to write before it is known whether all images before can be read. When some
    cannot, what it wrote is moved down on commit.

    Parameters
    ----------
    path
        The file under its temporary name; made if it is not there.
    row_shape, dtype
        Of one image.
    n_rows
        How many rows of an earlier run are sound; anything behind them is cut off.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: np.dtype[Any], n_rows: int) -> None:
        self.path = path
        self.row_shape = row_shape
        self.dtype = dtype
        self.n_rows = n_rows
        self.row_bytes = math.prod(row_shape) * dtype.itemsize
        self._reserved: deque[tuple[int, int | None]] = deque()
        self._n_flushed = n_rows
        self._thread = ThreadPoolExecutor(1)
        self._flushing: Future[None] | None = None
        size = HEADER_BYTES + n_rows * self.row_bytes
        try:
            path.touch()
            self._stream = open(path, "r+b", buffering=0)
            #: Whether the rows of the earlier run are there.
            self.holds_what_it_should = n_rows == 0 or path.stat().st_size >= size
            if self.holds_what_it_should:
                self._stream.truncate(size)
        except OSError as error:
            raise unwritable(path, error) from error

    def reserve(self, n: int) -> int | None:
        """Return the row from which a worker may write the next `n` images, or None if they must be handed over."""
        start = self.n_rows + sum(count for count, _ in self._reserved)
        # After a failure, rows still being written lie higher than where they will end: keep out of their way.
        in_the_way = any(row is not None and row + count > start for count, row in self._reserved)
        self._reserved.append((n, None if in_the_way else start))
        return self._reserved[-1][1]

    def commit(self, n: int, pixels: NDArray[Any] | None) -> None:
        """Add the `n` sound images of the oldest reservation: written by the worker, or handed over as `pixels`.

        Raises
        ------
        OutputError
            The disk is full or fails.
        """
        _, row = self._reserved.popleft()
        try:
            if pixels is not None and n:
                self._write(self.n_rows, pixels)
            elif row is not None and row != self.n_rows:
                self._write(self.n_rows, self._read(row, n))
            self.n_rows += n
            self._flush_now_and_then()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _flush_now_and_then(self) -> None:
        """Let the disk work while the next images are made."""
        if (self.n_rows - self._n_flushed) * self.row_bytes < _FLUSHED_BYTES:
            return
        if self._flushing is None or self._flushing.done():
            self._wait_for_flush()
            self._n_flushed = self.n_rows
            self._flushing = self._thread.submit(os.fsync, self._stream.fileno())

    def _wait_for_flush(self) -> None:
        # The system tells of an error once only, so it is kept: from then on every call fails.
        if self._flushing is not None:
            self._flushing.result()

    def _write(self, row: int, pixels: NDArray[Any]) -> None:
        self._stream.seek(HEADER_BYTES + row * self.row_bytes)
        _write_all(self._stream, pixels)

    def _read(self, row: int, n: int) -> NDArray[np.uint8]:
        self._stream.seek(HEADER_BYTES + row * self.row_bytes)
        return np.frombuffer(self._stream.read(n * self.row_bytes), np.uint8)

    def sync(self) -> None:
        """Bring everything written so far to the disk; nothing to do once it is finished."""
        if not self._stream.closed:
            self._wait_for_flush()
            os.fsync(self._stream.fileno())

    def finish(self, target: Path) -> None:
        """Write the header and give the file its final name."""
        try:
            self._stream.truncate(HEADER_BYTES + self.n_rows * self.row_bytes)
            self._stream.seek(0)
            self._stream.write(npy_header((self.n_rows, *self.row_shape), self.dtype))
            self.sync()
            self.close()
            os.replace(self.path, target)
        except OSError as error:
            raise unwritable(target, error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._thread.shutdown()
        with contextlib.suppress(OSError):
            self._stream.close()


class PngWriter:
    """A folder of PNGs in the making, one per image, named as in the table."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def commit(self, names: Sequence[str], contents: Sequence[bytes]) -> None:
        """Write images; one that was half written by an earlier run is written again.

        Raises
        ------
        OutputError
            The disk is full or fails.
        """
        for name, content in zip(names, contents, strict=True):
            path = self.folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError as error:
                raise unwritable(path, error) from error

    def sync(self) -> None:
        """Bring everything written so far to the disk."""
        if hasattr(os, "sync"):
            os.sync()

    def finish(self, target: Path) -> None:
        """Give the folder its final name; images of an earlier run are replaced."""
        import shutil

        old = self.folder.with_name("replaced")
        try:
            self.sync()
            if target.exists():
                os.replace(target, old)
            os.replace(self.folder, target)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise unwritable(target, error) from error


def png_name(image: str) -> str:
    """Return the name of an image's PNG: its own name, with .png behind it if it has another ending."""
    return image if image.lower().endswith(".png") else f"{image}.png"


def refuse_clashes(images: Sequence[str], table: str) -> None:
    """Raise ImageError if two images would become one PNG, or one's file the folder of another's.

    Names that differ in case or in their Unicode form only are one name on some file systems.

    Parameters
    ----------
    images
        Their names; one that is named again stands for the same image.
    table
        Where the names come from, for the message.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for image in dict.fromkeys(images):
        key = _folded(png_name(image))
        parts = key.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts))]
        other = files.get(key) or folders.get(key) or next((files[part] for part in above if part in files), None)
        if other is not None:
            name = shown(png_name(image))
            raise ImageError(
                f"{table}: '{shown(other)}' and '{shown(image)}' would fall together as images/{name}",
                remedy=f"Rename one of the two files, or store an array: {argument('format', 'npy')}.",
            )
        files[key] = image
        for part in above:
            folders.setdefault(part, image)


def _folded(name: str) -> str:
    """Return what names have in common that some file system takes for one."""
    path = posixpath.normpath(name.replace("\\", "/"))
    path = "/".join(part.rstrip(" .") or part for part in path.split("/"))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
