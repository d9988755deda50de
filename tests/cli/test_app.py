import errno
import os
import signal
import subprocess
import sys
import time
import weakref

import pytest
import typer
from typer.testing import CliRunner

from cxr_cli import __version__
from cxr_cli.cli import console, exits
from cxr_cli.cli.exits import Commands
from cxr_cli.errors import CxrError
from tests.conftest import ROOT


@pytest.fixture
def failing():
    """Make an app with the group of the real one and a command that raises what it is given."""

    def run(exception):
        app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

        @app.callback()
        def main():
            pass

        @app.command()
        def fail():
            raise exception

        return CliRunner().invoke(app, ["fail"])

    return run


def test_version(cxr):
    result = cxr("--version")
    assert result.exit_code == 0
    assert result.stdout == f"cxr {__version__}\n"


def test_no_arguments_is_help_and_usage_error(cxr):
    result = cxr()
    assert result.exit_code == 2
    assert "Usage" in result.output


def test_error_is_one_message_without_traceback(failing):
    result = failing(CxrError("a.csv: row 3 is bad", expected="0 or 1", remedy="Mend it."))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "error: a.csv: row 3 is bad; expected 0 or 1\nMend it.\n"


@pytest.mark.parametrize(
    ("exception", "code"),
    [
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(errno.EPIPE, "closed"), 141),
        (OSError(errno.ENOSPC, "No space left on device", "out.csv"), 2),
        (MemoryError(), 2),
        (typer.Exit(1), 1),
    ],
)
def test_exit_codes(failing, exception, code):
    result = failing(exception)
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_crash_is_2_with_traceback(failing):
    result = failing(RuntimeError("boom"))
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "bug in cxr" in result.stderr


def test_python_m_is_the_same_program():
    result = subprocess.run([sys.executable, "-m", "cxr_cli", "--version"], capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout == f"cxr {__version__}\n"


def test_table_cells_keep_brackets_and_width(capsys):
    made = console.table("t [bold]", ["name", "n"], [["images/[test]/" + "a" * 200 + ".png", 1234567]])
    console.stdout().print(made)
    text = capsys.readouterr().out
    assert "images/[test]/" + "a" * 200 + ".png" in text
    assert "t [bold]" in text
    assert "1,234,567" in text


def test_sizes_have_the_unit_that_suits_them():
    found = [console.size(n) for n in (0, 73_728, 99_999, 100_000, 999_900_000, 1_000_000_000)]
    assert found == ["0.0 kB", "73.7 kB", "100.0 kB", "0.1 MB", "999.9 MB", "1.00 GB"]


def test_what_a_file_holds_does_not_steer_the_terminal(capsys):
    console.stdout().print(console.table(None, ["name"], [["a\x1b[2Jb\u202ec\x07"]]))
    console.warn("x\x1b[31my")
    seen = capsys.readouterr()
    assert r"a\x1b[2Jb\u202ec\x07" in seen.out
    assert seen.err == "warning: x\\x1b[31my\n"


def test_a_reader_that_has_gone_is_no_bad_news(failing):
    # Rich raises this where typer prints a help text into a closed pipe.
    assert failing(SystemExit(1)).exit_code == 141


def test_an_output_that_is_a_file_is_refused_before_any_work(cxr, sample_data, tmp_path):
    (tmp_path / "file").write_text("precious")
    result = cxr("weights", sample_data / "train-small.csv", "--output", "file")
    assert result.exit_code == 2
    assert result.stderr == "error: file: is a file, not a folder to write into\nChoose another --output.\n"
    assert result.stdout == ""


def started(**variables: str) -> str:
    """Return how many threads linear algebra gets when the command line starts."""
    code = "import os, sys; sys.argv = ['cxr', '--version']; from cxr_cli.__main__ import main\n"
    code += "try: main()\nfinally: print(os.environ['OPENBLAS_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


@pytest.mark.slow
def test_linear_algebra_uses_one_thread_unless_the_user_wants_more():
    assert started() == "1"
    assert started(OPENBLAS_NUM_THREADS="2") == "2"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals")
def test_a_signal_in_a_callback_of_an_import_is_not_lost():
    # Python prints exceptions of such callbacks and goes on, as if nothing had been sent.
    code = "def cb(_):\n    import os, signal\n    os.kill(os.getpid(), signal.SIGTERM)\n    sum(range(1000))\n"
    names = {}
    exec(compile(code, "<frozen importlib._bootstrap>", "exec"), names)
    with pytest.raises(exits._Stopped) as caught, exits._signals_unwind():
        lock = type("Lock", (), {})()
        reference = weakref.ref(lock, names["cb"])
        del lock
        time.sleep(30)
    assert reference() is None and caught.value.args == (signal.SIGTERM,)
