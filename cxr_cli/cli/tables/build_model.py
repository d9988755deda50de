"""Tables of ``cxr build-model``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.choices import Summary
from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.build_model.architecture import Block, Layer, Parameters
    from cxr_cli.services.build_model.result import BuildModelResult
    from cxr_cli.services.store.manifest import Preprocessing


def tables_of(result: BuildModelResult, summary: Summary) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    yield _overview(result)
    yield _blocks(result)
    yield _parameters(result)
    if summary != "blocks":
        base = result.architecture.base_layers
        yield _layers("First five layers of the base", base[:5])
        yield _layers("Last five layers of the base", base[-5:])
        yield _layer_types(result)
    if summary == "full":
        yield _layers("All layers", result.architecture.layers)


def _overview(result: BuildModelResult) -> RenderableType:
    network = result.architecture
    memory = network.memory
    rows = [
        ("pathologies", f"{len(result.pathologies)}: {', '.join(result.pathologies)}"),
        ("input", f"{_times(network.input_shape)}, {result.preprocessing.channels}"),
        ("standardization", _standardization(result.preprocessing)),
        ("output", f"{network.output_shape[0]} probabilities (sigmoid)"),
        ("weights", _weights(result)),
        ("head", result.pretrained.head),
        ("frozen", f"{result.freeze}; {_normalisations(result)}"),
        ("loss", _loss(result)),
        ("optimizer", f"Adam, learning rate {result.learning_rate:g}"),
        ("metrics", "AUROC and AUPRC, mean and per pathology"),
        ("layers", f"{network.n_layers}, {network.n_base_layers} of them in the base"),
        ("receptive field", f"{network.receptive_field:,} pixels"),
        ("multiply-adds", f"{network.multiply_adds_convolutions / 1e9:.3f} billion per image"),
        (
            "memory",
            f"weights {_megabytes(memory.weights)}, activations up to {_megabytes(memory.activations_per_image)} per "
            f"image, gradients and Adam {_megabytes(memory.optimizer)}",
        ),
    ]
    return console.table("The model", ["DenseNet121", "as built"], rows, text_columns=2)


def _standardization(preprocessing: Preprocessing) -> str:
    numbers = "" if preprocessing.mean is None else f" (mean {preprocessing.mean:g}, std {preprocessing.std:g})"
    return f"{preprocessing.standardize}{numbers}"


def _weights(result: BuildModelResult) -> str:
    origin = result.pretrained
    if origin.file is None:
        return f"random, seed {result.seed}"
    return (
        f"{origin.file.path}: {origin.n_arrays} arrays, {origin.n_parameters:,} numbers, by {origin.matched_by} "
        f"({origin.layout})"
    )


def _normalisations(result: BuildModelResult) -> str:
    network = result.architecture
    return (
        f"{network.n_batch_normalisations_frozen} of {network.n_batch_normalisations} batch normalisations in "
        "inference mode"
    )


def _loss(result: BuildModelResult) -> str:
    weights = result.loss.class_weights
    return result.loss.name if weights is None else f"{result.loss.name} ({weights.scheme or 'own'} weights)"


def _blocks(result: BuildModelResult) -> RenderableType:
    def row(block: Block) -> tuple[object, ...]:
        return (
            block.name,
            block.n_layers,
            block.n_convolutions,
            None if block.depth is None else f"{block.depth} × {block.growth}",
            block.connections,
            f"{block.channels_in} → {block.channels_out}",
            None if block.output_size is None else _times(block.output_size),
            block.parameters,
            {"yes": "trainable", "no": "frozen"}.get(block.trainable, block.trainable),
            f"{block.multiply_adds / 1e6:,.1f} M",
        )

    return console.table(
        "The network by block",
        [
            "block",
            "layers",
            "convs",
            "depth × growth",
            "connections",
            "channels",
            "maps",
            "parameters",
            "training",
            "multiply-adds",
        ],
        [row(block) for block in result.architecture.blocks],
        caption="maps: height × width of the feature maps that leave, in pixels",
    )


def _parameters(result: BuildModelResult) -> RenderableType:
    def row(name: str, numbers: Parameters) -> tuple[object, ...]:
        return name, numbers.total, numbers.trainable, numbers.frozen, numbers.moving_statistics

    network = result.architecture
    return console.table(
        "Parameters",
        ["", "total", "trainable", "frozen", "moving statistics"],
        [row("base", network.base), row("head", network.head), row("model", network.model)],
    )


def _layers(title: str, layers: tuple[Layer, ...]) -> RenderableType:
    return console.table(
        title,
        ["layer", "type", "takes", "output", "parameters", "training"],
        [
            (
                layer.name,
                layer.type,
                ", ".join(layer.inputs),
                _times(layer.output_shape),
                layer.parameters,
                None if not layer.parameters else "trainable" if layer.trainable else "frozen",
            )
            for layer in layers
        ],
        text_columns=3,
    )


def _layer_types(result: BuildModelResult) -> RenderableType:
    return console.table(
        "Layers of the base by type",
        ["type", "layers", "parameters"],
        [(item.type, item.n_layers, item.parameters) for item in result.architecture.layer_types],
    )


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
