"""Images for a model: those of a store, of a table with an image folder, or of a folder; as batches, in order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from cxr_cli.choices import Interpolation
from cxr_cli.data.files import STORE_MANIFEST, InputFile, describe_input
from cxr_cli.data.folders import find_image_folder, locate_images
from cxr_cli.data.image_types import IMAGE_SUFFIXES
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.patient_ids import normal_patient_id
from cxr_cli.errors import ImageError, InputError, argument
from cxr_cli.services.images.prepare import Task, lost, prepare, split
from cxr_cli.services.model_card import ModelCard
from cxr_cli.services.parallel import Workers, map_surviving
from cxr_cli.services.store.manifest import check_recipe
from cxr_cli.services.store.reader import open_store
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import Statistics

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Some consecutive images.

    Attributes
    ----------
    images
        Of those that could be read: standardized, shape (n, height, width) or (n, height, width, 3).
    failures
        For each image of the batch: why it could not be read, or None.
    """

    images: Images
    failures: tuple[str | None, ...]


class Source(Protocol):
    """Images in a fixed order.

    Attributes
    ----------
    kind, path
        What was given.
    names
        Names of the images.
    patients
        Their patients, "" where unknown.
    inputs
        Files read.
    key
        What tells these images from others.
    """

    kind: Literal["store", "table", "folder"]
    path: Path
    names: tuple[str, ...]
    patients: tuple[str, ...]
    inputs: tuple[InputFile, ...]
    key: str

    def batches(self, size: int, first: int) -> Iterator[Batch]:
        """Yield batches of `size` images, from batch number `first` on."""
        ...


class StoreSource:
    """Images of a finished store.

    Raises
    ------
    InputError
        It is not a finished store.
    UsageError
        Its images have another size, or were standardized in another way than the model takes.
    """

    kind: Literal["store", "table", "folder"] = "store"

    def __init__(self, folder: Path, card: ModelCard) -> None:
        check_recipe(folder, card.image_size, card.preprocessing)
        self.path = folder
        self.store = open_store(folder)
        self.names: tuple[str, ...] = tuple(self.store.index["image"].astype(str))
        self.patients: tuple[str, ...] = tuple(self.store.index["patient_id"].fillna("").astype(str))
        manifest = describe_input(folder / STORE_MANIFEST)
        self.inputs: tuple[InputFile, ...] = (manifest,)
        self.key = manifest.sha256

    def batches(self, size: int, first: int) -> Iterator[Batch]:
        """Read one batch ahead."""
        starts = range(first * size, len(self.names), size)
        read = lambda start: self.store.batch(slice(start, start + size))  # noqa: E731
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(read, start) for start in starts[:2]]
            for number, _ in enumerate(starts):
                images = ahead.pop(0).result()
                if number + 2 < len(starts):
                    ahead.append(pool.submit(read, starts[number + 2]))
                yield Batch(images, (None,) * len(images))


class FileSource:
    """Images in files, prepared as the model card describes.

    Parameters
    ----------
    kind, path
        What was given.
    folder
        The image folder.
    names, patients
        Of the images.
    inputs
        Files read.
    card
        Of the model.
    workers
        Processes; None is one for each core.
    """

    def __init__(
        self,
        kind: Literal["table", "folder"],
        path: Path,
        folder: Path,
        names: tuple[str, ...],
        patients: tuple[str, ...],
        inputs: tuple[InputFile, ...],
        card: ModelCard,
        workers: int | None,
    ) -> None:
        self.kind: Literal["store", "table", "folder"] = kind
        self.path, self.names, self.patients, self.inputs = path, names, patients, inputs
        self.workers = workers
        self.recipe = recipe_of_card(card)
        located = locate_images(folder, names)
        located.refuse_uncertain()
        refused = set(located.refused)
        self.files = [
            "its name or link leaves the image folder"
            if place in refused
            else "no such file in the image folder"
            if file is None
            else file
            for place, file in enumerate(located.paths)
        ]
        self.notes = located.notes()
        digest = hashlib.sha256()
        for name, file in zip(names, self.files, strict=True):
            stat = file.stat() if isinstance(file, Path) else None
            digest.update(f"{name}\0{file}\0{stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
        self.key = digest.hexdigest()

    def batches(self, size: int, first: int) -> Iterator[Batch]:
        """Prepare images in worker processes, which work ahead."""
        starts = list(range(first * size, len(self.names), size))
        paths = [[file for file in self.files[start : start + size] if isinstance(file, Path)] for start in starts]
        tasks = [Task(tuple(map(str, some)), self.recipe) for some in paths if some]
        with Workers(self.workers) as workers:
            made = map_surviving(prepare, tasks, split=split, lost=lost, executor=workers)
            try:
                for start, some in zip(starts, paths, strict=True):
                    parts = next(made) if some else []
                    entries = iter([entry for part in parts for entry in part.entries])
                    failures = tuple(
                        file if isinstance(file, str) else _reason(next(entries))
                        for file in self.files[start : start + size]
                    )
                    pixels = [part.pixels for part in parts if part.pixels is not None and len(part.pixels)]
                    shape = (0, *self.recipe.row_shape)
                    yield Batch(np.concatenate(pixels) if pixels else np.empty(shape, np.float32), failures)
            finally:
                made.close()


def _reason(entry: object) -> str | None:
    return entry if isinstance(entry, str) else None


def recipe_of_card(card: ModelCard) -> Recipe:
    """Return how images must be prepared for a model; areas are averaged where its card names no interpolation."""
    wanted = card.preprocessing
    known = wanted.interpolation in get_args(Interpolation)
    statistics = None
    if wanted.standardize == "featurewise" and wanted.mean is not None and wanted.std is not None:
        statistics = Statistics(wanted.mean, wanted.std, 0, 0)
    return Recipe(
        image_size=card.image_size,
        standardize=wanted.standardize,
        interpolation=wanted.interpolation if known else "area",  # type: ignore[arg-type]
        statistics=statistics,
        window=wanted.window,
    )


def open_images(
    given: Path | LabelTable, images: Path | None, card: ModelCard, workers: int | None = None
) -> StoreSource | FileSource:
    """Return the images of a store, a label table or a folder, whichever was given.

    Parameters
    ----------
    given
        An output folder of ``cxr preprocess``, a label table, or a folder of images.
    images
        The image folder of a table; None: beside it.
    card
        Of the model.
    workers
        Processes that prepare images of a table or a folder; None is one for each core.
    """
    if isinstance(given, LabelTable):
        return open_table(given, images, card, workers)
    if (given / STORE_MANIFEST).exists():
        return StoreSource(given, card)
    return open_folder(given, card, workers)


def open_table(table: LabelTable, images: Path | None, card: ModelCard, workers: int | None = None) -> FileSource:
    """Return the images that a label table names.

    Raises
    ------
    ImageError
        There is no image folder.
    """
    folder = find_image_folder(table.path, images)
    if folder is None:
        raise ImageError(
            f"{table.path}: no image folder beside it", remedy=f"Give the image folder with {argument('images')}."
        )
    codes = table.patient_codes.tolist()
    patients = tuple(table.patient_ids[code] if code >= 0 else "" for code in codes)
    names = tuple(table.images)
    if len(set(names)) < len(names):
        kept = list({name: place for place, name in reversed(list(enumerate(names)))}.values())
        kept.sort()
        names, patients = tuple(names[place] for place in kept), tuple(patients[place] for place in kept)
    return FileSource("table", table.path, folder, names, patients, (table.source,), card, workers)


def open_folder(folder: Path, card: ModelCard, workers: int | None = None) -> FileSource:
    """Return the images of a folder and the folders in it, sorted by name; patients are known of DICOM files only.

    Raises
    ------
    InputError
        It does not exist, or has no images.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such file or folder", remedy="Give a store, a label table or an image folder.")
    from cxr_cli.data.dicom.table import header_columns, is_nameless_dicom

    names = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            is_image = name.lower().endswith(IMAGE_SUFFIXES) or is_nameless_dicom(os.path.join(root, name))
            if is_image and not name.startswith("."):
                names.append((Path(root) / name).relative_to(folder).as_posix())
    if not names:
        raise InputError(
            f"{folder}: has no images ({', '.join(IMAGE_SUFFIXES[:6])}, …)",
            remedy="Give a store, a label table or an image folder.",
        )
    ordered = tuple(sorted(names))
    headers = header_columns(folder, ordered)
    patients = ("",) * len(ordered)
    if headers is not None:
        patients = tuple(normal_patient_id(patient) if patient else "" for patient, *_ in headers.cells)
    return FileSource("folder", folder, folder, ordered, patients, (), card, workers)
