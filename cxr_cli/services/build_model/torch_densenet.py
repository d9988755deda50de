"""DenseNet121 as PyTorch stores it, arranged for Keras: names, axes, stem, and the epsilon of batch normalisation.

The stem's padding (3 pixels) and the pooling's (1 pixel, of zeros in Keras and of minus infinity in PyTorch, which is
the same behind a ReLU) are alike in both networks at every size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.torch_checkpoint import Checkpoint
from cxr_cli.errors import WeightsFileError, shown

Floats = NDArray[np.float32]
#: Added to the variance by the batch normalisation of PyTorch's DenseNet and of Keras'.
TORCH_EPSILON, KERAS_EPSILON = 1e-5, 1.001e-5
_BLOCKS = (6, 12, 24, 16)
_REMEDY = "Pass a DenseNet121 with torchvision's names (features.conv0.weight, …)."
#: What Keras calls the parameters of a layer, by PyTorch's name.
_NORMALISATION = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_OTHERS = {
    r"layer1\.0\.conv1\.weight$": "a ResNet",
    r"denseblock3\.denselayer25\.": "DenseNet169, 201 or 161",
    r"features\.0\.weight$": "a VGG or a similar network",
    r"patch_embed": "a vision transformer",
    r"stages\.0\.": "a ConvNeXt or a similar network",
}


@dataclass(frozen=True)
class TorchDenseNet:
    """The weights of a DenseNet121 in Keras' layout.

    Attributes
    ----------
    layers
        Arrays by Keras' name of the layer and of the weight, all that the base has, float32.
    head
        Kernel, shape (1024, n_units), and bias, shape (n_units,); None if the file has no single dense layer behind
        the base.
    n_channels
        Channels of the images that the network was trained on: 1 or 3.
    """

    layers: dict[str, dict[str, Floats]]
    head: tuple[Floats, Floats] | None
    n_channels: int


def layer_names() -> dict[str, str]:
    """Return Keras' name of each layer of the base with weights by torchvision's, in the network's order."""
    names = {"conv0": "conv1_conv", "norm0": "conv1_bn"}
    for block, n_layers in enumerate(_BLOCKS, 1):
        for layer in range(1, n_layers + 1):
            ours, theirs = f"conv{block + 1}_block{layer}", f"denseblock{block}.denselayer{layer}"
            names |= {f"{theirs}.norm1": f"{ours}_0_bn", f"{theirs}.conv1": f"{ours}_1_conv"}
            names |= {f"{theirs}.norm2": f"{ours}_1_bn", f"{theirs}.conv2": f"{ours}_2_conv"}
        if block < len(_BLOCKS):
            names |= {
                f"transition{block}.norm": f"pool{block + 1}_bn",
                f"transition{block}.conv": f"pool{block + 1}_conv",
            }
    return names | {"norm5": "bn"}


def arrange(checkpoint: Checkpoint) -> TorchDenseNet:
    """Arrange the arrays of a checkpoint for Keras' DenseNet121, whose input has three channels.

    A stem for one channel is divided among three, so that a grey image given three times has the same output. Kernels
    go from (out, in, height, width) to (height, width, in, out). Keras adds 1.001e-5 to variances where PyTorch adds
    1e-5: gamma is scaled by sqrt((variance + 1.001e-5) / (variance + 1e-5)), which gives the same quotient.

    Parameters
    ----------
    checkpoint
        Names as in torchvision, new (``denselayer1.norm1``) or old (``denselayer1.norm.1``), with any prefix
        (``module.``, ``densenet121.``).

    Raises
    ------
    WeightsFileError
        The file holds another network, lacks layers, or has arrays that cannot be weights.
    """
    prefix = _prefix(checkpoint)
    arrays = {_modern(name.removeprefix(prefix)): array for name, array in checkpoint.arrays.items()}
    names = layer_names()
    missing = [name for name in names if f"features.{name}.weight" not in arrays]
    extra = [
        name
        for name in arrays
        if re.match(r"features\..*(conv|norm)\d*\.weight$", name)
        and name.removeprefix("features.").removesuffix(".weight") not in names
    ]
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {shown(extra[0])}"
        raise WeightsFileError(
            f"{checkpoint.path}: {what} ({len(missing)} layers missing, {len(extra)} too many)",
            expected=f"the {len(names)} layers with weights of DenseNet121",
            remedy=_REMEDY,
        )
    layers = {ours: _layer(checkpoint, arrays, f"features.{theirs}") for theirs, ours in names.items()}
    n_channels = layers["conv1_conv"]["kernel"].shape[2]
    if n_channels == 1:
        layers["conv1_conv"]["kernel"] = np.repeat(layers["conv1_conv"]["kernel"] / np.float32(3), 3, axis=2)
    elif n_channels != 3:
        raise WeightsFileError(f"{checkpoint.path}: takes images of {n_channels} channels", expected="1 or 3")
    return TorchDenseNet(layers, _head(checkpoint, arrays), n_channels)


def _prefix(checkpoint: Checkpoint) -> str:
    """Return what stands before ``features.`` in every name."""
    stems = [name for name in checkpoint.arrays if name.endswith("features.conv0.weight")]
    if len(stems) == 1:
        return stems[0].removesuffix("features.conv0.weight")
    found = [kind for pattern, kind in _OTHERS.items() if any(re.search(pattern, name) for name in checkpoint.arrays)]
    some = ", ".join(shown(name) for name in list(checkpoint.arrays)[:3])
    what = f"holds {len(stems)} networks" if stems else f"holds {found[0]}" if found else f"holds other layers ({some})"
    raise WeightsFileError(f"{checkpoint.path}: {what}", expected="one DenseNet121", remedy=_REMEDY)


def _modern(name: str) -> str:
    """Return the name as torchvision spells it today: norm1 for norm.1; MONAI's "layers." is left out."""
    name = re.sub(r"(denselayer\d+)\.layers\.", r"\1.", name)
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name)


def _layer(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, Floats]:
    if re.search(r"conv\d?$", name):
        kernel = _checked(checkpoint, arrays, f"{name}.weight", 4)
        if f"{name}.bias" in arrays:
            raise WeightsFileError(
                f"{checkpoint.path}: {name} has a bias", expected="convolutions without", remedy=_REMEDY
            )
        return {"kernel": np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))}
    layer = {ours: _checked(checkpoint, arrays, f"{name}.{theirs}", 1) for theirs, ours in _NORMALISATION.items()}
    variance = layer["moving_variance"].astype(np.float64)
    if variance.min(initial=0) < 0:
        raise WeightsFileError(f"{checkpoint.path}: {name}.running_var is negative", remedy="The file is damaged.")
    layer["gamma"] = (layer["gamma"] * np.sqrt((variance + KERAS_EPSILON) / (variance + TORCH_EPSILON))).astype(
        np.float32
    )
    return layer


def _checked(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]], name: str, n_axes: int) -> Floats:
    """Return an array as float32 after a check that it can be a weight."""
    where = f"{checkpoint.path}: {name}"
    array = arrays.get(name)
    if array is None:
        raise WeightsFileError(f"{where} is missing", remedy=_REMEDY)
    if array.dtype.kind != "f" or array.ndim != n_axes:
        raise WeightsFileError(
            f"{where} has type {array.dtype} and shape {array.shape}", expected=f"floating point, {n_axes} axes"
        )
    with np.errstate(over="ignore"):
        values: Floats = array.astype(np.float32)
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise WeightsFileError(
            f"{where} holds {bad:,} of {values.size:,} values that are NaN or infinite",
            remedy="The training behind it diverged or the file is damaged; take another one.",
        )
    return values


def _head(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats] | None:
    """Return the dense layer behind the base, if there is exactly one."""
    found = [name for name, array in arrays.items() if array.ndim == 2 and array.shape[1] == 1024]
    if len(found) != 1 or found[0].removesuffix("weight") + "bias" not in arrays:
        return None
    kernel = _checked(checkpoint, arrays, found[0], 2)
    bias = _checked(checkpoint, arrays, found[0].removesuffix("weight") + "bias", 1)
    return np.ascontiguousarray(kernel.T), bias
