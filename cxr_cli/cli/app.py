"""The table of contents: registers the commands in pipeline order."""

from __future__ import annotations

import atexit
import gc
import sys
from typing import Annotated

import typer

from cxr_cli import __version__
from cxr_cli.cli import console
from cxr_cli.cli.build_model import build_model
from cxr_cli.cli.check_leakage import check_leakage
from cxr_cli.cli.evaluate import evaluate
from cxr_cli.cli.exits import COULD_NOT, Command, Commands, after_flushing
from cxr_cli.cli.explain import explain
from cxr_cli.cli.explore import explore
from cxr_cli.cli.predict import predict
from cxr_cli.cli.preprocess import preprocess
from cxr_cli.cli.report import report
from cxr_cli.cli.split import split
from cxr_cli.cli.train import train
from cxr_cli.cli.weights import weights

app = typer.Typer(
    name="cxr",
    cls=Commands,
    no_args_is_help=True,
    # "rich" markup would swallow [min, max] and the like from the help texts.
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"cxr {__version__}")
        raise typer.Exit


@app.callback()
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


# The commands, in the order of the pipeline.
app.command("explore", cls=Command)(explore)
app.command("check-leakage", cls=Command)(check_leakage)
app.command("split", cls=Command)(split)
app.command("preprocess", cls=Command)(preprocess)
app.command("weights", cls=Command)(weights)
app.command("build-model", cls=Command)(build_model)
app.command("train", cls=Command)(train)
app.command("predict", cls=Command)(predict)
app.command("evaluate", cls=Command)(evaluate)
app.command("explain", cls=Command)(explain)
app.command("report", cls=Command)(report)


def main() -> None:
    """Run the command line; ends with `SystemExit`."""
    # Loading pandas makes a hundred thousand objects and no garbage. Looking for some again and again, and once more
    # at exit, when all memory is handed back anyway, takes a quarter of the time of a short command.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    if not console.open_streams():
        sys.exit(COULD_NOT)
    try:
        app(prog_name="cxr")
    except SystemExit as done:
        sys.exit(after_flushing(done.code))
