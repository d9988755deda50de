"""Reading a label table for a command, and saying what every command must say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_cli.cli import console
from cxr_cli.errors import UsageError, argument, in_terminal

if TYPE_CHECKING:
    from cxr_cli.cli.table_options import TableOptions
    from cxr_cli.data.labels import LabelTable


def read_table(
    path: Path,
    how: TableOptions,
    *,
    allow_image_list: bool = False,
    allow_unsafe_names: bool = False,
    need_labels: bool = False,
    quiet: bool = False,
) -> LabelTable:
    """Read a label table with the options that commands share, and warn of what its reading left open.

    Parameters
    ----------
    path
        The table.
    how
        The options.
    allow_image_list, allow_unsafe_names, need_labels
        As in `cxr_cli.data.labels.read_labels`.
    quiet
        Leave the warnings out: the command shows the whole account.
    """
    from cxr_cli.data.labels import parse_mapping, read_labels

    table = read_labels(
        path,
        schema=how.schema,
        uncertain=how.uncertain,
        readers=how.readers,
        columns=how.columns,
        join=how.join or (),
        map_pathologies=None if how.map_pathologies is None else parse_mapping(how.map_pathologies),
        patient_pattern=how.patient_pattern,
        allow_image_list=allow_image_list,
        allow_unsafe_names=allow_unsafe_names,
        need_labels=need_labels,
    )
    if not quiet:
        say_reading(table)
    return table


def say_reading(table: LabelTable) -> None:
    """Say how rows became images, and warn of every column, row or patient id that was left open."""
    if table.account.aggregation:
        console.note(f"{table.path}: {table.account.aggregation}")
    for text in table.warnings():
        console.warn(f"{table.path}: {in_terminal(text)}")


def read_splits(arguments: Sequence[Path], split_column: str | None, how: TableOptions) -> dict[str, LabelTable]:
    """Read split tables by name, or the parts of one table that has a column of splits.

    Parameters
    ----------
    arguments
        Files, folders or short names, see `cxr_cli.cli.arguments.find_split`.
    split_column
        Column whose values are splits; None takes one that is named so.
    how
        How each table is read.
    """
    from cxr_cli.cli.arguments import find_split, refuse_same_file, split_names

    paths = [find_split(given) for given in arguments]
    refuse_same_file(paths)
    for given, path in zip(arguments, paths, strict=True):
        if given != path or path.is_dir():
            console.note(f"{given} is {'the folder ' if path.is_dir() else ''}{path}")
    if split_column is not None:
        said = f"split={split_column}"
        how = replace(how, columns=said if how.columns is None else f"{how.columns},{said}")
    try:
        tables = {
            name: read_table(path, how, allow_image_list=True, quiet=True)
            for name, path in zip(split_names(arguments), paths, strict=True)
        }
    except UsageError as error:
        what, expected, remedy = error.args
        typed = argument("split_column", split_column)
        raise UsageError(
            what.replace(f"{argument('columns')} split={split_column}", typed), expected=expected, remedy=remedy
        ) from error
    if len(tables) > 1:
        return tables
    (table,) = tables.values()
    parts: dict[str, LabelTable] = table.parts()
    if len(parts) < 2:
        raise UsageError(
            f"{table.path}: its column of splits holds one value"
            if parts
            else f"{table.path}: one split given, and the table has no column of splits",
            expected="two or more splits: cxr check-leakage train.csv valid.csv",
            remedy="Name the column of splits with --split-column.",
        )
    column = table.account.named("split")[0]
    console.note(f"the splits of {table.path} are the values of its column {column}: {', '.join(parts)}")
    return parts


def splits_of(arguments: Sequence[Path]) -> list[Path]:
    """Return the splits given, or those that lie in the only folder given: ``train/``, ``test/`` and so on."""
    from cxr_cli.cli.arguments import split_folders

    if len(arguments) == 1 and (found := split_folders(arguments[0])):
        console.note(f"the splits of {arguments[0]} are its folders {', '.join(path.name for path in found)}")
        return found
    return list(arguments)


def folders_of(
    tables: Mapping[str, LabelTable], arguments: Sequence[Path], images: Sequence[Path] | None
) -> dict[str, Path]:
    """Return the image folder of each split; none where images are not to be compared.

    Parameters
    ----------
    tables, arguments
        The splits and what they were read from. Where all of these are folders, their images are compared unasked.
    images
        What ``--images`` names: one folder, or one per split.

    Raises
    ------
    UsageError
        Neither one folder nor as many as there are splits.
    ImageError
        A folder does not exist.
    """
    from cxr_cli.cli.arguments import find_split
    from cxr_cli.data.folders import find_image_folder

    if not images:
        own = [find_split(given) for given in arguments]
        folders = own if len(own) == len(tables) else own * len(tables)  # the parts of one table
        return dict(zip(tables, folders, strict=True)) if all(folder.is_dir() for folder in own) else {}
    if len(images) not in (1, len(tables)):
        raise UsageError(
            f"--images given {len(images)} times", expected=f"once, or {len(tables)} times, once per split"
        )
    folders = list(images) * len(tables) if len(images) == 1 else list(images)
    for table, folder in zip(tables.values(), folders, strict=True):
        find_image_folder(table.path, folder)  # says what is wrong with it
    return dict(zip(tables, folders, strict=True))
