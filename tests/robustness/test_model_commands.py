"""Hostile input for the commands behind a model: evaluate, predict, train, explain and report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.robustness import harness

HOSTILE = "x<script>alert(1)</script>](javascript:alert(2))|\n# h\n```\x1b[31m\u202e`"
DEEP = "[" * 100_000 + "]" * 100_000
#: Modules that lie beside the data; each leaves a file when it is run.
SHADOWED = ("struct", "pickle", "socket", "json", "csv", "html", "jinja2", "markupsafe", "numpy", "scipy", "keras")


@pytest.fixture
def measured(cxr, tmp_path):
    """Return a folder with a table, predictions for it, and the result of evaluate."""
    rows = [f"{number}.png,{number},{number % 2}" for number in range(40)]
    (tmp_path / "labels.csv").write_text("\n".join(["Image,PatientId,Mass", *rows]) + "\n")
    rows = [f"{number}.png,{(number * 7 % 40) / 40}" for number in range(40)]
    (tmp_path / "predictions.csv").write_text("\n".join(["Image,Mass", *rows]) + "\n")
    done = cxr(*EVALUATE, "--no-plots", "--output", "measured")
    assert done.exit_code == 0, done.stderr
    return tmp_path


EVALUATE = ("evaluate", "predictions.csv", "--labels", "labels.csv", "--draws", "100")


@pytest.mark.slow
@pytest.mark.parametrize("command", [EVALUATE, ("report", "measured")], ids=lambda command: command[0])
def test_code_and_settings_that_lie_beside_the_data_are_not_used(measured, tmp_path_factory, command):
    out = tmp_path_factory.mktemp("out")
    for name in SHADOWED:
        (measured / f"{name}.py").write_text(f'open("RAN-{name}", "w").close()\nraise ImportError("planted")\n')
    (measured / "matplotlibrc").write_text("text.usetex: True\nbackend: module://evil\n")
    script = out / "cxr-script"
    script.write_text("from cxr_cli.__main__ import main\nmain()\n")
    where = out if command[0] == "evaluate" else out / "page.html"
    done = subprocess.run(
        [sys.executable, script, *command, "--output", where],
        cwd=measured,
        env=harness.environment(PYTHONSAFEPATH=None),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in measured.glob("RAN-*")) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "PIPE", "--labels", "labels.csv"),
        ("evaluate", "predictions.csv", "--labels", "PIPE"),
        (*EVALUATE, "--thresholds", "PIPE.json"),
        (*EVALUATE, "--undo-class-weights", "PIPE.json"),
        ("predict", "model.keras", "labels.csv"),
        ("train", "model.keras", "--train", "store", "--valid", "store"),
        ("report", "store"),
    ],
)
def test_pipes_are_not_waited_for(cxr, measured, command):
    (measured / "store").mkdir()
    (measured / "model.keras").write_bytes(b"x")
    for name in ("PIPE", "PIPE.json", "model.keras.json", "store/result.json", "store/preprocess.json"):
        os.mkfifo(measured / name)
    done = cxr(*command)
    assert done.exit_code == 2
    assert "is a pipe" in done.stderr or "no results of cxr" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        (*EVALUATE, "--thresholds", "deep.json"),
        (*EVALUATE, "--undo-class-weights", "deep.json"),
        ("predict", "model.keras", "labels.csv"),
        ("report", "store"),
    ],
)
def test_documents_without_bottom_are_an_error(cxr, measured, command):
    (measured / "store").mkdir()
    (measured / "model.keras").write_bytes(b"x")
    for name in ("deep.json", "model.keras.json", "store/result.json"):
        (measured / name).write_text(DEEP)
    done = cxr(*command)
    assert done.exit_code == 2 and done.stderr.startswith("error: ")


def hostile(value):
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("ending", ["html", "md"])
def test_a_result_that_someone_wrote_cannot_steer_the_page_or_the_terminal(cxr, measured, ending):
    path = measured / "measured" / "result.json"
    document = json.loads(path.read_text())
    for key in ("result", "arguments", "inputs", "outputs"):
        document[key] = hostile(document[key])
    path.write_text(json.dumps(document))
    done = cxr("report", "measured", "--output", f"page.{ending}")
    assert done.exit_code == 1 and "was changed after cxr wrote it" in done.stderr
    page = (measured / f"page.{ending}").read_text()
    assert "\x1b" not in page + done.output and "\u202e" not in page + done.output
    assert "alert(1)" in page
    if ending == "html":
        assert "<script>alert" not in page and 'href="javascript' not in page
    else:
        assert not [line for line in page.splitlines() if line.startswith(("# h", "<script", "```\\x1b"))]


def test_outputs_that_a_result_names_are_not_read_from_elsewhere(cxr, measured):
    secret = measured / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    path = measured / "measured" / "result.json"
    document = json.loads(path.read_text())
    document["outputs"] = ["../../../../etc/passwd", str(secret), "measured/roc.png"]
    (measured / "measured" / "roc.png").symlink_to(secret)
    path.write_text(json.dumps(document))
    done = cxr("report", "measured", "--with-images", "--output", "page.html")
    assert done.exit_code in (1, 2)
    if done.exit_code == 1:
        assert "data:image" not in (measured / "page.html").read_text()


def test_a_page_of_someone_else_is_not_replaced(cxr, measured):
    (measured / "notes.md").write_text("mine")
    done = cxr("report", "measured", "--output", "notes.md")
    assert done.exit_code == 2 and "was not written by cxr" in done.stderr
    assert (measured / "notes.md").read_text() == "mine" and not (measured / "notes.json").exists()
    (measured / "other.json").write_text("{}")
    assert cxr("report", "measured", "--output", "other.html").exit_code == 2
    assert not (measured / "other.html").exists()
    for _ in range(2):  # one's own page is written anew
        assert cxr("report", "measured", "--output", "page.html").exit_code == 0


@pytest.mark.parametrize("command", ["train", "explain"])
def test_a_store_that_is_read_keeps_its_result(cxr, drawn, tmp_path, command):
    shutil.copytree(drawn / "stores", tmp_path / "stores")
    stores = ("--train", "stores/train", "--valid", "stores/valid") if command == "train" else ("stores/valid",)
    done = cxr(command, drawn / "model.keras", *stores, "--output", "stores/valid")
    assert done.exit_code == 2 and "result.json: is an input" in done.stderr
    assert not (tmp_path / "stores" / "valid" / "result.json").exists()
