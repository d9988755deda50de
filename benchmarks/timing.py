"""Commands and functions timed beside each other: in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """One command over all rounds, in seconds: each round's wall-clock and processor time."""

    wall: tuple[float, ...]
    processor: tuple[float, ...]

    @property
    def cores(self) -> float:
        """How many cores were busy, in the median."""
        return statistics.median(processor / wall for processor, wall in zip(self.processor, self.wall, strict=True))


def in_turns(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Timing]:
    """Run every command once a round (and once before, unmeasured, to warm the disk cache)."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            times = _run(command)
            if turn:
                measured[name].append(times)
    return {
        name: Timing(tuple(wall for wall, _ in times), tuple(processor for _, processor in times))
        for name, times in measured.items()
    }


def functions_in_turns(
    functions: Mapping[str, Callable[[], object]], rounds: int, *, clean_up: Callable[[], object] = lambda: None
) -> dict[str, Timing]:
    """Call every function once a round (and once before, unmeasured); processes that it starts count as its own.

    What `clean_up` does after each call is not measured.
    """
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            before, begin = processor_time(), time.perf_counter()
            function()
            seconds = time.perf_counter() - begin
            for process in multiprocessing.active_children():  # some are about to end, others serve again
                process.join(0.1)
            used = processor_time() - before
            clean_up()
            if turn:
                measured[name].append((seconds, used))
    return {
        name: Timing(tuple(wall for wall, _ in times), tuple(processor for _, processor in times))
        for name, times in measured.items()
    }


def processor_time() -> float:
    """Return the seconds that this process and its children, those that ended and those that run, have used."""
    children = multiprocessing.active_children()  # asking first: those that have ended count from then on
    total = sum(os.times()[:4])
    for process in children:
        with contextlib.suppress(OSError):  # it has ended meanwhile, or there is no /proc
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _run(command: Sequence[str]) -> tuple[float, float]:
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_utime + usage.ru_stime


def ratio(timing: Timing, beside: Timing) -> float:
    """Return how many times as long a command took as another, the median over rounds."""
    return statistics.median(ratios(timing, beside))


def ratios(timing: Timing, beside: Timing) -> list[float]:
    """Return how many times as long a command took as another, round by round."""
    return [one / other for one, other in zip(timing.wall, beside.wall, strict=True)]


def headline(what: str, values: Sequence[float], besides: str = "") -> None:
    """Print what the page of results begins with: a ratio, the median over rounds, and its range."""
    spread = f" ({min(values):.2f} to {max(values):.2f} in {len(values)} rounds)" if len(values) > 1 else ""
    print(f"=> {what}: {statistics.median(values):.2f}{spread}{besides}")


def report(timings: Mapping[str, Timing], beside: str) -> None:
    """Print one line a command: quickest and median seconds, and the ratio to the one named."""
    width = max(map(len, timings))
    print(f"{'':{width}}  quickest   median    ratio")
    for name, timing in timings.items():
        times = f"{min(timing.wall):8.3f} s {statistics.median(timing.wall):7.3f} s"
        print(f"{name:{width}}  {times} {ratio(timing, timings[beside]):7.2f}")
    for name, timing in timings.items():
        if name != beside:
            headline(f"{name}, against {beside}", ratios(timing, timings[beside]))
