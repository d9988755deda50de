"""Run commands as real processes under faults, and hold every run against the same promise.

The promise: no traceback, the right exit code, inputs untouched, outputs whole or absent, no process left behind, and
the same command works afterwards in the same folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.conftest import ROOT

#: An ordinary command line of every command: what it reads stands in capitals, see `World.place`. The second is one
#: that is quick and writes little, for faults that have nothing to do with files.
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "explore": (
        ["TRAIN", "--images", "IMAGES", "--n-images", "2"],
        ["TRAIN", "--n-images", "0", "--no-plots"],
    ),
    "check-leakage": (
        ["TRAIN", "VALID", "--images", "IMAGES", "--remove-from", "train"],
        ["TRAIN", "VALID", "--no-plots"],
    ),
    "preprocess": (
        ["TRAIN", "--images", "IMAGES", "--image-size", "64", "--n-images", "2", "--workers", "2"],
        ["TRAIN", "--images", "IMAGES", "--image-size", "8", "--no-plots"],
    ),
    "split": (["TRAIN"], ["TRAIN", "--no-plots"]),
    "weights": (["TRAIN", "--save", "weights.json"], ["TRAIN", "--no-plots"]),
    "build-model": (
        ["--labels", "TRAIN", "--image-size", "32", "--save", "model.keras", "--no-plots"],
        ["--labels", "TRAIN", "--image-size", "32", "--save", "model.keras", "--no-plots"],
    ),
    "evaluate": (
        ["PREDICTIONS", "--labels", "TRAIN", "--draws", "100"],
        ["PREDICTIONS", "--labels", "TRAIN", "--draws", "100", "--no-plots"],
    ),
    "report": (["STUDY"], ["STUDY", "--output", "report.md"]),
}
#: Of commands that run a model, on the folder of the fixture `drawn`. Loading Keras makes them slow: few tests.
OF_MODELS: dict[str, list[str]] = {
    "predict": ["MODEL", "VALID_STORE"],
    "explain": ["MODEL", "VALID_STORE", "--boxes", "BOXES", "--draws", "20", "--n-images", "1"],
}
#: What must never be seen: a traceback of Python's, or one of its complaints while it exits.
NEVER = re.compile(r"Traceback|Exception ignored|bug in cxr|Error in sys\.|core dumped|Fatal Python error")
#: How long a process may take to be gone after a signal.
PATIENCE = 60.0


@dataclass(frozen=True)
class Run:
    """A process that has ended."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass
class World:
    """The inputs of all runs, shared and never to change."""

    data: Path

    def __post_init__(self) -> None:
        self.before = digest(self.data)

    def place(self, arguments: Sequence[str]) -> list[str]:
        """Put the paths of the inputs in the place of the words that stand for them."""
        paths = {
            "TRAIN": self.data / "train-small.csv",
            "VALID": self.data / "valid-small.csv",
            "IMAGES": self.data / "images-small",
            "PREDICTIONS": self.data / "predictions.csv",
            "STUDY": self.data / "study",
            "MODEL": self.data / "model.keras",
            "VALID_STORE": self.data / "stores" / "valid",
            "BOXES": self.data / "boxes.csv",
        }
        return [str(paths.get(item, item)) for item in arguments]

    def untouched(self) -> bool:
        return digest(self.data) == self.before


def digest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder, by its relative name, and the target of every link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def environment(**changes: str | None) -> dict[str, str]:
    """Return this process's environment without what would change how a command prints, with changes."""
    without = {"COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "GITHUB_ACTIONS", "PYTHONIOENCODING", "PYTHONUTF8"}
    kept = {name: value for name, value in os.environ.items() if name not in without}
    kept |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return {name: value for name, value in (kept | changes).items() if value is not None}


def start(
    arguments: Sequence[str],
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    stdin: Any = subprocess.DEVNULL,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    before: Callable[[], None] | None = None,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start ``python -m cxr_cli`` in a folder, as the leader of a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cxr_cli", *arguments],
        cwd=folder,
        env=dict(environment() if env is None else env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=before,
        start_new_session=True,
        **options,
    )


def finish(process: subprocess.Popen[bytes], began: float, patience: float = 300.0) -> Run:
    """Wait for a process and all its children to end."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise AssertionError(f"still running after {patience} s: {process.args}") from None
    assert_group_gone(process.pid)
    return Run(process.returncode, text(out), text(err), time.monotonic() - began)


def text(stream: bytes | None) -> str:
    return (stream or b"").decode("utf-8", "backslashreplace")


def assert_group_gone(group: int) -> None:
    """A command leaves no process behind, even when it was killed itself."""
    end = time.monotonic() + PATIENCE
    while members(group):
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            raise AssertionError("processes were left behind")
        time.sleep(0.05)


def members(group: int) -> list[int]:
    """Return the processes of a group that still run (Linux; nothing elsewhere)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name in brackets: state, parent, group. Z: dead, and not yet fetched by its parent.
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # gone while we looked
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def run(arguments: Sequence[str], folder: Path, **options: Any) -> Run:
    """Run a command to its end."""
    began = time.monotonic()
    return finish(start(arguments, folder, **options), began)


def run_and_signal(arguments: Sequence[str], folder: Path, number: int, moment: str, *, group: bool) -> Run:
    """Run a command and send it a signal at a moment: while it is ``importing``, or ``writing`` its first file."""
    began = time.monotonic()
    process = start(arguments, folder)
    has_come = {"importing": lambda: _maps_numpy(process.pid), "writing": lambda: _has_file(folder)}[moment]
    while process.poll() is None and not has_come():
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(process.pid, number)
    return finish(process, began, PATIENCE)


def _maps_numpy(process: int) -> bool:
    try:
        return "numpy" in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


def _has_file(folder: Path) -> bool:
    try:
        return any(path.is_file() for path in folder.rglob("*"))
    except OSError:  # a folder renamed while it is being read
        return True


def check(
    run: Run, world: World, folder: Path, *, codes: Sequence[int], whole: Mapping[str, str], killed: bool = False
) -> None:
    """Hold a run against the promise.

    Parameters
    ----------
    codes
        The exit codes that are right.
    whole
        What outputs contain when they are whole, as `digest` gives it.
    killed
        By SIGKILL, after which temporary files may be left, hidden.
    """
    seen = f"exit {run.code}\n--- stdout\n{run.out[-2000:]}\n--- stderr\n{run.err[-4000:]}"
    assert not NEVER.search(run.out + run.err), seen
    assert run.code in codes, f"expected exit {codes}, got {seen}"
    if run.code == 2:
        assert "error" in run.err.lower() or not run.err, seen
    assert world.untouched(), "inputs were changed"
    for name, content in digest(folder).items():
        if is_temporary(name):
            assert killed, f"{name} was left behind; {seen}"
        elif is_unfinished_work(name):
            assert run.code not in (0, 1), f"{name} was left behind; {seen}"
        else:
            assert name in whole, f"{name} is no output of this command; {seen}"
            assert content == whole[name], f"{name} is not whole; {seen}"


def is_temporary(name: str) -> bool:
    """Whether a file is hidden, or in a hidden folder, and says that it is temporary."""
    return any(part.startswith(".") and ".tmp" in part for part in name.split("/"))


def is_unfinished_work(name: str) -> bool:
    """Whether a file belongs to a run that the same command will continue."""
    return ".partial" in name.split("/")


def closed_pipe() -> IO[bytes]:
    """Return a pipe whose reader has gone, as ``head`` has once it has seen enough."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")
