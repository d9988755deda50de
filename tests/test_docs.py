"""What the documentation says is what the program does: tables, recordings, examples."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cxr_cli.cli.app import app
from cxr_cli.services.parallel import available_cores
from tests.conftest import ROOT
from tests.helpers import load_script

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = [command.name for command in app.registered_commands]
#: Runs of words that begin a section; every command's page has them, in this order.
SECTIONS = ["## Options", "## In a shell script", "## As a library", "## Limits", "## JSON"]
QUICK = "run: python docs/make_docs.py --quick"

make_docs = load_script(ROOT / "docs" / "make_docs.py")


def make_playground(folder):
    """Return a folder to play in and one with ``cxr`` and ``python`` as commands."""
    playground, commands = folder / "playground", folder / "commands"
    commands.mkdir()
    make_docs.fill_playground(playground)
    make_docs.make_commands(commands)
    return playground, commands


@pytest.fixture
def playground(tmp_path):
    return make_playground(tmp_path)


def blocks(text, language):
    """Return the code blocks of a language in a page; those that need what is not at hand say ``norun``."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for code in found if "-m venv" not in code]  # what sets up from nothing is run by .ci/run


def run(arguments, playground):
    folder, commands = playground
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)


def exit_codes(playground):
    """Return the exit code of every ``cxr`` so far, also of those whose code a script swallowed."""
    return [int(line) for line in (playground[1] / "codes").read_text().split()]


def run_page(page, folder):
    """Run the blocks of a page one after the other in one folder, as a reader would; fail where one cannot work."""
    playground = make_playground(folder)
    text = page.read_text(encoding="utf-8")
    (playground[1] / "codes").write_text("")
    recorded = {command.partition(" | ")[0] for command, _ in make_docs.RECORDINGS.values()}
    for code in blocks(text, "shell"):
        if code.strip() in recorded:  # the test of the recordings runs it
            continue
        before = len(exit_codes(playground))
        done = run(["sh", "-c", code], playground)
        # "Bad news" (1) is an answer of cxr; an example must never be unable to work.
        codes = exit_codes(playground)[before:]
        assert set(codes) <= {0, 1} and done.returncode in {0, *codes}, f"{code}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    # In one process, as in a notebook: starting TensorFlow takes longer than most examples.
    done = run([sys.executable, "-c", "\n".join(blocks(text, "python"))], playground)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """Run the examples of all pages that are to be tested, as many at a time as there are cores."""
    tests = [item for item in request.session.items if item.name.startswith("test_examples_run")]
    with ThreadPoolExecutor(available_cores()) as pool:
        pages = [item.callspec.params["page"] for item in tests]
        yield {page: pool.submit(run_page, page, tmp_path_factory.mktemp(page.stem)) for page in pages}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name != "reference"], ids=lambda page: page.stem
)
def test_examples_run(runs, page):
    runs[page].result()


def test_ci_runs_both_commands_of_the_readme():
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    patterns = re.findall(r"^run_from_readme '(.*)'$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert [bool(re.search(pattern, command)) for pattern in patterns for command in commands] == [1, 0, 0, 1]


def test_every_block_of_code_says_what_it_is():
    known = {"shell", "shell norun", "python", "python norun", "text", ""}
    for page in PAGES:
        kinds = re.findall(r"^```(.*)\n(?:.*\n)*?^```$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(kinds) <= known, page.name


MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "cxr_cli").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed


@pytest.mark.parametrize("command", COMMANDS)
def test_pages_are_up_to_date_and_alike(command):
    page = (ROOT / "docs" / f"{command}.md").read_text(encoding="utf-8")
    assert "<!-- options -->" in page and f"(reference/{command}.md)" in page
    assert make_docs.page_with_options(command, page) == page, QUICK
    assert len(page.splitlines()) <= 200, "field tables belong in docs/reference/, details in a page of their own"
    reference = ROOT / "docs" / "reference" / f"{command}.md"
    assert reference.read_text(encoding="utf-8") == make_docs.reference_page(command), QUICK
    places = [page.find(f"\n{section}\n") for section in SECTIONS]
    assert -1 not in places and places == sorted(places), dict(zip(SECTIONS, places, strict=True))


def test_the_page_of_data_sets_is_up_to_date():
    page = make_docs.DATA_SETS.read_text(encoding="utf-8")
    assert make_docs.data_sets_page(page) == page, QUICK


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="recordings need a pseudo-terminal")
@pytest.mark.parametrize("image", sorted(make_docs.RECORDINGS))
def test_recordings_show_what_the_command_prints(playground, image):
    command, width = make_docs.RECORDINGS[image]
    shown = (ROOT / "docs" / "images" / image).read_text(encoding="utf-8")
    now = make_docs.svg_of(command, width, make_docs.run_in_terminal(command, width, *playground))
    assert make_docs.text_of_svg(shown) == make_docs.text_of_svg(now), "run: python docs/make_docs.py"


def test_links_lead_somewhere():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
            if "://" in target:
                continue
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {anchor_of(title) for title in titles}, f"{page.name}: {target}#{anchor}"


def anchor_of(title):
    """Return the anchor that GitHub gives a title."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_image_is_shown_and_made_by_the_script():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    images = {path.name for path in Path(ROOT / "docs" / "images").glob("*")}
    of_pipeline = {*make_docs.PIPELINE_RECORDINGS, *make_docs.PIPELINE_PLOTS}
    assert images == {*make_docs.RECORDINGS, *make_docs.PLOTS, *make_docs.PAGES, *of_pipeline}
    for image in images:
        assert image in text, image
