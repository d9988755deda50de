from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from cxr_cli.services.json_schema import document_schema

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_network")]


@pytest.fixture
def arguments(drawn):
    return (
        "train",
        drawn / "model.keras",
        "--train",
        drawn / "stores" / "train",
        "--valid",
        drawn / "stores" / "valid",
    )


def test_leakage_is_bad_news_and_trains_nothing(cxr, drawn, golden, tmp_path):
    store = drawn / "stores" / "valid"
    done = cxr("train", drawn / "model.keras", "--train", store, "--valid", store, "--no-plots", "--json")
    assert done.exit_code == 1
    assert "nothing was trained" in done.stderr and "--allow-leakage" in done.stderr
    assert not (tmp_path / "cxr-output").exists()
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("train"))
    # What depends on the machine: digests of the model and of manifests with versions in them.
    for item in [*document["inputs"], document["result"]["model"], *sources(document["result"])]:
        item.update(size=1, sha256="0", path=item["path"].rpartition("/")[2])
    golden("train", json.dumps(document))


def sources(result):
    found = []
    for split in ("train", "valid"):
        found += [result[split]["store"], *result[split]["tables"]]
    return found


def test_what_is_trained_is_written_listed_and_shown(cxr, arguments, tmp_path):
    done = cxr(*arguments, "--epochs", 3, "--batch-size", 8, "--output", "out")
    assert done.exit_code in (0, 1), done.output
    names = {"model.keras", "model.keras.json", "history.csv", "valid-predictions.csv", "learning-curves.png"}
    names |= {"result.json", "cache"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    jsonschema.validate(document, document_schema("train"))
    assert [item["path"].rpartition("/")[2] for item in document["inputs"]] == [
        "model.keras", "preprocess.json", "preprocess.json",
    ]  # fmt: skip
    for name in names - {"cache"}:
        assert f"saved out/{name}" in done.stderr
    assert "features epoch 3: AUROC" in done.stderr
    assert "Validation images" in done.stdout and "Cardiomegaly" in done.stdout
    # The same again: everything is ours, and the cache is used.
    again = cxr(*arguments, "--epochs", 3, "--batch-size", 8, "--output", "out", "--json")
    assert all(cache["reused"] for cache in json.loads(again.stdout)["result"]["caches"])


def test_sanity_gate_is_bad_news(cxr, arguments, monkeypatch):
    import cxr_cli.services.train.train as module
    from cxr_cli.services.train.sanity import Chance

    monkeypatch.setattr(module, "against_chance", lambda *more: Chance(0.51, 0.47, 0.55, 100))
    done = cxr(*arguments, "--epochs", 1, "--no-plots")
    assert done.exit_code == 1
    assert "nothing was learnt: the mean validation AUROC is 0.510" in done.stderr
    causes = [done.stderr.index(cause) for cause in (
        "1. weights never loaded: the base has random weights and stayed frozen",
        "2. labels in another order",
        "3. standardization not the base's: images are standardized samplewise; a random base",
        "4. too few positives",
        "5. learning rate: 0.05",
    )]  # fmt: skip
    assert causes == sorted(causes)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--loss", "categorical-crossentropy"), "--loss binary-crossentropy"),
        (("--stages", "all,features"), "in this order"),
        (("--learning-rate", "fast"), "--learning-rate fast"),
        (("--augment", "geometric"), "needs stage 'all'"),
        (("--time-limit", "0"), "minutes, above 0"),
    ],
)
def test_wrong_use_is_named(cxr, arguments, more, message, tmp_path):
    done = cxr(*arguments, *more)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_files_are_named(cxr, drawn, arguments, tmp_path):
    done = cxr("train", "missing.keras", *arguments[2:])
    assert done.exit_code == 2 and "missing.keras" in done.stderr
    (tmp_path / "model.keras").write_bytes(b"x")
    done = cxr("train", "model.keras", *arguments[2:])
    assert done.exit_code == 2 and "has no model card" in done.stderr
    done = cxr(*arguments[:-1], drawn)
    assert done.exit_code == 2 and "preprocess.json" in done.stderr


@pytest.mark.parametrize("name", ["history.csv", "model.keras.json"])
def test_files_of_others_are_not_replaced(cxr, arguments, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    done = cxr(*arguments, "--output", "out")
    assert done.exit_code == 2 and "was not written by cxr" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]  # seen before anything was trained
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_learning_curves(drawn):
    from cxr_cli.plots.train import plot_learning_curves
    from cxr_cli.services.train.result import Epoch

    class Stub:
        seed = 0
        epochs = tuple(
            Epoch(stage, epoch, 0.5, 0.6, 0.7 + epoch / 100, 0.4, "Mass", 0.6)
            for stage in ("features", "all")
            for epoch in range(3)
        )

    class Result:
        runs = (Stub(),)
        train = valid = type("Source", (), {"n_images": 1234})()

    figure = plot_learning_curves(Result())
    loss, auroc, auprc = figure.axes
    assert "1,234" in figure.get_suptitle()
    np.testing.assert_allclose(auroc.lines[0].get_ydata(), [0.7, 0.71, 0.72] * 2)
    assert [text.get_text() for text in auprc.texts] == ["features", "all"]
    assert len(loss.lines) == 2 + 2  # two curves, two stages
