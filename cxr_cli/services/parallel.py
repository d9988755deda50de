"""One pure function over many items: here, in worker processes, or on whatever executor is handed in."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

from cxr_cli.errors import CxrError

Item = TypeVar("Item")
Value = TypeVar("Value")

#: Chunks handed to the executor ahead of the one waited for: enough to keep many workers busy, and few enough
#: that results waiting for their turn stay small whatever the number of items.
AHEAD = 64


def map_in_order(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    executor: Executor | None = None,
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
    executor
        Any `concurrent.futures.Executor` (a process pool, Dask's ``Client.get_executor()``); None works here, one
        after the other.
    progress
        Called with (done, total) as results arrive.
    chunk
        How many items travel together: more costs less talk, fewer spreads better.

    Raises
    ------
    CxrError
        A worker process was killed from outside, as happens when memory runs out.
    """
    total = len(items)
    done = 0
    for values in _chunks_done(function, items, executor, chunk):
        for value in values:
            done += 1
            if progress is not None:
                progress(done, total)
            yield value


def _chunks_done(
    function: Callable[[Item], Value], items: Sequence[Item], executor: Executor | None, chunk: int
) -> Iterator[list[Value]]:
    chunks = (items[start : start + chunk] for start in range(0, len(items), chunk))
    if executor is None:
        for part in chunks:
            for item in part:
                yield [function(item)]
        return
    from concurrent.futures.process import BrokenProcessPool

    lost = _lost_worker_errors()

    waiting: deque[Future[list[Value]]] = deque()
    try:
        for part in chunks:
            waiting.append(executor.submit(apply, function, part))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise CxrError(
            "a worker process was killed from outside, most likely because memory ran out",
            remedy="Use fewer processes with --workers.",
        ) from error
    except lost as error:
        raise CxrError(
            f"the cluster gave up on a task after several workers died on it: {error}",
            remedy="Look at the workers' logs; give them more memory.",
        ) from error
    finally:
        for future in waiting:
            future.cancel()


def _lost_worker_errors() -> tuple[type[Exception], ...]:
    """Return what a Dask cluster raises when it gives up, if Dask is what runs here."""
    distributed = sys.modules.get("distributed")
    return () if distributed is None else (distributed.KilledWorker,)


def apply(function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
    """Return ``function(item)`` for each of a few items: what one task on an executor does."""
    return [function(item) for item in items]


@contextlib.contextmanager
def local_executor(workers: int | None = None, *, n_items: int | None = None) -> Iterator[Executor | None]:
    """Yield a pool of worker processes, or None where one process is all there is to gain.

    Parameters
    ----------
    workers
        Number of processes; None is one for every core this process may use.
    n_items
        How many items there are to work through: no more processes than that are started.

    Notes
    -----
    Workers are started afresh and do not copy this process, which may have threads (a progress bar, TensorFlow)
    that must not be copied. They leave Ctrl-C to the parent.
    """
    count = available_cores() if workers is None else workers
    if n_items is not None:
        count = min(count, n_items)
    if count <= 1:
        yield None
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_ctrl_c)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _leave_ctrl_c() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
