import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cxr_cli.choices import Standardization, choices
from cxr_cli.plots.preprocess import plot_distributions, plot_interpolations, plot_samples
from cxr_cli.services.preprocess.samples import Sample, compare_interpolations
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import standardize


def sample(image="a.png", scheme="samplewise"):
    levels = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.float32)
    return Sample(image, levels, levels, standardize(levels, scheme, levels.mean(), levels.std()))


def texts(figure):
    FigureCanvasAgg(figure).draw()
    return " ".join(text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text")))


@pytest.mark.parametrize("scheme", choices(Standardization))
def test_images_side_by_side(scheme):
    samples = (sample("a.png", scheme), sample("b.png", scheme))
    figure = plot_samples(samples, Recipe((20, 30), scheme))
    shown = texts(figure)
    assert "a.png" in shown and "b.png" in shown
    assert "Before: grey level" in shown and "After: " in shown
    assert sum(len(axes.images) for axes in figure.axes) == 4
    assert len(figure.axes) == 2 * 4  # three panels and a second scale for the histogram


def test_both_histograms_have_the_same_area():
    figure = plot_samples((sample(),), Recipe((20, 30)))
    below, above = figure.axes[2], figure.axes[3]
    FigureCanvasAgg(figure).draw()
    area_before = sum(bar.get_width() * bar.get_height() for bar in below.patches)
    (outline,) = above.patches
    corners = outline.get_xy()  # a polygon: its area by the shoelace formula
    x, y = corners[:, 0] * 256 / np.ptp(above.get_xlim()), corners[:, 1]
    area_after = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area_before == pytest.approx(1)
    assert area_after == pytest.approx(1)


def test_a_constant_image_can_be_drawn():
    flat = Sample(
        "flat.png", np.full((5, 5), 80, np.float32), np.full((5, 5), 80, np.float32), np.zeros((5, 5), np.float32)
    )
    assert "flat.png" in texts(plot_samples((flat,), Recipe((5, 5))))


def test_distributions(tmp_path):
    columns = {
        "before_mean": np.linspace(90, 160, 50),
        "before_std": np.linspace(40, 70, 50),
        "after_mean": np.linspace(-1e-9, 1e-9, 50),
        "after_std": np.full(50, 0.9999999),
    }
    pd.DataFrame(columns).to_csv(tmp_path / "index.csv")
    figure = plot_distributions(tmp_path / "index.csv", Recipe())
    shown = texts(figure)
    assert "0.00 for all 50" in shown and "1.00 for all 50" in shown and "-0.00" not in shown
    assert "50 images, samplewise standardization, area" in shown
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 50


def test_interpolations():
    one = sample()
    made = compare_interpolations(one, (7, 11))
    figure = plot_interpolations(one, made)
    shown = texts(figure)
    assert len(figure.axes) == 6
    for item in made:
        assert item.interpolation in shown
        assert item.levels.shape == (7, 11)
    assert "mean of the covered pixels" in shown
    assert f"{made[1].distance:.1f} grey levels from it" in shown
