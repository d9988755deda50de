"""Time `cxr explore` beside a bare script that reads the same table, and `--check-images` over one and all cores.

    python benchmarks/explore.py [LABELS] [--images DIR] [--rounds 9] [--copies 10]

LABELS defaults to NIH's table of 112,120 images in the folder that CXR_REAL_DATA names, or else to a table of that
form and size made up for the purpose; images to those in CXR_REAL_DATA, or else to the sample images, each linked
`--copies` times under another name. The aims: at most 1.6 times the bare script without plots, and all cores busy.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from inputs import SAMPLE, link, nih_table
from timing import headline, in_turns, ratios, report

from cxr_cli.services.parallel import available_cores

BARE = "import pandas, pandas.read_csv"


def main() -> None:
    """Print two small tables."""
    real = Path(os.environ.get("CXR_REAL_DATA", "nowhere")) / "nih"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path, default=real / "Data_Entry_2017_v2020.csv.gz")
    parser.add_argument("--images", type=Path, default=real / "images-small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--copies", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        time_table(table_alone(options.labels, Path(folder)), options.rounds)
        images = options.images if options.images.is_dir() else SAMPLE / "images-small"
        time_images(linked(images, options.copies, Path(folder)), options.rounds)


def time_table(table: Path, rounds: int) -> None:
    """Time a table without images."""
    cxr = [sys.executable, "-m", "cxr_cli", "explore", str(table), "--no-plots"]
    commands = {
        BARE: [sys.executable, "-c", f"import pandas; pandas.read_csv({str(table)!r})"],
        "cxr explore --no-plots": cxr,
        "cxr explore --no-plots --json": [*cxr, "--json"],
    }
    print(f"{table.name}, {table.stat().st_size:,} bytes")
    report(in_turns(commands, rounds), BARE)


def time_images(table: Path, rounds: int) -> None:
    """Time opening every image."""
    cxr = [sys.executable, "-m", "cxr_cli", "explore", str(table), "--no-plots"]
    every = [*cxr, "--check-images", "--workers"]
    cores = available_cores()
    timings = in_turns(
        {"no image": [*cxr, "--n-images", "0"], "1 process": [*every, "1"], "all cores": [*every, str(cores)]}, rounds
    )
    n_images = sum(1 for _ in open(table, encoding="utf-8")) - 1
    print(f"\n{n_images} images, {cores} cores")
    report(timings, "no image")
    print(f"all cores: {timings['all cores'].cores:.2f} cores busy in the median, start included")
    headline(
        "explore --check-images, one process against all cores", ratios(timings["1 process"], timings["all cores"])
    )


def table_alone(labels: Path, folder: Path) -> Path:
    """Copy the table away from its images, or make one up."""
    if labels.is_file():
        return Path(shutil.copy(labels, folder))
    return nih_table(folder / "made-up.csv")


def linked(images: Path, copies: int, folder: Path) -> Path:
    """Hard-link or copy every image several times; return a table that names them all."""
    (folder / "images").mkdir()
    names = []
    for path in sorted(images.glob("[!.]*.png")):
        for number in range(copies):
            names.append(f"{path.stem}-{number}.png")
            link(path, folder / "images" / names[-1])
    rows = "".join(f"{name},{place % 2},{place}\n" for place, name in enumerate(names))
    (folder / "images.csv").write_text(f"Image,Mass,PatientId\n{rows}", encoding="utf-8")
    return folder / "images.csv"


if __name__ == "__main__":
    main()
