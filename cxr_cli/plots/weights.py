"""Plots of class weights: how rare pathologies are, what weighting balances, and what it leaves unbalanced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from cxr_cli.data.drawing import packaged_style
from cxr_cli.data.names import in_print
from cxr_cli.plots import style

if TYPE_CHECKING:
    from cxr_cli.services.weights.result import PathologyWeights, WeightsResult


@packaged_style()
def class_distribution(result: WeightsResult) -> Figure:
    """Draw the positives of each pathology on a logarithmic axis, the rarest at the bottom.

    Parameters
    ----------
    result
        Result of `cxr_cli.services.weights.weights.compute_weights`.
    """
    rows = sorted(result.pathologies, key=lambda row: row.n_positive)
    figure, axes = _figure(len(rows), width=8)
    counts = [row.n_positive for row in rows]
    axes.plot(counts, range(len(rows)), style.MARKERS[0], color=style.POSITIVE, markersize=7, clip_on=False)
    for place, row in enumerate(rows):
        note = f"{row.n_positive:,} ({style.percent(row.prevalence)})"
        if row.n_unknown:
            note += f", {row.n_unknown:,} unknown"
        axes.annotate(note, (row.n_positive, place), (8, 0), textcoords="offset points", va="center", fontsize=8)
    _name(axes, rows)
    most = max([*counts, 1])
    if min(counts, default=0) == 0:
        axes.set_xscale("symlog", linthresh=1, linscale=0.3)  # a logarithmic axis has no place for zero
        axes.set_xlim(0, 6 * most)
    else:
        axes.set_xscale("log")
        axes.set_xlim(min(counts) / 1.6, 6 * most)
    axes.xaxis.set_major_formatter(style.THOUSANDS)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Positive images (logarithmic)")
    known = " among known labels" if result.n_unknown else ""
    axes.set_title(f"Positives in {result.n_images:,} images (prevalence{known})", fontsize=style.TITLE)
    style.tidy(axes, "x")
    return figure


@packaged_style()
def contributions(result: WeightsResult) -> Figure:
    """Draw which fraction of each pathology's loss positives contribute, before and after weighting.

    The model is one whose cross-entropy is the same on positives and negatives: without weights the fraction is the
    prevalence; 0.5 means that positives and negatives count the same.

    Parameters
    ----------
    result
        Result of `cxr_cli.services.weights.weights.compute_weights`.
    """
    rows = sorted(result.pathologies, key=lambda row: row.n_positive)
    figure, axes = _figure(len(rows), width=8)
    before = [row.prevalence for row in rows]
    after = [_fraction(row.positive_contribution, row.negative_contribution) for row in rows]
    places = np.arange(len(rows))
    axes.axvline(0.5, color=style.GUIDE, linewidth=0.8, zorder=1)
    both = [place for place in places if np.isfinite(before[place]) and np.isfinite(after[place])]
    axes.hlines(both, [before[i] for i in both], [after[i] for i in both], color=style.GUIDE, linewidth=1.5, zorder=1)
    axes.plot(before, places, "o", color=style.BEFORE, markersize=7, label="unweighted", clip_on=False)
    axes.plot(after, places, "D", color=style.AFTER, markersize=6, label=f"weighted ({result.scheme})", clip_on=False)
    _name(axes, rows)
    axes.set_xlim(0, 1)
    axes.set_xlabel("Fraction of the pathology's loss that positives contribute (0.5: balanced)")
    axes.set_title("Loss from positives, before and after weighting", fontsize=style.TITLE)
    style.tidy(axes, "x")
    style.legend_below(figure, axes)
    return figure


@packaged_style()
def loss_shares(result: WeightsResult) -> Figure:
    """Draw the fraction of the total loss that falls on each pathology, for a constant prediction of 0.5.

    Parameters
    ----------
    result
        Result of `cxr_cli.services.weights.weights.compute_weights`.
    """
    rows = sorted(result.pathologies, key=lambda row: (_number(row.weighted_loss_fraction), row.n_positive))
    figure, axes = _figure(len(rows), width=9, row_height=0.4)
    weighted = [_number(row.weighted_loss_fraction) for row in rows]
    unweighted = [_number(row.unweighted_loss_fraction) for row in rows]
    places = np.arange(len(rows))
    for fractions, offset, colour, label in (
        (weighted, 0.2, style.AFTER, f"weighted ({result.scheme})"),
        (unweighted, -0.2, style.BEFORE, "unweighted"),
    ):
        bars = axes.barh(places + offset, fractions, height=0.38, color=colour, label=label)
        axes.bar_label(bars, [style.percent(fraction) for fraction in fractions], padding=3, fontsize=7.5)
    _name(axes, rows)
    axes.set_xlim(0, 1.12 * max([*weighted, *unweighted, 1e-9]))
    axes.xaxis.set_major_formatter(style.PERCENT_TICKS)
    axes.set_xlabel("Fraction of the total loss")
    axes.set_title("Fraction of the total loss, constant prediction of 0.5", fontsize=style.TITLE)
    style.tidy(axes)
    style.legend_below(figure, axes)
    return figure


def _figure(n_rows: int, *, width: float, row_height: float = 0.3) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 1.6 + row_height * max(n_rows, 3)), layout="constrained")
    return figure, figure.subplots()


def _name(axes: Axes, rows: Sequence[PathologyWeights]) -> None:
    names = [in_print(row.pathology) + ("" if row.weighted else " (not weighted)") for row in rows]
    axes.set_yticks(range(len(rows)), labels=names)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.tick_params(axis="y", length=0)


def _fraction(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else float("nan")


def _number(value: float) -> float:
    return value if np.isfinite(value) else 0.0
