"""The table of contents: registers the commands in pipeline order."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli import __version__
from cxr_cli.cli import console
from cxr_cli.cli.exits import COULD_NOT, Command, Commands, after_flushing

if TYPE_CHECKING:
    app: typer.Typer

#: The commands, in the order of the pipeline. Each is the function of its name in the module of its name.
COMMANDS = (
    "explore",
    "check-leakage",
    "split",
    "preprocess",
    "weights",
    "build-model",
    "train",
    "predict",
    "evaluate",
    "explain",
    "report",
)


def app_of(commands: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands; ``app`` of this module has all of them."""
    made = typer.Typer(
        name="cxr",
        cls=Commands,
        no_args_is_help=True,
        # "rich" markup would swallow [min, max] and the like from the help texts.
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(cxr)
    for name in commands:
        function = name.replace("-", "_")
        made.command(name, cls=Command)(getattr(import_module(f"cxr_cli.cli.{function}"), function))
    return made


def __getattr__(name: str) -> typer.Typer:
    """Make ``app`` when it is asked for: a run of one command needs the options of that one alone."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = app_of()
    return made


def _version(value: bool) -> None:
    if value:
        typer.echo(f"cxr {__version__}")
        raise typer.Exit


def cxr(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Prepare, train and evaluate chest X-ray classifiers, step by step. Not for clinical use.

    Results go to stdout (tables, or JSON with --json), everything else to stderr.

    Exit codes: 0 finished; 1 finished, but something is wrong (leakage, broken images); 2 failed.

    Example: `cxr explore train-small.csv`
    """


def main() -> None:
    """Run the command line; ends with `SystemExit`."""
    # At exit all memory is handed back anyway: no need to look for garbage once more.
    atexit.register(gc.freeze)
    if not console.open_streams():
        sys.exit(COULD_NOT)
    try:
        asked = sys.argv[1:2]
        app_of(asked if set(asked) <= set(COMMANDS) and asked else COMMANDS)(prog_name="cxr")
    except SystemExit as done:
        sys.exit(after_flushing(done.code))
