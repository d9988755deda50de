"""Plots of leakage: how much of each split is shared, and near duplicates side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxr_cli.data.drawing import packaged_style
from cxr_cli.plots import style

if TYPE_CHECKING:
    from cxr_cli.services.check_leakage.pair_images import PairImages
    from cxr_cli.services.check_leakage.result import LeakageReport

#: Pairs of images in one row of the sheet.
_PAIRS_ACROSS = 2


@packaged_style()
def split_sizes(report: LeakageReport) -> Figure:
    """Draw the images and patients of each split, with the part that other splits share; and after removal.

    Parameters
    ----------
    report
        From `cxr_cli.services.check_leakage.check_leakage.check_leakage`, with or without a removal.
    """
    rows = _rows(report)
    labels = [label for label, _, _ in rows]
    figure = Figure(figsize=(10, 1.6 + 0.55 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    _bars(panels[0], labels, [images for _, images, _ in rows], "Images")
    _bars(panels[1], labels, [patients for _, _, patients in rows], "Patients")
    panels[0].invert_yaxis()
    style.legend_below(figure, panels[0])
    return figure


@packaged_style()
def near_duplicate_sheet(pairs: Sequence[PairImages]) -> Figure:
    """Draw pairs of images side by side, with their names, patients and both measures.

    Parameters
    ----------
    pairs
        From `cxr_cli.services.check_leakage.pair_images.pair_images`; at least one.
    """
    across = min(_PAIRS_ACROSS, len(pairs))
    down = -(-len(pairs) // across)
    figure = Figure(figsize=(5.6 * across, 3.75 * down), layout="constrained")
    cells = figure.subfigures(down, across, squeeze=False, hspace=0.02, wspace=0.03)
    for cell, item in zip(cells.flat, pairs, strict=False):
        pair = item.pair
        cell.suptitle(_title(item), fontsize=10, fontweight="bold" if pair.different_patient else "normal")
        panels = cell.subplots(1, 2)
        for axes, pixels, split, image, patient in (
            (panels[0], item.first, item.first_split, pair.first_image, pair.first_patient),
            (panels[1], item.second, item.second_split, pair.second_image, pair.second_patient),
        ):
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(_caption(split, image, patient), fontsize=8)
    return figure


def _rows(report: LeakageReport) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Return (label, (images, of them shared), (patients, of them shared)) for each bar."""
    found = [
        (split.name, (split.n_images, len(_shared_rows(report, split.name))), (split.n_patients, shared_patients))
        for split in report.splits
        for shared_patients in [len(_shared_patients(report, split.name))]
    ]
    if report.removal is not None:
        cleaned = {split.name for split in report.removal.splits}
        found += [
            (f"{label}, cleaned", images, patients)
            for label, images, patients in _rows(report.removal.after)
            if label in cleaned
        ]
    return found


def _shared_rows(report: LeakageReport, split: str) -> set[int]:
    return {
        row
        for pair in report.pairs
        for finding in (pair.patients, pair.names, pair.exact_duplicates, pair.near_duplicates)
        if finding is not None
        for part in (finding.first, finding.second)
        if part.split == split
        for row in part.rows
    }


def _shared_patients(report: LeakageReport, split: str) -> set[str]:
    return {
        patient.patient_id
        for pair in report.pairs
        if split in (pair.first, pair.second) and pair.patients is not None
        for patient in pair.patients.patients
    }


def _bars(axes: Axes, labels: Sequence[str], values: Sequence[tuple[int, int]], unit: str) -> None:
    positions = range(len(labels))
    own = [total - shared for total, shared in values]
    shared_part = [shared for _, shared in values]
    axes.barh(positions, own, color=style.OWN, label="in this split only")
    axes.barh(
        positions,
        shared_part,
        left=own,
        color=style.SHARED,
        hatch=style.SHARED_HATCH,
        edgecolor="white",
        label="shared with another split",
    )
    largest = max((total for total, _ in values), default=0) or 1
    for position, (total, shared) in enumerate(values):
        text = f"{shared:,} of {total:,} ({style.percent(shared / total)})" if total else "none known"
        axes.text(total + 0.02 * largest, position, text, va="center", fontsize=9)
    axes.set_xlim(0, 1.65 * largest)
    axes.set_yticks(positions, ["\n".join(textwrap.wrap(label, 24)) for label in labels])
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(style.THOUSANDS)
    style.tidy(axes)


def _title(item: PairImages) -> str:
    pair = item.pair
    how = "" if pair.alteration == "none" else f", {pair.alteration}"
    who = {True: ", different patient ids", False: ", same patient", None: ""}[pair.different_patient]
    return f"{item.grade}{how}{who}\n{pair.distance} of 256 bits, correlation {pair.correlation:.2f}"


def _caption(split: str, image: str, patient: str | None) -> str:
    name = image if len(image) <= 34 else f"…{image[-33:]}"
    return f"{split}: {name}\npatient {patient or 'unknown'}"
