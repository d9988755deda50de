"""What `explore` found, drawn: labels, co-occurrence, patients, groups, films and their grey values."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from cxr_cli.data.images import GrayImage, read_gray
from cxr_cli.services.images.resize import area

if TYPE_CHECKING:
    from cxr_cli.services.explore.images import ImageFacts
    from cxr_cli.services.explore.result import AgeFacts, ExploreResult, PatientFacts
    from cxr_cli.services.explore.subgroups import Breakdown

#: Colours that colour-blind people tell apart (Okabe and Ito), and markers that a black-and-white print does.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"
GREY = "#8C8C8C"
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY)
_MARKERS = ("o", "s", "^", "D", "v")
#: Up to so many images per patient the numbers are drawn as bars, beyond that as points on logarithmic axes.
_MOST_BARS = 30
#: Up to so many pathologies the cells of the co-occurrence matrix are lettered.
_MOST_LETTERED = 20
#: How many of the random images are drawn, and how many of them stand side by side with their histograms.
MOST_IMAGES = 36
_ACROSS = 3
#: Longest side of a drawn film in pixels: more than a printed one shows.
_SIDE = 640
#: Bins of the histograms, over the full range.
_BINS = 256


def figures(result: ExploreResult) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) for everything that there is to draw.

    Parameters
    ----------
    result
        Result of `explore`. The images of its sample are read again from their files.

    Raises
    ------
    ImageError
        A film of the sample can no longer be read.
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


def label_distribution(result: ExploreResult) -> Figure:
    """Draw how many images have each pathology, the commonest on top, and how many have none."""
    ordered = sorted(result.pathologies, key=lambda item: item.n_positive)
    names = [item.pathology for item in ordered]
    counts = [item.n_positive for item in ordered]
    shares = [item.prevalence for item in ordered]
    names.append("no finding")
    counts.append(result.labels.n_without_finding)
    shares.append(result.labels.n_without_finding / result.table.n_rows)
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, counts, color=[*[BLUE] * len(ordered), GREY], height=0.72)
    axes.bar_label(
        bars,
        [f"{count:,}  ({_percent(share)})" for count, share in zip(counts, shares, strict=True)],
        padding=4,
        fontsize=9,
    )
    axes.set_xlim(0, max(*counts, 1) * 1.22)
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel("Images")
    axes.set_title(f"Findings in {result.table.n_rows:,} images (prevalence where known)", fontsize=11)
    axes.margins(y=0.02)
    _tidy(axes, "x")
    return figure


def co_occurrence(result: ExploreResult) -> Figure:
    """Draw which share of the images with one pathology also have another."""
    matrix = np.array(result.co_occurrence.n_images, dtype=float)
    positives = np.diagonal(matrix).copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = matrix / positives[:, None]
    np.fill_diagonal(shares, np.nan)
    names = result.co_occurrence.pathologies
    side = 2.6 + 0.44 * len(names)
    figure = Figure(figsize=(side + 1.4, side), layout="constrained")
    axes = figure.subplots()
    highest = max(float(np.nanmax(shares, initial=0.0)), 0.01)
    picture = axes.imshow(np.ma.masked_invalid(shares), cmap="cividis", vmin=0, vmax=highest)
    axes.set_facecolor("#E6E6E6")
    axes.set_xticks(range(len(names)), labels=names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(names)), labels=[f"{name} ({int(n):,})" for name, n in zip(names, positives, strict=True)]
    )
    if len(names) <= _MOST_LETTERED:
        for row, column in np.argwhere(~np.isnan(shares)).tolist():
            share = shares[row, column]
            colour = "white" if share < 0.55 * highest else "black"
            axes.text(column, row, _in_cell(share), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xlabel("… that also have")
    axes.set_ylabel("Images with (number)")
    axes.set_title("Findings on the same image", fontsize=11)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, label="Share of the row's images (%)")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    return figure


def _in_cell(share: float) -> str:
    if share == 0:
        return ""
    return "<1" if share < 0.005 else f"{100 * share:.0f}"


def images_per_patient(patients: PatientFacts) -> Figure:
    """Draw how many patients have how many images."""
    numbers = list(patients.images_per_patient)
    counts = list(patients.images_per_patient.values())
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    if patients.maximum <= _MOST_BARS:
        bars = axes.bar(numbers, counts, color=BLUE, width=0.8)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=2, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.3, patients.maximum + 0.7)
        axes.set_ylim(0.7, max(counts) * 2)
    else:
        axes.plot(numbers, counts, "o", color=BLUE, markersize=4)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel("Images of one patient")
    axes.set_ylabel("Patients")
    axes.set_title(
        f"{patients.n_patients:,} patients: mean {patients.mean:.2f}, median {patients.median:g}, "
        f"at most {patients.maximum:,} images",
        fontsize=11,
    )
    _tidy(axes, "both")
    return figure


def age_sex_view(result: ExploreResult) -> Figure:
    """Draw images by age, sex and view, and each pathology's prevalence in these groups."""
    parts = {"view": result.by_view, "sex": result.by_sex, "age": result.by_age}
    known = {name: part for name, part in parts.items() if part is not None}
    order = sorted(range(len(result.pathologies)), key=lambda place: result.pathologies[place].n_positive)
    names = [result.pathologies[place].pathology for place in order]
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
        grid[1, column].set_yticks(range(len(names)), labels=names if column == 0 else [""] * len(names))
    return figure


def _draw_ages(axes: Axes, age: AgeFacts) -> None:
    decades = list(age.by_decade)
    axes.bar([decade + 5 for decade in decades], list(age.by_decade.values()), width=9, color=BLUE)
    axes.xaxis.set_major_locator(MultipleLocator(20))
    axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel("Age (years)")
    axes.set_ylabel("Images")
    axes.set_title(f"Age: mean {age.mean:.1f}, std {age.std:.1f} years" + _unknown(age.n_unknown), fontsize=10)
    _tidy(axes, "y")


def _draw_sizes(axes: Axes, name: str, part: Breakdown) -> None:
    places = range(len(part.groups))
    counts = [group.n_images for group in part.groups]
    bars = axes.bar(places, counts, width=0.6, color=[_style(place)[0] for place in places])
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=2, fontsize=9)
    axes.set_xticks(places, labels=[group.name for group in part.groups])
    axes.set_xlim(-0.7, max(len(counts), 2) - 0.3)
    axes.set_ylim(0, 1.12 * max([1, *counts]))
    axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.set_ylabel("Images")
    axes.set_title(name.capitalize() + _unknown(part.n_unknown), fontsize=10)
    _tidy(axes, "y")


def _unknown(count: int) -> str:
    return f" (not known: {count:,})" if count else ""


def _draw_prevalences(axes: Axes, name: str, part: Breakdown, pathologies: Sequence[str]) -> None:
    groups = [group for group in part.groups if group.n_images]
    for place, group in enumerate(groups):
        colour, marker = _style(place)
        values = [group.prevalence[pathology] for pathology in pathologies]
        axes.plot(
            values, range(len(values)), marker, color=colour, markersize=6, alpha=0.9, label=group.name, clip_on=False
        )
    for row, pathology in enumerate(pathologies):
        values = [group.prevalence[pathology] for group in groups if group.prevalence[pathology] >= 0]
        if values:
            axes.hlines(row, min(values), max(values), color=GREY, linewidth=1, zorder=1)
    axes.set_ylim(-0.6, len(pathologies) - 0.4)
    axes.set_title(f"Prevalence by {name}", fontsize=10)
    # The commonest pathologies are on top, so the upper left is empty.
    axes.legend(fontsize=8, loc="upper left", framealpha=0.9)
    _tidy(axes, "both")


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


def images(shown: Sequence[ImageFacts]) -> Figure:
    """Draw films in a grid with their names and findings, black as 0 and white as full scale."""
    across = min(math.ceil(math.sqrt(len(shown))), 6)
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(2.9 * across, 3.4 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes, item in zip(grid.flat, shown, strict=False):
        _draw_film(axes, item, read_gray(item.path), width=34)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    return figure


def intensities(shown: Sequence[ImageFacts]) -> Figure:
    """Draw each film beside the histogram of its grey values, with mean and standard deviation."""
    across = min(_ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(5.4 * across, 2.7 * down), layout="constrained")
    grid = figure.subplots(down, 2 * across, squeeze=False, width_ratios=(1, 1.25) * across)
    for place in range(down * across):
        row, column = divmod(place, across)
        film, histogram = grid[row, 2 * column], grid[row, 2 * column + 1]
        if place < len(shown):
            gray = read_gray(shown[place].path)
            _draw_film(film, shown[place], gray, width=28)
            _draw_histogram(histogram, shown[place], gray)
        else:
            film.set_axis_off()
            histogram.set_axis_off()
    handles, labels = grid[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _draw_film(axes: Axes, item: ImageFacts, gray: GrayImage, width: int) -> None:
    axes.imshow(_picture(gray), cmap="gray", vmin=0, vmax=gray.full_scale, aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    findings = "labels not known" if item.pathologies is None else ", ".join(item.pathologies) or "no finding"
    lines = [_shortened(item.image, width), *textwrap.wrap(findings, width)[:3]]
    axes.set_title("\n".join(lines), fontsize=8)


def _picture(gray: GrayImage) -> NDArray[Any]:
    """Shrink a large image by averaging."""
    scale = min(1.0, _SIDE / max(gray.height, gray.width))
    if scale == 1:
        return gray.pixels
    return area(gray.pixels, (max(1, round(gray.height * scale)), max(1, round(gray.width * scale))))


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]


def _draw_histogram(axes: Axes, item: ImageFacts, gray: GrayImage) -> None:
    counts = np.bincount(gray.pixels.reshape(-1), minlength=gray.full_scale + 1).reshape(_BINS, -1).sum(axis=1)
    shares = counts / counts.sum()
    edges = np.linspace(0, 1, len(shares) + 1)
    axes.stairs(shares, edges, fill=True, color=GREY)
    axes.axvspan(item.mean - item.std, item.mean + item.std, color=SKY, alpha=0.25, linewidth=0, label="mean ± std")
    axes.axvline(item.mean, color=BLUE, linewidth=1.5, label="mean")
    height = _readable_height(shares)
    axes.set_ylim(0, height)
    if shares.max() > height:
        where = edges[shares.argmax()]
        cut = f"↑ {100 * shares.max():.1f} % at {where:.2f}"
        axes.text(0.98, 0.97, cut, transform=axes.transAxes, ha="right", va="top", fontsize=6)
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.tick_params(labelsize=7)
    axes.set_xlabel("Grey value (share of full range)", fontsize=7)
    axes.set_ylabel("Pixels", fontsize=7)
    axes.set_title(
        f"min {item.minimum:.2f}, max {item.maximum:.2f}\nmean {item.mean:.3f}, std {item.std:.3f}", fontsize=8
    )
    _tidy(axes, "x")


def _readable_height(shares: NDArray[np.float64]) -> float:
    """Return an upper limit that shows the bulk of the bars.

    One grey value often holds a fifth of a film, the black around it, beside which the others would be flat: where
    the three highest bars stand out far, the axis ends at 1.6 times the fourth.
    """
    ordered = np.sort(shares)
    return float(min(1.1 * ordered[-1], max(1.6 * ordered[-4], 0.002)))


def _style(place: int) -> tuple[str, str]:
    return _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]


def _percent(share: float) -> str:
    return "not known" if math.isnan(share) else f"{100 * share:.1f} %"


_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def _tidy(axes: Axes, grid: str) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#DDDDDD", linewidth=0.6)  # type: ignore[arg-type]
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
