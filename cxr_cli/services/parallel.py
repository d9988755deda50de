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
from typing import Any, TypeVar

from cxr_cli.errors import CxrError

Item = TypeVar("Item")
Value = TypeVar("Value")

#: Why an image was not read, when it killed every process that tried.
KILLED_WORKER = "the process that decoded it died"
#: Items handed to a cluster ahead of the one waited for: enough to keep many workers busy, and few enough
#: that results waiting for their turn stay small whatever the number of items.
AHEAD = 64

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

    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    for _ in range(count):
        submit(pool, os.getpid)
    return pool


def submit(pool: Executor, function: Callable[..., Value], *arguments: Any) -> Future[Value]:
    """Hand a task to a pool of `process_pool`, which may start a process for it, then or later."""
    # Until a new process ignores Ctrl-C itself, it inherits that it is held back.
    with _ctrl_c_held_back(), _one_thread_each(), _script_hidden():
        return pool.submit(function, *arguments)


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
def _one_thread_each() -> Iterator[None]:
    """Let processes that start now do their linear algebra with one thread: each has a core to itself."""
    # The libraries look when they are loaded, which can be the first thing a process does.
    missing = {name for name in _THREAD_LIMITS if name not in os.environ}
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
    value of `lost`; the rest goes on.

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
    CxrError
        The executor that was handed in is broken.
    """
    if executor is None:
        keep_freed_memory()
        yield from ([function(item)] for item in items)
        return
    together = executor if isinstance(executor, Workers) else _HandedIn(executor)
    alone = Workers(1) if isinstance(together, Workers) else together
    # Two items a worker: one under way and one at hand. How many workers a cluster has is not known.
    ahead = 2 * together.count + 1 if isinstance(together, Workers) else AHEAD
    lost_worker = _lost_worker_errors()
    source = iter(items)
    waiting: deque[tuple[Item, Future[Value]]] = deque()
    try:
        while True:
            for item in itertools.islice(source, ahead - len(waiting)):
                waiting.append((item, together.submit(function, item)))
            if not waiting:
                return
            item, future = waiting[0]
            try:
                values = [future.result()]
            except lost_worker:
                # One after the other: a process that dies takes along whatever else it was given.
                values = [_alone(alone, function, part, lost, lost_worker) for part in split(item)]
            waiting.popleft()
            yield values
    finally:
        under_way = [future for _, future in waiting if not future.cancel()]
        if isinstance(together, Workers):
            # They serve again: what these still write must not meet what comes then.
            wait(under_way)
        if isinstance(alone, Workers):
            alone.close()


def _alone(
    worker: _HandedIn | Workers,
    function: Callable[[Item], Value],
    part: Item,
    lost: Callable[[Item], Value],
    lost_worker: tuple[type[Exception], ...],
) -> Value:
    # Twice: a process that was killed from outside, for want of memory say, is no proof against its image.
    for _ in range(2):
        with contextlib.suppress(*lost_worker):
            return worker.submit(function, part).result()
    return lost(part)


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
    half a hundred films.

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

    def submit(self, function: Callable[[Item], Value], item: Item) -> Future[Value]:
        """Hand an item to the next process that is free, after those handed in before.

        Raises
        ------
        CxrError
            No process can be started.
        """
        for _ in range(2):
            if self.pool is None:
                self.pool = process_pool(self.count)
            try:
                return submit(self.pool, function, item)
            except BrokenExecutor:
                self.close()
        raise CxrError("worker processes die as soon as they start", remedy="Free some memory.")

    def close(self, *, wait: bool = True) -> None:
        """End the processes after the few items they have at hand; they start again when they are needed again."""
        if self.pool is not None:
            self.pool.shutdown(wait, cancel_futures=True)
            self.pool = None


def keep_freed_memory() -> None:
    """Let this process keep what it frees for the next image, where glibc would return it and fetch it anew each time.

    Fetching the memory for one film anew is some 700 page faults, which on a virtual machine took three quarters of
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
