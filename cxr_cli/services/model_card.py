"""The model card: facts about a saved model, in a JSON file beside it; one reader and writer for all commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxr_cli.choices import Loss, UncertainPolicy
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.documents import read_json
from cxr_cli.data.files import InputFile, OutputFile, Outputs, describe_input
from cxr_cli.errors import CxrError, InputError, shown
from cxr_cli.services.envelope import SCHEMA_VERSION, head
from cxr_cli.services.result import Result, plain, restore
from cxr_cli.services.store.manifest import Preprocessing

_REMEDY = "Give a model that 'cxr build-model' or 'cxr train' saved, with its .keras.json beside it."


@dataclass(frozen=True)
class PretrainedWeights(Result):
    """Where the weights of the base came from.

    Attributes
    ----------
    source
        "random", "imagenet", or "file".
    file
        The file, with its SHA-256; None for random weights.
    layout
        Its format, in words; None for random weights.
    matched_by
        "name" or "order": how its arrays were assigned to layers; None for random weights. See
        `cxr_cli.models.pretrained.load_pretrained`.
    n_arrays
        Arrays loaded into the base; 0 for random weights.
    n_parameters
        Numbers in these arrays.
    head
        "new", "loaded", or "new (that of the file left out)".
    n_head_units
        Units of the file's head; None without one.
    untrained
        Whether the file's batch normalisations have never seen an image.
    trained_on
        Training images of the weights: "nothing" for random ones, "ImageNet" for the published
        file, "unknown" for any other (they may have been among your test images).
    """

    source: Literal["random", "imagenet", "file"]
    file: InputFile | None
    layout: str | None
    matched_by: str | None
    n_arrays: int
    n_parameters: int
    head: str
    n_head_units: int | None
    untrained: bool
    trained_on: str


@dataclass(frozen=True)
class LabelSummary(Result):
    """Facts of the label table that matter for the loss.

    Attributes
    ----------
    path
        The table as given.
    uncertain
        How uncertain labels were read: "ignore" (unknown), "positive" or "negative".
    n_uncertain
        Cells of the table that hold an uncertain label.
    n_images
        Rows of the table.
    n_without_finding
        Rows without a 1: categorical cross-entropy gives them no gradient.
    n_with_several
        Rows with more than one 1.
    n_unknown
        Label cells that are unknown (NaN): all losses but weighted-bce become NaN on them.
    prevalence
        Pathologies, and positives as a fraction of the known, 0 to 1; NaN where nothing is known.
    """

    path: str
    uncertain: UncertainPolicy
    n_uncertain: int
    n_images: int
    n_without_finding: int
    n_with_several: int
    n_unknown: int
    prevalence: dict[str, float]


@dataclass(frozen=True)
class LossChoice(Result):
    """The loss compiled in.

    Attributes
    ----------
    name
        "categorical-crossentropy", "binary-crossentropy" or "weighted-bce".
    class_weights
        In the order of the model's outputs; None for losses without.
    """

    name: Loss
    class_weights: ClassWeights | None


@dataclass(frozen=True)
class DataSource(Result):
    """Images that a model was trained or validated on.

    Attributes
    ----------
    store
        The manifest of the store, with its SHA-256.
    tables
        The label tables behind the store, with their SHA-256.
    n_images
        Images used.
    n_patients
        Patients they are of; None where patients are unknown.
    n_positive, n_known
        Positives, and known labels, of each pathology.
    """

    store: InputFile
    tables: tuple[InputFile, ...]
    n_images: int
    n_patients: int | None
    n_positive: dict[str, int]
    n_known: dict[str, int]


@dataclass(frozen=True)
class TrainedStage(Result):
    """One stage of training.

    Attributes
    ----------
    name
        "features" (the head, on pooled features), "last-block" (the last dense block and the head) or "all".
    n_epochs
        Epochs run.
    best_epoch
        The epoch whose weights were kept, counted from 1; 0 if none was better than the start.
    learning_rate
        Step size of Adam.
    trainable_parameters
        Numbers of weights that training changed by gradient.
    stopped_by
        "patience", "epochs" or "time limit".
    """

    name: Literal["features", "last-block", "all"]
    n_epochs: int
    best_epoch: int
    learning_rate: float
    trainable_parameters: int
    stopped_by: Literal["patience", "epochs", "time limit"]


@dataclass(frozen=True)
class Training(Result):
    """How a model was trained: the items that CLAIM asks for in a report on training.

    Attributes
    ----------
    train, valid
        The images.
    patients_checked
        Whether train and valid were found to share no patient; False where patients are unknown,
        numbered in different ways, or sharing was allowed.
    initialised_from
        The model that training started from, with its SHA-256.
    head_bias
        "prevalence": the head's bias was set to the best constant prediction; "as loaded": it was left alone.
    stages
        In order.
    optimizer
        Its name.
    batch_size
        Images in a step.
    augment
        Augmentations of training images.
    epochs
        Most epochs in a stage.
    monitor
        Which validation metric chose the epoch: mean AUROC, mean average precision or the loss.
    patience
        Epochs without a better value after which a stage ended.
    seed
        Of the order of images and of augmentation.
    auroc, auprc
        Means over pathologies on the validation images of the model kept; chosen on these images, and so optimistic.
    warnings
        Warnings from its training.

    References
    ----------
    J. Mongan, L. Moy, C. E. Kahn: Checklist for Artificial Intelligence in Medical Imaging (CLAIM), Radiology:
    Artificial Intelligence 2 (2020) e200029, doi:10.1148/ryai.2020200029.
    """

    train: DataSource
    valid: DataSource
    patients_checked: bool
    initialised_from: InputFile
    head_bias: Literal["prevalence", "as loaded"]
    stages: tuple[TrainedStage, ...]
    optimizer: str
    batch_size: int
    augment: tuple[str, ...]
    epochs: int
    monitor: Literal["auroc", "auprc", "loss"]
    patience: int
    seed: int
    auroc: float
    auprc: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ModelCard(Result):
    """Everything needed to use, judge and rebuild a saved model.

    Attributes
    ----------
    model
        The file it belongs to, with its SHA-256.
    pathologies
        Names of the outputs, in order.
    image_size
        (height, width) in pixels.
    preprocessing
        The preparation of an image before the model sees it.
    pretrained
        Where the weights came from, before any training by cxr.
    loss
        The loss, with its class weights.
    metrics
        Names of what ``fit`` reports, besides one value per pathology.
    freeze
        Layers that training does not change.
    learning_rate
        Step size of Adam.
    mixed_precision
        Whether it computes in float16.
    seed
        Of random weights.
    parameters
        Numbers of weights by kind.
    labels
        Facts of the label table that matter for the loss; None without a table.
    versions
        Of cxr, Python, Keras, its backend and NumPy.
    training
        How ``cxr train`` trained it; None for a model that it has not trained.
    command
        The command that wrote the card.
    """

    model: OutputFile
    pathologies: tuple[str, ...]
    image_size: tuple[int, int]
    preprocessing: Preprocessing
    pretrained: PretrainedWeights
    loss: LossChoice
    metrics: tuple[str, ...]
    freeze: str
    learning_rate: float
    mixed_precision: bool
    seed: int
    parameters: dict[str, int]
    labels: LabelSummary | None
    versions: dict[str, str]
    training: Training | None = None
    command: str = "build-model"

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        body = plain(self)
        assert isinstance(body, dict)
        return head(self.command) | {name: value for name, value in body.items() if name != "command"}

    def write(self, outputs: Outputs, model: Path) -> Path:
        """Write the card beside a model; return its path."""
        return outputs.write_json(model_card_path(model), self.to_document(), folder=Path())


def model_card_path(model: Path) -> Path:
    """Return where the card of a saved model lies: model.keras.json beside model.keras."""
    return model.with_name(model.name + ".json")


def read_model_card(model: Path | str) -> ModelCard:
    """Read the card beside a model, and check that it belongs to it.

    Parameters
    ----------
    model
        The model's file, or the card itself.

    Raises
    ------
    InputError
        Model or card is missing, the card is damaged, or it belongs to another file.
    """
    given = Path(model)
    path = given if given.suffix == ".json" else model_card_path(given)
    if not path.exists() and given.exists():
        raise InputError(f"{given}: has no model card ({path.name})", remedy=_REMEDY)
    document = read_json(path, remedy=_REMEDY)
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{path}: is not a model card", expected=f"schema_version {SCHEMA_VERSION}", remedy=_REMEDY)
    try:
        card: ModelCard = restore(ModelCard, document)
        if len(set(card.pathologies)) < len(card.pathologies) or not card.pathologies or min(card.image_size) < 1:
            raise ValueError("pathologies or image_size")
    except (ValueError, CxrError) as error:
        raise InputError(f"{path}: is not a model card ({shown(str(error), 200)})", remedy=_REMEDY) from error
    if given.suffix != ".json" and describe_input(given).sha256 != card.model.sha256:
        raise InputError(
            f"{given}: is not the model that {path.name} describes (another SHA-256)",
            remedy="Copy model and card together from where they were written.",
        )
    return card
