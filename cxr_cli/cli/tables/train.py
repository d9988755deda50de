"""Tables of ``cxr train``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console
from cxr_cli.data.names import in_print

if TYPE_CHECKING:
    from cxr_cli.services.train.result import TrainResult, TrainRun


def tables_of(result: TrainResult) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    if not result.trained:
        yield _shared(result)
        return
    for run in result.runs:
        yield _stages(result, run)
    yield _pathologies(result)


def _shared(result: TrainResult) -> RenderableType:
    return console.table(
        "In both stores",
        ["patient"],
        [(patient,) for patient in result.shared_patients] or [(image,) for image in result.shared_images],
        most=10,
    )


def _stages(result: TrainResult, run: TrainRun) -> RenderableType:
    rows: list[tuple[object, ...]] = []
    for stage in run.stages:
        kept = next(e for e in run.epochs if e.stage == stage.name and e.epoch == stage.best_epoch)
        rows.append(
            (
                stage.name,
                stage.n_epochs,
                stage.best_epoch,
                f"{stage.learning_rate:g}",
                stage.trainable_parameters,
                _number(kept.valid_auroc),
                _number(kept.valid_auprc),
                stage.stopped_by,
            )
        )
    sanity = run.sanity
    seed = f", seed {run.seed}" if len(result.runs) > 1 else ""
    return console.table(
        f"Stages{seed}",
        ["stage", "epochs", "kept", "learning rate", "trainable", "AUROC", "AUPRC", "ended by"],
        rows,
        caption=f"on {result.valid.n_images:,} validation images; mean AUROC after the last epoch "
        f"{_number(sanity.auroc)} ({_number(sanity.low)} to {_number(sanity.high)} over patients)",
    )


def _pathologies(result: TrainResult) -> RenderableType:
    runs = result.runs
    columns = ["pathology", "positives", "negatives"]
    columns += ["AUROC", "AUPRC"] if len(runs) == 1 else [f"AUROC, seed {run.seed}" for run in runs]
    rows: list[tuple[object, ...]] = []
    for place, score in enumerate(runs[0].pathologies):
        values = [run.pathologies[place].auroc for run in runs] + ([score.auprc] if len(runs) == 1 else [])
        rows.append((in_print(score.pathology), score.n_positive, score.n_negative, *map(_number, values)))
    means = [run.auroc for run in runs] + ([runs[0].auprc] if len(runs) == 1 else [])
    rows.append(("mean", None, None, *map(_number, means)))
    return console.table(
        "Validation images",
        columns,
        rows,
        caption="the epoch was chosen on these images: judge on others, with 'cxr predict' and 'cxr evaluate'",
    )


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
