import json

import pytest

from cxr_cli.data.class_weights import read_class_weights
from cxr_cli.data.labels import read_labels
from cxr_cli.services.weights.weights import compute_weights
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "weights"
PLOTS = [f"cxr-output/weights/{name}.png" for name in ("class-distribution", "contributions", "loss-shares")]


@pytest.fixture
def train(sample_data):
    return sample_data / "train-small.csv"


def test_golden(cxr, train, golden):
    golden("weights", cxr("weights", train, "--json").stdout)


def test_json_is_what_the_service_returns(cxr, train):
    done = cxr("weights", train, "--json", "--scheme", "effective-number", "--beta", 0.99, "--max-ratio", 10)
    document = json.loads(done.stdout)
    assert done.exit_code == 0
    expected = compute_weights(read_labels(train), scheme="effective-number", beta=0.99, max_ratio=10)
    assert document["result"] == expected.to_dict()
    assert document["command"] == "weights"
    assert document["outputs"] == [*PLOTS, "cxr-output/weights/result.json"]
    assert [item["path"] for item in document["inputs"]] == [str(train)]


def test_tables_on_stdout_and_the_rest_on_stderr(cxr, train, tmp_path):
    done = cxr("weights", train)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{train}: class weights of 200 images, scheme frequency\n")
    assert "Pleural_Thickening" in done.stdout and "always the prevalence" not in done.stdout
    assert len(done.stdout.splitlines()) < 50
    assert "q n / (q n + (1 - q) w)" in done.stdout
    for text in ("Infiltration takes", "note: these weights belong", "fit(class_weight=...) silently takes the argmax"):
        assert text in done.stderr and text not in done.stdout
    for name in PLOTS:
        assert f"saved {name}" in done.stderr
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_binary_example_of_the_course(cxr):
    done = cxr("weights", EXAMPLES / "binary.csv", "--reduction", "sum", "--losses", "--no-plots")
    for number in ("2.6187", "7.0131", "1.8060", "0.250", "0.750", "0.0790", "1.7269"):
        assert number in done.stdout
    assert "saved" not in done.stderr


def test_further_examples_of_the_course(cxr):
    predictions = ["--predictions", EXAMPLES / "two-predictions.csv"]
    done = cxr("weights", EXAMPLES / "two.csv", *predictions, "--reduction", "sum", "--losses", "--no-plots")
    assert done.stdout.count("1.2485") == 2
    for number in (1, 2):
        predictions = ["--predictions", EXAMPLES / f"three-predictions-{number}.csv"]
        done = cxr("weights", EXAMPLES / "three.csv", *predictions, "--epsilon", 1, "--no-plots", "--json")
        document = json.loads(done.stdout)
        assert document["result"]["predictors"][-1]["weighted_loss"] == pytest.approx(-0.4956203, abs=1e-7)
        assert len(document["inputs"]) == 2


def test_saved_json_is_what_json_prints(cxr, train, tmp_path):
    done = cxr("weights", train, "--json", "--save", "weights.json")
    saved, printed = json.loads((tmp_path / "weights.json").read_text()), json.loads(done.stdout)
    assert printed.pop("seal") != saved.pop("seal")
    assert saved.pop("output_hashes") == {} and list(printed.pop("output_hashes")) == ["weights.json"]
    assert saved == printed
    assert json.loads(done.stdout)["outputs"] == [*PLOTS, "weights.json", "cxr-output/weights/result.json"]
    assert "saved weights.json" in done.stderr
    assert read_class_weights(tmp_path / "weights.json") == compute_weights(read_labels(train)).class_weights


def test_saved_csv_holds_the_same_and_where_it_comes_from(cxr, train, tmp_path):
    cxr("weights", train, "--save", "sub/weights.csv", "--no-plots")
    path = tmp_path / "sub" / "weights.csv"
    assert read_class_weights(path) == compute_weights(read_labels(train)).class_weights
    header, first = path.read_text().splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert (row["pathology"], row["n_positive"], row["n_negative"], row["scheme"]) == (
        "Atelectasis",
        "20",
        "180",
        "frequency",
    )
    assert row["source_sha256"] == read_labels(train).source.sha256


def test_same_bytes_every_time(cxr, train, tmp_path):
    names = [*PLOTS, "w.json"]
    cxr("weights", train, "--save", "w.json")
    before = [(tmp_path / name).read_bytes() for name in names]
    cxr("weights", train, "--save", "w.json")
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_code_to_paste(cxr, train):
    for kind, text in (("keras", "WeightedBinaryCrossentropy("), ("torch", "pos_weight = positive / negative")):
        done = cxr("weights", train, "--print-code", kind, "--no-plots")
        assert done.exit_code == 0
        compile(done.stdout, kind, "exec")
        assert text in done.stdout
        assert "argmax" in done.stderr
    done = cxr("weights", train, "--print-code", "keras", "--save", "w.json", "--no-plots")
    assert "read_class_weights('w.json')" in done.stdout
    assert "saved w.json" in done.stderr


def test_unknown_and_one_sided_pathologies_are_named(cxr, tmp_path):
    (tmp_path / "t.csv").write_text("Image,Mass,Edema,Hernia,Fibrosis\na.png,1,0,1,0\nb.png,0,0,,0\n")
    done = cxr("weights", "t.csv", "--no-plots")
    assert done.exit_code == 0
    assert "note: 1 of 8 labels are unknown and left out" in done.stderr
    share = "28.57 % of the weighted loss"
    without = f"warning: no positives of Edema ({share}), Fibrosis ({share}): left unweighted"
    assert without in done.stderr
    assert f"warning: no negatives of Hernia ({share})" in done.stderr
    assert "unknown" in done.stdout


def test_uncertain_labels_are_said(cxr, tmp_path):
    (tmp_path / "t.csv").write_text(
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema\n"
        "a/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,1.0,-1.0\n"
        "a/patient00002/study1/view1_frontal.jpg,Male,68,Frontal,AP,,0.0,1.0\n"
        "a/patient00003/study1/view1_frontal.jpg,Male,68,Frontal,AP,,,0.0\n"
    )
    done = cxr("weights", "t.csv", "--no-plots")
    assert "2 of 6 labels are unknown (1 of them uncertain) and left out" in done.stderr
    done = cxr("weights", "t.csv", "--no-plots", "--uncertain", "negative")
    assert "1 of 6 labels are unknown and left out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv"], "missing.csv: no such file"),
        (["good.csv", "--save", "weights.txt"], "--save weights.txt; expected a file ending in .json or .csv"),
        (["good.csv", "--save", "good.csv"], "good.csv: is an input"),
        (["good.csv", "--predictions", "bad.csv"], "bad.csv: line 3: column Mass: probability 1.5"),
        (["good.csv", "--predictions", "none.csv"], "none.csv: no such file"),
        (["good.csv", "--print-code", "keras", "--json"], "--print-code and --json"),
        (["good.csv", "--beta", "0.9"], "--beta has no effect with --scheme frequency"),
        (["good.csv", "--max-ratio", "0.5"], "--max-ratio 0.5; expected"),
        (["good.csv", "--epsilon", "-1"], "--epsilon -1; expected"),
        (["good.csv", "--scheme", "nope"], "nope"),
    ],
)
def test_what_cannot_be_done_writes_nothing(cxr, tmp_path, arguments, message):
    (tmp_path / "good.csv").write_text("Image,Mass\na.png,1\nb.png,0\n")
    (tmp_path / "bad.csv").write_text("Image,Mass\na.png,0.5\nb.png,1.5\n")
    before = sorted(tmp_path.rglob("*"))
    done = cxr("weights", *arguments, *([] if "--save" in arguments else ["--save", "new.json"]))
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before
