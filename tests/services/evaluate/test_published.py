"""Published results of real models, from their predictions (skipped without the real data)."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import replace

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import Predictions, read_predictions
from cxr_cli.data.thresholds import read_thresholds
from cxr_cli.services.evaluate.evaluate import evaluate


@pytest.fixture(scope="module")
def nih(real_data):
    return read_labels(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")


def rows_of(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as stream:
        return list(csv.DictReader(io.StringIO(stream.read())))


def with_labels(folder) -> Predictions:
    """Return the predictions of one of the five models with the labels published beside them."""
    predictions = read_predictions(folder / "preds.csv.gz")
    truth = {row["path"]: row for row in rows_of(folder / "True.csv.gz")}
    labels = np.array([[float(truth[image][name]) for name in predictions.pathologies] for image in predictions.images])
    return replace(predictions, labels=labels)


@pytest.mark.parametrize("seed", [11, 37])
def test_published_areas_of_the_five_seed_models(real_data, seed):
    folder = real_data / "predictions" / "nih-five-models" / f"seed{seed}"
    result = evaluate(with_labels(folder), n_draws=100)
    rows = {row.pathology: row for row in result.models[0].pathologies}
    published = rows_of(folder / "TestEval.csv")
    assert len(published) == len(rows) == 15
    for row in published:
        assert rows[row["label"]].auroc.value == pytest.approx(float(row["auc"]), abs=1e-12)
        assert rows[row["label"]].auprc.value == pytest.approx(float(row["auprc"]), abs=1e-12)
    # Patients from the file names.
    assert (result.n_images, result.n_patients) == (6373, 1835)
    assert result.patients_from == "image names as in ChestX-ray14"
    assert "No Finding" not in result.models[0].mean.members and len(result.models[0].mean.members) == 14


@pytest.mark.parametrize("seed", [11, 37])
def test_published_error_rates_of_no_finding_by_sex(real_data, nih, seed):
    folder = real_data / "predictions" / "nih-five-models" / f"seed{seed}"
    thresholds = read_thresholds(folder / "Threshold.csv")
    result = evaluate(with_labels(folder), attributes=nih, by=["sex", "age"], thresholds=thresholds, n_draws=100)
    published = rows_of(folder / "FPRFNR_NF_sex.csv")[0]
    for group in result.subgroups[0].groups:
        row = next(row for row in group.pathologies if row.pathology == "No Finding")
        assert row.n_positive == int(published[f"#PNF_{group.name}"])
        assert row.n_images - row.n_positive == int(published[f"#NNF_{group.name}"])
        assert row.fpr.value == pytest.approx(float(published[f"FPR_{group.name}"]), abs=5e-4)
        assert row.fnr.value == pytest.approx(float(published[f"FNR_{group.name}"]), abs=5e-4)
    # Ages are those of another edition of the table: nearly the same groups.
    published = rows_of(folder / "FPRFNR_NF_age.csv")[0]
    names = {"0-19": "0-20", "20-39": "20-40", "40-59": "40-60", "60-79": "60-80", "80+": "80-"}
    for group in result.subgroups[1].groups:
        row = next(row for row in group.pathologies if row.pathology == "No Finding")
        assert row.n_positive == pytest.approx(int(published[f"#PNF_{names[group.name]}"]), abs=25)
        assert row.fnr.value == pytest.approx(float(published[f"FNR_{names[group.name]}"]), abs=0.02)


def test_the_table_of_all_images_gives_the_same(real_data, nih):
    folder = real_data / "predictions" / "nih-five-models" / "seed11"
    result = evaluate(read_predictions(folder / "preds.csv.gz"), nih, n_draws=100)
    published = {row["label"]: float(row["auc"]) for row in rows_of(folder / "TestEval.csv")}
    found = {row.pathology: row.auroc.value for row in result.models[0].pathologies}
    assert found == pytest.approx(published, abs=1e-12)
    assert result.n_patients == 1835 and result.patients_from == str(nih.path)


def test_published_areas_of_reproduce_chexnet(real_data, nih):
    folder = real_data / "predictions" / "reproduce-chexnet"
    result = evaluate(read_predictions(folder / "preds.csv.gz"), nih, n_draws=100)
    published = {row["label"]: float(row["auc"]) for row in rows_of(folder / "aucs.csv")}
    found = {row.pathology: row.auroc.value for row in result.models[0].pathologies}
    assert len(found) == 14 and result.n_images == 22433
    assert found == pytest.approx(published, abs=1e-12)


def test_the_notebook_of_the_course(real_data):
    folder = real_data / "predictions" / "course"
    predictions = read_predictions(folder / "valid_preds.csv")
    result = evaluate(predictions, thresholds=0.5, n_draws=100)
    rows = {row.pathology: row for row in result.models[0].pathologies}
    printed = {
        "Cardiomegaly": 0.933,
        "Emphysema": 0.935,
        "Effusion": 0.891,
        "Hernia": 0.644,
        "Edema": 0.856,
        "Consolidation": 0.799,
    }
    for name, area in printed.items():
        assert round(rows[name].auroc.value, 3) == area
    point = rows["Cardiomegaly"].operating_points[0]
    counts = (point.true_positive, point.true_negative, point.false_positive, point.false_negative)
    assert counts == (16, 814, 169, 1)
    assert (result.n_images, result.n_patients) == (1000, 529)
    # The training images are of other patients, so thresholds may be chosen on them (if not well).
    chosen = evaluate(predictions, valid=read_predictions(folder / "train_preds.csv"), n_draws=100)
    assert not chosen.leakage


def test_three_trainings_of_one_recipe_differ_by_chance(real_data):
    folders = [real_data / "predictions" / "nih-five-models" / f"seed{seed}" for seed in (11, 37, 45)]
    first, second, third = (with_labels(folder) for folder in folders)
    result = evaluate(first, name="11", compare={"37": [second], "45": [third]})
    counts = np.array(
        [(pair.n_significant_delong, pair.n_significant, pair.n_significant_holm) for pair in result.comparisons]
    )
    assert counts.sum(axis=0).tolist() == [9, 7, 1]


def test_the_label_file_of_the_models_is_read_as_a_label_table(real_data, nih):
    folder = real_data / "predictions" / "nih-five-models" / "seed37"
    labels = read_labels(folder / "True.csv.gz")
    result = evaluate(read_predictions(folder / "preds.csv.gz"), labels, attributes=nih, by=["sex"], n_draws=100)
    published = {row["label"]: float(row["auc"]) for row in rows_of(folder / "TestEval.csv")}
    found = {row.pathology: row.auroc.value for row in result.models[0].pathologies}
    assert found == pytest.approx(published, abs=1e-12) and "No Finding" in found
    assert result.n_patients == 1835 and {group.name for group in result.subgroups[0].groups} == {"M", "F"}
