"""The walls of the design: what imports what, and what a command must not load."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr_cli.cli.app import app
from cxr_cli.data.schemas import SCHEMAS
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


#: Folders of services/ that every command may use; the others are named as commands.
SHARED = {"store", "images", "metrics"}
#: Commands that call check-leakage on what they read or write.
CHECK_LEAKAGE = {"split", "train", "evaluate", "explain"}
SERVICES = PACKAGE / "services"
ROOMS = sorted(path.name for path in SERVICES.iterdir() if (path / "__init__.py").is_file())


def all_imports(path: Path) -> set[str]:
    """Return the modules a file imports anywhere, inside functions too."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_services_holds_a_docstring_in_its_init(room):
    statements = ast.parse((SERVICES / room / "__init__.py").read_text(encoding="utf-8")).body
    assert len(statements) == 1 and isinstance(statements[0], ast.Expr)


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in SHARED])
def test_a_room_is_named_as_its_command_and_says_what_it_returns(room):
    assert (SERVICES / room / f"{room}.py").is_file()
    assert (SERVICES / room / "result.py").is_file()


@pytest.mark.parametrize("room", ROOMS)
def test_commands_do_not_import_each_other(room):
    allowed = SHARED | {room} | ({"check_leakage"} if room in CHECK_LEAKAGE else set())
    for path in (SERVICES / room).rglob("*.py"):
        names = [name.split(".")[2:] for name in all_imports(path) if name.startswith("cxr_cli.services.")]
        # A report says what the other commands found: it reads their results, and calls none of them.
        rooms = {name[0] for name in names if not (room == "report" and name[1:] == ["result"])}
        assert rooms & set(ROOMS) <= allowed, path


def test_imports_run_in_no_circle():
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = module_level_imports(path)
    order = graphlib.TopologicalSorter(
        {name: {other for other in imports if other in graph and other != name} for name, imports in graph.items()}
    )
    order.prepare()  # raises CycleError


def test_every_command_has_its_tables_and_page():
    for name in COMMANDS:
        assert (PACKAGE / "cli" / "tables" / f"{name.replace('-', '_')}.py").is_file()


def test_commands_are_thin():
    # The console is not a command: both streams, progress and formats.
    for path in (PACKAGE / "cli").rglob("*.py"):
        assert path.name == "console.py" or len(path.read_text(encoding="utf-8").splitlines()) <= 300, path


#: The function of each command's service.
SERVICE_OF = {
    "check-leakage": "check_and_remove",
    "weights": "compute_weights",
    **{name: name.replace("-", "_") for name in COMMANDS if name not in ("check-leakage", "weights")},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_calls_one_service_once_and_shows_once(command):
    tree = ast.parse((PACKAGE / "cli" / f"{command.replace('-', '_')}.py").read_text(encoding="utf-8"))
    functions = set(SERVICE_OF.values())
    names, modules = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxr_cli.services."):
            for alias in node.names:
                if node.module.count(".") == 2:  # from cxr_cli.services.ROOM import MODULE
                    modules.add(alias.asname or alias.name)
                elif alias.name in functions:
                    names[alias.asname or alias.name] = alias.name
    called = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(name) if name in names:
                    called.append(names[name])
                case ast.Attribute(ast.Name(module), name) if module in modules and name in functions:
                    called.append(name)
    assert called == [SERVICE_OF[command]]
    text = ast.unparse(tree)
    assert text.count("console.show(") == 1
    assert "outputs.write" not in text and "savefig" not in text


def constants() -> Iterator[tuple[str, str]]:
    """Yield (module, text) for each text in the package that is not a docstring."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                yield path.relative_to(PACKAGE).as_posix(), node.value


def test_what_must_agree_stands_in_one_place():
    texts = list(constants())
    assert {place for place, text in texts if text == "preprocess.json"} == {"data/files.py"}
    colours = re.compile(r"#[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?$")
    assert {place for place, text in texts if colours.match(text)} == {"plots/style.py"}
    published = {schema.name for schema in SCHEMAS} - {"own", "course"}
    named = {(place, text) for place, text in texts if text in published and not place.startswith("data/schemas/")}
    assert not named
