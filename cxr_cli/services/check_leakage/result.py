"""The result of `check-leakage`: leakage between splits as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from cxr_cli.choices import Verdict
from cxr_cli.errors import UsageError, argument
from cxr_cli.services.result import Result

#: Mark fields that hold patient ids and image names: what `hide_ids` replaces.
PATIENT, IMAGE = {"holds": "patient"}, {"holds": "image"}
#: Mark sentences that may name images: left out where ids are hidden.
TEXT = {"holds": "text"}


@dataclass(frozen=True)
class Thresholds(Result):
    """From when on two images count as near duplicates, or as candidates for review.

    Attributes
    ----------
    near_distance
        Near duplicates: largest distance of the hashes, in bits of 256.
    near_correlation
        Near duplicates: smallest correlation of the normalised thumbnails, 0 to 1.
    review_distance
        Candidates for review: largest distance of the hashes, in bits of 256.
    review_correlation
        Candidates for review: smallest correlation of the normalised thumbnails, 0 to 1.

    Notes
    -----
    Among 39 real ChestX-ray14 images (741 pairs of different images, each compared mirrored, turned by right angles,
    inverted and without frames) the smallest distance is 88 and the largest correlation 0.55. Copies as JPEG of
    quality 50, of 512 or 320 pixels, 1.2 times as bright, with contrast 0.8 or 1.3, gamma 0.7 or 1.5, noise, blur,
    equalised tiles, a frame, 1 % cropped or rotated by 1 degree keep within 40 and 0.85.
    """

    near_distance: int = 40
    near_correlation: float = 0.85
    review_distance: int = 60
    review_correlation: float = 0.80

    def __post_init__(self) -> None:
        if not 0 <= self.near_distance <= self.review_distance <= 126:
            raise UsageError(
                f"{argument('near_distance', self.near_distance)}, {argument('review_distance', self.review_distance)}",
                expected="0 <= near distance <= review distance <= 126 bits",
            )
        if not 0 < self.review_correlation <= self.near_correlation <= 1:
            raise UsageError(
                f"{argument('near_correlation', self.near_correlation)}, "
                f"{argument('review_correlation', self.review_correlation)}",
                expected="0 < review correlation <= near correlation <= 1",
            )


@dataclass(frozen=True)
class BrokenImage(Result):
    """An image file that cannot be decoded.

    Attributes
    ----------
    image
        Its name in the table.
    reason
        The reason.
    """

    image: str = field(metadata=IMAGE)
    reason: str


@dataclass(frozen=True)
class ImageCheck(Result):
    """How many of a split's images could be compared, and which could not.

    Attributes
    ----------
    folder
        Where they were looked for.
    n_images
        Distinct image names.
    n_checked
        Images that were compared in every way.
    missing
        Names without a file.
    refused
        Names, or files' links, that leave the folder: never opened.
    broken
        Files that cannot be decoded.
    blank
        Images of nearly one grey: compared for exact duplicates only.
    notes
        How image names were matched otherwise than letter for letter, and what is nearly there, in sentences.
    """

    folder: str
    n_images: int
    n_checked: int
    missing: tuple[str, ...] = field(metadata=IMAGE)
    refused: tuple[str, ...] = field(metadata=IMAGE)
    broken: tuple[BrokenImage, ...]
    blank: tuple[str, ...] = field(metadata=IMAGE)
    notes: tuple[str, ...] = field(default=(), metadata=TEXT)


@dataclass(frozen=True)
class AffectedRows(Result):
    """The part of one split that a finding concerns.

    Attributes
    ----------
    split
        Name of the split.
    n_images
        Rows concerned.
    fraction_of_images
        Rows concerned as a fraction of the split's rows, 0 to 1.
    n_patients
        Distinct patients of these rows.
    fraction_of_patients
        These patients as a fraction of the split's patients, 0 to 1; NaN where no patient is known.
    rows
        Their places among the split's rows, counted from 0, ascending: below the header, where each line of a table is
        an image and all of its lines are in the split.
    images
        Their image names, in the order of `rows`.
    """

    split: str
    n_images: int
    fraction_of_images: float
    n_patients: int
    fraction_of_patients: float
    rows: tuple[int, ...]
    images: tuple[str, ...] = field(metadata=IMAGE)


@dataclass(frozen=True)
class SharedPatient(Result):
    """A patient in both splits, and the rows in each.

    Attributes
    ----------
    patient_id
        In normal form, without leading zeros.
    first_rows
        Rows of the first split with this patient, counted from 0.
    second_rows
        Rows of the second split with this patient, counted from 0.
    """

    patient_id: str = field(metadata=PATIENT)
    first_rows: tuple[int, ...]
    second_rows: tuple[int, ...]


@dataclass(frozen=True)
class PatientOverlap(Result):
    """Patients in both splits of a pair.

    Attributes
    ----------
    n_patients
        Distinct patients in both splits.
    patients
        Those patients and their rows, in ascending order of id.
    first
        Their rows in the first split.
    second
        Their rows in the second split.
    """

    n_patients: int
    patients: tuple[SharedPatient, ...]
    first: AffectedRows
    second: AffectedRows


@dataclass(frozen=True)
class SharedNames(Result):
    """Image names in both splits of a pair.

    Attributes
    ----------
    n_images
        Distinct image names in both splits.
    images
        Those names, sorted.
    first
        Their rows in the first split.
    second
        Their rows in the second split.
    n_different_images
        Further names in both splits whose files were read and show different images: not leakage.
    different_images
        Each of these, sorted.
    """

    n_images: int
    images: tuple[str, ...] = field(metadata=IMAGE)
    first: AffectedRows
    second: AffectedRows
    n_different_images: int
    different_images: tuple[str, ...] = field(metadata=IMAGE)


@dataclass(frozen=True)
class ExactDuplicate(Result):
    """One image that both splits have, under different names or in different files.

    Attributes
    ----------
    kind
        ``same file``, ``same bytes``, or ``same pixels`` (another file format or header).
    first_images
        Its names in the first split.
    second_images
        Its names in the second split.
    different_patient
        Whether it goes under more than one patient id; None where that is unknown.
    """

    kind: str
    first_images: tuple[str, ...] = field(metadata=IMAGE)
    second_images: tuple[str, ...] = field(metadata=IMAGE)
    different_patient: bool | None


@dataclass(frozen=True)
class ExactDuplicates(Result):
    """Images of exactly equal pixels in both splits of a pair (other than by the same name for the same file).

    Attributes
    ----------
    n_duplicates
        Distinct images.
    n_different_patient
        Those of them that go under more than one patient id.
    duplicates
        The names and the kind of each, in the order of the first split.
    first
        The rows of the first split that show them.
    second
        The rows of the second split that show them.
    """

    n_duplicates: int
    n_different_patient: int
    duplicates: tuple[ExactDuplicate, ...]
    first: AffectedRows
    second: AffectedRows


@dataclass(frozen=True)
class NearDuplicate(Result):
    """Two images that look like copies of each other.

    Attributes
    ----------
    first_image
        Name of the image in the first split.
    second_image
        Name of the image in the second split.
    first_patient
        Patient of the first image; None where unknown.
    second_patient
        Patient of the second image; None where unknown.
    different_patient
        Whether they go under different patient ids; None where that is unknown.
    distance
        Bits in which their hashes differ, 0 to 256.
    correlation
        Of their locally normalised thumbnails, -1 to 1.
    alteration
        How the second image differs from the first: ``none``, or ``framed``, ``mirrored``, ``turned by 90 degrees``
        (180, 270; clockwise) and ``inverted``, in this order, joined by " and ".
    """

    first_image: str = field(metadata=IMAGE)
    second_image: str = field(metadata=IMAGE)
    first_patient: str | None = field(metadata=PATIENT)
    second_patient: str | None = field(metadata=PATIENT)
    different_patient: bool | None
    distance: int
    correlation: float
    alteration: str


@dataclass(frozen=True)
class NearDuplicates(Result):
    """Pairs of one grade: near duplicates, or candidates for review.

    Attributes
    ----------
    n_pairs
        Number of pairs, also of those that are not listed.
    n_different_patient
        Those of them whose images go under different patient ids.
    pairs
        The best by correlation, at most 10,000 near duplicates and 200 candidates.
    first
        The rows of the first split that are in any pair.
    second
        The rows of the second split that are in any pair.
    """

    n_pairs: int
    n_different_patient: int
    pairs: tuple[NearDuplicate, ...]
    first: AffectedRows
    second: AffectedRows


@dataclass(frozen=True)
class PairReport(Result):
    """Patients and images common to two splits.

    Attributes
    ----------
    first
        Name of the first split.
    second
        Name of the second split.
    leakage
        Whether anything below but `candidates` was found.
    patients
        Patients in both; None where they were not compared, or one of the splits knows no patients.
    patients_not_compared
        Why not, in words; None where they were compared or one of the splits knows no patients.
    related
        What is known of images that the two data sets have in common, where patients were not compared, in words.
    names
        Image names in both.
    exact_duplicates
        Images of equal pixels; None where images were not compared.
    near_duplicates
        Images that are copies of each other by both thresholds; None where images were not compared.
    candidates
        Images that may be copies, which is not leakage yet; None where images were not compared.
    """

    first: str
    second: str
    leakage: bool
    patients: PatientOverlap | None
    patients_not_compared: str | None
    related: str | None
    names: SharedNames
    exact_duplicates: ExactDuplicates | None
    near_duplicates: NearDuplicates | None
    candidates: NearDuplicates | None


@dataclass(frozen=True)
class SplitReport(Result):
    """One split by itself.

    Attributes
    ----------
    name
        Name of the split, from its argument.
    path
        The table as given.
    schema
        The schema as which it was read.
    patients_from
        Where patient ids come from: "column NAME", "image names", a map, or "unknown".
    patient_namespace
        Numbering within which they can be compared; None for a table of one's own.
    n_images
        Rows of the table; 0 for a list of patients.
    n_patients
        Distinct patients.
    n_without_patient
        Rows whose patient is unknown.
    uncertain
        How uncertain labels were read: "ignore" (unknown), "positive" or "negative"; it matters for the positives
        counted when something is removed.
    n_uncertain
        Cells that hold an uncertain label.
    n_repeated_rows
        Rows that name an image which an earlier row names too.
    repeated_images
        The images that these rows name.
    duplicates
        Groups of image names in this split whose pixels are equal; None where images were not compared.
    image_check
        Which images could be compared; None where images were not compared.
    notes
        Notes on the reading of the table, in sentences.
    """

    name: str
    path: str
    schema: str
    patients_from: str
    patient_namespace: str | None
    n_images: int
    n_patients: int
    n_without_patient: int
    uncertain: str
    n_uncertain: int
    n_repeated_rows: int
    repeated_images: tuple[str, ...] = field(metadata=IMAGE)
    duplicates: tuple[tuple[str, ...], ...] | None = field(metadata=IMAGE)
    image_check: ImageCheck | None
    notes: tuple[str, ...] = field(default=(), metadata=TEXT)


@dataclass(frozen=True)
class Unchecked(Result):
    """Something that could not be checked.

    Attributes
    ----------
    split
        Name of the split, or names of two of them.
    what
        For instance "rows without patient".
    count
        How many rows or images.
    """

    split: str
    what: str
    count: int


@dataclass(frozen=True)
class PathologyLoss(Result):
    """Positive images of a pathology before and after removal.

    Attributes
    ----------
    pathology
        Name of the pathology.
    n_positive_before
        Positive images in the split as given.
    n_positive_after
        Positive images in the cleaned copy.
    """

    pathology: str
    n_positive_before: int
    n_positive_after: int


@dataclass(frozen=True)
class CleanedSplit(Result):
    """A split before and after removal, and where the cleaned copy was written.

    Attributes
    ----------
    name
        Name of the split.
    path
        The cleaned copy.
    n_images_before
        Rows of the split as given.
    n_images_after
        Rows of the cleaned copy.
    n_patients_before
        Distinct patients of the split as given.
    n_patients_after
        Distinct patients of the cleaned copy.
    rows_removed
        Counted from 0 below the header.
    n_patients_removed
        Patients that are no longer in the split.
    pathologies
        Positive images of each pathology before and after.
    lost_pathologies
        Pathologies that had positive images and have none now.
    """

    name: str
    path: str
    n_images_before: int
    n_images_after: int
    n_patients_before: int
    n_patients_after: int
    rows_removed: tuple[int, ...]
    n_patients_removed: int
    pathologies: tuple[PathologyLoss, ...]
    lost_pathologies: tuple[str, ...]


@dataclass(frozen=True)
class Removal(Result):
    """The removal, and the second check of the written files from scratch.

    Attributes
    ----------
    removed_from
        Splits in the order in which they were preferred for removal.
    kinds
        Kinds of leakage removed: ``patients``, ``exact-duplicates``, ``near-duplicates``.
    splits
        Each split that was written.
    after
        The report on the files read back.
    """

    removed_from: tuple[str, ...]
    kinds: tuple[str, ...]
    splits: tuple[CleanedSplit, ...]
    after: LeakageReport


@dataclass(frozen=True)
class LeakageReport(Result):
    """Patients and images common to several splits.

    Attributes
    ----------
    verdict
        ``leakage``: found; ``clean``: nothing found, and everything checked; ``unchecked``: nothing found, but
        not everything could be checked.
    n_copies_under_different_patient
        Exact and near duplicates between splits that go under different patient ids: leakage that no comparison
        of ids finds.
    splits
        Each split by itself.
    pairs
        Each two splits.
    unchecked
        Checks that were not possible.
    notes
        Further notes, in sentences.
    thresholds
        From when on images counted as near duplicates; None where images were not compared.
    removal
        None where nothing was to be removed.
    """

    verdict: Verdict
    n_copies_under_different_patient: int
    splits: tuple[SplitReport, ...]
    pairs: tuple[PairReport, ...]
    unchecked: tuple[Unchecked, ...]
    notes: tuple[str, ...]
    thresholds: Thresholds | None
    removal: Removal | None = None
