from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxr_cli import __version__
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.files import Outputs, describe_input
from cxr_cli.data.labels import read_labels
from cxr_cli.errors import InputError, OutputError, UsageError, WeightsFileError
from cxr_cli.services.build_model import build_model as service
from cxr_cli.services.build_model.build_model import build_model, summarise_labels
from cxr_cli.services.build_model.options import ModelOptions
from cxr_cli.services.model_card import model_card_path
from tests.models.legacy_files import base_arrays, write_legacy

pytestmark = pytest.mark.slow

PATHOLOGIES = ("Effusion", "Infiltration", "Mass")
SIZE = (64, 64)
WEIGHTS = ClassWeights(("Mass", "Effusion", "Infiltration"), (0.9, 0.8, 0.7), (0.1, 0.2, 0.3), "frequency")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def weight_file(folder, network):
    """A file of weights whose outputs are no extremes."""
    arrays = {
        name: {weight: array * 0.1 if weight in ("gamma", "beta") else array for weight, array in weights.items()}
        for name, weights in base_arrays(network, seed=5).items()
    }
    return write_legacy(folder / "densenet.hdf5", arrays)


@pytest.fixture(scope="module")
def table(sample_data):
    return read_labels(sample_data / "train-small.csv")


@pytest.fixture(scope="module")
def saved(folder, weight_file, table):
    options = ModelOptions(PATHOLOGIES, SIZE, pretrained=weight_file, class_weights=WEIGHTS, seed=4)
    outputs = Outputs(Path(), [weight_file], plots=False)
    result = build_model(options, table=table, save=folder / "sub" / "model.keras", outputs=outputs)
    assert outputs.written == [folder / "sub" / "model.keras", folder / "sub" / "model.keras.json"]
    return result


def test_result_says_where_weights_came_from(saved, weight_file):
    assert saved.pretrained.source == "file"
    assert saved.pretrained.file == describe_input(weight_file)
    assert (saved.pretrained.n_arrays, saved.pretrained.n_parameters) == (604, 7_037_504)
    assert saved.pretrained.trained_on == "unknown"
    assert saved.loss.name == "weighted-bce"
    assert saved.loss.class_weights == ClassWeights(PATHOLOGIES, (0.8, 0.7, 0.9), (0.2, 0.3, 0.1), "frequency")
    assert saved.architecture.model.trainable == 3 * 1025
    json.dumps(saved.to_dict(), allow_nan=False)


def test_sidecar_has_what_is_needed_to_use_and_rebuild(saved, weight_file):
    model = Path(saved.saved.path)
    model_card = json.loads(model_card_path(model).read_text())
    assert saved.model_card == str(model) + ".json"
    assert model_card["model"] == {
        "path": str(model),
        "size": model.stat().st_size,
        "sha256": describe_input(model).sha256,
    }
    assert (model_card["schema_version"], model_card["command"], model_card["cxr_version"]) == (
        1,
        "build-model",
        __version__,
    )
    assert model_card["pathologies"] == list(PATHOLOGIES)
    assert model_card["image_size"] == [64, 64]
    assert model_card["preprocessing"]["standardize"] == "samplewise"
    assert model_card["preprocessing"]["channels"] == "the grey image three times"
    assert model_card["pretrained"]["file"]["sha256"] == describe_input(weight_file).sha256
    assert model_card["loss"]["class_weights"]["positive"] == [0.8, 0.7, 0.9]
    assert (model_card["seed"], model_card["freeze"], model_card["learning_rate"]) == (4, "base", 0.001)
    assert {"cxr", "python", "keras", "backend", "numpy"} == set(model_card["versions"])


FRESH = """
import sys
import keras, numpy as np
from pathlib import Path
model_path, images_path, labels_path, out = sys.argv[1:]
images, labels = np.load(images_path), np.load(labels_path)
bare = keras.models.load_model(model_path, compile=False)
assert "cxr_cli" not in sys.modules
import cxr_cli.models
model = keras.models.load_model(model_path)
predictions = np.asarray(model(images))  # quicker than predict(), which compiles
assert np.array_equal(np.asarray(bare(images)), predictions)
assert type(model.loss).__name__ == "WeightedBinaryCrossentropy"
before = model.get_weights()
model.run_eagerly = True  # one step: quicker than compiling
logs = model.train_on_batch(images, labels, return_dict=True)
changed = [weight.path for weight, new, old in zip(model.weights, model.get_weights(), before)
           if not np.array_equal(new, old)]
np.savez(out, predictions=predictions, changed=changed, logs=sorted(logs), loss=logs["loss"])
"""


def first_images(sample_data, table, n):
    """Return the first sample images that are there, standardized samplewise, and their labels."""
    from cxr_cli.data.images import read_gray
    from cxr_cli.services.images.resize import resize

    folder = sample_data / "images-small"
    rows = [row for row, name in enumerate(table.images) if (folder / name).is_file()][:n]
    images = np.stack([resize(read_gray(folder / table.images[row]).pixels, SIZE, "area") for row in rows])
    images = (images - images.mean(axis=(1, 2), keepdims=True)) / (images.std(axis=(1, 2), keepdims=True) + 1e-6)
    columns = [table.pathologies.index(name) for name in PATHOLOGIES]
    return np.repeat(images[..., None], 3, axis=3).astype(np.float32), table.labels[rows][:, columns]


def test_loads_in_a_fresh_process_and_one_step_changes_the_head_only(saved, folder, sample_data, table):
    import keras

    images, labels = first_images(sample_data, table, 8)
    labels[0, 0] = np.nan
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    arguments = [saved.saved.path, folder / "images.npy", folder / "labels.npy", folder / "out.npz"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", FRESH, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, "load_model() or the step had something to complain of"
    found = np.load(folder / "out.npz")
    assert list(found["changed"]) == ["predictions/kernel", "predictions/bias"]
    assert {"auroc", "auprc", "auroc_Mass", "loss"} <= set(found["logs"])
    assert np.isfinite(found["loss"])
    here = np.asarray(keras.models.load_model(saved.saved.path)(images))
    assert np.abs(found["predictions"] - here).max() <= 1e-6
    assert 0.01 < here.min() and here.max() < 0.99 and np.ptp(here) > 1e-4


def test_same_options_give_the_same_bytes(saved, weight_file, table, tmp_path):
    options = ModelOptions(PATHOLOGIES, SIZE, pretrained=weight_file, class_weights=WEIGHTS, seed=4)
    again = build_model(options, table=table, save=tmp_path / "again.keras")
    assert again.saved.sha256 == saved.saved.sha256


def test_own_model_with_its_head_as_weights(saved, folder, tmp_path):
    options = ModelOptions(PATHOLOGIES, SIZE, pretrained=Path(saved.saved.path), keep_head=True, seed=9)
    model, origin = service.assemble(options)
    assert (origin.head, origin.matched_by, origin.layout) == ("loaded", "name", "Keras 3 model (.keras)")
    import keras

    old = keras.models.load_model(saved.saved.path, compile=False)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), old.get_weights(), strict=True))


def test_own_head_for_other_pathologies_is_refused(saved):
    options = ModelOptions(PATHOLOGIES[::-1], SIZE, pretrained=Path(saved.saved.path), keep_head=True)
    with pytest.raises(InputError, match="its head is for Effusion, Infiltration, Mass, in this order"):
        service.assemble(options)


@pytest.fixture
def no_building(monkeypatch, network):
    """Take the network that is there: these tests end before it matters."""
    monkeypatch.setattr("cxr_cli.models.densenet.build_densenet", lambda *arguments, **options: network)


def test_bad_weights_save_nothing(no_building, tmp_path, weight_file):
    half = tmp_path / "half.hdf5"
    half.write_bytes(weight_file.read_bytes()[: weight_file.stat().st_size // 2])
    for file in (half, tmp_path / "missing.h5"):
        with pytest.raises(InputError):
            build_model(ModelOptions(PATHOLOGIES, pretrained=file), save=tmp_path / "out" / "model.keras")
    assert not (tmp_path / "out").exists()


def test_inputs_are_never_overwritten(no_building, tmp_path, saved):
    source = tmp_path / "model.keras"
    source.write_bytes(Path(saved.saved.path).read_bytes())
    content = source.read_bytes()
    with pytest.raises(OutputError, match="never overwritten"):
        build_model(ModelOptions(PATHOLOGIES, pretrained=source), save=source, outputs=Outputs(Path(), [source]))
    assert source.read_bytes() == content


def test_other_endings_than_keras_are_refused(tmp_path):
    with pytest.raises(UsageError, match="ending in .keras"):
        build_model(ModelOptions(PATHOLOGIES), save=tmp_path / "model.h5")


def test_imagenet_without_network_says_where_to_get_it(no_building, monkeypatch):
    import keras

    def fail(*arguments, **options):
        raise Exception("URL fetch failure on https://x: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(InputError) as caught:
        build_model(ModelOptions(PATHOLOGIES, pretrained="imagenet"))
    assert "cannot be downloaded ([Errno -2] Name or service not known)" in str(caught.value)
    assert "notop.h5 by other means and pass it" in str(caught.value)


def test_imagenet_is_known_by_its_checksum(monkeypatch, tmp_path, weight_file, no_building):
    import hashlib

    import keras

    from cxr_cli.models import imagenet

    monkeypatch.setattr(imagenet, "MD5", hashlib.md5(weight_file.read_bytes()).hexdigest())
    monkeypatch.setattr(keras.utils, "get_file", lambda name, *arguments, **options: str(weight_file))
    _, origin = service.assemble(ModelOptions(("A", "B", "C", "D", "E"), pretrained="imagenet", freeze="none"))
    assert (origin.source, origin.trained_on, origin.file.path) == ("imagenet", "ImageNet", str(weight_file))


def test_wrong_file_is_the_same_error_as_in_the_library(no_building, tmp_path):
    page = tmp_path / "densenet.hdf5"
    page.write_text("<!DOCTYPE html>")
    with pytest.raises(WeightsFileError, match="HTML page"):
        build_model(ModelOptions(PATHOLOGIES, pretrained=page))


# ----------------------------------------------------------------------------------------------------------- labels


def test_labels_summed_up(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("Image,Mass,Hernia,PatientId\na.png,1,1,1\nb.png,0,0,2\nc.png,,0,3\nd.png,1,0,4\n")
    found = summarise_labels(read_labels(path), ("Hernia", "Mass"))
    assert (found.n_images, found.n_without_finding, found.n_with_several, found.n_unknown) == (4, 2, 1, 1)
    assert found.prevalence == {"Hernia": 0.25, "Mass": pytest.approx(2 / 3)}
    assert summarise_labels(read_labels(path), ("Hernia",)).n_without_finding == 3
    with pytest.raises(UsageError, match="has no pathology Edema"):
        summarise_labels(read_labels(path), ("Edema",))


def test_labels_tell_what_became_of_uncertain_ones(tmp_path):
    path = tmp_path / "chexpert.csv"
    path.write_text(
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema\n"
        "patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,1.0,-1.0\n"
        "patient00002/study1/view1_frontal.jpg,Male,68,Frontal,AP,,0.0,1.0\n"
    )
    ignored = summarise_labels(read_labels(path), ("Edema",))
    assert (ignored.uncertain, ignored.n_uncertain, ignored.n_unknown) == ("ignore", 1, 1)
    taken = summarise_labels(read_labels(path, uncertain="negative"), ("Edema",))
    assert (taken.uncertain, taken.n_uncertain, taken.n_unknown) == ("negative", 1, 0)


def test_images_without_gradient_on_the_table_of_the_course(real_data):
    table = read_labels(real_data / "nih" / "train-small.csv")
    assert summarise_labels(table, table.pathologies).n_without_finding == 562


def test_what_is_said_of_categorical_crossentropy_is_so():
    import tensorflow as tf
    from keras.losses import categorical_crossentropy

    labels = tf.constant([[0.0, 0, 0], [0, 1, 0], [1, 1, 0]])
    logits = tf.Variable(np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = categorical_crossentropy(labels, tf.sigmoid(logits))
    gradient = np.abs(np.asarray(tape.gradient(loss, logits))).sum(axis=1)
    assert gradient[0] == 0 and loss[0] == 0
    assert (gradient[1:] > 0).all()
    with tf.GradientTape() as tape:
        loss = categorical_crossentropy(labels[:, :1], tf.sigmoid(logits[:, :1]))
    assert np.abs(np.asarray(tape.gradient(loss, logits))).max() < 1e-6
