"""Class activation maps: exact for average pooling and a dense layer, and Grad-CAM for other networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cxr_cli.errors import InputError, UsageError, argument

Floats = NDArray[np.float32]
#: From images to (maps, probabilities).
_Compute = Callable[[NDArray[np.float32]], tuple[Any, Any]]


@dataclass(frozen=True)
class Mapper:
    """Computes the maps of a batch of images.

    Attributes
    ----------
    method
        "cam" or "grad-cam".
    compute
        From images to (maps, probabilities); maps of shape (n_images, height, width, n_pathologies) at the resolution
        of the last feature maps.
    map_size
        (height, width) of the maps.
    """

    method: str
    compute: _Compute
    map_size: tuple[int, int]

    def __call__(self, images: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return maps, shape (n_images, n_pathologies, height, width), and probabilities (n_images, n_pathologies)."""
        maps, probabilities = self.compute(images)
        heat = np.moveaxis(np.asarray(maps, np.float32), -1, 1)
        return np.ascontiguousarray(heat), np.asarray(probabilities, np.float32)


def mapper(model: keras.Model, method: str = "auto") -> Mapper:
    """Return what computes the maps of a model.

    With global average pooling behind the last feature maps F and one dense layer (w, b) behind it, the logit of
    pathology k is the mean over all places of the map F·w_k, plus b_k: the map says exactly how much each place adds,
    and costs one matrix product. Grad-CAM weights the feature maps by the mean gradient of the logit instead, keeps
    positive values only, and works for any head.

    Parameters
    ----------
    model
        With one output of shape (n_images, n_pathologies).
    method
        "cam", "grad-cam", or "auto": cam where it is exact, else grad-cam.

    Raises
    ------
    UsageError
        "cam" for a model that does not end in global average pooling and a dense layer; "grad-cam" on another backend
        than TensorFlow.
    InputError
        The model has no feature maps at all.

    References
    ----------
    B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba: Learning Deep Features for Discriminative Localization,
    CVPR 2016 (arXiv:1512.04150). R. R. Selvaraju et al.: Grad-CAM, ICCV 2017 (arXiv:1610.02391).
    """
    features = _last_feature_maps(model)
    head = _exact_head(model)
    size = tuple(features.output.shape[1:3])
    if method == "cam" or (method == "auto" and head is not None):
        if head is None:
            raise UsageError(
                f"{argument('method', 'cam')} needs a model that ends in global average pooling and one dense layer",
                remedy=f"Use {argument('method', 'grad-cam')}, which works for other heads.",
            )
        weighted = keras.ops.matmul(features.output, keras.ops.cast(head.kernel, features.output.dtype))
        both = keras.Model(model.input, [weighted, model.output])
        return Mapper("cam", _of_one_size(both.predict_on_batch), size)
    return Mapper("grad-cam", _of_one_size(_gradients(model, features)), size)


def _of_one_size(compute: _Compute) -> _Compute:
    """Fill smaller batches up to the largest one so far: a graph of a new size takes seconds to make."""
    largest = 0

    def padded(images: NDArray[np.float32]) -> tuple[Any, Any]:
        nonlocal largest
        largest = max(largest, len(images))
        copies = np.repeat(images[-1:], largest - len(images), axis=0)
        maps, probabilities = compute(np.concatenate([images, copies]) if len(copies) else images)
        return maps[: len(images)], probabilities[: len(images)]

    return padded


def _last_feature_maps(model: keras.Model) -> keras.layers.Layer:
    for layer in reversed(model.layers):
        shape = getattr(getattr(layer, "output", None), "shape", ())
        if len(shape) == 4 and None not in shape[1:]:
            return layer
    raise InputError(
        f"model {model.name}: no layer gives feature maps of a known size",
        expected="convolutions in the model itself, not inside a nested model",
        remedy="Build the model with 'cxr build-model'.",
    )


def _exact_head(model: keras.Model) -> Any:
    """Return the dense layer if the model's output is dense(pooling(feature maps)), but for dropout and activation."""
    dense = _source(model, model.output, skip=(keras.layers.Activation, keras.layers.Dropout))
    if not isinstance(dense, keras.layers.Dense):
        return None
    pooling = _source(model, dense.input, skip=(keras.layers.Dropout, keras.layers.Flatten))
    if not isinstance(pooling, keras.layers.GlobalAveragePooling2D):
        return None
    return dense if _source(model, pooling.input) is _last_feature_maps(model) else None


def _source(model: keras.Model, tensor: Any, skip: Any = ()) -> Any:
    """Return the layer that a tensor comes from, looking through layers of some types; None if it is unknown."""
    found: Any = next((layer for layer in model.layers if getattr(layer, "output", None) is tensor), None)
    return _source(model, found.input, skip) if isinstance(found, skip) else found


def _gradients(model: keras.Model, features: keras.layers.Layer) -> Any:
    if keras.config.backend() != "tensorflow":
        raise UsageError(
            f"{argument('method', 'grad-cam')} needs Keras' TensorFlow backend, and {keras.config.backend()} is set",
            remedy="Set KERAS_BACKEND=tensorflow.",
        )
    import tensorflow as tf

    both = keras.Model(model.input, [features.output, model.output])

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def traced(images: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(images)  # frozen layers have no variables that the tape would follow
            maps, probabilities = both(images, training=False)
            # Of a sigmoid's output p, the logit is log(p / (1 - p)); its gradient does not vanish where p saturates.
            clipped = tf.clip_by_value(tf.cast(probabilities, tf.float32), 1e-6, 1 - 1e-6)
            logits = tf.math.log(clipped) - tf.math.log1p(-clipped)
            columns = tf.unstack(logits, num=model.output_shape[-1], axis=1)
        heat = []
        for column in columns:
            weights = tf.reduce_mean(tape.gradient(column, maps), axis=(1, 2), keepdims=True)
            heat.append(tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)))
        return tf.cast(tf.stack(heat, axis=-1), tf.float32), probabilities

    def compute(images: NDArray[np.float32]) -> tuple[Any, Any]:
        maps, probabilities = traced(tf.convert_to_tensor(images))
        return maps.numpy(), probabilities.numpy()

    return compute
