from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cxr_cli.data.files import Outputs, describe_input
from cxr_cli.data.predictions import read_predictions
from cxr_cli.errors import InputError, in_terminal
from cxr_cli.services.evaluate.class_weights import card_of, read_weights
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.model_card import LossChoice
from tests.services.evaluate.conftest import labels_text, predictions
from tests.services.test_model_card import card_of as make_card


def test_weights_are_read_from_a_model_its_card_and_files_of_weights(model, tmp_path):
    for path in (model, tmp_path / "model.keras.json"):
        found = read_weights(path)
        assert (found.pathologies, found.positive, found.negative) == (("Mass",), (0.75,), (0.25,))
    (tmp_path / "w.csv").write_text("pathology,positive_weight,negative_weight\nMass,0.9,0.1\n")
    assert read_weights(tmp_path / "w.csv").positive == (0.9,)
    weights = {"pathologies": ["Mass"], "positive": [0.9], "negative": [0.1]}
    (tmp_path / "w.json").write_text(json.dumps({"command": "weights", "result": {"class_weights": weights}}))
    assert read_weights(tmp_path / "w.json").negative == (0.1,)


def test_a_model_without_weights_in_its_loss(model, tmp_path):
    plain_loss = LossChoice("binary-crossentropy", None)
    replace(make_card(model), loss=plain_loss).write(Outputs(tmp_path), model)
    with pytest.raises(InputError, match="no class weights were in the loss"):
        read_weights(model)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="class weights"):
        read_weights(tmp_path / "other.json")


def predicted(tmp_path, model, *, corrected=False, name="result.json", **changes):
    """Write predictions and the document of ``cxr predict`` beside them."""
    given = predictions(np.linspace(0.05, 0.95, 40))
    path = given.write(Outputs(tmp_path), "predictions.csv")
    result = {"model": {"path": str(model)}, "predictions": {"sha256": describe_input(path).sha256}}
    document = {"command": "predict", "result": {**result, "corrected": corrected, **changes}}
    (tmp_path / name).write_text(json.dumps(document))
    return read_predictions(path)


@pytest.mark.parametrize("name", ["result.json", "predictions.csv.result.json"])
def test_weights_in_the_loss_are_told_of_where_predict_left_its_document(model, tmp_path, table, name):
    given = predicted(tmp_path, model, name=name)
    truth = table(labels_text(np.arange(40) % 3 == 0, range(40)))
    (issue,) = evaluate(given, truth, n_draws=100).issues
    assert issue.kind == "class-weights-in-loss" and f"--undo-class-weights {model}" in in_terminal(issue.message)
    assert "undo_class_weights shows" in issue.message
    result = evaluate(given, truth, undo_class_weights=read_weights(model), n_draws=100)
    assert not result.issues and result.models[0].pathologies[0].calibration_corrected is not None


def test_other_documents_say_nothing(model, tmp_path):
    assert card_of(predicted(tmp_path, model, corrected=True)) is None
    assert card_of(predicted(tmp_path, tmp_path / "missing.keras")) is None
    assert card_of(predicted(tmp_path, model, predictions={"sha256": "of another file"})) is None
    found = predicted(tmp_path, model)
    assert card_of(found).loss.class_weights is not None
    for text in ("{", "[]", '{"command": "predict"}', '{"command": "predict", "result": []}'):
        (tmp_path / "result.json").write_text(text)
        assert card_of(found) is None
    assert card_of(replace(found, source=None)) is None
