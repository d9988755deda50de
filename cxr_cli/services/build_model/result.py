"""The result of ``cxr build-model``: a model as it was built."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_cli.data.files import OutputFile
from cxr_cli.services.build_model.architecture import Architecture
from cxr_cli.services.model_card import LabelSummary, LossChoice, PretrainedWeights
from cxr_cli.services.result import Result
from cxr_cli.services.store.manifest import Preprocessing


@dataclass(frozen=True)
class BuildModelResult(Result):
    """A model, as it was built.

    Attributes
    ----------
    model
        Keras' name of it.
    pathologies
        Names of its outputs, in order.
    image_size
        (height, width) in pixels.
    preprocessing
        The preparation of an image before the model sees it.
    loss
        The loss, with its weights.
    metrics
        Names of what ``fit`` reports, besides one value per pathology.
    labels
        Facts of the label table that matter for the loss; None without a table.
    pretrained
        Where the weights came from.
    freeze
        Layers that training does not change, as given.
    learning_rate
        Step size of Adam.
    mixed_precision
        Whether it computes in float16.
    seed
        Of random weights.
    architecture
        Parts of the model, read from it.
    versions
        Of cxr, Python, Keras, its backend and NumPy.
    saved
        The model's file; None if it was not saved.
    model_card
        Path of the description beside it; None if the model was not saved.
    """

    model: str
    pathologies: tuple[str, ...]
    image_size: tuple[int, int]
    preprocessing: Preprocessing
    loss: LossChoice
    metrics: tuple[str, ...]
    labels: LabelSummary | None
    pretrained: PretrainedWeights
    freeze: str
    learning_rate: float
    mixed_precision: bool
    seed: int
    architecture: Architecture
    versions: dict[str, str]
    saved: OutputFile | None = None
    model_card: str | None = None
