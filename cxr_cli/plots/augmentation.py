"""The sheet of films under ImageDataGenerator's transformations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

_NOTE = (
    "Look for: lungs cut off, a lesion at the edge lost, edges smeared in. A mirrored film has the heart on the "
    "right and its side marker reversed."
)


def augmentation_sheet(films: Sequence[tuple[str, Mapping[str, NDArray[Any]]]]) -> Figure:
    """Draw one row per film, one column per transformation.

    Parameters
    ----------
    films
        For each film its caption and what `cxr_cli.services.augmentation.preview` made of it; grey levels from 0 to
        255.
    """
    n_columns = max((len(made) for _, made in films), default=1)
    figure = Figure(figsize=(1.75 * n_columns, 2.0 * max(len(films), 1) + 0.75), layout="constrained")
    axes = figure.subplots(max(len(films), 1), n_columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (caption, made) in enumerate(films):
        for column, (title, pixels) in enumerate(made.items()):
            axis = axes[row, column]
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            if row == 0:
                axis.set_title(title, fontsize=8)
        axes[row, 0].text(0, -0.03, caption, transform=axes[row, 0].transAxes, fontsize=7, va="top")
    figure.suptitle("What augmentation would do", fontsize=11)
    figure.supxlabel(_NOTE, fontsize=8)
    return figure
