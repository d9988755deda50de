import io

import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Polygon, Rectangle
from PIL import Image

from cxr_cli.models.architecture import describe_model
from cxr_cli.models.densenet import freeze
from cxr_cli.plots.build_model import plot_architecture, plot_depth
from cxr_cli.services.build_model.result import BuildModelResult
from cxr_cli.services.model_card import LossChoice, PretrainedWeights
from cxr_cli.services.store.manifest import Preprocessing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(network):
    freeze(network, "all-but-last-1-blocks")
    return BuildModelResult(
        model="densenet121",
        pathologies=("A", "B", "C", "D", "E"),
        image_size=(128, 128),
        preprocessing=Preprocessing(),
        loss=LossChoice("binary-crossentropy", None),
        metrics=(),
        labels=None,
        pretrained=PretrainedWeights("random", None, None, None, 0, 0, "new", None, False, "nothing"),
        freeze="all-but-last-1-blocks",
        learning_rate=0.001,
        mixed_precision=False,
        seed=0,
        architecture=describe_model(network),
        versions={},
    )


def decodes(figure):
    stream = io.BytesIO()
    figure.savefig(stream, dpi=50)
    with Image.open(stream) as image:
        image.load()
        return min(image.size) > 100


def test_every_connection_is_an_arc(result):
    figure = plot_architecture(result)
    (axes,) = figure.axes
    arcs = [item for item in axes.collections if isinstance(item, LineCollection)]
    assert [len(item.get_segments()) for item in arcs] == [21, 78, 300, 136]
    # All arcs from the block's input end where a layer is, each layer once.
    first = arcs[0].get_segments()
    starts = sorted({round(float(segment[0][0]), 6) for segment in first})
    assert [sum(round(float(s[0][0]), 6) == start for s in first) for start in starts] == [6, 5, 4, 3, 2, 1]
    assert decodes(figure)


def test_frozen_parts_are_hatched(result):
    (axes,) = plot_architecture(result).axes
    boxes = [item for item in axes.patches if isinstance(item, (Rectangle, Polygon))]
    hatched = [item for item in boxes if item.get_hatch()]
    # Stem, three transitions and 6 + 12 + 24 layers are frozen; 16 layers, final and head are not; 4 mark inputs.
    assert len(hatched) == 4 + 42
    assert len(boxes) - len(hatched) == 16 + 2 + 4


def test_drawing_names_its_parts(result):
    (axes,) = plot_architecture(result).axes
    texts = "\n".join(text.get_text() for text in axes.texts)
    for part in ("stem", "dense block 3", "transition 2", "final", "head", "300 connections", "5 sigmoid units"):
        assert part in texts
    assert "7,042,629 parameters, 2,165,253 of them trainable" in axes.get_title(loc="left")


def test_no_two_labels_of_the_drawing_overlap(result):
    figure = plot_architecture(result)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    for number, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[number + 1 :])
        assert figure.bbox.x0 <= one.x0 and one.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= one.y0 and one.y1 <= figure.bbox.y1


def test_depth_shows_every_layer_with_weights(result):
    figure = plot_depth(result)
    parameters, sides, channels = figure.axes
    bars = {container.get_label(): container for container in parameters.containers}
    assert {label: len(item) for label, item in bars.items()} == {
        "convolution": 120,
        "batch normalization": 121,
        "dense (head)": 1,
    }
    assert sum(bar.get_height() for container in parameters.containers for bar in container) == 7_042_629
    assert list(sides.get_yticks()) == [4, 8, 16, 32, 64, 128]
    points = {line.get_label(): len(line.get_xdata()) for line in channels.get_lines()}
    assert points == {"concatenation": 58, "1x1 convolution": 61, "3x3 convolution (growth)": 58}
    assert decodes(figure)
