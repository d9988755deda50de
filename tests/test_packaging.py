"""The wheel: built from a clean clone, installed elsewhere, it explores a copy of the sample data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT


def run(*command, cwd, **environment):
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_of_a_clean_clone_works_elsewhere(tmp_path, sample_data):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone")
    run("git", "clone", "--quiet", ROOT, tmp_path / "clone", cwd=tmp_path)
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    run(*build, "--wheel-dir", tmp_path / "wheels", tmp_path / "clone", cwd=tmp_path)
    (wheel,) = (tmp_path / "wheels").iterdir()
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*install, "--target", tmp_path / "site", wheel, cwd=tmp_path)
    shutil.copy(sample_data / "train-small.csv", tmp_path / "t.csv")
    where = run(sys.executable, "-c", "import cxr_cli; print(cxr_cli.__file__)", cwd=tmp_path, PYTHONPATH="site")
    assert where.startswith(str(tmp_path / "site"))
    printed = run(
        sys.executable, "-m", "cxr_cli", "explore", "t.csv", "--no-plots", cwd=tmp_path, PYTHONPATH=f"{tmp_path}/site"
    )
    assert "Infiltration" in printed


def test_the_readme_promises_the_pythons_that_install():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "Python 3.11 to 3.13" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_requirement_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [item for items in project["optional-dependencies"].values() for item in items]

    def name(requirement: str) -> str:
        return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")

    pinned = {name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert {name(item) for item in project["dependencies"] + extras} - pinned <= {"cxr-cli"}
