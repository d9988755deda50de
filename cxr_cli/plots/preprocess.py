"""Plots of preprocessing: images before and after, their histograms, and the statistics of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cxr_cli.data.drawing import packaged_style
from cxr_cli.plots import style
from cxr_cli.services.preprocess.samples import Interpolated, Sample
from cxr_cli.services.store.recipe import Recipe

_UNITS = {
    "samplewise": "standard deviations of the image",
    "featurewise": "standard deviations of the training images",
    "imagenet": "standard deviations of ImageNet (three channels)",
    "torchxrayvision": "value from −1024 (black) to 1024 (white)",
    "none": "grey level",
}


@packaged_style()
def plot_samples(samples: Sequence[Sample], recipe: Recipe) -> Figure:
    """Draw each image before and after, and both histograms in one frame.

    Parameters
    ----------
    samples
        From `cxr_cli.services.preprocess.samples.read_samples`; at least one.
    recipe
        How they were preprocessed.

    Returns
    -------
    Figure
        One row per image: source, result, histograms (grey level below, standardized value above).
    """
    figure = Figure(figsize=(11, 0.8 + 3.1 * len(samples)), layout="constrained")
    panels = figure.subplots(len(samples), 3, squeeze=False, width_ratios=(1, 1, 1.5))
    for row, (sample, (left, middle, right)) in enumerate(zip(samples, panels, strict=True)):
        _show(left, sample.before, 0, 255)
        height, width = sample.before.shape
        left.set_title(f"{sample.image}\nbefore: {width} × {height}, grey levels 0–255", fontsize=9)
        after = _grey(sample.after)
        _show(middle, after, *_window(after))
        middle.set_title(
            f"after: {recipe.image_size[1]} × {recipe.image_size[0]}\n"
            f"{after.min():.2f} to {after.max():.2f}, mean {_number(after.mean())}, std {after.std():.2f}",
            fontsize=9,
        )
        _draw_histograms(right, sample, _UNITS[recipe.standardize], first=row == 0, last=row == len(samples) - 1)
    return figure


def _number(value: float) -> str:
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


def _grey(after: NDArray[np.float32]) -> NDArray[np.float32]:
    return after[..., 1] if after.ndim == 3 else after


def _window(after: NDArray[np.float32]) -> tuple[float, float]:
    low, high = float(after.min()), float(after.max())
    return (low, high) if high > low else (low - 1, high + 1)


def _show(axes: Axes, pixels: NDArray[np.float32], low: float, high: float) -> None:
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="antialiased")
    axes.set_axis_off()


def _draw_histograms(axes: Axes, sample: Sample, unit: str, *, first: bool, last: bool) -> None:
    axes.hist(
        sample.before.ravel(), bins=64, range=(0, 256), density=True, color=style.BEFORE, alpha=0.55, label="before"
    )
    above = axes.twiny()
    above.hist(
        sample.after.ravel(),
        bins=64,
        density=False,
        weights=_weights(sample),
        histtype="step",
        color=style.AFTER,
        lw=1.6,
    )
    low, high = _matching_range(sample)
    axes.set_xlim(0, 256)
    above.set_xlim(low, high)
    axes.set_yticks([])
    axes.tick_params(axis="x", colors=style.INK)
    above.tick_params(axis="x", colors=style.AFTER)
    axes.set_ylabel("Fraction of pixels")
    if last:
        axes.set_xlabel("Before: grey level", color=style.INK)
    if first:
        above.set_xlabel(f"After: {unit}", color=style.AFTER)


def _weights(sample: Sample) -> NDArray[np.float64]:
    """Weigh pixels so that the step line encloses the same area as the histogram below it."""
    low, high = _matching_range(sample)
    values = sample.after.ravel()
    edges = np.histogram_bin_edges(values, bins=64)
    # Density on the lower axis: a step on the upper axis is as wide there as its share of the range says.
    bin_width = (edges[1] - edges[0]) * 256 / (high - low) if high > low else 1.0
    return np.full(values.size, 1 / (values.size * bin_width))


def _matching_range(sample: Sample) -> tuple[float, float]:
    """Return the range that the upper axis needs for equal grey levels to lie above each other."""
    before, after = sample.before, sample.after
    spread = float(before.std())
    if spread == 0 or float(after.std()) == 0:
        centre = float(after.mean())
        return centre - 1, centre + 1
    scale = float(after.std()) / spread
    offset = float(after.mean()) - float(before.mean()) * scale
    return offset, offset + 256 * scale


@packaged_style()
def plot_interpolations(sample: Sample, made: Sequence[Interpolated]) -> Figure:
    """Draw the middle of an image under every interpolation, pixel by pixel.

    Parameters
    ----------
    sample
        The image before preprocessing.
    made
        From `cxr_cli.services.preprocess.samples.compare_interpolations`.
    """
    figure = Figure(figsize=(2.6 * (1 + len(made)), 3.3), layout="constrained")
    panels = figure.subplots(1, 1 + len(made))
    height, width = sample.before.shape
    _show(panels[0], _middle(sample.before), 0, 255)
    panels[0].set_title(f"source\n{width} × {height}", fontsize=10)
    for axes, one in zip(panels[1:], made, strict=True):
        axes.imshow(_middle(one.levels), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        difference = "mean of the covered pixels" if one.distance == 0 else f"{one.distance:.1f} grey levels from it"
        axes.set_title(f"{one.interpolation}\n{difference}", fontsize=10)
    height, width = made[0].levels.shape
    figure.suptitle(
        f"Middle of {sample.image} at {width} × {height}, with the RMS difference from area", fontsize=style.TITLE
    )
    return figure


def _middle(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the middle quarter of rows and columns."""
    height, width = pixels.shape
    return pixels[3 * height // 8 : 5 * height // 8 + 1, 3 * width // 8 : 5 * width // 8 + 1]


@packaged_style()
def plot_distributions(index: Path, recipe: Recipe) -> Figure:
    """Draw how means and standard deviations of single images are distributed, before and after.

    Parameters
    ----------
    index
        The ``index.csv`` of the store.
    recipe
        How the images were preprocessed.
    """
    table = pd.read_csv(index)
    figure = Figure(figsize=(10, 6), layout="constrained")
    panels = figure.subplots(2, 2)
    rows = (
        ("before", "grey level", style.BEFORE, panels[0]),
        ("after", _UNITS[recipe.standardize], style.AFTER, panels[1]),
    )
    for when, unit, colour, (left, right) in rows:
        _draw_distribution(left, table[f"{when}_mean"].to_numpy(float), f"Mean {when}", unit, colour)
        _draw_distribution(right, table[f"{when}_std"].to_numpy(float), f"Standard deviation {when}", unit, colour)
    figure.suptitle(f"{len(table):,} images, {recipe.standardize} standardization, {recipe.interpolation}")
    return figure


def _draw_distribution(axes: Axes, values: NDArray[np.float64], title: str, unit: str, colour: str) -> None:
    axes.set_title(title, fontsize=style.PANEL)
    axes.set_xlabel(unit[0].upper() + unit[1:])
    axes.set_ylabel("Images")
    style.tidy(axes)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if not len(values):
        axes.text(0.5, 0.5, "no images", ha="center", transform=axes.transAxes)
        return
    centre, spread = float(values.mean()), float(np.ptp(values))
    if spread < 1e-4 * max(abs(centre), 1.0):
        # All the same but for rounding: one bar at the value, not 30 of noise.
        axes.bar([centre], [len(values)], width=0.05, color=colour)
        axes.set_xlim(centre - 1, centre + 1)
        axes.annotate(
            f"{_number(centre)} for all {len(values):,}",
            (centre, len(values)),
            xytext=(8, -4),
            textcoords="offset points",
            va="top",
            fontsize=9,
        )
        return
    axes.hist(values, bins=min(40, max(8, len(values) // 4)), color=colour)
