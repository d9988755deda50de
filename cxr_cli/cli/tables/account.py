"""The table that says how a label table was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console
from cxr_cli.errors import in_terminal
from cxr_cli.errors import shown as shown_text

if TYPE_CHECKING:
    from cxr_cli.data.account import TableAccount

#: How many notes on columns that were not used are shown; the JSON has all of them.
_N_NOTES = 3


def account_table(account: TableAccount) -> RenderableType:
    """Say what became of every column, row and patient id."""
    if account.n_rows_used < account.n_rows:
        left = "; ".join(f"{why}: {count:,}" for why, count in account.rows_not_used.items())
        used = f"{account.n_rows_used:,} of {account.n_rows:,} ({left})"
    else:
        used = f"all {account.n_rows:,}"
    rows: list[tuple[str, object]] = [("rows used", used)]
    if account.aggregation:
        rows.append(("images", account.aggregation))
    patients = account.patients
    if account.patient_namespace:
        patients += f", numbered as in {account.patient_namespace}"
    why = "; ".join(f"{reason}: {count:,}" for reason, count in account.why_without_patient.items())
    rows.append(("patients", patients + (f" ({why})" if why else "")))
    labels = f"{account.labels}; blank = {account.blank}" if account.labels != "none" else "none"
    rows.append(("labels", labels))
    for use in ("image", "age", "sex", "view", "follow-up", "split", "reader", "findings", "no finding"):
        if account.named(use):
            rows.append((use, _some_columns(account.named(use))))
    for use, name in (("prediction", "predictions"), ("ignored", "not needed"), ("not used", "not used")):
        if account.named(use):
            rows.append((name, _some_columns(account.named(use))))
    unused = [column for column in account.columns if column.use == "not used"]
    notes = [f"{column.name}: {in_terminal(column.note)}" for column in unused if column.note]
    rows += [("", shown_text(note, 160)) for note in notes[:_N_NOTES]]
    rows += [("written as", text) for text in account.written_as]
    rows += [("joined", shown_text(path, 100)) for path in account.joined]
    rows += [("read as", f"{old} as {new}") for old, new in account.mapped.items()]
    return console.table("How the table was read", ["what", ""], rows, text_columns=2)


def _some_columns(names: Sequence[str], most: int = 8) -> str:
    listed = ", ".join(shown_text(name, 40) for name in names[:most])
    return listed + (f", … ({len(names):,} columns)" if len(names) > most else "")
