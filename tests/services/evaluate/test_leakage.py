from __future__ import annotations

from dataclasses import replace

import numpy as np

from cxr_cli.services.evaluate.evaluate import evaluate
from tests.services.evaluate.conftest import labels_text, predictions

LABELS, SCORES = [1, 0, 1, 0, 0, 1], [0.9, 0.1, 0.4, 0.5, 0.2, 0.7]


def kinds(result):
    return {issue.kind: issue for issue in result.issues}


def test_test_patients_in_training_are_leakage(table):
    truth = table(labels_text(LABELS, [1, 1, 2, 2, 3, 3]))
    train = table(labels_text([1, 0, 1], [9, 3, 2], images=["x.png", "y.png", "i000.png"]), "train.csv")
    result = evaluate(predictions(SCORES), truth, train_labels=train, n_draws=100)
    assert result.leakage
    found = kinds(result)
    assert found["test-images-in-training"].examples == ("i000.png",)
    assert found["test-patients-in-training"].count == 2
    assert "4 test images" in found["test-patients-in-training"].message


def test_other_patients_are_not(table):
    truth = table(labels_text(LABELS, [1, 1, 2, 2, 3, 3]))
    train = table(labels_text([1, 0], [8, 9], images=["x.png", "y.png"]), "train.csv")
    result = evaluate(predictions(SCORES), truth, train_labels=train, n_draws=100)
    assert not result.leakage and not result.issues


def test_only_images_that_are_evaluated_count(table):
    truth = table(labels_text(LABELS, [1, 1, 2, 2, 3, 3]))
    train = table(labels_text([1, 0], [3, 9], images=["x.png", "y.png"]), "train.csv")
    some = predictions(SCORES[:4], images=[f"i{row:03d}.png" for row in range(4)])
    assert not evaluate(some, truth, train_labels=train, n_draws=100).leakage


def test_labels_in_the_predictions_file_are_compared_too(table):
    own = predictions(SCORES, patients=("1", "1", "2", "2", "3", "3"))
    own = replace(own, labels=own.probabilities.round())
    train = table("Image,PatientId,Mass\nx.png,3,1\ny.png,9,0\n", "train.csv")
    result = evaluate(own, train_labels=train, n_draws=100)
    assert result.leakage and kinds(result)["test-patients-in-training"].count == 1


def test_unknown_patients_cannot_be_compared(table):
    truth = table(labels_text(LABELS, [1, 1, 2, 2, 3, 3]))
    train = table(labels_text([1, 0], images=["x.png", "y.png"]), "train.csv")
    result = evaluate(predictions(SCORES), truth, train_labels=train, n_draws=100)
    assert not result.leakage and "training-patients-unchecked" in kinds(result)


def valid_of(images, patients):
    labels = [[1.0], [0.0]] * (len(images) // 2)
    given = predictions([0.8, 0.3] * (len(images) // 2), images=images, patients=tuple(patients))
    return replace(given, labels=np.array(labels))


def test_validation_patients_in_the_test_set_are_leakage(table):
    truth = table(labels_text(LABELS, [1, 1, 2, 2, 3, 3]))
    valid = valid_of(["v0.png", "v1.png"], ["p3", "p9"])
    result = evaluate(predictions(SCORES), truth, valid=valid, n_draws=100)
    assert result.leakage
    assert kinds(result)["validation-patients-in-test"].examples == ("p3",)
    clean = evaluate(predictions(SCORES), truth, valid=valid_of(["v0.png", "v1.png"], ["p8", "p9"]), n_draws=100)
    assert not clean.leakage


def test_validation_images_in_the_test_set_are_leakage(table):
    truth = table(labels_text(LABELS, [1, 1, 2, 2, 3, 3]))
    valid = valid_of(["v0.png", "i003.png"], ["", ""])
    result = evaluate(predictions(SCORES), truth, valid=valid, n_draws=100)
    assert result.leakage and kinds(result)["validation-images-in-test"].examples == ("i003.png",)
