"""The result of ``cxr train``."""

from __future__ import annotations

from dataclasses import dataclass, field

from cxr_cli.choices import TrainStage
from cxr_cli.data.files import InputFile, OutputFile
from cxr_cli.services.model_card import DataSource, LossChoice, TrainedStage
from cxr_cli.services.result import Result
from cxr_cli.services.train.options import TrainOptions


@dataclass(frozen=True)
class Epoch(Result):
    """One epoch.

    Attributes
    ----------
    stage
        Its stage.
    epoch
        Counted from 1 in each stage; 0 is the state before the first step.
    loss
        Mean of the training loss while weights changed; NaN for epoch 0.
    valid_loss
        Loss on the validation images after the epoch.
    valid_auroc, valid_auprc
        Means over pathologies.
    worst
        The pathology with the lowest AUROC; None if none can be scored.
    worst_auroc
        Its AUROC.
    """

    stage: TrainStage
    epoch: int
    loss: float
    valid_loss: float
    valid_auroc: float
    valid_auprc: float
    worst: str | None
    worst_auroc: float


@dataclass(frozen=True)
class PathologyScore(Result):
    """How well one pathology is ranked on the validation images.

    Attributes
    ----------
    pathology
        Its name.
    n_positive, n_negative
        Known labels.
    auroc, auprc
        Area under the ROC curve, and average precision; NaN where they are undefined.
    """

    pathology: str
    n_positive: int
    n_negative: int
    auroc: float
    auprc: float


@dataclass(frozen=True)
class Sanity(Result):
    """Whether anything was learnt.

    Attributes
    ----------
    learnt
        Whether the interval of the mean AUROC lies above 0.5, and some epoch was better than the untrained model.
    auroc
        Mean AUROC on the validation images after the last epoch, which was not chosen by looking at them.
    low, high
        95 % interval of it by a bootstrap over patients (over images where patients are unknown).
    n_draws
        Draws of the bootstrap.
    initial_loss
        Loss on the validation images before the first step.
    constant_loss
        Loss there of the constant prediction that the head's bias was set to.
    look_at
        If nothing was learnt: what to look at, in the order in which such runs fail.
    """

    learnt: bool
    auroc: float
    low: float
    high: float
    n_draws: int
    initial_loss: float
    constant_loss: float
    look_at: tuple[str, ...]


@dataclass(frozen=True)
class TrainRun(Result):
    """One training with one seed.

    Attributes
    ----------
    seed
        Of the order of images and of augmentation.
    model
        The best model.
    model_card
        The card beside it.
    history, predictions
        CSV of all epochs, and of the best model's probabilities on the validation images.
    stages
        Results of the stages.
    auroc, auprc
        Means over pathologies of the best model on the validation images; the epoch was chosen on them, so they are
        optimistic.
    pathologies
        The same for each pathology.
    epochs
        Everything that was measured on the way.
    sanity
        Whether anything was learnt.
    """

    seed: int
    model: OutputFile
    model_card: str
    history: str
    predictions: str
    stages: tuple[TrainedStage, ...]
    auroc: float
    auprc: float
    pathologies: tuple[PathologyScore, ...]
    epochs: tuple[Epoch, ...]
    sanity: Sanity


@dataclass(frozen=True)
class CacheFile(Result):
    """Activations kept of the images of a store.

    Attributes
    ----------
    path
        The file.
    stage
        The stage that trains on them.
    split
        "train" or "valid".
    mirrored
        Whether the images were mirrored.
    n_bytes
        Its size.
    reused
        Whether an earlier run had made it.
    """

    path: str
    stage: TrainStage
    split: str
    mirrored: bool
    n_bytes: int
    reused: bool


@dataclass(frozen=True)
class TrainResult(Result):
    """A model, as it was trained.

    Attributes
    ----------
    trained
        False: patients are in both stores, and nothing was done.
    model
        The model that training started from.
    pathologies
        Names of the outputs, in order.
    train, valid
        The images; None if nothing was done.
    shared_patients
        Patients in both stores.
    shared_images
        Images in both stores, by name.
    patients_checked
        Whether every patient is known in both stores, and both number their patients alike.
    options
        How it was trained.
    loss
        The loss, with its class weights.
    learning_rates
        Adam's step size in each stage.
    head_bias
        What the head's bias was set to; None where it was left as loaded.
    half_precision
        Change of the mean validation AUROC by keeping activations in float16; None without.
    caches
        Activations kept for the next run; delete them at any time.
    runs
        One for each seed.
    warnings
        What to keep in mind.
    """

    trained: bool
    model: InputFile
    pathologies: tuple[str, ...]
    train: DataSource
    valid: DataSource
    shared_patients: tuple[str, ...]
    shared_images: tuple[str, ...]
    patients_checked: bool
    options: TrainOptions
    loss: LossChoice
    learning_rates: tuple[float, ...]
    head_bias: dict[str, float] | None = None
    half_precision: float | None = None
    caches: tuple[CacheFile, ...] = ()
    runs: tuple[TrainRun, ...] = ()
    warnings: tuple[str, ...] = field(default_factory=tuple)

    @property
    def learnt(self) -> bool:
        """Whether every run learnt something."""
        return self.trained and all(run.sanity.learnt for run in self.runs)
