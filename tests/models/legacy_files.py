"""Weight files in the layout of Keras 2, written array by array, so that tests can spoil them."""

from __future__ import annotations

import re

import h5py
import numpy as np

VARIANCE = "moving_variance"


def base_arrays(network, seed=0):
    """Return random arrays for every layer with weights of the base, by layer and weight.

    Moving variances are positive, and kernels as small as those of a network whose output stays finite.
    """
    from cxr_cli.models.densenet import base_layers

    random = np.random.default_rng(seed)

    def draw(weight):
        shape = tuple(weight.shape)
        if weight.name == VARIANCE:
            return random.random(shape, dtype=np.float32)
        scale = np.sqrt(np.prod(shape[:-1])) if len(shape) == 4 else 1
        return random.standard_normal(shape, dtype=np.float32) / np.float32(scale)

    return {
        layer.name: {weight.name: draw(weight) for weight in layer.weights}
        for layer in base_layers(network)
        if layer.weights
    }


def legacy_name(name):
    """Return the name that DenseNet's layers had in 2018: conv1/conv for conv1_conv."""
    return re.sub(r"^(conv1|pool\d)_", r"\1/", name) if name.startswith("conv1_") else name


def write_legacy(path, layers, *, attributes=True, backend="tensorflow", inner_names=None, order=None):
    """Write {layer: {weight: array}} as ``save_weights`` of Keras 2 does."""
    with h5py.File(path, "w") as file:
        if attributes:
            file.attrs["layer_names"] = [name.encode() for name in (order or layers)]
            file.attrs["backend"] = backend.encode()
            file.attrs["keras_version"] = b"2.2.4"
        for name, arrays in layers.items():
            group = file.create_group(name)
            inside = (inner_names or {}).get(name, name)
            if attributes:
                group.attrs["weight_names"] = [f"{inside}/{weight}:0".encode() for weight in arrays]
            for weight, array in arrays.items():
                group.create_dataset(f"{inside}/{weight}:0", data=array)
    return path
