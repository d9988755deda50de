"""The preprocessed images: a line for each in the index, and the comparison before and after."""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxr_cli.data.files import atomic_path, unwritable
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.store import png_name
from cxr_cli.services.images.prepare import ImageRecord
from cxr_cli.services.preprocess.result import ComparedImage, Comparison, Failure, Pixels, SourceSizes
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import PixelValues, values_after

#: The columns of the index behind image, patient and labels.
VALUE_COLUMNS = (
    "source_height",
    "source_width",
    "source_mode",
    "before_minimum",
    "before_maximum",
    "before_mean",
    "before_std",
    "before_saturated",
    "resized_mean",
    "resized_std",
    "after_minimum",
    "after_maximum",
    "after_mean",
    "after_std",
    "after_saturated",
)


#: An image of more than 8 bits that keeps fewer than so many levels of 256 has lost what its bits were for.
_FEW_LEVELS = 64
FEW_LEVELS_LEFT = f"fewer than {_FEW_LEVELS} grey levels are left in uint8"


def _n_levels(record: ImageRecord) -> float:
    return record.resized.maximum - record.resized.minimum + 1


def pixels_before(record: ImageRecord) -> Pixels:
    """Describe the source's pixels in grey levels from 0 to 255."""
    sums, scale = record.before, 255 / record.white
    return Pixels(
        sums.minimum * scale, sums.maximum * scale, sums.mean * scale, sums.std * scale, record.before.saturated
    )


def pixels_after(record: ImageRecord, recipe: Recipe) -> Pixels:
    """Describe the standardized pixels."""
    values: PixelValues = values_after(recipe.standardize, record.resized, recipe.statistics)
    return Pixels(values.minimum, values.maximum, values.mean, values.std, record.resized.saturated)


class IndexWriter:
    """The index in the making, a line for each image as soon as it is known; in the end the list of failures, too.

    Of the images in the store nothing is kept in memory but their positions.

    Parameters
    ----------
    index, failures
        The files.
    table, recipe
        What is preprocessed, and how.
    comparer
        Is told of each image of the store.

    Raises
    ------
    OutputError
        The files cannot be written.
    """

    def __init__(self, index: Path, failures: Path, table: LabelTable, recipe: Recipe, comparer: Comparer) -> None:
        self.index, self.failures = index, failures
        self.n_done = 0
        self.issues: Counter[str] = Counter()
        self._failed: dict[int, str] = {}
        self._table, self._recipe, self._comparer = table, recipe, comparer
        self._labels, self._patients = table.labels, table.frame["patient_id"].tolist()
        self._as_png = recipe.format == "png"
        self._seen: set[int] = set()
        file = ["file"] if self._as_png else []
        try:
            self._stream = open(index, "w", newline="", encoding="utf-8")
            self._rows = csv.writer(self._stream, lineterminator="\n")
            self._rows.writerow(["image", "patient_id", *file, *table.pathologies, *VALUE_COLUMNS])
        except OSError as error:
            raise unwritable(index, error) from error

    def add(self, position: int, record: ImageRecord | str) -> None:
        """Add the image at a position of the table: its record, or the reason why there is none.

        Raises
        ------
        OutputError
            The disk is full or fails.
        """
        self._seen.add(position)
        if isinstance(record, str):
            self._failed[position] = record
            return
        self.n_done += 1
        self.issues.update(record.issues)
        if self._recipe.dtype == "uint8" and record.white > 255 and _n_levels(record) < _FEW_LEVELS:
            self.issues[FEW_LEVELS_LEFT] += 1
        before, after = pixels_before(record), pixels_after(record, self._recipe)
        self._comparer.add(position, record, before, after)
        image = self._table.images[position]
        file = [f"images/{png_name(image)}"] if self._as_png else []
        labels = [_label(value) for value in self._labels[position].tolist()]
        row = [image, _text(self._patients[position]), *file, *labels, *_values(record, before, after)]
        try:
            self._rows.writerow(row)
        except OSError as error:
            raise unwritable(self.index, error) from error

    def finish(self, why_not: Callable[[int], str]) -> tuple[Failure, ...]:
        """Bring both files to the disk; return all images that failed, in the order of the table.

        Parameters
        ----------
        why_not
            Says why the image at a position of the table that was not added has no file.

        Raises
        ------
        OutputError
            The disk is full or fails.
        """
        table = self._table
        failed = self._failed | {
            position: why_not(position) for position in range(table.n_images) if position not in self._seen
        }
        failures = tuple(Failure(table.images[position], failed[position]) for position in sorted(failed))
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise unwritable(self.index, error) from error
        self.close()
        with atomic_path(self.failures) as path, open(path, "w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["image", "patient_id", "reason"])
            for position in sorted(failed):
                rows.writerow([table.images[position], _text(self._patients[position]), failed[position]])
        return failures

    def comparison(self) -> Comparison:
        """Return the images before and after, as far as they are known."""
        return self._comparer.comparison()

    def close(self) -> None:
        """Let go of the index; unless it is finished it is of no use."""
        with contextlib.suppress(OSError):
            self._stream.close()


def _values(record: ImageRecord, before: Pixels, after: Pixels) -> list[Any]:
    return [
        *(record.height, record.width, record.mode),
        *_short(before),
        # Exact, for a reader of grey levels standardizes with them.
        *(repr(float(record.resized.mean)), repr(float(record.resized.std))),
        *_short(after),
    ]


def _short(pixels: Pixels) -> list[str]:
    values = (pixels.minimum, pixels.maximum, pixels.mean, pixels.std, pixels.saturated)
    return [f"{value:.7g}" for value in values]


def _label(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0f}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


class Comparer:
    """Sums up the images before and after, and draws some of them to be named one by one.

    Parameters
    ----------
    images
        Names by position in the table.
    n_sample, seed
        Size of the random sample, and what draws it.
    """

    def __init__(self, images: list[str], n_sample: int, seed: int) -> None:
        self.images = images
        self.before, self.after = _Together(), _Together()
        self.sample = _Sample(n_sample, seed)
        self.sizes: SourceSizes | None = None

    def add(self, position: int, record: ImageRecord, before: Pixels, after: Pixels) -> None:
        """Take note of an image."""
        self.before.add(before, record.before.n)
        self.after.add(after, record.resized.n)
        self.sizes = _widened(self.sizes, record)
        self.sample.offer(position, record, before, after)

    def comparison(self) -> Comparison:
        """Return what came together."""
        sample = tuple(
            ComparedImage(self.images[position], record.height, record.width, record.mode, before, after)
            for position, record, before, after in self.sample.in_order()
        )
        return Comparison(self.before.n_images, self.sizes, self.before.pixels(), self.after.pixels(), sample)


def _widened(sizes: SourceSizes | None, record: ImageRecord) -> SourceSizes:
    height, width = record.height, record.width
    if sizes is None:
        return SourceSizes(height, height, width, width)
    if sizes.min_height <= height <= sizes.max_height and sizes.min_width <= width <= sizes.max_width:
        return sizes
    return SourceSizes(
        min(sizes.min_height, height),
        max(sizes.max_height, height),
        min(sizes.min_width, width),
        max(sizes.max_width, width),
    )


class _Together:
    """Pixels of many images described together, by their moments about their own mean."""

    def __init__(self) -> None:
        self.n_images = self.n = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.mean = self.spread = self.n_saturated = 0.0

    def add(self, one: Pixels, n: int) -> None:
        self.n_images += 1
        self.minimum = min(self.minimum, one.minimum)
        self.maximum = max(self.maximum, one.maximum)
        # Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances".
        together = self.n + n
        offset = one.mean - self.mean
        self.spread += n * one.std**2 + offset**2 * self.n * n / together
        self.mean += offset * n / together
        self.n_saturated += one.saturated * n
        self.n = together

    def pixels(self) -> Pixels | None:
        if not self.n:
            return None
        return Pixels(self.minimum, self.maximum, self.mean, math.sqrt(self.spread / self.n), self.n_saturated / self.n)


#: Position in the table, record, pixels before and after.
_Drawn = tuple[int, ImageRecord, Pixels, Pixels]


class _Sample:
    """A random sample of fixed size from a stream of unknown length (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.random = np.random.default_rng(seed)
        self.n_offered = 0
        self.kept: list[_Drawn] = []

    def offer(self, *drawn: *_Drawn) -> None:
        self.n_offered += 1
        if len(self.kept) < self.size:
            self.kept.append(drawn)
        elif self.size and (place := int(self.random.integers(self.n_offered))) < self.size:
            self.kept[place] = drawn

    def in_order(self) -> list[_Drawn]:
        return sorted(self.kept, key=lambda drawn: drawn[0])
