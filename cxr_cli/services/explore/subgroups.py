"""Prevalence by group (view, sex, age): the table, and the differences that a model will learn as shortcuts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A finding at least this many times as common in one group as in the others is "far commoner" there.
FAR_COMMONER = 2.0
#: Chance, over all comparisons of one attribute together, of reporting a difference where there is none.
SIGNIFICANCE = 0.01
#: With fewer expected positives in either part, the normal approximation of the test does not hold (Cochran 1954).
MIN_EXPECTED = 5


@dataclass(frozen=True)
class Group:
    """The images of one group.

    Attributes
    ----------
    name
        What the table calls the group ("PA", "F"), or the years of an age group ("40-59").
    n_images
        Rows of the table in the group.
    n_patients
        Distinct patients in the group.
    n_positive
        Pathologies, and how many images of the group have each.
    prevalence
        Pathologies, and the fraction of each among the images where it is known, 0 to 1; NaN where it never is.
    """

    name: str
    n_images: int
    n_patients: int
    n_positive: Mapping[str, int]
    prevalence: Mapping[str, float]


@dataclass(frozen=True)
class Breakdown:
    """The images of a table by one attribute.

    Attributes
    ----------
    groups
        Its groups, the largest first, or in ascending order of age.
    n_unknown
        Images whose group is unknown.
    """

    groups: tuple[Group, ...]
    n_unknown: int


@dataclass(frozen=True)
class Difference:
    """A pathology that is far commoner in one group than in all others together.

    Attributes
    ----------
    attribute
        "view", "sex" or "age".
    group
        For instance "AP".
    pathology
        For instance "Edema".
    prevalence
        Fraction of images with the pathology in the group, 0 to 1.
    prevalence_elsewhere
        Fraction of images with the pathology in the other groups together, 0 to 1.
    ratio
        The first divided by the second; infinite (null in JSON) where it never occurs elsewhere.
    p_value
        Two-sided, of the cluster-robust score test, before the correction for the number of comparisons.
    """

    attribute: str
    group: str
    pathology: str
    prevalence: float
    prevalence_elsewhere: float
    ratio: float
    p_value: float


@dataclass(frozen=True)
class CodedLabels:
    """Labels as combinations: a table of 100,000 rows has some hundred, so that counting them is quick.

    Attributes
    ----------
    pathologies
        Names of the columns.
    positive, known
        Whether a finding is present, and whether that is known; bool, shape (n_combinations, n_pathologies).
    codes
        Position of each row's combination, shape (n_images,).
    patients
        A number for each row's patient, shape (n_images,); -1 where the patient is unknown.
    """

    pathologies: tuple[str, ...]
    positive: NDArray[np.bool_]
    known: NDArray[np.bool_]
    codes: NDArray[np.int64]
    patients: NDArray[np.int64]

    @classmethod
    def of(
        cls, pathologies: Sequence[str], columns: Sequence[NDArray[np.floating[Any]]], patients: NDArray[np.int64]
    ) -> CodedLabels:
        """Code one column of labels for each pathology, each of shape (n_images,): 1 present, 0 absent, NaN unknown.

        Two bits a label, in whole 64-bit numbers: these are told apart many times faster than rows of a matrix.
        """
        import pandas as pd

        words = np.zeros((max(-(-len(columns) // 32), 1), len(patients)), dtype=np.uint64)
        for place, column in enumerate(columns):
            word, bit = words[place // 32], np.uint64(place % 32)
            word |= (column == 1).astype(np.uint64) << bit
            word |= np.isnan(column).astype(np.uint64) << (bit + np.uint64(32))
        distinct: NDArray[np.uint64]
        if len(words) == 1:
            codes, found = pd.factorize(words[0])
            distinct = np.asarray(found)[None]
        else:
            distinct, codes = np.unique(words, axis=1, return_inverse=True)
        bits = np.arange(32, dtype=np.uint64)[:, None]
        one = np.uint64(1)
        present, unknown = (
            ((distinct[:, None] >> (bits + first)) & one).astype(bool).reshape(-1, distinct.shape[1])[: len(columns)].T
            for first in (np.uint64(0), np.uint64(32))
        )
        return cls(tuple(pathologies), present, ~unknown, codes.reshape(-1).astype(np.int64), patients)

    def n_images(self, groups: NDArray[np.int64] | None = None, n_groups: int = 1) -> NDArray[np.float64]:
        """Count images by group and combination, shape (n_groups, n_combinations); group -1 is left out.

        Whole numbers in float64, exact up to 2**53, so that products with them run in BLAS.
        """
        n_combinations = len(self.positive)
        places = self.codes if groups is None else np.where(groups < 0, -1, groups * n_combinations + self.codes)
        counts = np.bincount(places + 1, minlength=n_groups * n_combinations + 1)[1:]
        return counts.reshape(n_groups, n_combinations).astype(np.float64)

    def findings(self, row: int) -> tuple[str, ...] | None:
        """Return the pathologies present in a row; None where no label of it is known."""
        code = self.codes[row]
        return self.names(self.positive[code]) if self.known[code].any() else None

    def names(self, flags: NDArray[np.bool_]) -> tuple[str, ...]:
        """Return the names of the pathologies whose flag is set."""
        return tuple(self.pathologies[column] for column in np.flatnonzero(flags))


def break_down(data: CodedLabels, groups: NDArray[np.int64], names: Sequence[str]) -> Breakdown:
    """Count images, patients and findings in each group.

    Parameters
    ----------
    data
        Labels and patients.
    groups
        Position in `names` of each image's group, shape (n_images,); -1 where it is unknown.
    names
        The groups in the order to show them.
    """
    n_images = data.n_images(groups, len(names))
    n_positive, n_known = (n_images @ data.positive).astype(np.int64), n_images @ data.known
    prevalence = share(n_positive, n_known)
    return Breakdown(
        groups=tuple(
            Group(
                name=name,
                n_images=int(n_images[group].sum()),
                n_patients=count_distinct(data.patients[groups == group]),
                n_positive=dict(zip(data.pathologies, n_positive[group].tolist(), strict=True)),
                prevalence=dict(zip(data.pathologies, prevalence[group].tolist(), strict=True)),
            )
            for group, name in enumerate(names)
        ),
        n_unknown=int((groups < 0).sum()),
    )


def far_commoner(
    data: CodedLabels, groups: NDArray[np.int64], names: Sequence[str], attribute: str
) -> tuple[Difference, ...]:
    """Find the pathologies that are far commoner in one group than in the others, and not by chance.

    A classifier trained on such a table can score well by telling the groups apart: portable AP images from PA
    images, one hospital from another. Zech et al. and DeGrave et al. show that networks do exactly that, and fail
    where the groups are mixed differently.

    Parameters
    ----------
    data
        Labels and patients.
    groups, names
        Each image's group, as in `break_down`.
    attribute
        Attribute that forms the groups, for the result.

    Returns
    -------
    tuple of Difference
        The largest ratio first. One is listed when the prevalence in the group is at least `FAR_COMMONER` times
        that in the other groups together, both parts would hold at least `MIN_EXPECTED` positives if there were no
        difference, and p < `SIGNIFICANCE` after Bonferroni's correction for all pathologies and groups compared.

    Notes
    -----
    Images of one patient are alike, so they are not independent observations: the test takes patients as clusters.
    With y the label, p its fraction over all n images, and u = (y - p)/n₁ inside the group and -(y - p)/n₀ elsewhere,
    z = (p₁ - p₀) / sqrt(Σ over patients of (Σ u)²), the score test with the variance of Liang and Zeger.

    References
    ----------
    Zech et al. (2018), Variable generalization performance of a deep learning model to detect pneumonia in chest
    radiographs, PLoS Medicine 15(11): e1002683.
    DeGrave, Janizek, Lee (2021), AI for radiographic COVID-19 detection selects shortcuts over signal, Nature
    Machine Intelligence 3: 610-619.
    Liang, Zeger (1986), Longitudinal data analysis using generalized linear models, Biometrika 73: 13-22.
    Cochran (1954), Some methods for strengthening the common χ² tests, Biometrics 10: 417-451.
    """
    n_images = data.n_images(groups, len(names))
    positive_here, known_here = n_images @ data.positive, n_images @ data.known
    positive_elsewhere = positive_here.sum(axis=0) - positive_here
    known_elsewhere = known_here.sum(axis=0) - known_here
    here, elsewhere = share(positive_here, known_here), share(positive_elsewhere, known_elsewhere)
    overall = share(positive_here + positive_elsewhere, known_here + known_elsewhere)
    with np.errstate(invalid="ignore"):
        expected = overall * np.minimum(known_here, known_elsewhere)
        large = (expected >= MIN_EXPECTED) & (here >= FAR_COMMONER * elsewhere)
    if not large.any():
        return ()
    clusters = _clusters(data.patients)
    # Of two groups, one's ratio is the other's turned over: that is one comparison.
    n_comparisons = len(data.pathologies) * (len(names) if len(names) > 2 else 1)
    found = []
    for group, column in np.argwhere(large).tolist():
        p_value = _score_test(data, column, groups, group, clusters, float(overall[group, column]))
        if p_value * n_comparisons >= SIGNIFICANCE:
            continue
        one, other = float(here[group, column]), float(elsewhere[group, column])
        found.append(
            Difference(
                attribute=attribute,
                group=names[group],
                pathology=data.pathologies[column],
                prevalence=one,
                prevalence_elsewhere=other,
                ratio=one / other if other else math.inf,
                p_value=p_value,
            )
        )
    return tuple(sorted(found, key=lambda item: (-item.ratio, item.group, item.pathology)))


def _clusters(patients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give every row without a patient a cluster of its own."""
    clusters = patients.copy()
    unknown = np.flatnonzero(patients < 0)
    clusters[unknown] = np.arange(len(unknown)) + (patients.max(initial=-1) + 1)
    return clusters


def _score_test(
    data: CodedLabels,
    column: int,
    groups: NDArray[np.int64],
    group: int,
    clusters: NDArray[np.int64],
    overall: float,
) -> float:
    """Return the p value of a difference in one pathology between a group and the others, see `far_commoner`."""
    used = data.known[:, column][data.codes] & (groups >= 0)
    inside = groups == group
    n_inside, n_used = np.count_nonzero(inside & used), np.count_nonzero(used)
    weight = np.where(inside, 1 / n_inside, -1 / (n_used - n_inside)) * used
    positive = data.positive[:, column][data.codes]
    difference = float(weight[positive].sum())
    variance = float((np.bincount(clusters, weights=weight * (positive - overall)) ** 2).sum())
    return math.erfc(abs(difference) / math.sqrt(2 * variance)) if variance else 1.0


def share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Divide counts, elementwise; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def count_distinct(codes: NDArray[np.int64]) -> int:
    """Count the distinct codes, -1 ("unknown") left out."""
    present = np.zeros(codes.max(initial=-1) + 1, dtype=bool)
    present[codes[codes >= 0]] = True
    return int(present.sum())
