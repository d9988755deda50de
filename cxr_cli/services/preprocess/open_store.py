"""A store in the making: it exists only while it is open, and continues where an earlier run stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cxr_cli.data.files import unwritable
from cxr_cli.data.journal import Journal
from cxr_cli.data.store import PngWriter, RowsWriter, png_name
from cxr_cli.errors import OutputError, argument
from cxr_cli.services.images.prepare import ImageRecord, Prepared, Task
from cxr_cli.services.preprocess.plan import JOURNAL, PNGS, ROWS, STATISTICS, Plan
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import Statistics


class OpenStore:
    """The journal and the pixels of a run, in its hidden folder.

    Parameters
    ----------
    plan
        The run. Where another was interrupted, it must be the same.

    Raises
    ------
    OutputError
        An unfinished run of other options, inputs or versions lies there, or one that is damaged; another process is
        writing; or the disk is too small.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        #: None where a run that stopped among its last steps has given the pixels their name already.
        self._writer: RowsWriter | PngWriter | None = None
        self._journal = Journal(plan.partial / JOURNAL, plan.identity, sync=self._sync)
        try:
            #: Images that the earlier run had done.
            self.n_done_before = self._journal.n_entries
            n_rows = sum(not isinstance(entry, str) for entry in self._journal.entries())
            self._check_space()
            self._writer = self._open(n_rows)
        except BaseException:
            self._journal.close()
            raise

    def __enter__(self) -> OpenStore:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            with contextlib.suppress(OutputError):
                self._journal.checkpoint()
        self._journal.close()
        if isinstance(self._writer, RowsWriter):
            self._writer.close()

    def _check_space(self) -> None:
        """Refuse when the disk cannot hold the store."""
        plan, recipe = self.plan, self.plan.options.recipe
        left = len(plan.paths) - self.n_done_before
        per_image = recipe.row_bytes + 300 + 10 * len(plan.table.pathologies)
        if recipe.format == "png":
            per_image //= 2  # radiographs compress to about half
        needed, free = left * per_image, shutil.disk_usage(plan.partial).free
        if needed > free:
            raise OutputError(
                f"{plan.output}: {left:,} images need {needed / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free",
                remedy=f"Free some space, choose another {argument('output')}, or a smaller store with "
                f"{argument('dtype', 'uint8')}.",
            )

    def _open(self, n_rows: int) -> RowsWriter | PngWriter | None:
        plan, recipe = self.plan, self.plan.options.recipe
        temporary = plan.partial / (PNGS if recipe.format == "png" else ROWS)
        if self.n_done and not temporary.exists():
            if self.n_done == len(plan.paths) and plan.target.exists():
                return None
            raise self._damaged()
        if recipe.format == "png":
            return PngWriter(temporary)
        rows = RowsWriter(temporary, recipe.row_shape, np.dtype(recipe.dtype), n_rows)
        if not rows.holds_what_it_should:
            rows.close()
            raise self._damaged()
        return rows

    def _damaged(self) -> OutputError:
        return OutputError(
            f"{self.plan.partial}: the unfinished run in this folder is damaged",
            remedy=f"Add {argument('start_over', True)}.",
        )

    def _sync(self) -> None:
        if self._writer is not None:
            self._writer.sync()

    @property
    def n_done(self) -> int:
        """Images that are done, those that failed among them."""
        return self._journal.n_entries

    def task(self, paths: tuple[str, ...], recipe: Recipe, *, here: bool) -> Task:
        """Return the next task; workers of this machine write their rows themselves."""
        if not isinstance(self._writer, RowsWriter):
            return Task(paths, recipe)
        first_row = self._writer.reserve(len(paths))
        return Task(paths, recipe, self._writer.path if here else None, first_row)

    def add(self, values: list[Prepared]) -> list[tuple[int, ImageRecord | str]]:
        """Keep what came of the oldest task; return position in the table and record or reason of each image.

        Raises
        ------
        OutputError
            The disk is full or fails.
        """
        entries = [entry for value in values for entry in value.entries]
        try:
            self._keep_pixels(values, entries)
        except OSError as error:
            raise unwritable(self.plan.target, error) from error
        return self.note(entries)

    def add_rows(self, pixels: np.ndarray[Any, Any]) -> None:
        """Keep rows that were made here; `note` describes their images."""
        if isinstance(self._writer, RowsWriter):
            self._writer.reserve(len(pixels))
            self._writer.commit(len(pixels), pixels)

    def note(self, entries: list[Any]) -> list[tuple[int, ImageRecord | str]]:
        """Take note of images whose pixels are kept; return the same as `add`."""
        first = self.n_done
        self._journal.add(entries)
        self.plan.stop_if_strict(entries, first)
        return [(self.plan.positions[number], record_of(entry)) for number, entry in enumerate(entries, start=first)]

    def _keep_pixels(self, values: list[Prepared], entries: list[Any]) -> None:
        if isinstance(self._writer, PngWriter):
            done = [number for number, entry in enumerate(entries, start=self.n_done) if not isinstance(entry, str)]
            images = self.plan.table.images
            names = [png_name(images[self.plan.positions[number]]) for number in done]
            self._writer.commit(names, [content for value in values for content in value.pngs])
        elif self._writer is not None:
            handed_over = [value.pixels for value in values if value.pixels is not None]
            pixels = np.concatenate(handed_over) if handed_over else None
            self._writer.commit(sum(value.n_done for value in values), pixels)

    def records(self) -> Iterator[tuple[int, ImageRecord | str]]:
        """Yield position in the table and record or reason of all images that are done."""
        for position, entry in zip(self.plan.positions, self._journal.entries(), strict=False):
            yield position, record_of(entry)

    def statistics(self, fit: Callable[[], Statistics]) -> Statistics:
        """Return the fitted statistics: fitted once, however often the run is interrupted."""
        # A journal of one entry: what is damaged or of another run is not believed.
        kept = Journal(self.plan.partial / STATISTICS, self.plan.identity, sync=lambda: None)
        with contextlib.closing(kept):
            try:
                return Statistics(**next(kept.entries()))
            except (StopIteration, TypeError, ValueError):
                statistics = fit()
                kept.restart([statistics.to_dict()])
                return statistics

    def checkpoint(self) -> None:
        """Bring everything to the disk."""
        self._journal.checkpoint()

    def finish(self) -> None:
        """Give the pixels their final name."""
        if self._writer is not None:
            self._writer.finish(self.plan.target)
            self._writer = None

    def give_final_name(self, path: Path) -> Path:
        """Move a file from the hidden folder to its place; return that."""
        target = self.plan.output / path.name
        try:
            os.replace(path, target)
        except OSError as error:
            raise unwritable(target, error) from error
        return target

    def remove(self) -> None:
        """Delete the hidden folder: the run is finished."""
        # The journal last, because it says whose folder this is: a run that is killed now ends when it is repeated.
        for entry in os.scandir(self.plan.partial):
            if entry.name != JOURNAL:
                remove = shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink
                with contextlib.suppress(OSError):
                    remove(entry.path)
        self._journal.remove()
        shutil.rmtree(self.plan.partial, ignore_errors=True)


def record_of(entry: list[Any] | str) -> ImageRecord | str:
    """Return an image's record from an entry of the journal, or the reason why there is none."""
    return entry if isinstance(entry, str) else ImageRecord.from_row(entry)
