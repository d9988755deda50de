"""ROC and precision-recall curves with bands, for plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_cli.services.evaluate.inputs import EvaluationSet
from cxr_cli.services.evaluate.models import ModelPart
from cxr_cli.services.metrics.bootstrap import CurveStatistics, replicate
from cxr_cli.services.metrics.ranking import precision_recall_curve, roc_curve

Floats = NDArray[np.float64]

#: Places at which bands are read, and draws that they are made of.
GRID = np.linspace(0, 1, 101)
N_DRAWS = 400


@dataclass(frozen=True)
class Curves:
    """The curves of one pathology of one model, of its first run.

    Attributes
    ----------
    model, pathology
        Names.
    false_positive_rate, sensitivity
        Points of the ROC curve.
    recall, precision
        Points of the precision-recall curve.
    sensitivity_band, precision_band
        Shape (2, 101): lower and upper ends at the false positive rates and recalls 0, 0.01, …, 1.
    """

    model: str
    pathology: str
    false_positive_rate: Floats
    sensitivity: Floats
    recall: Floats
    precision: Floats
    sensitivity_band: Floats
    precision_band: Floats


def model_curves(data: EvaluationSet, parts: Sequence[ModelPart], seed: int, confidence: float) -> tuple[Curves, ...]:
    """Return the curves of every pathology of every model.

    Parameters
    ----------
    data
        The test set.
    parts
        Its models.
    seed, confidence
        Of the bands, which are pointwise.
    """
    found = []
    tail = (1 - confidence) / 2
    n_clusters = int(data.clusters.max()) + 1
    for part in parts:
        labels, scores = data.labels[:, part.scored], part.model.scores[0][:, part.scored]
        statistics = CurveStatistics(labels, scores, data.clusters, GRID)
        (draws,) = replicate([statistics], n_clusters, N_DRAWS, seed=seed)
        for place, column in enumerate(part.scored):
            defined = draws[~np.isnan(draws[:, place, 0, 0]), place]
            bands = np.quantile(defined, [tail, 1 - tail], axis=0) if len(defined) > 1 else np.full((2, 2, 101), np.nan)
            roc = roc_curve(labels[:, place], scores[:, place])
            pr = precision_recall_curve(labels[:, place], scores[:, place])
            found.append(
                Curves(
                    model=part.model.name,
                    pathology=data.pathologies[column],
                    false_positive_rate=roc.false_positive_rate,
                    sensitivity=roc.true_positive_rate,
                    recall=pr.recall,
                    precision=pr.precision,
                    sensitivity_band=bands[:, 0],
                    precision_band=bands[:, 1],
                )
            )
    return tuple(found)
