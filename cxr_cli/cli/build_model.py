"""``cxr build-model``: a DenseNet121 classifier, its weights diagnosed, its architecture shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cxr_cli.choices import Loss, Standardization, Summary
from cxr_cli.cli import console
from cxr_cli.cli.model_arguments import start_keras
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    OUTPUT,
    JsonOption,
    NoPlotsOption,
    OutputOption,
    SeedOption,
    image_size_option,
    open_outputs,
    option,
    refuse_useless,
)
from cxr_cli.cli.options import (
    image_size as read_image_size,
)
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.services.store.manifest import Preprocessing, StoreManifest


@with_table_options
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
    how: TableOptions = RECOGNISED,
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
    from cxr_cli.cli.notes.build_model import say, warn_of_another_table
    from cxr_cli.cli.tables.build_model import tables_of
    from cxr_cli.data.class_weights import read_class_weights
    from cxr_cli.data.files import describe_input
    from cxr_cli.services.build_model import build_model as service
    from cxr_cli.services.build_model.options import ModelOptions, choose_pathologies
    from cxr_cli.services.store.manifest import StoreManifest

    if labels is None:
        refuse_useless("without --labels", **how.given())
    table = None if labels is None else read_table(labels, how, need_labels=True)
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
    start_keras()
    result = service.build_model(options, table=table, save=save, outputs=outputs, pretrained=stored)
    console.show(
        "build-model",
        result,
        lambda shown: tables_of(shown, summary),
        as_json=as_json,
        inputs=inputs,
        outputs=outputs,
    )
    say(result)
    if weighting is not None:
        sources = [item for item in (table and table.source, manifest and manifest.table) if item]
        warn_of_another_table(weighting, sources)


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
