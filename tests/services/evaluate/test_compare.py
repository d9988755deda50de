from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxr_cli.services.evaluate.estimates import p_value
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.metrics.delong import delong_test
from cxr_cli.services.metrics.holm import holm
from tests.services.evaluate.conftest import labels_text, predictions


@pytest.fixture(scope="module")
def compared(examples):
    table, files = examples
    others = {"B": [files["test-b"]], "again": [files["test-a-seed2"]]}
    return evaluate(files["test-a-seed1"], table, name="A", compare=others, n_draws=400)


def test_every_pair_is_compared_on_the_same_draws(compared):
    assert [(pair.first, pair.second) for pair in compared.comparisons] == [("A", "B"), ("A", "again"), ("B", "again")]
    first, second = compared.models[:2]
    for place, row in enumerate(compared.comparisons[0].pathologies):
        expected = first.pathologies[place].auroc.value - second.pathologies[place].auroc.value
        assert row.auroc.value == pytest.approx(expected)
        # Paired, so narrower than two independent intervals together.
        assert row.auroc.low < row.auroc.value < row.auroc.high
    ab, a_again, b_again = (pair.mean.auroc.value for pair in compared.comparisons)
    assert ab + b_again == pytest.approx(a_again)
    assert compared.comparisons[0].mean.auroc.value == pytest.approx(first.mean.auroc.value - second.mean.auroc.value)


def test_holm_corrects_over_all_pathologies_and_pairs(compared):
    rows = [row for pair in compared.comparisons for row in pair.pathologies]
    assert len(rows) == 15
    np.testing.assert_allclose([row.p_holm for row in rows], holm([row.p_value for row in rows]))
    np.testing.assert_allclose([row.p_delong_holm for row in rows], holm([row.p_delong for row in rows]))
    for pair in compared.comparisons:
        assert pair.n_significant == sum(row.p_value < 0.05 for row in pair.pathologies)
        assert pair.n_significant_holm == sum(row.p_holm < 0.05 for row in pair.pathologies) <= pair.n_significant


def test_delong_is_that_of_the_scores(examples, compared):
    table, files = examples
    row = compared.comparisons[0].pathologies[1]
    scores = [files[name].in_order(table).probabilities[:, 1] for name in ("test-a-seed1", "test-b")]
    assert row.p_delong == pytest.approx(delong_test(table.labels[:, 1], *scores).p_value)


def test_verdicts_in_words(compared):
    pair = compared.comparisons[0]
    for row in (*pair.pathologies, pair.mean):
        shown = (row.p_value if row.pathology == "mean" else row.p_holm) < 0.05
        if shown:
            assert row.verdict == ("A above B" if row.auroc.value > 0 else "B above A")
        else:
            reach = (row.auroc.high - row.auroc.low) / 2
            assert row.verdict.startswith("no difference shown: ")
            assert f"a difference below {reach:.2g} cannot be shown" in row.verdict
            assert f"with {row.n_positive} positives" in row.verdict or row.pathology == "mean"
    assert pair.mean.verdict == "A above B"


def test_a_model_against_itself(examples):
    table, files = examples
    result = evaluate(files["test-b"], table, compare={"same": [files["test-b"]]}, n_draws=100)
    for row in result.comparisons[0].pathologies:
        assert (row.auroc.value, row.auroc.low, row.auroc.high) == (0, 0, 0)
        assert row.p_value == row.p_delong == 1 and row.verdict.startswith("no difference shown")


def test_the_order_of_models_changes_the_sign_only(examples, compared):
    table, files = examples
    turned = evaluate(files["test-b"], table, name="B", compare={"A": [files["test-a-seed1"]]}, n_draws=400)
    one, other = compared.comparisons[0].mean, turned.comparisons[0].mean
    assert one.auroc.value == pytest.approx(-other.auroc.value)
    assert (one.auroc.low, one.auroc.high) == pytest.approx((-other.auroc.high, -other.auroc.low))
    assert one.p_value == other.p_value and one.verdict == other.verdict == "A above B"


def test_several_runs_are_compared_by_their_means(examples):
    table, files = examples
    runs = [files[f"test-a-seed{seed}"] for seed in (1, 2, 3)]
    result = evaluate(runs, table, compare={"B": [files["test-b"]]}, n_draws=100)
    for row, first, second in zip(
        result.comparisons[0].pathologies, result.models[0].pathologies, result.models[1].pathologies, strict=True
    ):
        assert row.auroc.value == pytest.approx(np.mean(first.auroc_runs) - second.auroc.value)


def test_p_values_from_draws():
    assert p_value(np.array([1.0] * 99)) == pytest.approx(2 / 100)
    assert p_value(np.array([-1.0] * 10 + [1.0] * 89)) == pytest.approx(22 / 100)
    # None of the draws is on the other side of 0: four standard deviations away.
    draws = np.random.default_rng(0).normal(4, 1, 500)
    assert p_value(draws) == pytest.approx(6.3e-5, rel=0.6)
    assert p_value(-draws) == p_value(draws)
    assert p_value(np.array([-1.0, 1.0, np.nan])) == 1
    assert np.isnan(p_value(np.array([np.nan])))


def test_p_values_hold_their_level_where_models_are_equal(table):
    random = np.random.default_rng(0)
    labels = np.repeat([1.0, 0.0], [50, 150])
    truth = table(labels_text(labels, range(200)))
    p_values = []
    for _ in range(60):
        signal = random.normal(size=200) + labels
        first, second = (predictions(signal + random.normal(size=200)) for _ in range(2))
        result = evaluate(first, truth, compare={"other": [replace(second)]}, n_draws=100)
        p_values.append(result.comparisons[0].pathologies[0].p_value)
    assert (np.array(p_values) < 0.05).mean() < 0.15
    assert 0.3 < np.mean(p_values) < 0.7
