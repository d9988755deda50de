"""The layers of a Keras model as plain values, read from the model's own graph."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
import numpy as np

from cxr_cli.models.densenet import HEAD_LAYER, LAST_BASE_LAYER, POOLING_LAYER
from cxr_cli.services.build_model.architecture import FINAL, HEAD, STEM, Architecture, Layer, summarise


def describe_model(model: keras.Model) -> Architecture:
    """Describe a model that :func:`cxr_cli.models.densenet.build_densenet` built, as it stands.

    Parameters
    ----------
    model
        As built, or loaded again.

    Returns
    -------
    Architecture
        Counts, trainability and wiring are read from the model, none is assumed.
    """
    producers = {id(tensor): layer.name for layer in model.layers for tensor in _flat(layer.output)}
    return summarise([_layer(layer, producers) for layer in model.layers])


def _layer(layer: keras.layers.Layer, producers: dict[int, str]) -> Layer:
    output = _flat(layer.output)[0]
    shape = tuple(int(size) for size in output.shape[1:])
    trainable = {id(weight) for weight in layer.trainable_weights}
    return Layer(
        name=layer.name,
        type=type(layer).__name__,
        section=section_of(layer.name),
        inputs=() if isinstance(layer, keras.layers.InputLayer) else _inputs(layer, producers),
        output_shape=shape,
        kernel=_side(layer, "kernel_size", "pool_size"),
        stride=_side(layer, "strides"),
        parameters=_count(layer.weights),
        trainable_parameters=_count(weight for weight in layer.weights if id(weight) in trainable),
        moving_statistics=_count(weight for weight in layer.weights if weight.name.startswith("moving_")),
        trainable=bool(layer.trainable),
        multiply_adds=_multiply_adds(layer, shape),
        output_bytes=math.prod(shape) * _bytes(output.dtype),
    )


def section_of(name: str) -> str:
    """Return the part of the network that a layer belongs to, by Keras' name for it.

    Examples
    --------
    >>> [section_of(name) for name in ("conv1_bn", "conv2_block1_0_bn", "pool2_conv", "conv3_block1_concat", "relu")]
    ['stem', 'dense block 1', 'transition 1', 'dense block 2', 'final']
    """
    block = re.match(r"conv([2-5])_block", name)
    if block is not None:
        return f"dense block {int(block[1]) - 1}"
    transition = re.match(r"pool([2-4])_", name)
    if transition is not None:
        return f"transition {int(transition[1]) - 1}"
    if name in (POOLING_LAYER, HEAD_LAYER):
        return HEAD
    return FINAL if name in ("bn", LAST_BASE_LAYER) else STEM


def _flat(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _inputs(layer: keras.layers.Layer, producers: dict[int, str]) -> tuple[str, ...]:
    return tuple(producers[id(tensor)] for tensor in _flat(layer.input))


def _side(layer: keras.layers.Layer, *attributes: str) -> int | None:
    for attribute in attributes:
        value = getattr(layer, attribute, None)
        if value is not None:
            return int(value[0])
    return None


def _count(weights: Any) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _multiply_adds(layer: keras.layers.Layer, shape: tuple[int, ...]) -> int:
    """Return the multiplications of a kernel for one image: its size for each place in the output."""
    if isinstance(layer, keras.layers.Conv2D):
        return _count([layer.kernel]) * shape[0] * shape[1]
    return _count([layer.kernel]) if isinstance(layer, keras.layers.Dense) else 0


def _bytes(dtype: str) -> int:
    # NumPy knows no bfloat16.
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
