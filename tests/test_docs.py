"""What the documentation says is what the program does: tables, recordings, examples."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

spec = importlib.util.spec_from_file_location("make_docs", ROOT / "docs" / "make_docs.py")
make_docs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_docs)


@pytest.fixture(scope="module")
def playground(tmp_path_factory):
    """Return a folder with the sample data and an environment in which ``cxr`` and ``python`` are this package's."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "sample_data", folder / "sample_data")
    shutil.copytree(ROOT / "examples", folder / "examples") if (ROOT / "examples").is_dir() else None
    commands = tmp_path_factory.mktemp("bin")
    for name, call in (("cxr", f'"{sys.executable}" -m cxr_cli "$@"'), ("python", f'"{sys.executable}" "$@"')):
        (commands / name).write_text(f"#!/bin/sh\nexec {call}\n")
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return folder, environment


def examples():
    """Yield every ```shell and ```python block of the pages; a block that cannot run here says ``norun``."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for number, match in enumerate(re.finditer(r"^```(shell|python)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)):
            if "python3 -m venv" not in match[2]:  # set-up lines are what CI itself runs
                yield pytest.param(match[1], match[2], id=f"{page.name}-{number}")


@pytest.mark.slow
@pytest.mark.parametrize(("language", "code"), examples())
def test_examples_run(playground, language, code):
    folder, environment = playground
    if language == "shell":
        # A gate in an example may answer "bad news" (1); an example must never be unable to work (2).
        done = subprocess.run(["sh", "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
    else:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", sorted(make_docs.RESULTS))
def test_tables_are_up_to_date(command):
    page = (ROOT / "docs" / f"{command}.md").read_text(encoding="utf-8")
    assert "<!-- options -->" in page and "<!-- fields -->" in page
    assert make_docs.page_with_tables(command, page) == page, "run: python docs/make_docs.py --quick"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="recordings need a pseudo-terminal")
@pytest.mark.parametrize("name", sorted(make_docs.RECORDINGS))
def test_recordings_show_what_the_command_prints(playground, name):
    folder, _ = playground
    command = make_docs.RECORDINGS[name]
    shown = (ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8")
    now = make_docs.svg_of(command, make_docs.run_in_terminal(command, folder))
    assert make_docs.text_of_svg(shown) == make_docs.text_of_svg(now), "run: python docs/make_docs.py"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_picture_is_shown_somewhere():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in sorted(Path(ROOT / "docs" / "images").glob("*")):
        assert picture.name in text, picture.name
