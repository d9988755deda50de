"""Tables of ``cxr weights``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.weights.result import PathologyWeights, PredictorLoss, WeightsResult


def tables_of(result: WeightsResult, labels: Path) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    yield _weights_table(result, labels)
    yield _balance_table(result)
    yield _predictor_table(result)
    yield from _parts_tables(result)


def _weights_table(result: WeightsResult, labels: Path) -> RenderableType:
    unknown = bool(result.n_unknown)
    columns = ["pathology", "positives", "negatives", *(["not known"] if unknown else []), "prevalence"]
    columns += ["positive weight", "negative weight", "ratio"]

    def cells(row: PathologyWeights) -> list[Any]:
        counts: list[Any] = [row.n_positive, row.n_negative, *([row.n_unknown] if unknown else [])]
        ratio = row.positive_weight / row.negative_weight
        numbers = [_number(row.positive_weight), _number(row.negative_weight), f"{ratio:,.2f}"]
        return [row.pathology, *counts, console.percent(row.prevalence, 2), *numbers]

    options = [f"scheme {result.scheme}"]
    if result.beta is not None:
        options.append(f"beta {result.beta:g}")
    if result.max_ratio is not None:
        options.append(f"ratio at most {result.max_ratio:g}")
    title = f"{labels}: class weights of {result.n_images:,} images, {', '.join(options)}"
    return console.table(title, columns, [cells(row) for row in result.pathologies])


def _balance_table(result: WeightsResult) -> RenderableType:
    caption = (
        "Contribution: weight × frequency. Share of the loss: of a model that says 0.5 of every image. "
        "A weighted model is not calibrated: take log(positive / negative weight) off its logits, or correct its "
        "probability q to q n / (q n + (1 - q) w), with w and n the positive and negative weight."
    )
    return console.table(
        "Balance inside each pathology and between pathologies",
        [
            "pathology",
            "positive contribution",
            "negative contribution",
            "fraction of unweighted loss",
            "fraction of weighted loss",
            "logit shift",
            "a weighted 0.5 means",
        ],
        [
            (
                row.pathology,
                _number(row.positive_contribution),
                _number(row.negative_contribution),
                console.percent(row.unweighted_loss_fraction, 2),
                console.percent(row.weighted_loss_fraction, 2),
                f"{row.logit_shift:+.3f}",
                console.percent(row.corrected_half, 2),
            )
            for row in result.pathologies
        ],
        caption=caption,
    )


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


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.6f}"


def _loss(value: float) -> str:
    return f"{value:.4f}"
