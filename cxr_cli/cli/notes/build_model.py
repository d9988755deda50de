"""What ``cxr build-model`` says on stderr about its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.data.class_weights import ClassWeights
    from cxr_cli.data.files import InputFile
    from cxr_cli.services.build_model.result import BuildModelResult


def say(result: BuildModelResult) -> None:
    """Say what is worth knowing, and warn of what the user should act on."""
    _warn_of_loss(result)
    _warn_of_weights(result)
    if result.saved is None:
        console.note("the model was not saved; --save model.keras saves it")


def _warn_of_loss(result: BuildModelResult) -> None:
    labels = result.labels
    if result.loss.name == "categorical-crossentropy":
        console.warn(
            _trap(result) + "\nUse --loss binary-crossentropy, or --class-weights weights.json (weighted-bce)."
        )
    if labels is not None and labels.n_unknown and result.loss.name != "weighted-bce":
        console.warn(
            f"{labels.n_unknown:,} labels of {labels.path} are unknown: {result.loss.name} becomes NaN on them; "
            "weighted-bce masks them"
        )
    if result.loss.class_weights is not None:
        console.note(
            "the class weights are in the loss: do not pass class_weight to fit(), which silently takes "
            "the argmax of labels with several pathologies"
        )


def warn_of_another_table(weights: ClassWeights, tables: list[InputFile]) -> None:
    """Warn of class weights that were not computed from the label table, or from that of the store."""
    for table in {item.sha256: item for item in tables if weights.is_of_another_table(item)}.values():
        console.warn(
            f"{weights.path} was computed from another table than {table.path}; if you train on that "
            "table, compute the weights from it"
        )


def _trap(result: BuildModelResult) -> str:
    labels = result.labels
    if len(result.pathologies) == 1:
        return "categorical-crossentropy with one pathology is 0 for every image, so the model would learn nothing"
    rule = "categorical-crossentropy assumes that an image has exactly one pathology: "
    if labels is None:
        return rule + "images without findings give no gradient"
    return rule + (
        f"{labels.n_without_finding:,} of {labels.n_images:,} images of {labels.path} have none and give no gradient, "
        f"{labels.n_with_several:,} have several"
    )


def _warn_of_weights(result: BuildModelResult) -> None:
    origin = result.pretrained
    if origin.source == "random" and result.architecture.base.frozen:
        console.warn(
            "the base has random weights and is frozen, so training cannot improve it; "
            "use --pretrained FILE, --pretrained imagenet or --freeze none"
        )
    if origin.matched_by == "order":
        console.warn(
            "the file does not name DenseNet121's layers; its arrays were matched by order and shape, which cannot "
            "distinguish layers of equal shape"
        )
    if origin.untrained:
        console.warn("the batch normalisations in the file are at their initial values, so its weights are untrained")
    if origin.head == "loaded":
        console.note("a weight file does not name the pathologies of its head; check their order")
    elif origin.n_head_units is not None:
        console.note(
            f"the file's head of {origin.n_head_units:,} units was not loaded; --keep-head loads one that fits"
        )
    if origin.trained_on == "unknown":
        console.note("the training images of these weights are unknown and may include your test images")
