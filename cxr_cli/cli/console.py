"""The two streams: the result on stdout, everything else on stderr.

A pipe or a log gets no colour, no progress bar and no cut-off cells. JSON never goes through rich, which
would wrap it inside strings.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cxr_cli import __version__

if TYPE_CHECKING:
    from cxr_cli.data.files import InputFile
    from cxr_cli.services.result import Result

#: Version of the envelope and the results in it: raised when a name changes, not when one is added.
SCHEMA_VERSION = 1

#: Told how many of how many steps are done; what services take as `progress`.
Progress = Callable[[int, int], None]


def _console(stream: IO[str]) -> Console:
    # Rich takes 80 columns for a pipe and cuts cells to fit; a wide console lets a table keep its natural width.
    piped = not stream.isatty() and not os.environ.get("COLUMNS")
    return Console(
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
    outputs: Sequence[Path] = (),
) -> None:
    """Print a result on stdout: its tables, or exactly one JSON document; then list on stderr what was saved.

    Parameters
    ----------
    command
        The command's name, for the envelope.
    result
        What the service returned.
    render
        Makes the tables of the result.
    as_json
        Print the envelope instead of tables.
    inputs, outputs
        The files read and written.
    """
    if as_json:
        from cxr_cli.data.files import json_text

        sys.stdout.write(json_text(envelope(command, result, inputs, outputs)) + "\n")
    else:
        console = stdout()
        for index, item in enumerate(render(result)):
            if index:
                console.print()
            console.print(item)
    sys.stdout.flush()
    for path in outputs:
        saved(path)


def envelope(command: str, result: Result, inputs: Sequence[InputFile], outputs: Sequence[Path] = ()) -> dict[str, Any]:
    """Wrap a result as the JSON document of its command."""
    from cxr_cli.services.result import plain

    return {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "cxr_version": __version__,
        "inputs": plain(list(inputs)),
        "outputs": plain(list(outputs)),
        "result": result.to_dict(),
    }


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str | None = None,
    text_columns: int = 1,
) -> Table:
    """Make a table in the house style: first `text_columns` columns left, the others right-aligned.

    Cells may be text, numbers (ints get thousands separators), None (shown as –) or rich Text. Long cells
    are folded in a narrow terminal, never cut.
    """
    made = Table(
        title=None if title is None else Text(title, style="bold"),
        caption=None if caption is None else Text(caption),
        title_justify="left",
        caption_justify="left",
        header_style="bold",
    )
    for index, name in enumerate(columns):
        made.add_column(Text(name), justify="left" if index < text_columns else "right", overflow="fold", no_wrap=False)
    for row in rows:
        made.add_row(*(cell(item) for item in row))
    return made


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
    return Text(str(value))


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share between 0 and 1 as a percentage."""
    return "–" if share is None or share != share else f"{100 * share:.{digits}f} %"


def note(text: str) -> None:
    """Say something on stderr that is worth knowing and no cause for alarm."""
    stderr().print(Text("note: ", style="cyan") + Text(text))


def warn(text: str) -> None:
    """Say something on stderr that the user should act on or keep in mind."""
    stderr().print(Text("warning: ", style="yellow") + Text(text))


def error(text: str) -> None:
    """Say on stderr why the command could not do its work."""
    stderr().print(Text("error: ", style="bold red") + Text(text))


def saved(path: Path | str) -> None:
    """Say on stderr that a file was written."""
    stderr().print(Text(f"saved {path}"))


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what native libraries write to stderr while they load from the terminal; show it if loading fails.

    TensorFlow greets with lines on devices that no setting turns off.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
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
    """Show a transient bar on stderr with count, rate and time left; nothing when stderr is no terminal.

    Yields a function to call with (done, total).
    """
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
