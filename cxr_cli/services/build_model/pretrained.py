"""Pretrained weights for DenseNet121: found in a file by layer name and shape, all or nothing, or diagnosed.

Keras is not needed: a wrong file is refused before Keras is loaded. `cxr_cli.models.pretrained` puts the arrays into a
model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.limits import refuse_special
from cxr_cli.data.torch_checkpoint import Checkpoint, is_torch_file, read_checkpoint
from cxr_cli.data.weight_files import (
    REMEDY,
    StoredLayer,
    WeightFile,
    checked_weight,
    open_weight_file,
    read_array,
)
from cxr_cli.errors import UsageError, WeightsFileError, argument
from cxr_cli.services.build_model.densenet121 import N_FEATURES, STEM_LAYER, Shapes, base_shapes
from cxr_cli.services.build_model.torch_densenet import arrange

#: How many differing layers a message shows.
_SHOWN = 3
#: Kernel of the stem: height, width, channels in, channels out.
_STEM_KERNEL = (7, 7, 3, 64)
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


Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pretrained:
    """The weights of DenseNet121 in a file.

    Attributes
    ----------
    path
        The file, as given.
    layout
        Its format, in words.
    matched_by
        "name", or "order" where the file knows no names or other ones.
    layers
        All arrays of the base, by layer and weight, in Keras' order; float32.
    head
        Kernel, shape (1024, n_units), and bias, shape (n_units,), if they were asked for; else None.
    n_head_units
        Units of the last dense layer in the file; None without one.
    """

    path: Path
    layout: str
    matched_by: str
    layers: Mapping[str, Mapping[str, Floats]]
    head: tuple[Floats, Floats] | None
    n_head_units: int | None

    @property
    def untrained(self) -> bool:
        """Whether all moving statistics are what they are made with: mean 0, variance 1."""
        normalisations = [arrays for arrays in self.layers.values() if "moving_mean" in arrays]
        return all(
            not arrays["moving_mean"].any() and bool((arrays["moving_variance"] == 1).all())
            for arrays in normalisations
        )


def read_pretrained(path: Path, *, n_units: int | None = None) -> Pretrained:
    """Read the base of a weight file, and its head if it is to be kept; check that both can be what they should.

    Layers are matched by name ("/" and "_" folded, so that "conv1/conv" of 2018 is today's "conv1_conv"), arrays by
    shape. Only if the file knows no names, or knows other ones for the very same sequence of shapes, are they
    matched by order.

    Parameters
    ----------
    path
        A file that :func:`cxr_cli.data.weight_files.open_weight_file` or
        :func:`cxr_cli.data.torch_checkpoint.read_checkpoint` can read.
    n_units
        Read the file's head too, which must have so many units; None leaves it out.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    WeightsFileError
        The file is something else, damaged, of another network, incomplete, or contradicts itself.
    UsageError
        `n_units` is given, and the file has no head, or another one.
    """
    refuse_special(path)
    if is_torch_file(path):
        return _from_torch(read_checkpoint(path), n_units)
    shapes = base_shapes()
    with open_weight_file(path) as file:
        _refuse_flipped_kernels(file)
        found, matched_by = _match(file, shapes)
        layers = {
            name: {weight: read_array(file, stored, weight) for weight in shapes[name]}
            for name, stored in found.items()
        }
        dense = _dense_layers(file, found.values())
        return Pretrained(
            path=Path(path),
            layout=file.layout,
            matched_by=matched_by,
            layers=layers,
            head=None if n_units is None else _head(file, dense, n_units),
            n_head_units=dense[-1].arrays["kernel"].shape[1] if dense else None,
        )


def require_standardization(pretrained: Path | str) -> None:
    """Ask for the standardization of a file of PyTorch's: outputs can agree on tensors and be nonsense on images.

    Raises
    ------
    UsageError
        It is such a file.
    """
    if is_torch_file(Path(pretrained)):
        how = argument("standardize")
        raise UsageError(
            f"{pretrained}: a weight file does not tell how its images were standardized",
            expected=how,
            remedy=f"Most networks in PyTorch took {argument('standardize', 'imagenet')}, those of torchxrayvision "
            f"{argument('standardize', 'torchxrayvision')} (grey levels from -1024 to 1024).",
        )


def _from_torch(checkpoint: Checkpoint, n_units: int | None) -> Pretrained:
    """Arrange what PyTorch saved: by torchvision's names, all or nothing."""
    stored = arrange(checkpoint)
    layers: dict[str, dict[str, Floats]] = {}
    for name, shapes in base_shapes().items():
        layers[name] = {}
        for weight, shape in shapes.items():
            where = f"{checkpoint.path}: {weight} of {name}"
            array = stored.layers[name][weight]
            if shape != array.shape:
                raise WeightsFileError(f"{where} has shape {array.shape}", expected=f"{shape}, as in DenseNet121")
            layers[name][weight] = checked_weight(array, weight, where)
    units = None if stored.head is None else int(stored.head[0].shape[1])
    if n_units is not None and units != n_units:
        raise UsageError(
            f"{checkpoint.path}: its head has {'no single dense layer' if units is None else f'{units} units'}, the "
            f"model {n_units} pathologies",
            remedy=f"Leave out {argument('keep_head')}: the base is loaded, and the model gets a new head.",
        )
    return Pretrained(
        path=checkpoint.path,
        layout=checkpoint.layout,
        matched_by="name",
        layers=layers,
        head=stored.head if n_units is not None else None,
        n_head_units=units,
    )


# -------------------------------------------------------------------------------------------------------- matching


def _match(file: WeightFile, shapes: Shapes) -> tuple[dict[str, StoredLayer], str]:
    """Find the stored layer of each layer of the base; return them in the base's order, and how they were found."""
    other = _other_network(file)
    if other is not None:
        raise WeightsFileError(f"{file.path}: holds the weights of {other}", expected="DenseNet121", remedy=REMEDY)
    found = _by_name(file, shapes)
    if not found:
        return _by_order(file, shapes), "order"
    missing = [name for name in shapes if name not in found]
    if missing:
        raise WeightsFileError(
            f"{file.path}: lacks {len(missing)} of the {len(shapes)} layers with weights of DenseNet121's base "
            f"({_some(missing)})",
            remedy=REMEDY,
        )
    _check_shapes(file, found, shapes)
    if file.ordered:
        _check_order(file, found, shapes)
    return {name: found[name] for name in shapes}, "name"


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


def _by_order(file: WeightFile, shapes: Shapes) -> dict[str, StoredLayer]:
    """Match the n-th convolution to the n-th convolution and so on, if all shapes agree."""
    found: dict[str, StoredLayer] = {}
    for kind, wanted in (("conv2d", "kernel"), ("batch_normalization", "gamma")):
        names = [name for name, weights in shapes.items() if wanted in weights]
        stored = [item for item in file.layers if item.kind == kind]
        if not file.ordered or len(stored) != len(names):
            n_convolutions = sum(item.kind == "conv2d" for item in file.layers)
            raise WeightsFileError(
                f"{file.path}: has no layer of DenseNet121 by name, but {len(file.layers)} layers with weights, "
                f"{n_convolutions} of them convolutions ({_some([item.label for item in file.layers])})",
                expected="the 120 convolutions and 121 batch normalisations of DenseNet121",
                remedy=REMEDY,
            )
        found |= dict(zip(names, stored, strict=True))
    found = {name: found[name] for name in shapes}
    _check_shapes(file, found, shapes)
    return found


def _check_order(file: WeightFile, found: Mapping[str, StoredLayer], shapes: Iterable[str]) -> None:
    """Refuse a file whose order contradicts its names: Keras itself loads by order, so one of them is wrong.

    DenseNet's layers with weights lie on one chain: whatever wrote the file, they have one order only. Keras 3 keeps
    it among layers of the same kind.
    """
    for kind in ("conv2d", "batch_normalization"):
        stored = [name for name, item in found.items() if item.kind == kind]
        for expected, name in zip((name for name in shapes if name in stored), stored, strict=True):
            if name != expected:
                raise WeightsFileError(
                    f"{file.path}: has layer {name} where {expected} belongs: layers were swapped or renamed, and "
                    "whether their names or their places are right cannot be told",
                    remedy="Do not use this file; take the original.",
                )


# --------------------------------------------------------------------------------------------------------- checking


def _stored_shapes(stored: StoredLayer) -> dict[str, tuple[int, ...]]:
    return {weight: tuple(array.shape) for weight, array in stored.arrays.items()}


def _check_shapes(file: WeightFile, found: Mapping[str, StoredLayer], shapes: Shapes) -> None:
    differing = [name for name in shapes if _stored_shapes(found[name]) != shapes[name]]
    if not differing:
        return
    stem = _stored_shapes(found[STEM_LAYER]).get("kernel")
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
    lines = [f"{name} has {_pairs(_stored_shapes(found[name]), shapes[name])}" for name in differing[:_SHOWN]]
    raise WeightsFileError(
        f"{file.path}: {len(differing)} of {len(shapes)} layers have other arrays than DenseNet121: {'; '.join(lines)}",
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


# --------------------------------------------------------------------------------------------- what else is in the file


def _dense_layers(file: WeightFile, base: Iterable[StoredLayer]) -> list[StoredLayer]:
    """Return the dense layers that follow the base in the file, in its order; the last one is the head."""
    used = {id(stored) for stored in base}
    return [
        stored
        for stored in file.layers
        if id(stored) not in used
        and stored.kind == "dense"
        and "kernel" in stored.arrays
        and stored.arrays["kernel"].ndim == 2
    ]


def _head(file: WeightFile, dense: Sequence[StoredLayer], n_units: int) -> tuple[Floats, Floats]:
    """Read the file's head, if it fits a model with one dense layer behind the base."""
    if not dense:
        raise UsageError(
            f"{file.path}: has no head to keep",
            expected=f"a dense layer from {N_FEATURES} to {n_units}",
            remedy=f"Leave out {argument('keep_head')}.",
        )
    remedy = f"Leave out {argument('keep_head')}: the base is loaded, and the model gets a new head."
    n_inputs, n_stored = dense[-1].arrays["kernel"].shape
    if n_stored != n_units or "bias" not in dense[-1].arrays:
        kind = "ImageNet's 1000 classes" if n_stored == 1000 else f"{n_stored} units"
        raise UsageError(f"{file.path}: its head has {kind}, the model {n_units} pathologies", remedy=remedy)
    if n_inputs != N_FEATURES:
        widths = " → ".join(str(layer.arrays["kernel"].shape[0]) for layer in dense)
        raise UsageError(
            f"{file.path}: its head follows other dense layers ({widths} → {n_units}), which the model does not have",
            expected=f"one dense layer from {N_FEATURES} to {n_units}",
            remedy=remedy,
        )
    return read_array(file, dense[-1], "kernel"), read_array(file, dense[-1], "bias")


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
