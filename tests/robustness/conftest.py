"""The inputs of the robustness tests, and what every command does with them when nothing goes wrong."""

from __future__ import annotations

import csv
import ctypes
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_cli.cli.app import app
from tests.robustness import harness
from tests.robustness.harness import EXAMPLES, Run, World

N_ROWS = {"train-small.csv": 40, "valid-small.csv": 12}


@pytest.fixture(scope="session")
def world(tmp_path_factory, sample_data) -> World:
    """Make a small data set: the first rows of the sample data and their images."""
    data = tmp_path_factory.mktemp("data")
    (data / "images-small").mkdir()
    for table, n_rows in N_ROWS.items():
        lines = (sample_data / table).read_text(encoding="utf-8").splitlines(keepends=True)[: n_rows + 1]
        (data / table).write_text("".join(lines), encoding="utf-8")
        for row in csv.DictReader(lines):
            shutil.copy(sample_data / "images-small" / row["Image"], data / "images-small")
    header, *rows = csv.reader((data / "train-small.csv").read_text(encoding="utf-8").splitlines())
    image, names = header.index("Image"), [name for name in header if name not in ("Image", "PatientId")]
    lines = [",".join(["Image", *names])]
    for place, row in enumerate(rows):
        chances = (f"{(7 * place + 3 * column) % 20 / 20 + 0.01:.2f}" for column in range(len(names)))
        lines.append(",".join([row[image], *chances]))
    (data / "predictions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["weights", str(data / "train-small.csv"), "--output", str(data / "study")])
    assert done.exit_code == 0, done.output
    return World(data)


@dataclass(frozen=True)
class Reference:
    """What a command does when nothing goes wrong: the run, and what it writes."""

    run: Run
    outputs: dict[str, str]


class References:
    """Runs each example once, when it is first asked for."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.known: dict[tuple[str, bool], Reference] = {}

    def __call__(self, command: str, *, quick: bool = False) -> Reference:
        key = command, quick and EXAMPLES[command][0] != EXAMPLES[command][1]
        if key not in self.known:
            folder = self.folder / f"{command}-{key[1]}"
            folder.mkdir()
            run = harness.run(arguments(self.world, command, quick=quick), folder)
            outputs = harness.digest(folder)
            harness.check(run, self.world, folder, codes=(0, 1), whole=outputs)
            self.known[key] = Reference(run, outputs)
        return self.known[key]

    def contents(self, command: str) -> list[bytes]:
        """Return the bytes of every file that a command writes."""
        return [(self.folder / f"{command}-False" / name).read_bytes() for name in self(command).outputs]


def arguments(world: World, command: str, *, quick: bool = False) -> list[str]:
    """Return the example of a command, with the command's name."""
    return [command, *world.place(EXAMPLES[command][quick])]


@pytest.fixture(scope="session")
def reference(world, tmp_path_factory) -> References:
    """Return a function that tells what a command does when nothing goes wrong."""
    return References(world, tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="session")
def bound(tmp_path_factory):
    """Return what to call before a command starts, so that permissions bind it though the tests may be run as root."""
    closed = tmp_path_factory.mktemp("closed") / "file"
    closed.write_bytes(b"")
    closed.chmod(0)
    libc = ctypes.CDLL(None)

    def give_up_override() -> None:
        if os.getuid() == 0:
            for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
                libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP

    command = [sys.executable, "-c", "import sys; open(sys.argv[1])", str(closed)]
    if subprocess.run(command, preexec_fn=give_up_override, capture_output=True).returncode == 0:
        pytest.skip("permissions do not bind this user, and the right to override them cannot be given up")
    return give_up_override
