"""What is in a label table and its images: counts, distributions, co-occurrences, shortcuts, oddities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.labels import Quirk
from cxr_cli.errors import UsageError
from cxr_cli.services.groups import Breakdown, CodedLabels, Difference, break_down, count_distinct, far_commoner, share
from cxr_cli.services.image_survey import ImageCheck, ImageTask, survey_files
from cxr_cli.services.parallel import Workers
from cxr_cli.services.result import Result

if TYPE_CHECKING:
    from cxr_cli.data.labels import LabelTable

#: Age groups in years, each from its bound up to the next: children, then bands of twenty years.
AGE_BOUNDS = (0, 18, 40, 60, 80)
AGE_GROUPS = ("0-17", "18-39", "40-59", "60-79", "80+")
#: How many rows, patients, combinations and missing files are listed; counts are always whole.
N_FIRST_ROWS = 5
N_LISTED = 10


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes
    ----------
    image
        Its name.
    patient_id
        In normal form, without leading zeros; None where not known.
    pathologies
        Those present; None where no label of the row is known.
    """

    image: str
    patient_id: str | None
    pathologies: tuple[str, ...] | None


@dataclass(frozen=True)
class ColumnFacts:
    """One column of the file.

    Attributes
    ----------
    name
        As in the header.
    type
        The type pandas infers: "str", "int64", "float64", …
    n_null
        Cells that pandas reads as missing.
    """

    name: str
    type: str
    n_null: int


@dataclass(frozen=True)
class TableFacts:
    """The label table as a file.

    Attributes
    ----------
    path
        The file as given.
    schema
        The schema as which it was read.
    n_rows
        Rows below the header.
    n_columns
        Columns.
    n_null_cells
        Cells that pandas reads as missing.
    columns
        In the order of the file.
    uncertain
        What uncertain labels became: "ignore" (not known), "positive" or "negative".
    n_uncertain
        Cells that hold an uncertain label.
    n_images
        Distinct image names.
    n_duplicates
        Rows that repeat an image name.
    first_rows
        The first 5 rows.
    """

    path: str
    schema: str
    n_rows: int
    n_columns: int
    n_null_cells: int
    columns: tuple[ColumnFacts, ...]
    uncertain: str
    n_uncertain: int
    n_images: int
    n_duplicates: int
    first_rows: tuple[Row, ...]


@dataclass(frozen=True)
class PatientFacts:
    """Patients and how many images each has.

    Attributes
    ----------
    n_patients
        Distinct patients.
    n_without_patient
        Rows that name none.
    images_per_patient
        Number of images, and how many patients have so many: {1: 17503, 2: 4113, …}.
    mean
        Images per patient.
    median
        Of images per patient.
    maximum
        Most images of one patient.
    patients_with_maximum
        Ids of the patients who have most images, 10 at most.
    """

    n_patients: int
    n_without_patient: int
    images_per_patient: Mapping[int, int]
    mean: float
    median: float
    maximum: int
    patients_with_maximum: tuple[str, ...]


@dataclass(frozen=True)
class PathologyFacts:
    """One pathology.

    Attributes
    ----------
    pathology
        As in the table.
    n_positive
        Images with it.
    n_negative
        Images without it.
    n_unknown
        Images where it is not known.
    prevalence
        Positives as a share of the known, 0 to 1; NaN where nothing is known.
    n_patients
        Distinct patients with at least one positive image.
    negatives_per_positive
        `n_negative` / `n_positive`; NaN where there is no positive.
    """

    pathology: str
    n_positive: int
    n_negative: int
    n_unknown: int
    prevalence: float
    n_patients: int
    negatives_per_positive: float


@dataclass(frozen=True)
class Combination:
    """A set of pathologies, and the images that have these and no others.

    Attributes
    ----------
    pathologies
        Their names; empty where there is no finding.
    n_images
        Images with exactly these.
    """

    pathologies: tuple[str, ...]
    n_images: int


@dataclass(frozen=True)
class LabelFacts:
    """Labels per image. A label that is not known counts as none.

    Attributes
    ----------
    n_pathologies
        Pathologies.
    n_labels
        Positive labels in all.
    per_image
        Number of positive labels, and how many images have so many.
    mean_per_image
        Positive labels per image, the "cardinality" of the table.
    n_without_finding
        Images with no positive label.
    n_with_one
        Images with one positive label.
    n_with_several
        Images with more than one positive label.
    n_unlabelled
        Images where not one label is known (a part of `n_without_finding`).
    n_combinations
        Distinct sets of findings, the empty one included.
    n_combinations_written
        Distinct cells of the column of findings, where the same findings in another order count apart (836 in NIH's
        table, whose sets are 801); None where there is one column per pathology.
    combinations
        The 10 commonest.
    """

    n_pathologies: int
    n_labels: int
    per_image: Mapping[int, int]
    mean_per_image: float
    n_without_finding: int
    n_with_one: int
    n_with_several: int
    n_unlabelled: int
    n_combinations: int
    n_combinations_written: int | None
    combinations: tuple[Combination, ...]


@dataclass(frozen=True)
class Pair:
    """Two pathologies on the same image.

    Attributes
    ----------
    first
        The one that comes first in the table.
    second
        The other.
    n_images
        Images with both.
    share_of_first
        `n_images` as a share of the images with the first, 0 to 1.
    share_of_second
        `n_images` as a share of the images with the second, 0 to 1.
    lift
        How many times as often as chance would have it, were they independent: 1 means unrelated. Over the
        images where both are known.
    """

    first: str
    second: str
    n_images: int
    share_of_first: float
    share_of_second: float
    lift: float


@dataclass(frozen=True)
class CoOccurrence:
    """Pathologies found together.

    Attributes
    ----------
    pathologies
        Order of rows and columns.
    n_images
        Images with both, shape (n_pathologies, n_pathologies), symmetric; the diagonal holds the positives.
    pairs
        Every pair that occurs, the most frequent first.
    """

    pathologies: tuple[str, ...]
    n_images: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class AgeFacts:
    """Ages of the patients, one for every image where it is known, in years.

    Attributes
    ----------
    n_known
        Images with an age.
    n_unknown
        Images without.
    minimum, maximum, mean, median
        In years; NaN where no age is known.
    std
        Standard deviation in years (ddof 0); NaN where no age is known.
    n_under_18
        Images of patients under 18 years.
    n_over_100
        Images of patients over 100 years.
    by_decade
        First year of a decade of life, and the images from it: {0: 1538, 10: 5508, …}.
    """

    n_known: int
    n_unknown: int
    minimum: float
    maximum: float
    mean: float
    std: float
    median: float
    n_under_18: int
    n_over_100: int
    by_decade: Mapping[int, int]


@dataclass(frozen=True)
class ImageSurvey:
    """The image folder of a table.

    Attributes
    ----------
    folder
        Where the images are.
    n_named
        Distinct images that the table names.
    n_found
        Those that have a file.
    n_missing
        Those that have none.
    missing
        The first 10 of these.
    n_refused
        Those whose name, or whose file's link, leaves the folder: never opened.
    refused
        The first 10 of these.
    n_not_named
        Image files in the folder that the table does not name.
    n_ambiguous
        Names that stand for files in several subfolders; the first in sorted order is taken.
    check
        What opening them showed.
    """

    folder: str
    n_named: int
    n_found: int
    n_missing: int
    missing: tuple[str, ...]
    n_refused: int
    refused: tuple[str, ...]
    n_not_named: int
    n_ambiguous: int
    check: ImageCheck


@dataclass(frozen=True)
class ExploreResult(Result):
    """Everything `explore` finds out.

    Attributes
    ----------
    table
        The file.
    patients
        Images per patient; None where the table names no patient.
    pathologies
        Each pathology, in the order of the table.
    labels
        Labels per image.
    co_occurrence
        Pathologies found together.
    age
        None where the table has no ages.
    by_view
        Images, patients and prevalences by view; None where the table has none.
    by_sex
        The same by sex.
    by_age
        The same by age group: 0-17, 18-39, 40-59, 60-79, 80+ years.
    differences
        Pathologies far commoner in one view, sex or age group than in the others.
    images
        None where there is no image folder.
    quirks
        What was odd in the table.
    seed
        What drew the random sample of images.
    """

    table: TableFacts
    patients: PatientFacts | None
    pathologies: tuple[PathologyFacts, ...]
    labels: LabelFacts
    co_occurrence: CoOccurrence
    age: AgeFacts | None
    by_view: Breakdown | None
    by_sex: Breakdown | None
    by_age: Breakdown | None
    differences: tuple[Difference, ...]
    images: ImageSurvey | None
    quirks: tuple[Quirk, ...]
    seed: int


def explore(
    table: LabelTable,
    image_folder: Path | None = None,
    *,
    n_images: int = 9,
    seed: int = 0,
    check_images: bool = False,
    executor: Executor | Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExploreResult:
    """Describe a label table and, if there is a folder, its images.

    Parameters
    ----------
    table
        What `cxr_cli.data.labels.read_labels` returned.
    image_folder
        Where the images are, flat or nested (`cxr_cli.data.folders.find_image_folder` looks beside the table);
        None leaves images out.
    n_images
        How many images to open, drawn at random.
    seed
        What draws them: the same seed draws the same images.
    check_images
        Open every image, not only the sample.
    executor
        Where images are opened; None opens them here, one after the other. See
        `cxr_cli.services.parallel.Workers`.
    progress
        Called with (done, total) as images are opened.

    Raises
    ------
    UsageError
        `n_images` or `seed` is negative.
    ImageError
        The image folder cannot be read. (A single image that cannot be opened is no error; it is counted.)
    """
    if n_images < 0 or seed < 0:
        raise UsageError(f"n_images {n_images}, seed {seed}", expected="0 or more")
    columns = [table.frame[name].to_numpy() for name in table.pathologies]
    data = CodedLabels.of(table.pathologies, columns, table.patient_codes)
    groups = _groups(table)
    breakdowns = {attribute: break_down(data, *groups[attribute]) for attribute in groups}
    return ExploreResult(
        table=_table_facts(table, data),
        patients=_patient_facts(table) if table.has_patients else None,
        pathologies=_pathology_facts(data),
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
        else _survey(table, data, image_folder, n_images, seed, check_images, executor, progress),
        quirks=table.quirks,
        seed=seed,
    )


def _table_facts(table: LabelTable, data: CodedLabels) -> TableFacts:
    n_duplicates = _n_duplicates(table)
    first = table.frame.iloc[:N_FIRST_ROWS]
    return TableFacts(
        path=str(table.path),
        schema=table.schema,
        n_rows=table.n_images,
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
    return sum(quirk.count for quirk in table.quirks if quirk.kind == "duplicate-image")


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


def _pathology_facts(data: CodedLabels) -> tuple[PathologyFacts, ...]:
    n_images = data.n_images()[0]
    n_positive, n_known = n_images @ data.positive, n_images @ data.known
    prevalence, odds = share(n_positive, n_known), share(n_known - n_positive, n_positive)
    return tuple(
        PathologyFacts(
            pathology=pathology,
            n_positive=int(n_positive[column]),
            n_negative=int(n_known[column] - n_positive[column]),
            n_unknown=int(len(data.codes) - n_known[column]),
            prevalence=float(prevalence[column]),
            n_patients=count_distinct(data.patients[data.positive[:, column][data.codes]]),
            negatives_per_positive=float(odds[column]),
        )
        for column, pathology in enumerate(data.pathologies)
    )


def _label_facts(table: LabelTable, data: CodedLabels) -> LabelFacts:
    n_images = data.n_images()[0].astype(np.int64)
    n_labels = data.positive.sum(axis=1)
    # Combinations that differ only in what is not known are one set of findings.
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
            share_of_first=float(both[one, other] / n_positive[one]),
            share_of_second=float(both[one, other] / n_positive[other]),
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
        [ImageTask(images[row], str(path)) for row, path in found],
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
        n_ambiguous=len(located.ambiguous),
        check=check,
    )
