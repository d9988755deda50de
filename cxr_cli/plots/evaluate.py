"""Plots of an evaluation, made for a paper: ROC, precision-recall, reliability, and forests of AUROCs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cxr_cli.data.drawing import packaged_style
from cxr_cli.data.names import in_print
from cxr_cli.plots import style
from cxr_cli.services.evaluate.subgroups import subgroup_plot

if TYPE_CHECKING:
    from cxr_cli.services.evaluate.curves import Curves
    from cxr_cli.services.evaluate.result import Calibration, Estimate, EvaluateResult, Subgroups

Floats = NDArray[np.float64]

#: Panels side by side, and the side of one in inches.
_ACROSS, _SIDE = 4, 2.5
#: Subgroup forests have at most so many pathologies; the mean of them is not scored per group.
_MOST_ROWS = 40


def figures(result: EvaluateResult) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) for everything there is to draw.

    Parameters
    ----------
    result
        What `evaluate` returned, with its curves.
    """
    if result.curves:
        yield "roc", roc_curves(result)
        yield "precision-recall", precision_recall_curves(result)
    if any(row.calibration is not None and row.calibration.bins for row in result.models[0].pathologies):
        yield "reliability", reliability_curves(result)
    yield "forest", forest(result)
    for subgroups in result.subgroups:
        yield subgroup_plot(subgroups.attribute), subgroup_forest(result, subgroups)


@packaged_style()
def roc_curves(result: EvaluateResult) -> Figure:
    """Draw the ROC curve of each pathology with the band of the first model, all models in one panel.

    Parameters
    ----------
    result
        What `evaluate` returned, with its curves.
    """
    figure, panels = _panels(result)
    for pathology, axes in panels:
        axes.plot([0, 1], [0, 1], color=style.GUIDE, linewidth=0.8, linestyle="--")
        for place, curve in _curves(result, pathology):
            _band(axes, place, _grid(curve), curve.sensitivity_band)
            _line(axes, place, curve.model, curve.false_positive_rate, curve.sensitivity)
        _annotate(axes, result, pathology, "auroc", (0.97, 0.05), "bottom")
        _square(axes, "1 − specificity", "sensitivity")
    _finish(figure, panels, result, "ROC curves")
    return figure


@packaged_style()
def precision_recall_curves(result: EvaluateResult) -> Figure:
    """Draw precision against recall for each pathology with the band of the first model; dashed: the prevalence.

    Parameters
    ----------
    result
        What `evaluate` returned, with its curves.
    """
    figure, panels = _panels(result)
    for pathology, axes in panels:
        prevalence = next(row.prevalence for row in result.models[0].pathologies if row.pathology == pathology)
        axes.axhline(prevalence, color=style.GUIDE, linewidth=0.8, linestyle="--")
        for place, curve in _curves(result, pathology):
            # At recall 0 nothing is predicted positive, and precision is undefined.
            _band(axes, place, _grid(curve)[1:], curve.precision_band[:, 1:])
            _line(axes, place, curve.model, curve.recall, curve.precision, drawstyle="steps-pre")
        _annotate(axes, result, pathology, "auprc", (0.97, 0.95), "top")
        _square(axes, "recall", "precision")
    _finish(figure, panels, result, "Precision-recall curves; dashed: prevalence")
    return figure


@packaged_style()
def reliability_curves(result: EvaluateResult) -> Figure:
    """Draw observed prevalence against predicted probability of the first model, in bins of equal numbers of images.

    Pathologies with too few positives have no curve, and their panel says so.

    Parameters
    ----------
    result
        What `evaluate` returned.
    """
    figure, panels = _panels(result)
    rows = {row.pathology: row for row in result.models[0].pathologies}
    for pathology, axes in panels:
        row = rows[pathology]
        drawn = [("as predicted", 0, row.calibration), ("corrected for class weights", 1, row.calibration_corrected)]
        limit = 0.0
        for label, place, calibration in drawn:
            if calibration is not None and calibration.bins:
                limit = max(limit, _points(axes, calibration, label, place))
        if not limit:
            why = "not probabilities" if row.calibration is None else (row.calibration.curve_refused or "")
            axes.text(0.5, 0.5, _wrapped(why), ha="center", va="center", fontsize=style.NOTE, transform=axes.transAxes)
            axes.set_xticks([])
            axes.set_yticks([])
            continue
        limit = min(1.0, 1.08 * limit)
        axes.plot([0, limit], [0, limit], color=style.GUIDE, linewidth=0.8, linestyle="--", zorder=0)
        _square(axes, "predicted", "observed", limit)
    _finish(figure, panels, result, f"Reliability of {result.models[0].name}, bins of equal numbers of images")
    return figure


@packaged_style()
def forest(result: EvaluateResult) -> Figure:
    """Draw the AUROC of each pathology and the mean, with intervals, for every model.

    Parameters
    ----------
    result
        What `evaluate` returned.
    """
    names = [row.pathology for row in result.models[0].pathologies]
    entries = []
    for place, model in enumerate(result.models):
        found = {row.pathology: row.auroc for row in model.pathologies}
        entries.append((model.name, place, [found.get(name) for name in names] + [model.mean.auroc]))
    counts = [f"{in_print(row.pathology)} ({row.n_positive:,})" for row in result.models[0].pathologies]
    figure = _forest([*counts, "Mean"], entries)
    unit = "patients" if result.unit == "patient" else "images"
    figure.suptitle(
        f"AUROC with {100 * result.confidence:g} % intervals over {unit} (in brackets: positives)", fontsize=style.TITLE
    )
    return figure


@packaged_style()
def subgroup_forest(result: EvaluateResult, subgroups: Subgroups) -> Figure:
    """Draw the AUROC of each pathology in each group of one attribute; groups that are too small are left out.

    Parameters
    ----------
    result
        What `evaluate` returned.
    subgroups
        One of its subgroups.
    """
    names = [row.pathology for row in subgroups.groups[0].pathologies][:_MOST_ROWS]
    entries = []
    for place, group in enumerate(subgroups.groups):
        found = [None if row.too_small else row.auroc for row in group.pathologies[: len(names)]]
        entries.append((f"{group.name} ({group.n_images:,} images)", place, found))
    figure = _forest([in_print(name) for name in names], entries)
    figure.suptitle(
        f"AUROC of {result.models[0].name} by {subgroups.attribute}, groups with at least 20 positives",
        fontsize=style.TITLE,
    )
    return figure


def _panels(result: EvaluateResult) -> tuple[Figure, list[tuple[str, Axes]]]:
    names = [row.pathology for row in result.models[0].pathologies]
    across = min(_ACROSS, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(_SIDE * across + 0.4, _SIDE * down + 0.9), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    panels = list(zip(names, grid.flat, strict=False))
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    for name, axes in panels:
        axes.set_title(in_print(name), fontsize=style.PANEL)
        axes.tick_params(labelsize=style.SMALL)
        style.tidy(axes)
    return figure, panels


def _curves(result: EvaluateResult, pathology: str) -> Iterator[tuple[int, Curves]]:
    places = {model.name: place for place, model in enumerate(result.models)}
    # The first model last, on top of the others.
    for curve in reversed([item for item in result.curves if item.pathology == pathology]):
        yield places[curve.model], curve


def _grid(curve: Curves) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.linspace(0, 1, curve.sensitivity_band.shape[1])


def _band(axes: Axes, place: int, grid: Floats, band: Floats) -> None:
    """Draw the band of the first model; those of several would hide each other."""
    if place == 0:
        axes.fill_between(grid, band[0], band[1], color=style.BAND, alpha=0.35, linewidth=0)


def _line(axes: Axes, place: int, model: str, x: Floats, y: Floats, **how: Any) -> None:
    colour, _ = style.series(place)
    axes.plot(x, y, color=colour, linewidth=1.2, label=model, **how)


def _annotate(
    axes: Axes, result: EvaluateResult, pathology: str, metric: str, place: tuple[float, float], vertical: str
) -> None:
    row = next(row for row in result.models[0].pathologies if row.pathology == pathology)
    found: Estimate = getattr(row, metric)
    text = (
        f"{found.value:.3f}\n({found.low:.3f} to {found.high:.3f})" if found.low == found.low else f"{found.value:.3f}"
    )
    axes.text(*place, text, ha="right", va=vertical, fontsize=style.SMALL, color=style.INK, transform=axes.transAxes)


def _square(axes: Axes, x: str, y: str, limit: float = 1.0) -> None:
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit * 1.01)
    axes.set_box_aspect(1)
    axes.set_xlabel(x, fontsize=style.NOTE)
    axes.set_ylabel(y, fontsize=style.NOTE)


def _points(axes: Axes, calibration: Calibration, label: str, place: int) -> float:
    """Draw one reliability curve; return how far it reaches."""
    colour, marker = style.series(place)
    x = np.array([point.mean_predicted for point in calibration.bins])
    y = np.array([point.observed.value for point in calibration.bins])
    low = np.array([point.observed.low for point in calibration.bins])
    high = np.array([point.observed.high for point in calibration.bins])
    reach = np.nan_to_num(np.clip(np.stack([y - low, high - y]), 0, None))
    axes.errorbar(
        x,
        y,
        yerr=reach,
        color=colour,
        marker=marker,
        markersize=3,
        linewidth=1,
        elinewidth=0.8,
        capsize=1.5,
        label=label,
    )
    return float(max(x.max(), np.nanmax(high), y.max()))


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 22))


def _finish(figure: Figure, panels: Sequence[tuple[str, Axes]], result: EvaluateResult, title: str) -> None:
    figure.suptitle(title, fontsize=style.TITLE)
    labels: dict[str, Artist] = {}
    for _, axes in panels:
        handles, names = axes.get_legend_handles_labels()
        for handle, label in zip(handles, names, strict=True):
            labels.setdefault(str(label), handle)
    if len(labels) > 1:
        models = [model.name for model in result.models]
        order = sorted(labels, key=lambda label: models.index(label) if label in models else 0)
        figure.legend(
            [labels[label] for label in order],
            order,
            loc="outside lower center",
            ncols=len(order),
            frameon=False,
            fontsize=style.NOTE + 1,
        )


def _forest(rows: Sequence[str], entries: Sequence[tuple[str, int, Sequence[Estimate | None]]]) -> Figure:
    """Draw estimates with intervals: a row for each name, and in it a mark for each entry."""
    height = 1.6 + max(3, len(rows)) * (0.2 + 0.12 * len(entries))
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.subplots()
    spread = 0.7 / max(len(entries), 1)
    lowest = 0.5
    for position, (label, place, estimates) in enumerate(entries):
        colour, marker = style.series(place)
        offset = (position - (len(entries) - 1) / 2) * spread
        known = [
            (row, found) for row, found in enumerate(estimates) if found is not None and found.value == found.value
        ]
        if not known:
            continue
        y = np.array([row + offset for row, _ in known])
        x = np.array([found.value for _, found in known])
        low = np.array([found.low for _, found in known])
        high = np.array([found.high for _, found in known])
        reach = np.nan_to_num(np.clip(np.stack([x - low, high - x]), 0, None))
        axes.errorbar(
            x, y, xerr=reach, color=colour, marker=marker, markersize=4, linestyle="none", elinewidth=1.2, label=label
        )
        lowest = min(lowest, float(np.nanmin([low.min(), x.min()])))
    axes.axvline(0.5, color=style.GUIDE, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(rows)), labels=list(rows), fontsize=style.NOTE)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(max(0.0, lowest - 0.02), 1.0)
    axes.set_xlabel("AUROC", fontsize=style.NOTE)
    axes.tick_params(axis="y", length=0)
    style.tidy(axes, "x")
    if len(entries) > 1:
        style.legend_below(figure, axes)
    return figure
