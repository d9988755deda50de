"""The result of `report`: the content of the page, without its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cxr_cli.services.report.custody import Break
from cxr_cli.services.result import Result


@dataclass(frozen=True)
class ReportedTable(Result):
    """A table of the page.

    Attributes
    ----------
    caption
        Caption.
    columns
        Headers.
    rows
        Cells as they are printed.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ReportedRun(Result):
    """The contribution of one run of a command.

    Attributes
    ----------
    command
        The command line, or the command's name where it is unknown.
    result_file
        Path of its ``result.json``.
    sha256
        SHA-256 of that file.
    inputs
        Files the run read, and their SHA-256.
    facts
        Names and values as they are printed.
    tables
        Its tables.
    notes
        Notes for the reader.
    """

    command: str
    result_file: str
    sha256: str
    inputs: Mapping[str, str]
    facts: Mapping[str, str]
    tables: tuple[ReportedTable, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ReportedSection(Result):
    """A section of the page.

    Attributes
    ----------
    name
        Its anchor.
    title
        Its heading.
    runs
        What it is made from.
    fill_with
        The command that would fill it; null if it is filled.
    """

    name: str
    title: str
    runs: tuple[ReportedRun, ...]
    fill_with: str | None


@dataclass(frozen=True)
class ReportedItem(Result):
    """One item of a checklist.

    Attributes
    ----------
    number
        As in the checklist.
    topic
        What is to be reported.
    status
        "answered": in the sections named; "missing": not in the results; "write": only the authors can.
    sections
        Sections that answer it.
    commands
        Commands whose results would answer it.
    also_write
        The part that the authors must add.
    """

    number: str
    topic: str
    status: str
    sections: tuple[str, ...]
    commands: tuple[str, ...]
    also_write: str


@dataclass(frozen=True)
class ReportedChecklist(Result):
    """A checklist, item by item.

    Attributes
    ----------
    name
        "claim", "tripod-ai", "datasheet" or "model-card".
    title
        Its full name.
    doi
        Of its source.
    n_answered
        Items that the results answer.
    n_missing
        Items that a command would answer.
    n_to_write
        Items that only the authors can answer.
    items
        All of them.
    """

    name: str
    title: str
    doi: str
    n_answered: int
    n_missing: int
    n_to_write: int
    items: tuple[ReportedItem, ...]


@dataclass(frozen=True)
class ReportResult(Result):
    """The content of a report.

    Attributes
    ----------
    page
        Path of the page.
    n_runs
        Results it was made from.
    breaks
        Places where the chain of custody is broken; none if each step used what the step before it wrote.
    sections
        In the order of the pipeline.
    checklists
        Item by item.
    versions
        Versions of cxr that wrote the results, and how many results each wrote.
    ignored
        Files named like results that are none, and why.
    images_shown
        Whether images of patients are on the page.
    """

    page: str
    n_runs: int
    breaks: tuple[Break, ...]
    sections: tuple[ReportedSection, ...]
    checklists: tuple[ReportedChecklist, ...]
    versions: Mapping[str, int]
    ignored: Mapping[str, str]
    images_shown: bool
