from __future__ import annotations

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.services.evaluate.checks import check_scores, has_step
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.evaluate.inputs import build, truth_of_table
from cxr_cli.services.metrics.calibration import logit, sigmoid
from tests.services.evaluate.conftest import labels_text, predictions


def probabilities(n=2000, seed=0):
    return sigmoid(np.random.default_rng(seed).normal(-2, 1.5, n))


def bent(values, operating_point):
    """Scale scores piecewise so that the operating point becomes 0.5."""
    below = values / (2 * operating_point)
    return np.where(values < operating_point, below, 1 - (1 - values) / (2 * (1 - operating_point)))


def ranked(values):
    return (np.argsort(np.argsort(values)) + 1) / len(values)


CASES = {
    "logits": lambda p: logit(p),
    "outside-probabilities": lambda p: 100 * p,
    "constant-predictions": lambda p: np.full(len(p), 0.3),
    "two-values": lambda p: (p > 0.2).astype(float),
    "rank-only": ranked,
    "sigmoid-twice": sigmoid,
    "step-at-half": lambda p: bent(p, 0.15),
}


def found(values, table):
    labels = np.random.default_rng(1).random(len(values)) < 0.2
    truth = truth_of_table(table(labels_text(labels.astype(float), range(len(values)))))
    return check_scores(build({"resnet": [predictions(values)]}, truth))


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_of_suspicious_predictions_is_named(kind, table):
    (issue,) = found(CASES[kind](probabilities()), table)
    assert issue.kind == kind
    assert "resnet" in issue.message and "(Mass)" in issue.message and issue.examples == ("Mass",)


def test_probabilities_are_not_suspicious(table):
    for seed in range(10):
        assert not found(probabilities(seed=seed), table)
        assert not found(np.round(probabilities(seed=seed), 3), table)


def test_an_untrained_model_is_not_a_sigmoid_applied_twice(table):
    random = np.random.default_rng(0)
    assert not found(random.uniform(0.5, 0.52, 200), table)
    scores = np.stack([random.uniform(0.5, 0.6, 200), random.uniform(0.45, 0.49, 200)], axis=1)
    truth = truth_of_table(table(labels_text((scores > 0.5).astype(float), range(200), ("Mass", "Edema"))))
    assert not check_scores(build({"m": [predictions(scores, pathologies=("Mass", "Edema"))]}, truth))


def test_few_images_are_not_judged(table):
    assert not found(np.linspace(0.1, 0.9, 20), table)
    assert [issue.kind for issue in found([0.3] * 20, table)] == ["constant-predictions"]


@pytest.mark.parametrize("operating_point", [0.05, 0.2, 0.35])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_is_found_wherever_the_operating_point_was(operating_point, seed):
    assert has_step(bent(probabilities(20_000, seed), operating_point))


@pytest.mark.parametrize("seed", range(20))
def test_smooth_densities_have_no_step(seed):
    random = np.random.default_rng(seed)
    assert not has_step(random.beta(*random.uniform(0.3, 4, 2), 20_000))
    assert not has_step(sigmoid(random.normal(random.uniform(-2, 2), random.uniform(0.3, 3), 5_000)))


def test_real_predictions_are_not_suspicious(real_data):
    folder = real_data / "predictions"
    assert not evaluate(read_predictions(folder / "course" / "valid_preds.csv"), n_draws=100).issues
    table = read_labels(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    for name in ("nih-five-models/seed45/preds.csv.gz", "reproduce-chexnet/preds.csv.gz"):
        data = build({"model": [read_predictions(folder / name)]}, truth_of_table(table))
        assert not check_scores(data), name
