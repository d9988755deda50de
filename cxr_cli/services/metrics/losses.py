"""Binary cross-entropy, unweighted and weighted, in NumPy: the reference that other implementations are tested against.

The cross-entropy of one cell with label y and probability p is ``-w_pos * y * log(p + eps)`` plus
``-w_neg * (1 - y) * log(1 - p + eps)``; unweighted means both weights are 1. Unknown labels (NaN) add nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.choices import Reduction, checked

#: How the cells of one pathology are put together: their sum, or their mean over the known ones.

#: What the course's assignment adds inside the logarithm, and Keras' ``backend.epsilon()``.
EPSILON = 1e-7

Floats = NDArray[np.float64]


def loss_parts(
    labels: ArrayLike,
    probabilities: ArrayLike,
    positive_weights: ArrayLike = 1.0,
    negative_weights: ArrayLike = 1.0,
    *,
    epsilon: float = EPSILON,
    reduction: Reduction = "mean",
) -> tuple[Floats, Floats]:
    """Return the part of the loss that comes from positives and the part that comes from negatives.

    Parameters
    ----------
    labels
        Shape (n_images, n_pathologies); 1 present, 0 absent, NaN unknown.
    probabilities
        What broadcasts to the shape of `labels`: one number, one per pathology, or one per cell; in [0, 1].
    positive_weights, negative_weights
        One number or one per pathology; what each label 1 and each label 0 is multiplied by.
    epsilon
        Added to the argument of both logarithms.
    reduction
        "sum" over the known cells of a pathology or "mean" over them (0 where none is known).

    Returns
    -------
    positive, negative
        Float64, shape (n_pathologies,). Not negative unless `epsilon` makes a logarithm's argument exceed 1.

    Raises
    ------
    ValueError
        `labels` is not two-dimensional, a label is neither 0, 1 nor NaN, a probability is NaN or outside [0, 1],
        or shapes do not fit.

    Examples
    --------
    >>> positive, negative = loss_parts([[1], [1], [1], [0]], 0.9, reduction="sum")
    >>> positive.round(4), negative.round(4)
    (array([0.3161]), array([2.3026]))
    """
    known_labels = _as_labels(labels)
    present, absent = known_labels == 1, known_labels == 0
    chances = np.broadcast_to(np.asarray(probabilities, dtype=np.float64), known_labels.shape)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    # Cells without the label are left out rather than multiplied by 0: log(0) * 0 is NaN.
    positive = _cost(chances + epsilon, present)
    negative = _cost(1 - chances + epsilon, absent)
    divisor = _divisor(present.sum(axis=0) + absent.sum(axis=0), reduction)
    return (
        np.asarray(positive_weights, dtype=np.float64) * positive / divisor,
        np.asarray(negative_weights, dtype=np.float64) * negative / divisor,
    )


def constant_loss_parts(
    n_positive: ArrayLike,
    n_negative: ArrayLike,
    probabilities: ArrayLike,
    *,
    epsilon: float = EPSILON,
    reduction: Reduction = "mean",
) -> tuple[Floats, Floats]:
    """Return the unweighted `loss_parts` of a constant prediction, from the counts alone.

    Parameters
    ----------
    n_positive, n_negative
        Numbers of labels 1 and 0 of each pathology; shape (n_pathologies,).
    probabilities
        The predictor's answer: one number or one per pathology, in [0, 1].
    epsilon, reduction
        As in :func:`loss_parts`.

    Returns
    -------
    positive, negative
        Float64, shape (n_pathologies,); to be multiplied by the weights for the weighted loss.
    """
    positives, negatives = np.asarray(n_positive, np.float64), np.asarray(n_negative, np.float64)
    chances = np.broadcast_to(np.asarray(probabilities, np.float64), positives.shape)
    divisor = _divisor(positives + negatives, reduction)
    return (
        _constant_cost(positives, chances + epsilon) / divisor,
        _constant_cost(negatives, 1 - chances + epsilon) / divisor,
    )


def multi_label_loss(
    labels: ArrayLike,
    probabilities: ArrayLike,
    positive_weights: ArrayLike = 1.0,
    negative_weights: ArrayLike = 1.0,
    *,
    epsilon: float = EPSILON,
    reduction: Reduction = "mean",
) -> float:
    """Return the loss of many pathologies: each one's sum or mean, added up.

    Parameters and errors are those of :func:`loss_parts`.

    References
    ----------
    AI for Medical Diagnosis, week 1: the assignment takes the mean per pathology and sums over pathologies, the lab
    on weighted loss takes sums. Per-pathology weights: Rajpurkar et al., "CheXNet", arXiv:1711.05225, section 2.1.

    Examples
    --------
    >>> labels = [[1, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1]]
    >>> round(multi_label_loss(labels, 0.7, [0.25, 0.25, 0.5], [0.75, 0.75, 0.5], epsilon=1), 7)
    -0.4956203
    """
    positive, negative = loss_parts(
        labels, probabilities, positive_weights, negative_weights, epsilon=epsilon, reduction=reduction
    )
    return float((positive + negative).sum())


def binary_loss(
    labels: ArrayLike,
    probabilities: ArrayLike,
    positive_weight: float = 1.0,
    negative_weight: float = 1.0,
    *,
    epsilon: float = EPSILON,
    reduction: Reduction = "sum",
) -> float:
    """Return the loss of one pathology.

    Parameters
    ----------
    labels
        Shape (n_images,); 1 present, 0 absent, NaN unknown.
    probabilities
        One number or one per image, in [0, 1].
    positive_weight, negative_weight, epsilon, reduction
        As in :func:`loss_parts`.

    Raises
    ------
    ValueError
        As in :func:`loss_parts`.

    Examples
    --------
    >>> round(binary_loss([1, 1, 1, 0], 0.9), 4), round(binary_loss([1, 1, 1, 0], 0.1), 4)
    (2.6187, 7.0131)
    >>> round(binary_loss([1, 1, 1, 0], 0.9, 0.25, 0.75), 4), round(binary_loss([1, 1, 1, 0], 0.1, 0.25, 0.75), 4)
    (1.806, 1.806)
    """
    column = np.asarray(labels, dtype=np.float64).reshape(-1, 1)
    chances = np.asarray(probabilities, dtype=np.float64)
    return multi_label_loss(
        column,
        chances.reshape(-1, 1) if chances.ndim else chances,
        positive_weight,
        negative_weight,
        epsilon=epsilon,
        reduction=reduction,
    )


def logit_loss(
    labels: ArrayLike, logits: ArrayLike, positive_weights: ArrayLike = 1.0, negative_weights: ArrayLike = 1.0
) -> Floats:
    """Return the weighted cross-entropy of each cell from logits, without epsilon and without overflow.

    Parameters
    ----------
    labels, logits
        Shape (n_images, n_pathologies); NaN labels are unknown.
    positive_weights, negative_weights
        One number or one per pathology.

    Returns
    -------
    Float64, shape (n_images, n_pathologies); 0 where the label is unknown.
    """
    known_labels, scores = _as_labels(labels), np.asarray(logits, dtype=np.float64)
    positive = np.asarray(positive_weights) * np.logaddexp(0, -scores)
    negative = np.asarray(negative_weights) * np.logaddexp(0, scores)
    return np.where(known_labels == 1, positive, np.where(known_labels == 0, negative, 0.0))


def logit_gradient(
    labels: ArrayLike, logits: ArrayLike, positive_weights: ArrayLike = 1.0, negative_weights: ArrayLike = 1.0
) -> Floats:
    """Return the derivative of each cell of :func:`logit_loss` by its logit.

    That is ``-positive * sigmoid(-logit)`` for a positive, ``negative * sigmoid(logit)`` for a negative and 0 for
    a label that is unknown; parameters, shape and dtype as there.
    """
    known_labels, scores = _as_labels(labels), np.asarray(logits, dtype=np.float64)
    positive = -np.asarray(positive_weights) * _sigmoid(-scores)
    negative = np.asarray(negative_weights) * _sigmoid(scores)
    return np.where(known_labels == 1, positive, np.where(known_labels == 0, negative, 0.0))


def _as_labels(labels: ArrayLike) -> Floats:
    values = np.asarray(labels, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"labels have shape {values.shape}; expected (n_images, n_pathologies)")
    if not ((values == 0) | (values == 1) | np.isnan(values)).all():
        raise ValueError("labels must be 0, 1 or NaN")
    return values


def _cost(values: Floats, where: NDArray[np.bool_]) -> Floats:
    """Return minus the sum of logarithms of the chosen cells of each column."""
    with np.errstate(divide="ignore"):
        logs = np.log(values, where=where, out=np.zeros(values.shape))
    return np.asarray(0.0 - logs.sum(axis=0))  # not -sum: nothing chosen costs 0, not -0


def _constant_cost(counts: Floats, values: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(0.0 - counts * np.log(values, where=counts > 0, out=np.zeros(counts.shape)))


def _divisor(n_known: ArrayLike, reduction: Reduction) -> Floats:
    checked(Reduction, reduction, "reduction")
    if reduction == "sum":
        return np.ones(np.shape(n_known))
    return np.maximum(np.asarray(n_known, dtype=np.float64), 1)


def _sigmoid(values: Floats) -> Floats:
    result: Floats = np.exp(-np.logaddexp(0, -values))
    return result
