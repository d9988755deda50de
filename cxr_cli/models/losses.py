"""The loss that carries class weights into training: weighted binary cross-entropy for many pathologies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

#: Probabilities are kept this far from 0 where no logits are behind them: 1 / p stays finite in float32.
_SMALLEST_PROBABILITY = 1e-30
#: The float32 below 1 that is nearest to it.
_LARGEST_PROBABILITY = float(np.nextafter(np.float32(1), np.float32(0)))


@keras.saving.register_keras_serializable(package="cxr")
class WeightedBinaryCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Weighted binary cross-entropy for labels with many pathologies, some of them unknown.

    For one image the loss is the sum over the known pathologies k of
    ``-positive[k] * y[k] * log(p[k]) - negative[k] * (1 - y[k]) * log(1 - p[k])``; over a batch Keras' reduction
    applies (mean over images by default, so that the value is that of
    :func:`cxr_cli.services.metrics.losses.multi_label_loss` with ``reduction="mean"`` where every label is known).

    A NaN label adds neither to the loss nor to the gradient. The divisor stays the number of images, so that the
    gradient of a batch estimates that of the whole table without bias, however the unknown labels fall into batches.

    Parameters
    ----------
    pathologies
        Names of the model's outputs, in order.
    positive_weights, negative_weights
        One weight per pathology for label 1 and for label 0; finite and not negative.
    from_logits
        Whether the model's outputs are logits. If False, they are probabilities; the logits are recovered from the
        sigmoid that made them, as Keras' own loss does, because after rounding to 1 a probability has no gradient left.
    reduction, name, dtype
        As in :class:`keras.losses.Loss`.

    Raises
    ------
    ValueError
        The numbers of pathologies and weights differ, or a weight is negative or not finite; when called, the
        shapes of labels and outputs differ from each other or from the number of pathologies.

    Notes
    -----
    Value and gradient are right to float32 rounding wherever logits are to be had: with ``from_logits=True`` on
    every backend, and behind a sigmoid in ``fit`` (compiled or not) with TensorFlow. Elsewhere (JAX, or
    probabilities that did not come out of a sigmoid) they are right for probabilities between 1e-30 and the last
    float32 before 1, and the gradient is 0 beyond: prefer ``from_logits=True`` there.

    ``tf.nn.weighted_cross_entropy_with_logits`` is not used: its gradient at logit 0 is wrong. Neither is Keras'
    ``fit(class_weight=...)``: with many pathologies it silently weights each image by the argmax of its labels.

    Examples
    --------
    >>> loss = WeightedBinaryCrossentropy(["Mass"], positive_weights=[0.25], negative_weights=[0.75])
    >>> value = loss([[1.0], [1.0], [1.0], [0.0]], [[0.9], [0.9], [0.9], [0.9]])
    >>> round(float(value), 4)
    0.4515
    """

    def __init__(
        self,
        pathologies: Sequence[str],
        positive_weights: Sequence[float],
        negative_weights: Sequence[float],
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "weighted_binary_crossentropy",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.pathologies = tuple(str(pathology) for pathology in pathologies)
        self.positive_weights = _checked(positive_weights, "positive_weights", self.pathologies)
        self.negative_weights = _checked(negative_weights, "negative_weights", self.pathologies)
        self.from_logits = bool(from_logits)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss; what ``fit`` calls."""
        # The base class converts before call(), and a converted tensor no longer knows its sigmoid.
        logits = ops.convert_to_tensor(y_pred) if self.from_logits else _logits(y_pred)
        return super().__call__(ops.convert_to_tensor(y_true, self.dtype), logits, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return one loss per image from logits (``__call__`` has made them logits if they were not)."""
        if len(y_true.shape) == len(y_pred.shape) - 1:
            y_true = ops.expand_dims(y_true, -1)
        self._check_shapes(y_true.shape, y_pred.shape)
        known = ops.logical_not(ops.isnan(y_true))
        present = ops.where(known, y_true, 0.0)
        absent = ops.where(known, 1.0 - y_true, 0.0)
        positive = ops.convert_to_tensor(self.positive_weights, dtype=y_pred.dtype) * present
        negative = ops.convert_to_tensor(self.negative_weights, dtype=y_pred.dtype) * absent
        return ops.sum(positive * ops.softplus(-y_pred) + negative * ops.softplus(y_pred), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return what ``from_config`` needs to make the same loss."""
        return {
            **super().get_config(),
            "pathologies": list(self.pathologies),
            "positive_weights": list(self.positive_weights),
            "negative_weights": list(self.negative_weights),
            "from_logits": self.from_logits,
        }

    def _check_shapes(self, true: tuple[int | None, ...], predicted: tuple[int | None, ...]) -> None:
        # Shapes that merely broadcast would give a loss, and a wrong one.
        alike = len(true) == len(predicted) and all(
            one is None or other is None or one == other for one, other in zip(true, predicted, strict=True)
        )
        if not alike or predicted[-1] != len(self.pathologies):
            raise ValueError(
                f"labels have shape {tuple(true)} and outputs {tuple(predicted)}; "
                f"expected both (n_images, {len(self.pathologies)}), one column per pathology"
            )


def _checked(weights: Sequence[float], name: str, pathologies: tuple[str, ...]) -> tuple[float, ...]:
    values = tuple(float(weight) for weight in weights)
    if len(values) != len(pathologies):
        raise ValueError(f"{name} has {len(values)} values; expected one for each of {len(pathologies)} pathologies")
    for pathology, value in zip(pathologies, values, strict=True):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} of {pathology} is {value}; expected a finite number that is not negative")
    return values


def _logits(probabilities: Any) -> Any:
    """Return the logits that a sigmoid turned into `probabilities`, or compute them where they are not to be had."""
    logits = _behind_sigmoid(probabilities)
    if logits is not None:
        return logits
    inside = ops.clip(ops.convert_to_tensor(probabilities, "float32"), _SMALLEST_PROBABILITY, _LARGEST_PROBABILITY)
    return ops.log(inside) - ops.log1p(-inside)


def _behind_sigmoid(probabilities: Any) -> Any:
    operation = getattr(probabilities, "op", None)
    if operation is not None:  # a TensorFlow graph: fit() as it runs by default
        while operation.type in ("Cast", "Identity") and operation.inputs[0].dtype.is_floating:
            operation = operation.inputs[0].op  # mixed precision casts what the sigmoid returns
        return operation.inputs[0] if operation.type == "Sigmoid" else None
    logits = getattr(probabilities, "_keras_logits", None)
    # Keras leaves this mark on the output of a softmax too.
    if logits is None or not bool(ops.all(ops.equal(ops.sigmoid(logits), probabilities))):
        return None
    return logits
