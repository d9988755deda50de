"""Pre-trained weights into DenseNet121: by layer name and shape, all or nothing, with a diagnosis if it cannot be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.torch_checkpoint import Checkpoint, is_torch_file, read_checkpoint
from cxr_cli.data.weight_files import REMEDY, StoredLayer, WeightFile, open_weight_file, read_array
from cxr_cli.errors import UsageError, WeightsFileError
from cxr_cli.models.consistency import find_exchanged
from cxr_cli.models.densenet import HEAD_LAYER, base_layers
from cxr_cli.models.torch_densenet import arrange

#: How many differing layers a message shows.
_SHOWN = 3
#: Kernels of the stem: height, width, channels in, channels out.
_STEM, _STEM_KERNEL = "conv1_conv", (7, 7, 3, 64)
#: Networks by their numbers of convolutions and batch normalisations, base only (Keras' applications).
_BY_COUNTS = {
    (168, 169): "DenseNet169",
    (200, 201): "DenseNet201",
    (53, 53): "ResNet50",
    (104, 104): "ResNet101",
    (155, 155): "ResNet152",
    (53, 49): "ResNet50V2",
    (104, 100): "ResNet101V2",
    (155, 151): "ResNet152V2",
    (13, 0): "VGG16",
    (16, 0): "VGG19",
    (94, 94): "InceptionV3",
    (244, 204): "InceptionResNetV2",
}
#: Families by what their layers are called.
_BY_NAME = {
    r"sepconv\d": "Xception",
    r"expanded_conv_": "MobileNetV2 or V3",
    r"conv_(pw|dw)_\d+": "MobileNet",
    r"block\d[a-z]_": "EfficientNet",
    r"normal_left\d": "NASNet",
    r"convnext": "ConvNeXt",
}


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded.

    Attributes
    ----------
    layout
        Format of the file, in words.
    matched_by
        "name", or "order" where the file knows no names or other ones.
    n_arrays, n_parameters
        Arrays and numbers loaded into the base: all it has.
    head
        "loaded", "left out" (the file has one, the model got a new one) or "none in file".
    n_head_units
        Units of the head in the file; None without one.
    untrained
        Whether the batch normalisations are those of a network that has never seen an image.
    """

    layout: str
    matched_by: str
    n_arrays: int
    n_parameters: int
    head: str
    n_head_units: int | None
    untrained: bool


def load_pretrained(model: keras.Model, path: Path, *, keep_head: bool = False) -> LoadedWeights:
    """Load the base of a weight file into the base of `model`, and its head too if asked to.

    Layers are matched by name ("/" and "_" folded, so that "conv1/conv" of 2018 is today's "conv1_conv"), arrays by
    shape. Only if the file knows no names, or knows other ones for the very same sequence of shapes, are they
    matched by order. All arrays are read and checked before the first is assigned.

    Parameters
    ----------
    model
        What :func:`cxr_cli.models.densenet.build_densenet` returned.
    path
        A file that :func:`cxr_cli.data.weight_files.open_weight_file` or
        :func:`cxr_cli.data.torch_checkpoint.read_checkpoint` can read.
    keep_head
        Load the file's dense layer as the head; it must have as many units as `model` has pathologies.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    WeightsFileError
        The file is something else, damaged, of another network, incomplete, or contradicts itself. The model is
        unchanged then.
    UsageError
        `keep_head` and the file has no head, or one of another width.
    """
    layers = {layer.name: layer for layer in base_layers(model) if layer.weights}
    if is_torch_file(path):
        return _load_torch(model, layers, read_checkpoint(path), keep_head=keep_head)
    with open_weight_file(path) as file:
        _refuse_flipped_kernels(file)
        found, matched_by = _match(file, layers)
        values = [_values(file, stored, layers[name]) for name, stored in found.items()]
        _refuse_exchanged(file, layers, values)
        head = _head(file, found.values())
        head_values = _head_values(file, head, model.get_layer(HEAD_LAYER)) if keep_head else None
    arrays = [array for layer_values in values for array in layer_values]
    for name, layer_values in zip(found, values, strict=True):
        layers[name].set_weights(layer_values)
    if head_values is not None:
        model.get_layer(HEAD_LAYER).set_weights(head_values)
    return LoadedWeights(
        layout=file.layout,
        matched_by=matched_by,
        n_arrays=len(arrays),
        n_parameters=sum(array.size for array in arrays),
        head="none in file" if head is None else "loaded" if keep_head else "left out",
        n_head_units=None if head is None else head[1],
        untrained=_untrained(layers.values()),
    )


def _load_torch(
    model: keras.Model, layers: Mapping[str, keras.layers.Layer], checkpoint: Checkpoint, *, keep_head: bool
) -> LoadedWeights:
    """Load what PyTorch saved: by torchvision's names, all or nothing."""
    stored = arrange(checkpoint)
    values = {
        name: [stored.layers[name][variable.name] for variable in layer.weights] for name, layer in layers.items()
    }
    for name, layer in layers.items():
        for variable, array in zip(layer.weights, values[name], strict=True):
            if tuple(variable.shape) != array.shape:
                raise WeightsFileError(
                    f"{checkpoint.path}: {variable.name} of {name} has shape {array.shape}",
                    expected=f"{tuple(variable.shape)}, as in DenseNet121",
                )
    head = model.get_layer(HEAD_LAYER)
    units = None if stored.head is None else stored.head[0].shape[1]
    if keep_head and units != head.units:
        raise UsageError(
            f"{checkpoint.path}: its head has {'no single dense layer' if units is None else f'{units} units'}, the "
            f"model {head.units} pathologies",
            remedy="Leave out --keep-head: the base is loaded, and the model gets a new head.",
        )
    for name, layer in layers.items():
        layer.set_weights(values[name])
    if keep_head and stored.head is not None:
        head.set_weights(list(stored.head))
    arrays = [array for layer_values in values.values() for array in layer_values]
    return LoadedWeights(
        layout=checkpoint.layout,
        matched_by="name",
        n_arrays=len(arrays),
        n_parameters=sum(array.size for array in arrays),
        head="none in file" if units is None else "loaded" if keep_head else "left out",
        n_head_units=units,
        untrained=_untrained(layers.values()),
    )


# -------------------------------------------------------------------------------------------------------- matching


def _match(file: WeightFile, layers: Mapping[str, keras.layers.Layer]) -> tuple[dict[str, StoredLayer], str]:
    """Find the stored layer of each layer of the base; return them in the base's order, and how they were found."""
    other = _other_network(file)
    if other is not None:
        raise WeightsFileError(f"{file.path}: holds the weights of {other}", expected="DenseNet121", remedy=REMEDY)
    found = _by_name(file, layers)
    if not found:
        return _by_order(file, layers), "order"
    missing = [name for name in layers if name not in found]
    if missing:
        raise WeightsFileError(
            f"{file.path}: lacks {len(missing)} of the {len(layers)} layers with weights of DenseNet121's base "
            f"({_some(missing)})",
            remedy=REMEDY,
        )
    _check_shapes(file, found, layers)
    if file.ordered:
        _check_order(file, found, layers)
    return {name: found[name] for name in layers}, "name"


def _by_name(file: WeightFile, known: Iterable[str]) -> dict[str, StoredLayer]:
    """Return the stored layers that bear a name of the base, in the file's order."""
    known = set(known)
    found: dict[str, StoredLayer] = {}
    for stored in file.layers:
        names = _known_names(stored.path, known)
        if len(names) > 1:
            one, other = names[:2]
            raise WeightsFileError(
                f"{file.path}: stores the weights of {other} under the name of {one}: layers were swapped",
                remedy="Do not use this file; take the original.",
            )
        if names and names[0] in found:
            raise WeightsFileError(f"{file.path}: holds layer {names[0]} more than once", remedy=REMEDY)
        if names:
            found[names[0]] = stored
    return found


def _known_names(path: str, known: set[str]) -> list[str]:
    """Return the names of the base in a stored path, each once.

    "densenet121/conv1/conv" holds conv1_conv; the longest name wins, for "conv1/bn" is not the layer "bn".
    """
    parts = path.split("/")
    names: list[str] = []
    start = 0
    while start < len(parts):
        for stop in range(len(parts), start, -1):
            name = "_".join(parts[start:stop])
            if name in known:
                names += [name] if name not in names else []
                start = stop - 1
                break
        start += 1
    return names


def _by_order(file: WeightFile, layers: Mapping[str, keras.layers.Layer]) -> dict[str, StoredLayer]:
    """Match the n-th convolution to the n-th convolution and so on, if all shapes agree."""
    found: dict[str, StoredLayer] = {}
    for kind, wanted in (("conv2d", "kernel"), ("batch_normalization", "gamma")):
        names = [name for name, layer in layers.items() if hasattr(layer, wanted)]
        stored = [item for item in file.layers if item.kind == kind]
        if not file.ordered or len(stored) != len(names):
            n_convolutions = sum(item.kind == "conv2d" for item in file.layers)
            raise WeightsFileError(
                f"{file.path}: holds no layer of DenseNet121 by name, but {len(file.layers)} layers with weights, "
                f"{n_convolutions} of them convolutions ({_some([item.label for item in file.layers])})",
                expected="the 120 convolutions and 121 batch normalisations of DenseNet121",
                remedy=REMEDY,
            )
        found |= dict(zip(names, stored, strict=True))
    found = {name: found[name] for name in layers}
    _check_shapes(file, found, layers)
    return found


def _check_order(file: WeightFile, found: Mapping[str, StoredLayer], layers: Iterable[str]) -> None:
    """Refuse a file whose order contradicts its names: Keras itself loads by order, so one of them is wrong.

    DenseNet's layers with weights lie on one chain: whatever wrote the file, they have one order only. Keras 3 keeps
    it among layers of the same kind.
    """
    for kind in ("conv2d", "batch_normalization"):
        stored = [name for name, item in found.items() if item.kind == kind]
        for expected, name in zip((name for name in layers if name in stored), stored, strict=True):
            if name != expected:
                raise WeightsFileError(
                    f"{file.path}: has layer {name} where {expected} belongs: layers were swapped or renamed, and "
                    "whether their names or their places are right cannot be told",
                    remedy="Do not use this file; take the original.",
                )


# --------------------------------------------------------------------------------------------------------- checking


def _shapes(layer: keras.layers.Layer) -> dict[str, tuple[int, ...]]:
    return {variable.name: tuple(variable.shape) for variable in layer.weights}


def _stored_shapes(stored: StoredLayer) -> dict[str, tuple[int, ...]]:
    return {weight: tuple(array.shape) for weight, array in stored.arrays.items()}


def _check_shapes(file: WeightFile, found: Mapping[str, StoredLayer], layers: Mapping[str, keras.layers.Layer]) -> None:
    differing = [name for name in layers if _stored_shapes(found[name]) != _shapes(layers[name])]
    if not differing:
        return
    stem = _stored_shapes(found[_STEM]).get("kernel")
    if stem == (7, 7, 1, 64):
        raise WeightsFileError(
            f"{file.path}: its first convolution takes images of one channel",
            expected="three channels (a grey image is given three times)",
            remedy=REMEDY,
        )
    if stem is not None and stem != _STEM_KERNEL and sorted(stem) == sorted(_STEM_KERNEL):
        raise WeightsFileError(
            f"{file.path}: its kernels have shape {stem}: Theano's or PyTorch's order of the axes",
            expected=f"TensorFlow's, {_STEM_KERNEL}",
            remedy=REMEDY,
        )
    lines = [f"{name} has {_pairs(_stored_shapes(found[name]), _shapes(layers[name]))}" for name in differing[:_SHOWN]]
    raise WeightsFileError(
        f"{file.path}: {len(differing)} of {len(layers)} layers have other arrays than DenseNet121: {'; '.join(lines)}",
        remedy=REMEDY,
    )


def _pairs(stored: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    """Say how the arrays of one layer differ: "kernel (3, 3, 64, 32) instead of (3, 3, 128, 32)"."""
    parts = [
        f"{weight} {stored.get(weight, 'missing')} instead of {expected.get(weight, 'nothing')}"
        for weight in (*expected, *(weight for weight in stored if weight not in expected))
        if stored.get(weight) != expected.get(weight)
    ]
    return ", ".join(parts)


def _refuse_flipped_kernels(file: WeightFile) -> None:
    # The shapes agree, and loading would silently give another network.
    if file.backend.lower() == "theano":
        raise WeightsFileError(
            f"{file.path}: was written by Keras on Theano, whose convolution kernels are turned by 180 degrees",
            expected="kernels for TensorFlow's convolution",
            remedy=REMEDY,
        )


def _values(file: WeightFile, stored: StoredLayer, layer: keras.layers.Layer) -> list[NDArray[np.float32]]:
    return [read_array(file, stored, variable.name) for variable in layer.weights]


def _refuse_exchanged(
    file: WeightFile, layers: Mapping[str, keras.layers.Layer], values: Sequence[Sequence[NDArray[np.float32]]]
) -> None:
    names = ([weight.name for weight in layer.weights] for layer in layers.values())
    weights = {
        layer: dict(zip(weight_names, arrays, strict=True))
        for layer, weight_names, arrays in zip(layers, names, values, strict=True)
    }
    exchanged = find_exchanged(weights)
    if exchanged is not None:
        raise WeightsFileError(
            f"{file.path}: the arrays of {exchanged[0]} and {exchanged[1]} were swapped: each fits the layers around "
            "the other and not those around itself",
            remedy="Do not use this file; take the original.",
        )


def _untrained(layers: Iterable[keras.layers.Layer]) -> bool:
    """Return whether all moving statistics are what they are made with: mean 0, variance 1."""
    normalisations = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    return all(
        not layer.moving_mean.numpy().any() and (layer.moving_variance.numpy() == 1).all() for layer in normalisations
    )


# --------------------------------------------------------------------------------------------- what else is in the file


def _head(file: WeightFile, base: Iterable[StoredLayer]) -> tuple[StoredLayer, int] | None:
    """Return the dense layer that follows the base in the file, with its number of units."""
    used = {id(stored) for stored in base}
    for stored in file.layers:
        kernel = stored.arrays.get("kernel")
        if id(stored) not in used and stored.kind == "dense" and kernel is not None and kernel.shape[0] == 1024:
            return stored, int(kernel.shape[1])
    return None


def _head_values(
    file: WeightFile, head: tuple[StoredLayer, int] | None, layer: keras.layers.Layer
) -> list[NDArray[np.float32]]:
    """Read the file's head, if it fits."""
    units = layer.units
    if head is None:
        raise UsageError(
            f"{file.path}: has no head to keep",
            expected=f"a dense layer from 1024 to {units}",
            remedy="Leave out --keep-head.",
        )
    stored, stored_units = head
    if stored_units != units or "bias" not in stored.arrays:
        kind = "ImageNet's 1000 classes" if stored_units == 1000 else f"{stored_units} units"
        raise UsageError(
            f"{file.path}: its head has {kind}, the model {units} pathologies",
            remedy="Leave out --keep-head: the base is loaded, and the model gets a new head.",
        )
    return _values(file, stored, layer)


def _other_network(file: WeightFile) -> str | None:
    """Name the network that a file holds if it is one that is known and not DenseNet121."""
    counts = Counter(stored.kind for stored in file.layers)
    network = _BY_COUNTS.get((counts["conv2d"], counts["batch_normalization"]))
    if network is not None:
        return network
    for pattern, family in _BY_NAME.items():
        if sum(re.search(pattern, stored.path) is not None for stored in file.layers) > 2:
            return family
    return None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
