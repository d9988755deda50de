"""One mistake, two readers: the library names arguments as in Python, the terminal as options."""

from __future__ import annotations

import json
import pickle
import re

import pytest

from cxr_cli import ModelOptions, PreprocessOptions, Recipe, Thresholds, divide, read_labels
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.errors import Message, UsageError, argument, in_terminal, marked
from cxr_cli.services.cluster import open_executor
from cxr_cli.services.explore.explore import explore
from cxr_cli.services.preprocess.options import check
from cxr_cli.services.result import plain
from cxr_cli.services.split.split import fold_fractions, parse_fractions
from cxr_cli.services.weights.save import check_file
from cxr_cli.services.weights.weights import compute_weights
from tests.conftest import ROOT

WEIGHTS = ClassWeights(("Mass",), (0.9,), (0.1,), None)


@pytest.fixture(scope="module")
def table():
    return read_labels(ROOT / "sample_data" / "train-small.csv")


def model(**options):
    return ModelOptions(("Mass",), **options)


MISTAKES = [
    (lambda table: compute_weights(table, epsilon=-1), "epsilon=-1", "--epsilon -1"),
    (lambda table: compute_weights(table, beta=0.9), "beta", "--beta"),
    (lambda table: compute_weights(table, scheme="effective-number", beta=2), "beta=2", "--beta 2"),
    (lambda table: compute_weights(table, max_ratio=0.5), "max_ratio=0.5", "--max-ratio 0.5"),
    (lambda table: compute_weights(table, scheme="inverse"), "scheme='inverse'", "--scheme inverse"),
    (lambda table: check_file(ROOT / "w.txt"), f"file='{ROOT}/w.txt'", f"--save {ROOT}/w.txt"),
    (lambda table: explore(table, n_images=-1), "n_images=-1, seed=0", "--n-images -1, --seed 0"),
    (lambda table: read_labels(table.path, schema="nope"), "schema='nope'", "--schema nope"),
    (lambda table: read_labels(table.path, uncertain="maybe"), "uncertain='maybe'", "--uncertain maybe"),
    (lambda table: Thresholds(near_distance=70), "near_distance=70, review_distance=60", "--near-distance 70"),
    (lambda table: Thresholds(near_correlation=0.5), "near_correlation=0.5", "--near-correlation 0.5"),
    (lambda table: divide(table, {"train": 0.9}), "fractions={'train': 0.9}", "--fractions train=0.9"),
    (lambda table: divide(table, min_positives=-1), "min_positives=-1", "--min-positives -1"),
    (lambda table: fold_fractions(1), "n_folds=1", "--folds 1"),
    (lambda table: parse_fractions("1,2,3,4"), "fractions='1,2,3,4'", "--fractions 1,2,3,4"),
    (lambda table: model(loss="weighted-bce"), "loss='weighted-bce'", "--loss weighted-bce"),
    (lambda table: model(loss="binary-crossentropy", class_weights=WEIGHTS), "class_weights", "--class-weights"),
    (lambda table: model(learning_rate=-1.0), "learning_rate=-1.0", "--learning-rate -1"),
    (lambda table: model(freeze="all"), "freeze='all'", "--freeze all"),
    (lambda table: model(keep_head=True), "keep_head=True", "--keep-head"),
    (lambda table: model(image_size=(8, 9)), "image_size=(8, 9)", "--image-size 8x9"),
    (lambda table: Recipe(dtype="float16"), "dtype='float16'", "--dtype float16"),
    (lambda table: check(PreprocessOptions(Recipe(format="png"))), "format='png'", "--format png"),
    (lambda table: check(PreprocessOptions(fit_sample=3)), "fit_sample", "--fit-sample"),
    (
        lambda table: check(PreprocessOptions(fit_statistics=True)),
        "standardize='samplewise'",
        "--standardize samplewise",
    ),
    (lambda table: check(PreprocessOptions(engine="keras")), "engine='keras'", "--engine keras"),
    (lambda table: open_executor(2, "tcp://host:1").__enter__(), "workers and cluster", "--workers and --cluster"),
]


@pytest.mark.parametrize(("call", "in_python", "in_terminal"), MISTAKES, ids=[item[1] for item in MISTAKES])
def test_errors_speak_to_their_reader(table, call, in_python, in_terminal):
    with pytest.raises(UsageError) as caught:
        call(table)
    assert str(caught.value).startswith(in_python)
    assert not re.search(r"(?<!')--[a-z]", str(caught.value).replace("'cxr weights LABELS --save weights.json'", ""))
    assert caught.value.in_terminal().startswith(in_terminal)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weights {} --epsilon -1", "--epsilon -1; expected a number that is not negative"),
        ("weights {} --beta 0.9", "--beta has no effect with --scheme frequency"),
        ("split {} --fractions 0.5,0.6", "--fractions train=0.5,valid=0.6: the fractions add up to 1.1"),
        ("explore {} --schema nope", "--schema nope: no such schema"),
        ("build-model --pathologies Mass --keep-head", "--keep-head has no effect with --pretrained none"),
    ],
)
def test_the_terminal_names_options(cxr, table, line, message):
    done = cxr(*(part.format(table.path) for part in line.split()))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {message}")


def test_messages_in_results_speak_both_languages():
    inside = Message(f"read it with {argument('columns', 'labels=Mass')}")
    message = Message(f"not used: {marked(inside)}; {argument('uncertain')} decides")
    assert message == "not used: read it with columns='labels=Mass'; uncertain decides"
    assert in_terminal(message) == "not used: read it with --columns labels=Mass; --uncertain decides"
    assert in_terminal("plain") == marked("plain") == "plain"
    back = pickle.loads(pickle.dumps(message))
    assert (back, in_terminal(back)) == (message, in_terminal(message))
    assert type(plain(message)) is str


def test_json_names_arguments_and_the_terminal_options(cxr, tmp_path):
    (tmp_path / "own.csv").write_text("Image,Mass,findings\na.png,1,Mass\nb.png,-1,Edema\n")
    line = ("explore", "own.csv", "--columns", "labels=Mass", "--no-plots")
    done, document = cxr(*line), cxr(*line, "--json")
    assert (done.exit_code, document.exit_code) == (0, 0)
    words = [issue["message"] for issue in json.loads(document.stdout)["result"]["issues"]]
    assert any("; uncertain decides" in text for text in words)
    assert any("named with columns)" in text for text in words)
    assert not any("--" in text or "\x02" in text for text in words)
    assert "; --uncertain decides" in done.stdout and "named with --columns)" in done.stdout
