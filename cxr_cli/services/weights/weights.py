"""Class weights of a label table: how rare each pathology is, weights that balance it, and their effect on the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.choices import Reduction, Scheme, checked
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.labels import LabelTable, prevalence_of
from cxr_cli.data.predictions import Predictions
from cxr_cli.errors import LabelTableError, UsageError, argument
from cxr_cli.services.metrics.calibration import correct_prior
from cxr_cli.services.metrics.losses import EPSILON, Floats, constant_loss_parts, loss_parts
from cxr_cli.services.weights.result import LossParts, PathologyWeights, PredictorLoss, WeightsResult

#: The largest beta that Cui et al. (2019) try.
BETA = 0.9999


def compute_weights(
    table: LabelTable,
    *,
    scheme: Scheme = "frequency",
    beta: float | None = None,
    max_ratio: float | None = None,
    predictions: Predictions | None = None,
    reduction: Reduction = "mean",
    epsilon: float = EPSILON,
) -> WeightsResult:
    """Compute the class weights of a label table and compare unweighted and weighted loss.

    Parameters
    ----------
    table
        The label table; unknown labels are counted out everywhere.
    scheme, beta, max_ratio
        As in `scheme_weights`.
    predictions
        A model's probabilities for the images of the table.
    reduction
        Losses are the mean over the known labels of a pathology, or their sum; either is summed over pathologies.
    epsilon
        Added inside the logarithms of the losses; not negative.

    Raises
    ------
    LabelTableError
        The table has no pathologies.
    UsageError
        An option is out of its range, or `beta` is given for another scheme than "effective-number".

    Notes
    -----
    Weights that balance positives and negatives *inside* a pathology do not balance pathologies *between* each
    other: with scheme "frequency" a pathology's loss is in proportion to f (1 - f), so that rare ones hardly count;
    "balanced" gives all the same fraction.
    """
    if not table.pathologies:
        raise LabelTableError(f"{table.path}: has no pathologies", remedy="Give a table with labels.")
    if not epsilon >= 0:
        raise UsageError(argument("epsilon", epsilon), expected="a number that is not negative")
    n_positive, n_negative = table.counts.n_positive, table.counts.n_negative
    positive, negative = scheme_weights(n_positive, n_negative, scheme, beta=beta, max_ratio=max_ratio)
    unweighted = _predictor_parts(table, n_positive, n_negative, predictions, epsilon, reduction)
    counted = int(n_positive.sum() + n_negative.sum())
    rows = _rows(table.pathologies, table.n_images, n_positive, n_negative, (positive, negative), reduction)
    return WeightsResult(
        schema=table.schema,
        n_images=table.n_images,
        n_known=counted,
        n_unknown=table.labels.size - counted,
        uncertain=table.uncertain,
        n_uncertain=table.n_uncertain,
        scheme=scheme,
        beta=(BETA if beta is None else beta) if scheme == "effective-number" else None,
        max_ratio=max_ratio,
        reduction=reduction,
        epsilon=epsilon,
        class_weights=ClassWeights(table.pathologies, tuple(positive.tolist()), tuple(negative.tolist()), scheme),
        pathologies=rows,
        unweighted=tuple(row.pathology for row in rows if not row.weighted),
        predictors=tuple(
            _predictor_loss(name, table.pathologies, parts, (positive, negative)) for name, parts in unweighted.items()
        ),
    )


def scheme_weights(
    n_positive: ArrayLike,
    n_negative: ArrayLike,
    scheme: Scheme = "frequency",
    *,
    beta: float | None = None,
    max_ratio: float | None = None,
) -> tuple[Floats, Floats]:
    """Compute positive and negative weights from the numbers of positives P and negatives N.

    Parameters
    ----------
    n_positive, n_negative
        Shape (n_pathologies,); not negative.
    scheme
        "frequency": N / (P + N) and P / (P + N) per pathology [1]_, so that both contribute P N / (P + N)².
        "w-cel": (P + N) / P and (P + N) / N with P and N counted over all pathologies together [2]_.
        "balanced": (P + N) / (2 P) and (P + N) / (2 N) per pathology [3]_, so that both contribute 1/2.
        "effective-number": in proportion to (1 - β) / (1 - β^P) and (1 - β) / (1 - β^N) per pathology, with
        sum 2 [4]_.
    beta
        β of "effective-number", in [0, 1): 0 weighs nothing, near 1 it is inverse frequency. Default 0.9999.
    max_ratio
        Positive weights are cut to this many times the negative weight; at least 1.

    Returns
    -------
    positive, negative
        Float64, shape (n_pathologies,), finite and above 0. Where P or N of a pathology is 0 there is nothing to
        balance: both weights are 1, whatever the scheme.

    Raises
    ------
    UsageError
        There is no such scheme, or an option is out of its range or does not belong to the scheme.

    References
    ----------
    .. [1] Rajpurkar et al., "CheXNet", arXiv:1711.05225, section 2.1; AI for Medical Diagnosis, week 1.
    .. [2] Wang et al., "ChestX-ray8", CVPR 2017, arXiv:1705.02315 (the loss W-CEL; there counted over a batch).
    .. [3] King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9 (2001), as in
       scikit-learn's ``class_weight="balanced"``.
    .. [4] Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, arXiv:1901.05555.

    Examples
    --------
    >>> scheme_weights([3], [1])
    (array([0.25]), array([0.75]))
    """
    checked(Scheme, scheme, "scheme")
    if beta is not None and scheme != "effective-number":
        raise UsageError(
            f"{argument('beta')} has no effect with {argument('scheme', scheme)}",
            remedy="Leave it out, or use effective-number.",
        )
    if beta is not None and not 0 <= beta < 1:
        raise UsageError(argument("beta", beta), expected="a number from 0 to below 1")
    if max_ratio is not None and not 1 <= max_ratio < np.inf:
        raise UsageError(argument("max_ratio", max_ratio), expected="a number that is at least 1")
    positives, negatives = np.asarray(n_positive, np.float64), np.asarray(n_negative, np.float64)
    both = (positives > 0) & (negatives > 0)
    # Where there is nothing to balance any counts will do: what comes of them is thrown away.
    some_positives, some_negatives = np.where(both, positives, 1.0), np.where(both, negatives, 1.0)
    all_known = some_positives + some_negatives
    if scheme == "frequency":
        positive, negative = some_negatives / all_known, some_positives / all_known
    elif scheme == "balanced":
        positive, negative = all_known / (2 * some_positives), all_known / (2 * some_negatives)
    elif scheme == "w-cel":
        total = positives.sum() + negatives.sum()
        positive = np.full(positives.shape, total / max(positives.sum(), 1.0))
        negative = np.full(positives.shape, total / max(negatives.sum(), 1.0))
    else:
        rarity = 1 / _effective_number(np.stack([some_positives, some_negatives]), BETA if beta is None else beta)
        positive, negative = 2 * rarity / rarity.sum(axis=0)
    if max_ratio is not None:
        positive = np.minimum(positive, max_ratio * negative)
    return np.where(both, positive, 1.0), np.where(both, negative, 1.0)


def _effective_number(counts: Floats, beta: float) -> Floats:
    if beta == 0:
        return np.ones_like(counts)
    # expm1 keeps the digits that 1 - beta**n loses when beta is close to 1.
    effective: Floats = -np.expm1(counts * np.log(beta)) / (1 - beta)
    return effective


def _rows(
    pathologies: tuple[str, ...],
    n_images: int,
    n_positive: NDArray[np.int64],
    n_negative: NDArray[np.int64],
    weights: tuple[Floats, Floats],
    reduction: Reduction,
) -> tuple[PathologyWeights, ...]:
    n_known = n_positive + n_negative
    prevalence = prevalence_of(n_positive, n_negative)
    halves = constant_loss_parts(n_positive, n_negative, 0.5, epsilon=0, reduction=reduction)
    shares = _shares(halves[0] + halves[1]), _shares(weights[0] * halves[0] + weights[1] * halves[1])
    shift, half = np.log(weights[0] / weights[1]), correct_prior(0.5, *weights)
    return tuple(
        PathologyWeights(
            pathology=pathology,
            n_positive=int(n_positive[index]),
            n_negative=int(n_negative[index]),
            n_unknown=int(n_images - n_known[index]),
            prevalence=float(prevalence[index]),
            positive_weight=float(weights[0][index]),
            negative_weight=float(weights[1][index]),
            weighted=bool(n_positive[index] and n_negative[index]),
            positive_contribution=float(weights[0][index] * prevalence[index]),
            negative_contribution=float(weights[1][index] * (1 - prevalence[index])),
            unweighted_loss_fraction=float(shares[0][index]),
            weighted_loss_fraction=float(shares[1][index]),
            logit_shift=float(shift[index]),
            corrected_half=float(half[index]),
        )
        for index, pathology in enumerate(pathologies)
    )


def _prevalence(n_positive: NDArray[np.int64], n_negative: NDArray[np.int64]) -> Floats:
    n_known = n_positive + n_negative
    shares: Floats = np.divide(n_positive, n_known, out=np.full(n_known.shape, np.nan), where=n_known > 0)
    return shares


def _shares(values: Floats) -> Floats:
    total = float(values.sum())
    return values / total if total > 0 else np.full(values.shape, np.nan)


def _predictor_parts(
    table: LabelTable,
    n_positive: NDArray[np.int64],
    n_negative: NDArray[np.int64],
    predictions: Predictions | None,
    epsilon: float,
    reduction: Reduction,
) -> dict[str, tuple[Floats, Floats]]:
    """Return the unweighted loss parts of each predictor; the weighted ones are these times the weights."""
    prevalence = np.nan_to_num(prevalence_of(n_positive, n_negative))
    constants: dict[str, float | Floats] = {
        "always 0.9": 0.9,
        "always 0.1": 0.1,
        "always 0.5": 0.5,
        "always the prevalence": prevalence,
    }
    parts = {
        name: constant_loss_parts(n_positive, n_negative, answer, epsilon=epsilon, reduction=reduction)
        for name, answer in constants.items()
    }
    if predictions is not None:
        parts["predictions"] = loss_parts(table.labels, predictions.probabilities, epsilon=epsilon, reduction=reduction)
    return parts


def _predictor_loss(
    name: str, pathologies: tuple[str, ...], unweighted: tuple[Floats, Floats], weights: tuple[Floats, Floats]
) -> PredictorLoss:
    weighted = weights[0] * unweighted[0], weights[1] * unweighted[1]
    columns = zip(pathologies, *(part.tolist() for part in (*unweighted, *weighted)), strict=True)
    return PredictorLoss(
        predictor=name,
        unweighted_loss=float(sum(part.sum() for part in unweighted)),
        weighted_loss=float(sum(part.sum() for part in weighted)),
        pathologies=tuple(LossParts(*column) for column in columns),
    )
