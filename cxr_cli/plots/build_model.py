"""Plots of a network: its dense connectivity, and parameters and feature maps by depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from cxr_cli.data.drawing import packaged_style
from cxr_cli.plots import style
from cxr_cli.services.build_model.architecture import FINAL, HEAD, STEM, Block, Layer, dense_layers
from cxr_cli.services.build_model.result import BuildModelResult

_BY_TYPE = {
    "Conv2D": ("convolution", style.CONVOLUTION),
    "BatchNormalization": ("batch normalization", style.NORMALIZATION),
}
_DENSE = ("dense (head)", style.DENSE)
#: Widths on the drawing: a layer of a dense block, a transition or other part, a gap.
_STEP, _PART, _GAP = 1.0, 1.9, 1.3
#: Height of a box for the square root of the side of its feature maps.
_HEIGHT = 0.42
#: Height of a label of five lines.
_TEXT = 4.4
#: Arcs are this much of a half circle high.
_FLATNESS = 0.62


@packaged_style()
def plot_architecture(result: BuildModelResult) -> Figure:
    """Draw the network from its own graph: every layer of a dense block wired to all later ones.

    Boxes are layers, as wide as each other, and as high as the square root of the side of their feature maps; the
    colour tells what training changes.
    """
    network = result.architecture
    figure = Figure(figsize=(16, 7.5), layout="constrained")
    axes = figure.add_subplot()
    # Text goes below the highest box.
    below = -max(_height(block) for block in network.blocks) - 0.8
    left = 0.0
    for block in network.blocks:
        members = [layer for layer in network.layers if layer.section == block.name]
        if block.depth is None:
            right = _draw_part(axes, block, left, below)
        else:
            right = _draw_dense_block(axes, block, members, left, below)
        if block is not network.blocks[-1]:
            axes.annotate(
                "",
                (right + _GAP, -0.5),
                (right, -0.5),
                arrowprops={"arrowstyle": "-|>", "color": style.INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0},
            )
        left = right + _GAP
    numbers = network.model
    size = " x ".join(str(side) for side in result.image_size)
    axes.set_title(
        f"DenseNet121 for {len(result.pathologies)} patholog{'y' if len(result.pathologies) == 1 else 'ies'}, "
        f"{size} pixels: {numbers.total:,} parameters, {numbers.trainable:,} of them trainable",
        fontsize=13,
        loc="left",
    )
    axes.legend(
        handles=[
            Patch(facecolor=style.TRAINABLE, edgecolor=style.INK, label="trainable"),
            Patch(facecolor=style.FROZEN, edgecolor=style.INK, hatch=style.FROZEN_HATCH, label="frozen"),
            Patch(facecolor="white", edgecolor=style.INK, label="input of a dense block"),
            Line2D([], [], color=colormaps["viridis"](0.3), label="output of a layer taken in by a later one"),
        ],
        loc="upper left",
        frameon=False,
        fontsize=10,
    )
    axes.set_xlim(-2.2, left - _GAP + 2.2)
    deepest = max(block.depth or 0 for block in network.blocks)
    axes.set_ylim(below - 2 * _TEXT + 1, _STEP * deepest / 2 * _FLATNESS + 1.5)
    axes.set_axis_off()
    return figure


def _draw_dense_block(axes: Axes, block: Block, members: Sequence[Layer], left: float, below: float) -> float:
    """Draw the layers of a dense block side by side and the arcs between them; return its right edge."""
    dense = dense_layers(members, block.name)
    # The block's input has a place of its own before its layers.
    places = {dense[0].sources[0]: left + _STEP / 2}
    places |= {layer.name: left + _STEP * (number + 1.5) for number, layer in enumerate(dense)}
    height = _height(block)
    axes.add_patch(
        Rectangle(
            (left + 0.3 * _STEP, -height), 0.4 * _STEP, height, facecolor="white", edgecolor=style.INK, linewidth=0.8
        )
    )
    for layer in dense:
        corner = (places[layer.name] - 0.32 * _STEP, -height)
        axes.add_patch(Rectangle(corner, 0.64 * _STEP, height, **_paint(layer.trainable)))
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, len(dense)))
    order = {name: number for number, name in enumerate(places)}
    pairs = [(source, layer.name) for layer in dense for source in layer.sources]
    axes.add_collection(
        LineCollection(
            [_arc(places[source], places[target]) for source, target in pairs],
            colors=[colours[order[source]] for source, _ in pairs],
            linewidths=0.8,
            alpha=0.75,
        )
    )
    right = left + _STEP * (len(dense) + 1)
    _label(
        axes,
        (left + right) / 2,
        below,
        [
            block.name,
            f"{block.depth} layers, growth {block.growth}",
            f"{block.connections} connections",
            f"{block.channels_in} → {block.channels_out} channels",
            _maps(block),
        ],
    )
    return right


def _arc(start: float, stop: float) -> np.ndarray:
    angles = np.linspace(np.pi, 0, 40)
    radius = (stop - start) / 2
    return np.column_stack([start + radius * (1 + np.cos(angles)), radius * _FLATNESS * np.sin(angles)])


def _draw_part(axes: Axes, block: Block, left: float, below: float) -> float:
    """Draw stem, transition, final normalisation or head as one box; return its right edge."""
    right = left + _PART
    height = _height(block)
    # A transition narrows as its maps do: it halves their sides.
    entry = height * 2**0.5 if block.name.startswith("transition") else height
    axes.add_patch(
        Polygon([(left, 0), (right, 0), (right, -height), (left, -entry)], **_paint(block.trainable == "yes"))
    )
    head = block.name == HEAD
    middle = (left + right) / 2
    if not head:
        # Dense blocks write right below; the parts between them further down, at the end of a line.
        axes.plot(
            [middle, middle], [-(entry + height) / 2 - 0.2, below - _TEXT + 0.2], color=style.GUIDE, linewidth=0.7
        )
    _label(axes, middle, below - (0 if head else _TEXT), _words(block))
    return right


def _words(block: Block) -> list[str]:
    if block.name == STEM:
        return [block.name, "7x7 convolution, pooling", f"{block.channels_out} channels", _maps(block)]
    if block.name == FINAL:
        return ["final", "batch norm., ReLU", f"{block.channels_out} channels"]
    if block.name == HEAD:
        units = "unit" if block.channels_out == 1 else "units"
        return [block.name, "average pooling", f"{block.channels_out} sigmoid {units}"]
    return [block.name, "1x1 convolution, pooling", f"{block.channels_out} channels", _maps(block)]


def _paint(trainable: bool) -> dict[str, Any]:
    """Return how a part is painted; hatching tells frozen ones apart in print, too."""
    return {
        "facecolor": style.TRAINABLE if trainable else style.FROZEN,
        "hatch": None if trainable else style.FROZEN_HATCH,
        "edgecolor": style.INK,
        "linewidth": 0.8,
    }


def _height(block: Block) -> float:
    return _HEIGHT * math.sqrt(block.output_size[0] if block.output_size else 10)


def _maps(block: Block) -> str:
    return "" if block.output_size is None else f"{block.output_size[0]} x {block.output_size[1]} pixels"


def _label(axes: Axes, middle: float, top: float, lines: Sequence[str]) -> None:
    """Write a name in bold and more lines below it."""
    text: dict[str, Any] = {"ha": "center", "va": "top", "color": style.INK}
    axes.text(middle, top, lines[0], fontsize=10, fontweight="bold", **text)
    axes.text(middle, top - 0.85, "\n".join(lines[1:]), fontsize=8.5, linespacing=1.35, **text)


@packaged_style()
def plot_depth(result: BuildModelResult) -> Figure:
    """Plot parameters, side of the feature maps and channels of every layer by depth."""
    network = result.architecture
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    parameters, sides, channels = figure.subplots(3, 1, sharex=True)
    for kind, (label, colour) in (_BY_TYPE | {"Dense": _DENSE}).items():
        places = [place for place, layer in enumerate(network.layers) if layer.type == kind]
        values = [network.layers[place].parameters for place in places]
        width = 4 if kind == "Dense" else 1
        parameters.bar(places, values, width=width, color=colour, label=label)
    parameters.set_yscale("log")
    parameters.set_ylabel("Parameters of the layer")
    parameters.legend(loc="upper left", fontsize=9, framealpha=0.9)
    # Zero padding widens the maps by a few pixels, which is nothing to show.
    maps = [
        (place, layer)
        for place, layer in enumerate(network.layers)
        if len(layer.output_shape) == 3 and layer.type != "ZeroPadding2D"
    ]
    sides.step(
        [place for place, _ in maps], [layer.output_shape[0] for _, layer in maps], where="post", color=style.INK
    )
    sides.set_yscale("log", base=2)
    sides.yaxis.set_major_locator(FixedLocator(sorted({layer.output_shape[0] for _, layer in maps})))
    sides.yaxis.set_major_formatter(ScalarFormatter())
    sides.yaxis.set_minor_locator(NullLocator())
    sides.set_ylabel("Height of the feature\nmaps (pixels)")
    for label, colour, marker, chosen in _channel_series(network.layers):
        numbers = [network.layers[place].output_shape[2] for place in chosen]
        channels.plot(chosen, numbers, marker, color=colour, markersize=3, label=label)
    channels.legend(loc="upper left", fontsize=9, framealpha=0.9)
    channels.set_ylabel("Channels of the output")
    channels.set_xlabel("Layer, in order from input to output")
    channels.set_xlim(-1, len(network.layers))
    for axes in (parameters, sides, channels):
        style.tidy(axes)
        _shade_blocks(axes, result, named=axes is parameters)
    return figure


def _channel_series(layers: Sequence[Layer]) -> list[tuple[str, str, str, list[int]]]:
    """Return label, colour, marker and places of the layers that set the number of channels."""

    def places(kind: str, kernel: int | None = None) -> list[int]:
        return [place for place, item in enumerate(layers) if item.type == kind and kernel in (None, item.kernel)]

    return [
        ("concatenation", style.CONCATENATION, "^", places("Concatenate")),
        ("1x1 convolution", style.CONVOLUTION, "o", places("Conv2D", 1)),
        ("3x3 convolution (growth)", style.GROWTH, "s", places("Conv2D", 3)),
    ]


def _shade_blocks(axes: Axes, result: BuildModelResult, *, named: bool) -> None:
    start = 0
    for block in result.architecture.blocks:
        stop = start + block.n_layers
        if block.depth is not None:
            axes.axvspan(start - 0.5, stop - 0.5, color=style.SHADE, zorder=-1)
            if named:
                state = "trainable" if block.trainable == "yes" else "frozen"
                axes.text(
                    (start + stop) / 2 - 0.5,
                    1.02,
                    f"{block.name}\n({state})",
                    transform=axes.get_xaxis_transform(),
                    ha="center",
                    va="bottom",
                    fontsize=9,
                )
        start = stop
