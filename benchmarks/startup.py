"""Time `cxr --help` beside the help of a bare Typer app with two commands: what any command line of this kind costs.

    python benchmarks/startup.py [--rounds 15]

The aim is at most 1.3 times the bare app.
"""

from __future__ import annotations

import argparse
import sys

from timing import in_turns, report

#: An app that does nothing, set up as cxr's is.
BARE = '''
import typer

app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command()
def one(table: str, seed: int = 0) -> None:
    """Do one thing."""


@app.command()
def two(table: str, seed: int = 0) -> None:
    """Do another thing."""


app(prog_name="bare")
'''
BESIDE = "bare Typer app --help"


def main() -> None:
    """Print one line a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    cxr = [sys.executable, "-m", "cxr_cli"]
    report(
        in_turns(
            {
                BESIDE: [sys.executable, "-c", BARE, "--help"],
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
