"""Worker processes: no code of the current folder, no image blamed for a process that could not live."""

from __future__ import annotations

import csv
import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_cli.data.files import machine_failure
from cxr_cli.errors import ImageError, MachineError
from cxr_cli.services import parallel
from cxr_cli.services.parallel import MOST_DEATHS, Workers, map_in_order, map_surviving
from tests.robustness import harness

N_IMAGES = 6
#: Modules that worker processes load before and after they find their way about.
SHADOWED = (
    *("struct", "pickle", "socket", "selectors", "signal", "queue", "tempfile", "random", "copyreg", "weakref"),
    *("numpy", "PIL", "kornia_rs", "pandas", "matplotlib", "cxr_cli", "sitecustomize", "usercustomize", "json", "csv"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with a table and images, in which payloads lie like modules of Python."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    with open(folder / "train.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["Image", "Mass", "PatientId"])
        for number in range(N_IMAGES):
            rows.writerow([f"{number}.png", number % 2, number])
            pixels = random.integers(0, 256, (64, 64), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    (folder / "valid.csv").write_text("Image,Mass,PatientId\n0.png,1,7\n")
    for name in SHADOWED:
        (folder / f"{name}.py").write_text(f'open("RAN-{name}", "w").close()\nraise ImportError("planted")\n')
    return folder


PROGRAM = "from cxr_cli.__main__ import main\nmain()\n"


@pytest.fixture
def run(tmp_path_factory):
    """Run a command in a folder as a process of its own, by a script that lies elsewhere, as ``cxr`` does."""
    script = tmp_path_factory.mktemp("bin") / "cxr-script"
    return lambda *command, program=PROGRAM: _run(script, program, *command)


def _run(script, program, arguments, folder):
    script.write_text(program)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        cwd=folder,
        env=harness.environment(PYTHONSAFEPATH=None),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    return harness.finish(process, started)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["preprocess", "train.csv", "--images", "images", "--image-size", "32", "--workers", "2"],
        ["explore", "train.csv", "--images", "images", "--check-images", "--workers", "2"],
        ["check-leakage", "train.csv", "valid.csv", "--images", "images", "--workers", "2"],
    ],
    ids=lambda command: command[0],
)
def test_code_that_lies_beside_the_data_is_not_run(run, data, tmp_path, command):
    done = run([*command, "--output", tmp_path], data)
    assert sorted(path.name for path in data.glob("RAN-*")) == []
    assert "planted" not in done.err and not harness.NEVER.search(done.err)
    assert done.code in (0, 1), done.err


#: A process of this program cannot start workers: they find a module that fails.
UNSTARTABLE = """
import contextlib, sys
import cxr_cli.services.parallel as parallel
start = parallel._environment_of_workers
@contextlib.contextmanager
def poisoned():
    with start():
        sys.path.insert(0, "POISON")  # workers get the path of this process
        try:
            yield
        finally:
            sys.path.remove("POISON")
parallel._environment_of_workers = poisoned
from cxr_cli.__main__ import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["numpy", "PIL"])
def test_workers_that_cannot_start_are_an_error_and_leave_nothing(run, data, tmp_path, module):
    """Poisoned is a module that every process loads at once, or one that only the images need."""
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / f"{module}.py").write_text("import os\nopen('STARTED', 'a').write('x')\nos._exit(3)\n")
    work = tmp_path / "work"
    work.mkdir()
    command = ["preprocess", data / "train.csv", "--images", data / "images", "--image-size", "32", "--workers", "2"]
    done = run([*command, "--no-plots"], work, program=UNSTARTABLE.replace("POISON", str(poison)))
    assert done.code == 2
    assert "worker processes die as soon as they start" in done.err
    assert "Traceback" not in done.err
    assert len((work / "STARTED").read_text()) <= 12  # processes: no storm of them
    assert not list(work.glob("cxr-output/preprocess/*.csv")) + list(work.glob("cxr-output/preprocess/*.json"))
    # The folder is as good as new.
    assert run([*command, "--no-plots"], work).code == 0


def die(number: int) -> int:
    os._exit(1)


def die_from_ten_on(number: int) -> int:
    if number >= 10:
        os._exit(1)
    return number


def die_at(part: tuple[int, ...]) -> tuple[int, ...]:
    if {3, 4, 5} & set(part):
        os._exit(1)
    return part


@pytest.mark.slow
def test_deaths_in_a_row_without_a_success_blame_nobody():
    with Workers(1) as workers:
        with pytest.raises(MachineError, match="die one after the other"):
            list(map_in_order(die, range(100), lost=abs, executor=workers))
        values = map_in_order(die_from_ten_on, range(100), lost=lambda number: -number, executor=workers, chunk=1)
        seen = []
        with pytest.raises(MachineError, match="die one after the other"):
            seen.extend(iter(values.__next__, None))
        assert min(seen, default=0) >= 0  # none was blamed before the rest was known


@pytest.mark.slow
def test_a_few_deaths_between_successes_are_the_items_fault():
    assert MOST_DEATHS > 3
    parts = [(1, 2), (3, 4), (5, 6), (7,)]
    with Workers(1) as workers:
        values = map_surviving(
            die_at,
            parts,
            split=lambda part: [(number,) for number in part],
            lost=lambda part: tuple(-number for number in part),
            executor=workers,
        )
        assert [number for several in values for part in several for number in part] == [1, 2, -3, -4, -5, 6, 7]


def fail_for_want_of_memory(path: str) -> str:
    """Fail the first time, leaving a mark; succeed the second time."""
    mark = Path(path)
    if not mark.exists():
        mark.touch()
        raise MachineError(f"{path}: cannot be read now: out of memory")
    return path


@pytest.mark.slow
def test_what_the_machine_failed_at_is_tried_once_more(tmp_path):
    marks = [str(tmp_path / name) for name in "abc"]
    assert list(map_in_order(fail_for_want_of_memory, marks, lost=str)) == marks
    for mark in marks:
        Path(mark).unlink()
    with Workers(1) as workers:
        assert list(map_in_order(fail_for_want_of_memory, marks, lost=str, executor=workers)) == marks


#: Reading an image fails as a disk or memory does, until a file is there.
FAILING = """
import errno, os, sys
import cxr_cli.data.images as images, cxr_cli.services.images.prepare as prepare
import cxr_cli.services.parallel as parallel
from cxr_cli.data.images import read_gray
from cxr_cli.errors import ImageError
def read(path, *more):
    if path.endswith("3.png") and not os.path.exists("mended"):
        if "KIND" == "memory":
            raise MemoryError
        raise ImageError(f"{path}: unreadable") from OSError(errno.EIO, "Input/output error")
    return read_gray(path, *more)
prepare.read_gray = read
from cxr_cli.__main__ import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "words"), [("memory", "out of memory"), ("disk", "Input/output error")])
def test_a_failure_of_the_machine_is_not_final(run, data, tmp_path, kind, words):
    program = FAILING.replace("KIND", kind)
    command = ["preprocess", data / "train.csv", "--images", data / "images", "--image-size", "32", "--no-plots"]
    done = run(command, tmp_path, program=program)
    store = tmp_path / "cxr-output/preprocess"
    assert done.code == 2 and words in done.err and "3.png" in done.err
    assert "Traceback" not in done.err
    assert sorted(path.name for path in store.iterdir()) == [".partial"]
    (tmp_path / "mended").touch()
    again = run(command, tmp_path, program=program)
    assert again.code == 0, again.err
    assert "continuing after 3" in again.err
    assert np.load(store / "images.npy").shape == (N_IMAGES, 32, 32)


def test_failures_of_the_machine_are_told_from_those_of_a_file():
    def image_error(cause):
        try:
            raise ImageError("x.png: unreadable") from cause
        except ImageError as error:
            return error

    assert machine_failure(image_error(OSError(errno.EIO, "x"))) == os.strerror(errno.EIO)
    assert machine_failure(image_error(OSError(errno.ESTALE, "x"))) == os.strerror(errno.ESTALE)
    assert machine_failure(MemoryError()) == "out of memory"
    assert machine_failure(ImportError("libx.so: failed to map segment from shared object")) == "out of memory"
    assert machine_failure(ImportError("No module named x")) is None
    assert machine_failure(image_error(OSError(errno.ENOENT, "x"))) is None
    assert machine_failure(image_error(ValueError("bad header"))) is None
    assert machine_failure(None) is None


def test_a_system_that_starts_no_processes_is_named(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/dev/shm/x")

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", refuse)
    with pytest.raises(MachineError, match="worker processes cannot be started: Read-only file system") as error:
        Workers(2).submit(abs, 1)
    assert "/dev/shm" in error.value.remedy

    def no_thread(*_, **__):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", no_thread)
    with pytest.raises(MachineError, match="can't start new thread"):
        parallel.process_pool(1)


def test_the_environment_is_as_before_when_processes_have_started(monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with parallel.starting_processes():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [60, 90, 120, 200])
@pytest.mark.parametrize("command", [["explore", "--no-plots"], ["preprocess", "--workers", "2", "--image-size", "16"]])
def test_too_little_address_space_is_named(data, tmp_path, command, megabytes):
    """Libraries that are being loaded report it in words of their own, and OpenBLAS ends the process with code 1."""

    def starve():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    done = harness.run([command[0], str(data / "train.csv"), *command[1:]], tmp_path, before=starve)
    assert done.code == 2, done.err
    assert "out of memory" in done.err or "MB of address space" in done.err
    assert not harness.NEVER.search(done.err)
    assert not list(tmp_path.rglob("*.csv"))
