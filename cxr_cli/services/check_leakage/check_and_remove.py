"""The whole of check-leakage: compare splits, remove what they share, and compare what was written again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_cli.choices import RemovalLevel
from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.patient_map import PatientMap
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.header_patients import with_header_patients
from cxr_cli.services.check_leakage.hide_ids import hide_ids as hidden
from cxr_cli.services.check_leakage.hide_ids import salt_of
from cxr_cli.services.check_leakage.remove import remove_leakage
from cxr_cli.services.check_leakage.result import LeakageReport, Thresholds

if TYPE_CHECKING:
    from cxr_cli.services.check_leakage.fingerprints import FingerprintCache
    from cxr_cli.services.check_leakage.split_images import SplitImages
    from cxr_cli.services.parallel import Workers


def check_and_remove(
    splits: Mapping[str, LabelTable],
    folders: Mapping[str, Path] | Path | str | None = None,
    *,
    thresholds: Thresholds | None = None,
    remove_from: Sequence[str] = (),
    remove: RemovalLevel = "exact-duplicates",
    outputs: Outputs | None = None,
    plots: bool = False,
    hide_ids: bool = False,
    same_patients: bool = False,
    patient_map: PatientMap | None = None,
    cache: FingerprintCache | None = None,
    executor: Executor | Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LeakageReport:
    """Compare splits; on demand write cleaned copies of some of them, and compare these again from scratch.

    Parameters
    ----------
    splits
        Two or more label tables by name.
    folders
        Image folder of each split, or one for all; None compares tables only.
    thresholds
        From when on images count as near duplicates. Default: `Thresholds()`.
    remove_from
        Splits to write cleaned copies of. If two of them share something, it is removed from the one named first.
    remove
        Kind of leakage to remove; each level includes those before it. See `remove.rows_to_remove`.
    outputs
        Where copies and plots are written; ``outputs.written`` lists them. Needed for `remove_from` and `plots`.
    plots
        Write ``split-sizes.png`` and, if there are any, the pairs of near duplicates side by side.
    hide_ids
        Replace patient ids and image names by salted hashes, in the result and in plots.
    same_patients
        Equal patient ids are the same patient even if the tables do not show that they are numbered alike.
    patient_map
        Who is who across data sets.
    cache, executor, progress
        See `fingerprints.fingerprint_images`.

    Returns
    -------
    LeakageReport
        Its `removal` holds what was removed, and the report on the files read back.

    Raises
    ------
    UsageError
        There are fewer than two splits, `remove_from` names one that does not exist, or `outputs` is missing.
    ImageError
        A folder cannot be read, or it is not certain which file an image name means.
    CxrError
        A split would lose all its rows; nothing is written then.
    OutputError
        A file cannot be written, or would overwrite an input.

    Examples
    --------
    >>> from cxr_cli.data.labels import read_labels
    >>> tables = {name: read_labels(f"sample_data/{name}-small.csv") for name in ("train", "valid")}
    >>> check_and_remove(tables, hide_ids=True).pairs[0].patients.n_patients
    5
    """
    if outputs is None and (remove_from or plots):
        raise UsageError("check_and_remove without outputs", expected="Outputs for what it writes")
    if isinstance(folders, str | Path):
        folders = dict.fromkeys(splits, Path(folders))
    places = dict(folders or {})
    if places and cache is None and remove_from:
        from cxr_cli.services.check_leakage.fingerprints import FingerprintCache

        cache = FingerprintCache()  # what is compared again is not read again

    def with_patients(tables: Mapping[str, LabelTable]) -> Mapping[str, LabelTable]:
        if patient_map is not None:
            tables = {name: patient_map.apply(table)[0] for name, table in tables.items()}
        return with_header_patients(tables, places, executor=executor) if places else tables

    def compare(tables: Mapping[str, LabelTable]) -> tuple[LeakageReport, SplitImages | None]:
        images = None
        if places:
            from cxr_cli.services.check_leakage.split_images import fingerprint_splits

            images = fingerprint_splits(tables, places, executor=executor, cache=cache, progress=progress)
        return check_leakage(tables, images, thresholds, same_patients=same_patients), images

    uses = () if patient_map is None else _uses(splits, patient_map)
    splits = with_patients(splits)
    report, images = compare(splits)
    report = replace(report, notes=(*uses, *report.notes))
    if remove_from and outputs is not None:
        report = remove_leakage(
            splits,
            report,
            remove_from,
            outputs,
            lambda tables: compare(tables)[0],
            remove,
            prepare=with_patients,
        )
    if plots and outputs is not None:
        _write_plots(report, splits, images, outputs, hide_ids)
    return hidden(report, salt_of(splits)) if hide_ids else report


def _uses(splits: Mapping[str, LabelTable], patient_map: PatientMap) -> tuple[str, ...]:
    """Say how a map of patients is used for each split, in sentences.

    Raises
    ------
    InputError
        The map names nothing that is in any split.
    """
    notes = []
    for name, table in splits.items():
        _, use = patient_map.apply(table)
        if use is not None:
            notes.append(
                f"{name}: the patients of {use.n_mapped:,} of {table.n_images:,} rows come from "
                f"{patient_map.path.name} ({use.by} in column {use.column}, patients from column {use.target})"
            )
    if not notes:
        raise InputError(
            f"{patient_map.path}: names no image and no patient of {', '.join(splits)}",
            expected=f"some of them in a column ({', '.join(patient_map.columns)})",
            remedy="Check that it is the map of these data sets.",
        )
    return tuple(notes)


def _write_plots(
    report: LeakageReport,
    splits: Mapping[str, LabelTable],
    images: SplitImages | None,
    outputs: Outputs,
    hide_ids: bool,
) -> None:
    from cxr_cli.plots.check_leakage import near_duplicate_sheet, split_sizes

    outputs.write_figure("split-sizes.png", split_sizes(report))
    if images is None:
        return
    from cxr_cli.services.check_leakage.pair_images import pair_images

    pairs = pair_images(report, splits, images)
    if hide_ids:
        salt = salt_of(splits)
        pairs = [replace(item, pair=hidden(item.pair, salt)) for item in pairs]
    if pairs:
        outputs.write_figure("near-duplicates.png", near_duplicate_sheet(pairs))
