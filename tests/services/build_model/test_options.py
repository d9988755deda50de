import re
from types import SimpleNamespace

import pytest

from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.build_model.options import ModelOptions, choose_loss, choose_pathologies
from cxr_cli.services.result import restore
from cxr_cli.services.store.manifest import StoreManifest
from tests.stores import manifest_document

WEIGHTS = ClassWeights(("Mass", "Hernia"), (0.9, 0.99), (0.1, 0.01), "frequency")


def test_default_loss_follows_class_weights():
    assert choose_loss(ModelOptions(("Mass",))).name == "categorical-crossentropy"
    choice = choose_loss(ModelOptions(("Hernia", "Mass"), class_weights=WEIGHTS))
    assert choice.name == "weighted-bce"
    assert choice.class_weights == ClassWeights(("Hernia", "Mass"), (0.99, 0.9), (0.01, 0.1), "frequency")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pathologies": ()}, "no pathologies"),
        ({"pathologies": ("Mass", " ")}, "without a name"),
        ({"pathologies": ("Mass", "Hernia", "Mass")}, "Mass is given twice"),
        ({"image_size": (320, 31)}, "image_size=(320, 31); expected at least 32 pixels"),
        ({"learning_rate": 0}, "learning_rate=0; expected"),
        ({"freeze": "head"}, "freeze='head'; expected"),
        ({"loss": "mse"}, "loss='mse'; expected one of"),
        ({"loss": "weighted-bce"}, "loss='weighted-bce' needs class weights"),
        (
            {"loss": "binary-crossentropy", "class_weights": WEIGHTS},
            "class_weights has no effect with loss='binary",
        ),
        ({"keep_head": True}, "keep_head=True has no effect with pretrained='none'"),
    ],
)
def test_mistakes_are_found_before_keras_is_loaded(options, text):
    with pytest.raises(UsageError, match=re.escape(text)):
        ModelOptions(**({"pathologies": ("Mass", "Hernia")} | options))


def test_class_weights_of_other_pathologies_are_refused():
    for pathologies in (("Mass",), ("Mass", "Hernia", "Edema"), ("Mass", "hernia")):
        with pytest.raises(InputError, match="class weights for"):
            ModelOptions(pathologies, class_weights=WEIGHTS)


def test_pathologies_come_from_the_first_that_names_them():
    table = SimpleNamespace(pathologies=("Mass", "Edema"))
    manifest = restore(StoreManifest, manifest_document(pathologies=["Mass", "Edema"]))
    assert choose_pathologies(("Edema",), table) == ("Edema",)
    assert choose_pathologies(None, table, manifest, WEIGHTS) == ("Mass", "Edema")
    assert choose_pathologies(None, None, manifest, WEIGHTS) == ("Mass", "Edema")
    assert choose_pathologies(None, None, restore(StoreManifest, manifest_document(pathologies=[])), WEIGHTS) == (
        "Mass",
        "Hernia",
    )
    assert choose_pathologies(None, None, None, WEIGHTS) == ("Mass", "Hernia")
    with pytest.raises(UsageError, match="Give a label table"):
        choose_pathologies(None)


def test_labels_in_another_order_than_the_store_are_refused():
    manifest = restore(StoreManifest, manifest_document(pathologies=["Mass", "Edema"]))
    with pytest.raises(UsageError, match="not those of the preprocessed images"):
        choose_pathologies(("Edema", "Mass"), None, manifest)
