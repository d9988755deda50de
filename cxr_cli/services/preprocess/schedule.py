"""How the images of a run are divided into tasks, and how many processes are worth starting: arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

#: Starting a process takes as long as preparing half a hundred images: below this much work for each, one is faster.
BYTES_PER_WORKER = 64 << 20
#: How many images a task has at most, and how much it brings back at most. Here large tasks are best, for each wakes
#: this process several times; of a cluster it is unknown how many workers wait for their share.
TASK_IMAGES, TASK_BYTES = 32, 8 << 20
CLUSTER_TASK_IMAGES, CLUSTER_TASK_BYTES = 8, 4 << 20
#: How large its files are at most: an interrupted run waits for the tasks under way.
TASK_SOURCE_BYTES = 16 << 20
#: How many images it has at least, while there are so many.
LEAST_IMAGES = 2


def worker_count(n_source_bytes: int, n_cores: int, *, continues: bool) -> int:
    """Return how many worker processes are worth starting; 0 where this process alone is faster.

    Parameters
    ----------
    n_source_bytes
        Size of all image files.
    n_cores
        Cores that may be used.
    continues
        Whether an earlier run was interrupted. It may have been ended by an image that kills its process: such ones
        are kept apart.

    Examples
    --------
    >>> worker_count(1 << 30, 8, continues=False), worker_count(1 << 20, 8, continues=False)
    (8, 0)
    >>> worker_count(1 << 20, 8, continues=True)
    1
    """
    count = min(n_cores, math.ceil(n_source_bytes / BYTES_PER_WORKER))
    return count if count > 1 or continues else 0


def largest_task(n_images: int, n_source_bytes: int, row_bytes: int, *, here: bool) -> int:
    """Return how many images a task may have.

    Parameters
    ----------
    n_images, n_source_bytes
        Of the whole run.
    row_bytes
        What an image brings back.
    here
        Whether the workers are processes of this machine.
    """
    most, n_bytes = (TASK_IMAGES, TASK_BYTES) if here else (CLUSTER_TASK_IMAGES, CLUSTER_TASK_BYTES)
    of_files = TASK_SOURCE_BYTES * n_images // max(n_source_bytes, 1)
    return max(1, min(most, n_bytes // row_bytes, of_files))


def task_sizes(n_items: int, largest: int, n_workers: int) -> Iterator[int]:
    """Divide items into tasks: the last ones are small, so that no worker is still busy long after the others.

    Parameters
    ----------
    n_items, largest
        How many items there are, and how many a task may have.
    n_workers
        How many workers share them; 0 where it is unknown.

    Examples
    --------
    >>> list(task_sizes(40, 8, 2))
    [8, 8, 6, 5, 4, 3, 2, 2, 2]

    References
    ----------
    Hummel, Schonberg & Flynn (1992), "Factoring: a method for scheduling parallel loops".
    """
    while n_items > 0:
        share = math.ceil(n_items / (2 * n_workers)) if n_workers else largest
        size = min(max(share, LEAST_IMAGES), largest, n_items)
        yield size
        n_items -= size


def in_tasks(paths: Sequence[str], largest: int, n_workers: int) -> Iterator[tuple[str, ...]]:
    """Yield the files of one task after the other, in order; arguments as in `task_sizes`."""
    start = 0
    for size in task_sizes(len(paths), largest, n_workers):
        yield tuple(paths[start : start + size])
        start += size
