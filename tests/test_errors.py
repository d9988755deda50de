from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.errors import CxrError, InputError, UsageError, argument


def test_the_library_speaks_python_and_the_terminal_options():
    error = UsageError(
        f"{argument('max_ratio', 0.5)} is of no use with {argument('scheme', 'w-cel')}",
        expected=f"{argument('keep_head', True)}",
        remedy=f"Drop {argument('max_ratio')}, or {argument('fit', True, option='--statistics fit')}.",
    )
    assert str(error) == (
        "max_ratio=0.5 is of no use with scheme='w-cel'; expected keep_head=True\nDrop max_ratio, or fit=True."
    )
    assert error.in_terminal() == (
        "--max-ratio 0.5 is of no use with --scheme w-cel; expected --keep-head\nDrop --max-ratio, or --statistics fit."
    )
    assert (error.what, error.remedy) == (
        "max_ratio=0.5 is of no use with scheme='w-cel'",
        "Drop max_ratio, or fit=True.",
    )


@given(st.text(), st.text())
def test_values_are_shown_as_they_are_and_never_open_a_mark(name, value):
    made = str(UsageError(f"{argument('name', name)} {argument('value', value)}"))
    assert not set(made) & {"\x02", "\x03"} or set(name + value) & {"\x02", "\x03"}
    assert made.startswith("name=") and " value=" in made


@pytest.mark.parametrize("kind", [CxrError, InputError, UsageError])
def test_errors_come_back_whole_from_a_worker(kind):
    error = kind(argument("epsilon", -1.0), expected="0 or more", remedy="Drop it.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.in_terminal()) == (str(error), error.in_terminal())
    assert again.in_terminal() == "--epsilon -1; expected 0 or more\nDrop it."
