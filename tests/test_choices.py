from __future__ import annotations

import pickle

import numpy as np
import pytest

import cxr_cli.choices as module
from cxr_cli.choices import Interpolation, RemovalLevel, checked, choices
from cxr_cli.data.labels import read_labels
from cxr_cli.errors import UsageError
from cxr_cli.services.build_model.options import ModelOptions
from cxr_cli.services.check_leakage.remove import rows_to_remove
from cxr_cli.services.images.resize import resize
from cxr_cli.services.metrics.losses import multi_label_loss
from cxr_cli.services.preprocess.options import Options, check
from cxr_cli.services.store.manifest import Preprocessing
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.weights.weights import scheme_weights
from tests.conftest import ROOT

GREY = np.zeros((2, 2), np.uint8)


def test_choices_are_text_each_once():
    kinds = [kind for kind in vars(module).values() if choices(kind)]
    assert Interpolation in kinds and RemovalLevel in kinds
    for kind in kinds:
        values = choices(kind)
        assert all(isinstance(value, str) for value in values) and len(set(values)) == len(values)


@pytest.mark.parametrize("value", choices(RemovalLevel))
def test_a_choice_passes(value):
    assert checked(RemovalLevel, value, "level") == value


@pytest.mark.parametrize("value", ["", "Area", "area ", None, 1, ["area"]])
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(UsageError, match="^interpolation=.*; expected one of area, nearest, bilinear, bicubic, lanc"):
        checked(Interpolation, value, "interpolation")


def test_a_library_user_may_catch_it_as_a_value_error():
    with pytest.raises(ValueError) as caught:
        checked(Interpolation, "cubic", "interpolation")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is UsageError and str(again) == str(caught.value)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("uncertain", lambda: read_labels(ROOT / "sample_data" / "train-small.csv", uncertain="maybe")),
        ("standardize", lambda: Recipe(standardize="zscore")),
        ("interpolation", lambda: Recipe(interpolation="cubic")),
        ("dtype", lambda: Recipe(dtype="float64")),
        ("format", lambda: Recipe(format="jpeg")),
        ("interpolation", lambda: resize(GREY, (1, 1), "cubic")),
        ("engine", lambda: check(Options(engine="torch"))),
        ("standardize", lambda: Preprocessing("zscore")),
        ("level", lambda: rows_to_remove({}, None, [], "all")),
        ("scheme", lambda: scheme_weights([1], [1], "inverse")),
        ("reduction", lambda: multi_label_loss([[1]], [[0.5]], reduction="max")),
        ("loss", lambda: ModelOptions(("Edema",), loss="mse")),
    ],
)
def test_the_library_checks_choices_where_they_enter(name, call):
    with pytest.raises(UsageError, match=f"^{name}='.*'; expected one of "):
        call()
