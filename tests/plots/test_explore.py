from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cxr_cli.data.images import read_gray
from cxr_cli.data.labels import read_labels
from cxr_cli.data.names import in_print
from cxr_cli.errors import ImageError
from cxr_cli.plots import explore as plots
from cxr_cli.services.explore.explore import explore

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)


@pytest.fixture(scope="module")
def result(sample_data):
    return explore(read_labels(sample_data / "train-small.csv"), sample_data / "images-small", n_images=4)


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    path = tmp_path_factory.mktemp("nih") / "nih.csv"
    rows = []
    for number in range(60):
        finding = "Edema|Mass" if number % 3 == 0 else "No Finding"
        sex, view = "MF"[number % 2], ("AP", "PA", "")[number % 3]
        rows.append(f"{number:08}_000.png,{finding},0,{number % 40},{number},{sex},{view},1,1,1,1\n")
    path.write_text(NIH_HEADER + "".join(rows))
    return explore(read_labels(path))


def decodes(figure: Figure) -> bool:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=40)
    stream.seek(0)
    with Image.open(stream) as image:
        return image.width > 50 and image.height > 50


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_everything_there_is_to_draw_is_drawn(result, nih):
    assert [name for name, _ in plots.figures(result)] == [
        "label-distribution",
        "co-occurrence",
        "images-per-patient",
        "images",
        "intensities",
    ]
    drawn = dict(plots.figures(nih))
    assert list(drawn) == ["label-distribution", "co-occurrence", "images-per-patient", "age-sex-view"]
    assert all(decodes(figure) for figure in drawn.values())


def test_bars_are_the_counts_the_commonest_on_top(result):
    (axes,) = plots.label_distribution(result).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[-1] == 110  # no finding
    assert widths[:-1] == sorted(item.n_positive for item in result.pathologies)
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels[-2:] == ["Infiltration", "No finding"]
    assert "34  (17.0 %)" in texts(axes)
    assert axes.get_xlim()[1] > 110 and axes.get_xlabel() == "Images"


def test_co_occurrence_is_a_fraction_of_the_row(result):
    axes = plots.co_occurrence(result).axes[0]
    shares = axes.images[0].get_array()
    names = list(result.co_occurrence.pathologies)
    row, column = names.index("Effusion"), names.index("Infiltration")
    assert shares[row, column] == pytest.approx(8 / 24) and shares[column, row] == pytest.approx(8 / 34)
    assert shares.mask.diagonal().all()
    assert {"33", "24"} <= set(texts(axes))
    assert [tick.get_text() for tick in axes.get_yticklabels()][row] == "Effusion (24)"


def test_rows_with_few_positives_are_hatched_and_do_not_set_the_colours(result):
    axes = plots.co_occurrence(result).axes[0]
    matrix = np.array(result.co_occurrence.n_images)
    few = np.flatnonzero(matrix.diagonal() < 10)
    hatched = [patch.get_y() + 0.5 for patch in axes.patches if patch.get_hatch()]
    assert hatched == few.tolist() and 0 < len(few) < len(matrix)
    enough = np.delete(matrix / matrix.diagonal()[:, None], few, axis=0)
    assert axes.images[0].get_clim()[1] == pytest.approx(enough[enough < 1].max())


def test_bars_for_few_images_per_patient_points_for_many(result):
    (axes,) = plots.images_per_patient(result.patients).axes
    heights = {round(bar.get_center()[0]): bar.get_height() for bar in axes.patches}
    assert heights == result.patients.images_per_patient and axes.get_yscale() == "linear"
    many = dataclasses.replace(result.patients, images_per_patient={1: 100, 184: 1}, maximum=184)
    (axes,) = plots.images_per_patient(many).axes
    assert axes.get_xscale() == "log" and axes.lines[0].get_xdata().tolist() == [1, 184]


def test_groups_are_drawn_with_their_prevalences(nih):
    axes = plots.age_sex_view(nih).axes
    assert [item.get_title() for item in axes] == [
        "View (unknown: 20)",
        "Sex",
        "Age: mean 29.5, std 17.3 years",
        "Prevalence by view",
        "Prevalence by sex",
        "Prevalence by age",
    ]
    assert sum(bar.get_height() for bar in axes[2].patches) == 60
    prevalence = axes[4]
    assert {line.get_label() for line in prevalence.lines} == {"M", "F"}
    names = [tick.get_text() for tick in axes[3].get_yticklabels()]
    men = next(line for line in prevalence.lines if line.get_label() == "M")
    assert men.get_xdata()[names.index("Edema")] == pytest.approx(nih.by_sex.groups[0].prevalence["Edema"])


@pytest.mark.parametrize(
    ("values", "scale"),
    [([0.2, 0.9], "linear"), ([0.001, 0.9], "log"), ([0, 0.001, 0.9], "symlog"), ([0, 0], "linear")],
)
def test_prevalences_get_an_axis_that_shows_all_of_them(values, scale):
    axes = Figure().subplots()
    plots._scale_prevalences(axes, values)
    low, high = axes.get_xlim()
    assert axes.get_xscale() == scale and all(low <= value < high for value in values)


def test_images_are_shown_as_they_are_with_their_findings(result):
    shown = result.images.check.sample
    axes = plots.images(shown).axes
    for item, place in zip(shown, axes, strict=False):
        assert item.image in place.get_title()
        assert place.images[0].get_clim() == (0, 255)
        np.testing.assert_array_equal(place.images[0].get_array(), read_gray(item.path).pixels)
    titles = " ".join(place.get_title() for place in axes)
    assert all(in_print(name) in titles for item in shown for name in item.pathologies)
    unknown = dataclasses.replace(shown[0], pathologies=None)
    assert "labels unknown" in plots.images([unknown]).axes[0].get_title()


@pytest.mark.parametrize(("height", "width"), [(1280, 640), (3, 2000), (1, 1)])
def test_large_images_are_shrunk_by_averaging(result, tmp_path, height, width):
    pixels = (np.arange(height * width).reshape(height, width) + 250) % 251 * 257
    Image.fromarray(pixels.astype(np.uint16)).save(tmp_path / "large.png")
    item = dataclasses.replace(result.images.check.sample[0], path=str(tmp_path / "large.png"))
    image = plots.images([item]).axes[0].images[0]
    shown = image.get_array()
    assert max(shown.shape) <= 640 and image.get_clim() == (0, 65535)
    assert shown.mean() == pytest.approx(pixels.mean(), rel=0.01)
    assert decodes(plots.intensities([item]))


def test_many_images_are_too_many_to_draw(result):
    check = result.images.check
    many = dataclasses.replace(check, sample=check.sample * 20)
    images = dataclasses.replace(result.images, check=many)
    figure = dict(plots.figures(dataclasses.replace(result, images=images)))["images"]
    assert sum(bool(axes.images) for axes in figure.axes) == plots.MOST_IMAGES


def test_an_image_that_has_gone_is_named(result):
    gone = dataclasses.replace(result.images.check.sample[0], path="gone.png")
    with pytest.raises(ImageError, match=r"gone\.png"):
        plots.images([gone])


def test_histograms_add_up_and_say_mean_and_deviation(result):
    shown = result.images.check.sample
    figure = plots.intensities(shown)
    histograms = [axes for axes in figure.axes if axes.get_ylabel() == "Fraction of pixels"]
    assert len(histograms) == 4 and decodes(figure)
    for item, axes in zip(shown, histograms, strict=True):
        (stairs,) = [patch for patch in axes.patches if hasattr(patch, "get_data")]
        assert stairs.get_data().values.sum() == pytest.approx(1)
        assert f"mean {item.mean:.3f}, std {item.std:.3f}" in axes.get_title()
        assert axes.lines[0].get_xdata()[0] == pytest.approx(item.mean)
        highest = stairs.get_data().values.max()
        assert highest <= axes.get_ylim()[1] or any("↑" in text for text in texts(axes))


def test_empty_and_unknown_labels_can_be_drawn(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Image,PatientId,Mass,Edema\na.png,1,-1,0\nb.png,2,-1,0\n")
    nothing = explore(read_labels(path))
    assert math.isnan(nothing.pathologies[0].prevalence)
    drawn = dict(plots.figures(nothing))
    assert all(decodes(figure) for figure in drawn.values())
    assert any("unknown" in text for text in texts(drawn["label-distribution"].axes[0]))
