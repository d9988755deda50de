from __future__ import annotations

import re
import shlex

import pytest

from cxr_cli.choices import choices
from cxr_cli.cli.app import app
from cxr_cli.cli.options import COMPUTE, INPUT, OUTPUT, RUNNING

COMMANDS = [command.name for command in app.registered_commands]


@pytest.fixture(params=COMMANDS)
def shown(request, cxr, monkeypatch):
    """The name of a command and its help in a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    done = cxr(request.param, "--help")
    assert (done.exit_code, done.stderr) == (0, "")
    return request.param, done.stdout


def test_help_fits_two_screens(shown):
    _, text = shown
    assert len(text.splitlines()) <= 100
    assert max(map(len, text.splitlines())) <= 100


def test_help_has_an_example_with_options_that_exist(shown):
    name, text = shown
    example = re.search(r"Example: (cxr .*?)\n *\n", text, re.DOTALL)
    assert example is not None
    words = shlex.split(example[1])
    assert words[:2] == ["cxr", name]
    for word in words[2:]:
        assert not word.startswith("--") or re.search(rf"│[* ]+{word} ", text), word


def test_options_stand_in_panels_in_order(shown):
    _, text = shown
    panels = re.findall(r"╭─ (.*?) ─", text)
    known = ["Arguments", INPUT, COMPUTE, OUTPUT, RUNNING]
    assert panels == [panel for panel in known if panel in panels]
    assert RUNNING in panels and OUTPUT in panels
    assert text.rindex("--help") > text.index(RUNNING)


def test_metavars_are_short(shown):
    _, text = shown
    assert "<" not in text


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.name)
def test_every_choice_is_named_in_the_help(command, cxr):
    import inspect
    import typing

    text = " ".join(re.sub("[│╭╮╰╯]", " ", cxr(command.name, "--help").stdout).split())
    hints = typing.get_type_hints(command.callback)
    for name in inspect.signature(command.callback).parameters:
        for kind in (hints[name], *typing.get_args(hints[name])):
            if typing.get_origin(kind) is typing.Literal:
                for choice in choices(kind):
                    assert choice in text, f"{name}: {choice}"


def test_the_first_screen_lists_the_commands(cxr):
    text = cxr("--help").stdout
    assert "<" not in text
    assert "Not for clinical use" in " ".join(text.split())
    places = [text.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)
