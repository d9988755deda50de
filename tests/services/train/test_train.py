"""Training itself, on images of 32 pixels."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.files import Outputs
from cxr_cli.data.predictions import read_predictions
from cxr_cli.errors import CxrError, MissingPackageError, UsageError
from cxr_cli.services.model_card import read_model_card
from cxr_cli.services.train.data import best_constant, logits, open_training_data
from cxr_cli.services.train.options import TrainOptions
from cxr_cli.services.train.sanity import against_chance, mean_of_known
from cxr_cli.services.train.train import Watch, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_network")]

FAST = TrainOptions(epochs=4, batch_size=8, n_draws=100, patience=9)


def run(drawn, folder, options=FAST, valid="valid", **more):
    return train(
        drawn / "model.keras", drawn / "stores" / "train", drawn / "stores" / valid, Outputs(folder), options, **more
    )


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return run(drawn, folder), folder


def test_files_and_card_hold_what_the_result_says(trained, drawn):
    result, folder = trained
    (once,) = result.runs
    assert {path.name for path in folder.iterdir()} == {
        "model.keras", "model.keras.json", "history.csv", "valid-predictions.csv", "learning-curves.png", "cache",
    }  # fmt: skip
    card = read_model_card(folder / "model.keras")
    assert card.command == "train" and card.training.initialised_from == result.model
    assert card.training.stages == once.stages and card.training.train == result.train
    assert card.training.head_bias == "prevalence" and card.training.patients_checked
    lines = (folder / "history.csv").read_text().splitlines()
    assert len(lines) == 1 + 5  # epoch 0 and four epochs
    assert lines[1].startswith("features,0,,")
    predictions = read_predictions(folder / "valid-predictions.csv")
    data = open_training_data(drawn / "stores" / "valid", card)
    from cxr_cli.services.metrics.ranking import auroc

    again = mean_of_known(auroc(data.labels, predictions.probabilities)[None])[0]
    assert again == pytest.approx(once.auroc, abs=1e-12)
    assert once.auroc == max(epoch.valid_auroc for epoch in once.epochs)
    assert [stage.name for stage in once.stages] == ["features"]
    assert once.stages[0].trainable_parameters == 1024 * 3 + 3


def test_initial_loss_is_near_that_of_the_constant_prediction(trained):
    sanity = trained[0].runs[0].sanity
    assert sanity.initial_loss == pytest.approx(sanity.constant_loss, rel=0.05)


def test_second_run_uses_the_cache_and_gives_the_same_bytes(trained, drawn):
    result, folder = trained
    names = ("model.keras", "model.keras.json", "history.csv", "valid-predictions.csv")
    before = {name: (folder / name).read_bytes() for name in names}
    again = run(drawn, folder)
    assert [cache.reused for cache in again.caches] == [True, True]
    assert {name: (folder / name).read_bytes() for name in names} == before
    assert again.to_dict()["runs"] == result.to_dict()["runs"]


def test_head_on_cached_features_is_trained_as_end_to_end_with_a_frozen_base(trained, drawn):
    import keras

    from cxr_cli.models.classifier import open_classifier
    from cxr_cli.models.densenet import freeze
    from cxr_cli.models.training import StoredBatches, keras_loss, set_head_bias

    model, card = open_classifier(drawn / "model.keras")
    data = open_training_data(drawn / "stores" / "train", card)
    set_head_bias(model, logits(best_constant(data.labels, card.loss)))
    freeze(model, "base")
    model.compile(keras.optimizers.Adam(card.learning_rate), keras_loss(card.loss, card.pathologies))
    best = trained[0].runs[0].stages[0].best_epoch
    assert best > 0
    model.fit(StoredBatches(data.store, data.labels, None, 8, 0), epochs=best, shuffle=False, verbose=0)
    fitted = model.get_weights()
    other, _ = open_classifier(trained[1] / "model.keras")  # in the same network
    for one, two in zip(fitted, other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5)


def test_last_block_on_cached_activations_is_trained_as_end_to_end(drawn, tmp_path):
    """Its batch normalisations keep their statistics, so that training starts where the stage before ended."""
    import keras

    from cxr_cli.models.classifier import open_classifier
    from cxr_cli.models.training import StoredBatches, cut, keras_loss, set_head_bias

    result = run(drawn, tmp_path, replace(FAST, stages=("last-block",), epochs=1, learning_rate=(1e-4,)))
    (stage,) = result.runs[0].stages
    assert stage.trainable_parameters > 2_100_000 and stage.best_epoch == 1

    model, card = open_classifier(drawn / "model.keras")
    data = open_training_data(drawn / "stores" / "train", card)
    set_head_bias(model, logits(best_constant(data.labels, card.loss)))
    before = model.get_weights()
    cut(model, "last-block")
    model.compile(keras.optimizers.Adam(1e-4), keras_loss(card.loss, card.pathologies))
    model.fit(StoredBatches(data.store, data.labels, None, 8, 0), epochs=1, shuffle=False, verbose=0)
    other, _ = open_classifier(tmp_path / "model.keras")
    changed = 0
    for weight, start, one, two in zip(model.weights, before, model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5, err_msg=weight.path)
        changed += not np.array_equal(one, start)
        assert np.array_equal(one, start) or "moving" not in weight.path
    assert changed == 2 * 16 + 2  # two convolutions in each of 16 layers, and the head


class Interrupt(Exception):
    """In place of Ctrl-C."""


def interrupt_after(stage, epoch):
    def seen(row):
        if (row.stage, row.epoch) == (stage, epoch):
            raise Interrupt

    return Watch(epoch=seen)


def test_interrupted_training_ends_with_the_same_bytes(drawn, tmp_path):
    options = replace(FAST, stages=("features", "last-block"), epochs=2, augment=("flip",))
    undisturbed = run(drawn, tmp_path / "a", options)
    for stage, epoch in (("features", 0), ("features", 2), ("last-block", 0), ("last-block", 1)):
        with pytest.raises(Interrupt):
            run(drawn, tmp_path / "b", options, watch=interrupt_after(stage, epoch))
    notes = []
    resumed = run(drawn, tmp_path / "b", options, watch=Watch(note=notes.append))
    assert notes == ["continuing an interrupted training after epoch 1 of stage last-block"]
    assert (tmp_path / "a" / "model.keras").read_bytes() == (tmp_path / "b" / "model.keras").read_bytes()
    assert (tmp_path / "a" / "history.csv").read_bytes() == (tmp_path / "b" / "history.csv").read_bytes()
    assert resumed.runs[0].to_dict()["epochs"] == undisturbed.runs[0].to_dict()["epochs"]
    assert not (tmp_path / "b" / "checkpoint.npz").exists()
    assert {cache.mirrored for cache in resumed.caches} == {False, True}


def test_checkpoint_of_other_options_is_not_continued(drawn, tmp_path):
    with pytest.raises(Interrupt):
        run(drawn, tmp_path, watch=interrupt_after("features", 1))
    notes = []
    other = run(drawn, tmp_path, replace(FAST, seed=1), watch=Watch(note=notes.append))
    assert "is of another training" in notes[0]
    assert len(other.runs[0].epochs) == 5


def test_time_limit_ends_after_an_epoch_and_the_next_call_goes_on(trained, drawn, tmp_path):
    short = replace(FAST, time_limit=1e-9)
    first = run(drawn, tmp_path, short)
    assert first.runs[0].stages[-1].stopped_by == "time limit"
    assert len(first.runs[0].epochs) == 2
    done = run(drawn, tmp_path, FAST)
    assert done.runs[0].to_dict()["epochs"] == trained[0].runs[0].to_dict()["epochs"]
    assert (tmp_path / "model.keras").read_bytes() == (trained[1] / "model.keras").read_bytes()


def test_leakage_trains_nothing(drawn, tmp_path):
    result = run(drawn, tmp_path, valid="train")
    assert not result.trained and not result.learnt
    assert len(result.shared_patients) == result.train.n_patients
    assert not list(tmp_path.iterdir())
    result = run(drawn, tmp_path, replace(FAST, allow_leakage=True, epochs=1), valid="train")
    assert result.trained
    card = read_model_card(tmp_path / "model.keras")
    assert not card.training.patients_checked
    assert "are in both stores" in card.training.warnings[0]


def test_logs_for_tensorboard(drawn, tmp_path, monkeypatch):
    """Values of every epoch; without the package, an error before anything is done."""
    options = replace(FAST, epochs=2, tensorboard=True)
    result = run(drawn, tmp_path / "a", options)
    (log,) = (tmp_path / "a" / "tensorboard" / "features").rglob("events.out.tfevents.*")
    assert b"epoch_valid_auroc" in log.read_bytes() and len(result.runs[0].epochs) == 3
    monkeypatch.setattr("cxr_cli.services.train.train.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="needs the package tensorboard"):
        run(drawn, tmp_path / "b", options)
    assert not (tmp_path / "b").exists()


def test_gate_on_labels_permuted_by_patient(drawn, tmp_path):
    """Nothing can be learnt where each patient has the labels of another one."""
    import pandas as pd

    for name in ("train", "valid"):
        shutil.copytree(drawn / "stores" / name, tmp_path / name)
        index = pd.read_csv(tmp_path / name / "index.csv", dtype=str, keep_default_na=False)
        columns = ["Edema", "Cardiomegaly", "Emphysema"]
        first = index.groupby("patient_id")[columns].first()
        first[:] = first.to_numpy()[np.random.default_rng(1).permutation(len(first))]
        index[columns] = first.loc[index["patient_id"]].to_numpy()
        index.to_csv(tmp_path / name / "index.csv", index=False)
    options = replace(FAST, n_draws=500)
    result = train(drawn / "model.keras", tmp_path / "train", tmp_path / "valid", Outputs(tmp_path / "out"), options)
    sanity = result.runs[0].sanity
    assert not sanity.learnt and sanity.low < 0.5 and len(sanity.look_at) >= 5
    assert not result.learnt


def test_several_runs_have_seeds_and_folders_of_their_own(drawn, tmp_path):
    result = run(drawn, tmp_path, replace(FAST, epochs=1, runs=2))
    assert [once.seed for once in result.runs] == [0, 1]
    assert (tmp_path / "run-1" / "model.keras").exists()
    assert result.runs[0].epochs[1] != result.runs[1].epochs[1]
    assert len(result.caches) == 2


def test_half_precision_tells_how_the_auroc_changes(drawn, tmp_path):
    options = replace(FAST, stages=("last-block",), epochs=1, cache_type="float16")
    result = run(drawn, tmp_path, options)
    assert abs(result.half_precision) < 0.05
    exact = run(drawn, tmp_path, replace(options, cache_type="float32"))
    sizes = [sum(cache.n_bytes for cache in item.caches) for item in (result, exact)]
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.01)


def test_last_stage_trains_everything_and_varies_images(drawn, tmp_path):
    options = replace(FAST, stages=("all",), epochs=1, augment=("flip", "geometric"))
    result = run(drawn, tmp_path, options)
    assert result.runs[0].stages[0].trainable_parameters > 6_900_000
    assert read_model_card(tmp_path / "model.keras").freeze == "none"
    assert not result.caches


def changed_store(drawn, tmp_path, change):
    import shutil

    folder = tmp_path / "store"
    shutil.copytree(drawn / "stores" / "train", folder)
    array = np.load(folder / "images.npy", mmap_mode="r+")
    change(array)
    array.flush()
    return folder


def test_image_that_is_not_finite_is_named(drawn, tmp_path):
    def spoil(array):
        array[3, 5, 5] = np.nan

    folder = changed_store(drawn, tmp_path, spoil)
    with pytest.raises(CxrError, match="has pixels that are NaN or infinite"):
        train(drawn / "model.keras", folder, drawn / "stores" / "valid", Outputs(tmp_path / "out"), FAST)


def test_loss_that_is_not_finite_stops_with_its_batch(drawn, tmp_path):
    """A learning rate beyond all measure makes the weights infinite after the first step."""
    with pytest.raises(
        CxrError, match="stage features, epoch 1, batch [23]: the loss is not a finite number"
    ) as caught:
        run(drawn, tmp_path, replace(FAST, learning_rate=(1e39,)))
    assert "learning_rate" in str(caught.value) and ".png" in str(caught.value)


def test_class_weights_change_loss_and_bias(drawn, tmp_path):
    weights = ClassWeights(("Cardiomegaly", "Emphysema", "Edema"), (0.9, 0.9, 0.9), (0.1, 0.1, 0.1))
    result = run(drawn, tmp_path, replace(FAST, epochs=1, class_weights=weights))
    assert result.loss.name == "weighted-bce"
    assert result.loss.class_weights.pathologies == ("Edema", "Cardiomegaly", "Emphysema")
    p = result.train.n_positive["Edema"] / result.train.n_known["Edema"]
    assert result.head_bias["Edema"] == pytest.approx(np.log(0.9 * p / (0.1 * (1 - p))))
    with pytest.raises(UsageError, match="needs class weights"):
        run(drawn, tmp_path, replace(FAST, loss="weighted-bce"))


def test_trained_model_is_trained_further_with_its_head(trained, drawn, tmp_path):
    result = train(
        trained[1] / "model.keras", drawn / "stores" / "train", drawn / "stores" / "valid", Outputs(tmp_path), FAST
    )
    assert result.head_bias is None
    assert read_model_card(tmp_path / "model.keras").training.head_bias == "as loaded"
    assert result.runs[0].epochs[0].valid_auroc == pytest.approx(trained[0].runs[0].auroc, abs=1e-9)


def test_two_devices_train_like_one(drawn, tmp_path):
    """In a process of its own, because logical devices must be made before TensorFlow starts."""
    import subprocess
    import sys

    code = f"""
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
import numpy as np
from dataclasses import replace
from cxr_cli.models import training
from cxr_cli.data.files import Outputs
from cxr_cli.services.train import train as module
from cxr_cli.services.train.options import TrainOptions
names = [device.name for device in tf.config.list_logical_devices("CPU")]
assert len(names) == 2
drawn, folder = Path({str(drawn)!r}), Path({str(tmp_path)!r})
options = TrainOptions(epochs=2, batch_size=8, n_draws=50)
arguments = (drawn / "model.keras", drawn / "stores" / "train", drawn / "stores" / "valid")
one = module.train(*arguments, Outputs(folder / "one"), options)
several = training.on_devices
training.on_devices = lambda: several(names)
notes = []
two = module.train(*arguments, Outputs(folder / "two"), options, watch=module.Watch(note=notes.append))
assert notes == ["training on 2 devices"], notes
for a, b in zip(one.runs[0].epochs, two.runs[0].epochs, strict=True):
    assert abs(a.valid_loss - b.valid_loss) < 1e-4 and (a.epoch == 0 or abs(a.loss - b.loss) < 1e-4), (a, b)
print("alike")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "alike", done.stderr[-3000:]


def test_chance_by_hand(drawn):
    card = read_model_card(drawn / "model.keras")
    data = open_training_data(drawn / "stores" / "train", card)
    random = np.random.default_rng(0).uniform(size=data.labels.shape)
    guess = against_chance(data, random, 300, 0)
    assert not guess.learnt and guess.low < 0.5 < guess.high
    perfect = against_chance(data, np.where(data.labels == 1, 0.9, 0.1), 300, 0)
    assert perfect.learnt and (perfect.auroc, perfect.low, perfect.high) == (1, 1, 1)


def test_mean_of_known_by_hand():
    np.testing.assert_array_equal(mean_of_known(np.array([[1, np.nan, 3], [np.nan] * 3])), [2, np.nan])


def test_result_is_plain_json(trained):
    document = json.loads(json.dumps(trained[0].to_dict()))
    assert document["runs"][0]["epochs"][0]["loss"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": ()}, "stages=\\(\\)"),
        ({"stages": ("all", "features")}, "in this order"),
        ({"stages": ("features", "features")}, "each once"),
        ({"stages": ("head",)}, "stages='head'"),
        ({"epochs": 0}, "epochs=0"),
        ({"learning_rate": (0.1, 0.2)}, "2 learning rates for 1 stages"),
        ({"learning_rate": (0.0,)}, "learning_rate=0.0"),
        ({"time_limit": 0.0}, "time_limit=0.0"),
        ({"augment": ("turn",)}, "augment='turn'"),
        ({"augment": ("geometric",)}, "needs stage 'all'"),
        ({"cache_type": "float16"}, "no effect without stage 'last-block'"),
        ({"monitor": "accuracy"}, "monitor='accuracy'"),
        ({"loss": "binary-crossentropy", "class_weights": ClassWeights(("A",), (1.0,), (1.0,))}, "no effect"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UsageError, match=message):
        TrainOptions(**options)


def test_learning_rates(drawn):
    card = read_model_card(drawn / "model.keras")
    three = TrainOptions(stages=("features", "last-block", "all"))
    assert three.rates(card) == (0.05, 0.005000000000000001, 0.005000000000000001)
    assert replace(three, learning_rate=(0.1,)).rates(card) == (0.1, 0.1, 0.1)
    assert replace(three, learning_rate=(0.1, 0.2, 0.3)).rates(card) == (0.1, 0.2, 0.3)
