from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.files import json_text
from cxr_cli.services.result import Result, plain


@dataclasses.dataclass(frozen=True)
class Part(Result):
    share: float
    path: Path
    hidden: object = dataclasses.field(metadata={"json": False})


@dataclasses.dataclass(frozen=True)
class Whole(Result):
    rows: tuple[int, ...]
    parts: tuple[Part, ...]
    colours: tuple[str, ...]
    counts: dict[str, int]


def test_results_become_plain_values():
    whole = Whole((1, 2), (Part(float("nan"), Path("a/b"), object()),), ("grey",), {"x": np.int64(3)})
    made = whole.to_dict()
    assert made == {
        "rows": [1, 2],
        "parts": [{"share": None, "path": "a/b"}],
        "colours": ["grey"],
        "counts": {"x": 3},
    }
    assert type(made["colours"][0]) is str and type(made["counts"]["x"]) is int


def test_arrays_and_sets():
    assert plain(np.array([[1.5, np.inf]])) == [[1.5, None]]
    assert plain({"b", "a"}) == ["a", "b"]


def test_what_has_no_place_in_a_result_is_refused():
    with pytest.raises(TypeError, match="object has no place"):
        plain([1, object()])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
)


@given(VALUES)
def test_json_text_is_json(value):
    assert json.loads(json_text(value)) == value


def test_lists_of_plain_values_stand_on_one_line():
    text = json_text({"rows": [1, 2], "parts": [{"x": []}], "none": {}})
    assert text == '{\n  "rows": [1, 2],\n  "parts": [\n    {\n      "x": []\n    }\n  ],\n  "none": {}\n}'
