"""Pretrained weights into a DenseNet121: all or nothing, and tried on two images before they are accepted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cxr_cli.errors import WeightsFileError
from cxr_cli.models.densenet import HEAD_LAYER, LAST_BASE_LAYER, base_layers
from cxr_cli.services.build_model.pretrained import Pretrained, read_pretrained


@dataclass(frozen=True)
class LoadedWeights:
    """Loaded weights.

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
    """Read a weight file and load it into `model`, see `read_pretrained` and `assign_pretrained`.

    Parameters
    ----------
    model
        From :func:`cxr_cli.models.densenet.build_densenet`.
    path
        The file.
    keep_head
        Load the file's dense layer as the head; it must have as many units as `model` has pathologies.

    Raises
    ------
    InputError, UsageError
        As `read_pretrained` and `assign_pretrained`. The model is unchanged then.
    """
    n_units = model.get_layer(HEAD_LAYER).units if keep_head else None
    return assign_pretrained(model, read_pretrained(path, n_units=n_units))


def assign_pretrained(model: keras.Model, pretrained: Pretrained) -> LoadedWeights:
    """Load the base of `model`, and its head if it was read, and try the result on two images.

    Raises
    ------
    WeightsFileError
        The output is not finite, or the same for every input: numbers that are not weights, each of them
        plausible by itself. The model is unchanged then.
    """
    before = model.get_weights()
    for layer in base_layers(model):
        if layer.weights:
            arrays = pretrained.layers[layer.name]
            layer.set_weights([arrays[variable.name] for variable in layer.weights])
    if pretrained.head is not None:
        model.get_layer(HEAD_LAYER).set_weights(list(pretrained.head))
    fault = _fault(model)
    if fault is not None:
        model.set_weights(before)
        raise WeightsFileError(
            f"{pretrained.path}: with these weights {fault}",
            remedy="They are damaged or were never trained; take another file.",
        )
    arrays_loaded = [array for layer in pretrained.layers.values() for array in layer.values()]
    units = pretrained.n_head_units
    return LoadedWeights(
        layout=pretrained.layout,
        matched_by=pretrained.matched_by,
        n_arrays=len(arrays_loaded),
        n_parameters=sum(array.size for array in arrays_loaded),
        head="loaded" if pretrained.head is not None else "none in file" if units is None else "left out",
        n_head_units=units,
        untrained=pretrained.untrained,
    )


def _fault(model: keras.Model) -> str | None:
    """Describe faults in the base's output for a grey ramp and its mirror image; None if there are none."""
    height, width = model.input_shape[1:3]
    ramp = np.linspace(-2, 2, width, dtype=np.float32)[None, :, None] * np.ones((height, 1, 3), np.float32)
    base = keras.Model(model.input, model.get_layer(LAST_BASE_LAYER).output)
    # Pooled, because a mirrored image has mirrored features: what differs is what the network sees in them.
    features = np.asarray(keras.ops.convert_to_numpy(base(np.stack([ramp, -ramp * 0.5]))), np.float64)
    if not np.isfinite(features).all():
        return "features of an image are not finite numbers"
    pooled = features.mean(axis=(1, 2))
    if np.ptp(pooled, axis=0).max() == 0:
        return "features are the same for every image"
    if np.ptp(pooled, axis=1).min() == 0:
        return "all features of an image are the same"
    return None
