from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from cxr_cli.services.metrics import bootstrap
from cxr_cli.services.metrics.bootstrap import (
    BLOCK,
    CurveStatistics,
    RankStatistics,
    Sums,
    Tallies,
    clusters_of,
    draw_counts,
    percentile_interval,
    replicate,
)
from cxr_cli.services.metrics.ranking import auroc, average_precision, precision_recall_curve, roc_curve


@st.composite
def clustered(draw):
    """Labels (some unknown), scores with ties, clusters and counts of a few draws."""
    n, k = draw(st.integers(1, 25)), draw(st.integers(1, 3))
    cells = st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=n * k, max_size=n * k)
    labels = np.array(draw(cells)).reshape(n, k)
    scores = np.array(draw(st.lists(st.integers(0, 6), min_size=n * k, max_size=n * k)), float).reshape(n, k)
    clusters = np.array(draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    counts = np.array(draw(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4)))
    return labels, scores, clusters, counts


@given(clustered())
def test_a_draw_is_the_metric_with_weights(case):
    labels, scores, clusters, counts = case
    found = RankStatistics(labels, scores, clusters)(counts)
    for draw, count in enumerate(counts):
        weights = count[clusters].astype(float)
        np.testing.assert_allclose(found[draw, :, 0], auroc(labels, scores, weights), atol=1e-12)
        np.testing.assert_allclose(found[draw, :, 1], average_precision(labels, scores, weights), atol=1e-12)


def test_a_draw_is_what_scikit_learn_says_of_the_images_drawn():
    random = np.random.default_rng(1)
    clusters = clusters_of(random.integers(0, 60, 300))
    labels = (random.random((300, 2)) < [0.1, 0.4]).astype(float)
    scores = np.round(random.random((300, 2)) + 0.3 * labels, 2)
    counts = draw_counts(int(clusters.max()) + 1, 10, seed=3)
    found = RankStatistics(labels, scores, clusters)(counts)
    for draw, count in enumerate(counts):
        drawn = np.repeat(np.arange(300), count[clusters])
        for k in range(2):
            assert found[draw, k, 0] == pytest.approx(roc_auc_score(labels[drawn, k], scores[drawn, k]), abs=1e-12)
            expected = average_precision_score(labels[drawn, k], scores[drawn, k])
            assert found[draw, k, 1] == pytest.approx(expected, abs=1e-12)


def test_draws_without_both_classes_have_no_value():
    statistics = RankStatistics([[1], [0], [0]], [[0.9], [0.1], [0.2]], [0, 1, 2])
    found = statistics(np.array([[0, 2, 1], [3, 0, 0], [1, 1, 1]]))
    assert np.isnan(found[:2]).all()
    assert found[2].tolist() == [[1.0, 1.0]]
    interval = percentile_interval([np.nan, 0.5, 0.7, np.nan])
    assert (interval.n_draws, interval.n_undefined) == (2, 2)


def test_draws_take_as_many_patients_as_there_are():
    counts = draw_counts(7, BLOCK, seed=0)
    assert counts.shape == (BLOCK, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert not (counts == counts[0]).all()
    np.testing.assert_array_equal(counts, draw_counts(7, BLOCK, seed=0))
    assert not np.array_equal(counts, draw_counts(7, BLOCK, seed=1))
    assert not np.array_equal(counts, draw_counts(7, BLOCK, seed=0, start=BLOCK))


def test_the_same_bytes_for_any_number_of_workers_and_any_cut(monkeypatch):
    random = np.random.default_rng(0)
    clusters = clusters_of(random.integers(0, 80, 500))
    labels = (random.random((500, 4)) < 0.1).astype(float)
    scores = random.random((500, 4))
    statistics = [RankStatistics(labels, scores, clusters), Sums((scores - labels) ** 2, clusters)]
    n_clusters, done = int(clusters.max()) + 1, []
    one = replicate(statistics, n_clusters, 2 * BLOCK + 3, seed=5, progress=lambda *counts: done.append(counts))
    assert [array.shape for array in one] == [(2 * BLOCK + 3, 4, 2), (2 * BLOCK + 3, 4)]
    assert done == [(BLOCK, 2 * BLOCK + 3), (2 * BLOCK, 2 * BLOCK + 3), (2 * BLOCK + 3, 2 * BLOCK + 3)]
    monkeypatch.setattr(bootstrap, "_GATHERED", 1)
    for workers in (2, 5):
        for mine, theirs in zip(
            replicate(statistics, n_clusters, 2 * BLOCK + 3, seed=5, workers=workers), one, strict=True
        ):
            assert mine.tobytes() == theirs.tobytes()


def test_an_error_in_a_thread_is_raised():
    def fail(counts):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        replicate([fail], 3, 3 * BLOCK, workers=2)


def test_sums_are_those_of_the_images_drawn():
    random = np.random.default_rng(0)
    clusters = random.integers(0, 9, 50)
    values = random.random((50, 3)) * 100
    counts = draw_counts(9, 8, seed=0)
    found = Sums(values, clusters)(counts)
    np.testing.assert_allclose(found, counts[:, clusters] @ values, atol=1e-7)
    whole = Sums(np.rint(values), clusters)(counts)
    np.testing.assert_array_equal(whole, counts[:, clusters] @ np.rint(values))


@given(clustered())
def test_tallies_count_the_images_drawn(case):
    labels, scores, clusters, counts = case
    categories = np.where(np.isnan(labels), -1, scores.astype(int))
    found = Tallies(categories, clusters, 8)(counts)
    for draw, count in enumerate(counts):
        for k in range(categories.shape[1]):
            used = categories[:, k] >= 0
            expected = np.bincount(categories[used, k], weights=count[clusters[used]], minlength=8)
            np.testing.assert_array_equal(found[draw, k], expected)


def test_sums_over_a_subgroup_need_only_its_patients():
    counts = np.array([[2, 0, 1], [1, 1, 1]])
    statistics = Sums([[1.5], [2.0]], [2, 2])
    assert statistics.totals.shape == (1, 1)
    assert statistics(counts).tolist() == [[3.5], [3.5]]


def test_images_of_unknown_patients_are_patients_of_their_own():
    assert clusters_of([-1, -1, 3, 3, -1, 0]).tolist() == [0, 1, 2, 2, 3, 4]
    assert clusters_of([]).tolist() == []


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=20))
def test_cluster_numbers_do_not_depend_on_codes(codes):
    recoded = [code if code < 0 else 100 - code for code in codes]
    np.testing.assert_array_equal(clusters_of(codes), clusters_of(recoded))


def test_an_interval_of_patients_is_wider_than_one_of_images():
    random = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 10)
    ill = np.repeat(random.random(60) < 0.3, 10).astype(float)
    scores = np.repeat(random.normal(size=60), 10) + ill + 0.1 * random.normal(size=600)

    def width(clusters):
        statistics = RankStatistics(ill[:, None], scores[:, None], clusters)
        (draws,) = replicate([statistics], int(clusters.max()) + 1, 400)
        interval = percentile_interval(draws[:, 0, 0])
        return interval.high - interval.low

    assert width(clusters_of(patients)) > 2.5 * width(np.arange(600))


@pytest.mark.parametrize(
    "call",
    [
        lambda: RankStatistics([1, 0], [0.1, 0.2], [0, 1]),
        lambda: RankStatistics([[1], [0]], [[0.1], [0.2]], [0]),
        lambda: Sums([1.0], [0]),
        lambda: Sums([[np.inf]], [0]),
        lambda: Sums([[2.0**20]], [0]),
        lambda: Tallies([[3]], [0], 3),
        lambda: Tallies([0], [0], 3),
        lambda: percentile_interval([1, 2], 1.0),
    ],
)
def test_errors(call):
    with pytest.raises(ValueError):
        call()


def test_curves_of_draws_are_those_of_the_weights():
    random = np.random.default_rng(2)
    labels = (random.random((200, 2)) < [0.1, 0.4]).astype(float)
    scores = np.round(random.random((200, 2)) + 0.4 * labels, 3) + np.arange(200)[:, None] * 1e-6
    clusters, grid = random.integers(0, 50, 200), np.linspace(0, 1, 21)
    counts = draw_counts(50, 5, seed=0)
    found = CurveStatistics(labels, scores, clusters, grid)(counts)
    assert found.shape == (5, 2, 2, 21)
    for draw, count in enumerate(counts):
        for k in range(2):
            curve = roc_curve(labels[:, k], scores[:, k], count[clusters].astype(float))
            best = [curve.true_positive_rate[curve.false_positive_rate <= x + 1e-12].max() for x in grid]
            np.testing.assert_allclose(found[draw, k, 0], best, atol=1e-12)
            line = precision_recall_curve(labels[:, k], scores[:, k], count[clusters].astype(float))
            some = count[clusters][np.argsort(-scores[:, k])] > 0
            first = [line.precision[some][np.flatnonzero(line.recall[some] >= r - 1e-9)[0]] for r in grid[1:]]
            np.testing.assert_allclose(found[draw, k, 1, 1:], first, atol=1e-12)


def test_curves_with_ties_are_slanted_and_undefined_without_both_classes():
    statistics = CurveStatistics([[1], [0]], [[0.5], [0.5]], [0, 1], [0, 0.5, 1])
    found = statistics(np.array([[1, 1], [2, 0]]))
    np.testing.assert_allclose(found[0, 0, 0], [0, 0.5, 1])
    np.testing.assert_allclose(found[0, 0, 1], [0.5, 0.5, 0.5])
    assert np.isnan(found[1]).all()
