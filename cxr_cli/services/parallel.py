"""One pure function over many items: here, in worker processes, or on whatever executor is handed in."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from types import ModuleType
from typing import Any, Generic, TypeVar

from cxr_cli.errors import CxrError, MachineError, argument

Item = TypeVar("Item")
Value = TypeVar("Value")

#: Why an image was not read, when it killed every process that tried.
KILLED_WORKER = "the process that decoded it died"
#: Items handed to a cluster ahead of the one waited for: enough to keep many workers busy, and few enough
#: that results waiting for their turn stay small whatever the number of items.
AHEAD = 64
#: So many items one after the other that kill their process, and none that does not: not the items are to blame.
MOST_DEATHS = 5
#: How often a new process may die before it has done anything.
_MOST_STARTS = 3

#: Blocks of up to this size are kept for the next image: below glibc's limit, 32 MB.
_KEPT_BYTES = 24 << 20

_THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def map_in_order(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    lost: Callable[[Item], Value],
    executor: Executor | Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
    chunk: int = 8,
) -> Iterator[Value]:
    """Yield ``function(item)`` for every item, in the order of the items, whichever worker is first.

    Parameters
    ----------
    function
        Pure and defined at module level, so that it can be sent to another process or machine.
    items
        What to work through.
    lost
        Returns what stands in for an item that kills its worker.
    executor
        `Workers`, or any `concurrent.futures.Executor` (Dask's ``Client.get_executor()``); None works here, one
        after the other.
    progress
        Called with (done, total) as results arrive.
    chunk
        How many items travel together: more costs less talk, fewer spreads better.

    Raises
    ------
    CxrError
        As `map_surviving`.
    """
    done = 0
    size = 1 if executor is None else chunk
    several = map_surviving(
        functools.partial(apply, function),
        (tuple(items[start : start + size]) for start in range(0, len(items), size)),
        split=lambda some: [(item,) for item in some],
        lost=lambda some: [lost(item) for item in some],
        executor=executor,
    )
    with contextlib.closing(several):
        for value in itertools.chain.from_iterable(itertools.chain.from_iterable(several)):
            done += 1
            if progress is not None:
                progress(done, len(items))
            yield value


def _lost_worker_errors() -> tuple[type[Exception], ...]:
    """Return what says that a worker died: a Dask cluster gives up in its own way, if Dask is what runs here."""
    distributed = sys.modules.get("distributed")
    return (BrokenExecutor,) if distributed is None else (BrokenExecutor, distributed.KilledWorker)


def apply(function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
    """Return ``function(item)`` for each of a few items: what one task on an executor does."""
    return [function(item) for item in items]


@contextlib.contextmanager
def local_workers(count: int | None = None, *, n_items: int | None = None) -> Iterator[Workers | None]:
    """Yield worker processes on this machine, or None where one process is all there is to gain.

    Parameters
    ----------
    count
        Number of processes; None is one for every core this process may use. One that is asked for is started: it
        keeps this process apart from images that kill.
    n_items
        How many items there are to work through: no more processes than that are started.
    """
    processes = available_cores() if count is None else count
    if n_items is not None:
        processes = min(processes, n_items)
    if processes <= 1 and count != 1:
        yield None
        return
    with Workers(max(processes, 1)) as workers:
        yield workers


def process_pool(count: int) -> Executor:
    """Start worker processes that leave Ctrl-C to this one, use one thread each and do not outlive it.

    They do not import the script that runs here: it may load much that they have no use for, and it need not guard
    itself with ``if __name__ == "__main__"``. So functions they are given must be defined in a module.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with starting_processes():
        pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    for _ in range(count):
        submit(pool, os.getpid)
    return pool


def submit(pool: Executor, function: Callable[..., Value], *arguments: Any) -> Future[Value]:
    """Hand a task to a pool of `process_pool`, which may start a process for it, then or later."""
    with starting_processes():
        return pool.submit(function, *arguments)


@contextlib.contextmanager
def starting_processes() -> Iterator[None]:
    """Wrap whatever starts Python processes: they leave Ctrl-C to this one and run no code of the current folder.

    They use one thread each and do not import the main script.

    Raises
    ------
    MachineError
        The system does not let this process start others.
    """
    # Until a new process ignores Ctrl-C itself, it inherits that it is held back.
    with _ctrl_c_held_back(), _environment_of_workers(), _script_hidden():
        try:
            yield
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "new thread" not in str(error):
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise MachineError(
                f"worker processes cannot be started: {reason}",
                remedy="Look whether there is enough memory, how many processes you may start (ulimit -u), and whether "
                "/dev/shm can be written to.",
            ) from error


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    import signal

    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment_of_workers() -> Iterator[None]:
    """Let processes that start now do their linear algebra with one thread, and import nothing from here.

    Each has a core to itself. The current folder holds data: without PYTHONSAFEPATH, a ``struct.py`` there would be
    run by every process that `multiprocessing` starts (its ``python -c`` puts the folder first on the path).
    """
    # The libraries look when they are loaded, which can be the first thing a process does.
    missing = {name for name in (*_THREAD_LIMITS, "PYTHONSAFEPATH") if not os.environ.get(name)}
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """Let processes that start now not import the main script, which `multiprocessing` looks up here."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def map_surviving(
    function: Callable[[Item], Value],
    items: Iterable[Item],
    *,
    split: Callable[[Item], Sequence[Item]],
    lost: Callable[[Item], Value],
    executor: Executor | Workers | None = None,
) -> Generator[list[Value]]:
    """Yield ``[function(item)]`` in the order of the items, whatever becomes of the workers.

    When a worker dies, the items under way are done again, each in parts and one part after the other in a process
    of its own; the values of the parts come in one list. A part whose process dies too is the culprit and gets the
    value of `lost`; the rest goes on. Before a part is blamed, its process must have shown that it lives and knows the
    function; and where one part after the other kills its process, none is blamed.

    A part that fails because the machine does (`MachineError`) is done again once, alone.

    Parameters
    ----------
    function
        Pure and defined at module level.
    items
        What to work through, taken only as workers become free.
    split
        Returns the smallest parts of an item, in order.
    lost
        Returns what stands in for a part that kills its worker.
    executor
        `Workers`, or any `concurrent.futures.Executor`; None works here, where nothing can be survived.

    Raises
    ------
    MachineError
        Workers cannot start, die whatever they are given, or the machine fails twice on the same part.
    CxrError
        The executor that was handed in is broken.
    """
    if executor is None:
        keep_freed_memory()
        for item in items:
            yield from _here(function, item, split)
        return
    together = executor if isinstance(executor, Workers) else _HandedIn(executor)
    alone = Workers(1) if isinstance(together, Workers) else together
    # Two items a worker: one under way and one at hand. How many workers a cluster has is unknown.
    ahead = 2 * together.count + 1 if isinstance(together, Workers) else AHEAD
    lost_worker = _lost_worker_errors()
    again: tuple[type[Exception], ...] = (*lost_worker, MachineError)
    last_resort = _LastResort(alone, function, lost, lost_worker)
    source = iter(items)
    # Values that blame parts wait for one that does not: only then it is known that the processes are sound.
    held: list[list[Value]] = []
    waiting: deque[tuple[Item, Future[Value]]] = deque()
    try:
        while True:
            for item in itertools.islice(source, ahead - len(waiting)):
                waiting.append((item, together.submit(function, item)))
            if not waiting:
                yield from held
                return
            item, future = waiting[0]
            try:
                values = [future.result()]
                last_resort.n_deaths = 0
            except again:
                # One after the other: a process that dies takes along whatever else it was given.
                values = []
                try:
                    for part in split(item):
                        values.append(last_resort.do(part))
                except MachineError:
                    if not last_resort.n_deaths:
                        yield from [*held, values]
                    raise
            waiting.popleft()
            held.append(values)
            if not last_resort.n_deaths:
                yield from held
                held.clear()
    finally:
        under_way = [future for _, future in waiting if not future.cancel()]
        if isinstance(together, Workers):
            # They serve again: what these still write must not meet what comes then.
            wait(under_way)
        if isinstance(alone, Workers):
            alone.close()


def _here(
    function: Callable[[Item], Value], item: Item, split: Callable[[Item], Sequence[Item]]
) -> Iterator[list[Value]]:
    values: list[Value] = []
    try:
        values.append(function(item))
    except MachineError:
        try:
            for part in split(item):
                values.append(function(part))
        except MachineError:
            yield values
            raise
    yield values


def _dying(how: str) -> MachineError:
    return MachineError(
        f"worker processes {how}",
        remedy=f"Free some memory, use fewer {argument('workers')}, or look at the lines above.",
    )


class _LastResort(Generic[Item, Value]):
    """Does parts alone that could not be done in company."""

    def __init__(
        self,
        worker: _HandedIn | Workers,
        function: Callable[[Item], Value],
        lost: Callable[[Item], Value],
        lost_worker: tuple[type[Exception], ...],
    ) -> None:
        self.worker, self.function, self.lost, self.lost_worker = worker, function, lost, lost_worker
        #: Parts given up since the last that was done.
        self.n_deaths = 0

    def do(self, part: Item) -> Value:
        # Twice: a process that was killed from outside, for lack of memory, say, proves nothing about its image.
        for is_last in (False, True):
            self._see_it_live()
            try:
                value = self.worker.submit(self.function, part).result()
            except self.lost_worker:
                continue
            except MachineError:
                if is_last:
                    raise
                continue
            self.n_deaths = 0
            return value
        self.n_deaths += 1
        if self.n_deaths >= MOST_DEATHS:
            raise _dying("die one after the other, whatever they are given")
        return self.lost(part)

    def _see_it_live(self) -> None:
        """Raise MachineError unless a process starts and can load what it is to run."""
        if not isinstance(self.worker, Workers):
            return
        for _ in range(_MOST_STARTS):
            with contextlib.suppress(*self.lost_worker):
                self.worker.submit(_lives, self.function).result()
                return
        raise _dying("die as soon as they start")


def _lives(function: Callable[..., object]) -> bool:
    """Return True; its return proves that the process lives and has found the function's module."""
    return callable(function)


class _HandedIn:
    """Somebody else's executor: it cannot be replaced and is not ours to close."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def submit(self, function: Callable[[Item], Value], item: Item) -> Future[Value]:
        try:
            return self.executor.submit(function, item)
        except BrokenExecutor as error:
            raise CxrError("the executor that runs the workers is broken", remedy="Start it again.") from error


class Workers:
    """Local worker processes, started when they are first needed, and replaced when one of them dies.

    They are started afresh and do not copy this process, which may have threads (a progress bar, TensorFlow) that
    must not be copied. They can serve several calls one after the other: starting one takes as long as preparing
    fifty images.

    Parameters
    ----------
    count
        Number of processes, at least 1; None is one for every core this process may use.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = available_cores() if count is None else count
        if self.count < 1:
            raise ValueError(f"{self.count} worker processes")
        self.pool: Executor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, function: Callable[[Any], Value], item: Any) -> Future[Value]:
        """Hand an item to the next process that is free, after those handed in before.

        Raises
        ------
        MachineError
            No process can be started.
        """
        for _ in range(2):
            if self.pool is None:
                self.pool = process_pool(self.count)
            try:
                return submit(self.pool, function, item)
            except BrokenExecutor:
                self.close()
        raise _dying("die as soon as they start")

    def close(self, *, wait: bool = True) -> None:
        """End the processes after the few items they have at hand; they start again when they are needed again."""
        if self.pool is not None:
            self.pool.shutdown(wait, cancel_futures=True)
            self.pool = None


def keep_freed_memory() -> None:
    """Let this process keep what it frees for the next image, where glibc would return it and fetch it anew each time.

    Fetching the memory for one image anew is some 700 page faults, which on a virtual machine took three quarters of
    the time of decoding it. Freeing a large block once makes glibc's malloc keep blocks of up to that size, and twice
    as much in all (mallopt(3), M_MMAP_THRESHOLD).
    """
    import numpy as np

    np.empty(_KEPT_BYTES, np.uint8)  # freed at once, and never touched


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_worker() -> None:
    import multiprocessing
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A killed parent cannot end its workers, and they would wait for work for ever.
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    from multiprocessing.connection import wait as wait_for_any

    wait_for_any([sentinel])
    os._exit(1)
