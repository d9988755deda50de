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
    path.write_text("Image,Mass,Edema,Hernia\na.png,1,0,-1\nb.png,0,0,-1\nc.png,,0,-1\n")
    return compute_weights(read_labels(path))


def widths(axes, label):
    (container,) = [item for item in axes.containers if item.get_label() == label]
    return [bar.get_width() for bar in container]


def assert_readable(figure):
    """The image decodes, and no two texts of one axes lie upon each other or outside the image."""
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


def dots(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return list(line.get_xdata())


def test_class_distribution_shows_positives_on_a_logarithmic_axis(result, awkward):
    axes = plots.class_distribution(result).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    counts = dict(zip(names, axes.lines[0].get_xdata(), strict=True))
    assert counts["Infiltration"] == 34 and names[-1] == "Infiltration" and names[0] == "Hernia"
    assert "Pleural thickening" in names and axes.get_xscale() == "log"
    axes = plots.class_distribution(awkward).axes[0]
    assert axes.get_xscale() == "symlog" and sorted(axes.lines[0].get_xdata()) == [0, 0, 1]
    assert any("3 unknown" in text.get_text() for text in axes.texts)


def test_contributions_are_half_after_weighting_and_the_prevalence_before(result, awkward):
    axes = plots.contributions(result).axes[0]
    np.testing.assert_allclose(dots(axes, "weighted (frequency)"), 0.5)
    assert max(dots(axes, "unweighted")) == pytest.approx(34 / 200)
    assert axes.get_xlim() == (0, 1)
    assert np.isnan(dots(plots.contributions(awkward).axes[0], "unweighted")).sum() == 1


def test_loss_shares(result):
    axes = plots.loss_shares(result).axes[0]
    weighted = widths(axes, "weighted (frequency)")
    assert sum(weighted) == pytest.approx(1) and weighted == sorted(weighted)
    assert widths(axes, "unweighted") == pytest.approx([1 / 14] * 14)
