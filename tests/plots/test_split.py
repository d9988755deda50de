from __future__ import annotations

import io

import pytest
from PIL import Image

from cxr_cli.data.labels import read_labels
from cxr_cli.plots.split import plot_split
from cxr_cli.services.split.split import divide, fold_fractions


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    lines = ["Image,Mass,Nodule,PatientId"]
    lines += [f"{n:08}_000.png,{int(n % 4 == 0)},{int(n % 2)},{n}" for n in range(80)]
    path = tmp_path_factory.mktemp("plot") / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_labels(path)


def points(axes):
    return [
        list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in axes.lines if len(line.get_xdata()) > 1
    ]


def test_what_is_drawn_is_what_was_found(table):
    result = divide(table)
    figure = plot_split(result)
    sizes, positives, deviations = figure.axes
    assert [bar.get_width() for bar in sizes.patches[::2]] == [item.n_images for item in result.splits]
    assert [bar.get_width() for bar in sizes.patches[1::2]] == [item.n_patients for item in result.splits]
    # The commonest pathology stands on top.
    assert [label.get_text() for label in positives.get_yticklabels()] == ["Mass", "Nodule"]
    for line, summary in zip(points(positives), result.splits, strict=True):
        assert line == [(summary.pathologies[0].n_positive, 0), (summary.pathologies[1].n_positive, 1)]
    marks = [line for line in points(deviations) if [place for _, place in line] == [0, 1]]
    assert [[value for value, _ in line] for line in marks[:3]] == [
        [label.deviation for label in summary.pathologies] for summary in result.splits
    ]
    assert [text.get_text() for text in positives.get_legend().get_texts()] == ["train", "valid", "test"]


def test_bent_prevalence_takes_the_place_of_deviations(table):
    axes = plot_split(divide(table, min_positives=5)).axes[2]
    assert axes.get_title() == "Prevalence relative to the whole table" and axes.get_xscale() == "log"


def test_many_folds_share_one_look(table):
    figure = plot_split(divide(table, fold_fractions(8)))
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["each fold"]


def test_none_has_a_place_on_the_axis(table):
    # Three patients in one of the splits cannot show both pathologies' shares; zero must still be drawn.
    result = divide(table, {"train": 0.98, "valid": 0.02})
    assert any(not label.n_positive for summary in result.splits for label in summary.pathologies)
    assert plot_split(result).axes[1].get_xscale() == "symlog"


def test_the_image_decodes_and_is_the_same_each_time(table):
    def drawn():
        buffer = io.BytesIO()
        plot_split(divide(table)).savefig(buffer, metadata={"Software": None})
        return buffer.getvalue()

    first = drawn()
    with Image.open(io.BytesIO(first)) as image:
        image.load()
        assert image.width > 2 * image.height > 0
    assert first == drawn()
