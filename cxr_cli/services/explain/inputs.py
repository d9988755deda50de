"""The images of a store, a table or a folder, as `explain` takes them: some of them, in batches, and to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.images import read_gray, read_header
from cxr_cli.data.labels import LabelTable
from cxr_cli.errors import ImageError
from cxr_cli.services.images.prepare import Task, lost, prepare, split
from cxr_cli.services.model_card import ModelCard
from cxr_cli.services.parallel import Workers, map_surviving
from cxr_cli.services.sources import FileSource, StoreSource

Floats = NDArray[np.float32]


class StoreImages:
    """Images of a finished store.

    Parameters
    ----------
    source
        The store, opened for the model.
    card
        Of the model.
    """

    def __init__(self, source: StoreSource, card: ModelCard) -> None:
        index = source.store.index
        self.names: Sequence[str] = source.names
        self.patients: Sequence[str] = source.patients
        self.sizes: Sequence[tuple[int, int]] = [
            (int(height), int(width))
            for height, width in zip(index["source_height"], index["source_width"], strict=True)
        ]
        self.labels = _labels(source.store.labels, source.store.pathologies, card.pathologies)
        self.failures: dict[str, str] = {}
        self._store = source.store

    def batches(self, places: Sequence[int], size: int) -> Iterator[tuple[Sequence[int], Floats]]:
        """Yield places and standardized images, shape (n, height, width, 3)."""
        for start in range(0, len(places), size):
            part = places[start : start + size]
            yield part, _three_channels(self._store.batch(list(part)))

    def grey(self, place: int) -> Floats:
        """Return an image as it is stored, from its darkest to its brightest value as 0 to 1."""
        image = self._store.batch([place])[0]
        return _from_0_to_1(image[..., 0] if image.ndim == 3 else image)


class FileImages:
    """Images in files, prepared as the model card describes.

    Parameters
    ----------
    source
        The images of a table or a folder.
    card
        Of the model.
    table
        The table, for its labels; None for a folder.
    """

    def __init__(self, source: FileSource, card: ModelCard, table: LabelTable | None = None) -> None:
        self.names: Sequence[str] = source.names
        self.patients: Sequence[str] = source.patients
        self.labels = None
        if table is not None:
            place = {name: row for row, name in reversed(list(enumerate(table.images)))}
            rows = [place[name] for name in source.names]
            self.labels = _labels(table.labels[rows], table.pathologies, card.pathologies)
        self.failures: dict[str, str] = {
            name: file for name, file in zip(source.names, source.files, strict=True) if isinstance(file, str)
        }
        self._source = source
        self.sizes: Sequence[tuple[int, int]] = _Sizes(source.files)

    def batches(self, places: Sequence[int], size: int) -> Iterator[tuple[Sequence[int], Floats]]:
        """Prepare images in worker processes; those that cannot be read are left out and listed in `failures`."""
        readable = [place for place in places if isinstance(self._source.files[place], Path)]
        parts = [readable[start : start + size] for start in range(0, len(readable), size)]
        tasks = [Task(tuple(str(self._source.files[place]) for place in part), self._source.recipe) for part in parts]
        with Workers(self._source.workers) as workers:
            made = map_surviving(prepare, tasks, split=split, lost=lost, executor=workers)
            try:
                for part in parts:
                    done = next(made)
                    entries = [entry for item in done for entry in item.entries]
                    for place, entry in zip(part, entries, strict=True):
                        if isinstance(entry, str):
                            self.failures[self.names[place]] = entry
                    kept = [place for place, entry in zip(part, entries, strict=True) if not isinstance(entry, str)]
                    pixels = [item.pixels for item in done if item.pixels is not None and len(item.pixels)]
                    if kept:
                        yield kept, _three_channels(np.concatenate(pixels))
            finally:
                made.close()

    def grey(self, place: int) -> Floats:
        """Return an image, 0 black and 1 white."""
        image = read_gray(self._source.files[place])
        return np.asarray(image.pixels / np.float32(image.full_scale), np.float32)


class _Sizes(Sequence[Any]):
    """Heights and widths of image files, read from their headers when they are asked for."""

    def __init__(self, files: Sequence[str | Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, place: Any) -> tuple[int, int]:
        file = self._files[place]
        if isinstance(file, str):
            raise ImageError(f"image {place}: {file}")
        header = read_header(file)
        return header.height, header.width


def _labels(labels: NDArray[Any], given: Sequence[str], wanted: Sequence[str]) -> Floats | None:
    """Put labels into the order of the model's outputs; NaN where a pathology is unknown; None if all are."""
    columns = {name: column for column, name in enumerate(given)}
    found = np.full((len(labels), len(wanted)), np.nan, np.float32)
    for place, name in enumerate(wanted):
        if name in columns:
            found[:, place] = labels[:, columns[name]]
    return None if np.isnan(found).all() else found


def _three_channels(images: NDArray[Any]) -> Floats:
    grey = np.asarray(images, np.float32)
    return grey if grey.ndim == 4 else np.repeat(grey[..., None], 3, axis=-1)


def _from_0_to_1(image: NDArray[Any]) -> Floats:
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) / max(high - low, 1e-12), np.float32)
