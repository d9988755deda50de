"""Every number of an evaluation as one CSV, a row for each."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from cxr_cli.services.evaluate.result import (
    Comparison,
    Estimate,
    EvaluateResult,
    GroupPathology,
    ModelResult,
    OperatingPoint,
    PathologyResult,
    Subgroups,
)

#: The columns: what is measured, where, and the number with its interval. Blank where a column does not apply.
COLUMNS = (
    "model",
    "compared_with",
    "attribute",
    "group",
    "pathology",
    "rule",
    "metric",
    "value",
    "low",
    "high",
    "n_undefined_draws",
    "n_images",
    "n_patients",
    "n_positive",
)
_Row = dict[str, object]


def metrics_table(result: EvaluateResult) -> str:
    """Return the text of ``metrics.csv``.

    Parameters
    ----------
    result
        Result of `evaluate`.
    """
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    rows.writeheader()
    for model in result.models:
        rows.writerows(_of_model(model))
    for subgroups in result.subgroups:
        rows.writerows(_of_subgroups(result.models[0].name, subgroups))
    for comparison in result.comparisons:
        rows.writerows(_of_comparison(comparison))
    return text.getvalue()


def is_left_over(path: Path) -> bool:
    """Whether a file begins as ``metrics.csv`` does: a run that was killed left it, and an equal one may replace it."""
    header = (",".join(COLUMNS) + "\n").encode()
    try:
        with open(path, "rb") as stream:
            return stream.read(len(header)) == header
    except OSError:
        return False


def _number(metric: str, value: Estimate | float, where: _Row) -> _Row:
    if not isinstance(value, Estimate):
        return {**where, "metric": metric, "value": _text(value)}
    numbers = {"value": _text(value.value), "low": _text(value.low), "high": _text(value.high)}
    return {**where, "metric": metric, **numbers, "n_undefined_draws": value.n_undefined}


def _text(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""


def _estimates(item: object, where: _Row, prefix: str = "", suffix: str = "") -> Iterator[_Row]:
    """Yield a row for each field that is a number with an interval, or a plain float."""
    for each in fields(item):  # type: ignore[arg-type]
        value = getattr(item, each.name)
        if isinstance(value, (Estimate, float)):
            yield _number(f"{prefix}{each.name}{suffix}", value, where)


def _of_model(model: ModelResult) -> Iterator[_Row]:
    for row in model.pathologies:
        yield from _of_pathology(model, row)
    where: _Row = {"model": model.name, "pathology": "mean"}
    yield from _estimates(model.mean, where)
    for run, (area, precision) in enumerate(zip(model.mean.auroc_runs, model.mean.auprc_runs, strict=True), start=1):
        if model.n_runs > 1:
            yield _number(f"auroc_run_{run}", area, where)
            yield _number(f"auprc_run_{run}", precision, where)


def _of_pathology(model: ModelResult, row: PathologyResult) -> Iterator[_Row]:
    where: _Row = {
        "model": model.name,
        "pathology": row.pathology,
        "n_images": row.n_images,
        "n_patients": row.n_patients,
        "n_positive": row.n_positive,
    }
    yield from _estimates(row, where)
    if model.n_runs > 1:
        for run, (area, precision) in enumerate(zip(row.auroc_runs, row.auprc_runs, strict=True), start=1):
            yield _number(f"auroc_run_{run}", area, where)
            yield _number(f"auprc_run_{run}", precision, where)
    for calibration, suffix in ((row.calibration, ""), (row.calibration_corrected, "_corrected")):
        if calibration is not None:
            yield from _estimates(calibration, where, "calibration_", suffix)
            for place, point in enumerate(calibration.bins, start=1):
                yield _number(f"bin_{place}_mean_predicted{suffix}", point.mean_predicted, where)
                yield _number(f"bin_{place}_observed{suffix}", point.observed, where)
    for operating_point in row.operating_points:
        yield from _of_point(operating_point, where)


def _of_point(point: OperatingPoint, where: _Row) -> Iterator[_Row]:
    there = {**where, "rule": point.rule}
    for run, cut in enumerate(point.thresholds, start=1):
        yield _number("threshold" if len(point.thresholds) == 1 else f"threshold_run_{run}", cut, there)
    yield from _estimates(point, there)


def _of_subgroups(model: str, subgroups: Subgroups) -> Iterator[_Row]:
    for group in subgroups.groups:
        for row in group.pathologies:
            yield from _estimates(row, _group_place(model, subgroups, group.name, row))


def _group_place(model: str, subgroups: Subgroups, group: str, row: GroupPathology) -> _Row:
    return {
        "model": model,
        "attribute": subgroups.attribute,
        "group": group,
        "pathology": row.pathology,
        "n_images": row.n_images,
        "n_patients": row.n_patients,
        "n_positive": row.n_positive,
    }


def _of_comparison(comparison: Comparison) -> Iterator[_Row]:
    for row in (*comparison.pathologies, comparison.mean):
        where: _Row = {
            "model": comparison.first,
            "compared_with": comparison.second,
            "pathology": row.pathology,
            "n_positive": row.n_positive,
        }
        for each in _estimates(row, where):
            metric = str(each["metric"])
            yield {**each, "metric": f"{metric}_difference" if metric.startswith("au") else metric}
