"""The process that reads weight files, forked instead of started: a hundredth of the time, for hundreds of files.

A server, started once, has h5py loaded; for each file it forks, and the child runs `hdf5_reader.main` under the same
limits. The parent's side of it is `Forks.run`, which takes the place of `weight_files.run_reader`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Forks:
    """The server, seen from outside."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.hdf5_forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, arguments: list[str], patience: float) -> int | None:
        """Do what `weight_files.run_reader` does."""
        assert self.server.stdin is not None and self.server.stdout is not None
        print(json.dumps([arguments, patience]), file=self.server.stdin, flush=True)
        answer: int | None = json.loads(self.server.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()


def serve() -> None:
    for line in sys.stdin:
        arguments, patience = json.loads(line)
        print(json.dumps(_forked(arguments, patience)), flush=True)


def _forked(arguments: list[str], patience: float) -> int | None:
    child = os.fork()
    if child == 0:
        _read(arguments)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _read(arguments: list[str]) -> None:
    from cxr_cli.data import hdf5_reader

    code = 1
    try:
        stderr = os.open(os.path.join(arguments[1], "stderr"), os.O_WRONLY | os.O_CREAT)
        os.dup2(stderr, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        hdf5_reader.main(*arguments)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


if __name__ == "__main__":
    from cxr_cli.data import hdf5_reader  # noqa: F401  before the forks

    serve()
