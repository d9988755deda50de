"""Measure how time and memory of every command grow with the work: once, four and sixteen times as much.

    python benchmarks/growth.py [COMMAND …] [--rounds 3] [--largest 112120]

Inputs are made up: tables in NIH's form of 7,008, 28,030 and 112,120 images (--largest), images repeated or drawn by
rule, hashes at random. Every run is a process of its own, start included; memory is the largest sum of resident
memory over the process and its workers, looked at every 20 ms (Linux), so that pages they share count for each.
The slope is that of the last step: log of how many times the time (or memory) over log of how many times the work;
1 is proportional, 0 is constant. Where the start of Python is most of the time the slope says little, so the seconds
that each further unit of work costs stand beside it.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inputs import N_NIH, ROOT, halves, image_files, made_up_images, nih_table, repeated

TIMES = (1, 4, 16)
_LOOK_SECONDS = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

HASHES = """
import sys
import numpy as np
from cxr_cli.services.check_leakage.hamming import near_pairs
n = int(sys.argv[1])
hashes = np.random.default_rng(0).integers(0, 2**64, (n, 4), dtype=np.uint64)
flips = np.array([[0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
print(sum(len(pairs.first) for pairs in near_pairs(hashes[: n // 5], hashes[n // 5 :], 60, flips=flips)))
"""


@dataclass(frozen=True)
class Workload:
    """A command at one size: the amount of work in `unit`, and how to run it."""

    amount: int
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """A command at all sizes."""

    name: str
    unit: str
    workloads: tuple[Workload, ...]


def cxr(*arguments: object) -> tuple[str, ...]:
    """Return the command line of a `cxr` command without plots."""
    return ("-m", "cxr_cli", *map(str, arguments), "--no-plots")


def tables(folder: Path, largest: int) -> list[tuple[int, Path, Path]]:
    """Make tables of all sizes; return their lengths, themselves, and folders with their halves."""
    made = []
    for times in TIMES:
        n_rows = round(largest * times / TIMES[-1])
        place = folder / f"table-{times}"
        place.mkdir()
        table = nih_table(place / "labels.csv", n_rows)
        halves(table, place)
        made.append((n_rows, table, place))
    return made


def of_tables(folder: Path, largest: int) -> list[Series]:
    """Return the commands that work on tables alone."""
    sizes = tables(folder, largest)

    def series(name: str, arguments: Callable[[Path, Path], tuple[str, ...]]) -> Series:
        return Series(name, "rows", tuple(Workload(n, arguments(table, place)) for n, table, place in sizes))

    return [
        series("explore", lambda table, place: cxr("explore", table)),
        series(
            "check-leakage, ids", lambda table, place: cxr("check-leakage", place / "train.csv", place / "test.csv")
        ),
        series("split", lambda table, place: cxr("split", table, "--output", place / "split")),
        series("weights", lambda table, place: cxr("weights", table)),
    ]


def hashes(folder: Path, largest: int) -> list[Series]:
    """Return the comparison of hashes: a fifth with all others, so work grows with the square of their number."""
    sizes = [round(largest / 4 * math.sqrt(times)) for times in TIMES]
    loads = tuple(Workload((n // 5) * (n - n // 5), ("-c", HASHES, str(n))) for n in sizes)
    return [Series("check-leakage, hashes", "pairs", loads)]


def leaky_images(folder: Path, largest: int) -> list[Series]:
    """Return check-leakage with images: made-up images, all different."""
    loads = []
    for times in TIMES:
        n = 64 * times
        place = folder / f"images-{times}"
        made_up_images(place / "images", n)
        for name, first in (("train", 0), ("test", 1)):
            rows = "".join(f"{i + 1:08}_000.png,{i % 2},{i + 1}\n" for i in range(first, n, 2))
            (place / f"{name}.csv").write_text(f"Image,Mass,PatientId\n{rows}", encoding="utf-8")
        splits = place / "train.csv", place / "test.csv"
        loads.append(Workload(n, cxr("check-leakage", *splits, "--images", place / "images")))
    return [Series("check-leakage --images, 256 × 256", "images", tuple(loads))]


def preprocessed(folder: Path, largest: int) -> list[Series]:
    """Return preprocess on images of 1024 × 1024."""
    (folder / "sources").mkdir()
    sources, _ = image_files(folder / "sources")
    loads = []
    for times in TIMES:
        n = 100 * times
        labels, images = repeated(sources, n, folder / f"preprocess-{times}")
        output = labels.parent / "store"
        arguments = ("preprocess", labels, "--images", images, "--dtype", "uint8", "--output", output)
        loads.append(Workload(n, cxr(*arguments)))
    return [Series("preprocess, 1024 × 1024, uint8", "images", tuple(loads))]


def models(folder: Path, largest: int) -> list[Series]:
    """Return build-model for more and more pathologies, which should cost next to nothing."""
    loads = []
    for times in TIMES:
        names = ",".join(f"P{number}" for number in range(14 * times))
        loads.append(Workload(14 * times, cxr("build-model", "--pathologies", names, "--pretrained", "none")))
    return [Series("build-model", "pathologies", tuple(loads))]


GROUPS: dict[str, Callable[[Path, int], list[Series]]] = {
    "tables": of_tables,
    "hashes": hashes,
    "leakage": leaky_images,
    "preprocess": preprocessed,
    "build-model": models,
}


def descendants(process: int) -> list[int]:
    """Return a process and all that descend from it (Linux)."""
    found = [process]
    for one in found:
        try:
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
        except OSError:  # it has ended
            continue
    return found


def resident(process: int) -> int:
    """Return the resident memory of a process and its descendants in bytes."""
    total = 0
    for one in descendants(process):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError):
            continue
    return total


def measure(arguments: Sequence[str], folder: Path) -> tuple[float, float, int]:
    """Run a command; return seconds of wall-clock and of processor time, and peak memory in bytes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    before, begin, peak = os.times(), time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(_LOOK_SECONDS)
    seconds, after = time.perf_counter() - begin, os.times()
    assert process.stderr is not None
    if process.returncode not in (0, 1):
        raise SystemExit(f"failed: {' '.join(arguments)}\n{process.stderr.read().decode()}")
    process.stderr.close()
    for left in ("cxr-output", "store", "split"):
        for path in (folder / left, *folder.glob(f"*/{left}")):
            shutil.rmtree(path, ignore_errors=True)
    return seconds, sum(after[2:4]) - sum(before[2:4]), peak


def slope(values: Sequence[float], amounts: Sequence[int]) -> float:
    """Return the slope of the last step on logarithmic scales."""
    return math.log(values[-1] / values[-2]) / math.log(amounts[-1] / amounts[-2])


def report(series: Series, rounds: list[list[tuple[float, float, int]]]) -> None:
    """Print a block for a command: a line for each size, then the slopes."""
    amounts = [load.amount for load in series.workloads]
    medians = [[statistics.median(column) for column in zip(*runs, strict=True)] for runs in rounds]
    wall, processor, memory = ([median[column] for median in medians] for column in range(3))
    print(f"\n{series.name}")
    print(f"  {series.unit:>16}{'seconds':>10}{'processor':>11}{'memory':>10}{'time / 1x':>11}{'memory / 1x':>13}")
    for place, amount in enumerate(amounts):
        times = f"{wall[place]:10.2f}{processor[place]:11.2f}{memory[place] / 1e6:7.0f} MB"
        print(f"  {amount:16,}{times}{wall[place] / wall[0]:11.2f}{memory[place] / memory[0]:13.2f}")
    further = (processor[-1] - processor[-2]) / (amounts[-1] - amounts[-2])
    slopes = f"time {slope(wall, amounts):.2f}, processor {slope(processor, amounts):.2f}, "
    print(f"  slope of the last step: {slopes}memory {slope(memory, amounts):.2f}")
    print(f"  processor time for each of the further {series.unit}: {further * 1e6:,.3g} µs")
    print(
        f"=> {series.name}, 16 times the work: {wall[-1] / wall[0]:.2f} times the time, "
        f"{memory[-1] / memory[0]:.2f} times the memory; slope of the last step {slope(wall, amounts):.2f} "
        f"and {slope(memory, amounts):.2f}"
    )


def main() -> None:
    """Print a block for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], default=[], metavar="COMMAND")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest", type=int, default=N_NIH)
    options = parser.parse_args()
    for group in options.groups or GROUPS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            every = GROUPS[group](folder, options.largest)
            runs: dict[str, list[list[tuple[float, float, int]]]] = {
                series.name: [[] for _ in TIMES] for series in every
            }
            for _ in range(options.rounds):
                for series in every:
                    for place, load in enumerate(series.workloads):
                        runs[series.name][place].append(measure(load.arguments, folder))
            for series in every:
                report(series, runs[series.name])


if __name__ == "__main__":
    main()
