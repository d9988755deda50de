"""Tables of ``cxr predict``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console
from cxr_cli.data.names import in_print

if TYPE_CHECKING:
    from cxr_cli.services.predict.result import PredictResult


def tables_of(result: PredictResult) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    if result.n_failed:
        yield console.table(
            f"{console.counted(result.n_failed, 'image')} without a prediction",
            ["image", "reason"],
            [(item.image, item.reason) for item in result.failures],
            text_columns=2,
            most=10,
            n_rows=result.n_failed,
        )
    decided = result.decisions is not None
    columns = ["pathology", "mean", "lowest", "highest", *(["threshold", "positive"] if decided else [])]
    rows: list[tuple[object, ...]] = []
    for item in result.pathologies:
        numbers: list[object] = [f"{value:.3f}" for value in (item.mean, item.minimum, item.maximum)]
        if decided:
            numbers += [None if item.n_positive is None else f"{item.threshold:.3f}", item.n_positive]
        rows.append((in_print(item.pathology), *numbers))
    yield console.table(
        "Predicted probabilities",
        columns,
        rows,
        caption=f"{console.counted(result.n_predicted, 'image')} of {result.source}"
        + ("; class weights undone" if result.corrected else ""),
    )
