"""The walls of the design: what imports what, and what a command must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_cli.cli.app import app
from tests.conftest import ROOT

PACKAGE = ROOT / "cxr_cli"
COMMANDS = [command.name for command in app.registered_commands]
#: What each part may import of the package at module level; cli -> services -> data -> errors.
ALLOWED = {
    "errors.py": set(),
    "choices.py": {"errors"},
    "data": {"data", "errors", "choices"},
    "models": {"models", "services", "data", "errors", "choices"},
    "services": {"services", "data", "errors", "choices"},
    "plots": {"plots", "services", "data", "errors", "choices"},
    "cli": {"cli", "services", "data", "errors", "choices"},
}


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules loaded after running code in a fresh interpreter."""
    script = (
        f"import sys\ntry:\n{code}\nexcept SystemExit: pass\nprint('LOADED', *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("LOADED")
    return {name.partition(".")[0] for name in last.split()[1:]}


def module_level_imports(path: Path) -> set[str]:
    """Return the modules a file imports when it is itself imported."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_importing_the_package_costs_nothing():
    assert not loaded_after(" import cxr_cli") & {"typer", "rich", "numpy", "pandas", "matplotlib", "tensorflow"}


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments):
    code = f" from cxr_cli.cli.app import app; app({arguments!r})"
    assert not loaded_after(code) & {"numpy", "pandas", "matplotlib", "tensorflow", "keras", "PIL"}


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_dependencies_run_one_way(part):
    place = PACKAGE / part
    for path in [place] if place.is_file() else place.rglob("*.py"):
        inside = {name.split(".")[1] for name in module_level_imports(path) if name.startswith("cxr_cli.")}
        assert inside <= ALLOWED[part], path


@pytest.mark.parametrize("name", ["errors", "choices"])
def test_what_everybody_imports_needs_the_standard_library_only(name):
    tops = {module.partition(".")[0] for module in module_level_imports(PACKAGE / f"{name}.py")}
    assert tops <= {*sys.stdlib_module_names, "cxr_cli"}


def test_only_models_import_keras_at_module_level():
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "models":
            heavy = {name.partition(".")[0] for name in module_level_imports(path)} & {
                "tensorflow",
                "keras",
                "tf_keras",
            }
            assert not heavy, path


def test_only_the_terminal_uses_typer_and_rich():
    for path in PACKAGE.rglob("*.py"):
        if not path.is_relative_to(PACKAGE / "cli"):
            tops = {name.partition(".")[0] for name in module_level_imports(path)}
            assert not tops & {"typer", "rich"}, path


def test_every_command_and_option_is_explained(cxr):
    for name in COMMANDS:
        result = cxr(name, "--help")
        assert result.exit_code == 0
        page = ROOT / "docs" / f"{name}.md"
        assert page.is_file(), f"docs/{name}.md is missing"
