"""A real scheduler and two worker processes on the loopback interface."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from cxr_cli.errors import CxrError, MachineError, MissingPackageError, UsageError
from cxr_cli.services import cluster as cluster_module
from cxr_cli.services.cluster import open_executor
from cxr_cli.services.parallel import Workers, map_in_order
from tests.conftest import ROOT
from tests.services.cluster_functions import slow_digest

pytest.importorskip("distributed", reason="Dask distributed is not installed")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Start a scheduler; yield its address and a function that starts a worker."""
    folder = tmp_path_factory.mktemp("dask")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        processes.append(process)
        return process

    described = folder / "scheduler.json"
    start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(described))
    for _ in range(300):
        if described.exists() and described.stat().st_size:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the scheduler did not start")
    address = json.loads(described.read_text())["address"]

    def worker():
        return start(
            "dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)
        )

    yield address, worker
    for process in reversed(processes):
        process.kill()
    for process in processes:
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(scheduler):
    address, start_worker = scheduler
    victim, _ = start_worker(), start_worker()
    items = [f"image {number}" for number in range(60)]
    expected = [slow_digest(item) for item in items]
    found = []
    with open_executor(cluster=address) as executor:
        for value in map_in_order(slow_digest, items, lost=str, executor=executor, chunk=2):
            found.append(value)
            if len(found) == 10:
                os.kill(victim.pid, signal.SIGKILL)
    assert found == expected
    assert victim.wait(timeout=10) == -signal.SIGKILL


@pytest.mark.slow
def test_an_exception_in_a_worker_comes_back(scheduler):
    address, start_worker = scheduler
    start_worker()
    with open_executor(cluster=address) as executor, pytest.raises(AttributeError):
        list(map_in_order(slow_digest, [1], lost=str, executor=executor))


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.5)
    with pytest.raises(CxrError, match="no Dask scheduler answers"), open_executor(cluster="tcp://127.0.0.1:9"):
        pass


@pytest.mark.parametrize("address", ["nonsense://x", "ucx://127.0.0.1:9", "inproc://x", "ws://127.0.0.1:9"])
def test_other_kinds_of_addresses(address):
    with pytest.raises(UsageError, match="no Dask scheduler answers"), open_executor(cluster=address):
        pass


@pytest.mark.parametrize("address", ["tls://127.0.0.1:9", "127.0.0.1", "tcp://", "tcp://:x", ""])
def test_bad_addresses(monkeypatch, address):
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.5)
    with pytest.raises(CxrError, match="no Dask scheduler answers"), open_executor(cluster=address):
        pass


def test_a_port_that_accepts_and_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        # In a process of its own, whose end must not wait for the connection either.
        code = (
            "from cxr_cli.errors import CxrError; from cxr_cli.services import cluster; cluster.PATIENCE = 1\n"
            "try:\n"
            f"    with cluster.open_executor(cluster={address!r}): pass\n"
            "except CxrError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert "no Dask scheduler answers" in done.stdout, done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_scheduler_that_dies_is_an_error_of_ours(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    quiet = {"env": environment, "cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    described = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen([*command, "--no-dashboard", "--scheduler-file", str(described)], **quiet)
    for _ in range(300):
        if described.exists() and described.stat().st_size:
            break
        time.sleep(0.1)
    address = json.loads(described.read_text())["address"]
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    worker = subprocess.Popen([*command, "--no-dashboard"], **quiet)
    try:
        found = []
        with pytest.raises(MachineError, match="lost"), open_executor(cluster=address) as executor:
            for value in map_in_order(slow_digest, [f"image {i}" for i in range(200)], lost=str, executor=executor):
                found.append(value)
                if len(found) == 8:
                    scheduler.kill()
        assert 8 <= len(found) < 200
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait(timeout=30)


def test_workers_and_cluster_exclude_each_other():
    with pytest.raises(UsageError, match="exclude"), open_executor(workers=2, cluster="tcp://127.0.0.1:9"):
        pass


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError, match="cxr-cli\\[cluster\\]"), open_executor(cluster="tcp://h:1"):
        pass


def test_without_cluster_it_is_local():
    with open_executor(workers=1) as executor:
        assert isinstance(executor, Workers)
    with open_executor(n_items=1) as executor:
        assert executor is None
