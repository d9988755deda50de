"""Options of a model, checked before Keras is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_cli.choices import Loss, checked
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.errors import UsageError, argument
from cxr_cli.services.model_card import LossChoice
from cxr_cli.services.result import Result
from cxr_cli.services.store.manifest import Preprocessing, StoreManifest

if TYPE_CHECKING:
    from cxr_cli.data.labels import LabelTable

#: The smallest height and width that leaves something to pool after five halvings.
SMALLEST_IMAGE = 32
#: Number of dense blocks in a DenseNet; Keras calls their layers conv2_… to conv5_….
N_DENSE_BLOCKS = 4


@dataclass(frozen=True)
class ModelOptions(Result):
    """Options of a model.

    Attributes
    ----------
    pathologies
        Names of the outputs, in order.
    image_size
        (height, width) in pixels, each at least 32.
    preprocessing
        Preparation of the images.
    pretrained
        "none" (random), "imagenet" (Keras' cache or download), or a weight file.
    keep_head
        Load the weight file's head, too.
    loss
        Name of the loss; None: weighted-bce with class weights, categorical-crossentropy without.
    class_weights
        In any order; exactly one pair for each pathology.
    freeze
        See :func:`cxr_cli.models.densenet.freeze`.
    learning_rate
        Of Adam.
    mixed_precision
        Compute in float16.
    seed
        Of the random weights.

    Raises
    ------
    UsageError
        Options contradict each other or lie outside their range.
    InputError
        The class weights are not those of the pathologies.
    """

    pathologies: tuple[str, ...]
    image_size: tuple[int, int] = (320, 320)
    preprocessing: Preprocessing = Preprocessing()
    pretrained: Path | str = "none"
    keep_head: bool = False
    loss: Loss | None = None
    class_weights: ClassWeights | None = None
    freeze: str = "base"
    learning_rate: float = 1e-3
    mixed_precision: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_pathologies(self.pathologies)
        check_image_size(self.image_size)
        check_learning_rate(self.learning_rate)
        first_trainable_block(self.freeze)
        choose_loss(self)
        if self.keep_head and self.pretrained == "none":
            raise UsageError(
                f"{argument('keep_head', True)} has no effect with {argument('pretrained', 'none')}",
                remedy=f"Drop it, or give a file: {argument('pretrained', option='--pretrained FILE')}.",
            )


def choose_pathologies(
    named: Sequence[str] | None,
    table: LabelTable | None = None,
    manifest: StoreManifest | None = None,
    class_weights: ClassWeights | None = None,
) -> tuple[str, ...]:
    """Return the pathologies of a model: those named, else the table's, the manifest's, or those with weights.

    Raises
    ------
    UsageError
        None of these is given, or the store behind the manifest has its labels in another order.
    """
    sources = (named, table and table.pathologies, manifest and manifest.pathologies)
    chosen = next((tuple(names) for names in sources if names), class_weights.pathologies if class_weights else ())
    if not chosen:
        raise UsageError(
            "the pathologies are unknown",
            remedy=f"Give a label table ({argument('table', option='--labels')}), or name them "
            f"({argument('pathologies')}).",
        )
    if manifest is not None and manifest.pathologies and manifest.pathologies != chosen:
        raise UsageError(
            f"the model's pathologies ({', '.join(chosen)}) are not those of the preprocessed images, in order",
            expected=", ".join(manifest.pathologies),
            remedy="Preprocess with the same label table, or take the pathologies from the store.",
        )
    return chosen


def choose_loss(options: ModelOptions) -> LossChoice:
    """Return the loss that the options ask for, with class weights in the order of the pathologies.

    Raises
    ------
    UsageError
        Class weights with a loss that ignores them, or weighted-bce without class weights.
    InputError
        Class weights for other pathologies than these.
    """
    weights = options.class_weights
    name = options.loss or ("categorical-crossentropy" if weights is None else "weighted-bce")
    checked(Loss, name, "loss")
    if name == "weighted-bce" and weights is None:
        raise UsageError(
            f"{argument('loss', 'weighted-bce')} needs class weights",
            remedy="Make some with 'cxr weights LABELS --save weights.json', and give "
            f"{argument('class_weights', option='--class-weights weights.json')}.",
        )
    if name != "weighted-bce" and weights is not None:
        raise UsageError(
            f"{argument('class_weights')} has no effect with {argument('loss', name)}",
            remedy=f"Drop one of them, or use {argument('loss', 'weighted-bce')}.",
        )
    return LossChoice(name, None if weights is None else weights.in_order(options.pathologies))


def check_pathologies(pathologies: Sequence[str]) -> None:
    """Raise UsageError unless there are names, each once and none empty."""
    if not pathologies:
        raise UsageError("no pathologies given", remedy=f"Give a label table, or name them: {argument('pathologies')}.")
    for name in pathologies:
        if not name.strip():
            raise UsageError("a pathology without a name")
        if pathologies.count(name) > 1:
            raise UsageError(f"pathology {name} is given twice", expected="each pathology once")


def check_image_size(image_size: tuple[int, int]) -> None:
    """Raise UsageError if a side of an image is too small for DenseNet121."""
    if min(image_size) < SMALLEST_IMAGE:
        raise UsageError(
            argument("image_size", image_size, option=f"--image-size {image_size[0]}x{image_size[1]}"),
            expected=f"at least {SMALLEST_IMAGE} pixels each way, for DenseNet121",
        )


def check_learning_rate(learning_rate: float) -> None:
    """Raise UsageError unless a learning rate is a finite number above 0."""
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise UsageError(argument("learning_rate", learning_rate), expected="a finite number above 0")


def first_trainable_block(scheme: str) -> int:
    """Return the number in Keras' layer names (2 to 5) of the first dense block that a freezing leaves trainable.

    Parameters
    ----------
    scheme
        "base", "none" or "all-but-last-N-blocks"; "none" gives 0 (the stem is trainable too), "base" 7 (past the end).

    Raises
    ------
    UsageError
        `scheme` is none of these.

    Examples
    --------
    >>> [first_trainable_block(scheme) for scheme in ("none", "all-but-last-1-blocks", "base")]
    [0, 5, 7]
    """
    if scheme in ("none", "base"):
        return 0 if scheme == "none" else N_DENSE_BLOCKS + 3
    match = re.fullmatch(r"all-but-last-([1-9])-blocks?", scheme)
    if match is None or int(match[1]) > N_DENSE_BLOCKS:
        raise UsageError(argument("freeze", scheme), expected="base, none, or all-but-last-N-blocks with N from 1 to 4")
    return N_DENSE_BLOCKS + 2 - int(match[1])
