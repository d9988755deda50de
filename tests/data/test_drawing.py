from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import warnings

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import cxr_cli.plots
from cxr_cli.data.drawing import MissingGlyphWarning, packaged_style, save_figure
from tests.conftest import ROOT


def weights_of(table, folder, output, **environment):
    """Run a command that draws, in a folder; return its exit code, stderr, and the digests of its plots."""
    command = [sys.executable, "-m", "cxr_cli", "weights", str(table), "--output", str(output)]
    paths = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"} | environment
    done = subprocess.run(command, cwd=folder, env=paths, capture_output=True, text=True)
    plots = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(output.glob("*.png"))}
    return done.returncode, done.stderr, plots


def test_no_configuration_of_matplotlib_changes_or_runs_anything(sample_data, tmp_path):
    (tmp_path / "plain").mkdir()
    table = sample_data / "valid-small.csv"
    code, _, expected = weights_of(table, tmp_path / "plain", tmp_path / "expected")
    assert code == 0
    assert expected
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')")
    files = {
        "tex": b"text.usetex: True\n",
        "large": b"font.size: 30\nfigure.dpi: 20\nsavefig.bbox: tight\n",
        "undecodable": b"\xff\xfe\x00",
        "backend": b"backend: module://evil\n",
        "nonsense": b"no such key: 1\n",
    }
    for name, content in files.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "matplotlibrc").write_bytes(content)
        (folder / "evil.py").write_text(evil.read_text())
        code, errors, plots = weights_of(table, folder, tmp_path / f"out-{name}", MPLCONFIGDIR=str(folder))
        assert (code, plots) == (0, expected), (name, errors)
        assert "matplotlibrc" not in errors
    code, _, plots = weights_of(table, tmp_path / "plain", tmp_path / "out", MPLBACKEND="evil")
    assert (code, plots) == (0, expected)
    assert not (tmp_path / "PWNED").exists()


def test_dollars_in_names_are_no_formulas(cxr, tmp_path):
    table = tmp_path / "table.csv"
    rows = "".join(f"{i}.png,{i},{i % 2},{i % 3 % 2},{(i + 1) % 2}\n" for i in range(60))
    table.write_text(f"Image,PatientId,a$\\frac{{$,$x$,Mass\n{rows}")
    for command in ("weights", "explore", "split"):
        done = cxr(command, table, "--output", tmp_path / command)
        assert "Traceback" not in done.stderr
        assert done.exit_code in (0, 1), done.stderr


def test_missing_glyphs_are_said_once_through_the_console(cxr, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("Image,PatientId,肺炎,Mass\na.png,1,1,0\nb.png,2,0,1\nc.png,3,1,1\n")
    done = cxr("weights", table, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("lacks") == 1
    assert "warning: the plots' font lacks 2 signs" in done.stderr
    assert "UserWarning" not in done.stderr


def test_the_library_warns_of_missing_glyphs_in_pythons_way(tmp_path):
    figure = Figure()
    figure.text(0.5, 0.5, "肺")
    with pytest.warns(MissingGlyphWarning, match="lacks 1 signs"):
        save_figure(figure, tmp_path / "a.png", dpi=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(Figure(), tmp_path / "b.png", dpi=20)


def test_every_function_that_makes_a_figure_draws_with_the_packaged_style():
    n_functions = 0
    for module in pkgutil.iter_modules(cxr_cli.plots.__path__, "cxr_cli.plots."):
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            if function.__module__ == module.name and function.__annotations__.get("return") == "Figure":
                n_functions += 1
                assert name.startswith("_") or hasattr(function, "__wrapped__"), f"{module.name}.{name}"
    assert n_functions > 15


def test_no_tick_of_ours_is_written_as_a_formula(cxr, sample_data, tmp_path, monkeypatch):
    seen = set()
    saved = Figure.savefig

    def look(figure, *arguments, **options):
        saved(figure, *arguments, **options)
        seen.update(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", look)
    for command in ("weights", "explore", "split"):
        done = cxr(command, sample_data / "train-small.csv", "--output", tmp_path / command)
        assert done.exit_code in (0, 1), done.stderr
    assert len(seen) > 50
    assert not [text for text in seen if "$" in text]


def test_the_style_of_the_program_around_is_left_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30}):
        with packaged_style():
            assert matplotlib.rcParams["font.size"] == 10
            assert not matplotlib.rcParams["text.parse_math"]
        assert matplotlib.rcParams["font.size"] == 30
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("kind", ["removed", "closed"])
def test_a_current_folder_that_cannot_be_read(tmp_path, kind):
    folder = tmp_path / "here"
    folder.mkdir()
    change = "os.rmdir(os.getcwd())" if kind == "removed" else "os.chmod('.', 0o100)"
    code = f"import os; os.chdir({str(folder)!r}); {change}; import cxr_cli.plots, matplotlib; print('drawn')"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "drawn\n", done.stderr
