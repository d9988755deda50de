"""Colours, number formats and helpers that all plots share. A colour means the same in every plot.

The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind readers can tell apart;
markers and hatching carry the same difference in black-and-white print.
"""

from __future__ import annotations

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

_BLUE, _ORANGE, _GREEN, _PURPLE, _SKY, _VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"

#: Counts and positives: images with a finding, patients, ages.
POSITIVE = _BLUE
#: What is neither good nor bad news: images without a finding, unknown labels, histograms.
NEUTRAL = "#8C8C8C"
#: Before and after: grey levels and standardized values, unweighted and weighted loss.
BEFORE, AFTER = NEUTRAL, _GREEN
#: Bad news: what splits share. The hatch serves black-and-white prints.
SHARED, SHARED_HATCH = _VERMILION, "////"
#: What belongs to one split alone; the light companion of `POSITIVE`.
OWN = _SKY
#: A range around a value.
BAND = _SKY
#: Series without a meaning of their own (splits, sexes, views, models), with one marker each.
SERIES = (_BLUE, _ORANGE, _GREEN, _PURPLE, _SKY)
MARKERS = ("o", "s", "^", "D", "v")
#: Parts of a network.
TRAINABLE, FROZEN, FROZEN_HATCH = _ORANGE, "#C9D3DB", "////"
CONVOLUTION, NORMALIZATION, DENSE, CONCATENATION, GROWTH = _BLUE, _SKY, _VERMILION, _GREEN, _PURPLE
#: Text and outlines, guiding lines, grid lines, backgrounds.
INK, GUIDE, GRID, SHADE = "#333333", "#BBBBBB", "#DDDDDD", "#EEF1F3"

#: Font sizes of a figure's title, a panel's title, text beside marks, and small print.
TITLE, PANEL, NOTE, SMALL = 11, 10, 8, 7

#: Ticks that are counts: 112,120.
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
#: Ticks that are fractions written as percentages: 5 %.
PERCENT_TICKS = PercentFormatter(1, symbol=" %")


def series(place: int) -> tuple[str, str]:
    """Return colour and marker of the series at a place; they repeat after five."""
    return SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]


def percent(fraction: float, unknown: str = "unknown") -> str:
    """Write a fraction as a percentage with three significant digits at the most: 7.1 %, 0.25 %."""
    if not math.isfinite(fraction):
        return unknown
    return f"{100 * fraction:.{2 if 0 < fraction < 0.01 else 1}f} %"


def tidy(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Remove the upper and right frame of a panel and draw its grid behind the marks."""
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend of a panel below the figure, in one row."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=NOTE + 1)
