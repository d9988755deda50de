"""Plots of a data set: labels, co-occurrence, patients, subgroups, images and their grey values."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullFormatter
from numpy.typing import NDArray

from cxr_cli.data.dicom.grey import read_window
from cxr_cli.data.drawing import packaged_style
from cxr_cli.data.images import GrayImage, read_gray
from cxr_cli.data.names import in_print
from cxr_cli.plots import style
from cxr_cli.services.images.resize import area

if TYPE_CHECKING:
    from cxr_cli.services.explore.images import ImageFacts
    from cxr_cli.services.explore.result import AgeFacts, ExploreResult, PatientFacts
    from cxr_cli.services.explore.subgroups import Breakdown

#: Up to so many images per patient the numbers are drawn as bars, beyond that as points on logarithmic axes.
_MOST_BARS = 30
#: Up to so many pathologies the cells of the co-occurrence matrix are lettered.
_MOST_LETTERED = 20
#: How many of the random images are drawn, and how many of them stand side by side with their histograms.
MOST_IMAGES = 36
_ACROSS = 3
#: Rows of the co-occurrence matrix with fewer positives are hatched: their fractions say little.
_FEW_POSITIVES = 10
#: Longest side of a drawn image in pixels: more than a printed one shows.
_SIDE = 640
#: Bins of the histograms, over the full range.
_BINS = 256


def figures(result: ExploreResult) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) for everything there is to draw.

    Parameters
    ----------
    result
        Result of `explore`. The images of its sample are read again from their files.

    Raises
    ------
    ImageError
        An image of the sample can no longer be read.
    """
    if result.pathologies:
        yield "label-distribution", label_distribution(result)
        yield "co-occurrence", co_occurrence(result)
    if result.patients is not None:
        yield "images-per-patient", images_per_patient(result.patients)
    if result.age is not None or result.by_sex is not None or result.by_view is not None:
        yield "age-sex-view", age_sex_view(result)
    if result.images is not None and result.images.check.sample:
        shown = result.images.check.sample[:MOST_IMAGES]
        yield "images", images(shown)
        yield "intensities", intensities(shown)


@packaged_style()
def label_distribution(result: ExploreResult) -> Figure:
    """Draw how many images have each pathology, the commonest on top, and how many have none."""
    ordered = sorted(result.pathologies, key=lambda item: item.n_positive)
    names = [in_print(item.pathology) for item in ordered]
    counts = [item.n_positive for item in ordered]
    fractions = [item.prevalence for item in ordered]
    names.append("No finding")
    counts.append(result.labels.n_without_finding)
    fractions.append(result.labels.n_without_finding / result.labels.n_counted)
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, counts, color=[*[style.POSITIVE] * len(ordered), style.NEUTRAL], height=0.72)
    axes.bar_label(
        bars,
        [f"{count:,}  ({style.percent(fraction)})" for count, fraction in zip(counts, fractions, strict=True)],
        padding=4,
        fontsize=9,
    )
    axes.set_xlim(0, max(*counts, 1) * 1.22)
    axes.xaxis.set_major_formatter(style.THOUSANDS)
    axes.set_xlabel("Images")
    unknown = " among known labels" if any(item.n_unknown for item in ordered) else ""
    axes.set_title(f"Findings in {result.labels.n_counted:,} images (prevalence{unknown})", fontsize=style.TITLE)
    axes.margins(y=0.02)
    style.tidy(axes, "x")
    return figure


#: White for none, one hue to dark.
_FRACTIONS = LinearSegmentedColormap.from_list("fractions", ["white", style.POSITIVE])


@packaged_style()
def co_occurrence(result: ExploreResult) -> Figure:
    """Draw which fraction of the images with one pathology also have another.

    Rows of pathologies with fewer than 10 positives are hatched and do not set the scale of the colours.
    """
    matrix = np.array(result.co_occurrence.n_images, dtype=float)
    positives = np.diagonal(matrix).copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        fractions = matrix / positives[:, None]
    np.fill_diagonal(fractions, np.nan)
    names = [in_print(name) for name in result.co_occurrence.pathologies]
    few = positives < _FEW_POSITIVES
    side = 2.6 + 0.44 * len(names)
    figure = Figure(figsize=(side + 1.4, side), layout="constrained")
    axes = figure.subplots()
    scaled = fractions[~few] if (~few).any() else fractions
    highest = max(float(np.nanmax(scaled, initial=0.0)), 0.01)
    heat = axes.imshow(np.ma.masked_invalid(fractions), cmap=_FRACTIONS, vmin=0, vmax=highest)
    axes.set_facecolor(style.SHADE)
    for row in np.flatnonzero(few).tolist():
        axes.add_patch(Rectangle((-0.5, row - 0.5), len(names), 1, facecolor="white", edgecolor="none"))
        axes.add_patch(
            Rectangle((-0.5, row - 0.5), len(names), 1, fill=False, hatch="....", edgecolor=style.GRID, linewidth=0)
        )
    axes.set_xticks(range(len(names)), labels=names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(names)), labels=[f"{name} ({int(n):,})" for name, n in zip(names, positives, strict=True)]
    )
    if len(names) <= _MOST_LETTERED:
        for row, column in np.argwhere(~np.isnan(fractions)).tolist():
            dark = fractions[row, column] > 0.6 * highest and not few[row]
            axes.text(
                column,
                row,
                _in_cell(fractions[row, column]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else style.NEUTRAL if few[row] else "black",
            )
    axes.tick_params(length=0)
    axes.set_xlabel("… that also have")
    axes.set_ylabel("Images with (count)")
    axes.set_title("Findings on the same image", fontsize=style.TITLE)
    bar = figure.colorbar(heat, ax=axes, shrink=0.8, label="Fraction of the row's images (%)")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    if few.any():
        hatched = Patch(facecolor="white", hatch="....", edgecolor=style.GRID, label=f"< {_FEW_POSITIVES} positives")
        figure.legend(handles=[hatched], loc="outside lower right", frameon=False, fontsize=style.NOTE)
    return figure


def _in_cell(fraction: float) -> str:
    if fraction == 0:
        return ""
    return "<1" if fraction < 0.005 else f"{100 * fraction:.0f}"


@packaged_style()
def images_per_patient(patients: PatientFacts) -> Figure:
    """Draw how many patients have how many images."""
    numbers = list(patients.images_per_patient)
    counts = list(patients.images_per_patient.values())
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    if patients.maximum <= _MOST_BARS:
        bars = axes.bar(numbers, counts, color=style.POSITIVE, width=0.8)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=2, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.3, patients.maximum + 0.7)
        axes.set_ylim(0, max(counts) * 1.12)
    else:
        axes.plot(numbers, counts, "o", color=style.POSITIVE, markersize=4)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(style.THOUSANDS)
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter(style.THOUSANDS)
    axes.set_xlabel("Images of one patient")
    axes.set_ylabel("Patients")
    axes.set_title(
        f"{patients.n_patients:,} patients: mean {patients.mean:.2f}, median {patients.median:g}, "
        f"at most {patients.maximum:,} images",
        fontsize=11,
    )
    style.tidy(axes, "y" if patients.maximum <= _MOST_BARS else "both")
    return figure


@packaged_style()
def age_sex_view(result: ExploreResult) -> Figure:
    """Draw images by age, sex and view, and each pathology's prevalence in these groups."""
    parts = {"view": result.by_view, "sex": result.by_sex, "age": result.by_age}
    known = {name: part for name, part in parts.items() if part is not None}
    order = sorted(range(len(result.pathologies)), key=lambda place: result.pathologies[place].n_positive)
    names = [result.pathologies[place].pathology for place in order]
    printed = [in_print(name) for name in names]
    values = [value for part in known.values() for group in part.groups for value in group.prevalence.values()]
    figure = Figure(figsize=(1.6 + 3.9 * len(known), 4.0 + 0.3 * len(names)), layout="constrained")
    grid = figure.subplots(2, len(known), squeeze=False, height_ratios=(2.4, 1.2 + 0.3 * len(names)))
    for column, (name, part) in enumerate(known.items()):
        if name == "age" and result.age is not None:
            _draw_ages(grid[0, column], result.age)
        else:
            _draw_sizes(grid[0, column], name, part)
        _draw_prevalences(grid[1, column], name, part, names)
        _scale_prevalences(grid[1, column], values)
        grid[1, column].set_yticks(range(len(names)), labels=printed if column == 0 else [""] * len(names))
    return figure


def _draw_ages(axes: Axes, age: AgeFacts) -> None:
    decades = list(age.by_decade)
    axes.bar([decade + 5 for decade in decades], list(age.by_decade.values()), width=9, color=style.POSITIVE)
    axes.xaxis.set_major_locator(MultipleLocator(20))
    axes.yaxis.set_major_formatter(style.THOUSANDS)
    axes.set_xlabel("Age (years)")
    axes.set_ylabel("Images")
    axes.set_title(f"Age: mean {age.mean:.1f}, std {age.std:.1f} years" + _unknown(age.n_unknown), fontsize=10)
    style.tidy(axes, "y")


def _draw_sizes(axes: Axes, name: str, part: Breakdown) -> None:
    places = range(len(part.groups))
    counts = [group.n_images for group in part.groups]
    bars = axes.bar(places, counts, width=0.6, color=[style.series(place)[0] for place in places])
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=2, fontsize=9)
    axes.set_xticks(places, labels=[group.name for group in part.groups])
    axes.set_xlim(-0.7, max(len(counts), 2) - 0.3)
    axes.set_ylim(0, 1.12 * max([1, *counts]))
    axes.yaxis.set_major_formatter(style.THOUSANDS)
    axes.set_ylabel("Images")
    axes.set_title(name.capitalize() + _unknown(part.n_unknown), fontsize=10)
    style.tidy(axes, "y")


def _unknown(count: int) -> str:
    return f" (unknown: {count:,})" if count else ""


def _draw_prevalences(axes: Axes, name: str, part: Breakdown, pathologies: Sequence[str]) -> None:
    groups = [group for group in part.groups if group.n_images]
    for place, group in enumerate(groups):
        colour, marker = style.series(place)
        values = [group.prevalence[pathology] for pathology in pathologies]
        axes.plot(
            values, range(len(values)), marker, color=colour, markersize=6, alpha=0.9, label=group.name, clip_on=False
        )
    for row, pathology in enumerate(pathologies):
        values = [group.prevalence[pathology] for group in groups if group.prevalence[pathology] >= 0]
        if values:
            axes.hlines(row, min(values), max(values), color=style.NEUTRAL, linewidth=1, zorder=1)
    axes.set_ylim(-0.6, len(pathologies) - 0.4)
    axes.set_title(f"Prevalence by {name}", fontsize=10)
    # The commonest pathologies are on top: the upper left is empty.
    if groups:
        axes.legend(fontsize=8, loc="upper left", framealpha=0.9)
    style.tidy(axes, "both")


def _scale_prevalences(axes: Axes, values: Sequence[float]) -> None:
    """Choose an axis that all of the values can be read from: prevalences often span three orders of magnitude."""
    positive = [value for value in values if value > 0]
    if not positive or min(positive) > max(positive) / 10:
        axes.set_xlim(0, 1.08 * max([0.001, *positive]))
        axes.set_xlabel("Prevalence (%)")
    elif any(value == 0 for value in values):
        least = 10.0 ** math.floor(math.log10(min(positive)))
        axes.set_xscale("symlog", linthresh=least, linscale=0.4)  # a logarithmic axis has no place for none
        axes.set_xlim(0, 1.5 * max(positive))
        axes.set_xlabel(f"Prevalence (%, logarithmic from {100 * least:g})")
    else:
        axes.set_xscale("log")
        axes.set_xlim(min(positive) / 1.5, 1.5 * max(positive))
        axes.set_xlabel("Prevalence (%, logarithmic)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


@packaged_style()
def images(shown: Sequence[ImageFacts]) -> Figure:
    """Draw images in a grid with their names and findings, black as 0 and white as full scale."""
    across = min(math.ceil(math.sqrt(len(shown))), 6)
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(2.9 * across, 3.4 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes, item in zip(grid.flat, shown, strict=False):
        _draw_image(axes, item, read_gray(item.path, read_window(item.window)), width=34)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    return figure


@packaged_style()
def intensities(shown: Sequence[ImageFacts]) -> Figure:
    """Draw each image beside the histogram of its grey values, with mean and standard deviation."""
    across = min(_ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(5.4 * across, 2.7 * down), layout="constrained")
    grid = figure.subplots(down, 2 * across, squeeze=False, width_ratios=(1, 1.25) * across)
    for place in range(down * across):
        row, column = divmod(place, across)
        shown_at, histogram = grid[row, 2 * column], grid[row, 2 * column + 1]
        if place < len(shown):
            gray = read_gray(shown[place].path, read_window(shown[place].window))
            _draw_image(shown_at, shown[place], gray, width=28)
            _draw_histogram(histogram, shown[place], gray)
        else:
            shown_at.set_axis_off()
            histogram.set_axis_off()
    handles, labels = grid[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _draw_image(axes: Axes, item: ImageFacts, gray: GrayImage, width: int) -> None:
    axes.imshow(_shrunk(gray), cmap="gray", vmin=0, vmax=gray.full_scale, aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    findings = "labels unknown"
    if item.pathologies is not None:
        findings = ", ".join(map(in_print, item.pathologies)) or "no finding"
    lines = [_shortened(item.image, width), *textwrap.wrap(findings, width)[:3]]
    axes.set_title("\n".join(lines), fontsize=8)


def _shrunk(gray: GrayImage) -> NDArray[Any]:
    """Shrink a large image by averaging."""
    scale = min(1.0, _SIDE / max(gray.height, gray.width))
    if scale == 1:
        return gray.pixels
    return area(gray.pixels, (max(1, round(gray.height * scale)), max(1, round(gray.width * scale))))


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]


def _draw_histogram(axes: Axes, item: ImageFacts, gray: GrayImage) -> None:
    counts = np.bincount(gray.pixels.reshape(-1), minlength=gray.full_scale + 1).reshape(_BINS, -1).sum(axis=1)
    fractions = counts / counts.sum()
    edges = np.linspace(0, 1, len(fractions) + 1)
    axes.stairs(fractions, edges, fill=True, color=style.NEUTRAL)
    axes.axvspan(
        item.mean - item.std, item.mean + item.std, color=style.BAND, alpha=0.25, linewidth=0, label="mean ± std"
    )
    axes.axvline(item.mean, color=style.POSITIVE, linewidth=1.5, label="mean")
    height = _readable_height(fractions)
    axes.set_ylim(0, height)
    if fractions.max() > height:
        where = edges[fractions.argmax()]
        cut = f"↑ {100 * fractions.max():.1f} % at {where:.2f}"
        axes.text(0.98, 0.97, cut, transform=axes.transAxes, ha="right", va="top", fontsize=6)
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(style.PERCENT_TICKS)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("Grey value (fraction of the full range)", fontsize=7)
    axes.set_ylabel("Fraction of pixels", fontsize=7)
    axes.set_title(
        f"min {item.minimum:.2f}, max {item.maximum:.2f}\nmean {item.mean:.3f}, std {item.std:.3f}", fontsize=8
    )
    style.tidy(axes, "x")


def _readable_height(fractions: NDArray[np.float64]) -> float:
    """Return an upper limit that shows the bulk of the bars.

    One grey value, the black around the patient, often holds a fifth of an image and would flatten all others. Where
    the three highest bars stand out far, the axis ends at 1.6 times the fourth.
    """
    ordered = np.sort(fractions)
    return float(min(1.1 * ordered[-1], max(1.6 * ordered[-4], 0.002)))
