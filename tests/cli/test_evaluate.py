from __future__ import annotations

import json

import jsonschema
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.json_schema import document_schema
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "evaluate"
A, B, VALID, LABELS = (EXAMPLES / name for name in ("test-a-seed1.csv", "test-b.csv", "valid-a.csv", "test.csv"))
BASE = ("evaluate", A, "--labels", LABELS, "--draws", 100)


def test_golden(cxr, golden):
    done = cxr(*BASE, "--valid", VALID, "--compare", f"B={B}", "--by", "sex", "--no-plots", "--json")
    assert done.exit_code == 0, done.output
    golden("evaluate", done.stdout.replace(f"{EXAMPLES}/", ""))


def test_json_is_the_result_of_the_service_and_fits_its_schema(cxr):
    done = cxr(*BASE, "--json", "--no-plots", "--reference", "--unit", "image", "--by", "age")
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("evaluate"))
    table = read_labels(LABELS)
    result = evaluate(read_predictions(A), table, n_draws=100, reference=True, unit="image", by=["age"])
    assert document["result"] == result.to_dict()
    assert [item["path"] for item in document["inputs"]] == [str(A), str(LABELS)]
    assert document["outputs"] == []
    assert "% of the width of those over patients" in done.stderr


def test_files_are_written_and_listed(cxr, tmp_path):
    done = cxr(*BASE, "--valid", VALID, "--by", "sex")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "cxr-output" / "evaluate"
    names = {
        *("metrics.csv", "thresholds.json", "result.json"),
        *("roc.png", "precision-recall.png", "reliability.png", "forest.png", "forest-sex.png"),
    }
    assert {path.name for path in folder.iterdir()} == names
    document = json.loads((folder / "result.json").read_text())
    assert {output.rpartition("/")[2] for output in document["outputs"]} == names
    for name in names:
        assert f"saved cxr-output/evaluate/{name}" in done.stderr


def test_without_plots_and_output_nothing_is_written(cxr, tmp_path):
    assert cxr(*BASE, "--no-plots").exit_code == 0
    assert not list(tmp_path.iterdir())
    assert cxr(*BASE, "--no-plots", "--output", "there").exit_code == 0
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"metrics.csv", "result.json"}


def test_tables_say_what_they_must(cxr):
    done = cxr(*BASE, "--name", "A", "--compare", f"B={B}", "--valid", VALID, "--by", "sex", "--no-plots")
    out = done.stdout
    assert "A: 863 images of 240 patients" in out and "95 % intervals from 100 draws of patients" in out
    assert "67 (.078)" in out  # AUPRC stands beside the prevalence
    assert "A above B" in out and "no difference shown: with 6 positives a difference below" in out
    assert "too small (3 positives)" in out
    assert "At the thresholds by youden" in out
    assert "there is one training run of A, B: the noise of training is not in the intervals" in done.stderr
    assert "patients are taken from" in done.stderr


def test_thresholds_are_used_again(cxr, tmp_path):
    cxr(*BASE, "--valid", VALID, "--no-plots", "--output", "first")
    done = cxr(*BASE, "--thresholds", "first/thresholds.json", "--rule", "specificity-0.9", "--no-plots")
    assert done.exit_code == 0, done.output
    assert "At the thresholds by specificity-0.9" in done.stdout
    assert "At the thresholds by fixed" in cxr(*BASE, "--thresholds", "0.5", "--no-plots").stdout


def test_several_runs(cxr):
    files = ",".join(str(EXAMPLES / f"test-a-seed{seed}.csv") for seed in (1, 2, 3))
    done = cxr("evaluate", files, "--labels", LABELS, "--draws", 100, "--no-plots", "--compare", f"B={B}")
    assert "863 images of 240 patients, 3 runs" in done.stdout and "runs" in done.stdout
    assert "one training run of B" in done.stderr
    several = [EXAMPLES / f"test-a-seed{seed}.csv" for seed in (1, 2, 3)]
    again = cxr("evaluate", *several, "--labels", LABELS, "--draws", 100, "--no-plots", "--compare", f"B={B}")
    assert again.stdout == done.stdout


def test_training_patients_in_the_test_set_are_bad_news(cxr):
    done = cxr(*BASE, "--train-labels", LABELS, "--no-plots")
    assert done.exit_code == 1
    assert "863 test images were used for training" in done.stderr
    assert "240 test patients with 863 test images" in done.stderr


def test_validation_patients_in_the_test_set_are_bad_news(cxr):
    done = cxr(*BASE, "--valid", A, "--no-plots")
    assert done.exit_code == 1
    assert "thresholds were chosen on the test set" in done.stderr


@pytest.mark.parametrize("form", ["saved", "csv"])
def test_class_weights_are_undone(cxr, tmp_path, form):
    saved = "weights.json" if form == "saved" else "weights.csv"
    assert cxr("weights", LABELS, "--save", saved, "--no-plots").exit_code == 0
    done = cxr(*BASE, "--undo-class-weights", saved, "--no-plots")
    assert done.exit_code == 0, done.output
    assert "calibration after correcting for class weights" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv", "--labels", LABELS], "missing.csv: no such file"),
        ([A], "has predictions but no labels"),
        ([A, "--labels", LABELS, "--compare", "B"], "--compare B; expected NAME=FILE"),
        ([A, "--labels", LABELS, "--compare", f"model={B}"], "two models are called model"),
        ([A, "--labels", LABELS, "--thresholds", "none.json"], "none.json: no such file"),
        ([A, "--labels", LABELS, "--by", "colour"], "--by colour: no such attribute"),
        ([A, "--labels", LABELS, "--confidence", "2"], "--confidence 2; expected a number from 0.5"),
        ([A, "--labels", LABELS, "--rule", "youden"], "--rule youden needs thresholds"),
        ([A, "--labels", LABELS, "--valid", VALID, "--thresholds", "0.5"], "--valid would choose others"),
        ([",", "--labels", LABELS], "a model without predictions"),
        ([A, "--labels", LABELS, "--undo-class-weights", LABELS], "no column"),
    ],
)
def test_errors(cxr, arguments, message):
    done = cxr("evaluate", *arguments, "--draws", 100, "--no-plots")
    assert done.exit_code == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_input_is_never_overwritten(cxr, tmp_path):
    (tmp_path / "metrics.csv").write_bytes(A.read_bytes())
    done = cxr("evaluate", "metrics.csv", "--labels", LABELS, "--draws", 100, "--output", ".")
    assert done.exit_code == 2 and "inputs are never overwritten" in done.stderr
    assert (tmp_path / "metrics.csv").read_bytes() == A.read_bytes()


def test_only_what_cxr_wrote_is_replaced(cxr, tmp_path):
    arguments = (*BASE, "--valid", VALID, "--by", "sex", "--output", "out")
    assert cxr(*arguments).exit_code == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert cxr(*arguments).exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    for name in ("metrics.csv", "thresholds.json", "roc.png", "forest-sex.png", "result.json"):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / name).write_text("mine")
        done = cxr(*arguments[:-1], "other")
        assert done.exit_code == 2 and f"other/{name}: already exists and was not written by cxr" in done.stderr
        assert [path.name for path in (tmp_path / "other").iterdir()] == [name]
        (tmp_path / "other" / name).unlink()


def test_what_a_killed_run_left_is_replaced_by_the_same(cxr, tmp_path):
    line = ("evaluate", A, "--labels", LABELS, "--draws", 100, "--no-plots", "--output", "out")
    assert cxr(*line).exit_code == 0
    metrics = (tmp_path / "out" / "metrics.csv").read_bytes()
    (tmp_path / "out" / "result.json").unlink()  # it comes last
    assert cxr(*line).exit_code == 0
    assert (tmp_path / "out" / "metrics.csv").read_bytes() == metrics
    (tmp_path / "out" / "result.json").unlink()
    done = cxr(*line, "--seed", 1)
    assert done.exit_code == 2 and "metrics.csv: already exists" in done.stderr
    assert (tmp_path / "out" / "metrics.csv").read_bytes() == metrics
