"""What two stores share, as `check_leakage` finds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cxr_cli.services.model_card import read_model_card
from cxr_cli.services.train.data import open_training_data
from cxr_cli.services.train.leakage import overlap

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(drawn):
    card = read_model_card(drawn / "model.keras")
    return {name: open_training_data(drawn / "stores" / name, card) for name in ("train", "valid")}


def numbered(data, schema, namespace):
    """Return the same store, made from a table of another data set."""
    manifest = replace(data.store.manifest, table_schema=schema, patient_namespace=namespace)
    return replace(data, store=replace(data.store, manifest=manifest))


def renamed(data):
    """Return the same store with other image names, which show no data set."""
    names = [f"image {place}" for place in range(len(data.labels))]
    return replace(data, store=replace(data.store, index=data.store.index.assign(image=names)))


def test_patients_and_images_of_a_split_are_apart(data):
    found = overlap(data["train"], data["valid"])
    assert (found.patients, found.images, found.known, found.unchecked) == ((), (), True, None)


def test_everything_is_shared_with_itself(data):
    train = data["train"]
    found = overlap(train, train)
    assert list(found.patients) == list(dict.fromkeys(train.patients))
    assert list(found.images) == train.store.index["image"].tolist()


def test_one_shared_patient_is_named(data):
    train, valid = data["train"], data["valid"]
    some = replace(valid, patients=(train.patients[-1], *valid.patients[1:]))
    assert overlap(train, some).patients == (train.patients[-1],)


def test_unknown_patients_are_a_warning(data):
    train, valid = data["train"], renamed(data["valid"])
    found = overlap(train, replace(valid, patients=("",) * len(valid.patients)))
    assert not found.known and found.patients == ()
    n = len(valid.patients)
    assert found.unchecked.startswith(f"patients are unknown ({n} of {n} images in valid)")


def test_equal_numbers_of_two_data_sets_are_two_patients(data):
    train = numbered(data["train"], "nih", "nih")
    other = numbered(renamed(data["train"]), "chexpert", "chexpert")
    found = overlap(train, other)
    assert found.patients == () and found.images == () and not found.known
    assert "could not be compared: train has the numbers of NIH" in found.unchecked
    assert "--" not in found.unchecked


def test_own_tables_are_taken_as_splits_of_one_set(data):
    train = numbered(renamed(data["train"]), "own", None)
    assert overlap(train, train).known
    assert set(overlap(train, train).patients) == set(data["train"].patients)


def test_store_without_a_record_of_its_table_is_compared(data):
    train = numbered(data["train"], None, None)
    assert set(overlap(train, data["train"]).patients) == set(data["train"].patients)
