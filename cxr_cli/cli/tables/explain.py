"""Tables of ``cxr explain``: verdicts first, then measures beside their controls, then the lungs' field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from cxr_cli.cli import console
from cxr_cli.data.names import in_print

if TYPE_CHECKING:
    from cxr_cli.services.explain.result import Estimate, ExplainResult

_MAPS = {"model": "model", "random": "random map", "prior": "centre prior", "untrained": "random weights"}


def tables_of(result: ExplainResult) -> Iterator[RenderableType]:
    """Yield the tables of a result, bad news first."""
    patients = "unknown patients" if result.n_patients is None else console.counted(result.n_patients, "patient")
    boxes = f", {console.counted(result.n_boxes, 'box').replace('boxs', 'boxes')}" if result.n_boxes else ""
    height, width = result.map_size
    method = {"cam": "class activation maps", "grad-cam": "Grad-CAM maps"}[result.method]
    images = console.counted(result.n_images, "image")
    yield Text(f"{result.model}: {images} of {patients}{boxes}; {method} of {width} × {height} cells")
    if result.localization:
        yield console.table(
            "Against the centre prior: mass inside the boxes",
            ("pathology", "boxes", "patients", "model − prior", "verdict"),
            [
                (
                    in_print(row.pathology),
                    row.n_boxes,
                    row.n_patients,
                    _interval(row.above_prior, signed=True),
                    row.verdict,
                )
                for row in result.localization
            ],
        )
        yield _measures(result)
    yield console.table(
        "Maps outside the lungs' usual field",
        ("pathology", "images", "outside", "in the corners", "expected from boxes"),
        [
            (
                in_print(row.pathology),
                row.n_images,
                console.percent(row.outside_field),
                console.percent(row.corners),
                console.percent(row.expected_outside),
            )
            for row in result.shortcuts
        ],
        caption=f"A map that is the same everywhere has {console.percent(result.shortcuts[0].flat_outside)} outside.",
    )


def _measures(result: ExplainResult) -> RenderableType:
    rows = []
    for row in result.localization:
        for control in row.controls:
            found = [_value(item) for item in control.found_at.values()]
            rest = (control.false_boxes, control.pointing_game, control.mass_inside)
            name = in_print(row.pathology) if control.map == "model" else ""
            rows.append((name, _MAPS[control.map], *found, *(_value(item) for item in rest)))
    least = [f"T {value}" for value in result.localization[0].controls[0].found_at]
    return console.table(
        "Maps against boxes, beside maps that have not looked",
        ("pathology", "map", *least, "false boxes", "pointing", "mass inside"),
        rows,
        text_columns=2,
        caption="T: fraction of boxes found at T(IoBB). Intervals are in --json and in localization.png.",
    )


def _value(item: Estimate) -> str:
    return f"{item.value:.2f}" if math.isfinite(item.value) else "–"


def _interval(item: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if not math.isfinite(item.low):
        return f"{item.value:{sign}.2f}"
    return f"{item.value:{sign}.2f} ({item.low:{sign}.2f} to {item.high:{sign}.2f})"
