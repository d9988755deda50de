"""One image from file to standardized pixels: the pure function that workers run, and its record of the image."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_cli.data.dicom.grey import read_window
from cxr_cli.data.files import raise_if_machine_failed
from cxr_cli.data.images import GrayImage, read_gray
from cxr_cli.data.store import RowsPart
from cxr_cli.errors import ImageError
from cxr_cli.services.images.pixels import PixelSums, sum_pixels
from cxr_cli.services.images.resize import Resized, area_and_moments, resize
from cxr_cli.services.parallel import KILLED_WORKER
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import mean_and_std, standardize


@dataclass(frozen=True)
class ImageRecord:
    """Facts about one image.

    Attributes
    ----------
    height, width, mode
        Of the source; mode as Pillow names it.
    white
        Full scale of the source, `GrayImage.full_scale`: 255, 65535, or 1023, 4095 and so on.
    before
        Sums over the source's pixels, on its own scale.
    issues
        Assumptions made on reading, see `cxr_cli.data.images.GrayImage`.
    resized
        Sums over the resized pixels before standardization, in grey levels from 0 to 255, as they are stored:
        rounded for uint8.
    """

    height: int
    width: int
    mode: str
    white: int
    before: PixelSums
    resized: PixelSums
    issues: tuple[str, ...] = ()

    def to_row(self) -> list[Any]:
        """Return plain values for a journal."""
        sums = (*_plain(self.before), *_plain(self.resized))
        return [self.height, self.width, self.mode, self.white, *sums, *self.issues]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> ImageRecord:
        """Restore what `to_row` gave."""
        height, width, mode, white, *rest = row
        return cls(height, width, mode, white, PixelSums(*rest[:6]), PixelSums(*rest[6:12]), tuple(rest[12:]))


def _plain(sums: PixelSums) -> tuple[float, ...]:
    return (sums.n, sums.minimum, sums.maximum, sums.total, sums.squares, sums.n_saturated)


def prepare_image(path: str, recipe: Recipe) -> tuple[NDArray[np.uint8] | NDArray[np.float32], ImageRecord]:
    """Read, resize and standardize one image.

    Returns
    -------
    pixels
        Shape ``recipe.row_shape``, dtype ``recipe.dtype``.
    record
        What is known of the image.

    Raises
    ------
    ImageError
        The file cannot be read as an image.
    """
    source = read_gray(path, read_window(recipe.window))
    made, moments = _resize(source.pixels, recipe)
    before = sum_pixels(source.pixels, source.full_scale, moments=moments)
    levels = _to_levels(made, source.full_scale, recipe)
    resized = sum_pixels(levels, 255)
    issues = source.issues
    if source.scale_source == "range":  # nothing in the file says so, and another image of the set may fill more bits
        issues = (*issues, f"white taken for {source.full_scale}: the least depth that holds the image's values")
    record = ImageRecord(source.height, source.width, source.mode, source.full_scale, before, resized, issues)
    if recipe.dtype == "uint8":
        return levels, record
    return standardize(
        levels, recipe.standardize, *mean_and_std(recipe.standardize, resized, recipe.statistics)
    ), record


def resize_to_levels(image: GrayImage, recipe: Recipe) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Resize and bring to grey levels from 0 to 255, rounded where the recipe stores uint8."""
    return _to_levels(_resize(image.pixels, recipe)[0], image.full_scale, recipe)


def _resize(pixels: NDArray[np.uint8] | NDArray[np.uint16], recipe: Recipe) -> tuple[Resized, tuple[int, int] | None]:
    """Resize; give the sums of the source and its squares along where averaging over areas brings them anyway."""
    if recipe.interpolation == "area":
        return area_and_moments(pixels, recipe.image_size)
    return resize(pixels, recipe.image_size, recipe.interpolation), None


def _to_levels(resized: Resized, full_scale: int, recipe: Recipe) -> NDArray[np.uint8] | NDArray[np.float32]:
    if full_scale != 255:
        resized = resized.astype(np.float32) / np.float32(full_scale / 255)
        if full_scale != 65535:  # interpolation may have gone above white
            resized = np.minimum(resized, np.float32(255))
    if recipe.dtype == "uint8" and resized.dtype != np.uint8:
        return np.rint(resized).astype(np.uint8)
    assert resized.dtype != np.uint16
    return resized  # type: ignore[return-value]


@dataclass(frozen=True)
class Task:
    """A few images for a worker.

    Attributes
    ----------
    paths
        Their files.
    recipe
        What to make of them.
    rows_file, first_row
        Where the worker writes the pixels; None to hand them over.
    """

    paths: tuple[str, ...]
    recipe: Recipe
    rows_file: Path | None = None
    first_row: int | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """What came of a task.

    Attributes
    ----------
    entries
        For each image, in order: its record as a row of plain values, or why it failed.
    pixels
        Of the images that did not fail, unless the worker wrote them; shape (n, …).
    pngs
        Their PNGs, where the recipe asks for them.
    """

    entries: tuple[list[Any] | str, ...]
    pixels: NDArray[Any] | None = None
    pngs: tuple[bytes, ...] = ()

    @property
    def n_done(self) -> int:
        """How many images did not fail."""
        return sum(not isinstance(entry, str) for entry in self.entries)


def prepare(task: Task) -> Prepared:
    """Prepare the images of a task; an image that fails is an entry, not an exception.

    Raises
    ------
    MachineError
        Memory, disk or network failed: no verdict on the image.
    OSError
        The rows file cannot be written.
    """
    if task.rows_file is not None and task.first_row is not None:
        # Each at once: memory for one image is used again and again, where that for many would be fetched anew.
        with RowsPart(task.rows_file, task.first_row) as part:
            return Prepared(tuple(_prepare_each(task, part.write)))
    if task.recipe.format == "png":
        pngs: list[bytes] = []
        entries = tuple(_prepare_each(task, lambda pixels: pngs.append(_png(pixels))))
        return Prepared(entries, pngs=tuple(pngs))
    rows: list[NDArray[Any]] = []
    entries = tuple(_prepare_each(task, rows.append))
    none = np.empty((0, *task.recipe.row_shape), task.recipe.dtype)
    return Prepared(entries, pixels=np.stack(rows) if rows else none)


def _prepare_each(task: Task, keep: Callable[[NDArray[Any]], None]) -> Iterator[list[Any] | str]:
    for path in task.paths:
        try:
            pixels, record = prepare_image(path, task.recipe)
        except (ImageError, MemoryError) as error:
            raise_if_machine_failed(error, path)
            yield _reason(error, path)
        else:
            keep(pixels)
            yield record.to_row()


def _reason(error: Exception, path: str) -> str:
    # The image is named beside it, and its place does not belong in the result.
    return str(error).partition("\n")[0].removeprefix(f"{path}: ")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def split(task: Task) -> list[Task]:
    """Return one task for each image, its pixels handed over."""
    return [Task((path,), task.recipe) for path in task.paths]


def lost(task: Task) -> Prepared:
    """Return what stands for images that killed the process that decoded them."""
    return Prepared((KILLED_WORKER,) * len(task.paths))


def measure(task: Task) -> Prepared:
    """Do the same without keeping pixels: what fitting statistics needs."""
    return Prepared(tuple(_prepare_each(task, lambda pixels: None)))
