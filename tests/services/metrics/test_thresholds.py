from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from cxr_cli.services.metrics.thresholds import (
    Confusion,
    at_sensitivity,
    at_specificity,
    best_f1,
    confusion,
    confusion_cells,
    predictive_values,
    rates,
    youden,
)


@st.composite
def ranked(draw):
    n = draw(st.integers(2, 25))
    labels = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n).filter(lambda x: 0 < sum(x) < len(x)))
    return np.array(labels), np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))) / 8


def at(labels, scores, threshold):
    return rates(confusion(labels[:, None], scores[:, None], threshold))


def test_a_case_by_hand():
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], float)
    scores = np.array([0.9, 0.6, 0.2, 0.7, 0.5, 0.4, 0.3, 0.1, 0.1, 0.0])
    # At 0.6: two of three positives and one of seven negatives: 2/3 - 1/7. F1 2·2/(2·2 + 1 + 1) = 2/3.
    assert youden(labels, scores) == 0.6
    assert best_f1(labels, scores) == 0.6
    assert at_sensitivity(labels, scores, 0.9) == 0.2
    # 0.7 would let one of seven negatives through, which is more than a tenth.
    assert at_specificity(labels, scores, 0.9) == 0.9
    assert at_specificity(labels, scores, 0.85) == 0.6


@given(ranked())
def test_rules_find_the_best_of_all_thresholds(case):
    labels, scores = case
    candidates = np.unique(scores)
    all_rates = [at(labels, scores, cut) for cut in candidates]
    sensitivity = np.array([item.sensitivity[0] for item in all_rates])
    specificity = np.array([item.specificity[0] for item in all_rates])
    f1 = np.array([item.f1[0] for item in all_rates])
    index = sensitivity + specificity
    assert index[candidates == youden(labels, scores)] == pytest.approx(index.max())
    assert f1[candidates == best_f1(labels, scores)] == pytest.approx(f1.max())
    for wanted in (0.5, 0.9, 1.0):
        cut = at_sensitivity(labels, scores, wanted)
        assert cut == candidates[sensitivity >= wanted - 1e-12].max()
        cut = at_specificity(labels, scores, wanted)
        enough = candidates[specificity >= wanted - 1e-12]
        assert at(labels, scores, cut).specificity[0] >= wanted - 1e-12
        assert cut == enough.min() if len(enough) else cut > scores.max()


@given(ranked(), st.integers(0, 8))
def test_counts_and_rates_as_scikit_learn_gives_them(case, eighths):
    labels, scores = case
    counts = confusion(labels[:, None], scores[:, None], eighths / 8)
    predicted = scores >= eighths / 8
    tn, fp, fn, tp = confusion_matrix(labels, predicted, labels=[0, 1]).ravel()
    assert [item[0] for item in vars(counts).values()] == [tp, fp, tn, fn]
    found = rates(counts)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, average="binary", zero_division=np.nan
    )
    np.testing.assert_allclose([found.sensitivity[0], found.ppv[0]], [recall, precision])
    assert found.f1[0] == pytest.approx(f1)


def test_unknown_labels_and_missing_thresholds():
    labels, scores = np.array([[1, 1], [np.nan, 0], [0, 0]]), np.full((3, 2), 0.5)
    counts = confusion(labels, scores, [0.5, np.nan])
    assert counts.true_positive[0] == 1 and counts.false_positive[0] == 1
    assert np.isnan(counts.true_positive[1])
    assert not confusion_cells(labels, scores, 0.5)[:, 1, 0].any()


@pytest.mark.parametrize("rule", [youden, best_f1, at_sensitivity, at_specificity])
@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [np.nan, 1]])
def test_no_threshold_without_both_classes(rule, labels):
    assert np.isnan(rule(labels, [0.1, 0.9]))


def test_nothing_to_divide_by_is_nan():
    found = rates(Confusion(*(np.array(count, float) for count in (0, 0, 5, 0))))
    assert np.isnan([found.sensitivity, found.ppv, found.f1]).all()
    assert (found.specificity, found.npv) == (1, 1)


@given(st.floats(0.01, 0.99))
def test_predictive_values_at_the_prevalence_at_hand_are_those_counted(fraction):
    found = rates(Confusion(*(np.array(count) for count in (30.0, 20.0, 160.0, 10.0))))
    ppv, npv = predictive_values(found.sensitivity, found.specificity, 40 / 220)
    assert (ppv, npv) == (pytest.approx(found.ppv), pytest.approx(found.npv))
    lower = predictive_values(found.sensitivity, found.specificity, fraction / 2)
    higher = predictive_values(found.sensitivity, found.specificity, fraction)
    assert lower[0] < higher[0] and lower[1] > higher[1]
