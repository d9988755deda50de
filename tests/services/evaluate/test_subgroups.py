from __future__ import annotations

import numpy as np
import pytest

from cxr_cli.errors import UsageError
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.metrics.ranking import auroc
from tests.services.evaluate.conftest import labels_text, predictions


@pytest.fixture(scope="module")
def divided(examples):
    table, files = examples
    return evaluate(files["test-a-seed1"], table, by=["sex", "age", "view"], valid=files["valid-a"], n_draws=200)


def test_a_group_is_what_its_images_alone_give(examples, divided):
    table, files = examples
    scores = files["test-a-seed1"].in_order(table).probabilities
    sex = divided.subgroups[0]
    assert sex.attribute == "sex" and {group.name for group in sex.groups} == {"F", "M"}
    assert sum(group.n_images for group in sex.groups) == 863 and sex.n_unknown == 0
    assert sum(group.n_patients for group in sex.groups) == 240
    for group in sex.groups:
        rows = (table.frame["sex"] == group.name).to_numpy()
        assert group.n_images == rows.sum()
        np.testing.assert_allclose(
            [row.auroc.value for row in group.pathologies], auroc(table.labels[rows], scores[rows])
        )
        for k, row in enumerate(group.pathologies):
            labels = table.labels[rows, k]
            assert row.n_positive == labels.sum() and row.prevalence == pytest.approx(labels.mean())
            cut = divided.models[0].pathologies[k].operating_points[0].thresholds[0]
            positive = scores[rows, k] >= cut
            assert row.fpr.value == pytest.approx(positive[labels == 0].mean())
            assert row.fnr.value == pytest.approx(1 - positive[labels == 1].mean())
            assert row.brier.value == pytest.approx(((scores[rows, k] - labels) ** 2).mean())
            assert row.brier.low < row.brier.value < row.brier.high


def test_small_groups_are_marked(divided):
    for subgroups in divided.subgroups:
        for group in subgroups.groups:
            for row in group.pathologies:
                assert row.too_small == (min(row.n_positive, row.n_images - row.n_positive) < 20)


def test_gaps_are_to_the_largest_group(divided):
    for subgroups in divided.subgroups:
        largest = max(subgroups.groups, key=lambda group: group.n_images)
        assert subgroups.reference == largest.name
        for group in subgroups.groups:
            for row, reference in zip(group.pathologies, largest.pathologies, strict=True):
                if group is largest:
                    assert row.auroc_gap is row.fpr_gap is row.fnr_gap is None
                elif not np.isnan(row.auroc.value):
                    assert row.auroc_gap.value == pytest.approx(row.auroc.value - reference.auroc.value)
                    assert row.fpr_gap.value == pytest.approx(row.fpr.value - reference.fpr.value)
                    assert row.fnr_gap.low <= row.fnr_gap.value <= row.fnr_gap.high


def test_groups_stand_largest_first_and_ages_ascend(divided):
    sex, age, view = divided.subgroups
    assert [group.name for group in age.groups] == ["0-19", "20-39", "40-59", "60-79", "80+"]
    for subgroups in (sex, view):
        sizes = [group.n_images for group in subgroups.groups]
        assert sizes == sorted(sizes, reverse=True)


def test_without_thresholds_there_are_no_error_rates(examples):
    table, files = examples
    result = evaluate(files["test-b"], table, by=["view"], n_draws=100)
    row = result.subgroups[0].groups[1].pathologies[0]
    assert row.fpr is row.fnr is row.fpr_gap is None and row.auroc_gap is not None


def test_a_gap_that_is_there_is_found_and_one_that_is_not_is_not(table):
    random = np.random.default_rng(0)
    sex = np.repeat(["F", "M"], 400)
    labels = (random.random(800) < 0.3).astype(float)
    scores = 1 / (1 + np.exp(-(random.normal(size=800) + np.where(sex == "F", 3, 1) * labels - 1)))
    other = np.tile(["PA", "AP"], 400)
    truth = table(labels_text(labels, range(800), Sex=sex, View=other))
    result = evaluate(predictions(scores), truth, by=["sex", "view"], n_draws=300)
    gaps = [
        next(group.pathologies[0].auroc_gap for group in subgroups.groups if group.name != subgroups.reference)
        for subgroups in result.subgroups
    ]
    assert min(abs(gaps[0].low), abs(gaps[0].high)) > 0.05 and gaps[0].low * gaps[0].high > 0
    assert gaps[1].low < 0 < gaps[1].high


def test_images_of_unknown_group_are_counted(table):
    sex = ["F", "M", "", "F", "M", "", "F", "M"] * 5
    labels = [1, 0, 1, 0, 1, 0, 1, 0] * 5
    result = evaluate(
        predictions(np.linspace(0, 1, 40)), table(labels_text(labels, range(40), Sex=sex)), by=["sex"], n_draws=100
    )
    assert result.subgroups[0].n_unknown == 10
    with pytest.raises(UsageError, match="0 different values"):
        nothing = table(labels_text(labels, range(40), Sex=[""] * 40), "nothing.csv")
        evaluate(predictions(np.linspace(0, 1, 40)), nothing, by=["sex"], n_draws=100)


def test_several_runs_are_averaged(examples):
    table, files = examples
    runs = [files[f"test-a-seed{seed}"] for seed in (1, 2)]
    both = evaluate(runs, table, by=["sex"], thresholds=0.2, n_draws=100).subgroups[0].groups[0]
    alone = [evaluate(run, table, by=["sex"], thresholds=0.2, n_draws=100).subgroups[0].groups[0] for run in runs]
    for place, row in enumerate(both.pathologies):
        assert row.auroc.value == pytest.approx(np.mean([group.pathologies[place].auroc.value for group in alone]))
        assert row.fnr.value == pytest.approx(np.mean([group.pathologies[place].fnr.value for group in alone]))
