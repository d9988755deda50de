from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.files import InputFile, OutputFile, describe_input
from cxr_cli.errors import InputError
from cxr_cli.services.model_card import (
    DataSource,
    LossChoice,
    ModelCard,
    PretrainedWeights,
    TrainedStage,
    Training,
    model_card_path,
    read_model_card,
)
from cxr_cli.services.result import plain, restore
from cxr_cli.services.store.manifest import Preprocessing

SOURCE = DataSource(InputFile("store/preprocess.json", 3, "ab"), (), 10, None, {"Mass": 2}, {"Mass": 9})
TRAINING = Training(
    train=SOURCE,
    valid=SOURCE,
    patients_checked=False,
    initialised_from=InputFile("start.keras", 5, "cd"),
    head_bias="prevalence",
    stages=(TrainedStage("features", 4, 3, 0.001, 1025, "patience"),),
    optimizer="Adam",
    batch_size=32,
    augment=("flip",),
    epochs=10,
    monitor="auroc",
    patience=3,
    seed=0,
    auroc=0.75,
    auprc=float("nan"),
    warnings=("patients unknown",),
)


def card_of(model) -> ModelCard:
    described = describe_input(model)
    return ModelCard(
        model=OutputFile(described.path, described.size, described.sha256),
        pathologies=("Mass",),
        image_size=(64, 32),
        preprocessing=Preprocessing("featurewise", 120.5, 60.25),
        pretrained=PretrainedWeights("random", None, None, None, 0, 0, "new", None, False, "nothing"),
        loss=LossChoice("weighted-bce", ClassWeights(("Mass",), (0.75,), (0.25,))),
        metrics=("auroc", "auprc"),
        freeze="base",
        learning_rate=0.001,
        mixed_precision=False,
        seed=0,
        parameters={"total": 7},
        labels=None,
        versions={"cxr": "0.1.0"},
        training=TRAINING,
        command="train",
    )


def test_card_is_read_as_it_was_written(model):
    card = read_model_card(model)
    assert replace(card, training=None) == replace(card_of(model), training=None)
    assert card.training.auprc != card.training.auprc  # NaN
    assert replace(card.training, auprc=0) == replace(TRAINING, auprc=0)
    assert read_model_card(model_card_path(model)).pathologies == card.pathologies


def test_document_begins_like_every_other(model):
    document = json.loads(model_card_path(model).read_text())
    assert list(document)[:4] == ["schema_version", "command", "cxr_version", "model"]
    assert document["command"] == "train"


def test_names_of_later_versions_are_ignored(model):
    path = model_card_path(model)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"new": 1}))
    assert read_model_card(model).image_size == (64, 32)


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema_version": 2}, "expected schema_version 1"),
        ({"pathologies": "Mass"}, "pathologies is str"),
        ({"pathologies": []}, "pathologies"),
        ({"pathologies": ["Mass", "Mass"]}, "pathologies"),
        ({"image_size": [64]}, "image_size is list"),
        ({"image_size": [0, 4]}, "image_size"),
        ({"image_size": [64, True]}, "image_size is bool"),
        ({"preprocessing": {"standardize": "z"}}, "standardize"),
        ({"preprocessing": {"standardize": "featurewise"}}, "needs mean and standard deviation"),
        ({"learning_rate": "fast"}, "learning_rate is str"),
        ({"loss": {"name": "weighted-bce"}}, "loss.class_weights is missing"),
        ({"pretrained": None}, "pretrained is NoneType"),
    ],
)
def test_damaged_cards_are_named(model, values, message):
    changed(model_card_path(model), **values)
    with pytest.raises(InputError, match=message):
        read_model_card(model)


def test_other_files_are_named(model, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_model_card(tmp_path / "missing.keras")
    (tmp_path / "lonely.keras").write_bytes(b"x")
    with pytest.raises(InputError, match="has no model card"):
        read_model_card(tmp_path / "lonely.keras")
    model_card_path(model).write_text("[1]")
    with pytest.raises(InputError, match="is not a model card"):
        read_model_card(model)


def test_card_of_another_model_is_refused(model):
    model.write_bytes(b"other weights")
    with pytest.raises(InputError, match="is not the model that model.keras.json describes"):
        read_model_card(model)


@dataclass(frozen=True)
class Inner:
    """For restore."""

    number: float
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    """For restore."""

    inner: Inner | None
    pairs: tuple[tuple[int, str], ...]
    table: dict[str, float]
    text: str | int


OUTERS = st.builds(
    Outer,
    st.none() | st.builds(Inner, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["a", "b"])),
    st.lists(st.tuples(st.integers(), st.text())).map(tuple),
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    st.text() | st.integers(),
)


@given(OUTERS)
def test_restore_undoes_plain(outer):
    assert restore(Outer, json.loads(json.dumps(plain(outer)))) == outer


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=9))
def test_restore_names_what_does_not_fit(value):
    with pytest.raises(ValueError):
        restore(Outer, {"inner": {"number": []}, "pairs": [], "table": {}, "text": value})
    with pytest.raises(ValueError):
        restore(Outer, value)
