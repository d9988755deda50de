from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cxr_cli
from cxr_cli import _PUBLIC, plots
from tests.conftest import ROOT


@pytest.mark.parametrize("name", sorted(_PUBLIC))
def test_public_names_lead_to_documented_functions_and_classes(name):
    found = getattr(cxr_cli, name)
    assert callable(found) and inspect.getdoc(found)
    assert found.__module__.startswith("cxr_cli.")
    assert name in cxr_cli.__all__ and name in dir(cxr_cli)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(cxr_cli.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: f"{node.module}:{alias.name}"
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {name: f"cxr_cli.{place}" + ("" if ":" in place else f":{name}") for name, place in _PUBLIC.items()}
    assert seen == lazy


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'cxr_cli' has no attribute 'nope'"):
        cxr_cli.nope  # noqa: B018


def test_a_name_loads_only_its_own_modules():
    code = "import sys; from cxr_cli import CxrError; assert not {'numpy', 'pandas', 'typer'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_session_with_public_names_only(tmp_path):
    table = cxr_cli.read_labels(ROOT / "sample_data" / "train-small.csv")
    outputs = cxr_cli.Outputs(tmp_path)
    result = cxr_cli.split(table, {"train": 0.8, "test": 0.2}, outputs=outputs)
    parts = {part.name: cxr_cli.read_labels(part.path) for part in result.splits}
    assert cxr_cli.check_leakage(parts).verdict == "clean"
    weights = cxr_cli.compute_weights(parts["train"], scheme="balanced")
    assert weights.class_weights.pathologies == table.pathologies


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.py"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_import_public_names_only(page):
    found = re.findall(r"^ *(?:from|import) (cxr_cli[\w.]*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(found) <= {"cxr_cli", "cxr_cli.plots"}


def test_plots_of_results_are_public():
    for name, module in plots._OF_RESULTS.items():
        assert getattr(plots, name).__module__ == f"cxr_cli.plots.{module}"
        assert name in dir(plots)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        plots.nope  # noqa: B018
