"""The parts of a DenseNet: its layers as plain values, and derived from them blocks, wiring, costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cxr_cli.services.result import Result

STEM, FINAL, HEAD = "stem", "final", "head"


@dataclass(frozen=True)
class Layer(Result):
    """One layer of the network.

    Attributes
    ----------
    name
        Keras' name of it.
    type
        Keras' name of its class.
    section
        "stem", "dense block 1" to "dense block 4", "transition 1" to "transition 3", "final" or "head".
    inputs
        Names of the layers whose output it takes.
    output_shape
        (height, width, channels) or (units,), for one image.
    kernel
        Side of the window, in pixels of its input; None for layers without window.
    stride
        Step of the window, in pixels of its input; None for layers without window.
    parameters
        Numbers of weights, all of them.
    trainable_parameters
        Those that training changes by gradient as the model stands.
    moving_statistics
        Means and variances that batch normalisation keeps.
    trainable
        Whether the layer is frozen (False) or not; a frozen batch normalisation runs in inference mode.
    multiply_adds
        Multiplications (each with an addition) for one image, in convolutions and dense layers.
    output_bytes
        Size of its output for one image, in bytes.
    """

    name: str
    type: str
    section: str
    inputs: tuple[str, ...]
    output_shape: tuple[int, ...]
    kernel: int | None
    stride: int | None
    parameters: int
    trainable_parameters: int
    moving_statistics: int
    trainable: bool
    multiply_adds: int
    output_bytes: int


@dataclass(frozen=True)
class Block(Result):
    """One part of the network, in order from input to output.

    Attributes
    ----------
    name
        "stem", "dense block 1" to "dense block 4", "transition 1" to "transition 3", "final" or "head".
    n_layers
        Layers as Keras counts them.
    n_convolutions
        Convolutions among them.
    depth
        Of a dense block: layers as the paper counts them (each a 1x1 and a 3x3 convolution). None for other parts.
    growth
        Of a dense block: channels that each of these layers adds. None for other parts.
    connections
        Of a dense block: direct connections into these layers, from the block's input and from all layers before:
        L(L+1)/2 for L layers. None for other parts.
    channels_in
        Channels that enter.
    channels_out
        Channels that leave.
    output_size
        (height, width) of the feature maps that leave; None for the head.
    parameters
        Numbers of weights, all of them.
    trainable_parameters
        Those that training changes by gradient as the model stands.
    trainable
        "yes", "no" (frozen), or "partly".
    multiply_adds
        Multiplications (each with an addition) for one image.
    """

    name: str
    n_layers: int
    n_convolutions: int
    depth: int | None
    growth: int | None
    connections: int | None
    channels_in: int
    channels_out: int
    output_size: tuple[int, int] | None
    parameters: int
    trainable_parameters: int
    trainable: str
    multiply_adds: int


@dataclass(frozen=True)
class LayerType(Result):
    """How many layers of the base are of one type, and their parameters.

    Attributes
    ----------
    type
        Keras' name of the class.
    n_layers
        Layers of this type.
    parameters
        Numbers of their weights, all of them.
    """

    type: str
    n_layers: int
    parameters: int


@dataclass(frozen=True)
class Parameters(Result):
    """Numbers of weights: total = trainable + frozen + moving statistics.

    Attributes
    ----------
    total
        All.
    trainable
        Changed by gradient as the model stands.
    frozen
        Could be trained, but belong to frozen layers.
    moving_statistics
        Means and variances kept by batch normalisation; never changed by gradient.
    """

    total: int
    trainable: int
    frozen: int
    moving_statistics: int


@dataclass(frozen=True)
class Memory(Result):
    """Memory that the network needs, in bytes.

    Attributes
    ----------
    weights
        Of the weights.
    activations_per_image
        Of all layers' outputs for one image: an upper bound for what training keeps of the forward pass.
    optimizer
        Of gradients and Adam's two moments for the trainable weights.
    """

    weights: int
    activations_per_image: int
    optimizer: int


@dataclass(frozen=True)
class Architecture(Result):
    """The network, as read from the model.

    Attributes
    ----------
    input_shape
        For one image.
    output_shape
        For one image.
    n_layers
        Layers of the whole model as Keras counts them.
    n_base_layers
        Layers of the base, without pooling and head.
    blocks
        Its parts, in order.
    layers
        All its layers, in order.
    layer_types
        Layers of the base by type, most frequent first.
    base
        Numbers of weights of the base.
    head
        Numbers of weights of the head.
    model
        Numbers of weights of both.
    receptive_field
        Side of the square of input pixels that one cell of the last feature map can see, without the image border.
    multiply_adds_convolutions
        Multiplications (each with an addition) for one image, in convolutions.
    multiply_adds_head
        Multiplications (each with an addition) for one image, in the head.
    memory
        Bytes for weights, activations and training.
    n_batch_normalisations
        All of them.
    n_batch_normalisations_frozen
        Those that run in inference mode even in training.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    n_layers: int
    n_base_layers: int
    blocks: tuple[Block, ...]
    layers: tuple[Layer, ...]
    layer_types: tuple[LayerType, ...]
    base: Parameters
    head: Parameters
    model: Parameters
    receptive_field: int
    multiply_adds_convolutions: int
    multiply_adds_head: int
    memory: Memory
    n_batch_normalisations: int
    n_batch_normalisations_frozen: int

    @property
    def base_layers(self) -> tuple[Layer, ...]:
        """The layers of the base."""
        return tuple(layer for layer in self.layers if layer.section != HEAD)


@dataclass(frozen=True)
class DenseLayer(Result):
    """One layer of a dense block as the paper counts them.

    Attributes
    ----------
    name
        Keras' name of the convolution that makes its output.
    sources
        Names of the layers whose outputs it takes, concatenated: the block's input, then earlier dense layers.
    trainable
        Whether that convolution is trainable.
    """

    name: str
    sources: tuple[str, ...]
    trainable: bool


def summarise(layers: Sequence[Layer], *, weight_bytes: int = 4) -> Architecture:
    """Derive blocks, counts and costs from the layers of a network.

    Parameters
    ----------
    layers
        In order from input to output; the last section is the head.
    weight_bytes
        Bytes of one weight.
    """
    base = [layer for layer in layers if layer.section != HEAD]
    head = [layer for layer in layers if layer.section == HEAD]
    model = _parameters(layers)
    normalisations = [layer for layer in layers if layer.type == "BatchNormalization"]
    return Architecture(
        input_shape=layers[0].output_shape,
        output_shape=layers[-1].output_shape,
        n_layers=len(layers),
        n_base_layers=len(base),
        blocks=_blocks(layers),
        layers=tuple(layers),
        layer_types=_layer_types(base),
        base=_parameters(base),
        head=_parameters(head),
        model=model,
        receptive_field=receptive_field(base),
        multiply_adds_convolutions=sum(layer.multiply_adds for layer in base),
        multiply_adds_head=sum(layer.multiply_adds for layer in head),
        memory=Memory(
            weights=weight_bytes * model.total,
            activations_per_image=sum(layer.output_bytes for layer in layers),
            optimizer=3 * weight_bytes * model.trainable,
        ),
        n_batch_normalisations=len(normalisations),
        n_batch_normalisations_frozen=sum(not layer.trainable for layer in normalisations),
    )


def receptive_field(layers: Iterable[Layer]) -> int:
    """Return the side in pixels of what one cell of the last layer's output sees of the input.

    Along a path, a window of side k on cells that lie j pixels apart adds (k - 1) j; a stride multiplies j.

    References
    ----------
    A. Araujo, W. Norris, J. Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
    """
    fields: dict[str, tuple[int, int]] = {}
    field = 1
    for layer in layers:
        below = [fields[name] for name in layer.inputs]
        field, jump = max((pair[0] for pair in below), default=1), max((pair[1] for pair in below), default=1)
        if layer.kernel is not None and layer.stride is not None:
            field, jump = field + (layer.kernel - 1) * jump, jump * layer.stride
        fields[layer.name] = field, jump
    return field


def dense_layers(layers: Iterable[Layer], section: str) -> tuple[DenseLayer, ...]:
    """Return the wiring of a dense block, found by following its concatenations.

    Each concatenation joins what a dense layer took in with what it made of it; its leaves are what the next one
    takes.
    """
    members = [layer for layer in layers if layer.section == section]
    by_name = {layer.name: layer for layer in members}
    found = []
    for layer in members:
        if layer.type == "Concatenate":
            old, new = layer.inputs
            found.append(DenseLayer(new, _leaves(old, by_name), by_name[new].trainable))
    return tuple(found)


def _leaves(name: str, by_name: Mapping[str, Layer]) -> tuple[str, ...]:
    layer = by_name.get(name)
    if layer is None or layer.type != "Concatenate":
        return (name,)
    return tuple(leaf for source in layer.inputs for leaf in _leaves(source, by_name))


def _blocks(layers: Sequence[Layer]) -> tuple[Block, ...]:
    sections = list(dict.fromkeys(layer.section for layer in layers))
    blocks: list[Block] = []
    for section in sections:
        members = [layer for layer in layers if layer.section == section]
        channels_in = blocks[-1].channels_out if blocks else members[0].output_shape[-1]
        blocks.append(_block(section, members, channels_in))
    return tuple(blocks)


def _block(section: str, members: Sequence[Layer], channels_in: int) -> Block:
    shape = members[-1].output_shape
    dense = dense_layers(members, section)
    trainable = {layer.trainable for layer in members if layer.parameters}
    return Block(
        name=section,
        n_layers=len(members),
        n_convolutions=sum(layer.type == "Conv2D" for layer in members),
        depth=len(dense) or None,
        growth=(shape[-1] - channels_in) // len(dense) if dense else None,
        connections=sum(len(layer.sources) for layer in dense) or None,
        channels_in=channels_in,
        channels_out=shape[-1],
        output_size=(shape[0], shape[1]) if len(shape) == 3 else None,
        parameters=sum(layer.parameters for layer in members),
        trainable_parameters=sum(layer.trainable_parameters for layer in members),
        trainable="partly" if len(trainable) > 1 else "yes" if True in trainable else "no",
        multiply_adds=sum(layer.multiply_adds for layer in members),
    )


def _parameters(layers: Iterable[Layer]) -> Parameters:
    layers = list(layers)
    total = sum(layer.parameters for layer in layers)
    trainable = sum(layer.trainable_parameters for layer in layers)
    moving = sum(layer.moving_statistics for layer in layers)
    return Parameters(total, trainable, total - trainable - moving, moving)


def _layer_types(layers: Iterable[Layer]) -> tuple[LayerType, ...]:
    counts: dict[str, tuple[int, int]] = {}
    for layer in layers:
        number, parameters = counts.get(layer.type, (0, 0))
        counts[layer.type] = number + 1, parameters + layer.parameters
    most_first = sorted(counts.items(), key=lambda item: -item[1][0])
    return tuple(LayerType(name, number, parameters) for name, (number, parameters) in most_first)
