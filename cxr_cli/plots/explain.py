"""Plots of where a model looks: image, map and boxes side by side, and the measures beside their controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cxr_cli.data.drawing import packaged_style
from cxr_cli.data.names import in_print
from cxr_cli.plots import style
from cxr_cli.services.explain.maps import USUAL_FIELD, resized
from cxr_cli.services.explain.result import CONTROLS

if TYPE_CHECKING:
    from cxr_cli.services.explain.gather import Shown
    from cxr_cli.services.explain.result import ExplainResult, PathologyLocalization

#: Pairs of panels in one row of a sheet.
_PAIRS_ACROSS = 3
_NAMES = {"model": "model", "random": "random map", "prior": "centre prior", "untrained": "random weights"}


@packaged_style()
def map_sheet(shown: Sequence[Shown], *, field: bool = False) -> Figure:
    """Draw images beside their maps, with the boxes of the pathology.

    Parameters
    ----------
    shown
        From `cxr_cli.services.explain.explain.explain`; at least one.
    field
        Draw the usual field of the lungs instead of boxes.

    Returns
    -------
    Pairs of panels: the image, and the positive part of its map over it (each map has a colour scale of its own).
    """
    across = min(_PAIRS_ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(4.6 * across, 2.75 * down), layout="constrained")
    panels = figure.subplots(down, 2 * across, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for place, item in enumerate(shown):
        row, column = divmod(place, across)
        left, right = panels[row, 2 * column], panels[row, 2 * column + 1]
        height, width = item.grey.shape
        for axes in (left, right):
            axes.imshow(item.grey, cmap="gray", vmin=0, vmax=1)
        heat = np.clip(resized(item.heat, (height, width)), 0, None)
        right.imshow(heat, cmap="inferno", alpha=0.45, vmin=0, vmax=max(float(heat.max()), 1e-12))
        for x, y, box_width, box_height in item.boxes * [width, height, width, height]:
            for axes in (left, right):
                axes.add_patch(_box(x, y, box_width, box_height))
        if field:
            (top, bottom), (start, stop) = USUAL_FIELD
            right.add_patch(_box(start * width, top * height, (stop - start) * width, (bottom - top) * height, "--"))
        name = item.row.image if len(item.row.image) <= 28 else f"…{item.row.image[-27:]}"
        left.set_title(f"{name}\n{in_print(item.row.pathology)}", fontsize=style.NOTE)
        outside = style.percent(item.row.outside_field, "–")
        right.set_title(
            f"predicted {item.row.probability:.2f}\n{outside} outside the lungs' field", fontsize=style.NOTE
        )
    return figure


def _box(x: float, y: float, width: float, height: float, line: str = "-") -> Rectangle:
    return Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=style.OWN, linewidth=1.3, linestyle=line)


@packaged_style()
def localization(result: ExplainResult) -> Figure:
    """Draw each measure by pathology, the model's map beside its controls, with intervals.

    Parameters
    ----------
    result
        With boxes; its `localization` is not empty.
    """
    rows = result.localization
    measures = [f"Boxes found at T(IoBB) = {least}" for least in rows[0].controls[0].found_at]
    measures += ["Pointing game", "Mass inside the boxes"]
    figure = Figure(figsize=(3.1 * len(measures), 1.6 + 0.5 * max(len(rows), 2)), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for column, (axes, title) in enumerate(zip(panels, measures, strict=True)):
        _draw_measure(axes, rows, column)
        axes.set_title(title, fontsize=style.PANEL)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("Fraction")
        style.tidy(axes, "x")
    panels[0].set_yticks(range(len(rows)), labels=[f"{in_print(row.pathology)} ({row.n_boxes:,})" for row in rows])
    panels[0].invert_yaxis()
    style.legend_below(figure, panels[0])
    return figure


def _draw_measure(axes: Axes, rows: Sequence[PathologyLocalization], column: int) -> None:
    for place, control in enumerate(CONTROLS):
        colour, marker = style.series(place)
        estimates = []
        for row in rows:
            item = next(entry for entry in row.controls if entry.map == control)
            estimates.append([*item.found_at.values(), item.pointing_game, item.mass_inside][column])
        values = np.array([item.value for item in estimates])
        ends = np.array([[item.low, item.high] for item in estimates]).T
        axes.errorbar(
            values,
            np.arange(len(rows)) + 0.16 * (place - 1.5),
            xerr=np.nan_to_num(np.abs(ends - values)),
            fmt=marker,
            color=colour,
            markersize=5,
            linewidth=1,
            label=_NAMES[control],
        )
