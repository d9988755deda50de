from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cxr_cli.cli.app import app

#: A small study, each command with a folder of its own.
COMMANDS = (
    "explore {data}/train-small.csv --n-images 2 --output study/explore",
    "check-leakage {data}/train-small.csv {data}/valid-small.csv --output study/leakage",
    "split {data}/train-small.csv --output study/splits",
    "preprocess study/splits/train.csv --images {data}/images-small --image-size 32 --dtype uint8 --no-plots "
    "--output study/store",
    "weights study/splits/train.csv --no-plots --output study/weights",
)


def run(line, **names):
    done = CliRunner().invoke(app, line.format(**names).split())
    assert done.exit_code in (0, 1), done.output
    return done


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory, sample_data):
    """Run the commands once; never write into the folder."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in COMMANDS:
            run(line, data=sample_data)
    return folder


@pytest.fixture
def study(finished_study, tmp_path, monkeypatch):
    """Return a copy of the study that may be spoilt, as the current folder."""
    import shutil

    shutil.copytree(finished_study, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"
