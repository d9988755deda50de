"""The table of contents: registers the commands in pipeline order and turns errors into exit codes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cxr_cli import __version__
from cxr_cli.cli import console
from cxr_cli.cli.build_model import build_model
from cxr_cli.cli.check_leakage import check_leakage
from cxr_cli.cli.explore import explore
from cxr_cli.cli.split import split
from cxr_cli.cli.weights import weights
from cxr_cli.errors import CxrError

#: Exit codes of every command, as in diff and grep.
DONE, BAD_NEWS, COULD_NOT = 0, 1, 2
INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143


class _Terminated(BaseException):
    """SIGTERM arrived: unwind, so that temporary files are removed."""


class _Commands(TyperGroup):
    """The one place where exceptions become exit codes, for CliRunner, ``python -m`` and the script alike."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a crash never exits 1, which means "done, and the answer is bad news"."""
        try:
            with _sigterm_unwinds():
                return super().invoke(ctx)
        except CxrError as error:
            console.error(str(error))
            raise typer.Exit(COULD_NOT) from None
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except BrokenPipeError:
            # The reader (head, less) has enough. Python would complain again when it flushes stdout at exit.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(CLOSED_PIPE) from None
        except KeyboardInterrupt:
            console.error("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except _Terminated:
            console.error("terminated")
            raise typer.Exit(TERMINATED) from None
        except MemoryError:
            console.error("out of memory")
            raise typer.Exit(COULD_NOT) from None
        except OSError as error:
            # No space, no permission, a folder that vanished: the user's to mend, wherever it was raised.
            where = f"{error.filename}: " if error.filename else ""
            console.error(f"{where}{error.strerror or error}")
            raise typer.Exit(COULD_NOT) from None
        except Exception:
            traceback.print_exc()
            console.error("this is a bug in cxr; please report it with the lines above")
            raise typer.Exit(COULD_NOT) from None


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


app = typer.Typer(
    name="cxr",
    cls=_Commands,
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
    """Prepare chest X-ray data sets and classifiers: explore, check, preprocess, weight, model.

    Results go to stdout (tables, or JSON with --json), everything else to stderr.

    Exit codes: 0 done, 1 done and the answer is bad news, 2 could not do it.

    Not for clinical use.
    """


# The commands, in the order of the pipeline.
app.command("explore")(explore)
app.command("check-leakage")(check_leakage)
app.command("split")(split)
app.command("weights")(weights)
app.command("build-model")(build_model)


def main() -> None:
    """Run the command line."""
    # Loading pandas makes a hundred thousand objects and no garbage. Looking for some again and again, and once more
    # at exit, when all memory is handed back anyway, takes a quarter of the time of a short command.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    app(prog_name="cxr")
