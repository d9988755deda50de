"""What ``cxr check-leakage`` says on stderr about its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxr_cli.cli import console
from cxr_cli.errors import in_terminal

if TYPE_CHECKING:
    from cxr_cli.services.check_leakage.result import LeakageReport


def say(report: LeakageReport) -> None:
    """Say what is worth knowing, and warn of what the user should act on."""
    for split in report.splits:
        if split.n_uncertain:
            console.note(f"{split.name}: {split.n_uncertain:,} uncertain labels, {console.taken_as(split.uncertain)}")
        for note in (*split.notes, *(() if split.image_check is None else split.image_check.notes)):
            console.note(f"{split.name}: {in_terminal(note)}")
    if report.thresholds is None:
        console.note("images were not compared; --images DIR finds copies under other names and patient ids")
    for text in report.notes:
        console.note(text)
    final = report if report.removal is None else report.removal.after
    for item in final.unchecked:
        console.warn(f"not checked: {item.split}: {item.what}: {item.count:,}")
    for cleaned in () if report.removal is None else report.removal.splits:
        if cleaned.lost_pathologies:
            console.warn(f"{cleaned.name} lost all positives of {', '.join(cleaned.lost_pathologies)}")
