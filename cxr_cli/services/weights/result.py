"""Class weights of a label table and their effect on the loss: the JSON of `weights`."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_cli.choices import Reduction, Scheme, UncertainPolicy
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.services.result import Result


@dataclass(frozen=True)
class PathologyWeights(Result):
    """One pathology: prevalence, weights and their effect.

    Attributes
    ----------
    pathology
        Its name.
    n_positive
        Images with it.
    n_negative
        Images without it.
    n_unknown
        Images where it is unknown.
    prevalence
        Positives as a fraction of the known, 0 to 1; NaN where nothing is known.
    positive_weight
        What each label 1 is multiplied by in the loss.
    negative_weight
        What each label 0 is multiplied by in the loss.
    weighted
        False if there are no positives or no negatives: both weights are 1 then.
    positive_contribution
        Weight times frequency of the positives: what they add to the mean loss of a model that gives positives and
        negatives the same cross-entropy. Before weighting it is `prevalence`.
    negative_contribution
        The same for the negatives; before weighting it is 1 - `prevalence`.
    unweighted_loss_fraction
        Fraction of this pathology in the total unweighted loss at a constant prediction of 0.5, 0 to 1.
    weighted_loss_fraction
        The same with weights.
    logit_shift
        log(`positive_weight` / `negative_weight`), by which weighting raises the logits of a model that fits perfectly.
    corrected_half
        True probability behind a predicted 0.5 of a model trained with these weights, 0 to 1.
    """

    pathology: str
    n_positive: int
    n_negative: int
    n_unknown: int
    prevalence: float
    positive_weight: float
    negative_weight: float
    weighted: bool
    positive_contribution: float
    negative_contribution: float
    unweighted_loss_fraction: float
    weighted_loss_fraction: float
    logit_shift: float
    corrected_half: float


@dataclass(frozen=True)
class LossParts(Result):
    """The contribution of one pathology's positives and negatives to the loss of a prediction.

    Attributes
    ----------
    pathology
        Its name.
    unweighted_positive
        From positives, without weights.
    unweighted_negative
        From negatives, without weights.
    weighted_positive
        From positives, with weights.
    weighted_negative
        From negatives, with weights.
    """

    pathology: str
    unweighted_positive: float
    unweighted_negative: float
    weighted_positive: float
    weighted_negative: float


@dataclass(frozen=True)
class PredictorLoss(Result):
    """The loss of a predictor, over all pathologies and for each.

    Attributes
    ----------
    predictor
        Its name: "always 0.9", …, "always the prevalence", or "predictions" for those of a file.
    unweighted_loss
        Binary cross-entropy summed over pathologies, without weights.
    weighted_loss
        The same with weights.
    pathologies
        Its parts.
    """

    predictor: str
    unweighted_loss: float
    weighted_loss: float
    pathologies: tuple[LossParts, ...]


@dataclass(frozen=True)
class WeightsResult(Result):
    """Class weights of a label table and their effect on the loss.

    Attributes
    ----------
    schema
        The schema as which the table was read.
    n_images
        Rows of the table.
    n_known
        Label cells that count.
    n_unknown
        Label cells that are unknown and left out.
    uncertain
        How uncertain labels were read: "ignore" (unknown), "positive" or "negative".
    n_uncertain
        Cells that hold an uncertain label.
    scheme
        How weights follow from counts, as given.
    beta
        Of the scheme "effective-number"; None for the others.
    max_ratio
        Largest positive weight over negative weight that was allowed; None without limit.
    reduction
        How the losses of a pathology's images are put together, as given.
    epsilon
        Added inside the logarithms of the losses.
    class_weights
        Pathologies and their weights: what build-model reads.
    pathologies
        The same with counts and effects, one entry per pathology, in the order of the table.
    unweighted
        Pathologies that have no positives or no negatives.
    predictors
        Losses of simple predictors, then of the predictions given, if any.
    """

    schema: str
    n_images: int
    n_known: int
    n_unknown: int
    uncertain: UncertainPolicy
    n_uncertain: int
    scheme: Scheme
    beta: float | None
    max_ratio: float | None
    reduction: Reduction
    epsilon: float
    class_weights: ClassWeights
    pathologies: tuple[PathologyWeights, ...]
    unweighted: tuple[str, ...]
    predictors: tuple[PredictorLoss, ...]
