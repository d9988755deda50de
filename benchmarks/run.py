"""Run every benchmark and write what they print to RESULTS.md beside this script.

    python benchmarks/run.py [NAME …] [--quick] [--to FILE]

All of them take about half an hour on two cores that have nothing else to do; --quick cuts rounds and sizes,
to see that all of it runs. With names, only those are run, and the others keep what the page says of them.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = ("numpy", "pandas", "pillow", "kornia_rs", "matplotlib", "typer", "rich", "keras", "tensorflow")
OPTIONAL = ("scikit-learn", "isal", "imagecodecs", "pydicom", "torchxrayvision")


@dataclass(frozen=True)
class Benchmark:
    """A script, what it is about, and its arguments in a whole and in a quick run."""

    name: str
    title: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()


BENCHMARKS = (
    Benchmark("startup", "Start of the command line", quick=("--rounds", "3")),
    Benchmark("explore", "explore", quick=("--rounds", "2", "--copies", "2")),
    Benchmark("tables", "Label tables", quick=("--rounds", "1", "--scale", "0.1")),
    Benchmark("leakage", "check-leakage", quick=("--hashes", "20000", "--images", "40")),
    Benchmark("split", "split", quick=("--seeds", "1")),
    Benchmark("preprocess", "preprocess", quick=("--images", "60", "--rounds", "1")),
    Benchmark("training_input", "Training input", quick=("--images", "64", "--rounds", "1")),
    Benchmark("weights", "weights", quick=("--repeats", "1")),
    Benchmark("build_model", "build-model", arguments=("3",), quick=("1",)),
    Benchmark("train", "train and predict", quick=("--images", "32", "--valid", "32", "--size", "64", "--rounds", "1")),
    Benchmark("explain", "explain", quick=("--images", "32", "--rounds", "2")),
    Benchmark("evaluate", "evaluate", quick=("--draws", "100", "--slow-draws", "3", "--largest", "16000")),
    Benchmark("dicom", "DICOM", quick=("--images", "1", "--rounds", "1", "--files", "1000")),
    Benchmark("growth", "Growth", quick=("--rounds", "1", "--largest", "16000")),
)


def run(benchmark: Benchmark, quick: bool) -> str:
    """Run a script; return its section of the page."""
    arguments = benchmark.quick if quick else benchmark.arguments
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "110"}
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / f"{benchmark.name}.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    minutes = (time.perf_counter() - begin) / 60
    print(f"{benchmark.name}: {minutes:.1f} min", file=sys.stderr)
    if done.returncode:
        raise SystemExit(f"{benchmark.name} failed:\n{done.stderr}")
    headlines = [f"- {line[3:]}" for line in done.stdout.splitlines() if line.startswith("=> ")]
    table = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("=> ")).strip("\n")
    command = " ".join(["python", f"benchmarks/{benchmark.name}.py", *arguments])
    load = f"; load of the machine at its end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    about = f"`{command}`, {datetime.date.today()}, {minutes:.1f} min{load}"
    parts = [f"## {benchmark.title}", about, "\n".join(headlines), f"```text\n{table}\n```"]
    return "\n\n".join(part for part in parts if part)


def machine() -> str:
    """Describe processor, memory and system, and nothing that names the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores ({_processor()}), {_memory()}, {platform.system()}, CPython {platform.python_version()}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB of memory"
    except (AttributeError, ValueError, OSError):
        return "memory not known"


def versions() -> str:
    """List the libraries that take part."""
    found = []
    for name in (*PACKAGES, *OPTIONAL):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def sections(page: Path) -> dict[str, str]:
    """Return the sections of an earlier page by their title."""
    if not page.exists():
        return {}
    parts = re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].removeprefix("## "): part.strip() for part in parts}


INTRODUCTION = """\
# Results

Made by `python benchmarks/run.py`; see the [README](README.md) for what is measured and how.

Read the ratios, not the seconds: contestants take turns within each round, and a ratio is the median over rounds of
(the one named first) / (the one it is measured against), with the smallest and the largest ratio behind it. They hold
for this machine, these versions and these inputs.
"""


def main() -> None:
    """Run the benchmarks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--to", type=Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    unknown = set(options.names) - {benchmark.name for benchmark in BENCHMARKS}
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: {', '.join(one.name for one in BENCHMARKS)}")
    kept = sections(options.to)
    for benchmark in BENCHMARKS:
        if not options.names or benchmark.name in options.names:
            kept[benchmark.title] = run(benchmark, options.quick)
            head = [INTRODUCTION.strip(), f"- Machine: {machine()}.\n- Versions: {versions()}."]
            body = [kept[one.title] for one in BENCHMARKS if one.title in kept]
            options.to.write_text("\n\n".join(head + body) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
