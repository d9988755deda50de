from __future__ import annotations

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.plots import evaluate as plots
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.metrics.ranking import roc_curve
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "evaluate"


@pytest.fixture(scope="module")
def result():
    return evaluate(
        read_predictions(EXAMPLES / "test-a-seed1.csv"),
        read_labels(EXAMPLES / "test.csv"),
        compare={"B": [read_predictions(EXAMPLES / "test-b.csv")]},
        by=["sex", "age"],
        n_draws=100,
        curves=True,
    )


def test_every_figure_is_named(result):
    names = [name for name, _ in plots.figures(result)]
    assert names == ["roc", "precision-recall", "reliability", "forest", "forest-sex", "forest-age"]


def test_roc_curves_and_their_bands(result):
    figure = plots.roc_curves(result)
    assert [axes.get_title() for axes in figure.axes[:5]] == [row.pathology for row in result.models[0].pathologies]
    table, files = read_labels(EXAMPLES / "test.csv"), read_predictions(EXAMPLES / "test-a-seed1.csv").in_order
    expected = roc_curve(table.labels[:, 0], files(table).probabilities[:, 0])
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["model"].get_xdata(), expected.false_positive_rate)
    np.testing.assert_allclose(lines["model"].get_ydata(), expected.true_positive_rate)
    assert set(lines) >= {"model", "B"} and len(figure.axes[0].collections) == 1
    curve = next(item for item in result.curves if item.model == "model")
    assert (curve.sensitivity_band[0] <= curve.sensitivity_band[1]).all()
    assert f"{result.models[0].pathologies[0].auroc.value:.3f}" in figure.axes[0].texts[0].get_text()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model", "B"]


def test_precision_recall_curves_end_at_the_prevalence(result):
    axes = plots.precision_recall_curves(result).axes[1]
    row = result.models[0].pathologies[1]
    dashed, *_, first = axes.get_lines()
    assert dashed.get_ydata()[0] == pytest.approx(row.prevalence)
    assert first.get_label() == "model" and first.get_ydata()[-1] == pytest.approx(row.prevalence)


def test_reliability_curves_are_refused_for_few_positives(result):
    axes = {axes.get_title(): axes for axes in plots.reliability_curves(result).axes}
    refused = "".join(text.get_text() for text in axes["Hernia"].texts)
    assert "6 positives" in refused and not axes["Hernia"].get_lines()
    row = next(row for row in result.models[0].pathologies if row.pathology == "Effusion")
    points = axes["Effusion"].get_lines()[0]
    np.testing.assert_allclose(points.get_xdata(), [point.mean_predicted for point in row.calibration.bins])
    np.testing.assert_allclose(points.get_ydata(), [point.observed.value for point in row.calibration.bins])


def test_forests_have_a_row_for_each_pathology(result):
    axes = plots.forest(result).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "Cardiomegaly (67)" and labels[-1] == "Mean"
    assert len(axes.containers) == 2
    axes = plots.subgroup_forest(result, result.subgroups[0]).axes[0]
    # Hernia is too small in both groups.
    assert [len(container.lines[0].get_xdata()) for container in axes.containers] == [4, 4]


def test_scores_that_are_no_probabilities_have_no_reliability_curve():
    predictions = read_predictions(EXAMPLES / "test-b.csv")
    predictions.probabilities[:] = predictions.probabilities * 30 - 15
    result = evaluate(predictions, read_labels(EXAMPLES / "test.csv"), n_draws=100)
    assert [name for name, _ in plots.figures(result)] == ["forest"]


def test_names_with_dollars_are_drawn_as_they_are(tmp_path):
    (tmp_path / "p.csv").write_text(
        "Image,$x^2$,$x^2$_pred\n" + "".join(f"{row}.png,{row % 2},{(row * 7 % 10) / 10}\n" for row in range(60))
    )
    result = evaluate(read_predictions(tmp_path / "p.csv"), n_draws=100, curves=True)
    for name, figure in plots.figures(result):
        figure.savefig(tmp_path / f"{name}.png")
