"""Image names that could lead out of the image folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.names import LONGEST_NAME, is_unsafe_name, unsafe_names, why_unsafe


@pytest.mark.parametrize("name", ["/x.png", "../x.png", "a/../x.png", "a\\..\\x", "C:\\x.png", "\\x", "a\n.png", "a\0"])
def test_unsafe_names(name):
    assert is_unsafe_name(name)


@pytest.mark.parametrize("name", ["x.png", "a/b.png", "..x.png", "a..b/c.png", "é.png"])
def test_safe_names(name):
    assert not is_unsafe_name(name)


@given(st.lists(st.text(alphabet="ab./\\\\:\n\u00e9", max_size=6), min_size=1, max_size=5))
def test_many_names_are_judged_as_each_of_them(names):
    assert unsafe_names(names) == [place for place, name in enumerate(names) if is_unsafe_name(name)]


def test_names_longer_than_any_path_are_unsafe():
    assert unsafe_names(["a.png", "a" * (LONGEST_NAME + 1)]) == [1]
    assert "4,097 characters" in why_unsafe("a" * (LONGEST_NAME + 1))
