"""Operating points: thresholds chosen on one set of images, confusion counts and rates on another.

An image is predicted positive if it scores at least the threshold. A threshold chosen on the images that it is then
judged on looks better than it is, so choose it on validation images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.services.metrics.ranking import RocCurve, checked, precision_recall_curve, roc_curve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """Confusion counts, each of the same shape: whole numbers, or the weights of a draw.

    Attributes
    ----------
    true_positive, false_positive, true_negative, false_negative
        Images predicted positive with and without the finding; predicted negative without and with it.
    """

    true_positive: Floats
    false_positive: Floats
    true_negative: Floats
    false_negative: Floats


@dataclass(frozen=True)
class Rates:
    """Rates that follow from confusion counts, in [0, 1]; NaN where there is nothing to divide by.

    Attributes
    ----------
    sensitivity, specificity
        Fraction of images with the finding that are predicted positive; without it, negative.
    ppv, npv
        Fraction of images predicted positive that have the finding; predicted negative that do not.
    f1
        Harmonic mean of sensitivity and PPV; 0 if no image is predicted right.
    """

    sensitivity: Floats
    specificity: Floats
    ppv: Floats
    npv: Floats
    f1: Floats


def youden(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold with the highest sensitivity + specificity - 1; of several the highest.

    Parameters
    ----------
    labels
        Shape (n_images,); 1 present, 0 absent, NaN unknown (left out).
    scores
        The same shape.

    Returns
    -------
    One of the scores; NaN without positives or without negatives.

    References
    ----------
    W. J. Youden: Index for rating diagnostic tests. Cancer 3 (1950) 32-35.

    Examples
    --------
    >>> youden([1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1])
    0.9
    """
    curve = roc_curve(labels, scores)
    if not _has_both(curve):
        return float("nan")
    # Without the first point, at which no image is predicted positive.
    return _at_first_maximum((curve.true_positive_rate - curve.false_positive_rate)[1:], curve.thresholds[1:])


def best_f1(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold with the highest F1; of several the highest. Parameters as `youden`."""
    if not _has_both(roc_curve(labels, scores)):
        return float("nan")
    curve = precision_recall_curve(labels, scores)
    total = curve.precision + curve.recall
    return _at_first_maximum(2 * curve.precision * curve.recall / np.where(total > 0, total, 1.0), curve.thresholds)


def at_sensitivity(labels: ArrayLike, scores: ArrayLike, sensitivity: float = 0.9) -> float:
    """Return the highest threshold with at least this sensitivity. Parameters as `youden`."""
    curve = roc_curve(labels, scores)
    if not _has_both(curve):
        return float("nan")
    # Rates such as 0.9 of 10 images are not exact in binary.
    reached = np.flatnonzero(curve.true_positive_rate >= sensitivity - 1e-12)
    return float(curve.thresholds[max(int(reached[0]), 1)])


def at_specificity(labels: ArrayLike, scores: ArrayLike, specificity: float = 0.9) -> float:
    """Return the lowest threshold with at least this specificity.

    Parameters are those of `youden`. If even the highest score is too low a threshold, the result lies just above it,
    and no image is predicted positive.
    """
    curve = roc_curve(labels, scores)
    if not _has_both(curve):
        return float("nan")
    last = int(np.flatnonzero(1 - curve.false_positive_rate >= specificity - 1e-12)[-1])
    return float(curve.thresholds[last]) if last else float(np.nextafter(curve.thresholds[1], np.inf))


def confusion(labels: ArrayLike, scores: ArrayLike, thresholds: ArrayLike) -> Confusion:
    """Count true and false positives and negatives.

    Parameters
    ----------
    labels
        Shape (n_images, n_pathologies); 1 present, 0 absent, NaN unknown (left out).
    scores
        The same shape.
    thresholds
        One number or shape (n_pathologies,); a score of at least this is positive. NaN (no threshold) gives NaN.

    Returns
    -------
    Counts of shape (n_pathologies,).

    Examples
    --------
    >>> counts = confusion([[1], [1], [0], [0]], [[0.9], [0.4], [0.5], [0.1]], 0.5)
    >>> counts.true_positive.tolist(), counts.false_positive.tolist()
    ([1.0], [1.0])
    """
    cells = confusion_cells(labels, scores, thresholds)
    sums = cells.sum(axis=1, dtype=np.float64)
    sums[:, np.isnan(np.broadcast_to(np.asarray(thresholds, np.float64), sums.shape[1:]))] = np.nan
    return Confusion(*sums)


def confusion_cells(labels: ArrayLike, scores: ArrayLike, thresholds: ArrayLike) -> NDArray[np.bool_]:
    """Return for each image whether it is a true positive, false positive, true negative, false negative.

    Parameters are those of `confusion`.

    Returns
    -------
    Bool, shape (4, n_images, n_pathologies); all false where the label is unknown.
    """
    known, values = checked(labels, scores)
    positive = values >= np.asarray(thresholds, np.float64)
    present, absent = known == 1, known == 0
    return np.stack([present & positive, absent & positive, absent & ~positive, present & ~positive])


def rates(counts: Confusion) -> Rates:
    """Return the rates of confusion counts, elementwise.

    Examples
    --------
    >>> found = rates(Confusion(*(np.array(count, float) for count in (16, 169, 814, 1))))
    >>> round(float(found.sensitivity), 3), round(float(found.ppv), 3), round(float(found.f1), 3)
    (0.941, 0.086, 0.158)
    """
    tp, fp, tn, fn = counts.true_positive, counts.false_positive, counts.true_negative, counts.false_negative
    return Rates(
        sensitivity=_ratio(tp, tp + fn),
        specificity=_ratio(tn, tn + fp),
        ppv=_ratio(tp, tp + fp),
        npv=_ratio(tn, tn + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
    )


def predictive_values(sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike) -> tuple[Floats, Floats]:
    """Return PPV and NPV where a finding has another prevalence than in the images at hand.

    Sensitivity and specificity are taken to be the same there, which is an assumption about the patients.

    Parameters
    ----------
    sensitivity, specificity, prevalence
        In [0, 1]; any shapes that broadcast.

    References
    ----------
    Bayes' theorem; D. G. Altman, J. M. Bland: Diagnostic tests 2: predictive values. BMJ 309 (1994) 102.

    Examples
    --------
    >>> ppv, npv = predictive_values(0.9, 0.9, 0.01)
    >>> round(float(ppv), 3), round(float(npv), 4)
    (0.083, 0.9989)
    """
    found, spared, rate = (np.asarray(item, np.float64) for item in (sensitivity, specificity, prevalence))
    true_positive, false_positive = found * rate, (1 - spared) * (1 - rate)
    true_negative, false_negative = spared * (1 - rate), (1 - found) * rate
    return _ratio(true_positive, true_positive + false_positive), _ratio(true_negative, true_negative + false_negative)


def _has_both(curve: RocCurve) -> bool:
    return not (np.isnan(curve.true_positive_rate).any() or np.isnan(curve.false_positive_rate).any())


def _at_first_maximum(values: Floats, thresholds: Floats) -> float:
    # Points that differ by rounding alone are equal, and the first (highest threshold) of them is taken.
    place = int(np.flatnonzero(values >= values.max() - 1e-12)[0])
    return float(thresholds[place])


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, np.nan), np.float64)
