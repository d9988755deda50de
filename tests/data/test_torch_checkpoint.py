from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_cli.data.torch_checkpoint import is_torch_file, read_checkpoint
from cxr_cli.errors import CxrError, InputError, WeightsFileError

FILES = Path(__file__).parents[1] / "fixtures" / "torch"
FLOATS = np.arange(6, dtype="<f4")


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def storage(kind: str = "FloatStorage", key: str = "0", n: int = 6, module: str = "torch") -> bytes:
    named = b"c" + f"{module}\n{kind}\n".encode()
    return b"(" + text("storage") + named + text(key) + text("cpu") + b"K" + bytes([n]) + b"tQ"


def tensor(
    shape: tuple[int, ...] = (2, 3), stride: tuple[int, ...] = (3, 1), offset: int = 0, held: bytes = b""
) -> bytes:
    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + value.to_bytes(4, "little", signed=True) for value in values) + b"t"

    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (held or storage())
        + b"J"
        + offset.to_bytes(4, "little", signed=True)
        + numbers(shape)
        + numbers(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def state_dict(**tensors: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(text(name) + made for name, made in tensors.items()) + b"u."


def archive(program: bytes, numbers: bytes = FLOATS.tobytes(), **more: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in {"data.pkl": program, "data/0": numbers, **more}.items():
            file.writestr(f"w/{name}", member)
    return content.getvalue()


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "weights.pt"
    path.write_bytes(content)
    return path


def test_file_by_hand(tmp_path):
    checkpoint = read_checkpoint(saved(tmp_path, archive(state_dict(w=tensor(), turned=tensor((3, 2), (1, 3))))))
    assert checkpoint.layout == "PyTorch checkpoint (zip)"
    np.testing.assert_array_equal(checkpoint.arrays["w"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(checkpoint.arrays["turned"], [[0, 3], [1, 4], [2, 5]])


def test_stream_by_hand(tmp_path):
    """The layout before 1.6, assembled from its parts: three pickles, the object, the keys, a count and the numbers."""
    magic = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
    system = b"\x80\x02}" + text("little_endian") + b"\x88s."
    keys = b"\x80\x02](" + text("0") + b"e."
    numbers = (6).to_bytes(8, "little") + FLOATS.tobytes()
    held = storage().replace(b"tQ", b"NtQ")  # what these files add: no view
    content = magic + b"\x80\x02M\xe9\x03." + system + state_dict(w=tensor(held=held)) + keys + numbers
    checkpoint = read_checkpoint(saved(tmp_path, content))
    assert checkpoint.layout == "PyTorch checkpoint (before 1.6)"
    np.testing.assert_array_equal(checkpoint.arrays["w"], [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(WeightsFileError, match="cut off"):
        read_checkpoint(saved(tmp_path, content[:-1]))


@pytest.mark.parametrize(
    "name", ["zip.pt", "protocol-4.pt", "stream.pt", "checkpoint.pth.tar", "checkpoint-stream.pth.tar"]
)
def test_what_pytorch_saved(name):
    assert is_torch_file(FILES / name)
    arrays = read_checkpoint(FILES / name).arrays
    expected = json.loads((FILES / "values.json").read_text())
    assert list(arrays) == list(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(arrays[key], np.array(values, arrays[key].dtype))


def test_views_and_half_precision():
    arrays = read_checkpoint(FILES / "views.pt").arrays
    expected = json.loads((FILES / "values.json").read_text())
    np.testing.assert_array_equal(arrays["turned"], np.array(expected["2.weight"], np.float32).T)
    np.testing.assert_allclose(arrays["half"], expected["0.weight"], rtol=2**-8)
    assert arrays["half"].dtype == np.float32


def test_whole_module_is_refused_with_the_lines_that_convert_it():
    with pytest.raises(
        WeightsFileError, match="whole pickled module .of class torch.nn.modules.container.Sequential"
    ) as e:
        read_checkpoint(FILES / "module.pt")
    assert "torch.save(model.state_dict(), 'weights.pt')" in str(e.value)


def test_module_of_the_layout_before_is_refused(tmp_path):
    magic = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
    system = b"\x80\x02}" + text("little_endian") + b"\x88s."
    module = b"\x80\x02(" + text("module") + b"cmodels\nDenseNet121\n" + text("model.py") + text("source") + b"tQ."
    path = saved(tmp_path, magic + b"\x80\x02M\xe9\x03." + system + module)
    with pytest.raises(WeightsFileError, match="whole pickled module .of class models.DenseNet121"):
        read_checkpoint(path)


class _Attack:
    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_code_is_refused_and_not_run(tmp_path, protocol):
    attack = _Attack()
    attack.target = tmp_path / "ran"
    program = pickle.dumps({"state_dict": attack}, protocol)
    for content in (archive(program), program):
        path = saved(tmp_path, content)
        with pytest.raises(WeightsFileError):
            read_checkpoint(path)
    assert not attack.target.exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02cos\nsystem\n" + text("ls") + b"\x85R.", "calls os.system"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\n)R.", "calls numpy.core.multiarray.scalar"),
        (b"\x80\x02c__main__\nDenseNet121\n)\x81.", "whole pickled module"),
        (b"\x80\x02\x82\x01.", "instruction that no state dict needs"),
        (b"\x80\x02i", "instruction that no state dict needs"),
        (b"\x80\x02}", "cut off"),
        (b"\x80\x02X\xff\xff\xff\xffab.", "cut off"),
        (b"\x80\x02u.", "damaged"),
        (b"\x80\x02(t.", "holds none"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"\x80\x02](ae.", "damaged"),
        (state_dict(), "holds none"),
        (state_dict(w=tensor(offset=1)), "beyond its storage"),
        (state_dict(w=tensor((2, 3), (3, 2))), "beyond its storage"),
        (state_dict(w=tensor((7,), (0,))), "beyond its storage"),
        (state_dict(w=tensor((2, 3), (-3, 1))), "not negative"),
        (state_dict(w=tensor((2, 3), (1,))), "without storage"),
        (state_dict(w=tensor(held=storage("StringStorage"))), "calls torch.StringStorage"),
        (state_dict(w=tensor(held=storage(module="evil"))), "evil.FloatStorage"),
        (state_dict(w=tensor(held=storage(key="1"))), "damaged or cut off"),
        (state_dict(w=tensor(held=storage(n=7))), "missing"),
        (state_dict(w=tensor(), v=tensor(held=storage("IntStorage"))), "two types"),
    ],
)
def test_what_a_pickle_must_not_do_is_named(tmp_path, program, message):
    with pytest.raises(WeightsFileError, match=message):
        read_checkpoint(saved(tmp_path, archive(program)))


def test_state_dict_is_found_under_usual_names(tmp_path):
    def nested(**parts: bytes) -> bytes:
        return b"\x80\x02}(" + b"".join(text(name) + part[2:-1] for name, part in parts.items()) + b"u."

    one, other = state_dict(a=tensor()), state_dict(b=tensor())
    assert list(read_checkpoint(saved(tmp_path, archive(nested(ema=one, model=other)))).arrays) == ["b"]
    assert list(read_checkpoint(saved(tmp_path, archive(nested(teacher=one)))).arrays) == ["a"]
    with pytest.raises(WeightsFileError, match="several .*teacher, student"):
        read_checkpoint(saved(tmp_path, archive(nested(teacher=one, student=other))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(state_dict(w=tensor()), **{"constants.pkl": b"", "code/a.py": b""}), "TorchScript"),
        (archive(state_dict(w=tensor()), byteorder=b"big"), "big-endian"),
        (archive(state_dict(w=tensor()), numbers=bytes(1000)), "would unpack"),
        (archive(state_dict(w=tensor()))[:-50], "damaged"),
        (pickle.dumps({"a": 1}), "PyTorch did not write"),
        (b"hello", "neither a PyTorch checkpoint"),
        (b"", "neither a PyTorch checkpoint"),
    ],
)
def test_other_files_are_named(tmp_path, content, message):
    with pytest.raises(WeightsFileError, match=message):
        read_checkpoint(saved(tmp_path, content))


def test_missing_file():
    with pytest.raises(InputError, match="no such file"):
        read_checkpoint(Path("missing.pt"))
    assert not is_torch_file(Path("missing.pt"))


@settings(max_examples=400, deadline=None)
@given(place=st.integers(0, 5000), value=st.integers(0, 255))
def test_any_changed_byte_is_read_or_named(tmp_path_factory, place, value):
    """In the program itself: what a damaged or forged pickle does must end in an error or in arrays."""
    program = bytearray(state_dict(w=tensor(), v=tensor((6,), (1,))))
    program[place % len(program)] = value
    path = saved(tmp_path_factory.mktemp("changed"), archive(bytes(program)))
    try:
        read_checkpoint(path)
    except CxrError as error:
        assert str(path) in str(error)


def test_deep_programs_end(tmp_path):
    for program in (b"\x80\x02" + b"(" * 200_000 + b".", b"\x80\x02" + b"]" * 200_000 + b"a" * 100_000 + b"."):
        with pytest.raises(WeightsFileError):
            read_checkpoint(saved(tmp_path, archive(program)))
