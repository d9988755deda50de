"""The result of `split`: a division into splits as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cxr_cli.choices import UncertainPolicy
from cxr_cli.data.files import InputFile, OutputFile
from cxr_cli.services.result import Result


@dataclass(frozen=True)
class PathologyInSplit:
    """One pathology in one split.

    Attributes
    ----------
    pathology
        Name of the pathology.
    n_positive
        Images with it.
    n_known
        Images for which it is known whether they have it.
    target
        Positives that the split should have; None in an official split, which is not ours to fill.
    deviation
        (n_positive - target) / target; None without target.
    prevalence
        n_positive / n_known, 0 to 1; None if nothing is known.
    prevalence_ratio
        Prevalence here over prevalence in the whole table; None where that is 0 or unknown.
    auroc_half_width
        Half the 95 % confidence interval of an AUROC of `expected_auroc` measured here (Hanley and McNeil), 0 to 1;
        None where undefined.
    """

    pathology: str
    n_positive: int
    n_known: int
    target: float | None
    deviation: float | None
    prevalence: float | None
    prevalence_ratio: float | None
    auroc_half_width: float | None


@dataclass(frozen=True)
class SplitSummary:
    """One split.

    Attributes
    ----------
    name
        Name of the split, as in the fractions: train, valid, test, fold-1.
    path
        The table written for it; None if none was.
    sha256
        SHA-256 of that table, 64 hexadecimal digits; None if none was written.
    official
        Whether it is a published list taken as it is.
    n_images
        Rows of the table in it.
    n_patients
        Distinct patients; None where the table names none.
    images_per_patient
        Mean; None where the table names no patient.
    fraction
        Of all images in the table, 0 to 1.
    target_fraction
        The fraction it should have, 0 to 1; None in an official split.
    pathologies
        One entry per pathology, in the order of the table.
    """

    name: str
    path: str | None
    sha256: str | None
    official: bool
    n_images: int
    n_patients: int | None
    images_per_patient: float | None
    fraction: float
    target_fraction: float | None
    pathologies: tuple[PathologyInSplit, ...]


@dataclass(frozen=True)
class Deviation:
    """The pathology and split farthest from their target.

    Attributes
    ----------
    split
        Name of the split.
    pathology
        Name of the pathology.
    deviation
        (n_positive - target) / target.
    """

    split: str
    pathology: str
    deviation: float


@dataclass(frozen=True)
class RareLabel:
    """A pathology without positive images in some split, because too few patients have it.

    Attributes
    ----------
    pathology
        Name of the pathology.
    n_positive
        Images with it in the whole table.
    n_units
        Units (patients, mostly) that have it.
    splits_without
        Names of the splits without a positive.
    """

    pathology: str
    n_positive: int
    n_units: int
    splits_without: tuple[str, ...]


@dataclass(frozen=True)
class BelowMinimum:
    """A pathology of which a split got fewer positives than were asked for.

    Attributes
    ----------
    split
        Name of the split.
    pathology
        Name of the pathology.
    n_positive
        Images with it in the split.
    wanted
        What was asked for.
    """

    split: str
    pathology: str
    n_positive: int
    wanted: int


@dataclass(frozen=True)
class OfficialContrast:
    """How an official test list differs from the images outside it.

    Attributes
    ----------
    n_images_test
        Images in the list.
    n_images_rest
        Images outside it.
    images_per_patient_test
        Mean in the list; None where no patient is known.
    images_per_patient_rest
        Mean outside it; None where no patient is known.
    ratios
        Pathologies, and the prevalence of each in the list over that outside; None where undefined.
    worst
        The pathology whose ratio is farthest from 1; None where no ratio is defined.
    """

    n_images_test: int
    n_images_rest: int
    images_per_patient_test: float | None
    images_per_patient_rest: float | None
    ratios: Mapping[str, float | None]
    worst: str | None


@dataclass(frozen=True)
class SharedBySplits:
    """Two splits that share patients or image names.

    Attributes
    ----------
    first
        Name of the first split.
    second
        Name of the second split.
    n_patients
        Patients in both; None where they are unknown.
    n_images
        Image names in both.
    """

    first: str
    second: str
    n_patients: int | None
    n_images: int


@dataclass(frozen=True)
class LeakageCheck:
    """The result of check-leakage on the written tables.

    Attributes
    ----------
    verdict
        ``clean``, ``leakage``, or ``unchecked`` where rows do not name their patient.
    shared
        The pairs of splits that share something.
    n_without_patient
        Rows whose patient is unknown.
    """

    verdict: str
    shared: tuple[SharedBySplits, ...]
    n_without_patient: int


@dataclass(frozen=True)
class SplitResult(Result):
    """A table divided into splits.

    Attributes
    ----------
    unit
        Unit that is kept whole: "patient", or "image" where patients are unknown.
    seed
        Random seed.
    min_positives
        Positives of each pathology that every split but the training split was to get.
    table
        The table that was divided.
    official_lists
        The published lists, if any.
    schema
        The schema as which the table was read.
    patients_from
        Where patient ids come from: "column NAME", "image names", a map, or "unknown".
    uncertain
        How uncertain labels were read: "ignore" (unknown), "positive" or "negative".
    n_uncertain
        Cells that hold an uncertain label.
    n_images
        Rows of the table.
    n_patients
        Distinct patients; None where the table names none.
    n_units
        Number of units: patients (those who share an image name count as one) or single images.
    pathologies
        Names, in the order of the table.
    n_positive
        Images with each, in the same order.
    expected_auroc
        For which `auroc_half_width` is predicted.
    splits
        One entry per split.
    training
        Name of the training split; None among folds, each of which is training and test data in turn.
    worst
        The largest deviation over pathologies and splits that have a target; None where none has one.
    mean_deviation
        Mean absolute deviation over the same, a fraction of the target; None where none has one.
    largest_miss
        Largest difference between positives and target over the same, in images (below 1: whole images allow no
        better); None where none has one.
    too_rare
        Pathologies without positive images in some split.
    below_minimum
        Splits other than the training split with fewer than `min_positives` of a pathology.
    official
        How the official test list differs from the rest; None without one.
    leakage
        The result of check-leakage on the written tables; None if none were written.
    left_over
        Tables of an earlier division that are still in the folder as it wrote them, and that this one did not replace.
        They do not belong to it, and share images with it if both divide the same images.
    rows
        For each split the rows of the table in it, counted from 0 below the header; not in the JSON.
    """

    unit: str
    seed: int
    min_positives: int
    table: InputFile
    official_lists: tuple[InputFile, ...]
    schema: str
    patients_from: str
    uncertain: UncertainPolicy
    n_uncertain: int
    n_images: int
    n_patients: int | None
    n_units: int
    pathologies: tuple[str, ...]
    n_positive: tuple[int, ...]
    expected_auroc: float
    splits: tuple[SplitSummary, ...]
    training: str | None
    worst: Deviation | None
    mean_deviation: float | None
    largest_miss: float | None
    too_rare: tuple[RareLabel, ...]
    below_minimum: tuple[BelowMinimum, ...]
    official: OfficialContrast | None
    leakage: LeakageCheck | None
    left_over: tuple[OutputFile, ...]
    rows: tuple[npt.NDArray[np.int64], ...] = field(metadata={"json": False}, repr=False, compare=False)
