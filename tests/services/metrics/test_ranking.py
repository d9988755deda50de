from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import precision_recall_curve as sklearn_pr
from sklearn.metrics import roc_curve as sklearn_roc

from cxr_cli.services.metrics.ranking import auroc, average_precision, precision_recall_curve, roc_curve


@st.composite
def ranked(draw, *, weights=False):
    """Labels with both classes, scores with many ties, and weights."""
    n = draw(st.integers(2, 30))
    labels = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n).filter(lambda x: 0 < sum(x) < len(x)))
    scores = draw(st.lists(st.integers(-4, 4).map(lambda x: x / 4), min_size=n, max_size=n))
    mass = draw(st.lists(st.floats(0.125, 8), min_size=n, max_size=n)) if weights else [1.0] * n
    return np.array(labels), np.array(scores), np.array(mass)


def test_a_case_by_hand():
    # Pairs (positive, negative): 0.9 beats both; 0.4 ties with 0.4 and beats 0.1: (1 + 1 + 0.5 + 1) / 4.
    labels, scores = [1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1]
    assert auroc(labels, scores) == 3.5 / 4
    # Recall 1/2 at precision 1, then recall 1 at precision 2/3.
    assert average_precision(labels, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@given(ranked(weights=True))
def test_as_scikit_learn_says(case):
    labels, scores, weights = case
    assert auroc(labels, scores, weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(labels, scores, weights) == pytest.approx(expected)


@given(ranked())
def test_curves_as_scikit_learn_draws_them(case):
    labels, scores, _ = case
    fpr, tpr, thresholds = sklearn_roc(labels, scores, drop_intermediate=False)
    curve = roc_curve(labels, scores)
    np.testing.assert_allclose(curve.false_positive_rate, fpr)
    np.testing.assert_allclose(curve.true_positive_rate, tpr)
    np.testing.assert_allclose(curve.thresholds, thresholds)
    precision, recall, cuts = sklearn_pr(labels, scores)
    found = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(found.precision[::-1], precision[:-1])
    np.testing.assert_allclose(found.recall[::-1], recall[:-1])
    np.testing.assert_allclose(found.thresholds[::-1], cuts)


@given(ranked(), st.randoms())
def test_laws(case, random):
    labels, scores, _ = case
    area = auroc(labels, scores)
    assert auroc(1 - labels, scores) == pytest.approx(1 - area)
    assert auroc(labels, -scores) == pytest.approx(1 - area)
    assert auroc(labels, np.exp(scores)) == area
    assert average_precision(labels, 3 * scores - 7) == average_precision(labels, scores)
    order = list(range(len(labels)))
    random.shuffle(order)
    assert auroc(labels[order], scores[order]) == area
    # Doubling every image changes nothing; a weight of 2 is the image twice.
    assert auroc(np.tile(labels, 2), np.tile(scores, 2)) == pytest.approx(area)
    twice = np.where(np.arange(len(labels)) == 0, 2.0, 1.0)
    again = np.append(labels, labels[0]), np.append(scores, scores[0])
    assert auroc(labels, scores, twice) == pytest.approx(auroc(*again))
    assert average_precision(labels, scores, twice) == pytest.approx(average_precision(*again))


def test_unknown_labels_are_left_out_with_their_scores():
    labels, scores = [[1, np.nan], [0, 1], [np.nan, 0], [0, 1]], [[0.9, np.nan], [0.1, 0.2], [np.nan, 0.3], [0.5, 0.4]]
    assert auroc(labels, scores).tolist() == [1.0, 0.5]
    assert average_precision(labels, scores)[1] == pytest.approx(average_precision([1, 0, 1], [0.2, 0.3, 0.4]))


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [np.nan, np.nan], [1, np.nan], []])
def test_undefined_is_nan_and_never_zero(labels):
    scores = np.linspace(0, 1, len(labels))
    assert np.isnan(auroc(labels, scores))
    assert np.isnan(average_precision(labels, scores))


def test_infinite_scores_rank():
    assert auroc([1, 0, 0], [np.inf, 1.0, -np.inf]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 0], [0.5]), "shape"),
        (([2, 0], [0.5, 0.1]), "labels must be"),
        (([1, 0], [np.nan, 0.1]), "scores must not be NaN"),
        (([1, 0], [0.5, 0.1], [1.0]), "weights of shape"),
        (([1, 0], [0.5, 0.1], [1.0, -1.0]), "not negative"),
        (([[[1]]], [[[0.5]]]), "dimensions"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        auroc(*arguments)


def test_a_curve_is_of_one_pathology():
    with pytest.raises(ValueError, match="expected one"):
        roc_curve([[1], [0]], [[0.1], [0.2]])
