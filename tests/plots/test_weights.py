import io

import matplotlib.image
import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.plots import weights as plots
from cxr_cli.services.weights.weights import compute_weights

DRAWINGS = [plots.class_distribution, plots.contributions, plots.loss_shares]


@pytest.fixture(scope="module")
def result(sample_data):
    return compute_weights(read_labels(sample_data / "train-small.csv"))


@pytest.fixture
def awkward(tmp_path):
    """One pathology without positives, one of which nothing is known, one with unknown labels."""
    path = tmp_path / "labels.csv"
    path.write_text("Image,Mass,Edema,Hernia\na.png,1,0,\nb.png,0,0,\nc.png,,0,\n")
    return compute_weights(read_labels(path))


def widths(axes, label):
    (container,) = [item for item in axes.containers if item.get_label() == label]
    return [bar.get_width() for bar in container]


def assert_readable(figure):
    """The picture decodes, and no two texts of one axes lie upon each other or outside the picture."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    pixels = matplotlib.image.imread(io.BytesIO(stream.getvalue()))
    height, width = pixels.shape[:2]
    assert pixels[..., :3].std() > 0
    for axes in figure.axes:
        texts = [item for item in [*axes.texts, *axes.get_yticklabels()] if item.get_text() and item.get_visible()]
        boxes = [item.get_window_extent() for item in texts]
        for box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[place + 1 :])


@pytest.mark.parametrize("draw", DRAWINGS)
def test_readable(result, draw):
    assert_readable(draw(result))


@pytest.mark.parametrize("draw", DRAWINGS)
def test_awkward_tables_are_drawn_too(awkward, draw):
    figure = draw(awkward)
    assert_readable(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "Edema (not weighted)" in names and "Mass" in names


def test_class_distribution(result, awkward):
    axes = plots.class_distribution(result).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    shares = dict(zip(names, widths(axes, "positive"), strict=True))
    assert shares["Infiltration"] == pytest.approx(34 / 200)
    assert names[-1] == "Infiltration" and names[0] == "Hernia"
    np.testing.assert_allclose(np.add(widths(axes, "positive"), widths(axes, "negative")), 1)
    unknown = widths(plots.class_distribution(awkward).axes[0], "not known")
    assert sorted(unknown) == pytest.approx([0, 1 / 3, 1])


def test_contributions_are_equal_after_weighting_and_not_before(result):
    before, after = plots.contributions(result).axes
    np.testing.assert_allclose(widths(after, "positives"), widths(after, "negatives"))
    assert max(widths(before, "positives")) == pytest.approx(34 / 200)
    np.testing.assert_allclose(np.add(widths(before, "positives"), widths(before, "negatives")), 1)
    assert after.get_xlim()[1] > max(widths(after, "positives"))


def test_loss_shares(result):
    axes = plots.loss_shares(result).axes[0]
    assert sum(widths(axes, "weighted (scheme frequency)")) == pytest.approx(1)
    assert widths(axes, "regular") == pytest.approx([1 / 14] * 14)
    assert widths(axes, "weighted (scheme frequency)") == sorted(widths(axes, "weighted (scheme frequency)"))
