"""A report as tables: the chain of custody, what is on the page, and how far the checklists are answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.report.result import ReportResult


def tables_of(result: ReportResult) -> Iterator[RenderableType]:
    """Yield the tables of a report: bad news first."""
    if result.breaks:
        rows = [(item.kind, item.path, item.message.removeprefix(f"{item.path}: ")) for item in result.breaks]
        yield console.table("The chain of custody is broken", ("kind", "file", "problem"), rows, text_columns=3)
    sections = [(section.title, section.fill_with or "", len(section.runs) or None) for section in result.sections]
    yield console.table(
        f"Sections of {result.page}", ("section", "would be filled by", "results"), sections, text_columns=2
    )
    if result.checklists:
        yield console.table(
            "Checklists",
            ("checklist", "answered", "not in the results", "for you to write"),
            [(item.title, item.n_answered, item.n_missing, item.n_to_write) for item in result.checklists],
        )
