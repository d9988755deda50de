from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.files import Outputs
from cxr_cli.data.thresholds import Thresholds, read_thresholds
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.metrics.calibration import correct_prior, logit
from cxr_cli.services.metrics.ranking import auroc, average_precision
from cxr_cli.services.result import plain
from tests.services.evaluate.conftest import labels_text, predictions


def clustered(n_patients=80, seed=0, columns=2):
    """Labels, scores and patients of images that resemble each other."""
    random = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n_patients), random.integers(1, 6, n_patients))
    labels = (random.random((len(patients), columns)) < 0.3).astype(float)
    scores = 1 / (1 + np.exp(-(random.normal(size=(n_patients, columns))[patients] + 1.5 * labels - 1)))
    return labels, scores, patients


def by_name(model):
    return {row.pathology: row for row in model.pathologies}


@pytest.fixture(scope="module")
def small(examples):
    table, files = examples
    return evaluate(files["test-a-seed1"], table, valid=files["valid-a"], n_draws=200, name="A")


def test_values_are_those_of_the_metrics(examples, small):
    table, files = examples
    row_of = {name: row for row, name in enumerate(files["test-a-seed1"].images)}
    scores = files["test-a-seed1"].probabilities[[row_of[name] for name in table.images]]
    assert small.models[0].name == "A"
    assert [row.auroc.value for row in small.models[0].pathologies] == pytest.approx(auroc(table.labels, scores))
    expected = average_precision(table.labels, scores)
    assert [row.auprc.value for row in small.models[0].pathologies] == pytest.approx(expected)
    assert small.models[0].mean.auroc.value == pytest.approx(auroc(table.labels, scores).mean())
    row = small.models[0].pathologies[0]
    assert (row.n_images, row.n_positive, row.n_unknown) == (863, int(table.labels[:, 0].sum()), 0)
    assert small.n_images == 863 and small.n_patients == row.n_patients == 240
    assert row.prevalence == pytest.approx(table.labels[:, 0].mean())
    assert row.auroc.low < row.auroc.value < row.auroc.high


def test_the_order_of_rows_and_the_number_of_workers_change_nothing(examples, small):
    table, files = examples
    given = files["test-a-seed1"]
    order = np.random.default_rng(0).permutation(len(given.images))
    shuffled = replace(
        given, images=tuple(given.images[row] for row in order), probabilities=given.probabilities[order], raw=None
    )
    again = evaluate(shuffled, table, valid=files["valid-a"], n_draws=200, name="A", workers=3)
    assert again.to_dict() == small.to_dict()
    other = evaluate(given, table, valid=files["valid-a"], n_draws=200, name="A", seed=1)
    assert other.models[0].mean.auroc != small.models[0].mean.auroc


def test_thresholds_come_from_the_validation_images(examples, small):
    _, files = examples
    valid = files["valid-a"]
    points = {point.rule: point for point in by_name(small.models[0])["Effusion"].operating_points}
    assert list(points) == ["youden", "best-f1", "sensitivity-0.9", "specificity-0.9"]
    column = valid.pathologies.index("Effusion")
    labels, scores = valid.labels[:, column], valid.probabilities[:, column]
    cut = points["sensitivity-0.9"].thresholds[0]
    assert (scores[labels == 1] >= cut).mean() >= 0.9
    higher = scores[scores > cut].min()
    assert (scores[labels == 1] >= higher).mean() < 0.9
    assert (scores[labels == 0] < points["specificity-0.9"].thresholds[0]).mean() >= 0.9
    assert small.rule == "youden" and small.thresholds_refused is None


def test_without_validation_predictions_no_threshold_is_chosen(examples):
    table, files = examples
    result = evaluate(files["test-b"], table, n_draws=100)
    assert not any(row.operating_points for row in result.models[0].pathologies)
    assert "chosen on the test images" in result.thresholds_refused
    assert result.rule is None and result.thresholds is None


def test_counts_and_rates_at_a_fixed_threshold(table):
    labels = [1, 1, 1, 0, 0, 0, 0, 0]
    scores = [0.9, 0.5, 0.1, 0.8, 0.5, 0.2, 0.1, 0.0]
    result = evaluate(
        predictions(scores), table(labels_text(labels, range(8))), thresholds=0.5, prevalence=0.1, n_draws=100
    )
    point = result.models[0].pathologies[0].operating_points[0]
    assert point.rule == "fixed"
    counts = (point.true_positive, point.false_positive, point.true_negative, point.false_negative)
    assert counts == (2, 2, 3, 1)
    assert point.sensitivity.value == pytest.approx(2 / 3) and point.specificity.value == pytest.approx(3 / 5)
    assert point.ppv.value == 0.5 and point.npv.value == 0.75 and point.f1.value == pytest.approx(4 / 7)
    assert point.ppv_at_prevalence.value == pytest.approx(0.1 * 2 / 3 / (0.1 * 2 / 3 + 0.9 * 2 / 5))
    assert point.sensitivity.low <= 2 / 3 <= point.sensitivity.high


def test_a_file_of_thresholds_is_used_and_written(examples, tmp_path):
    table, files = examples
    outputs = Outputs(tmp_path, plots=False)
    first = evaluate(files["test-b"], table, valid=files["valid-a"], n_draws=100, outputs=outputs)
    assert [path.name for path in outputs.written] == ["metrics.csv", "thresholds.json"]
    saved = read_thresholds(tmp_path / "thresholds.json")
    again = evaluate(files["test-b"], table, thresholds=saved, rule="best-f1", n_draws=100)
    assert plain(again.models[0]) == plain(first.models[0])
    assert again.rule == "best-f1" and again.thresholds is None
    some = Thresholds({"file": {"Mass": 0.1}}, "file")
    rows = by_name(evaluate(files["test-b"], table, thresholds=some, n_draws=100).models[0])
    assert len(rows["Mass"].operating_points) == 1 and not rows["Hernia"].operating_points


def test_the_csv_has_every_number(examples, tmp_path):
    table, files = examples
    result = evaluate(
        files["test-a-seed1"],
        table,
        compare={"B": [files["test-b"]]},
        by=["sex"],
        valid=files["valid-a"],
        n_draws=100,
        outputs=Outputs(tmp_path, plots=False),
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text())))
    found = {
        (row["model"], row["compared_with"], row["group"], row["pathology"], row["rule"], row["metric"]): row
        for row in rows
    }
    assert len(found) == len(rows)
    mean = found["model", "", "", "mean", "", "auroc"]
    assert float(mean["value"]) == result.models[0].mean.auroc.value
    assert float(mean["low"]) == result.models[0].mean.auroc.low
    gap = result.subgroups[0].groups[1]
    assert float(found["model", "", gap.name, "Mass", "", "fnr_gap"]["value"]) == by_name(gap)["Mass"].fnr_gap.value
    difference = result.comparisons[0].pathologies[0]
    row = found["model", "B", "", difference.pathology, "", "auroc_difference"]
    assert float(row["high"]) == difference.auroc.high
    assert float(found["model", "", "", "Mass", "youden", "true_positive"]["value"]) >= 0
    assert float(found["B", "", "", "Mass", "", "calibration_slope"]["value"]) > 0


def test_what_cannot_be_scored_is_listed_with_the_reason(table):
    names = ("Mass", "Edema", "Hernia", "Nodule", "Fibrosis")
    nan = float("nan")
    rows = [[1, 0, 1, nan, 0], [1, 0, 1, nan, 1], [0, 0, 1, nan, 1]] * 2
    truth = table(labels_text(rows, range(6), names))
    scores = np.random.default_rng(0).random((6, 5))
    given = predictions(scores, pathologies=("Mass", "Edema", "Hernia", "Nodule", "Emphysema"))
    result = evaluate(given, truth, n_draws=100)
    reasons = {item.pathology: item.reason for item in result.models[0].not_scored}
    assert reasons["Fibrosis"] == "no predictions"
    assert reasons["Emphysema"] == f"no labels in {truth.path}"
    assert reasons["Edema"] == "no positives among the test images"
    assert reasons["Hernia"] == "no negatives among the test images"
    # A column without any label may be no pathology at all for the reader of tables.
    assert reasons["Nodule"] in ("no known labels among the test images", f"no labels in {truth.path}")
    assert len(reasons) == 5 and result.models[0].mean.members == ("Mass",)


def test_draws_without_a_pathology_leave_the_mean_and_are_counted(table):
    labels = np.zeros((30, 2))
    labels[0, 0], labels[:12, 1] = 1, 1
    truth = table(labels_text(labels, range(30), ("Hernia", "Mass")))
    scores = np.random.default_rng(0).random((30, 2))
    model = evaluate(predictions(scores, pathologies=("Hernia", "Mass")), truth, n_draws=400).models[0]
    hernia, mass = model.pathologies
    # The one positive patient stays out of (1 - 1/30)**30 of the draws, some 36 %.
    assert 100 < hernia.auroc.n_undefined < 190
    assert mass.auroc.n_undefined == 0
    assert model.mean.auroc.n_undefined == hernia.auroc.n_undefined
    assert model.mean.members == ("Hernia", "Mass")


def test_no_finding_is_scored_and_not_in_the_mean(table):
    labels, scores, patients = clustered()
    nothing = (labels.sum(axis=1) == 0).astype(float)
    text = labels_text(np.column_stack([labels, nothing]), patients, ("Mass", "Edema", "No Finding"))
    values = np.column_stack([scores, 1 - scores.max(axis=1)])
    result = evaluate(predictions(values, pathologies=("Mass", "Edema", "No Finding")), table(text), n_draws=100)
    rows = by_name(result.models[0])
    assert result.models[0].mean.members == ("Mass", "Edema")
    assert not rows["No Finding"].in_mean and rows["No Finding"].auroc.value > 0.5
    expected = (rows["Mass"].auroc.value + rows["Edema"].auroc.value) / 2
    assert result.models[0].mean.auroc.value == pytest.approx(expected)


def test_draws_of_images_are_narrower_and_the_result_says_by_how_much(table):
    labels = np.repeat(np.random.default_rng(3).random(80) < 0.4, 5).astype(float)
    scores = np.repeat(np.random.default_rng(4).random(80), 5)
    truth = table(labels_text(labels, np.repeat(np.arange(80), 5)))
    over_patients = evaluate(predictions(scores), truth, n_draws=300).models[0].pathologies[0]
    result = evaluate(predictions(scores), truth, n_draws=300, unit="image")
    row = result.models[0].pathologies[0]
    assert result.unit == "image"
    assert row.auroc_over_patients == over_patients.auroc and over_patients.auroc_over_patients is None
    ratio = (row.auroc.high - row.auroc.low) / (over_patients.auroc.high - over_patients.auroc.low)
    assert result.narrower == pytest.approx(ratio)
    assert ratio == pytest.approx(1 / np.sqrt(5), rel=0.2)


def test_class_weights_are_undone(table):
    random = np.random.default_rng(0)
    chances = 1 / (1 + np.exp(-random.normal(-2.5, 1.2, 3000)))
    labels = (random.random(3000) < chances).astype(float)
    truth = table(labels_text(labels, range(3000)))
    # What a perfectly fitted model says after training with these weights.
    bent = predictions(correct_prior(chances, 0.1, 0.9))
    result = evaluate(bent, truth, undo_class_weights=ClassWeights(("Mass",), (0.9,), (0.1,)), n_draws=100)
    row = result.models[0].pathologies[0]
    assert row.calibration.intercept.high < -1.5 and row.calibration.brier_skill.value < 0
    corrected = row.calibration_corrected
    assert corrected.intercept.low < 0 < corrected.intercept.high and corrected.brier_skill.value > 0
    assert corrected.slope.low < 1 < corrected.slope.high
    assert corrected.mean_predicted == pytest.approx(chances.mean())
    with pytest.raises(InputError, match="no weights for a pathology"):
        evaluate(bent, truth, undo_class_weights=ClassWeights(("Hernia",), (0.9,), (0.1,)), n_draws=100)


def test_few_positives_get_no_curve(small):
    rows = by_name(small.models[0])
    assert rows["Hernia"].n_positive < 20
    assert rows["Hernia"].calibration.bins == () and "too few" in rows["Hernia"].calibration.curve_refused
    assert np.isnan(rows["Hernia"].calibration.expected_error)
    curve = rows["Effusion"].calibration
    assert len(curve.bins) == 10 and sum(point.n_images for point in curve.bins) == 863
    total = sum(point.n_images * abs(point.mean_predicted - point.observed.value) for point in curve.bins) / 863
    assert curve.expected_error == pytest.approx(total)
    assert all(point.observed.low <= point.observed.value <= point.observed.high for point in curve.bins)


def test_logits_are_ranked_and_calibrated_only_when_asked(table):
    labels, scores, patients = clustered(columns=1)
    truth = table(labels_text(labels, patients))
    plain = evaluate(predictions(scores), truth, n_draws=100)
    as_logits = evaluate(predictions(logit(scores)), truth, n_draws=100)
    assert [issue.kind for issue in as_logits.issues] == ["logits"]
    row = as_logits.models[0].pathologies[0]
    assert row.calibration is None and row.auroc == plain.models[0].pathologies[0].auroc
    read = evaluate(predictions(logit(scores)), truth, n_draws=100, logits=True)
    assert not read.issues
    found, expected = (item.models[0].pathologies[0].calibration for item in (read, plain))
    assert found.brier.value == pytest.approx(expected.brier.value)


def test_several_runs_are_averaged_and_their_spread_is_shown(examples):
    table, files = examples
    runs = [files[f"test-a-seed{seed}"] for seed in (1, 2, 3)]
    together = evaluate(runs, table, n_draws=200).models[0]
    alone = [evaluate(run, table, n_draws=200).models[0] for run in runs]
    assert together.n_runs == 3
    assert together.mean.auroc_runs == pytest.approx([model.mean.auroc.value for model in alone])
    assert together.mean.auroc.value == pytest.approx(np.mean(together.mean.auroc_runs))
    for place, row in enumerate(together.pathologies):
        assert row.auroc_runs == pytest.approx([model.pathologies[place].auroc.value for model in alone])
        expected = np.mean([model.pathologies[place].calibration.brier.value for model in alone])
        assert row.calibration.brier.value == pytest.approx(expected)
    low = np.mean([model.mean.auroc.low for model in alone])
    assert together.mean.auroc.low == pytest.approx(low, abs=0.02)


def test_folds_are_joined(examples):
    table, files = examples
    whole = files["test-a-seed1"]
    halves = [
        replace(whole, images=whole.images[part], probabilities=whole.probabilities[part], raw=None)
        for part in (slice(0, 400), slice(400, None))
    ]
    joined, expected = evaluate(halves, table, n_draws=100), evaluate(whole, table, n_draws=100)
    assert joined.models[0].n_runs == 1
    assert plain(joined.models[0].pathologies) == plain(expected.models[0].pathologies)
    with pytest.raises(InputError, match="share 400 images, but not all"):
        evaluate([halves[0], whole], table, n_draws=100)


def test_labels_in_the_predictions_file(examples):
    _, files = examples
    result = evaluate(files["valid-a"], n_draws=100)
    assert result.n_images == 521 and result.n_patients == 150
    with pytest.raises(InputError, match="has predictions but no labels"):
        evaluate(files["test-b"], n_draws=100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_draws": 99}, "n_draws=99"),
        ({"confidence": 1.0}, "confidence=1.0"),
        ({"confidence": 0.3}, "confidence=0.3"),
        ({"unit": "lung"}, "unit='lung'"),
        ({"prevalence": 0.0}, "prevalence=0.0"),
        ({"thresholds": float("nan")}, "thresholds=nan"),
        ({"rule": "youden"}, "rule='youden' needs thresholds"),
        ({"rule": "best-f1", "thresholds": 0.5}, "rule='best-f1'; expected one of fixed"),
        ({"by": ["colour"]}, "by='colour': no such attribute"),
        ({"by": ["Image"]}, "863 different values"),
    ],
)
def test_options_out_of_range(examples, options, message):
    table, files = examples
    with pytest.raises(UsageError) as caught:
        evaluate(files["test-b"], table, **{"n_draws": 100, **options})
    assert message in str(caught.value)


def test_contradicting_options(examples):
    table, files = examples
    with pytest.raises(UsageError, match="valid would choose others"):
        evaluate(files["test-b"], table, valid=files["valid-a"], thresholds=0.5)
    with pytest.raises(UsageError, match="two models are called model"):
        evaluate(files["test-b"], table, compare={"model": [files["test-b"]]})
    with pytest.raises(InputError, match="1 validation runs for 2 runs"):
        evaluate([files["test-a-seed1"], files["test-a-seed2"]], table, valid=files["valid-a"], n_draws=100)
    with pytest.raises(InputError, match="no validation images"):
        evaluate(files["test-b"], table, valid=predictions(np.zeros((0, 1))), n_draws=100)


def test_published_results_are_added_when_asked(examples):
    table, files = examples
    assert not evaluate(files["test-b"], table, n_draws=100).published
    published = evaluate(files["test-b"], table, n_draws=100, reference=True).published
    assert [row.auroc for row in published] == ["0.745", "0.806", "0.8357 to 0.8420"]


def test_labels_given_as_predictions_are_too_good(examples):
    table, _ = examples
    copied = predictions(table.labels, images=table.images, pathologies=table.pathologies)
    result = evaluate(copied, table, n_draws=100)
    issues = {issue.kind: issue for issue in result.issues}
    assert "Hernia" not in issues["perfect-ranking"].examples and "Mass" in issues["perfect-ranking"].examples


def test_issues_of_the_validation_set_are_told(examples, table):
    truth, files = examples
    valid = files["valid-a"]
    labels = table(labels_text(valid.labels, range(521), valid.pathologies, list(valid.images)))
    moved = replace(valid, labels=None, images=tuple(f"x/{image}" for image in valid.images))
    result = evaluate(files["test-b"], truth, valid=moved, valid_labels=labels, n_draws=100)
    issues = {issue.kind: issue.message for issue in result.issues}
    assert issues["validation-matched-without-folders"].startswith("validation: ")
    assert all(kind.startswith("validation-") for kind in issues)
    assert result.models[0].pathologies[0].operating_points
