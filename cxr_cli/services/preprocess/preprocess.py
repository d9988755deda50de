"""Decode, resize, standardize and store every image of a label table; say what that made of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from cxr_cli import __version__
from cxr_cli.choices import Engine, UncertainPolicy
from cxr_cli.data.files import STORE_MANIFEST, Outputs, unwritable
from cxr_cli.data.folders import LocatedImages, locate_images
from cxr_cli.data.image_types import SUFFIXES
from cxr_cli.data.journal import Journal
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.store import PngWriter, RowsWriter, png_name
from cxr_cli.errors import ImageError, OutputError, UsageError
from cxr_cli.services.images.pixels import PixelSums
from cxr_cli.services.images.prepare import ImageRecord, Prepared, Task, lost, measure, prepare, split
from cxr_cli.services.keras_backend import require_tensorflow
from cxr_cli.services.parallel import Workers, available_cores, map_surviving
from cxr_cli.services.preprocess.finished import (
    finished_store,
    is_made_alike,
    is_unfinished_run,
    refuse_to_replace,
)
from cxr_cli.services.preprocess.index import Comparer, Comparison, Failure, IndexWriter
from cxr_cli.services.preprocess.options import Options, StatisticsSource, check
from cxr_cli.services.result import Result, plain
from cxr_cli.services.store.manifest import StoreManifest
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import Statistics

#: Names of the files in the output folder.
ROWS, PNGS, INDEX, FAILURES = "images.npy", "images", "index.csv", "failures.csv"
#: What an unfinished run leaves: a folder, and in it the statistics once they are fitted.
PARTIAL, JOURNAL, STATISTICS = ".partial", "journal.jsonl", "statistics.jsonl"

#: Starting a process takes as long as preparing half a hundred films: below this much work for each, one is faster.
_BYTES_PER_WORKER = 64 << 20
#: How many images a task has at most, and how much it brings back at most. Here large tasks are best, for each wakes
#: this process several times; of a cluster it is not known how many workers wait for their share.
_TASK_IMAGES, _TASK_BYTES = 32, 8 << 20
_CLUSTER_TASK_IMAGES, _CLUSTER_TASK_BYTES = 8, 4 << 20
#: How large its files are at most: an interrupted run waits for the tasks under way.
_TASK_SOURCE_BYTES = 16 << 20
#: How many images it has at least, while there are so many.
_LEAST_IMAGES = 2
_DEFAULTS = Options()
#: Failures that a result names; the file has all.
_N_FAILURES = 20


@dataclass(frozen=True)
class Start:
    """What is about to be written.

    Attributes
    ----------
    target
        The array, or the folder of PNGs.
    n_images
        Rows of the table.
    n_missing
        Those of them that have no file, or none that may be opened.
    n_bytes
        Size of the store, uncompressed, if no image fails.
    n_done_before
        Images that an earlier, interrupted run had seen to.
    replaces
        The finished store in the folder, unless it was made of the same table in the same way.
    left_over
        Its array or folder of PNGs, where that is not replaced, for the new store has the other format; it loses its
        index and manifest.
    notes
        How image names were matched otherwise than letter for letter, in sentences.
    """

    target: Path
    n_images: int
    n_missing: int
    n_bytes: int
    n_done_before: int
    replaces: StoreManifest | None
    left_over: Path | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreprocessResult(Result):
    """What `preprocess` did.

    Attributes
    ----------
    output
        The folder with everything.
    store
        The array ``images.npy``, or the folder of PNGs.
    index
        A line for each image of the store, in its order.
    failures_file
        A line for each image that is not in the store.
    manifest
        What is needed to repeat the run.
    shape
        Of the array: (n_done, height, width), or (n_done, height, width, 3) where the channels differ.
    dtype
        Of the array.
    n_bytes
        Size of the store on disk.
    recipe
        How each image was made.
    engine
        Who made the pixels: ``fast``, or ``keras`` for Keras' own ImageDataGenerator.
    statistics_from
        Where featurewise statistics came from; None if they were fitted here or are not used.
    seed
        Of the samples, drawn at random, for fitting and for comparison.
    uncertain
        What uncertain labels became: "ignore" (not known), "positive" or "negative".
    n_uncertain
        Cells of the table that hold an uncertain label.
    n_images
        Rows of the table.
    n_done
        Images in the store.
    n_failed
        Images that are not in the store.
    n_missing
        Those of them that have no file, or none that may be opened.
    n_done_before
        Images that an earlier, interrupted run had seen to.
    failures
        The first of the images that failed, 20 at most.
    comparison
        The images before and after.
    image_issues
        What was assumed on reading DICOM images of the store, and in how many.
    """

    output: Path
    store: Path
    index: Path
    failures_file: Path
    manifest: Path
    shape: tuple[int, ...]
    dtype: str
    n_bytes: int
    recipe: Recipe
    engine: Engine
    statistics_from: StatisticsSource | None
    seed: int
    uncertain: UncertainPolicy
    n_uncertain: int
    n_images: int
    n_done: int
    n_failed: int
    n_missing: int
    n_done_before: int
    failures: tuple[Failure, ...]
    comparison: Comparison
    image_issues: Mapping[str, int]

    @property
    def written(self) -> list[Path]:
        """Every file and folder that was written."""
        return [self.store, self.index, self.failures_file, self.manifest]


def preprocess(
    table: LabelTable,
    folder: Path,
    output: Path,
    options: Options = _DEFAULTS,
    *,
    workers: int | None = None,
    executor: Executor | Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_start: Callable[[Start], None] | None = None,
) -> PreprocessResult:
    """Preprocess every image of a table into a store.

    The bytes of the store, the index and the manifest depend on the inputs, the options and the versions of the
    decoding libraries only: not on the number of workers, nor on how often the run was interrupted. Until the run
    is finished everything is in a hidden folder inside `output`; called again with the same arguments it continues
    from there.

    Parameters
    ----------
    table
        Names the images, in the order of the store.
    folder
        Where they are, flat or nested.
    output
        Folder to write into; made if need be.
    options
        What to make.
    workers
        Number of local processes; None is one per core, or none for little work.
    executor
        Instead of `workers`: `Workers`, which several calls for several tables can share, so that they start only
        once; or any `concurrent.futures.Executor`, whose workers must see `folder`.
    progress
        Called with (done, total).
    on_start
        Called once when everything has been checked, before work begins.

    Returns
    -------
    PreprocessResult
        ``n_failed`` counts images that are missing, damaged or refused; they are not in the store.

    Raises
    ------
    UsageError
        Options that contradict each other.
    ImageError
        No image of the table is in the folder, or, if strict, the first image that fails.
    OutputError
        The disk is too small, or in the way are an unfinished run with other options, an input, or, for PNGs, a
        folder ``images`` that is not a store's.
    """
    check(options)
    located = locate_images(folder, table.images)
    located.refuse_uncertain()
    if located.n_found == 0:
        raise ImageError(
            f"{folder}: has none of the {table.n_images:,} images of {table.path}",
            remedy="Give the image folder with --images.",
        )
    run = _Run(table, located, output, options, workers, executor, progress)
    with run:
        run.start(on_start)
        run.work()
        return run.finish()


class _Run:
    """One run: its parts in the order in which they happen."""

    def __init__(
        self,
        table: LabelTable,
        located: LocatedImages,
        output: Path,
        options: Options,
        workers: int | None,
        executor: Executor | Workers | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.table = table
        self.located = located
        self.options = options
        self.recipe = options.recipe
        self.output = output
        self.partial = output / PARTIAL
        self.workers = workers
        self.own_workers: Workers | None = None
        self.executor = executor
        self.progress = progress or (lambda done, total: None)
        source = options.statistics_from
        self.outputs = Outputs(output, [table.path] if source is None else [table.path, source.manifest.path])
        self.rows: RowsWriter | None = None
        self.pictures: PngWriter | None = None
        self.journal: Journal | None = None
        self.index: IndexWriter | None = None
        self.comparer = Comparer(table.images, options.n_sample, options.seed)
        self.n_done_before = 0
        self.refused = frozenset(located.refused)
        # What the work is about: positions in the table of the images that have a file.
        self.positions = [position for position, path in enumerate(located.paths) if path is not None]
        self.paths = [str(path) for path in located.paths if path is not None]

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if self.journal is not None:
            if kind is not None:
                with contextlib.suppress(OutputError):
                    self.journal.checkpoint()
            self.journal.close()
        if self.rows is not None:
            self.rows.close()
        if self.index is not None:
            self.index.close()
        if self.own_workers is not None:
            self.own_workers.close()

    # -- before the work ---------------------------------------------------------------------------------------

    def start(self, on_start: Callable[[Start], None] | None) -> None:
        """Check, then open what is to be written, where an earlier run stopped."""
        if self.options.strict and self.located.n_found < self.table.n_images:
            position = self.located.paths.index(None)
            raise ImageError(f"{self.table.images[position]}: {self._why_not(position)}")
        self._refuse_to_replace()
        finished = finished_store(self.output)
        if self.recipe.format == "png":
            unfinished = self.partial.exists() and not self.options.start_over
            is_store = unfinished or (finished is not None and finished.store == PNGS)
            refuse_to_replace(self._store(), self.located, is_store=is_store)
        if self.options.start_over or self.options.engine == "keras":
            shutil.rmtree(self.partial, ignore_errors=True)
        digest, self.n_source_bytes = _files_digest(self.paths)
        self.identity = self._identity(digest)
        self.journal = Journal(self.partial / JOURNAL, self.identity, sync=self._sync)
        self.n_done_before = self.journal.n_entries
        n_rows = sum(not isinstance(entry, str) for entry in self.journal.entries())
        self._check_space()
        self._open_store(n_rows)
        if on_start is not None:
            n_bytes = len(self.paths) * self.recipe.row_bytes
            n_missing = self.table.n_images - len(self.paths)
            replaces, left_over = self._replaced(finished)
            target, n_images = self._store(), self.table.n_images
            notes = self.located.notes()
            on_start(Start(target, n_images, n_missing, n_bytes, self.n_done_before, replaces, left_over, notes))

    def _refuse_to_replace(self) -> None:
        """Refuse to replace what is not ours: neither a finished store nor an unfinished run vouches for it."""
        names = [INDEX, FAILURES, STORE_MANIFEST, *([ROWS] if self.recipe.format == "npy" else [])]
        for name in names:
            self.outputs.refuse_input(self.output / name)
        if self.partial.exists() and not is_unfinished_run(self.partial):
            raise OutputError(
                f"{self.partial}: already exists and was not made by cxr preprocess; it will not be replaced",
                remedy="Choose another --output, or move it away.",
            )
        # Between removing the old manifest and writing the new one, the journal is what vouches.
        if not (self.partial / JOURNAL).exists():
            self.outputs.refuse_to_replace(*names)

    def _replaced(self, finished: StoreManifest | None) -> tuple[StoreManifest | None, Path | None]:
        """Return the store that this run takes the place of, and what stays of it."""
        if finished is None or is_made_alike(finished, self.table, self.options):
            return None, None
        others = [self.output / name for name in (ROWS, PNGS) if name == finished.store != self._store().name]
        return finished, next((old for old in others if old.exists()), None)

    def _identity(self, digest: str) -> dict[str, Any]:
        """Return all that determines the result; a run continues one of the same identity only."""
        recipe = plain(self.recipe)
        return {
            "labels": self.table.source.sha256,
            "schema": self.table.schema,
            "uncertain": self.table.uncertain,
            "files": digest,
            **recipe,
            "engine": self.options.engine,
            "fit_statistics": self.options.fit_statistics,
            "fit_sample": self.options.fit_sample,
            "seed": self.options.seed,
            **{f"{name} version": number for name, number in self._versions().items()},
        }

    def _versions(self) -> dict[str, str]:
        """Return the versions of all that decodes the images here."""
        return _versions(any(Path(path).suffix.lower() in SUFFIXES["DICOM"] for path in self.paths))

    def _check_space(self) -> None:
        """Refuse when the disk cannot hold the store."""
        left = len(self.paths) - self.n_done_before
        per_image = self.recipe.row_bytes + 300 + 10 * len(self.table.pathologies)
        if self.recipe.format == "png":
            per_image //= 2  # films compress to about half
        needed, free = left * per_image, shutil.disk_usage(self.partial).free
        if needed > free:
            raise OutputError(
                f"{self.output}: {left:,} images need {needed / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free",
                remedy="Free some space, choose another --output, or a smaller store with --dtype uint8.",
            )

    def _open_store(self, n_rows: int) -> None:
        """Open the store under its temporary name, unless a run that stopped among its last steps has renamed it."""
        assert self.journal is not None
        pictures = self.recipe.format == "png"
        temporary = self.partial / (PNGS if pictures else ROWS)
        n_entries = self.journal.n_entries
        if n_entries and not temporary.exists():
            if n_entries == len(self.paths) and self._store().exists():
                return
            raise _damaged(self.partial)
        if pictures:
            self.pictures = PngWriter(temporary)
            return
        rows = RowsWriter(temporary, self.recipe.row_shape, np.dtype(self.recipe.dtype), n_rows)
        if not rows.holds_what_it_should:
            rows.close()
            raise _damaged(self.partial)
        self.rows = rows

    def _sync(self) -> None:
        for writer in (self.rows, self.pictures):
            if writer is not None:
                writer.sync()

    # -- the work ----------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Fit statistics if asked to, then prepare every image not yet done."""
        if self._fits_first():
            self._fit()
        if self.options.engine == "keras":
            self._work_with_keras()
            return
        assert self.journal is not None
        self.progress(self.n_done_before, len(self.paths))
        if not self._fits_last():
            self._begin_index()
        tasks = self._tasks(range(self.n_done_before, len(self.paths)))
        for values in self._map(prepare, tasks):
            entries = [entry for value in values for entry in value.entries]
            try:
                self._store_pixels(values, entries)
            except OSError as error:
                raise unwritable(self._store(), error) from error
            first = self.journal.n_entries
            self.journal.add(entries)
            self._stop_if_strict(entries)
            if self.index is not None:
                for number, entry in enumerate(entries, start=first):
                    self.index.add(self.positions[number], _record(entry))
            self.progress(self.journal.n_entries, len(self.paths))
        if self.own_workers is not None:
            self.own_workers.close(wait=False)  # nothing is left to do, so they end while this process goes on
        self.journal.checkpoint()

    def _begin_index(self) -> IndexWriter:
        """Begin the index with all images that the journal has."""
        index = IndexWriter(self.partial / INDEX, self.partial / FAILURES, self.table, self.recipe, self.comparer)
        self.index = index
        for position, record in self._records():
            index.add(position, record)
        return index

    def _map(self, function: Callable[[Task], Prepared], tasks: Iterator[Task]) -> Iterator[list[Prepared]]:
        values = map_surviving(function, tasks, split=split, lost=lost, executor=self._executor())
        try:
            yield from values
        except OSError as error:  # a worker could not write
            raise unwritable(self._store(), error) from error
        finally:
            values.close()

    def _executor(self) -> Executor | Workers | None:
        """Return who is to work; None is this process, where starting others takes longer than the work."""
        if self.executor is not None:
            return self.executor
        count = self.workers
        if count is None:
            count = min(available_cores(), math.ceil(self.n_source_bytes / _BYTES_PER_WORKER))
            # A run that was interrupted may have been ended by an image that kills its process: keep such ones apart.
            count = count if count > 1 or self.n_done_before else 0
        if count and self.own_workers is None:
            self.own_workers = Workers(count)
        return self.own_workers

    def _tasks(self, items: Sequence[int]) -> Iterator[Task]:
        # Processes on this machine write for themselves.
        file = self.rows.path if self.rows and self._works_here() else None
        for paths in self._shares(items):
            yield Task(paths, self.recipe, file, None if self.rows is None else self.rows.reserve(len(paths)))

    def _shares(self, items: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """Divide images into tasks; yield the files of each."""
        here = self._works_here()
        n_images, n_bytes = (_TASK_IMAGES, _TASK_BYTES) if here else (_CLUSTER_TASK_IMAGES, _CLUSTER_TASK_BYTES)
        of_files = _TASK_SOURCE_BYTES * len(self.paths) // max(self.n_source_bytes, 1)
        largest = max(1, min(n_images, n_bytes // self.recipe.row_bytes, of_files))
        workers, start = self._executor(), 0
        for size in _task_sizes(len(items), largest, workers.count if isinstance(workers, Workers) else 0):
            yield tuple(self.paths[item] for item in items[start : start + size])
            start += size

    def _works_here(self) -> bool:
        return self.executor is None or isinstance(self.executor, Workers)

    def _store_pixels(self, values: list[Prepared], entries: list[Any]) -> None:
        assert self.journal is not None
        if self.pictures is not None:
            first = self.journal.n_entries
            done = [first + offset for offset, entry in enumerate(entries) if not isinstance(entry, str)]
            names = [png_name(self.table.images[self.positions[item]]) for item in done]
            self.pictures.commit(names, [picture for value in values for picture in value.pictures])
        elif self.rows is not None:
            handed_over = [value.pixels for value in values if value.pixels is not None]
            pixels = np.concatenate(handed_over) if handed_over else None
            self.rows.commit(sum(value.n_done for value in values), pixels)

    def _stop_if_strict(self, entries: list[Any]) -> None:
        assert self.journal is not None
        if not self.options.strict:
            return
        first = self.journal.n_entries - len(entries)
        for offset, entry in enumerate(entries):
            if isinstance(entry, str):
                raise ImageError(f"{self.paths[first + offset]}: {entry}")

    def _fits_first(self) -> bool:
        """Whether statistics must be known before pixels are stored; grey levels can be stored without."""
        options = self.options
        return options.fit_statistics and (self.recipe.dtype == "float32" or options.fit_sample is not None)

    def _fits_last(self) -> bool:
        """Whether statistics are known only when all images are: standardized values cannot be described before."""
        return self.options.fit_statistics and self.recipe.statistics is None

    def _fit(self) -> None:
        """Fit statistics on all images or a sample, once for however often the run is interrupted."""
        # A journal of one entry: what is damaged or of another run is not believed.
        kept = Journal(self.partial / STATISTICS, self.identity, sync=lambda: None)
        with contextlib.closing(kept):
            try:
                statistics = Statistics(**next(kept.entries()))
            except (StopIteration, TypeError, ValueError):
                statistics = self._fitted()
                kept.restart([statistics.to_dict()])
        self.recipe = replace(self.recipe, statistics=statistics)

    def _fitted(self) -> Statistics:
        items: Sequence[int] = range(len(self.paths))
        if self.options.fit_sample is not None:
            n = min(self.options.fit_sample, len(items))
            chosen = np.random.default_rng(self.options.seed).choice(len(items), n, replace=False)
            items = sorted(chosen.tolist())
        plain_recipe = replace(self.recipe, standardize="none")
        tasks = (Task(paths, plain_recipe) for paths in self._shares(items))
        joined, n_read, n_seen = None, 0, 0
        for values in self._map(measure, tasks):
            entries = [entry for value in values for entry in value.entries]
            n_seen += len(entries)
            for entry in entries:
                if not isinstance(entry, str):
                    sums = ImageRecord.from_row(entry).resized
                    joined = sums if joined is None else joined + sums
                    n_read += 1
            self.progress(n_seen, len(items))
        return _statistics(joined, n_read)

    def _work_with_keras(self) -> None:
        require_tensorflow()
        from cxr_cli.models.generator import standardized_by_keras

        assert self.journal is not None and self.rows is not None
        entries: list[Any] = []
        for path in self.paths:
            entries += measure(Task((path,), self.recipe)).entries
            if not isinstance(entries[-1], str) and "MONOCHROME" in _record(entries[-1]).mode:  # type: ignore[union-attr]
                raise UsageError(f"--engine keras: {path} is DICOM, which Keras does not read", remedy="Leave it out.")
        readable = [path for path, entry in zip(self.paths, entries, strict=True) if not isinstance(entry, str)]
        for pixels in standardized_by_keras(readable, self.recipe):
            self.rows.reserve(len(pixels))
            self.rows.commit(len(pixels), pixels)
            self.progress(self.rows.n_rows, len(readable))
        self.journal.add(entries)
        self._stop_if_strict(entries)
        self.journal.checkpoint()

    # -- after the work ----------------------------------------------------------------------------------------

    def finish(self) -> PreprocessResult:
        """Write index and failures, give the store its name, and last of all write the manifest."""
        assert self.journal is not None
        # While there is no manifest, nothing here looks finished.
        with contextlib.suppress(FileNotFoundError):
            (self.output / STORE_MANIFEST).unlink()
        if self._fits_last():
            self.recipe = replace(self.recipe, statistics=self._statistics_of_journal())
        # Everything is made in the hidden folder first: what a kill leaves of it is not seen, and goes in the end.
        index = self.index or self._begin_index()
        failures = index.finish(self._why_not)
        self._finish_store()
        issues = dict(sorted(index.issues.items(), key=lambda item: (-item[1], item[0])))
        result = self._result(index.n_done, failures, self.comparer.comparison(), issues)
        hidden = Outputs(self.partial)
        self._manifest(result).write(hidden)
        for path in (index.index, index.failures, *hidden.written):
            self._give_final_name(path)
        self.journal.remove()
        shutil.rmtree(self.partial, ignore_errors=True)
        return result

    def _give_final_name(self, path: Path) -> None:
        target = self.output / path.name
        try:
            os.replace(path, target)
        except OSError as error:
            raise unwritable(target, error) from error

    def _records(self) -> Iterator[tuple[int, ImageRecord | str]]:
        """Yield (position in the table, record or reason) of every image that the journal has."""
        assert self.journal is not None
        for position, entry in zip(self.positions, self.journal.entries(), strict=False):
            yield position, _record(entry)

    def _why_not(self, position: int) -> str:
        if position in self.refused:
            return "its name or link leaves the image folder"
        return "no such file in the image folder"

    def _statistics_of_journal(self) -> Statistics:
        joined, n_images = None, 0
        for _, record in self._records():
            if isinstance(record, ImageRecord):
                joined = record.resized if joined is None else joined + record.resized
                n_images += 1
        return _statistics(joined, n_images)

    def _store(self) -> Path:
        return self.output / (PNGS if self.recipe.format == "png" else ROWS)

    def _finish_store(self) -> None:
        for writer in (self.rows, self.pictures):
            if writer is not None:
                writer.finish(self._store())
        self.rows = self.pictures = None

    def _result(
        self, n_done: int, failures: tuple[Failure, ...], comparison: Comparison, issues: Mapping[str, int]
    ) -> PreprocessResult:
        store = self._store()
        if self.recipe.format == "png":
            n_bytes = sum(path.stat().st_size for path in store.rglob("*.png"))
        else:
            n_bytes = store.stat().st_size
        return PreprocessResult(
            output=self.output,
            store=store,
            index=self.output / INDEX,
            failures_file=self.output / FAILURES,
            manifest=self.output / STORE_MANIFEST,
            shape=(n_done, *self.recipe.row_shape),
            dtype=self.recipe.dtype,
            n_bytes=n_bytes,
            recipe=self.recipe,
            engine=self.options.engine,
            statistics_from=self.options.statistics_from,
            seed=self.options.seed,
            uncertain=self.table.uncertain,
            n_uncertain=self.table.n_uncertain,
            n_images=self.table.n_images,
            n_done=n_done,
            n_failed=self.table.n_images - n_done,
            n_missing=self.table.n_images - len(self.paths),
            n_done_before=self.n_done_before,
            failures=failures[:_N_FAILURES],
            comparison=comparison,
            image_issues=issues,
        )

    def _manifest(self, result: PreprocessResult) -> StoreManifest:
        source = self.options.statistics_from
        fitted_on = self.table.source if source is None else source.fitted_on
        return StoreManifest(
            versions=self._versions(),
            inputs=(self.table.source,) if source is None else (self.table.source, source.manifest),
            image_folder=str(self.located.folder),
            uncertain=self.table.uncertain,
            recipe=self.recipe,
            statistics_fitted_on=None if self.recipe.statistics is None else fitted_on,
            engine=self.options.engine,
            fit_sample=self.options.fit_sample,
            seed=self.options.seed,
            pathologies=tuple(self.table.pathologies),
            store=result.store.name,
            index=INDEX,
            shape=result.shape,
            dtype=result.dtype,
            n_images=result.n_images,
            n_done=result.n_done,
            n_failed=result.n_failed,
            comparison=result.comparison,
            image_issues=result.image_issues,
        )


def _task_sizes(n_items: int, largest: int, n_workers: int) -> Iterator[int]:
    """Divide items into tasks: the last ones are small, so that no worker is still busy long after the others.

    References
    ----------
    Hummel, Schonberg & Flynn (1992), "Factoring: a method for scheduling parallel loops".
    """
    while n_items > 0:
        share = math.ceil(n_items / (2 * n_workers)) if n_workers else largest
        size = min(max(share, _LEAST_IMAGES), largest, n_items)
        yield size
        n_items -= size


def _record(entry: list[Any] | str) -> ImageRecord | str:
    return entry if isinstance(entry, str) else ImageRecord.from_row(entry)


def _damaged(partial: Path) -> OutputError:
    return OutputError(f"{partial}: the unfinished run in this folder is damaged", remedy="Add --start-over.")


def _statistics(joined: PixelSums | None, n_images: int) -> Statistics:
    if joined is None:
        raise ImageError("no image can be read, so there are no statistics", remedy="Look at the image files.")
    return Statistics(joined.mean, joined.std, n_images, joined.n)


def _files_digest(paths: Sequence[str]) -> tuple[str, int]:
    """Return a digest of names, sizes and times of change, and the number of bytes."""
    digest = hashlib.sha256()
    total = 0
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:  # it will be a failure with a reason
            digest.update(f"{path}\0\n".encode(errors="surrogateescape"))
            continue
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        total += status.st_size
    return digest.hexdigest(), total


@functools.cache
def _versions(with_dicom: bool) -> dict[str, str]:
    names = {"cxr": "cxr-cli", "numpy": "numpy", "pillow": "pillow", "kornia_rs": "kornia_rs"}
    for name in ("pydicom", "imagecodecs") if with_dicom else ():
        if find_spec(name) is not None:
            names[name] = name
    found = {"python": platform.python_version()}
    for name, package in names.items():
        found[name] = __version__ if name == "cxr" else version(package)
    return found
