"""What is reported of leakage between splits: plain values, and the JSON of `check-leakage`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from cxr_cli.errors import UsageError
from cxr_cli.services.result import Result

#: Mark fields that hold patient ids and image names: what `hide_ids` replaces.
PATIENT, IMAGE = {"holds": "patient"}, {"holds": "image"}


class Verdict(StrEnum):
    """The answer: leakage was found; nothing was found and everything was looked at; or not everything was."""

    LEAKAGE = "leakage"
    CLEAN = "clean"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Thresholds(Result):
    """From when on two films count as near duplicates, or as a pair to be looked at.

    Attributes
    ----------
    near_distance, look_distance
        Largest distance of the hashes, in bits of 256.
    near_correlation, look_correlation
        Smallest correlation of the normalised thumbnails.

    Notes
    -----
    Among 39 real ChestX-ray14 films and their mirror images (1,482 pairs of different films) the smallest distance
    is 88 and the largest correlation 0.55. Copies as JPEG of quality 50, of 512 or 320 pixels, 1.2 times as bright,
    with contrast 0.8 or 1.3, gamma 0.7 or 1.5, noise, blur, equalised tiles, 1 % cropped or rotated by 1 degree keep
    within 40 and 0.85.
    """

    near_distance: int = 40
    near_correlation: float = 0.85
    look_distance: int = 60
    look_correlation: float = 0.80

    def __post_init__(self) -> None:
        if not 0 <= self.near_distance <= self.look_distance <= 126:
            raise UsageError(
                f"distances {self.near_distance} and {self.look_distance}",
                expected="0 <= near <= to be looked at <= 126 bits",
            )
        if not 0 < self.look_correlation <= self.near_correlation <= 1:
            raise UsageError(
                f"correlations {self.near_correlation:g} and {self.look_correlation:g}",
                expected="0 < to be looked at <= near <= 1",
            )


@dataclass(frozen=True)
class BrokenImage(Result):
    """An image file that cannot be decoded, and why."""

    image: str = field(metadata=IMAGE)
    reason: str


@dataclass(frozen=True)
class ImageCheck(Result):
    """How many of a split's images could be compared, and which could not.

    Attributes
    ----------
    folder
        Where they were looked for.
    n_images, n_checked
        Distinct image names, and how many of them were compared in every way.
    missing, refused
        Names without a file, and names or links that leave the folder.
    broken
        Files that cannot be decoded.
    blank
        Images of nearly one grey: compared for exact duplicates only.
    """

    folder: str
    n_images: int
    n_checked: int
    missing: tuple[str, ...] = field(metadata=IMAGE)
    refused: tuple[str, ...] = field(metadata=IMAGE)
    broken: tuple[BrokenImage, ...]
    blank: tuple[str, ...] = field(metadata=IMAGE)


@dataclass(frozen=True)
class Involved(Result):
    """The part of one split that a finding concerns.

    Attributes
    ----------
    split
        Name of the split.
    n_images, share_of_images
        Rows concerned, and their share of the split's rows (0 to 1).
    n_patients, share_of_patients
        Patients of these rows, and their share of the split's patients; NaN where no patient is known.
    rows
        The rows, counted from 0 below the header, ascending.
    images
        Their image names, in the order of `rows`.
    """

    split: str
    n_images: int
    share_of_images: float
    n_patients: int
    share_of_patients: float
    rows: tuple[int, ...]
    images: tuple[str, ...] = field(metadata=IMAGE)


@dataclass(frozen=True)
class SharedPatient(Result):
    """A patient in both splits, and the rows in each."""

    patient_id: str = field(metadata=PATIENT)
    first_rows: tuple[int, ...]
    second_rows: tuple[int, ...]


@dataclass(frozen=True)
class PatientOverlap(Result):
    """Patients in both splits of a pair, in ascending order of id."""

    n_patients: int
    patients: tuple[SharedPatient, ...]
    first: Involved
    second: Involved


@dataclass(frozen=True)
class SharedNames(Result):
    """Image names in both splits of a pair, sorted."""

    n_images: int
    images: tuple[str, ...] = field(metadata=IMAGE)
    first: Involved
    second: Involved


@dataclass(frozen=True)
class ExactDuplicate(Result):
    """One picture that both splits have, under different names or in different files.

    Attributes
    ----------
    kind
        ``same file``, ``same bytes``, or ``same pixels`` (another file format or header).
    first_images, second_images
        Its names in the two splits.
    other_patient
        Whether it goes under more than one patient id; None where that is not known.
    """

    kind: str
    first_images: tuple[str, ...] = field(metadata=IMAGE)
    second_images: tuple[str, ...] = field(metadata=IMAGE)
    other_patient: bool | None


@dataclass(frozen=True)
class ExactDuplicates(Result):
    """Pictures of exactly equal pixels in both splits of a pair (other than by the same name for the same file)."""

    n_pictures: int
    n_other_patient: int
    pictures: tuple[ExactDuplicate, ...]
    first: Involved
    second: Involved


@dataclass(frozen=True)
class NearDuplicate(Result):
    """Two films that look like copies of each other.

    Attributes
    ----------
    first_image, second_image, first_patient, second_patient
        The films.
    other_patient
        Whether they go under different patient ids; None where that is not known.
    distance
        Bits in which their hashes differ, 0 to 256.
    correlation
        Of their locally normalised thumbnails, -1 to 1.
    alteration
        ``none``, ``mirrored``, ``inverted``, ``mirrored and inverted``: how the second was compared.
    """

    first_image: str = field(metadata=IMAGE)
    second_image: str = field(metadata=IMAGE)
    first_patient: str | None = field(metadata=PATIENT)
    second_patient: str | None = field(metadata=PATIENT)
    other_patient: bool | None
    distance: int
    correlation: float
    alteration: str


@dataclass(frozen=True)
class NearDuplicates(Result):
    """Pairs of one grade: how many, and the best of them by correlation."""

    n_pairs: int
    n_other_patient: int
    pairs: tuple[NearDuplicate, ...]
    first: Involved
    second: Involved


@dataclass(frozen=True)
class PairReport(Result):
    """What two splits have in common.

    Attributes
    ----------
    first, second
        Names of the splits.
    leakage
        Whether anything below but `to_be_looked_at` was found.
    patients
        None where one of them knows no patients, or their ids belong to different data sets.
    exact_duplicates, near_duplicates, to_be_looked_at
        None where images were not compared.
    """

    first: str
    second: str
    leakage: bool
    patients: PatientOverlap | None
    names: SharedNames
    exact_duplicates: ExactDuplicates | None
    near_duplicates: NearDuplicates | None
    to_be_looked_at: NearDuplicates | None


@dataclass(frozen=True)
class SplitReport(Result):
    """One split by itself.

    Attributes
    ----------
    n_images, n_patients
        Rows, and distinct patients.
    n_without_patient
        Rows whose patient is not known.
    uncertain, n_uncertain
        What uncertain labels became (it matters for the positives counted when something is removed), and how many.
    n_repeated_rows, repeated_images
        Rows that name an image which an earlier row names too, and those images.
    duplicates
        Groups of image names in this split whose pixels are equal; None where images were not compared.
    image_check
        None where images were not compared.
    """

    name: str
    path: str
    schema: str
    n_images: int
    n_patients: int
    n_without_patient: int
    uncertain: str
    n_uncertain: int
    n_repeated_rows: int
    repeated_images: tuple[str, ...] = field(metadata=IMAGE)
    duplicates: tuple[tuple[str, ...], ...] | None = field(metadata=IMAGE)
    image_check: ImageCheck | None


@dataclass(frozen=True)
class Unchecked(Result):
    """Something that could not be checked: in which split, what, how many rows or images."""

    split: str
    what: str
    count: int


@dataclass(frozen=True)
class PathologyLoss(Result):
    """Positive images of a pathology before and after removal."""

    pathology: str
    n_positive_before: int
    n_positive_after: int


@dataclass(frozen=True)
class CleanedSplit(Result):
    """A split before and after removal, and where the cleaned copy was written.

    Attributes
    ----------
    rows_removed
        Counted from 0 below the header.
    n_patients_removed
        Patients that are no longer in the split.
    pathologies
        What each pathology lost.
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
    """What was removed, and what the written files show when they are checked again from scratch.

    Attributes
    ----------
    removed_from
        Splits in the order in which they were preferred for removal.
    kinds
        What was removed: ``patients``, ``exact-duplicates``, ``near-duplicates``.
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
    """What several splits have in common.

    Attributes
    ----------
    verdict
        ``leakage``, ``clean`` or ``unchecked``.
    n_copies_under_other_patient
        Exact and near duplicates between splits that go under different patient ids: leakage that no comparison
        of ids finds.
    splits, pairs
        Each split by itself, and each two of them.
    unchecked
        What could not be checked.
    notes
        What else one should know.
    thresholds
        Of near duplicates; None where images were not compared.
    removal
        None where nothing was to be removed.
    """

    verdict: Verdict
    n_copies_under_other_patient: int
    splits: tuple[SplitReport, ...]
    pairs: tuple[PairReport, ...]
    unchecked: tuple[Unchecked, ...]
    notes: tuple[str, ...]
    thresholds: Thresholds | None
    removal: Removal | None = None
