"""Pictures of class weights: how rare pathologies are, what weighting balances, and what it leaves unbalanced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

if TYPE_CHECKING:
    from cxr_cli.services.weights.weights import PathologyWeights, WeightsResult

#: Colours that colour-blind people tell apart (Okabe and Ito).
_POSITIVE, _NEGATIVE, _UNKNOWN = "#D55E00", "#0072B2", "#BBBBBB"
_REGULAR, _WEIGHTED = "#999999", "#009E73"


def class_distribution(result: WeightsResult) -> Figure:
    """Draw the share of positives, negatives and unknown labels of each pathology, rarest at the bottom.

    Parameters
    ----------
    result
        What `cxr_cli.services.weights.weights.compute_weights` returned.
    """
    rows = sorted(result.pathologies, key=lambda row: row.n_positive)
    figure, axes = _figure(len(rows), width=9)
    left = np.zeros(len(rows))
    parts = [("positive", _POSITIVE, "n_positive"), ("negative", _NEGATIVE, "n_negative")]
    if result.n_unknown:
        parts.append(("not known", _UNKNOWN, "n_unknown"))
    for label, colour, field in parts:
        shares = np.array([getattr(row, field) for row in rows]) / result.n_images
        axes.barh(range(len(rows)), shares, left=left, color=colour, label=label)
        left += shares
    for place, row in enumerate(rows):
        axes.annotate(
            f"{row.n_positive:,} positive ({_percent(row.prevalence)})",
            (1, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    _name(axes, rows)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("Share of images")
    percent = " of the known labels" if result.n_unknown else ""
    figure.suptitle(f"Class distribution of {result.n_images:,} images (in brackets: prevalence{percent})", fontsize=11)
    _legend(figure, axes)
    return figure


def contributions(result: WeightsResult) -> Figure:
    """Draw what positives and negatives contribute to the loss of each pathology, before and after weighting.

    Parameters
    ----------
    result
        What `cxr_cli.services.weights.weights.compute_weights` returned.

    Returns
    -------
    Two panels with the pathologies in one order: frequencies, and weight times frequency.
    """
    rows = sorted(result.pathologies, key=lambda row: row.n_positive)
    figure = Figure(figsize=(12, _height(len(rows))), layout="constrained")
    before, after = figure.subplots(1, 2, sharey=True)
    _pairs(before, [row.prevalence for row in rows], [1 - row.prevalence for row in rows])
    _pairs(after, [row.positive_contribution for row in rows], [row.negative_contribution for row in rows])
    _name(before, rows)
    before.set_title("Before: frequency", fontsize=10)
    after.set_title(f"After: weight × frequency (scheme {result.scheme})", fontsize=10)
    before.set_xlim(0, 1.12)
    for axes in (before, after):
        axes.set_xlabel("Contribution to the mean loss, per unit of cross-entropy")
    after.set_xlim(0, 1.15 * max(_largest(rows), 1e-9))
    figure.suptitle("What positives and negatives contribute to the loss (the scales differ)", fontsize=11)
    _legend(figure, before)
    return figure


def loss_shares(result: WeightsResult) -> Figure:
    """Draw the share of each pathology in the total loss of a model that says 0.5, regular and weighted.

    Parameters
    ----------
    result
        What `cxr_cli.services.weights.weights.compute_weights` returned.
    """
    rows = sorted(result.pathologies, key=lambda row: (_number(row.weighted_loss_share), row.n_positive))
    figure, axes = _figure(len(rows), width=9, row_height=0.4)
    weighted = [_number(row.weighted_loss_share) for row in rows]
    regular = [_number(row.regular_loss_share) for row in rows]
    places = np.arange(len(rows))
    for shares, offset, colour, label in (
        (weighted, 0.2, _WEIGHTED, f"weighted (scheme {result.scheme})"),
        (regular, -0.2, _REGULAR, "regular"),
    ):
        bars = axes.barh(places + offset, shares, height=0.38, color=colour, label=label)
        axes.bar_label(bars, [_percent(share) for share in shares], padding=3, fontsize=7.5)
    _name(axes, rows)
    largest = max([*weighted, *regular, 1e-9])
    axes.set_xlim(0, 1.12 * largest)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0 if largest > 0.05 else 1))
    axes.set_xlabel("Share of the total loss")
    figure.suptitle("Share of each pathology in the loss of a model that says 0.5 of every image", fontsize=11)
    _legend(figure, axes)
    return figure


def _figure(n_rows: int, *, width: float, row_height: float = 0.3) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, _height(n_rows, row_height)), layout="constrained")
    return figure, figure.subplots()


def _height(n_rows: int, row_height: float = 0.4) -> float:
    return 1.6 + row_height * max(n_rows, 3)


def _pairs(axes: Axes, positive: Sequence[float], negative: Sequence[float]) -> None:
    places = np.arange(len(positive))
    for values, offset, colour, label in (
        (positive, 0.2, _POSITIVE, "positives"),
        (negative, -0.2, _NEGATIVE, "negatives"),
    ):
        numbers = [_number(value) for value in values]
        bars = axes.barh(places + offset, numbers, height=0.38, color=colour, label=label)
        written = [f"{value:#.3g}" if np.isfinite(value) else "–" for value in values]
        axes.bar_label(bars, written, padding=3, fontsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _name(axes: Axes, rows: Sequence[PathologyWeights]) -> None:
    names = [row.pathology + ("" if row.weighted else " (not weighted)") for row in rows]
    axes.set_yticks(range(len(rows)), labels=names)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)


def _largest(rows: Sequence[PathologyWeights]) -> float:
    return max(_number(value) for row in rows for value in (row.positive_contribution, row.negative_contribution))


def _number(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def _percent(share: float) -> str:
    if not np.isfinite(share):
        return "–"
    return f"{100 * share:.{2 if 0 < share < 0.01 else 1}f} %"
