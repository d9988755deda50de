"""A Dask cluster's workers as a `concurrent.futures.Executor`, for everything that works through many images."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from asyncio import CancelledError as TaskCancelled
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from cxr_cli import __version__
from cxr_cli.errors import CxrError, MachineError, MissingPackageError, UsageError, argument
from cxr_cli.services.parallel import Workers, local_workers

if TYPE_CHECKING:
    from distributed import Client

#: Seconds to wait for the scheduler to answer, and then for its first worker.
PATIENCE = 15
#: Kinds of addresses; Dask knows others, which need more than an address or do not leave this process.
_PROTOCOLS = ("tcp", "tls")


@contextlib.contextmanager
def open_executor(
    workers: int | None = None, cluster: str | None = None, *, n_items: int | None = None
) -> Iterator[Executor | Workers | None]:
    """Yield what runs the per-image function: this machine's cores, or a cluster's workers.

    Parameters
    ----------
    workers
        Number of local processes; None is one per core. A cluster has as many as it has.
    cluster
        Address of a Dask scheduler, such as ``tcp://host:8786``; None for this machine.
    n_items
        How many items there are to work through.

    Raises
    ------
    UsageError
        Both are given.
    MissingPackageError
        A cluster is given and Dask distributed is not installed.
    CxrError
        The scheduler does not answer, has no workers, or a worker lacks this version of the package.
    MachineError
        The scheduler is lost while it works.
    """
    if cluster is None:
        with local_workers(workers, n_items=n_items) as processes:
            yield processes
    elif workers is not None:
        raise UsageError(
            f"{argument('workers')} and {argument('cluster')} exclude each other", remedy="Leave one of them out."
        )
    else:
        with _cluster_executor(cluster) as executor:
            yield executor


@contextlib.contextmanager
def _cluster_executor(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise MissingPackageError(
            f"{argument('cluster')} needs Dask distributed, which is not installed",
            remedy="Install it with: pip install 'cxr-cli[cluster]'",
        ) from error
    _check_address(address)
    client = _within(PATIENCE + 5, lambda: Client(address, timeout=PATIENCE, set_as_default=False), address)
    try:
        _check_workers(client, address)
        # Pure tasks would be looked up by a hash of their arguments; every chunk here is new.
        executor: Executor = client.get_executor(pure=False)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)
    except (FutureCancelled, TaskCancelled, CommClosedError) as error:
        # Dask cancels what it waits for when the scheduler is gone.
        raise MachineError(
            f"{argument('cluster')} {address}: the connection to the scheduler was lost",
            remedy="Start the scheduler again and repeat the command; preprocess continues where it stopped.",
        ) from error
    finally:
        _close(client)


def _check_address(address: str) -> None:
    """Refuse addresses of other kinds than Dask's network protocols, before Dask meets them.

    Without any address, Dask would start a cluster of its own.
    """
    protocol, separator, host = address.rpartition("://")
    if not re.fullmatch(r"[^\s/]+:\d{1,5}/?", host) or (separator and protocol not in _PROTOCOLS):
        raise UsageError(
            f"{argument('cluster')} {address}: no Dask scheduler answers at such an address",
            expected="an address such as tcp://host:8786 (or tls://host:8786)",
            remedy="Give the address that 'dask scheduler' prints.",
        )
    if protocol == "tls":
        from distributed.security import Security

        if Security().get_connection_args("client").get("ssl_context") is None:
            raise UsageError(
                f"{argument('cluster')} {address}: no Dask scheduler answers without a certificate",
                expected="a key, a certificate and its authority in Dask's configuration (distributed.comm.tls)",
                remedy="Configure them here as at the scheduler, or give a tcp:// address.",
            )


def _within(seconds: float, connect: Callable[[], Client], address: str) -> Client:
    """Call a function that may never return: a port that accepts connections and never answers does not time out."""
    outcome: queue.SimpleQueue[Client | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put(connect())
        except BaseException as error:
            outcome.put(error)

    threading.Thread(target=run, daemon=True, name="cxr-connect").start()
    try:
        client = outcome.get(timeout=seconds)
    except queue.Empty:
        client = TimeoutError(f"no answer within {seconds} seconds")
    if isinstance(client, MemoryError):
        raise client
    if isinstance(client, BaseException):
        raise CxrError(
            f"{argument('cluster')} {address}: no Dask scheduler answers",
            expected="an address such as tcp://host:8786",
            remedy="Start one with 'dask scheduler', and workers with 'dask worker ADDRESS'.",
        ) from client
    return client


def _close(client: Client) -> None:
    """Close the connection; one that is lost is not waited for."""
    with contextlib.suppress(Exception, TaskCancelled):
        client.close(timeout=2)


def _check_workers(client: object, address: str) -> None:
    """Results are the same everywhere only if the code is."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)  # type: ignore[attr-defined]
    except TimeoutError as error:
        raise _no_workers(address) from error
    from distributed.comm import CommClosedError

    answers = client.run(worker_version, on_error="return")  # type: ignore[attr-defined]
    # Where the connection is gone, the worker went with it: others do its work.
    gone = (CommClosedError, TimeoutError)
    versions = {worker: answer for worker, answer in answers.items() if not isinstance(answer, gone)}
    if not versions:
        raise _no_workers(address)
    for worker, version in sorted(versions.items()):
        if isinstance(version, ModuleNotFoundError):
            raise CxrError(f"{worker}: cxr is not installed on this worker", remedy=f"Install cxr-cli {__version__}.")
        if isinstance(version, BaseException):
            raise CxrError(f"{worker}: the worker fails: {version}") from version
        if version != __version__:
            raise CxrError(f"{worker}: has cxr {version}", expected=__version__, remedy="Install the same version.")


def _no_workers(address: str) -> CxrError:
    return CxrError(
        f"{argument('cluster')} {address}: the scheduler has no workers",
        remedy=f"Start some with 'dask worker {address}'.",
    )


def worker_version() -> str:
    """Return the version of this package; run on each worker."""
    return __version__
