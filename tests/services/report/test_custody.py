from __future__ import annotations

from pathlib import Path

import pytest

from cxr_cli.data.files import InputFile
from cxr_cli.services.report.collect import Collection, Found
from cxr_cli.services.report.custody import breaks
from cxr_cli.services.result import Result

ONE, OTHER = "1" * 64, "2" * 64


def run(command, reads=(), writes=(), name=""):
    """Return a run that read and wrote files of these paths and hashes."""
    return Found(
        path=Path(f"study/{name or command}/result.json"),
        command=command,
        version="0",
        inputs=tuple(InputFile(path, 1, sha256) for path, sha256 in reads),
        outputs={**dict(writes), f"study/{name or command}/result.json": None},
        result=Result(),
        source=InputFile("result.json", 1, ONE),
        intact=True,
        arguments=(),
    )


SPLIT = run("split", writes=[("study/splits/train.csv", ONE)])
STORE = run("preprocess", [("study/splits/train.csv", ONE)], [("study/store/preprocess.json", ONE)])
MODEL = run("build-model", [("study/store/preprocess.json", ONE)], [("study/model/model.keras", ONE)])
TRAINING = run(
    "train",
    [("study/model/model.keras", ONE), ("study/store/preprocess.json", ONE)],
    [("study/train/model.keras", OTHER), ("study/train/valid-predictions.csv", OTHER)],
)
PREDICTION = run("predict", [("study/train/model.keras", OTHER)], [("study/predictions.csv", ONE)])
EVALUATION = run("evaluate", [("study/predictions.csv", ONE), ("study/splits/test.csv", OTHER)])


def found(*runs):
    return breaks(Collection(runs, {}))


def test_a_chain_that_holds():
    assert found(SPLIT, STORE, MODEL, TRAINING, PREDICTION, EVALUATION) == ()


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ((SPLIT, run("preprocess", [("a.csv", OTHER)])), "'cxr preprocess' used a file that 'cxr split'"),
        ((SPLIT, run("weights", [("a.csv", OTHER)])), "'cxr weights' used a file that 'cxr split'"),
        (
            (STORE, run("train", [("other/preprocess.json", OTHER)])),
            "'cxr train' used a file that 'cxr preprocess' of this report did not write",
        ),
        (
            (MODEL, run("train", [("other.keras", OTHER)])),
            "'cxr train' used a file that 'cxr build-model' of this report did not write",
        ),
        (
            (TRAINING, run("predict", [("other.keras", "3" * 64)])),
            "'cxr predict' used a file that 'cxr train' of this report did not write",
        ),
        (
            (PREDICTION, run("evaluate", [("other.csv", OTHER), ("labels.csv", "3" * 64)])),
            "'cxr evaluate' used a file that 'cxr predict' of this report did not write",
        ),
        (
            (TRAINING, run("explain", [("other.keras", "3" * 64)])),
            "'cxr explain' used a file that 'cxr train' of this report did not write",
        ),
        (
            (SPLIT, run("preprocess", [("study/splits/train.csv", OTHER)])),
            "read another content than 'cxr split' wrote",
        ),
    ],
)
def test_chains_that_break(runs, said):
    assert any(said in item.message for item in found(*runs)), found(*runs)


def test_a_cleaned_copy_of_a_table_may_be_used():
    cleaned = run("check-leakage", writes=[("cleaned/train.csv", OTHER)])
    assert found(SPLIT, cleaned, run("weights", [("cleaned/train.csv", OTHER)])) == ()
