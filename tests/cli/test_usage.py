from __future__ import annotations

import pytest

from cxr_cli.cli.usage import REMOVED, RENAMED


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("explore", "LABELS is missing\nSee 'cxr explore --help'."),
        ("check-leakage", "SPLIT is missing\nSee 'cxr check-leakage --help'."),
        ("explore a.csv b.csv", "unexpected argument: b.csv\nSee 'cxr explore --help'."),
        (
            "explore a.csv --uncertain foo",
            "--uncertain foo; expected ignore, positive or negative\nSee 'cxr explore --help'.",
        ),
        (
            "explore a.csv --uncertain=foo",
            "--uncertain foo; expected ignore, positive or negative\nSee 'cxr explore --help'.",
        ),
        ("explore a.csv --n-images many", "--n-images many; expected a whole number\nSee 'cxr explore --help'."),
        ("explore a.csv --n-images -1", "--n-images -1; expected at least 0\nSee 'cxr explore --help'."),
        ("weights a.csv --beta much", "--beta much; expected a number\nSee 'cxr weights --help'."),
        (
            "explore a.csv --nope",
            "cxr explore has no option --nope\nDid you mean --no-plots? See 'cxr explore --help'.",
        ),
        ("explore a.csv --zzz", "cxr explore has no option --zzz\nSee 'cxr explore --help'."),
        ("explore a.csv --seed", "--seed needs a value\nSee 'cxr explore --help'."),
        ("explore a.csv --json=3", "--json takes no value\nSee 'cxr explore --help'."),
        ("explrore a.csv", "cxr has no command explrore\nDid you mean explore? See 'cxr --help'."),
        ("zzz", "cxr has no command zzz\nSee 'cxr --help'."),
        ("--zzz", "cxr has no option --zzz\nSee 'cxr --help'."),
    ],
)
def test_mistakes_on_the_command_line_look_like_other_errors(cxr, line, message):
    done = cxr(*line.split())
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize(("command", "old", "new"), [(c, old, new) for c in RENAMED for old, new in RENAMED[c].items()])
def test_former_names_of_options_name_the_present_one(cxr, command, old, new):
    done = cxr(command, old, "x")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {old} of 'cxr {command}' is now called {new}\n"
    assert new.split()[0] in cxr(command, "--help").stdout


@pytest.mark.parametrize(("command", "old"), [(command, old) for command in REMOVED for old in REMOVED[command]])
def test_options_that_are_gone_say_so(cxr, command, old):
    done = cxr(command, "labels.csv", old)
    assert done.exit_code == 2
    assert done.stderr == f"error: 'cxr {command}' no longer has the option {old}\n{REMOVED[command][old]}\n"


def test_control_characters_do_not_reach_the_terminal(cxr):
    assert "\x1b" not in cxr("explore", "a.csv", "--uncertain", "\x1b[31m").stderr
