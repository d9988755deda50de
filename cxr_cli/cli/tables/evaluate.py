"""Tables of ``cxr evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.evaluate.result import (
        Calibration,
        Comparison,
        Estimate,
        EvaluateResult,
        Group,
        ModelResult,
        PathologyResult,
        Subgroups,
    )

#: Gaps between subgroups that are shown; the JSON and metrics.csv have all.
_MOST_GAPS = 20


def tables_of(result: EvaluateResult) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    for model in result.models:
        yield _ranking(result, model)
        if model.not_scored:
            yield console.table(
                f"{model.name}: not scored",
                ["pathology", "why"],
                [(row.pathology, row.reason) for row in model.not_scored],
                text_columns=2,
            )
    for comparison in result.comparisons:
        yield _comparison(comparison, result.confidence)
    yield from _calibration(result.models[0])
    if result.rule is not None:
        yield from _operating_points(result)
    for subgroups in result.subgroups:
        yield _subgroups(subgroups)
    yield from _gaps(result)
    if result.published:
        yield _published(result)


def _ranking(result: EvaluateResult, model: ModelResult) -> RenderableType:
    several = model.n_runs > 1
    patients = f" of {result.n_patients:,} patients" if result.n_patients else ""
    columns = ["pathology", "positives", "AUROC", "interval", "AUPRC", "interval"]
    if several:
        columns.insert(4, "runs")
    rows = [_ranking_row(row, several) for row in model.pathologies]
    mean = model.mean
    last = [
        "mean",
        "",
        _three(mean.auroc.value),
        _interval(mean.auroc, dash=True),
        _three(mean.auprc.value),
        _interval(mean.auprc, dash=True),
    ]
    if several:
        last.insert(4, _spread(mean.auroc_runs))
    unit = "patients" if result.unit == "patient" else "images"
    caption = f"{100 * result.confidence:g} % intervals from {result.n_draws:,} draws of {unit}"
    caption += "; beside positives: their prevalence, which is the AUPRC by chance"
    outside = [row.pathology for row in model.pathologies if not row.in_mean]
    if outside:
        caption += f"; {', '.join(outside)} not in the mean"
    undefined = [f"{row.pathology} in {row.auroc.n_undefined:,}" for row in model.pathologies if row.auroc.n_undefined]
    if undefined:
        left_out = console.counted(mean.auroc.n_undefined, "draw")
        caption += f"; undefined draws: {', '.join(undefined)}; {left_out} left out of the mean's interval"
    return console.table(
        f"{model.name}: {result.n_images:,} images{patients}" + (f", {model.n_runs} runs" if several else ""),
        columns,
        [*rows, last],
        caption=caption,
    )


def _ranking_row(row: PathologyResult, several: bool) -> list[object]:
    cells: list[object] = [
        row.pathology,
        # Without comma and leading 0, so that the table of a large data set fits into 80 columns.
        f"{row.n_positive} ({f'{row.prevalence:.2g}'.removeprefix('0')})",
        _three(row.auroc.value),
        _interval(row.auroc, dash=True),
        _three(row.auprc.value),
        _interval(row.auprc, dash=True),
    ]
    if several:
        cells.insert(4, _spread(row.auroc_runs))
    return cells


def _comparison(comparison: Comparison, confidence: float) -> RenderableType:
    rows = [
        (
            row.pathology,
            row.n_positive if row.pathology != "mean" else "",
            f"{row.auroc.value:+.3f}",
            _interval(row.auroc, signed=True),
            _p(row.p_value),
            _p(row.p_holm),
            _p(row.p_delong),
            row.verdict,
        )
        for row in (*comparison.pathologies, comparison.mean)
    ]
    level = 1 - confidence
    caption = (
        f"p below {level:.2g}: {comparison.n_significant} of {len(comparison.pathologies)} by paired draws, "
        f"{comparison.n_significant_delong} by DeLong's test (which takes images as independent), "
        f"{comparison.n_significant_holm} by paired draws after Holm's correction, on which the verdict rests"
    )
    return console.table(
        f"AUROC of {comparison.first} minus {comparison.second}",
        ["pathology", "positives", "difference", "interval", "p", "p Holm", "p DeLong", "verdict"],
        rows,
        caption=caption,
    )


def _calibration(model: ModelResult) -> Iterator[RenderableType]:
    for title, pairs in (
        ("Calibration", [(row, row.calibration) for row in model.pathologies]),
        ("Calibration after correcting for class weights", [(r, r.calibration_corrected) for r in model.pathologies]),
    ):
        rows = [_calibration_row(row, found) for row, found in pairs if found is not None]
        if rows:
            yield console.table(
                f"{model.name}: {title[0].lower()}{title[1:]}",
                ["pathology", "predicted", "observed", "Brier skill", "intercept", "slope", "error"],
                rows,
                caption="a calibrated model has skill above 0, intercept 0 and slope 1; error: expected calibration "
                "error, from 20 positives on",
            )


def _calibration_row(row: PathologyResult, found: Calibration) -> list[object]:
    return [
        row.pathology,
        _three(found.mean_predicted),
        _three(found.observed),
        _with_interval(found.brier_skill, 2),
        _with_interval(found.intercept, 2),
        _with_interval(found.slope, 2),
        _three(found.expected_error),
    ]


def _operating_points(result: EvaluateResult) -> Iterator[RenderableType]:
    rows: list[list[object]] = []
    elsewhere = result.prevalence is not None
    other_rules: dict[str, None] = {}
    for row in result.models[0].pathologies:
        for point in row.operating_points:
            if point.rule != result.rule:
                other_rules[point.rule] = None
                continue
            cells: list[object] = [
                row.pathology,
                "/".join(f"{cut:.3g}" for cut in point.thresholds),
                *(f"{count:,.0f}" for count in (point.true_positive, point.false_positive)),
                *(f"{count:,.0f}" for count in (point.true_negative, point.false_negative)),
                _with_interval(point.sensitivity, 2),
                _with_interval(point.specificity, 2),
                _with_interval(point.ppv, 2),
                _three(point.npv.value),
                _with_interval(point.f1, 2),
            ]
            if point.ppv_at_prevalence is not None and point.npv_at_prevalence is not None:
                cells += [_three(point.ppv_at_prevalence.value), _three(point.npv_at_prevalence.value)]
            rows.append(cells)
    columns = ["pathology", "threshold", "TP", "FP", "TN", "FN", "sensitivity", "specificity", "PPV", "NPV", "F1"]
    if elsewhere:
        columns += [f"PPV at {result.prevalence:g}", f"NPV at {result.prevalence:g}"]
    caption = None
    if other_rules:
        caption = f"{', '.join(other_rules)}: in metrics.csv and --json, or first with --rule"
    if rows:
        yield console.table(f"At the thresholds by {result.rule}", columns, rows, caption=caption)


def _subgroups(subgroups: Subgroups) -> RenderableType:
    with_rates = any(row.fpr is not None for group in subgroups.groups for row in group.pathologies)
    rows = []
    for place, first in enumerate(subgroups.groups[0].pathologies):
        rows.append([first.pathology, *(_group_cell(group, place) for group in subgroups.groups)])
    columns = ["pathology"]
    for group in subgroups.groups:
        patients = f"{group.n_images:,} images of {group.n_patients:,} patients"
        columns.append(f"{group.name} ({patients})")
    caption = "AUROC (interval)" + (" / FPR / FNR, both at the threshold of the whole test set" if with_rates else "")
    if subgroups.n_unknown:
        caption += f"; unknown for {subgroups.n_unknown:,} images"
    return console.table(f"By {subgroups.attribute}", columns, rows, caption=caption)


def _group_cell(group: Group, place: int) -> str:
    row = group.pathologies[place]
    if row.too_small:
        few = min(row.n_positive, row.n_images - row.n_positive)
        return f"too small ({console.counted(few, 'positive' if few == row.n_positive else 'negative')})"
    text = f"{_three(row.auroc.value)} ({_interval(row.auroc)})"
    if row.fpr is not None and row.fnr is not None:
        text += f" / {_three(row.fpr.value)} / {_three(row.fnr.value)}"
    return text


def _gaps(result: EvaluateResult) -> Iterator[RenderableType]:
    """Show the gaps whose interval leaves 0 outside, the widest first."""
    found = []
    for subgroups in result.subgroups:
        for group in subgroups.groups:
            for row in group.pathologies:
                for metric, gap in (("AUROC", row.auroc_gap), ("FPR", row.fpr_gap), ("FNR", row.fnr_gap)):
                    if not row.too_small and gap is not None and (gap.low > 0 or gap.high < 0):
                        where = f"{group.name} against {subgroups.reference}"
                        found.append((abs(gap.value), subgroups.attribute, where, row.pathology, metric, gap))
    found.sort(key=lambda item: (-item[0], *item[1:5]))
    if found:
        yield console.table(
            "Gaps between subgroups",
            ["by", "group", "pathology", "metric", "gap", "interval"],
            [
                (attribute, where, pathology, metric, f"{gap.value:+.3f}", _interval(gap, signed=True))
                for _, attribute, where, pathology, metric, gap in found
            ],
            text_columns=4,
            most=_MOST_GAPS,
            caption="intervals that leave 0 outside, not corrected for their number",
        )


def _published(result: EvaluateResult) -> RenderableType:
    mean = result.models[0].mean.auroc
    rows = [(row.source, row.auroc, row.split) for row in result.published]
    return console.table(
        "Published mean AUROC",
        ["source", "AUROC", "test set"],
        [(f"here: {result.models[0].name}", _three(mean.value), result.labels_from), *rows],
        text_columns=3,
        caption="results on different test sets do not compare: only models on the same images do",
    )


def _three(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _interval(found: Estimate, *, signed: bool = False, dash: bool = False) -> str:
    if found.low != found.low:
        return "–"
    if dash:
        return f"{found.low:.3f}–{found.high:.3f}"
    sign = "+" if signed else ""
    return f"{found.low:{sign}.3f} to {found.high:{sign}.3f}"


def _with_interval(found: Estimate, digits: int) -> str:
    if found.value != found.value:
        return "–"
    if found.low != found.low:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _spread(runs: tuple[float, ...]) -> str:
    return f"{min(runs):.3f} to {max(runs):.3f}"


def _p(value: float) -> str:
    if value != value:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
