"""Plots of a split: sizes, positives, and their deviation from the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cxr_cli.data.drawing import packaged_style
from cxr_cli.data.names import in_print
from cxr_cli.plots import style

if TYPE_CHECKING:
    from cxr_cli.services.split.result import SplitResult, SplitSummary


@packaged_style()
def plot_split(result: SplitResult) -> Figure:
    """Draw sizes, positives per pathology and deviations of a division.

    Parameters
    ----------
    result
        Result of `cxr_cli.services.split.split.divide` or `split`.

    Returns
    -------
    Three panels: images and patients per split; positives per pathology and split on a logarithmic axis; and the
    deviation from the target or, where prevalence was bent on purpose, prevalence relative to the whole table.
    """
    order = sorted(range(len(result.pathologies)), key=lambda place: result.n_positive[place])
    figure = Figure(figsize=(13, 1.6 + 0.3 * max(len(order), 6)), layout="constrained")
    sizes, positives, deviations = figure.subplots(1, 3, width_ratios=(0.9, 1.3, 1.1))
    _draw_sizes(sizes, result.splits)
    names = [in_print(result.pathologies[place]) for place in order]
    _draw_positives(positives, result.splits, order, names)
    if result.min_positives or result.official:
        _draw_prevalences(deviations, result.splits, order)
    else:
        _draw_deviations(deviations, result.splits, order)
    deviations.set_yticks(range(len(names)), labels=[])
    patients = "" if result.n_patients is None else f" of {result.n_patients:,} patients"
    figure.suptitle(f"{result.n_images:,} images{patients} in {len(result.splits)} splits", fontsize=style.TITLE)
    return figure


def _style(number: int, n_splits: int) -> tuple[str, str]:
    """Return colour and marker of a split; many folds look alike because they differ in nothing."""
    return style.series(0 if n_splits > len(style.SERIES) else number)


def _draw_sizes(axes: Axes, splits: Sequence[SplitSummary]) -> None:
    places = range(len(splits))
    for number, summary in enumerate(splits):
        colour, _ = _style(number, len(splits))
        bar = axes.barh(number - 0.2, summary.n_images, height=0.36, color=colour)
        axes.bar_label(bar, [f"{summary.n_images:,} images"], padding=3, fontsize=8)
        if summary.n_patients is not None:
            bar = axes.barh(number + 0.2, summary.n_patients, height=0.36, color=colour, alpha=0.45)
            axes.bar_label(bar, [f"{summary.n_patients:,} patients"], padding=3, fontsize=8)
    axes.set_yticks(places, labels=[summary.name for summary in splits])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.45 * max(summary.n_images for summary in splits))
    axes.xaxis.set_major_formatter(style.THOUSANDS)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel("Count")
    axes.set_title("Size", fontsize=11)
    style.tidy(axes)


def _draw_positives(axes: Axes, splits: Sequence[SplitSummary], order: Sequence[int], names: Sequence[str]) -> None:
    for number, summary in enumerate(splits):
        colour, marker = _style(number, len(splits))
        values = [summary.pathologies[place].n_positive for place in order]
        label = summary.name if len(splits) <= len(style.SERIES) else ("each fold" if number == 0 else None)
        axes.plot(values, range(len(order)), marker, color=colour, markersize=6, alpha=0.85, label=label)
    if any(not label.n_positive for summary in splits for label in summary.pathologies):
        axes.set_xscale("symlog", linthresh=1)  # a logarithmic axis has no place for none
        axes.set_xlim(left=-0.3)
    else:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(style.THOUSANDS)
    axes.set_yticks(range(len(order)), labels=names)
    axes.set_xlabel("Images with the finding (logarithmic)")
    axes.set_title("Positives", fontsize=11)
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)
    style.tidy(axes, "both")


def _draw_deviations(axes: Axes, splits: Sequence[SplitSummary], order: Sequence[int]) -> None:
    for number, summary in enumerate(splits):
        colour, marker = _style(number, len(splits))
        values = [_or_nan(summary.pathologies[place].deviation) for place in order]
        axes.plot(values, range(len(order)), marker, color=colour, markersize=6, alpha=0.85)
    axes.axvline(0, color=style.INK, linewidth=0.8)
    reach = max([0.005, *(abs(value) for value in _deviations(splits))])
    axes.set_xlim(-1.1 * reach, 1.1 * reach)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(style.PERCENT_TICKS)
    axes.set_xlabel("(positives − target) / target")
    axes.set_title("Deviation from the target", fontsize=11)
    style.tidy(axes, "both")


def _draw_prevalences(axes: Axes, splits: Sequence[SplitSummary], order: Sequence[int]) -> None:
    for number, summary in enumerate(splits):
        colour, marker = _style(number, len(splits))
        values = [_or_nan(summary.pathologies[place].prevalence_ratio) or float("nan") for place in order]
        axes.plot(values, range(len(order)), marker, color=colour, markersize=6, alpha=0.85)
    axes.axvline(1, color=style.INK, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"×{value:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.set_xlabel("Prevalence in the split / in the table")
    axes.set_title("Prevalence relative to the whole table", fontsize=11)
    style.tidy(axes, "both")


def _deviations(splits: Sequence[SplitSummary]) -> list[float]:
    return [label.deviation for item in splits for label in item.pathologies if label.deviation is not None]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
