"""Tables of ``cxr weights``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.weights.result import PathologyWeights, PredictorLoss, WeightsResult


def tables_of(result: WeightsResult, labels: Path, losses: bool) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown; `losses` adds losses part by part."""
    yield _weights_table(result, labels)
    yield _balance_table(result)
    if losses or any(item.predictor == "predictions" for item in result.predictors):
        yield _predictor_table(result)
    if losses:
        yield from _parts_tables(result)


def _weights_table(result: WeightsResult, labels: Path) -> RenderableType:
    counts: dict[str, Callable[[PathologyWeights], object]] = {"positives": lambda row: row.n_positive}
    if result.n_unknown:
        counts["negatives"] = lambda row: row.n_negative
        counts["unknown"] = lambda row: row.n_unknown
    columns = ["pathology", *counts, "prevalence", "positive weight", "negative weight"]
    rows = [
        (
            row.pathology,
            *(count(row) for count in counts.values()),
            console.percent(row.prevalence, 2),
            console.three_digits(row.positive_weight),
            console.three_digits(row.negative_weight),
        )
        for row in result.pathologies
    ]
    options = [f"scheme {result.scheme}"]
    if result.beta is not None:
        options.append(f"beta {result.beta:g}")
    if result.max_ratio is not None:
        options.append(f"ratio at most {result.max_ratio:g}")
    title = f"{labels}: class weights of {result.n_images:,} images, {', '.join(options)}"
    return console.table(title, columns, rows)


def _balance_table(result: WeightsResult) -> RenderableType:
    contributions: dict[str, Callable[[PathologyWeights], float]] = {}
    if not all(_is_balanced(row) for row in result.pathologies if row.weighted):
        contributions = {
            "positive contribution": lambda row: row.positive_contribution,
            "negative contribution": lambda row: row.negative_contribution,
        }
    caption = "contribution: weight × frequency. " if contributions else "Positives and negatives contribute equally. "
    caption += (
        "Fractions of the loss are those of a constant prediction of 0.5. "
        "A weighted model is not calibrated: subtract the logit shift, log(positive / negative weight), from its "
        "logits, or correct its probability q to q n / (q n + (1 - q) w), where w and n are its positive and negative "
        "weight."
    )
    losses: dict[str, Callable[[PathologyWeights], float]] = {
        "of weighted loss": lambda row: row.weighted_loss_fraction
    }
    unweighted = {console.percent(row.unweighted_loss_fraction, 2) for row in result.pathologies}
    if len(unweighted) == 1:
        caption = f"Each pathology has {unweighted.pop()} of the unweighted loss. {caption}"
    else:
        losses = {"of unweighted loss": lambda row: row.unweighted_loss_fraction, **losses}
    return console.table(
        "Balance inside each pathology and between pathologies",
        ["pathology", *contributions, *losses, "logit shift", "a weighted 0.5 means"],
        [
            (
                row.pathology,
                *(console.three_digits(value(row)) for value in contributions.values()),
                *(console.percent(value(row), 2) for value in losses.values()),
                f"{row.logit_shift:+.2f}",
                console.percent(row.corrected_half, 2),
            )
            for row in result.pathologies
        ],
        caption=caption,
    )


def _is_balanced(row: PathologyWeights) -> bool:
    return math.isclose(row.positive_contribution, row.negative_contribution, rel_tol=1e-9)


def _predictor_table(result: WeightsResult) -> RenderableType:
    return console.table(
        f"Loss: {result.reduction} per pathology, summed",
        ["predictor", "unweighted loss", "weighted loss"],
        [(item.predictor, _loss(item.unweighted_loss), _loss(item.weighted_loss)) for item in result.predictors],
    )


def _parts_tables(result: WeightsResult) -> Iterator[RenderableType]:
    columns = ["pathology", *(predictor.predictor for predictor in result.predictors)]
    for kind in ("unweighted", "weighted"):
        by_predictor = [list(_parts(predictor, kind)) for predictor in result.predictors]
        names = [row.pathology for row in result.pathologies]
        rows = [[name, *cells] for name, *cells in zip(names, *by_predictor, strict=True)]
        yield console.table(f"{kind.capitalize()} loss: from positives + from negatives", columns, rows)


def _parts(predictor: PredictorLoss, kind: str) -> Iterator[str]:
    for part in predictor.pathologies:
        positive, negative = getattr(part, f"{kind}_positive"), getattr(part, f"{kind}_negative")
        yield f"{_loss(positive)} + {_loss(negative)} = {_loss(positive + negative)}"


def _loss(value: float) -> str:
    return f"{value:.4f}"
