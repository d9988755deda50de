"""The two streams: the result on stdout, everything else on stderr.

A pipe or a log gets no colour, no progress bar and no cut-off cells. JSON never goes through rich, which
would wrap it inside strings.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import gc
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from cxr_cli.cli.table_layout import FittingTable
from cxr_cli.errors import in_terminal

if TYPE_CHECKING:
    from cxr_cli.data.files import InputFile, Outputs
    from cxr_cli.services.result import Result

#: Told how many of how many steps are done; what services take as `progress`.
Progress = Callable[[int, int], None]


#: Control characters that steer a terminal, and marks that turn the direction of writing.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


#: What takes the place of our own signs where the encoding lacks them.
_PLAIN = {"–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "≤": "<=", "≥": ">=", "→": "->"}


def open_streams() -> bool:
    """Make stdout and stderr ready for whatever a file name or a table may hold; False if there is no stdout.

    A character that the terminal's encoding lacks is written plainer or as an escape. A stream that the parent
    closed must not be left closed: the next file to be opened would take its place and receive what is printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    if sys.stdout is None:
        error("stdout is closed, so the result has nowhere to go\nRedirect it to a file or to /dev/null.")
        return False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="cxr-plain")
    return True


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if sign in _PLAIN:
        return _PLAIN[sign], error.start + 1
    # One at a time, for the next may have a plainer form.
    return codecs.backslashreplace_errors(
        UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    )


codecs.register_error("cxr-plain", _plainer)


def discard_rest() -> None:
    """Drop what cannot be written any more, so that Python does not complain of it when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def printable(text: str) -> str:
    """Replace control characters by escapes: what a file holds must not steer the terminal; name options as typed."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), in_terminal(text))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would exit with 1, which here means "bad news".
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _console(stream: IO[str]) -> Console:
    # Rich takes 80 columns for a pipe and cuts cells to fit; a wide console lets a table keep its natural width.
    piped = not stream.isatty() and not os.environ.get("COLUMNS")
    return _Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        width=10_000 if piped else None,
        height=100 if piped else None,
        no_color=True if not stream.isatty() else None,
        force_terminal=False if not stream.isatty() else None,
    )


def stdout() -> Console:
    """Return the console for results; made on each call, so that a redirected sys.stdout is honoured."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Return the console for progress, notes, warnings and errors."""
    return _console(sys.stderr)


def show(
    command: str,
    result: Result,
    render: Callable[[Any], Iterable[RenderableType]],
    *,
    as_json: bool,
    inputs: Sequence[InputFile],
    outputs: Outputs,
) -> None:
    """Keep a result as ``result.json`` and print it on stdout: its tables, or that document; list what was saved.

    Parameters
    ----------
    command
        The command's name, for the envelope.
    result
        What the service returned.
    render
        Makes the tables of the result.
    as_json
        Print the JSON document instead of tables.
    inputs
        The files read.
    outputs
        What was written; the document goes there too, unless the command was told to write nothing.
    """
    from cxr_cli.services.envelope import keep_result

    document = keep_result(command, result, inputs, outputs)
    if as_json:
        from cxr_cli.data.files import json_text

        sys.stdout.write(_encodable(json_text(document)) + "\n")
    else:
        console = stdout()
        for index, item in enumerate(render(result)):
            if index:
                console.print()
            console.print(item)
    sys.stdout.flush()
    for path in outputs.written:
        saved(path)


def _encodable(document: str) -> str:
    """Escape in a JSON document what the encoding of stdout lacks; it can only stand inside strings."""
    try:
        document.encode(sys.stdout.encoding or "utf-8")
        return document
    except UnicodeEncodeError:
        import json

        return re.sub("[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], document)


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str | None = None,
    text_columns: int = 1,
    most: int | None = None,
    n_rows: int | None = None,
    if_any: Collection[str] = (),
) -> FittingTable:
    """Make a table in the house style: first `text_columns` columns left, the others right-aligned.

    Cells may be text, numbers (ints get thousands separators), None (shown as –) or rich Text. In a narrow terminal
    nothing is cut: text wraps, and a table that is still too wide comes in parts.

    Parameters
    ----------
    title, caption
        What stands above and below.
    columns, rows
        The headers and the cells below them.
    text_columns
        How many columns are text.
    most
        Show at most so many rows and say how many more the JSON has.
    n_rows
        How many rows there are, where `rows` does not hold all.
    if_any
        Columns that are left out where they hold zeros and nothing only.
    """
    lines = [[cell(item) for item in row] for row in rows]
    shown = [
        place
        for place, name in enumerate(columns)
        if name not in if_any or any(line[place].plain not in ("0", "–") for line in lines)
    ]
    columns, lines = [columns[place] for place in shown], [[line[place] for place in shown] for line in lines]
    left = 0 if most is None else (len(lines) if n_rows is None else n_rows) - most
    more = f"{left:,} more in --json" if left > 0 else None
    notes = "; ".join(note for note in (caption, more) if note) or None
    return FittingTable(
        title=None if title is None else printable(title),
        caption=None if notes is None else printable(notes),
        columns=[printable(name) for name in columns],
        rows=lines[:most],
        text_columns=sum(place < text_columns for place in shown),
    )


def cell(value: object) -> Text:
    """Make the text of one table cell."""
    if isinstance(value, Text):
        return value
    if value is None:
        return Text("–")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(f"{value:,}")
    return Text(printable(value if isinstance(value, str) else str(value)))


def three_digits(value: float | None) -> str:
    """Format a number with three significant digits.

    Examples
    --------
    >>> [three_digits(value) for value in (0.02, 0.894123, 1, 51.449, 1234.5)]
    ['0.0200', '0.894', '1.00', '51.4', '1,234']
    """
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def percent(fraction: float | None, digits: int = 1) -> str:
    """Format a fraction between 0 and 1 as a percentage: one digit; two for prevalences and fractions of a loss.

    These can be so small that one digit would not tell them apart.
    """
    return "–" if fraction is None or fraction != fraction else f"{100 * fraction:.{digits}f} %"


def counted(n: int, noun: str) -> str:
    """Say how many there are: "1 patient", "2 patients"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def size(n_bytes: int) -> str:
    """Format a number of bytes in the unit that suits it."""
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:,.2f} GB"
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:,.1f} kB"


def _say(mark: str, style: str, text: str) -> None:
    # When stderr is full or its reader gone, the work goes on: the exit code says how it ended.
    with contextlib.suppress(OSError):
        stderr().print(Text(mark, style=style) + Text(printable(text)))


def taken_as(uncertain: str) -> str:
    """Say what a policy for uncertain labels makes of them."""
    return "treated as unknown" if uncertain == "ignore" else f"treated as {uncertain}"


def note(text: str) -> None:
    """Say something on stderr that is worth knowing and harmless."""
    _say("note: ", "cyan", text)


def warn(text: str) -> None:
    """Say something on stderr that the user should act on or keep in mind."""
    _say("warning: ", "yellow", text)


@contextlib.contextmanager
def warnings_shown() -> Iterator[None]:
    """Say what the library warns of with Python's warnings as the command's own, each once; not where it is in code."""
    from cxr_cli.data.drawing import MissingGlyphWarning

    said: set[str] = set()
    show = warnings.showwarning

    def say(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, MissingGlyphWarning):
            show(message, category, filename, lineno, file, line)
        elif str(message) not in said:
            said.add(str(message))
            warn(str(message))

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=MissingGlyphWarning)
        warnings.showwarning = say
        yield


def error(text: str) -> None:
    """Say on stderr why the command could not do its work."""
    _say("error: ", "bold red", text)


def saved(path: Path | str) -> None:
    """Say on stderr that a file was written."""
    _say("saved ", "", str(path))


def _chatter() -> BinaryIO:
    try:
        import tempfile

        return tempfile.TemporaryFile()
    except OSError:  # a full disk is not a reason to give up here
        return open(os.devnull, "r+b")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what native libraries write to stderr while they load from the terminal; show it if loading fails.

    TensorFlow greets with lines on devices that no setting turns off.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with _chatter() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(terminal, chatter.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


@contextlib.contextmanager
def progress_bar(description: str, unit: str = "images") -> Iterator[Progress]:
    """Show a transient bar on stderr with count, rate and time left; nothing when stderr is not a terminal.

    Yields a function to call with (done, total).
    """
    if not gc.isenabled():  # see `cxr_cli.__main__`; all that long work makes is collected
        gc.freeze()
        gc.enable()
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    with Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=stderr(),
        transient=True,
    ) as bar:
        job = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(job, completed=done, total=total)
