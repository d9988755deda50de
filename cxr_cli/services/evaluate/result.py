"""The result of `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cxr_cli.data.account import BaseIssue
from cxr_cli.services.result import Result

NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes
    ----------
    value
        On all images; NaN where it is undefined.
    low, high
        Ends of the interval; NaN where there is none.
    n_undefined
        Bootstrap draws left out of the interval because the number is undefined in them.
    """

    value: float
    low: float = NAN
    high: float = NAN
    n_undefined: int = 0


@dataclass(frozen=True)
class Issue(BaseIssue):
    """Something about the inputs that the reader of the numbers should know.

    Attributes
    ----------
    examples
        The first of the images, patients or columns concerned.
    """

    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bin:
    """One point of a reliability curve.

    Attributes
    ----------
    n_images
        Images in the bin (times the number of runs).
    mean_predicted
        Their mean predicted probability.
    observed
        Their prevalence.
    """

    n_images: int
    mean_predicted: float
    observed: Estimate


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities can be taken at their word. Several runs of a model are pooled.

    Attributes
    ----------
    mean_predicted, observed
        Mean predicted probability, and prevalence.
    brier
        Brier score: mean squared difference between probability and label.
    brier_skill
        1 - Brier score / that of predicting the prevalence; 0 or less means that the prevalence does as well.
    intercept
        By how much logits are too low on average; its interval is robust against the likeness of a patient's images.
    slope
        Below 1 the probabilities are too extreme, above 1 too moderate.
    expected_error
        Expected calibration error over the bins; NaN where the curve is refused.
    bins
        The reliability curve, with about equal numbers of images in each bin; empty where it is refused.
    curve_refused
        Why there is no curve; None where there is one.
    """

    mean_predicted: float
    observed: float
    brier: Estimate
    brier_skill: Estimate
    intercept: Estimate
    slope: Estimate
    expected_error: float
    bins: tuple[Bin, ...]
    curve_refused: str | None


@dataclass(frozen=True)
class OperatingPoint:
    """A pathology at one threshold, which was chosen elsewhere. Counts are means over runs.

    Attributes
    ----------
    rule
        How the threshold was chosen: "youden", "best-f1", "sensitivity-0.9", "specificity-0.9", "fixed", or the name in
        the file.
    thresholds
        One for each run: images that score at least this much are predicted positive.
    true_positive, false_positive, true_negative, false_negative
        Confusion counts in the test set.
    sensitivity, specificity, ppv, npv, f1
        Rates.
    ppv_at_prevalence, npv_at_prevalence
        Predictive values at the prevalence asked for, with the same sensitivity and specificity; None if none was.
    """

    rule: str
    thresholds: tuple[float, ...]
    true_positive: float
    false_positive: float
    true_negative: float
    false_negative: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    f1: Estimate
    ppv_at_prevalence: Estimate | None
    npv_at_prevalence: Estimate | None


@dataclass(frozen=True)
class PathologyResult:
    """One pathology of one model.

    Attributes
    ----------
    pathology
        Its name in the label table.
    n_images, n_patients
        With a known label; patients are images where patients are unknown.
    n_positive, n_positive_patients
        Images with the pathology, and patients with such an image.
    n_unknown
        Images whose label is unknown.
    prevalence
        Fraction of positives, and the average precision to expect by chance.
    in_mean
        Whether it counts in the mean.
    auroc, auprc
        Area under the ROC curve, and average precision; the mean over runs.
    auroc_runs, auprc_runs
        Of each run.
    auroc_over_patients
        With ``unit="image"`` the interval over patients for comparison; None otherwise.
    calibration
        None where scores are not probabilities.
    calibration_corrected
        After the correction for class weights in the loss; None if none was asked for.
    operating_points
        One for each rule; empty where no threshold was given.
    """

    pathology: str
    n_images: int
    n_patients: int
    n_positive: int
    n_positive_patients: int
    n_unknown: int
    prevalence: float
    in_mean: bool
    auroc: Estimate
    auprc: Estimate
    auroc_runs: tuple[float, ...]
    auprc_runs: tuple[float, ...]
    auroc_over_patients: Estimate | None
    calibration: Calibration | None
    calibration_corrected: Calibration | None
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class NotScored:
    """A pathology that cannot be scored.

    Attributes
    ----------
    pathology
        Its name.
    reason
        Why: one class only, no labels, no predictions.
    """

    pathology: str
    reason: str


@dataclass(frozen=True)
class MeanResult:
    """The mean over pathologies.

    Attributes
    ----------
    members
        The pathologies in it, the same in every draw.
    auroc, auprc
        Mean over the members; draws in which a member is undefined are left out of the interval.
    auroc_runs, auprc_runs
        Of each run.
    auroc_over_patients
        With ``unit="image"`` the interval over patients for comparison; None otherwise.
    """

    members: tuple[str, ...]
    auroc: Estimate
    auprc: Estimate
    auroc_runs: tuple[float, ...]
    auprc_runs: tuple[float, ...]
    auroc_over_patients: Estimate | None


@dataclass(frozen=True)
class ModelResult:
    """One model.

    Attributes
    ----------
    name
        As given.
    files
        Its predictions files.
    n_runs
        Trainings it stands for: files with the same images. Files with different images, as of cross-validation, are
        joined into one run.
    pathologies
        Those that can be scored.
    mean
        Over the pathologies without `No Finding`.
    not_scored
        The others, with the reason.
    """

    name: str
    files: tuple[str, ...]
    n_runs: int
    pathologies: tuple[PathologyResult, ...]
    mean: MeanResult
    not_scored: tuple[NotScored, ...]


@dataclass(frozen=True)
class GroupPathology:
    """One pathology in one subgroup. Differences are to the attribute's largest group.

    Attributes
    ----------
    pathology
        Its name.
    n_images, n_patients, n_positive
        Images and patients with a known label; images with the pathology.
    too_small
        Whether there are fewer than 20 positives or 20 negatives: too few to say anything.
    prevalence
        Fraction of positives.
    auroc, auprc, brier
        Metrics in the group; `brier` is None where scores are not probabilities.
    fpr, fnr
        False positive and false negative rate at the threshold of the whole test set; None without a threshold.
    auroc_gap, fpr_gap, fnr_gap
        Group minus the largest group, from the same draws; None for the largest group itself.
    """

    pathology: str
    n_images: int
    n_patients: int
    n_positive: int
    too_small: bool
    prevalence: float
    auroc: Estimate
    auprc: Estimate
    brier: Estimate | None
    fpr: Estimate | None
    fnr: Estimate | None
    auroc_gap: Estimate | None
    fpr_gap: Estimate | None
    fnr_gap: Estimate | None


@dataclass(frozen=True)
class Group:
    """One subgroup.

    Attributes
    ----------
    name
        The value of the attribute, or the range of ages in years.
    n_images, n_patients
        In the group.
    pathologies
        As of the whole test set.
    """

    name: str
    n_images: int
    n_patients: int
    pathologies: tuple[GroupPathology, ...]


@dataclass(frozen=True)
class Subgroups:
    """The first model by one attribute.

    Attributes
    ----------
    attribute
        "sex", "age", "view", or a column of the table.
    reference
        The largest group, which the others are compared with.
    groups
        Largest first; ages ascend.
    n_unknown
        Images whose group is unknown.
    """

    attribute: str
    reference: str
    groups: tuple[Group, ...]
    n_unknown: int


@dataclass(frozen=True)
class Difference:
    """Two models on one pathology, or on the mean.

    Attributes
    ----------
    pathology
        Its name, or "mean".
    n_positive
        Images with it; of the rarest member for the mean.
    auroc, auprc
        First minus second, with the interval of paired draws.
    p_value
        Two-sided, of no difference in AUROC, from the draws.
    p_holm
        After Holm's correction over all pathologies and pairs of models; NaN for the mean, which is one test.
    p_delong, p_delong_holm
        DeLong's test, which takes images as independent, for the first run of each; NaN for the mean.
    verdict
        In words.
    """

    pathology: str
    n_positive: int
    auroc: Estimate
    auprc: Estimate
    p_value: float
    p_holm: float
    p_delong: float
    p_delong_holm: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    Attributes
    ----------
    first, second
        Names of the models.
    pathologies
        Those that both models predict.
    mean
        Over the pathologies that count in both means.
    n_significant, n_significant_delong, n_significant_holm
        Pathologies with p below 1 - confidence: by the bootstrap, by DeLong's test, by the bootstrap after Holm's
        correction.
    """

    first: str
    second: str
    pathologies: tuple[Difference, ...]
    mean: Difference
    n_significant: int
    n_significant_delong: int
    n_significant_holm: int


@dataclass(frozen=True)
class Published:
    """A published mean AUROC on ChestX-ray14.

    Attributes
    ----------
    source
        Who published it.
    auroc
        Mean over 14 pathologies, as printed.
    split
        The test set it holds for.
    """

    source: str
    auroc: str
    split: str


@dataclass(frozen=True)
class EvaluateResult(Result):
    """The models, measured on the test images.

    Attributes
    ----------
    n_images, n_patients
        Test images with predictions and labels; their patients (0 if unknown).
    labels_from, patients_from
        Where labels and patients were taken from.
    unit
        Unit that a draw of the bootstrap takes: "patient" or "image".
    n_draws, confidence, seed
        Of the bootstrap.
    narrower
        With ``unit="image"``: the mean ratio of the width of AUROC intervals over images to those over patients; None
        otherwise.
    models
        The model to evaluate first, then those to compare it with.
    comparisons
        Every pair of models.
    subgroups
        Of the first model.
    rule
        The rule whose threshold is used for subgroups; None without thresholds.
    thresholds_refused
        Why there are no thresholds; None if there are.
    prevalence
        At which predictive values are given too; None if not asked for.
    leakage
        Whether patients or images of the test set were also used for training or for choosing thresholds.
    issues
        Notes on the inputs.
    published
        Published results, if asked for.
    """

    n_images: int
    n_patients: int
    labels_from: str
    patients_from: str | None
    unit: str
    n_draws: int
    confidence: float
    seed: int
    narrower: float | None
    models: tuple[ModelResult, ...]
    comparisons: tuple[Comparison, ...]
    subgroups: tuple[Subgroups, ...]
    rule: str | None
    thresholds_refused: str | None
    prevalence: float | None
    leakage: bool
    issues: tuple[Issue, ...]
    published: tuple[Published, ...]
    #: ROC and precision-recall curves for plots, by model and pathology.
    curves: Any = field(default=None, repr=False, compare=False, metadata={"json": False})
    #: What `Thresholds.write` writes; None if no threshold was chosen here.
    thresholds: Any = field(default=None, repr=False, compare=False, metadata={"json": False})
