"""The result of `cxr explore` in plain values, as the command prints it and writes it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cxr_cli.data.account import Issue, TableAccount
from cxr_cli.services.explore.dicom import DicomFacts
from cxr_cli.services.explore.images import ImageCheck
from cxr_cli.services.explore.subgroups import Breakdown, Difference
from cxr_cli.services.result import Result


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes
    ----------
    image
        Its name.
    patient_id
        In normal form, without leading zeros; None where unknown.
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
        How uncertain labels were read: "ignore" (unknown), "positive" or "negative".
    n_uncertain
        Cells that hold an uncertain label.
    n_images
        Distinct image names; 0 in a list of patients.
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
        Images where it is unknown.
    prevalence
        Positives as a fraction of the known labels, 0 to 1; NaN where nothing is known.
    prevalence_low
        Lower end of its 95 % interval, which counts patients
        (`cxr_cli.services.metrics.prevalence.prevalence_interval`); NaN where nothing is known.
    prevalence_high
        Upper end; NaN where nothing is known.
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
    prevalence_low: float
    prevalence_high: float
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
    """Labels per image. An unknown label counts as absent.

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

    @property
    def n_counted(self) -> int:
        """Images whose labels are counted: rows of the table, brought together where several describe one image."""
        return sum(self.per_image.values())


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
    fraction_of_first
        `n_images` as a fraction of the images with the first, 0 to 1.
    fraction_of_second
        `n_images` as a fraction of the images with the second, 0 to 1.
    lift
        How many times as often as chance would have it, were they independent: 1 means unrelated. Over the
        images where both are known.
    """

    first: str
    second: str
    n_images: int
    fraction_of_first: float
    fraction_of_second: float
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
        Names that several files have, and names that share a file with another name: none of these was opened.
    ambiguous
        The first 10 of these.
    notes
        How names were matched otherwise than letter for letter, and what is nearly there, in sentences.
    check
        The findings from opening them.
    dicom
        Tags of the headers of DICOM files, counted; None if there are none.
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
    ambiguous: tuple[str, ...]
    notes: tuple[str, ...]
    check: ImageCheck
    dicom: DicomFacts | None = None


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
    issues
        What was repaired in the table, set to "unknown", or left as it is.
    account
        The account of every column, row and patient id of the table.
    seed
        Seed of the random sample of images.
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
    issues: tuple[Issue, ...]
    account: TableAccount
    seed: int
