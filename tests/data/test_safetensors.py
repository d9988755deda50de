from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.safetensors import from_bfloat16, read_safetensors
from cxr_cli.errors import CxrError, WeightsFileError


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(first, last, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def test_file_by_hand(tmp_path):
    path = tmp_path / "weights.safetensors"
    numbers = np.array([1.5, -2.0, 3.0], "<f4").tobytes() + np.array([7], "<i8").tobytes()
    header = {"__metadata__": {"format": "pt"}, "n": entry(12, 20, [], "I64"), "w": entry(0, 12, [3, 1])}
    path.write_bytes(file_of(header, numbers))
    arrays = read_safetensors(path)
    assert list(arrays) == ["n", "w"]
    np.testing.assert_array_equal(arrays["w"], [[1.5], [-2.0], [3.0]])
    assert arrays["n"].shape == () and arrays["n"] == 7


def test_bfloat16_by_hand():
    # 1.0 is 0x3f80 0000 in float32; -2.5 is 0xc020 0000.
    np.testing.assert_array_equal(from_bfloat16(np.array([0x3F80, 0xC020, 0], np.uint16)), [1.0, -2.5, 0.0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file"),
        (file_of({})[:8] + b"x", "not a safetensors file"),
        ((1000).to_bytes(8, "little") + b"{}", "cut off"),
        (file_of(b"{oops"), "not JSON"),
        (file_of(b'{"a": 1, "a": 2}'), "twice"),
        (file_of({"w": 1}), "array w is damaged"),
        (file_of({"w": entry(0, -4, [1])}), "array w is damaged"),
        (file_of({"w": entry(0, 4, [1.0])}, bytes(4)), "array w is damaged"),
        (file_of({"w": entry(0, 4, [1], "F8_E4M3")}, bytes(4)), "type F8_E4M3"),
        (file_of({"w": entry(0, 4, [2])}, bytes(4)), "do not fit shape"),
        (file_of({"w": entry(0, 8, [2])}, bytes(4)), "bytes 0 to 8 of 4"),
        (file_of({"w": entry(4, 8, [1])}, bytes(8)), "byte 0 is the next"),
        (file_of({"v": entry(0, 8, [2]), "w": entry(4, 8, [1])}, bytes(8)), "byte 8 is the next"),
        (file_of({"w": entry(0, 4, [1])}, bytes(9)), "belong to no array"),
        (file_of(b'{"a":' + b"[" * 100_000), "not JSON"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsFileError, match=message):
        read_safetensors(path)


@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_any_changed_byte_is_read_or_named(tmp_path_factory, place, value):
    content = bytearray(file_of({"v": entry(0, 8, [2]), "w": entry(8, 12, [1])}, bytes(12)))
    content[place % len(content)] = value
    path = tmp_path_factory.mktemp("changed") / "w.safetensors"
    path.write_bytes(content)
    try:
        read_safetensors(path)
    except CxrError as error:
        assert str(path) in str(error)
