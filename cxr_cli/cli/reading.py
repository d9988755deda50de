"""Reading a label table for a command, and saying what every command must say about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_cli.choices import ReadersPolicy, UncertainPolicy
from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.data.labels import LabelTable


def read_table(
    path: Path,
    *,
    schema: str | None,
    uncertain: UncertainPolicy,
    readers: ReadersPolicy = "any",
    columns: str | None = None,
    join: Sequence[Path] | None = None,
    map_pathologies: str | None = None,
    patient_pattern: str | None = None,
    allow_image_list: bool = False,
    allow_unsafe_names: bool = False,
    need_labels: bool = False,
    quiet: bool = False,
) -> LabelTable:
    """Read a label table with the options that commands share, and warn of what its reading left open.

    Parameters
    ----------
    quiet
        Leave the warnings out: the command shows the whole account.
    """
    from cxr_cli.data.labels import parse_mapping, read_labels

    table = read_labels(
        path,
        schema=schema,
        uncertain=uncertain,
        readers=readers,
        columns=columns,
        join=join or (),
        map_pathologies=None if map_pathologies is None else parse_mapping(map_pathologies),
        patient_pattern=patient_pattern,
        allow_image_list=allow_image_list,
        allow_unsafe_names=allow_unsafe_names,
        need_labels=need_labels,
    )
    if not quiet:
        say_reading(table)
    return table


def with_split(columns: str | None, split_column: str | None) -> str | None:
    """Return ``--columns`` with what ``--split-column`` adds to it."""
    if split_column is None:
        return columns
    said = f"split={split_column}"
    return said if columns is None else f"{columns},{said}"


def say_reading(table: LabelTable) -> None:
    """Say how rows became images, and warn of every column, row or patient id that was left open."""
    if table.account.aggregation:
        console.note(f"{table.path}: {table.account.aggregation}")
    for text in table.warnings():
        console.warn(f"{table.path}: {text}")
