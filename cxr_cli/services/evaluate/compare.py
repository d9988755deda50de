"""Two models on the same images: paired draws, DeLong's test beside them, Holm's correction, a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cxr_cli.services.evaluate.estimates import estimate, p_value
from cxr_cli.services.evaluate.inputs import EvaluationSet
from cxr_cli.services.evaluate.models import ModelPart
from cxr_cli.services.evaluate.result import Comparison, Difference, Estimate
from cxr_cli.services.metrics.delong import delong_test
from cxr_cli.services.metrics.holm import holm

Floats = NDArray[np.float64]
_NAN = float("nan")


def compare_models(data: EvaluationSet, parts: Sequence[ModelPart], confidence: float) -> tuple[Comparison, ...]:
    """Compare every pair of models.

    Parameters
    ----------
    data
        The test set.
    parts
        Its models, once their plan has run: draws are the same for all, so differences are paired.
    confidence
        Of intervals; a p value below 1 - confidence is significant.
    """
    pairs = [_compare(data, first, second, confidence) for first, second in combinations(parts, 2)]
    # One family: all pathologies of all pairs.
    every = [row for pair in pairs for row in pair.pathologies]
    by_draws = holm([row.p_value for row in every]).tolist()
    by_delong = holm([row.p_delong for row in every]).tolist()
    adjusted = iter(zip(every, by_draws, by_delong, strict=True))
    level = 1 - confidence
    found = []
    for pair in pairs:
        rows = []
        for _ in pair.pathologies:
            row, p_holm, p_delong_holm = next(adjusted)
            row = replace(row, p_holm=p_holm, p_delong_holm=p_delong_holm)
            rows.append(replace(row, verdict=_verdict(row, p_holm < level, pair.first, pair.second)))
        found.append(
            replace(
                pair,
                pathologies=tuple(rows),
                mean=replace(
                    pair.mean, verdict=_verdict(pair.mean, pair.mean.p_value < level, pair.first, pair.second)
                ),
                n_significant=sum(row.p_value < level for row in rows),
                n_significant_delong=sum(row.p_delong < level for row in rows),
                n_significant_holm=sum(row.p_holm < level for row in rows),
            )
        )
    return tuple(found)


def _compare(data: EvaluationSet, first: ModelPart, second: ModelPart, confidence: float) -> Comparison:
    shared = [column for column in first.scored if column in second.scored]
    places = [(first.scored.index(column), second.scored.index(column)) for column in shared]
    differences = first.draws()[:, [one for one, _ in places]] - second.draws()[:, [two for _, two in places]]
    areas = first.areas.mean(axis=0), second.areas.mean(axis=0)
    precisions = first.precisions.mean(axis=0), second.precisions.mean(axis=0)
    rows = []
    for place, (column, (one, two)) in enumerate(zip(shared, places, strict=True)):
        labels = data.labels[:, column]
        test = delong_test(labels, first.model.scores[0, :, column], second.model.scores[0, :, column])
        rows.append(
            Difference(
                pathology=data.pathologies[column],
                n_positive=int((labels == 1).sum()),
                auroc=estimate(float(areas[0][one] - areas[1][two]), differences[:, place, 0], confidence),
                auprc=estimate(float(precisions[0][one] - precisions[1][two]), differences[:, place, 1], confidence),
                p_value=p_value(differences[:, place, 0]),
                p_holm=_NAN,
                p_delong=test.p_value,
                p_delong_holm=_NAN,
                verdict="",
            )
        )
    members = [place for place, column in enumerate(shared) if column in first.members and column in second.members]
    return Comparison(
        first=first.model.name,
        second=second.model.name,
        pathologies=tuple(rows),
        mean=_mean(rows, members, differences, confidence),
        n_significant=0,
        n_significant_delong=0,
        n_significant_holm=0,
    )


def _mean(rows: Sequence[Difference], members: list[int], differences: Floats, confidence: float) -> Difference:
    nothing = Estimate(_NAN)
    if not members:
        return Difference("mean", 0, nothing, nothing, _NAN, _NAN, _NAN, _NAN, "")
    means = differences[:, members].mean(axis=1)
    return Difference(
        pathology="mean",
        n_positive=min(rows[place].n_positive for place in members),
        auroc=estimate(float(np.mean([rows[place].auroc.value for place in members])), means[:, 0], confidence),
        auprc=estimate(float(np.mean([rows[place].auprc.value for place in members])), means[:, 1], confidence),
        p_value=p_value(means[:, 0]),
        p_holm=_NAN,
        p_delong=_NAN,
        p_delong_holm=_NAN,
        verdict="",
    )


def _verdict(row: Difference, significant: bool, first: str, second: str) -> str:
    if np.isnan(row.auroc.value):
        return "cannot be compared"
    if significant:
        above, below = (first, second) if row.auroc.value > 0 else (second, first)
        return f"{above} above {below}"
    # What the interval reaches on either side: a smaller difference would not have left 0 outside.
    reach = (row.auroc.high - row.auroc.low) / 2
    if np.isnan(reach):
        return "no difference shown"
    with_positives = "" if row.pathology == "mean" else f"with {row.n_positive:,} positives "
    return f"no difference shown: {with_positives}a difference below {reach:.2g} cannot be shown"
