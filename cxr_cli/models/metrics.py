"""Ranking metrics per pathology that leave out what they cannot score: AUROC and average precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

#: Logits beyond this share the last bin: float32 sigmoids are 1 from 16.6 on.
_LARGEST_LOGIT = 16.5


@keras.saving.register_keras_serializable(package="cxr")
class PathologyRanking(keras.metrics.Metric):  # type: ignore[misc]
    """AUROC and AUPRC of each pathology and their means, for use in ``compile(metrics=[...])``.

    ``result()`` is a dictionary, which ``fit`` spreads into its logs: ``auroc`` and ``auprc`` (means over the
    pathologies that can be scored), then ``auroc_Mass``, ``auprc_Mass`` and so on. A pathology without positives
    (for AUROC also one without negatives) is NaN and left out of the mean; ``keras.metrics.AUC(multi_label=True)``
    scores it 0 and drags the mean down. NaN labels are masked.

    Parameters
    ----------
    pathologies
        Names of the model's outputs, in order.
    n_bins
        Predictions are counted in this many bins, of equal width in the logit; two predictions in one bin count as
        equal (half a pair in AUROC). The default makes a bin 0.004 logits wide, 0.001 in probability at most.
    from_logits
        Whether the model's outputs are logits; if False, they are probabilities.
    name, dtype
        As in :class:`keras.metrics.Metric`.

    Notes
    -----
    AUROC is the fraction of pairs of a positive and a negative that are ranked in the right order, ties half. AUPRC is
    average precision, the sum over thresholds of (recall gained) x precision, without interpolation, as in
    scikit-learn.

    References
    ----------
    J. Davis, M. Goadrich: The Relationship Between Precision-Recall and ROC Curves, ICML 2006 (why precision and
    recall must not be interpolated linearly).

    Examples
    --------
    >>> metric = PathologyRanking(["Mass", "Hernia"])
    >>> metric.update_state([[1.0, 0.0], [0.0, 0.0]], [[0.9, 0.5], [0.2, 0.5]])
    >>> {key: float(value) for key, value in metric.result().items() if key.startswith("auroc")}
    {'auroc': 1.0, 'auroc_Mass': 1.0, 'auroc_Hernia': nan}
    """

    def __init__(
        self,
        pathologies: Sequence[str],
        n_bins: int = 8192,
        from_logits: bool = False,
        name: str = "ranking",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.pathologies = tuple(str(pathology) for pathology in pathologies)
        self.n_bins = int(n_bins)
        self.from_logits = bool(from_logits)
        # float32 counts whole numbers to 16.7 million; a policy of float16 would stop at 2048.
        shape = (len(self.pathologies) * self.n_bins,)
        self.positives = self.add_variable(shape, "zeros", dtype="float32", name="positives")
        self.negatives = self.add_variable(shape, "zeros", dtype="float32", name="negatives")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Parameters
        ----------
        y_true
            Labels, shape (n_images, n_pathologies): 1, 0 or NaN.
        y_pred
            Outputs, same shape.
        sample_weight
            Weights of the images, shape (n_images,), or of the labels, shape (n_images, n_pathologies).
        """
        labels = ops.convert_to_tensor(y_true, "float32")
        known = ops.logical_not(ops.isnan(labels))
        weights = ops.cast(known, "float32")
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, "float32")
            weights = weights * (given if len(given.shape) == 2 else ops.reshape(given, (-1, 1)))
        present = ops.where(known, labels, 0.0) * weights
        segments = ops.reshape(self._bins(y_pred), (-1,))
        for counts, values in ((self.positives, present), (self.negatives, weights - present)):
            counts.assign_add(ops.segment_sum(ops.reshape(values, (-1,)), segments, num_segments=counts.shape[0]))

    def _bins(self, outputs: Any) -> Any:
        """Return for each output the index of its bin among those of all pathologies."""
        values = ops.convert_to_tensor(outputs, "float32")
        if not self.from_logits:
            inside = ops.clip(values, 1e-30, 1.0)
            # log(0) of a probability of 1 is clipped with the rest.
            values = ops.log(inside) - ops.log(ops.maximum(1.0 - inside, 1e-30))
        share = ops.clip(values, -_LARGEST_LOGIT, _LARGEST_LOGIT) / (2 * _LARGEST_LOGIT) + 0.5
        inner = ops.cast(ops.minimum(ops.floor(share * self.n_bins), self.n_bins - 1), "int32")
        return inner + self.n_bins * ops.arange(len(self.pathologies), dtype="int32")

    def result(self) -> dict[str, Any]:
        """Return the means and the value of each pathology; NaN where it cannot be scored."""
        # Highest bin first, as a threshold that is lowered meets them.
        shape = (len(self.pathologies), self.n_bins)
        positives = ops.flip(ops.reshape(ops.convert_to_tensor(self.positives), shape), axis=1)
        negatives = ops.flip(ops.reshape(ops.convert_to_tensor(self.negatives), shape), axis=1)
        auroc, auprc = _auroc(positives, negatives), _auprc(positives, negatives)
        scores = {"auroc": _mean_of_known(auroc), "auprc": _mean_of_known(auprc)}
        for index, pathology in enumerate(self.pathologies):
            scores[f"auroc_{pathology}"] = auroc[index]
            scores[f"auprc_{pathology}"] = auprc[index]
        return scores

    def get_config(self) -> dict[str, Any]:
        """Return what ``from_config`` needs to make the same metric."""
        return {
            **super().get_config(),
            "pathologies": list(self.pathologies),
            "n_bins": self.n_bins,
            "from_logits": self.from_logits,
        }


def _auroc(positives: Any, negatives: Any) -> Any:
    n_positives, n_negatives = ops.sum(positives, axis=1), ops.sum(negatives, axis=1)
    above = ops.cumsum(positives, axis=1) - 0.5 * positives
    return _ratio(ops.sum(above * negatives, axis=1), n_positives * n_negatives)


def _auprc(positives: Any, negatives: Any) -> Any:
    true = ops.cumsum(positives, axis=1)
    called = true + ops.cumsum(negatives, axis=1)
    precision = true / ops.where(called > 0, called, 1.0)
    return _ratio(ops.sum(positives * precision, axis=1), ops.sum(positives, axis=1))


def _ratio(numerator: Any, denominator: Any) -> Any:
    defined = denominator > 0
    return ops.where(defined, numerator / ops.where(defined, denominator, 1.0), float("nan"))


def _mean_of_known(values: Any) -> Any:
    known = ops.logical_not(ops.isnan(values))
    return _ratio(ops.sum(ops.where(known, values, 0.0)), ops.sum(ops.cast(known, "float32")))
