"""How well scores rank images: AUROC, average precision and the two curves behind them.

Only the order of the scores counts, so probabilities, logits and anything between them give the same numbers. Images
with the same score are never ordered: in the AUROC such a pair counts half, and on a curve they are one step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RocCurve:
    """A receiver operating characteristic curve, from (0, 0) to (1, 1).

    Attributes
    ----------
    false_positive_rate, true_positive_rate
        Shape (n_distinct_scores + 1,), ascending, from 0 to 1; NaN where there are no negatives or no positives.
    thresholds
        Images that score at least this much are predicted positive; infinite at the first point. Descending.
    """

    false_positive_rate: Floats
    true_positive_rate: Floats
    thresholds: Floats


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision against recall, from few predicted positives to many.

    Attributes
    ----------
    precision, recall
        Shape (n_distinct_scores,), in [0, 1]; recall ascends. Recall is NaN where there are no positives.
    thresholds
        Images that score at least this much are predicted positive. Descending.
    """

    precision: Floats
    recall: Floats
    thresholds: Floats


def auroc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the area under the ROC curve: how often a positive image scores higher than a negative one.

    Parameters
    ----------
    labels
        Shape (n_images,) or (n_images, n_pathologies); 1 present, 0 absent, NaN unknown (left out).
    scores
        The same shape; higher means more likely present. Infinite is allowed, NaN is not (unless its label is).
    weights
        Shape (n_images,), not negative; default 1 each. A weight of 2 counts an image twice.

    Returns
    -------
    Float64, shape () or (n_pathologies,), in [0, 1]; NaN where positives or negatives are missing.

    Raises
    ------
    ValueError
        Shapes do not fit, a label is not 0, 1 or NaN, a score is NaN, or a weight is negative or not finite.

    References
    ----------
    J. A. Hanley, B. J. McNeil: The meaning and use of the area under a receiver operating characteristic (ROC) curve.
    Radiology 143 (1982) 29-36, doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> float(auroc([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1]))
    0.875
    """
    return _by_column(_auroc, labels, scores, weights)


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the average precision, the area under the precision-recall curve taken as steps.

    It is the sum over distinct scores of precision times the gain in recall. A model that ranks by chance gets the
    prevalence, so the two belong side by side. Trapezoids between the points, another convention, overstate the area.

    Parameters and errors are those of :func:`auroc`.

    Returns
    -------
    Float64, shape () or (n_pathologies,), in (0, 1]; NaN where positives or negatives are missing.

    References
    ----------
    J. Davis, M. Goadrich: The relationship between precision-recall and ROC curves. ICML 2006,
    doi:10.1145/1143844.1143874 (why not to interpolate linearly).

    Examples
    --------
    >>> round(float(average_precision([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1])), 4)
    0.8333
    """
    return _by_column(_average_precision, labels, scores, weights)


def roc_curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> RocCurve:
    """Return the ROC curve of one pathology, one point per distinct score and the origin.

    Parameters and errors are those of :func:`auroc`, in one dimension.

    Examples
    --------
    >>> curve = roc_curve([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1])
    >>> curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    steps = _steps(labels, scores, weights)
    positive, negative = np.cumsum(steps.positive), np.cumsum(steps.negative)
    with np.errstate(invalid="ignore", divide="ignore"):
        return RocCurve(
            np.concatenate([[0.0], negative]) / steps.negative.sum(),
            np.concatenate([[0.0], positive]) / steps.positive.sum(),
            np.concatenate([[np.inf], steps.scores]),
        )


def precision_recall_curve(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> PrecisionRecallCurve:
    """Return precision and recall of one pathology, one point per distinct score.

    Parameters and errors are those of :func:`auroc`, in one dimension.

    Examples
    --------
    >>> curve = precision_recall_curve([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1])
    >>> curve.precision.round(3).tolist(), curve.recall.tolist()
    ([1.0, 0.667, 0.5], [0.5, 1.0, 1.0])
    """
    steps = _steps(labels, scores, weights)
    positive, negative = np.cumsum(steps.positive), np.cumsum(steps.negative)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = positive / (positive + negative)
        recall = positive / steps.positive.sum()
    return PrecisionRecallCurve(precision, recall, steps.scores)


@dataclass(frozen=True)
class _Steps:
    """Distinct scores, descending, and the weight of positives and of negatives at each."""

    scores: Floats
    positive: Floats
    negative: Floats


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return labels and scores as float64 arrays of one shape, checked as for `auroc`."""
    known, values = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    if known.shape != values.shape:
        raise ValueError(f"labels of shape {known.shape} and scores of shape {values.shape}")
    if not (np.isnan(known) | (known == 0) | (known == 1)).all():
        raise ValueError("labels must be 0, 1 or NaN")
    if np.isnan(values[~np.isnan(known)]).any():
        raise ValueError("scores must not be NaN where the label is known")
    return known, values


def _steps(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> _Steps:
    known_labels, values = checked(labels, scores)
    if known_labels.ndim != 1:
        raise ValueError(f"labels of {known_labels.ndim} dimensions; expected one")
    mass = np.ones(len(known_labels)) if weights is None else np.asarray(weights, np.float64)
    if mass.shape != known_labels.shape:
        raise ValueError(f"weights of shape {mass.shape} for {len(known_labels)} images")
    if not ((mass >= 0) & (mass < np.inf)).all():
        raise ValueError("weights must be finite and not negative")
    kept = np.flatnonzero(~np.isnan(known_labels))
    order = kept[np.argsort(-values[kept], kind="stable")]
    ranked, mass, present = values[order], mass[order], known_labels[order] == 1
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else order
    if not len(ranked):
        return _Steps(ranked, mass, mass)
    return _Steps(
        ranked[starts],
        np.add.reduceat(np.where(present, mass, 0.0), starts),
        np.add.reduceat(np.where(present, 0.0, mass), starts),
    )


def _auroc(steps: _Steps) -> float:
    positives, negatives = steps.positive.sum(), steps.negative.sum()
    if not positives or not negatives:
        return float("nan")
    above = np.cumsum(steps.negative) - steps.negative / 2
    return float(1 - (steps.positive * above).sum() / (positives * negatives))


def _average_precision(steps: _Steps) -> float:
    positives = steps.positive.sum()
    if not positives or not steps.negative.sum():
        return float("nan")
    positive = np.cumsum(steps.positive)
    predicted = positive + np.cumsum(steps.negative)
    some = steps.positive > 0
    return float((steps.positive[some] * positive[some] / predicted[some]).sum() / positives)


def _by_column(metric: object, labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> Floats:
    assert callable(metric)
    known, values = checked(labels, scores)
    if known.ndim == 1:
        return np.asarray(metric(_steps(known, values, weights)))
    if known.ndim != 2:
        raise ValueError(f"labels of {known.ndim} dimensions; expected one or two")
    return np.array([metric(_steps(known[:, k], values[:, k], weights)) for k in range(known.shape[1])], np.float64)
