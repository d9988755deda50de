"""``cxr build-model``: a DenseNet121 classifier, its weights diagnosed, its architecture shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cxr_cli.choices import Loss, Standardization, Summary
from cxr_cli.cli import console
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    OUTPUT,
    ColumnsOption,
    JoinOption,
    JsonOption,
    MapOption,
    NoPlotsOption,
    OutputOption,
    SchemaOption,
    SeedOption,
    UncertainOption,
    image_size_option,
    open_outputs,
    option,
)
from cxr_cli.cli.options import (
    image_size as read_image_size,
)
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.tables.build_model import tables_of
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.data.class_weights import ClassWeights
    from cxr_cli.data.files import InputFile
    from cxr_cli.services.build_model.result import BuildModelResult
    from cxr_cli.services.store.manifest import Preprocessing, StoreManifest


def build_model(
    labels: Annotated[
        Path | None,
        option(
            "--labels",
            "Label table of the training images: gives the pathologies, and counts for the choice of the loss.",
            metavar="TABLE",
            panel=INPUT,
        ),
    ] = None,
    store: Annotated[
        Path | None,
        option(
            "--store",
            "Output folder of 'cxr preprocess', or its preprocess.json: gives image size, standardization and "
            "pathologies.",
            metavar="DIR",
            panel=INPUT,
        ),
    ] = None,
    pretrained: Annotated[
        str,
        option(
            "--pretrained",
            "Weights of the base: FILE (.h5, .weights.h5, .keras, .pt, .pth, .safetensors), imagenet (from Keras' "
            "cache, or downloaded) or none (random).",
            metavar="FILE|NAME",
            panel=INPUT,
        ),
    ] = "none",
    class_weights: Annotated[
        Path | None,
        option("--class-weights", "File of 'cxr weights --save', for the loss.", metavar="FILE", panel=INPUT),
    ] = None,
    schema: SchemaOption = None,
    uncertain: UncertainOption = "ignore",
    columns: ColumnsOption = None,
    join: JoinOption = None,
    map_pathologies: MapOption = None,
    pathologies: Annotated[
        str | None,
        option(
            "--pathologies",
            "Names of the outputs, in order.",
            metavar="A,B,…",
            panel=COMPUTE,
            default="those of the table",
        ),
    ] = None,
    keep_head: Annotated[
        bool, option("--keep-head", "Load the head of the file too; its width must fit.", panel=COMPUTE)
    ] = False,
    loss: Annotated[
        Loss | None,
        option(
            "--loss",
            "weighted-bce (needs --class-weights), binary-crossentropy or categorical-crossentropy (for exclusive "
            "classes only).",
            metavar="NAME",
            panel=COMPUTE,
            default="weighted-bce with --class-weights, else categorical-crossentropy",
        ),
    ] = None,
    freeze: Annotated[
        str,
        option(
            "--freeze",
            "Layers that training leaves alone: base, all-but-last-N-blocks (N from 1 to 4) or none.",
            metavar="LAYERS",
            panel=COMPUTE,
        ),
    ] = "base",
    image_size: Annotated[str | None, image_size_option("the input, at least 32,", "that of --store, else 320")] = None,
    standardize: Annotated[
        Standardization | None,
        option(
            "--standardize",
            "How pixels are standardized before the model sees them: samplewise, featurewise, imagenet, "
            "torchxrayvision (-1024 to 1024) or none. PyTorch files need it.",
            metavar="HOW",
            panel=COMPUTE,
            default="that of --store, else samplewise",
        ),
    ] = None,
    learning_rate: Annotated[float, option("--learning-rate", "Step size of Adam.", metavar="R", panel=COMPUTE)] = 1e-3,
    mixed_precision: Annotated[
        bool, option("--mixed-precision", "Compute in float16, for GPUs; the head stays in float32.", panel=COMPUTE)
    ] = False,
    seed: SeedOption = 0,
    summary: Annotated[
        Summary,
        option("--summary", "How much of the network to show: blocks, layers or full.", metavar="LEVEL", panel=OUTPUT),
    ] = "blocks",
    save: Annotated[
        Path | None,
        option("--save", "Save the model (.keras), with a model card beside it.", metavar="FILE", panel=OUTPUT),
    ] = None,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a compiled DenseNet121 with one sigmoid unit per pathology, verify its weights and show its parts.

    Weights are loaded by layer name and shape, all or none; a file that does not fit is diagnosed. Nothing is
    downloaded unless you ask for it, and nothing in a weight file is executed.

    Example: `cxr build-model --store store/train --class-weights weights.json --pretrained imagenet --save model.keras`
    """
    from cxr_cli.data.class_weights import read_class_weights
    from cxr_cli.data.files import describe_input
    from cxr_cli.services.build_model import build_model as service
    from cxr_cli.services.build_model.options import ModelOptions, choose_pathologies
    from cxr_cli.services.store.manifest import StoreManifest

    how: dict[str, Any] = {"schema": schema, "columns": columns, "join": join, "map_pathologies": map_pathologies}
    table = None if labels is None else read_table(labels, uncertain=uncertain, need_labels=True, **how)
    weighting = None if class_weights is None else read_class_weights(class_weights)
    manifest = None if store is None else StoreManifest.read(store)
    options = ModelOptions(
        pathologies=choose_pathologies(_names(pathologies), table, manifest, weighting),
        image_size=_image_size(image_size, manifest),
        preprocessing=_preprocessing(standardize, manifest, pretrained),
        pretrained=pretrained,
        keep_head=keep_head,
        loss=None if loss is None else loss,
        class_weights=weighting,
        freeze=freeze,
        learning_rate=learning_rate,
        mixed_precision=mixed_precision,
        seed=seed,
    )
    stored = service.read_weights(options)  # refused, if it must be, before seconds go by
    inputs = [] if table is None else [*table.sources]
    inputs += [] if class_weights is None else [describe_input(class_weights)]
    inputs += [] if options.preprocessing.manifest is None else [options.preprocessing.manifest]
    inputs += [] if pretrained in ("imagenet", "none") else [describe_input(Path(pretrained))]
    outputs = open_outputs(output, "build-model", inputs, no_plots=no_plots)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with console.quiet_libraries():
        service.start_keras()
    result = service.build_model(options, table=table, save=save, outputs=outputs, pretrained=stored)
    console.show(
        "build-model",
        result,
        lambda shown: tables_of(shown, summary),
        as_json=as_json,
        inputs=inputs,
        outputs=outputs,
    )
    _warn(result)
    if weighting is not None:
        sources = [item for item in (table and table.source, manifest and manifest.table) if item]
        _warn_of_another_table(weighting, sources)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _image_size(text: str | None, manifest: StoreManifest | None) -> tuple[int, int]:
    if text is None:
        return (320, 320) if manifest is None else manifest.image_size
    size = read_image_size(text)
    if manifest is not None and size != manifest.image_size:
        raise UsageError(
            f"--image-size {text} contradicts the manifest, whose images are {_times(manifest.image_size)}",
            remedy="Drop --image-size.",
        )
    return size


def _preprocessing(
    standardize: Standardization | None, manifest: StoreManifest | None, pretrained: str
) -> Preprocessing:
    from cxr_cli.services.build_model.pretrained import require_standardization
    from cxr_cli.services.store.manifest import Preprocessing

    if manifest is None and standardize is None:
        require_standardization(pretrained)
    if manifest is None:
        return Preprocessing(standardize or "samplewise")
    if standardize is not None and standardize != manifest.preprocessing.standardize:
        raise UsageError(
            f"--standardize {standardize} contradicts the manifest: {manifest.preprocessing.standardize}",
            remedy="Drop --standardize.",
        )
    return manifest.preprocessing


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape)


def _warn(result: BuildModelResult) -> None:
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


def _warn_of_another_table(weights: ClassWeights, tables: list[InputFile]) -> None:
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
