"""Several files read as one table: MIMIC's labels, metadata and split, RSNA's labels and DICOM headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.files import InputFile
from cxr_cli.data.schemas import Schema, Source
from cxr_cli.data.schemas.vocabulary import fold
from cxr_cli.data.tables import RawTable, read_table
from cxr_cli.errors import LabelTableError, UsageError, argument, shown


@dataclass(frozen=True)
class Joined:
    """Cells with the columns of further files.

    Attributes
    ----------
    cells
        One row a record, or one an image where a file adds images.
    records
        The record of each row, where a file adds images; None where row i is record i.
    sources
        The further files.
    not_used
        Records that describe no row, by reason.
    issues
        Kind, message and count of what is worth saying.
    columns
        The columns that each further file brought.
    """

    cells: pd.DataFrame
    records: NDArray[np.int64] | None
    sources: tuple[InputFile, ...]
    not_used: dict[str, int]
    issues: tuple[tuple[str, str, int], ...]
    columns: tuple[tuple[str, ...], ...]

    def described(self) -> tuple[str, ...]:
        """Return each further file with the columns that it brought."""
        return tuple(
            f"{source.path}: {', '.join(columns)}" for source, columns in zip(self.sources, self.columns, strict=True)
        )


def join_sources(raw: RawTable, cells: pd.DataFrame, schema: Schema, paths: Sequence[Path]) -> Joined:
    """Join the files of a data set to its label table.

    Raises
    ------
    LabelTableError
        A file that is needed is missing.
    UsageError
        A file is given that does not belong to the table.
    """
    tables = [(path, read_table(path)) for path in paths]
    found: list[tuple[Source, RawTable]] = []
    left = list(tables)
    for source in schema.sources:
        match = next((item for item in left if _fits(item[1], source, found)), None)
        if match is not None:
            left.remove(match)
            found.append((source, match[1]))
    missing = [
        source.title for source in schema.sources if source.needed and all(source is not one for one, _ in found)
    ]
    if missing:
        raise LabelTableError(
            f"{raw.path}: {schema.title.partition(' (')[0]} is read together with {' and '.join(missing)}",
            expected=f"{len(missing)} more file{'s' if len(missing) > 1 else ''}",
            remedy=" ".join(["Give"] + [f"{argument('join')} {title}" for title in missing]) + ".",
        )
    if left:
        titles = " and ".join(source.title for source in schema.sources)
        what = (
            f"{schema.title.partition(' (')[0]} is joined with {titles}" if titles else "it is not joined with others"
        )
        raise UsageError(
            f"{argument('join')} {left[0][0]}: does not belong to {raw.path}, which was read as {schema.name}",
            expected=what,
        )
    records: NDArray[np.int64] | None = None
    not_used: dict[str, int] = {}
    issues: list[tuple[str, str, int]] = []
    for source, table in found:
        if source.adds_images:
            cells, records = _add_images(cells, table, source, not_used, issues)
        else:
            cells = _add_columns(cells, table, source, issues)
    return Joined(
        cells,
        records,
        tuple(table.source for _, table in found),
        not_used,
        tuple(issues),
        tuple(source.columns for source, _ in found),
    )


def _fits(table: RawTable, source: Source, taken: Sequence[tuple[Source, RawTable]]) -> bool:
    present = {fold(name) for name in table.header}
    return all(fold(name) in present for name in source.required)


def _keys(source: Source) -> tuple[list[str], list[str]]:
    pairs = [key.partition("=") for key in source.on]
    return [one for one, _, _ in pairs], [other or one for one, _, other in pairs]


def _read(table: RawTable, source: Source) -> pd.DataFrame:
    """Read the columns of a further file that are used, under the names that the schema gives them."""
    actual = {fold(name): name for name in table.names}
    _, keys = _keys(source)
    wanted = list(dict.fromkeys((*keys, *source.columns)))
    frame = table.frame({}, [actual[fold(name)] for name in wanted])
    return frame.rename(columns={actual[fold(name)]: name for name in wanted})


def _add_images(
    cells: pd.DataFrame,
    table: RawTable,
    source: Source,
    not_used: dict[str, int],
    issues: list[tuple[str, str, int]],
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    images = _read(table, source)
    keys, _ = _keys(source)
    actual = {fold(name): name for name in cells.columns}
    label_keys = cells[[actual[fold(key)] for key in keys]].set_axis(keys, axis=1)
    repeated = label_keys.duplicated().to_numpy()
    if repeated.any():
        issues.append(
            ("contradicting-rows", "studies with several rows of labels: the first is taken", int(repeated.sum()))
        )
    numbered = label_keys.loc[~repeated].assign(_record=np.flatnonzero(~repeated))
    merged = images.merge(numbered, on=keys, how="left", sort=False)
    known = merged["_record"].notna().to_numpy()
    if not known.any():
        raise LabelTableError(
            f"{table.path}: names no image of the studies in the label table",
            remedy="Check that both files are of the same data set.",
        )
    if not known.all():
        issues.append(
            (
                "images-without-labels",
                f"images in {table.path.name} whose study the label table does not name: left out",
                int((~known).sum()),
            )
        )
    records = merged["_record"].to_numpy()[known].astype(np.int64)
    without = len(cells) - len(np.unique(records)) - int(repeated.sum())
    if repeated.any():
        not_used["study named by an earlier row"] = int(repeated.sum())
    if without:
        not_used["study without an image"] = without
        issues.append(("studies-without-images", f"studies without an image in {table.path.name}: not used", without))
    added = merged.loc[known, list(images.columns)].reset_index(drop=True)
    # Columns of labels stay behind: they are read already, once a study.
    return added, records


def _add_columns(
    cells: pd.DataFrame, table: RawTable, source: Source, issues: list[tuple[str, str, int]]
) -> pd.DataFrame:
    more = _read(table, source)
    keys, theirs = _keys(source)
    actual = {fold(name): name for name in cells.columns}
    mine: Any = cells[[actual[fold(key)] for key in keys]].set_axis(theirs, axis=1)
    more = more.drop_duplicates(subset=theirs)
    merged = mine.merge(more.assign(_there=True), on=theirs, how="left", sort=False)
    lacking = int(merged["_there"].isna().sum())
    if lacking == len(merged):
        raise LabelTableError(
            f"{table.path}: names none of the rows of the label table (its {shown(theirs[0])} matches none)",
            remedy="Check that both files are of the same data set.",
        )
    if lacking:
        issues.append(
            ("rows-not-joined", f"rows that {table.path.name} does not name: nothing joined to them", lacking)
        )
    added = {name: merged[name].to_numpy() for name in source.columns}
    return cells.assign(**added)
