"""Plots of ``cxr train``."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxr_cli.data.drawing import packaged_style
from cxr_cli.plots.style import GUIDE, INK, NOTE, PANEL, TITLE, series, tidy
from cxr_cli.services.train.result import Epoch, TrainResult


@packaged_style()
def plot_learning_curves(result: TrainResult) -> Figure:
    """Draw loss, AUROC and AUPRC of each epoch, one line per run; stages follow one another.

    Parameters
    ----------
    result
        With at least one run.
    """
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    figure.suptitle(
        f"Training on {result.train.n_images:,} images, validation on {result.valid.n_images:,}", fontsize=TITLE
    )
    loss, auroc, auprc = figure.subplots(1, 3)
    for place, run in enumerate(result.runs):
        colour, marker = series(place)
        steps = list(range(len(run.epochs)))
        label = f"seed {run.seed}"
        style = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.2}
        loss.plot(steps, [epoch.valid_loss for epoch in run.epochs], label=f"validation, {label}", **style)
        loss.plot(
            steps,
            [epoch.loss for epoch in run.epochs],
            color=colour,
            linewidth=1,
            linestyle=":",
            label=f"train, {label}",
        )
        auroc.plot(steps, [epoch.valid_auroc for epoch in run.epochs], label=label, **style)
        auprc.plot(steps, [epoch.valid_auprc for epoch in run.epochs], label=label, **style)
    auroc.axhline(0.5, color=GUIDE, linewidth=1)
    for axes, title in ((loss, "Loss"), (auroc, "Mean AUROC, validation"), (auprc, "Mean AUPRC, validation")):
        axes.set_title(title, fontsize=PANEL)
        axes.set_xlabel("epoch, from the first stage on")
        tidy(axes, "y")
        axes.margins(y=0.15)  # leaves room for the names of the stages
        _mark_stages(axes, result.runs[0].epochs)
    loss.legend(frameon=False, fontsize=NOTE)
    return figure


def _mark_stages(axes: Axes, epochs: tuple[Epoch, ...]) -> None:
    """Draw a line where a stage begins, with its name."""
    for step, epoch in enumerate(epochs):
        if epoch.epoch == 0:
            axes.axvline(step, color=GUIDE, linewidth=0.8, linestyle="--")
            axes.annotate(
                epoch.stage,
                (step, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -9),
                textcoords="offset points",
                fontsize=NOTE,
                color=INK,
            )
