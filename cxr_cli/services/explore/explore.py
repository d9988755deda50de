"""Describe a label table and its images: counts, distributions, co-occurrences, shortcuts, issues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.errors import UsageError, argument
from cxr_cli.services.explore.dicom import survey_headers
from cxr_cli.services.explore.images import ImageCheck, ImageTask, survey_files
from cxr_cli.services.explore.result import (
    AgeFacts,
    ColumnFacts,
    Combination,
    CoOccurrence,
    ExploreResult,
    ImageSurvey,
    LabelFacts,
    Pair,
    PathologyFacts,
    PatientFacts,
    Row,
    TableFacts,
)
from cxr_cli.services.explore.subgroups import CodedLabels, break_down, count_distinct, far_commoner, share
from cxr_cli.services.metrics.prevalence import prevalence_interval
from cxr_cli.services.parallel import Workers

if TYPE_CHECKING:
    from cxr_cli.data.files import Outputs
    from cxr_cli.data.folders import LocatedImages
from cxr_cli.data.labels import LabelTable

#: Age groups in years, each from its bound up to the next: children, then bands of twenty years.
AGE_BOUNDS = (0, 18, 40, 60, 80)
AGE_GROUPS = ("0-17", "18-39", "40-59", "60-79", "80+")
#: How many rows, patients, combinations and missing files are listed; counts are always whole.
N_FIRST_ROWS = 5
N_LISTED = 10


def explore(
    table: LabelTable,
    image_folder: Path | None = None,
    *,
    n_images: int = 9,
    seed: int = 0,
    check_images: bool = False,
    window: str | None = None,
    executor: Executor | Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
    outputs: Outputs | None = None,
) -> ExploreResult:
    """Describe a label table and, if there is a folder, its images.

    Parameters
    ----------
    table
        From `cxr_cli.data.labels.read_labels`.
    image_folder
        Where the images are, flat or nested (`cxr_cli.data.folders.find_image_folder` looks beside the table);
        None leaves images out.
    n_images
        How many images to open, drawn at random.
    seed
        Random seed; the same seed draws the same images.
    check_images
        Open every image, not only the sample.
    window
        Of DICOM images, in place of their own: ``centre,width`` or ``full``.
    executor
        Where images are opened; None opens them here, one after the other. See
        `cxr_cli.services.parallel.Workers`.
    progress
        Called with (done, total) as images are opened.
    outputs
        Where plots are written; None writes none.

    Raises
    ------
    UsageError
        `n_images` or `seed` is negative.
    ImageError
        The image folder cannot be read. (A single image that cannot be opened is not an error; it is counted.)
    """
    if n_images < 0 or seed < 0:
        raise UsageError(f"{argument('n_images', n_images)}, {argument('seed', seed)}", expected="0 or more")
    columns = [table.frame[name].to_numpy() for name in table.pathologies]
    data = CodedLabels.of(table.pathologies, columns, table.patient_codes)
    groups = _groups(table)
    breakdowns = {attribute: break_down(data, *groups[attribute]) for attribute in groups}
    result = ExploreResult(
        table=_table_facts(table, data),
        patients=_patient_facts(table) if table.has_patients else None,
        pathologies=_pathology_facts(table, data),
        labels=_label_facts(table, data),
        co_occurrence=_co_occurrence(data),
        age=_age_facts(table.frame["age"].to_numpy(dtype=np.float64)) if table.has("age") else None,
        by_view=breakdowns.get("view"),
        by_sex=breakdowns.get("sex"),
        by_age=breakdowns.get("age"),
        differences=tuple(
            difference for attribute in groups for difference in far_commoner(data, *groups[attribute], attribute)
        ),
        images=None
        if image_folder is None
        else _survey(table, data, image_folder, n_images, seed, check_images, window, executor, progress),
        issues=table.issues,
        account=table.account,
        seed=seed,
    )
    if outputs is not None and outputs.plots:
        from cxr_cli.plots.explore import figures

        for name, figure in figures(result):
            outputs.write_figure(f"{name}.png", figure)
    return result


def _table_facts(table: LabelTable, data: CodedLabels) -> TableFacts:
    n_duplicates = _n_duplicates(table)
    first = table.frame.iloc[:N_FIRST_ROWS]
    return TableFacts(
        path=str(table.path),
        schema=table.schema,
        n_rows=table.account.n_rows,
        n_columns=len(table.columns),
        n_null_cells=table.n_null_cells,
        columns=tuple(map(ColumnFacts, table.columns, table.column_types, table.null_cells)),
        uncertain=table.uncertain,
        n_uncertain=table.n_uncertain,
        n_images=table.n_images - n_duplicates,
        n_duplicates=n_duplicates,
        first_rows=tuple(
            Row(str(image), patient if isinstance(patient, str) else None, data.findings(row))
            for row, (image, patient) in enumerate(zip(first["image"], first["patient_id"], strict=True))
        ),
    )


def _n_duplicates(table: LabelTable) -> int:
    return sum(issue.count for issue in table.issues if issue.kind == "duplicate-image")


def _patient_facts(table: LabelTable) -> PatientFacts:
    codes = table.patient_codes
    n_images = np.bincount(codes[codes >= 0], minlength=len(table.patient_ids))
    with_maximum = np.flatnonzero(n_images == n_images.max())
    return PatientFacts(
        n_patients=len(n_images),
        n_without_patient=int((codes < 0).sum()),
        images_per_patient=_tally(n_images),
        mean=float(n_images.mean()),
        median=float(np.median(n_images)),
        maximum=int(n_images.max()),
        patients_with_maximum=tuple(table.patient_ids[code] for code in with_maximum[:N_LISTED]),
    )


def _tally(values: NDArray[np.integer[Any]]) -> dict[int, int]:
    """Count how often each value occurs, in ascending order of the values."""
    counts = np.bincount(values)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _pathology_facts(table: LabelTable, data: CodedLabels) -> tuple[PathologyFacts, ...]:
    counts = table.counts
    odds = share(counts.n_negative, counts.n_positive)
    low, high = prevalence_interval(table.labels, _clusters(table.patient_codes))
    return tuple(
        PathologyFacts(
            pathology=pathology,
            n_positive=int(counts.n_positive[column]),
            n_negative=int(counts.n_negative[column]),
            n_unknown=int(counts.n_unknown[column]),
            prevalence=float(counts.prevalence[column]),
            prevalence_low=float(low[column]),
            prevalence_high=float(high[column]),
            n_patients=count_distinct(data.patients[data.positive[:, column][data.codes]]),
            negatives_per_positive=float(odds[column]),
        )
        for column, pathology in enumerate(data.pathologies)
    )


def _clusters(patient_codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the patient of each image, an image without one being a patient of its own."""
    codes = np.array(patient_codes, np.int64)
    unknown = np.flatnonzero(codes < 0)
    codes[unknown] = codes.max(initial=-1) + 1 + np.arange(len(unknown))
    return codes


def _label_facts(table: LabelTable, data: CodedLabels) -> LabelFacts:
    n_images = data.n_images()[0].astype(np.int64)
    n_labels = data.positive.sum(axis=1)
    # Combinations that differ only in what is unknown are one set of findings.
    found, places = np.unique(data.positive, axis=0, return_inverse=True)
    counts = np.bincount(places.reshape(-1), weights=n_images).astype(np.int64)
    commonest = np.argsort(-counts, kind="stable")[:N_LISTED]
    per_image = np.bincount(n_labels, weights=n_images).astype(np.int64)
    return LabelFacts(
        n_pathologies=len(data.pathologies),
        n_labels=int(n_images @ n_labels),
        per_image={number: int(count) for number, count in enumerate(per_image) if count},
        mean_per_image=float(n_images @ n_labels / len(data.codes)),
        n_without_finding=int(per_image[:1].sum()),
        n_with_one=int(per_image[1:2].sum()),
        n_with_several=int(per_image[2:].sum()),
        n_unlabelled=int(n_images[~data.known.any(axis=1)].sum()),
        n_combinations=len(counts),
        n_combinations_written=table.n_findings_written,
        combinations=tuple(Combination(data.names(found[place]), int(counts[place])) for place in commonest),
    )


def _co_occurrence(data: CodedLabels) -> CoOccurrence:
    n_images = data.n_images()[0]
    positive, known = data.positive.astype(np.float64), data.known.astype(np.float64)
    weighted = positive.T * n_images
    both, n_positive = weighted @ positive, weighted.sum(axis=1)
    positive_where_known, both_known = weighted @ known, (known.T * n_images) @ known
    pairs = [
        Pair(
            first=data.pathologies[one],
            second=data.pathologies[other],
            n_images=int(both[one, other]),
            fraction_of_first=float(both[one, other] / n_positive[one]),
            fraction_of_second=float(both[one, other] / n_positive[other]),
            lift=float(
                both[one, other]
                * both_known[one, other]
                / (positive_where_known[one, other] * positive_where_known[other, one])
            ),
        )
        for one, other in np.argwhere(np.triu(both, k=1) > 0).tolist()
    ]
    return CoOccurrence(
        pathologies=data.pathologies,
        n_images=tuple(tuple(int(count) for count in row) for row in both),
        pairs=tuple(sorted(pairs, key=lambda pair: -pair.n_images)),
    )


def _age_facts(ages: NDArray[np.float64]) -> AgeFacts:
    known = ages[~np.isnan(ages)]
    some = known if len(known) else np.array([np.nan])
    return AgeFacts(
        n_known=len(known),
        n_unknown=len(ages) - len(known),
        minimum=float(some.min()),
        maximum=float(some.max()),
        mean=float(some.mean()),
        std=float(some.std()),
        median=float(np.median(some)),
        n_under_18=int((known < 18).sum()),
        n_over_100=int((known > 100).sum()),
        by_decade={10 * tens: count for tens, count in _tally((known // 10).astype(np.int64)).items()},
    )


def _groups(table: LabelTable) -> dict[str, tuple[NDArray[np.int64], Sequence[str]]]:
    """Return group codes and group names for each attribute that the table has."""
    groups: dict[str, tuple[NDArray[np.int64], Sequence[str]]] = {}
    for attribute in ("view", "sex"):
        if table.has(attribute):
            groups[attribute] = _codes(table.frame[attribute])
    if table.has("age"):
        ages = table.frame["age"].to_numpy(dtype=np.float64)
        codes = np.searchsorted(AGE_BOUNDS, ages, side="right") - 1
        groups["age"] = np.where(np.isnan(ages), -1, codes), AGE_GROUPS
    return groups


def _codes(column: Any) -> tuple[NDArray[np.int64], Sequence[str]]:
    """Return a number for each value of a column of categories, the commonest first, and the values; missing is -1."""
    codes, values = column.cat.codes.to_numpy(), column.cat.categories
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = [code for code in np.argsort(-counts, kind="stable").tolist() if counts[code]]
    places = np.full(len(values) + 1, -1, dtype=np.int64)  # the last is what code -1 finds
    places[order] = np.arange(len(order))
    return places[codes], [str(values[code]) for code in order]


def _survey(
    table: LabelTable,
    data: CodedLabels,
    folder: Path,
    n_images: int,
    seed: int,
    every: bool,
    window: str | None,
    executor: Executor | Workers | None,
    progress: Callable[[int, int], None] | None,
) -> ImageSurvey:
    from cxr_cli.data.folders import locate_images

    images = table.images
    rows = np.flatnonzero(~table.frame["image"].duplicated()).tolist() if _n_duplicates(table) else range(len(images))
    names = [images[row] for row in rows]
    located = locate_images(folder, names)
    found = [(row, path) for row, path in zip(rows, located.paths, strict=True) if path is not None]
    check = survey_files(
        [ImageTask(images[row], str(path), window) for row, path in found],
        n_images=n_images,
        seed=seed,
        every=every,
        findings=lambda place: data.findings(found[place][0]),
        executor=executor,
        progress=progress,
    )
    return ImageSurvey(
        folder=str(folder),
        n_named=len(names),
        n_found=len(found),
        n_missing=len(located.missing),
        missing=tuple(names[position] for position in located.missing[:N_LISTED]),
        n_refused=len(located.refused),
        refused=tuple(names[position] for position in located.refused[:N_LISTED]),
        n_not_named=located.n_unnamed,
        n_ambiguous=len(located.uncertain),
        ambiguous=located.uncertain[:N_LISTED],
        notes=located.notes(),
        check=_with_paths_as_given(check, located),
        dicom=survey_headers([path for _, path in found], executor=executor, window=window),
    )


def _with_paths_as_given(check: ImageCheck, located: LocatedImages) -> ImageCheck:
    """Name files as the user named their folder: its place on this machine does not belong in the result."""
    return replace(
        check,
        broken=tuple(replace(item, path=str(located.as_given(item.path))) for item in check.broken),
        sample=tuple(replace(item, path=str(located.as_given(item.path))) for item in check.sample),
    )
