"""What a report is made of, before it becomes HTML or Markdown: sections with facts, tables, figures and notes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table that can be copied into a paper.

    Attributes
    ----------
    caption
        Caption.
    columns
        Headers; the first column names the row.
    rows
        Cells as text.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A figure as SVG, without a title element that names fonts or dates.

    Attributes
    ----------
    caption
        Caption; also the alternative text.
    svg
        Markup of one ``<svg>`` element.
    """

    caption: str
    svg: str


@dataclass(frozen=True)
class Part:
    """The contribution of one run of a command.

    Attributes
    ----------
    source
        Where every number of it comes from: command, result file and the hashes of what it read.
    facts
        Pairs of a name and a value.
    tables, figures
        In order.
    notes
        Sentences that a reader must know: issues, warnings, bad news first.
    """

    source: Source
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where numbers come from.

    Attributes
    ----------
    command
        The command line as it can be typed again, or the command's name where it is unknown.
    path
        The result file.
    sha256
        Its hash.
    inputs
        Pairs of a file's path and its SHA-256.
    """

    command: str
    path: str
    sha256: str
    inputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes
    ----------
    name
        As in `checklists.FILLED_BY`; the anchor.
    title
        Its heading.
    parts
        One for each run.
    missing
        The command that would fill it, where no run does; None otherwise.
    """

    name: str
    title: str
    parts: tuple[Part, ...] = field(default=())
    missing: str | None = None
