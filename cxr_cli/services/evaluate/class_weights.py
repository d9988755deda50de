"""Class weights that were in the loss of the model evaluated: from a file, or from its model card."""

from __future__ import annotations

from pathlib import Path

from cxr_cli.data.class_weights import ClassWeights, read_class_weights
from cxr_cli.data.documents import read_json
from cxr_cli.data.files import RESULT
from cxr_cli.data.predictions import Predictions
from cxr_cli.errors import CxrError, InputError
from cxr_cli.services.model_card import ModelCard, read_model_card


def read_weights(path: Path) -> ClassWeights:
    """Read class weights from a file of ``cxr weights``, or from a model or model card.

    Parameters
    ----------
    path
        ``weights.json``, ``weights.csv``, ``model.keras`` or ``model.keras.json``.

    Raises
    ------
    InputError
        The file holds none, or is neither.
    """
    if path.suffix == ".keras" or (path.suffix == ".json" and "pathologies" in _keys(path)):
        weights = read_model_card(path).loss.class_weights
        if weights is None:
            raise InputError(
                f"{path}: no class weights were in the loss of this model",
                expected="a model trained with class weights, or a file of class weights",
                remedy="Leave the correction out: there is nothing to undo.",
            )
        return ClassWeights(weights.pathologies, weights.positive, weights.negative, weights.scheme, str(path))
    return read_class_weights(path)


def _keys(path: Path) -> set[str]:
    document = read_json(path)
    return set(document) if isinstance(document, dict) else set()


def card_of(predictions: Predictions) -> ModelCard | None:
    """Return the card of the model that ``cxr predict`` made predictions with, found by the document beside them.

    None if there is none, if it is about other predictions, or if the model or its card is not where it was.
    """
    if predictions.source is None:
        return None
    path = Path(predictions.source.path)
    for document_path in (path.with_name(f"{path.name}.{RESULT}"), path.with_name(RESULT)):
        try:
            document = read_json(document_path)
            result = document["result"]
            if document["command"] == "predict" and result["predictions"]["sha256"] == predictions.source.sha256:
                return None if result["corrected"] else read_model_card(Path(result["model"]["path"]))
        except (CxrError, LookupError, TypeError):
            continue
    return None
