"""Decode, resize, standardize and store every image of a label table, and compare before with after."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxr_cli.data.files import STORE_MANIFEST, Outputs, unwritable
from cxr_cli.data.folders import locate_images
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.store import refuse_clashes
from cxr_cli.errors import ImageError, OutputError, UsageError, argument
from cxr_cli.services.images.pixels import PixelSums
from cxr_cli.services.images.prepare import ImageRecord, Prepared, Task, lost, measure, prepare, split
from cxr_cli.services.keras_backend import require_tensorflow
from cxr_cli.services.parallel import Workers, available_cores, map_surviving
from cxr_cli.services.preprocess.finished import finished_store, is_made_alike, is_unfinished_run, refuse_to_replace
from cxr_cli.services.preprocess.index import Comparer, IndexWriter
from cxr_cli.services.preprocess.open_store import OpenStore, record_of
from cxr_cli.services.preprocess.options import Options, check
from cxr_cli.services.preprocess.plan import FAILURES, INDEX, JOURNAL, PNGS, ROWS, Plan, versions_of
from cxr_cli.services.preprocess.result import Failure, PreprocessResult, Start
from cxr_cli.services.preprocess.schedule import in_tasks, largest_task, worker_count
from cxr_cli.services.store.manifest import StoreManifest
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import Statistics

_DEFAULTS = Options()
#: Failures that a result names; the file has all.
_N_FAILURES = 20


def preprocess(
    table: LabelTable,
    folder: Path,
    outputs: Outputs | Path,
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
    is finished everything is in a hidden folder inside the output folder; called again with the same arguments it
    continues from there.

    Parameters
    ----------
    table
        Names the images, in the order of the store.
    folder
        Where they are, flat or nested.
    outputs
        Where to write, plots too if they are wanted; a folder is enough, and gets no plots.
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
        No image of the table is in the folder, or, if strict, the first image that fails; or, for PNGs, two images
        whose files would have one name.
    OutputError
        The disk is too small, or in the way are an unfinished run with other options, an input, or files that are not
        of a store.
    MachineError
        Memory or disk failed, or workers cannot be started; what was done until then is kept for the next run.
    """
    check(options)
    located = locate_images(folder, table.images)
    located.refuse_uncertain()
    if located.n_found == 0:
        raise ImageError(
            f"{folder}: has none of the {table.n_images:,} images of {table.path}",
            remedy="; ".join([*located.notes(), f"give the image folder with {argument('images')}"]) + ".",
        )
    outputs = outputs if isinstance(outputs, Outputs) else Outputs(outputs, plots=False)
    source = options.statistics_from
    outputs.protect(folder, inputs=[table.path] if source is None else [table.path, source.manifest.path])
    plan = Plan.of(table, located, outputs.folder, options)
    finished = _look_before(plan, outputs)
    progress = progress or (lambda done, total: None)
    with OpenStore(plan) as store, _workers(plan, workers, executor, continues=store.n_done_before > 0) as crew:
        if on_start is not None:
            on_start(_start(plan, store, finished))
        work = _Work(plan, store, crew, progress)
        recipe = options.recipe
        if _fits_first(options):
            recipe = replace(recipe, statistics=store.statistics(work.fit))
        with contextlib.ExitStack() as stack:
            index = None
            if options.engine == "keras":
                work.prepare_with_keras(recipe)
            else:
                progress(store.n_done_before, len(plan.paths))
                if not _fits_last(options, recipe):
                    index = stack.enter_context(_index_of(plan, store, recipe))
                work.prepare(recipe, index)
            if isinstance(crew, Workers) and crew is not executor:
                crew.close(wait=False)  # nothing is left to do, so they end while this process goes on
            store.checkpoint()
            # While there is no manifest, nothing here looks finished.
            with contextlib.suppress(FileNotFoundError):
                (plan.output / STORE_MANIFEST).unlink()
            if _fits_last(options, recipe):
                recipe = replace(recipe, statistics=_statistics(record for _, record in store.records()))
            index = index or stack.enter_context(_index_of(plan, store, recipe))
            result = _finish(plan, store, recipe, index)
    outputs.written += result.written
    if outputs.plots and result.n_done:
        _draw(result, folder, outputs)
    return result


# -- before the work -------------------------------------------------------------------------------------------


def _look_before(plan: Plan, outputs: Outputs) -> StoreManifest | None:
    """Refuse what stands against the run; return the finished store that it takes the place of.

    Nothing that is not ours is replaced: a finished store or an unfinished run must vouch for it.
    """
    options, png = plan.options, plan.options.recipe.format == "png"
    if options.strict and plan.n_missing:
        position = plan.located.paths.index(None)
        raise ImageError(f"{plan.table.images[position]}: {plan.why_not(position)}")
    if png:
        refuse_clashes([plan.table.images[position] for position in plan.positions], str(plan.table.path))
    names = [INDEX, FAILURES, STORE_MANIFEST, *([] if png else [ROWS])]
    for name in names:
        outputs.refuse_input(plan.output / name)
    if plan.partial.exists() and not is_unfinished_run(plan.partial):
        raise OutputError(
            f"{plan.partial}: already exists and was not made by cxr preprocess; it will not be replaced",
            remedy=f"Choose another {argument('output')}, or move it away.",
        )
    # Between removing the old manifest and writing the new one, the journal is what vouches.
    if not (plan.partial / JOURNAL).exists():
        outputs.refuse_to_replace(*names)
    finished = finished_store(plan.output)
    if png:
        unfinished = plan.partial.exists() and not options.start_over
        is_store = unfinished or (finished is not None and finished.store == PNGS)
        refuse_to_replace(plan.target, plan.located, is_store=is_store)
    if options.start_over or options.engine == "keras":
        shutil.rmtree(plan.partial, ignore_errors=True)
    return finished


def _start(plan: Plan, store: OpenStore, finished: StoreManifest | None) -> Start:
    """Return what is about to be written, what it takes the place of, and what stays of that."""
    left_over = None
    if finished is None or is_made_alike(finished, plan.table, plan.options):
        finished = None
    elif finished.store in (ROWS, PNGS) and finished.store != plan.target.name:
        left_over = plan.output / finished.store
    return Start(
        target=plan.target,
        n_images=plan.table.n_images,
        n_missing=plan.n_missing,
        n_bytes=len(plan.paths) * plan.options.recipe.row_bytes,
        n_done_before=store.n_done_before,
        replaces=finished,
        left_over=left_over if left_over is not None and left_over.exists() else None,
        notes=plan.located.notes(),
    )


@contextlib.contextmanager
def _workers(
    plan: Plan, asked: int | None, executor: Executor | Workers | None, *, continues: bool
) -> Iterator[Executor | Workers | None]:
    """Yield who is to work; None is this process, where starting others takes longer than the work."""
    count = worker_count(plan.n_source_bytes, available_cores(), continues=continues) if asked is None else asked
    if executor is not None or not count or plan.options.engine == "keras":
        yield executor
        return
    with Workers(count) as workers:
        yield workers


# -- the work --------------------------------------------------------------------------------------------------


def _fits_first(options: Options) -> bool:
    """Whether statistics must be known before pixels are stored; grey levels can be stored without."""
    return options.fit_statistics and (options.recipe.dtype == "float32" or options.fit_sample is not None)


def _fits_last(options: Options, recipe: Recipe) -> bool:
    """Whether statistics are known only when all images are: standardized values cannot be described before."""
    return options.fit_statistics and recipe.statistics is None


class _Work:
    """Goes through the images of a run with those who work for it."""

    def __init__(
        self, plan: Plan, store: OpenStore, crew: Executor | Workers | None, progress: Callable[[int, int], None]
    ) -> None:
        self.plan, self.store, self.crew, self.progress = plan, store, crew, progress
        self.here = crew is None or isinstance(crew, Workers)

    def _in_tasks(self, paths: Sequence[str]) -> Iterator[tuple[str, ...]]:
        plan = self.plan
        row_bytes = plan.options.recipe.row_bytes
        largest = largest_task(len(plan.paths), plan.n_source_bytes, row_bytes, here=self.here)
        return in_tasks(paths, largest, self.crew.count if isinstance(self.crew, Workers) else 0)

    def _map(self, function: Callable[[Task], Prepared], tasks: Iterator[Task]) -> Generator[list[Prepared]]:
        values = map_surviving(function, tasks, split=split, lost=lost, executor=self.crew)
        try:
            yield from values
        except OSError as error:  # a worker could not write
            raise unwritable(self.plan.target, error) from error
        finally:
            values.close()

    def prepare(self, recipe: Recipe, index: IndexWriter | None) -> None:
        """Prepare every image that is not yet done."""
        left = self.plan.paths[self.store.n_done_before :]
        tasks = (self.store.task(paths, recipe, here=self.here) for paths in self._in_tasks(left))
        with contextlib.closing(self._map(prepare, tasks)) as prepared:
            for values in prepared:
                added = self.store.add(values)
                if index is not None:
                    for position, record in added:
                        index.add(position, record)
                self.progress(self.store.n_done, len(self.plan.paths))

    def fit(self) -> Statistics:
        """Fit statistics on all images or a sample."""
        options, paths = self.plan.options, self.plan.paths
        if options.fit_sample is not None:
            n = min(options.fit_sample, len(paths))
            chosen = np.random.default_rng(options.seed).choice(len(paths), n, replace=False)
            paths = [paths[number] for number in sorted(chosen.tolist())]
        plain_recipe = replace(options.recipe, standardize="none")
        tasks = (Task(some, plain_recipe) for some in self._in_tasks(paths))
        return _statistics(self._measured(tasks, len(paths)))

    def _measured(self, tasks: Iterator[Task], n_images: int) -> Iterator[ImageRecord | str]:
        n_seen = 0
        for values in self._map(measure, tasks):
            for value in values:
                yield from map(record_of, value.entries)
                n_seen += len(value.entries)
            self.progress(n_seen, n_images)

    def prepare_with_keras(self, recipe: Recipe) -> None:
        """Let Keras' ImageDataGenerator make the pixels, in this process."""
        require_tensorflow()
        from cxr_cli.models.generator import standardized_by_keras

        entries: list[list[object] | str] = []
        for path in self.plan.paths:
            entries += measure(Task((path,), recipe)).entries
            record = record_of(entries[-1])
            if isinstance(record, ImageRecord) and "MONOCHROME" in record.mode:
                raise UsageError(
                    f"{argument('engine', 'keras')}: {path} is DICOM, which Keras does not read", remedy="Leave it out."
                )
        readable = [path for path, entry in zip(self.plan.paths, entries, strict=True) if not isinstance(entry, str)]
        n_made = 0
        for pixels in standardized_by_keras(readable, recipe):
            self.store.add_rows(pixels)
            n_made += len(pixels)
            self.progress(n_made, len(readable))
        self.store.note(entries)


def _statistics(records: Iterable[ImageRecord | str]) -> Statistics:
    """Return mean and deviation of the resized pixels of all images that can be read."""
    joined: PixelSums | None = None
    n_images = 0
    for record in records:
        if isinstance(record, ImageRecord):
            joined = record.resized if joined is None else joined + record.resized
            n_images += 1
    if joined is None:
        raise ImageError("no image can be read, so there are no statistics", remedy="Look at the image files.")
    return Statistics(joined.mean, joined.std, n_images, joined.n)


# -- after the work --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _index_of(plan: Plan, store: OpenStore, recipe: Recipe) -> Iterator[IndexWriter]:
    """Begin the index with all images that are done."""
    comparer = Comparer(plan.table.images, plan.options.n_sample, plan.options.seed)
    index = IndexWriter(plan.partial / INDEX, plan.partial / FAILURES, plan.table, recipe, comparer)
    with contextlib.closing(index):
        for position, record in store.records():
            index.add(position, record)
        yield index


def _finish(plan: Plan, store: OpenStore, recipe: Recipe, index: IndexWriter) -> PreprocessResult:
    """Give everything its name, the manifest last of all."""
    # Everything is made in the hidden folder first: what a kill leaves of it is not seen, and goes in the end.
    failures = index.finish(plan.why_not)
    store.finish()
    result = _result(plan, store, recipe, index, failures)
    hidden = Outputs(plan.partial)
    _manifest(plan, result).write(hidden)
    for path in (index.index, index.failures, *hidden.written):
        store.give_final_name(path)
    store.remove()
    return result


def _result(
    plan: Plan, store: OpenStore, recipe: Recipe, index: IndexWriter, failures: tuple[Failure, ...]
) -> PreprocessResult:
    files = plan.target.rglob("*.png") if recipe.format == "png" else [plan.target]
    n_repeated, n_contradicting = _repetitions(plan.table)
    return PreprocessResult(
        output=plan.output,
        store=plan.target,
        index=plan.output / INDEX,
        failures_file=plan.output / FAILURES,
        manifest=plan.output / STORE_MANIFEST,
        shape=(index.n_done, *recipe.row_shape),
        dtype=recipe.dtype,
        n_bytes=sum(path.stat().st_size for path in files),
        recipe=recipe,
        engine=plan.options.engine,
        statistics_from=plan.options.statistics_from,
        seed=plan.options.seed,
        uncertain=plan.table.uncertain,
        n_uncertain=plan.table.n_uncertain,
        n_images=plan.table.n_images,
        n_repeated=n_repeated,
        n_contradicting=n_contradicting,
        n_done=index.n_done,
        n_failed=plan.table.n_images - index.n_done,
        n_missing=plan.n_missing,
        n_done_before=store.n_done_before,
        failures=failures[:_N_FAILURES],
        comparison=index.comparison(),
        image_issues=dict(sorted(index.issues.items(), key=lambda item: (-item[1], item[0]))),
    )


def _repetitions(table: LabelTable) -> tuple[int, int]:
    """Return how many rows repeat an image, and how many images have rows that contradict each other."""
    if len(set(table.images)) == table.n_images:
        return 0, 0
    told: dict[str, tuple[str, bytes]] = {}
    contradicting: set[str] = set()
    patients = table.frame["patient_id"].tolist()
    for image, patient, labels in zip(table.images, patients, table.labels, strict=True):
        this = (str(patient), labels.tobytes())
        if told.setdefault(image, this) != this:
            contradicting.add(image)
    return table.n_images - len(told), len(contradicting)


def _manifest(plan: Plan, result: PreprocessResult) -> StoreManifest:
    table, source = plan.table, plan.options.statistics_from
    fitted_on = table.source if source is None else source.fitted_on
    return StoreManifest(
        versions=versions_of(plan.paths),
        inputs=(table.source,) if source is None else (table.source, source.manifest),
        table_schema=table.schema,
        patient_namespace=table.patient_namespace,
        image_folder=str(plan.located.folder),
        uncertain=table.uncertain,
        recipe=result.recipe,
        statistics_fitted_on=None if result.recipe.statistics is None else fitted_on,
        engine=result.engine,
        fit_sample=plan.options.fit_sample,
        seed=result.seed,
        pathologies=tuple(table.pathologies),
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


def _draw(result: PreprocessResult, folder: Path, outputs: Outputs) -> None:
    from cxr_cli.plots import preprocess as plots
    from cxr_cli.services.preprocess.samples import compare_interpolations, read_samples

    outputs.write_figure("distributions.png", plots.plot_distributions(result.index, result.recipe))
    samples = read_samples(folder, [image.image for image in result.comparison.sample], result.recipe)
    if not samples:
        return
    outputs.write_figure("samples.png", plots.plot_samples(samples, result.recipe))
    size = result.recipe.image_size
    if size[0] < samples[0].before.shape[0] and size[1] < samples[0].before.shape[1]:
        made = compare_interpolations(samples[0], size)
        outputs.write_figure("interpolations.png", plots.plot_interpolations(samples[0], made))
