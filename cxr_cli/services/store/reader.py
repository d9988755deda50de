"""Read the output of ``cxr preprocess``: standardized float32 batches with their labels, from any kind of store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.choices import Standardization
from cxr_cli.data.files import STORE_MANIFEST
from cxr_cli.data.images import read_gray
from cxr_cli.data.names import is_unsafe_name
from cxr_cli.data.store import npy_header
from cxr_cli.errors import InputError, shown
from cxr_cli.services.store.manifest import StoreManifest
from cxr_cli.services.store.standardization import standardize

_REMEDY = "Give the output folder of a finished 'cxr preprocess'."


@dataclass(frozen=True, eq=False)
class Store:
    """A finished store of preprocessed images.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        What its ``preprocess.json`` says.
    index
        One row per image, in the order of the images: ``image``, ``patient_id`` (text), one float32 column per
        pathology (NaN: unknown), and what was measured of the image.
    pathologies
        Names of the label columns, in order.
    """

    folder: Path
    manifest: StoreManifest
    index: pd.DataFrame
    pathologies: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def standardization(self) -> Standardization:
        """The scheme by which pixels are or will be standardized."""
        return self.manifest.recipe.standardize

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image of a batch: (height, width), or (height, width, 3) where the channels differ."""
        height, width = self.manifest.image_size
        return (height, width, 3) if self.standardization == "imagenet" else (height, width)

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """Labels, shape (n_images, n_pathologies): 1 present, 0 absent, NaN unknown."""
        return np.ascontiguousarray(self.index[list(self.pathologies)].to_numpy(dtype=np.float32))

    @cached_property
    def stored(self) -> NDArray[Any]:
        """The stored array, memory-mapped: standardized float32 values or uint8 grey levels.

        Raises
        ------
        InputError
            It is missing or does not fit the index.
        """
        path = _inside(self.folder, self.manifest.store)
        recipe = self.manifest.recipe
        header = npy_header((len(self), *recipe.row_shape), np.dtype(recipe.dtype))
        try:
            with open(path, "rb") as stream:
                sound = stream.read(len(header)) == header
            if sound:
                array: NDArray[Any] = np.load(path, mmap_mode="r")
                return array
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {shown(str(error), 200)}", remedy=_REMEDY) from error
        raise InputError(
            f"{path}: is not the array of {len(self):,} images that the manifest and the index speak of",
            remedy="Run 'cxr preprocess' again.",
        )

    def batch(self, rows: Sequence[int] | NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Return standardized images.

        Parameters
        ----------
        rows
            Positions in the index.

        Returns
        -------
        ndarray of float32
            Shape (len(rows), *image_shape). Of a float32 store, the stored values; of uint8 levels or PNGs, what
            standardizing those gives with the means and deviations in the index.
        """
        chosen = np.arange(len(self))[rows]
        levels = self._levels(chosen)
        if levels.dtype != np.uint8:
            return np.array(levels, dtype=np.float32)
        mean, std = self._mean_and_std(chosen)
        return standardize(levels, self.standardization, mean, std)

    def _levels(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        if self.manifest.recipe.format == "npy":
            pixels: NDArray[Any] = self.stored[rows]
            return pixels
        files = self.index["file"].to_numpy()[rows]
        shape = (len(rows), *self.manifest.image_size)
        made = np.empty(shape, dtype="uint8")
        for place, name in enumerate(files):
            path = _inside(self.folder, name)
            pixels_read = read_gray(path).pixels
            if pixels_read.shape != shape[1:] or pixels_read.dtype != made.dtype:
                raise InputError(f"{path}: is not an image of this store", remedy="Run 'cxr preprocess' again.")
            made[place] = pixels_read
        return made

    def _mean_and_std(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what each image is standardized by, in grey levels, shape (n, 1, 1)."""
        if self.standardization == "featurewise":
            statistics = self.manifest.recipe.statistics
            assert statistics is not None  # the manifest has seen to it
            mean = np.full(len(rows), statistics.mean)
            std = np.full(len(rows), statistics.std)
        else:
            mean = self.index["resized_mean"].to_numpy()[rows]
            std = self.index["resized_std"].to_numpy()[rows]
        return mean[:, None, None], std[:, None, None]


def _inside(folder: Path, name: object) -> Path:
    if not isinstance(name, str) or is_unsafe_name(name):
        raise InputError(f"{folder}: names a file outside: '{shown(str(name))}'", remedy=_REMEDY)
    return folder / name


def open_store(folder: Path | str) -> Store:
    """Open a finished store.

    Parameters
    ----------
    folder
        The output folder of ``cxr preprocess``.

    Raises
    ------
    InputError
        It is missing, not finished, or damaged.

    Examples
    --------
    >>> store = open_store("cxr-output/preprocess")  # doctest: +SKIP
    >>> store.batch([0, 1]).shape, store.labels.shape  # doctest: +SKIP
    ((2, 320, 320), (200, 14))
    """
    folder = Path(folder)
    manifest = StoreManifest.read(folder / STORE_MANIFEST, remedy=_REMEDY)
    path = folder / manifest.index
    try:
        index = pd.read_csv(
            path,
            dtype={"image": str, "patient_id": str, "source_mode": str, "file": str}
            | dict.fromkeys(manifest.pathologies, np.float32)
            | dict.fromkeys(("resized_mean", "resized_std"), np.float64),
            keep_default_na=False,
            na_values={name: [""] for name in ("patient_id", *manifest.pathologies)},
        )
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        raise InputError(f"{path}: cannot be read: {shown(str(error), 200)}", remedy=_REMEDY) from error
    recipe = manifest.recipe
    needed = {"image", *manifest.pathologies}
    if recipe.format == "png":
        needed.add("file")
    if recipe.standardize == "samplewise" and recipe.dtype == "uint8":
        needed |= {"resized_mean", "resized_std"}
    if lacking := sorted(needed - set(index.columns)):
        raise InputError(f"{path}: lacks {shown(', '.join(lacking), 200)}", remedy=_REMEDY)
    if len(index) != manifest.n_done:
        raise InputError(
            f"{path}: has {len(index):,} lines and the manifest counts {manifest.n_done:,} images",
            remedy="Run 'cxr preprocess' again.",
        )
    return Store(folder, manifest, index, manifest.pathologies)
