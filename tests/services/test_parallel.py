from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.errors import CxrError
from cxr_cli.services import parallel
from cxr_cli.services.parallel import Workers, local_workers, map_in_order, map_surviving, process_pool
from tests.conftest import ROOT
from tests.helpers import die
from tests.robustness.harness import assert_group_gone, members


def square(number: int) -> int:
    return number * number


def kill_worker_at_three(number: int) -> int:
    if number == 3:
        die()
    return number


@given(st.lists(st.integers(), max_size=60), st.integers(1, 9), st.integers(0, 4))
def test_order_and_progress_do_not_depend_on_the_workers(items, chunk, threads):
    told: list[tuple[int, int]] = []
    with ThreadPoolExecutor(threads or 1) as pool:
        executor = pool if threads else None
        progress = lambda *at: told.append(at)  # noqa: E731
        values = list(map_in_order(square, items, lost=abs, executor=executor, progress=progress, chunk=chunk))
    assert values == [item * item for item in items]
    assert told == [(index + 1, len(items)) for index in range(len(items))]


def test_only_a_bounded_number_of_chunks_is_handed_out_ahead(monkeypatch):
    monkeypatch.setattr(parallel, "AHEAD", 3)
    with ThreadPoolExecutor(1) as pool:
        started: list[int] = []
        values = map_in_order(started.append, range(100), lost=abs, executor=pool, chunk=2)
        next(values)
        values.close()
    assert len(started) <= 2 * 3


@pytest.mark.slow
def test_processes_give_what_one_process_gives():
    with local_workers(2) as workers:
        assert workers is not None
        assert list(map_in_order(square, range(50), lost=abs, executor=workers)) == [n * n for n in range(50)]


@pytest.mark.slow
def test_only_the_item_that_kills_its_worker_is_lost():
    with local_workers(2) as workers:
        values = map_in_order(kill_worker_at_three, range(12), lost=lambda n: -n, executor=workers, chunk=2)
        assert list(values) == [0, 1, 2, -3, *range(4, 12)]


def test_no_pool_where_there_is_nothing_to_share(monkeypatch):
    with local_workers(n_items=1) as workers:
        assert workers is None
    with local_workers(8, n_items=0) as workers:
        assert workers is None
    monkeypatch.setattr(parallel, "available_cores", lambda: 1)
    with local_workers() as workers:
        assert workers is None
    with local_workers(1) as workers:  # it was asked for
        assert workers.count == 1
    assert parallel.available_cores() >= 1


def test_an_error_of_the_function_comes_out_as_it_is():
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda n: 1 // n, [1, 0, 2], lost=abs, executor=pool, chunk=1))


def test_progress_here_comes_item_by_item():
    told: list[int] = []
    values = map_in_order(square, range(5), lost=abs, progress=lambda done, total: told.append(done))
    assert (next(values), told) == (0, [1])


def test_no_workers_is_a_mistake():
    with pytest.raises(ValueError, match="0 worker processes"):
        Workers(0)


def write_later(path: str) -> str:
    time.sleep(0.05)
    open(path, "x").close()
    return path


@pytest.mark.slow
def test_workers_that_serve_again_have_done_with_what_was_before(tmp_path):
    with Workers(2) as workers:
        values = map_in_order(
            write_later, [str(tmp_path / str(n)) for n in range(99)], lost=str, executor=workers, chunk=1
        )
        next(values)
        values.close()
        written = len(os.listdir(tmp_path))
        assert 1 <= written < 20
        time.sleep(0.3)
        assert len(os.listdir(tmp_path)) == written


SLEEPERS = """
import time
from cxr_cli.services.parallel import process_pool
if __name__ == "__main__":
    with process_pool(2) as pool:
        print("started", flush=True)
        list(pool.map(time.sleep, [600] * 4))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_leave_ctrl_c_to_the_parent_and_do_not_outlive_it(tmp_path):
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    process = subprocess.Popen(
        [sys.executable, "sleepers.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    process.stdout.readline()
    children = [pid for pid in members(process.pid) if pid != process.pid]
    assert len(children) >= 2
    for pid in children:  # while they are still starting
        os.kill(pid, signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.kill()
    # The pipe is at its end when the last process that holds it has gone.
    assert "Traceback" not in process.communicate(timeout=60)[1]
    assert_group_gone(process.pid)


@pytest.mark.slow
def test_a_pool_has_started_its_processes():
    with process_pool(2) as pool:
        assert len(pool._processes) == 2


SCRIPT = """
import json
import os
import sys
from cxr_cli.services.parallel import process_pool
from tests.services.test_parallel import environment, loaded
import heavy
print("once", flush=True)
with process_pool(2) as pool:
    print(json.dumps([pool.submit(loaded, "heavy").result(), pool.submit(environment).result()]))
print("OPENBLAS_NUM_THREADS" in os.environ, "heavy" in sys.modules, __name__ in sys.modules)
"""


def loaded(name: str) -> bool:
    return name in sys.modules


def environment() -> dict[str, str]:
    """Return what the process was started with, whatever it has changed since."""
    with open("/proc/self/environ", encoding="utf-8") as stream:
        return dict(line.partition("=")[::2] for line in stream.read().split("\0") if line)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_start_with_one_thread_and_without_the_script_that_runs_here(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "heavy.py").touch()
    started_with = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "3"}
    started_with.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=started_with, capture_output=True, text=True, check=True
    )
    once, found, after = done.stdout.splitlines()
    script_loaded, variables = json.loads(found)
    assert once == "once"
    assert not script_loaded
    assert (variables["OPENBLAS_NUM_THREADS"], variables["OMP_NUM_THREADS"]) == ("1", "3")
    assert after == "False True True"


SLOW_START = """
import time
from concurrent.futures import ProcessPoolExecutor
from cxr_cli.services.parallel import Workers, map_in_order
from tests.services.test_parallel import square
print("once", flush=True)
spawn = ProcessPoolExecutor._spawn_process
ProcessPoolExecutor._spawn_process = lambda pool: (spawn(pool), time.sleep(1.5))
with Workers(3) as workers:
    print(sum(map_in_order(square, range(100), lost=abs, executor=workers, chunk=1)))
"""


@pytest.mark.slow
def test_processes_that_start_late_start_without_the_script_too(tmp_path):
    """With many cores, the first process is idle before the last is started: then that waits for more work."""
    (tmp_path / "script.py").write_text(SLOW_START)
    started_with = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=started_with, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("once\n328350\n", "")


Part = tuple[int, ...]


def doubled(part: Part) -> Part:
    """Double numbers, but die over 13, and over 7 in company."""
    if 13 in part or (7 in part and len(part) > 1):
        die()
    return tuple(2 * number for number in part)


def split(part: Part) -> list[Part]:
    return [(number,) for number in part]


def lost(part: Part) -> Part:
    return tuple(-number for number in part)


def survived(parts: list[Part], **where: object) -> list[int]:
    values = map_surviving(doubled, parts, split=split, lost=lost, **where)
    return [number for several in values for value in several for number in value]


@given(st.lists(st.lists(st.integers(100, 999), min_size=1, max_size=4).map(tuple), max_size=9), st.integers(0, 2))
def test_surviving_gives_every_item_in_order(parts, threads):
    expected = [2 * number for part in parts for number in part]
    if threads == 0:
        assert survived(parts) == expected
        return
    with ThreadPoolExecutor(threads) as pool:
        assert survived(parts, executor=pool) == expected


@pytest.mark.slow
def test_only_the_part_that_kills_its_worker_is_lost():
    parts: list[Part] = [(1, 2, 3), (4, 13, 5), (6, 7), (8,), (13,), (9, 10)]
    expected = [2, 4, 6, 8, -13, 10, 12, 14, 16, -13, 18, 20]
    for count in (1, 2):
        with Workers(count) as workers:
            assert survived(parts, executor=workers) == expected
            # They serve again, those that died as well.
            assert survived([(3,), (5,)], executor=workers) == [6, 10]


@pytest.mark.slow
def test_items_are_taken_only_as_workers_become_free():
    taken: list[int] = []

    def items():
        for number in range(100):
            taken.append(number)
            yield (number + 100,)

    with Workers(2) as workers:
        values = map_surviving(doubled, items(), split=split, lost=lost, executor=workers)
        assert next(values) == [(200,)]
        values.close()
    assert len(taken) <= 2 * 2 + 1


def test_a_broken_executor_that_was_handed_in_cannot_be_replaced():
    class Broken(ThreadPoolExecutor):
        def submit(self, *arguments, **options):
            raise BrokenExecutor

    with Broken(1) as pool, pytest.raises(CxrError, match="executor that runs the workers is broken"):
        survived([(1,)], executor=pool)
