"""Activations of a frozen part of a network for all images of a store, computed once and kept in a file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import atomic_path, remove_abandoned, unwritable
from cxr_cli.data.store import npy_header
from cxr_cli.errors import OutputError, argument

Array = NDArray[Any]
#: Fills rows [first, last) of an array: called with (first, last, take), where take(row, outputs) keeps outputs.
Fill = Callable[[int, int, Callable[[int, Array], None]], None]


def cached(
    path: Path,
    key: str,
    shape: tuple[int, ...],
    dtype: Literal["float32", "float16"],
    chunk: int,
    fill: Fill,
    progress: Callable[[int, int], None],
) -> tuple[Array, bool]:
    """Return activations from a cache file, or compute and keep them; an interrupted computation goes on.

    Parameters
    ----------
    path
        The file (``.npy``); its key lies beside it under the same name with ``.json`` added.
    key
        Of the network and the images; a file with another key is not used but replaced.
    shape
        (n_images, …).
    dtype
        What activations are kept as.
    chunk
        Images after which what was computed is safe on the disk.
    fill
        Computes some rows.
    progress
        Called with (images done, all images).

    Returns
    -------
    activations, reused
        Memory-mapped; whether the file was there already.

    Raises
    ------
    OutputError
        There is not enough space, or the file cannot be written.
    """
    header = npy_header(shape, np.dtype(dtype))
    size = len(header) + int(np.prod(shape)) * np.dtype(dtype).itemsize
    if _key_of(path) == key and path.stat().st_size == size:
        progress(shape[0], shape[0])
        return _open(path), True
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in (path, partial):
            remove_abandoned(_key_file(file))
        done = _rows_done(partial, key, size)
        if not done:
            _check_space(path, size)
            _begin(partial, key, header, size)
        _compute(partial, key, (done, shape[0], chunk), fill, progress)
        # The key last: a file without it is not used.
        with contextlib.suppress(FileNotFoundError):
            _key_file(path).unlink()
        os.replace(partial, path)
        _write_key(path, key, shape[0])
        _key_file(partial).unlink()
    except OSError as error:
        raise unwritable(path, error) from error
    return _open(path), False


def _compute(
    partial: Path, key: str, rows: tuple[int, int, int], fill: Fill, progress: Callable[[int, int], None]
) -> None:
    done, n_rows, chunk = rows
    array = np.load(partial, mmap_mode="r+", allow_pickle=False)
    progress(done, n_rows)
    for first in range(done, n_rows, chunk):
        last = min(first + chunk, n_rows)

        def take(row: int, outputs: Array, first: int = first) -> None:
            array[first + row : first + row + len(outputs)] = outputs
            progress(first + row + len(outputs), n_rows)

        fill(first, last, take)
        array.flush()
        _write_key(partial, key, last)


def _open(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _key_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_key(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_key_file(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) and path.exists() else {}


def _key_of(path: Path) -> object:
    return _read_key(path).get("key")


def _write_key(path: Path, key: str, n_done: int) -> None:
    with atomic_path(_key_file(path)) as temporary:
        temporary.write_text(json.dumps({"key": key, "n_done": n_done}), encoding="utf-8")


def _rows_done(partial: Path, key: str, size: int) -> int:
    document = _read_key(partial)
    done = document.get("n_done")
    if document.get("key") != key or type(done) is not int or partial.stat().st_size != size:
        return 0
    return done


def _begin(partial: Path, key: str, header: bytes, size: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        _key_file(partial).unlink()
    with open(partial, "wb") as stream:
        stream.write(header)
        # Taken now, so that a full disk is an error here and not a bus error in the memory map.
        for start in range(len(header), size, 1 << 24):
            stream.write(bytes(min(1 << 24, size - start)))
        stream.flush()
        os.fsync(stream.fileno())


def _check_space(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise OutputError(
            f"{path}: needs {size / 1e9:,.2f} GB and {free / 1e9:,.2f} GB are free",
            remedy=f"Free some space, choose another folder ({argument('output')}), or keep activations as float16.",
        )
