from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.metrics.ranking import auroc, average_precision
from cxr_cli.services.model_card import LossChoice, read_model_card
from cxr_cli.services.train.data import (
    best_constant,
    check_labels,
    logits,
    mean_loss,
    open_training_data,
)

PLAIN = LossChoice("binary-crossentropy", None)
NAN = float("nan")


def weighted(positive, negative):
    names = tuple(f"P{i}" for i in range(len(positive)))
    return LossChoice("weighted-bce", ClassWeights(names, tuple(positive), tuple(negative)))


def test_best_constant_by_hand():
    labels = np.array([[1, 0], [0, 0], [0, NAN], [0, 0]], np.float32)
    np.testing.assert_allclose(best_constant(labels, PLAIN), [1 / 4, 0.5 / 3.5])
    # w+ p / (w+ p + w- (1 - p)) with p = 1/4, w+ = 0.9, w- = 0.1
    np.testing.assert_allclose(best_constant(labels, weighted([0.9, 1], [0.1, 1]))[0], 0.225 / (0.225 + 0.075))
    np.testing.assert_allclose(logits(np.array([0.5, 0.75])), [0, np.log(3)])


LABELS = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.sampled_from([0, 1, NAN]))


@given(LABELS, st.lists(st.floats(0.1, 10), min_size=8, max_size=8), st.floats(-0.3, 0.3))
def test_no_other_constant_has_a_lower_loss(labels, weights, step):
    n = labels.shape[1]
    loss = weighted(weights[:n], weights[4 : 4 + n])
    best = best_constant(labels, loss)
    has_both = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
    other = np.where(has_both, np.clip(best + step, 0.01, 0.99), best)
    losses = [mean_loss(labels, np.broadcast_to(p, labels.shape), loss) for p in (best, other)]
    assert losses[0] <= losses[1] + 1e-12


def test_mean_loss_by_hand():
    labels = np.array([[1, NAN], [0, 1]], np.float32)
    chances = np.array([[0.8, 0.1], [0.4, 0.5]])
    expected = -(np.log(0.8) / 2 + np.log(0.6) / 2 + np.log(0.5) / 2) / 2
    assert mean_loss(labels, chances, PLAIN) == pytest.approx(expected)
    exclusive = np.array([[1, 0], [0, 1]], np.float32)
    expected = -(np.log(0.8 / 0.9) + np.log(0.5 / 0.9)) / 2
    assert mean_loss(exclusive, chances, LossChoice("categorical-crossentropy", None)) == pytest.approx(expected)


@given(LABELS, st.integers(0, 2**31))
def test_doubling_every_image_changes_no_metric(labels, seed):
    chances = np.random.default_rng(seed).uniform(0.01, 0.99, labels.shape).round(2)
    twice, chances_twice = np.vstack([labels, labels]), np.vstack([chances, chances])
    for metric in (auroc, average_precision):
        np.testing.assert_allclose(metric(twice, chances_twice), metric(labels, chances), rtol=1e-12)
    assert mean_loss(twice, chances_twice, PLAIN) == pytest.approx(mean_loss(labels, chances, PLAIN))
    np.testing.assert_allclose(
        best_constant(twice, PLAIN)[(labels == 1).any(axis=0) & (labels == 0).any(axis=0)],
        best_constant(labels, PLAIN)[(labels == 1).any(axis=0) & (labels == 0).any(axis=0)],
    )


@pytest.fixture(scope="module")
def card(drawn):
    return read_model_card(drawn / "model.keras")


@pytest.fixture(scope="module")
def data(drawn, card):
    return {name: open_training_data(drawn / "stores" / name, card) for name in ("train", "valid")}


@pytest.mark.slow
def test_labels_are_matched_by_name(data, card):
    train = data["train"]
    assert list(train.store.pathologies) != list(card.pathologies)
    np.testing.assert_array_equal(train.labels[:, 0], train.store.index["Edema"])
    assert train.source.n_positive["Edema"] == int(train.store.index["Edema"].sum())
    assert train.source.n_patients == len(set(train.patients))
    assert train.source.tables[0].path.endswith("train.csv")
    assert train.key != data["valid"].key


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image_size": (64, 32)}, UsageError, "32 × 32 pixels, the model takes 64 × 32"),
        ({"pathologies": ("Edema", "Cough")}, InputError, "no labels for Cough"),
    ],
)
def test_stores_that_do_not_suit_are_refused(drawn, card, change, error, message):
    with pytest.raises(error, match=message):
        open_training_data(drawn / "stores" / "train", replace(card, **change))


@pytest.mark.slow
def test_other_standardization_is_refused(drawn, card):
    other = replace(card.preprocessing, standardize="imagenet")
    with pytest.raises(UsageError, match="standardized samplewise, the model takes imagenet"):
        open_training_data(drawn / "stores" / "train", replace(card, preprocessing=other))
    other = replace(card.preprocessing, standardize="featurewise", mean=1.0, std=2.0)
    with pytest.raises(UsageError, match="mean 1, standard deviation 2"):
        open_training_data(drawn / "stores" / "train", replace(card, preprocessing=other))


@pytest.mark.slow
def test_labels_of_which_nothing_can_be_learnt_are_refused(data, card):
    train = data["train"]
    with pytest.raises(UsageError, match="takes the pathologies as exclusive") as caught:
        check_labels(train, LossChoice("categorical-crossentropy", None), card)
    assert "--loss binary-crossentropy" in caught.value.in_terminal()
    assert "loss='binary-crossentropy'" in str(caught.value)
    exclusive = replace(train, labels=np.eye(3, dtype=np.float32))
    check_labels(exclusive, LossChoice("categorical-crossentropy", None), card)
    with pytest.raises(InputError, match="no pathology of the model has both"):
        check_labels(replace(train, labels=np.full((4, 3), NAN, np.float32)), PLAIN, card)


@pytest.mark.slow
def test_key_tells_stores_apart(drawn, card, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(drawn / "stores" / "train", copy)
    before = open_training_data(copy, card).key
    manifest = json.loads((copy / "preprocess.json").read_text())
    (copy / "preprocess.json").write_text(json.dumps(manifest | {"seed": 7}))
    assert open_training_data(copy, card).key != before
