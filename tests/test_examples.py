"""The examples do what they say, on the sample data."""

import re
import subprocess
import sys

import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.recipe import Recipe
from tests.conftest import ROOT


@pytest.mark.slow
def test_training_on_a_store_lowers_the_loss(cxr, sample_data, tmp_path):
    table = tmp_path / "train-small.csv"
    lines = (sample_data / "train-small.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:65]))
    recipe = Recipe(image_size=(64, 64), dtype="uint8")
    preprocess(read_labels(table), sample_data / "images-small", tmp_path / "store", Options(recipe), workers=1)
    assert cxr("weights", table, "--save", "weights.json", "--no-plots").exit_code == 0
    built = cxr(
        "build-model",
        "--store",
        "store/preprocess.json",
        "--class-weights",
        "weights.json",
        "--save",
        "model.keras",
        "--no-plots",
    )
    assert built.exit_code == 0, built.output
    script = ROOT / "examples" / "train_on_store.py"
    arguments = ["store", "model.keras", "trained.keras", "--epochs", "4", "--batch-size", "16"]
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=tmp_path,
        env=None,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    losses = [float(text) for text in re.findall(r"\bloss: ([0-9.e+-]+)", done.stdout)]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert (tmp_path / "trained.keras").stat().st_size > 1_000_000


def test_pipeline_of_the_readme_is_that_of_the_script():
    script = (ROOT / "examples" / "pipeline.sh").read_text(encoding="utf-8")
    commands = script.partition("# pipeline\n")[2]
    assert "\ncxr train " in commands
    assert f"```shell norun\n{commands}```" in (ROOT / "README.md").read_text(encoding="utf-8")
