from __future__ import annotations

import shutil

import numpy as np
import pytest

from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.data.thresholds import Thresholds
from cxr_cli.errors import ImageError, InputError, OutputError, UsageError
from cxr_cli.services.metrics.calibration import correct_prior
from cxr_cli.services.model_card import read_model_card
from cxr_cli.services.predict.predict import predict
from cxr_cli.services.sources import StoreSource, open_folder, open_table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_network")]


@pytest.fixture(scope="module")
def card(drawn):
    return read_model_card(drawn / "model.keras")


@pytest.fixture(scope="module")
def stored(drawn, card, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predicted")
    result = predict(drawn / "model.keras", StoreSource(drawn / "stores" / "valid", card), Outputs(folder))
    return result, folder / "predictions.csv"


def test_predictions_of_a_store_are_those_of_keras(drawn, stored):
    from cxr_cli.models.classifier import open_classifier
    from cxr_cli.models.datasets import StoreDataset
    from cxr_cli.services.store.reader import open_store

    result, path = stored
    model, _ = open_classifier(drawn / "model.keras")
    store = open_store(drawn / "stores" / "valid")
    expected = model.predict(StoreDataset(store), verbose=0)
    found = read_predictions(path)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.images == tuple(store.index["image"]) and found.patients == tuple(store.index["patient_id"])
    assert (result.kind, result.n_images, result.n_failed, result.patients_known) == ("store", len(store), 0, True)
    first = result.pathologies[0]
    assert first.pathology == "Edema" and first.mean == pytest.approx(expected[:, 0].mean(), abs=1e-6)


def test_table_and_folder_give_what_the_store_gives(drawn, card, stored, tmp_path):
    table = read_labels(drawn / "valid.csv")
    of_table = predict(
        drawn / "model.keras", open_table(table, drawn / "images", card, workers=2), Outputs(tmp_path / "table")
    )
    assert (tmp_path / "table" / "predictions.csv").read_bytes() == stored[1].read_bytes()
    assert of_table.kind == "table"
    folder = tmp_path / "images"
    for name in table.images:
        (folder / "in").mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn / "images" / name, folder / "in" / name)
    (folder / "notes.txt").write_text("not an image")
    of_folder = predict(drawn / "model.keras", open_folder(folder, card, workers=1), Outputs(tmp_path / "folder"))
    found = read_predictions(tmp_path / "folder" / "predictions.csv")
    assert found.images == tuple(sorted(f"in/{name}" for name in table.images)) and found.patients is None
    assert not of_folder.patients_known
    rows = [found.images.index(f"in/{name}") for name in table.images]
    np.testing.assert_allclose(found.probabilities[rows], read_predictions(stored[1]).probabilities, atol=1e-6)


def test_images_that_fail_are_listed_and_the_others_predicted(drawn, card, stored, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(drawn / "images", images)
    table = read_labels(drawn / "valid.csv")
    (images / table.images[1]).unlink()
    (images / table.images[4]).write_bytes(b"not a png")
    result = predict(drawn / "model.keras", open_table(table, images, card), Outputs(tmp_path), batch_size=4)
    assert (result.n_predicted, result.n_failed) == (len(table.images) - 2, 2)
    assert [item.image for item in result.failures] == [table.images[1], table.images[4]]
    assert "no such file" in result.failures[0].reason
    lines = (tmp_path / "predictions-failures.csv").read_text().splitlines()
    assert lines[0] == "Image,reason" and len(lines) == 3
    found, whole = read_predictions(tmp_path / "predictions.csv"), read_predictions(stored[1])
    kept = [row for row, name in enumerate(whole.images) if name in found.images]
    np.testing.assert_allclose(found.probabilities, whole.probabilities[kept], atol=1e-6)


def test_interrupted_run_goes_on_with_the_same_bytes(drawn, card, tmp_path):
    class Interrupt(Exception):
        pass

    def stop(done, total):
        if done >= 8:
            raise Interrupt

    source = StoreSource(drawn / "stores" / "valid", card)
    whole = predict(drawn / "model.keras", source, Outputs(tmp_path / "a"), batch_size=4)
    with pytest.raises(Interrupt):
        predict(drawn / "model.keras", source, Outputs(tmp_path / "b"), batch_size=4, progress=stop)
    assert [path.name for path in (tmp_path / "b").iterdir()] == [".predictions.csv.partial"]
    seen = []
    again = predict(
        drawn / "model.keras", source, Outputs(tmp_path / "b"), batch_size=4, progress=lambda *at: seen.append(at)
    )
    assert seen[0] == (8, len(source.names))
    assert (tmp_path / "a" / "predictions.csv").read_bytes() == (tmp_path / "b" / "predictions.csv").read_bytes()
    assert again.to_dict()["pathologies"] == whole.to_dict()["pathologies"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["predictions.csv"]


def test_unfinished_run_of_another_kind_is_not_continued(drawn, card, tmp_path):
    class Interrupt(Exception):
        pass

    def stop(done, total):
        if done:
            raise Interrupt

    source = StoreSource(drawn / "stores" / "valid", card)
    with pytest.raises(Interrupt):
        predict(drawn / "model.keras", source, Outputs(tmp_path), batch_size=4, progress=stop)
    with pytest.raises(OutputError, match="differs from this one"):
        predict(drawn / "model.keras", source, Outputs(tmp_path), batch_size=8)
    assert predict(drawn / "model.keras", source, Outputs(tmp_path), batch_size=8, start_over=True).n_failed == 0


def test_class_weights_are_undone_and_thresholds_applied(drawn, card, stored, tmp_path):
    weights = ClassWeights(("Emphysema", "Edema", "Cardiomegaly"), (0.9, 0.8, 0.7), (0.1, 0.2, 0.3))
    limits = Thresholds({"youden": {"Edema": 0.1, "Cardiomegaly": 0.2}}, "youden")
    source = StoreSource(drawn / "stores" / "valid", card)
    result = predict(drawn / "model.keras", source, Outputs(tmp_path), undo_class_weights=weights, thresholds=limits)
    before, after = (
        read_predictions(stored[1]).probabilities,
        read_predictions(tmp_path / "predictions.csv").probabilities,
    )
    np.testing.assert_allclose(after, correct_prior(before, [0.8, 0.7, 0.9], [0.2, 0.3, 0.1]), rtol=1e-6)
    assert result.corrected and result.rule == "youden"
    assert result.pathologies[0].n_positive == int((after[:, 0] >= 0.1).sum())
    assert result.pathologies[2].n_positive is None
    header, *rows = (tmp_path / "predictions-decisions.csv").read_text().splitlines()
    assert header == "Image,patient_id,Edema,Cardiomegaly,Emphysema"
    assert sum(int(row.split(",")[2]) for row in rows) == result.pathologies[0].n_positive
    assert all(row.endswith(",") for row in rows)


def test_what_cannot_be_predicted_is_named(drawn, card, tmp_path):
    from dataclasses import replace

    with pytest.raises(UsageError, match="32 × 32 pixels, the model takes 64 × 64"):
        StoreSource(drawn / "stores" / "valid", replace(card, image_size=(64, 64)))
    with pytest.raises(InputError, match="has no images"):
        open_folder(drawn / "stores", card)
    with pytest.raises(InputError, match="no such file or folder"):
        open_folder(tmp_path / "missing", card)
    table = read_labels(drawn / "valid.csv")
    with pytest.raises(ImageError, match="no such image folder"):
        open_table(table, tmp_path / "missing", card)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="none of its .* images could be read"):
        predict(drawn / "model.keras", open_table(table, tmp_path / "empty", card), Outputs(tmp_path / "out"))
