"""Removing leakage: cleaned copies of split tables, line for line as they were, and the check of what was written."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.choices import RemovalLevel, checked, choices
from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import LabelTable, read_again
from cxr_cli.errors import CxrError, UsageError, argument
from cxr_cli.services.check_leakage.result import (
    AffectedRows,
    CleanedSplit,
    LeakageReport,
    PairReport,
    PathologyLoss,
    Removal,
)

_LEVELS: tuple[RemovalLevel, ...] = choices(RemovalLevel)


def rows_to_remove(
    splits: Mapping[str, LabelTable],
    report: LeakageReport,
    order: Sequence[str],
    level: RemovalLevel = "exact-duplicates",
) -> dict[str, NDArray[np.bool_]]:
    """Choose the rows that have to go.

    Parameters
    ----------
    splits
        The label tables.
    report
        Result of `check_leakage` on them.
    order
        The splits to remove from, the preferred one first: of two splits that share something, the one that comes
        first loses it. What two splits share that are both not named stays.
    level
        ``patients``: rows of shared patients. ``exact-duplicates``: also shared image names and exactly equal
        images. ``near-duplicates``: also near duplicates. A patient is removed whole, because a copy under another id
        may well mean that both ids are one person.

    Returns
    -------
    dict
        For each split in `order`, which rows to remove: bool, shape (n_images,).

    Raises
    ------
    UsageError
        `order` names a split twice or one that does not exist.
    """
    checked(RemovalLevel, level, "level")
    if len(set(order)) != len(order) or not set(order) <= set(splits):
        raise UsageError(
            argument("remove_from", list(order), option=f"--remove-from {','.join(order)}"),
            expected=f"some of {', '.join(splits)}, each once",
        )
    gone = {name: np.zeros(splits[name].n_images, dtype=bool) for name in order}
    for pair in report.pairs:
        loser = next((name for name in order if name in (pair.first, pair.second)), None)
        if loser is None:
            continue
        for part in _affected(pair, level):
            if part.split == loser:
                gone[loser][list(part.rows)] = True
    return {name: _whole_patients(splits[name], rows) for name, rows in gone.items()}


def _affected(pair: PairReport, level: RemovalLevel) -> list[AffectedRows]:
    depth = _LEVELS.index(level)
    findings = [
        (0, pair.patients),
        (1, pair.names),
        (1, pair.exact_duplicates),
        (2, pair.near_duplicates),
    ]
    return [
        part
        for needed, found in findings
        if found is not None and needed <= depth
        for part in (found.first, found.second)
    ]


def _whole_patients(table: LabelTable, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    codes = table.patient_codes
    affected = np.zeros(len(table.patient_ids) + 1, dtype=bool)
    affected[codes[rows]] = True
    affected[-1] = False  # code -1: rows without patient go one by one
    return rows | affected[codes]


def remove_leakage(
    splits: Mapping[str, LabelTable],
    report: LeakageReport,
    order: Sequence[str],
    outputs: Outputs,
    check: Callable[[Mapping[str, LabelTable]], LeakageReport],
    level: RemovalLevel = "exact-duplicates",
    *,
    prepare: Callable[[Mapping[str, LabelTable]], Mapping[str, LabelTable]] | None = None,
) -> LeakageReport:
    """Write cleaned copies of split tables, read them back, and check them again from scratch.

    Parameters
    ----------
    splits, report, order, level
        See `rows_to_remove`.
    outputs
        Where the copies go, each under the file name of its original. Every remaining line is kept byte for byte.
        Splits that are parts of one table are written as one table, with the lines of the other splits as they are.
    check
        Checks the tables that were read back; called once with all splits, the cleaned ones in place of their
        originals.
    prepare
        Brings the tables that were read back to the form of those given, before they are checked: their patients may
        come from elsewhere.

    Returns
    -------
    LeakageReport
        The report given, with what was removed and the second report.

    Raises
    ------
    CxrError
        A split would lose all its rows; nothing is written then.
    OutputError
        A copy cannot be written, or would overwrite its original.
    """
    gone = rows_to_remove(splits, report, order, level)
    for name, rows in gone.items():
        if rows.all():
            raise CxrError(
                f"{splits[name].path}: nothing would be left of {name}",
                remedy="Remove from another split, or make the splits anew with 'cxr split'.",
            )
    written = _write(splits, gone, outputs)
    again: Mapping[str, LabelTable] = _read_back(splits, written)
    if prepare is not None:
        again = prepare(again)
    removal = Removal(
        removed_from=tuple(order),
        kinds=_LEVELS[: _LEVELS.index(level) + 1],
        splits=tuple(_cleaned(name, splits[name], again[name], gone[name]) for name in order),
        after=check(again),
    )
    return replace(report, removal=removal)


def _write(
    splits: Mapping[str, LabelTable], gone: Mapping[str, NDArray[np.bool_]], outputs: Outputs
) -> dict[Path, Path]:
    """Write each table from which rows go; return where each original's copy is."""
    targets: dict[Path, Path] = {}
    for name in gone:
        table = splits[name]
        if table.path in targets:
            continue
        if table.part is None:
            content = table.select(np.flatnonzero(~gone[name]).tolist())
            target = Path(name).parent / table.file_name
        else:
            parts = [other for other, part in splits.items() if part.path == table.path]
            content = table.raw.select(_kept_records(splits, parts, gone))
            target = Path(replace(table, part=None).file_name)
        if target in targets.values():  # the tables inside two folders have one name
            target = Path(name + "".join(Path(table.file_name).suffixes))
        targets[table.path] = target
        outputs.write_bytes(target, gzip.compress(content, mtime=0) if target.suffix.lower() == ".gz" else content)
    return {path: outputs.folder / target for path, target in targets.items()}


def _kept_records(
    splits: Mapping[str, LabelTable], parts: Sequence[str], gone: Mapping[str, NDArray[np.bool_]]
) -> list[int]:
    """Return the records of a table of which rows of some parts go: those that no part or any remaining row needs."""
    needed = np.ones(splits[parts[0]].raw.n_rows, dtype=bool)
    for wanted in (False, True):  # what goes first, then what stays, so that a record of both stays
        for name in parts:
            links = splits[name].links
            stays = ~gone.get(name, np.zeros(splits[name].n_images, dtype=bool))
            if links is not None:
                needed[links.records[stays[links.rows] == wanted]] = wanted
    kept: list[int] = np.flatnonzero(needed).tolist()
    return kept


def _read_back(splits: Mapping[str, LabelTable], written: Mapping[Path, Path]) -> dict[str, LabelTable]:
    """Read the copies, and the tables that have none, from scratch."""
    parts: dict[Path, Mapping[str, LabelTable]] = {}
    again: dict[str, LabelTable] = {}
    for name, table in splits.items():
        path = written.get(table.path, table.path)
        if table.part is None:
            again[name] = read_again(table, path)
            continue
        if table.path not in parts:
            parts[table.path] = read_again(table, path).parts()
        again[name] = parts[table.path][table.part]
    return again


def _cleaned(name: str, before: LabelTable, after: LabelTable, gone: NDArray[np.bool_]) -> CleanedSplit:
    losses = tuple(
        PathologyLoss(pathology, n_before, n_after)
        for pathology, n_before, n_after in zip(
            before.pathologies, *(table.counts.n_positive.tolist() for table in (before, after)), strict=True
        )
    )
    return CleanedSplit(
        name=name,
        path=str(after.path),
        n_images_before=before.n_images,
        n_images_after=after.n_images,
        n_patients_before=len(before.patient_ids),
        n_patients_after=len(after.patient_ids),
        rows_removed=tuple(np.flatnonzero(gone).tolist()),
        n_patients_removed=len(before.patient_ids) - len(after.patient_ids),
        pathologies=losses,
        lost_pathologies=tuple(
            loss.pathology for loss in losses if loss.n_positive_before and not loss.n_positive_after
        ),
    )
