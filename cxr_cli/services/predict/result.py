"""The result of ``cxr predict``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cxr_cli.data.files import InputFile, OutputFile
from cxr_cli.services.result import Result


@dataclass(frozen=True)
class FailedImage(Result):
    """An image without a prediction.

    Attributes
    ----------
    image
        Its name.
    reason
        Why it could not be read.
    """

    image: str
    reason: str


@dataclass(frozen=True)
class PredictedPathology(Result):
    """The predictions for one pathology.

    Attributes
    ----------
    pathology
        Its name.
    mean, minimum, maximum
        Of the probabilities written.
    threshold
        Images with at least this probability are positive; NaN without thresholds.
    n_positive
        How many are; None without a threshold.
    """

    pathology: str
    mean: float
    minimum: float
    maximum: float
    threshold: float
    n_positive: int | None


@dataclass(frozen=True)
class PredictResult(Result):
    """Predictions of a model.

    Attributes
    ----------
    model
        The model.
    kind
        Kind of input: a "store", a "table" with its images, or a "folder" of images.
    source
        Its path.
    n_images
        Images asked for.
    n_predicted
        Images with a prediction.
    n_failed
        Images without.
    failures
        The first ten of these.
    failures_file
        All of them; None if there are none.
    predictions
        The file of probabilities.
    decisions
        The file of decisions (1 positive, 0 negative); None without thresholds.
    rule
        By which the thresholds were chosen; None without.
    corrected
        Whether class weights of the training loss were undone.
    patients_known
        Whether each image has a patient.
    pathologies
        In the order of the model.
    """

    model: InputFile
    kind: Literal["store", "table", "folder"]
    source: str
    n_images: int
    n_predicted: int
    n_failed: int
    failures: tuple[FailedImage, ...]
    failures_file: str | None
    predictions: OutputFile
    decisions: str | None
    rule: str | None
    corrected: bool
    patients_known: bool
    pathologies: tuple[PredictedPathology, ...]
