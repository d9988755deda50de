"""Time `cxr --help` beside the import of the two libraries it is made of.

    python benchmarks/startup.py [--rounds 15]

The aim is at most 2.5 times `python -c "import typer, rich"`.
"""

from __future__ import annotations

import argparse
import sys

from timing import in_turns, report

BESIDE = "import typer, rich"


def main() -> None:
    """Print one line a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    cxr = [sys.executable, "-m", "cxr_cli"]
    report(
        in_turns(
            {
                BESIDE: [sys.executable, "-c", BESIDE],
                "cxr --version": [*cxr, "--version"],
                "cxr --help": [*cxr, "--help"],
                "cxr explore --help": [*cxr, "explore", "--help"],
            },
            options.rounds,
        ),
        BESIDE,
    )


if __name__ == "__main__":
    main()
