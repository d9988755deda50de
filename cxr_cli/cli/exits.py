"""How a command ends: exceptions, signals and closed pipes become exit codes."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cxr_cli.cli import console
from cxr_cli.cli.options import RUNNING
from cxr_cli.cli.usage import is_help, usage_error
from cxr_cli.errors import CxrError, MachineError, is_out_of_memory

#: Exit codes of every command, as in diff and grep.
DONE, BAD_NEWS, COULD_NOT = 0, 1, 2
INTERRUPTED, CLOSED_PIPE = 130, 141


class _Stopped(BaseException):
    """A signal asked the process to end: unwind, so that temporary files are removed."""


def _without_types(parameters: Sequence[Any]) -> list[Any]:
    """Return parameters that show no types in the help: ``<bool>`` of flags, ``<path>`` of arguments."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None
    return list(parameters)


class Command(TyperCommand):
    """A command whose --help stands in the last panel of its help."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help."""
        found = super().get_help_option(ctx)
        if found is not None:
            found.rich_help_panel = RUNNING
        return found

    def get_params(self, ctx: Any) -> list[Any]:
        """Return all parameters, --help included."""
        return _without_types(super().get_params(ctx))


class Commands(TyperGroup):
    """The one place where exceptions become exit codes, for CliRunner, ``python -m`` and the script alike."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return all parameters, --help included."""
        return _without_types(super().get_params(ctx))

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """Parse the command line; --help and --version print here."""
        self._given = tuple(args)
        with _exceptions_become_exit_codes(self._given):
            return super().make_context(info_name, args, *more, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a crash never exits 1, which means "done, and the answer is bad news"."""
        from cxr_cli.services.envelope import typed

        typed(self._given)
        with _exceptions_become_exit_codes(self._given), console.warnings_shown():
            _refuse_too_little_memory()
            return super().invoke(ctx)


#: Below this much address space OpenBLAS ends the process with exit code 1 as soon as numpy is used.
_LEAST_ADDRESS_SPACE = 280 << 20


def _refuse_too_little_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE:
        raise MachineError(
            f"this process may use {limit >> 20:,} MB of address space",
            expected=f"at least {_LEAST_ADDRESS_SPACE >> 20:,} MB",
            remedy="Raise the limit (ulimit -v).",
        )


@contextlib.contextmanager
def _exceptions_become_exit_codes(given: Sequence[str]) -> Iterator[None]:
    try:
        with _signals_unwind():
            yield
    except CxrError as error:
        console.error(error.in_terminal())
        raise typer.Exit(COULD_NOT) from None
    except (typer.Exit, typer.Abort):
        raise
    except typer.TyperException as error:
        if is_help(error):  # of a command that was given no arguments
            raise
        console.error(usage_error(error, given).in_terminal())
        raise typer.Exit(COULD_NOT) from None
    except SystemExit:
        # Rich's own, raised where typer prints help into a closed pipe.
        raise typer.Exit(CLOSED_PIPE) from None
    except BrokenPipeError:
        # The reader (head, less) has enough.
        raise typer.Exit(CLOSED_PIPE) from None
    except KeyboardInterrupt:
        console.error("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except _Stopped as stopped:
        number = stopped.args[0]
        console.error("terminated" if number == signal.SIGTERM else f"ended by {signal.Signals(number).name}")
        raise typer.Exit(128 + number) from None
    except MemoryError:
        console.error("out of memory")
        raise typer.Exit(COULD_NOT) from None
    except OSError as error:
        # No space, no permission, a folder that vanished: the user's to mend, wherever it was raised.
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or error}")
        raise typer.Exit(COULD_NOT) from None
    except Exception as error:
        if is_out_of_memory(error):  # while a library was being loaded
            console.error("out of memory")
            raise typer.Exit(COULD_NOT) from None
        traceback.print_exc()
        console.error("this is a bug in cxr; please report it with the lines above")
        raise typer.Exit(COULD_NOT) from None


#: Signals after which a command still cleans up. SIGHUP: the terminal was closed.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def _signals_unwind() -> Iterator[None]:
    """Make the first signal an exception that unwinds the command; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if _would_be_ignored(frame):
            signal.signal(signal.SIGALRM, lambda _, later: stop(number, later))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        received.append(number)
        for each in previous:
            signal.signal(each, signal.SIG_DFL)
        raise _exception_for(number)

    # What the parent told this process to ignore (nohup, a job in the background) stays ignored.
    previous = {
        number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }
    try:
        for number in previous:
            signal.signal(number, stop)
        yield
    except Exception as error:
        # Libraries may make another error of it, above all while they are being imported.
        if received:
            raise _exception_for(received[0]) from error
        raise
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _would_be_ignored(frame: FrameType | None) -> bool:
    """Whether Python would only print an exception: it clears a lock of an import, in a callback of the collector."""
    while hasattr(signal, "setitimer") and frame is not None:
        if frame.f_code.co_name == "cb" and frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _exception_for(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else _Stopped(number)


def after_flushing(code: Any) -> Any:
    """Return the exit code, made worse if what was printed did not arrive (Python would exit with 120)."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or CLOSED_PIPE
    except OSError as error:
        console.error(f"stdout: {error.strerror or error}")
        code = COULD_NOT
    console.discard_rest()
    return code
