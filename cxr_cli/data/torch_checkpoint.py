"""Checkpoints that PyTorch saved, read without PyTorch and without ``pickle``, by an interpreter for state dicts.

``torch.save`` writes a pickle: a program for a small machine, which may import and call anything. The machine here
knows the instructions that build dictionaries, lists, texts, numbers and tensors, and nothing that could run code: a
name that a checkpoint imports is looked up in a closed list of five, never imported.

References
----------
The instructions: Python's ``pickletools``. The layouts: ``torch.serialization`` (zip archives since PyTorch 1.6, one
stream of pickles before).
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import DAMAGED_ARCHIVE, read_input, unreadable
from cxr_cli.data.safetensors import from_bfloat16, looks_like_safetensors, read_safetensors
from cxr_cli.errors import WeightsFileError, shown

#: First object of a file that PyTorch wrote before 1.6, and the protocol that follows it.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
#: NumPy's number type by the name of PyTorch's storage.
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
#: Names under which training scripts keep a state dict, best first.
_STATE_DICTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
#: A program longer than this, in bytes, is not a state dict's.
_LONGEST_PROGRAM = 64 * 2**20
_DAMAGED = "Download or copy it again."


@dataclass(frozen=True)
class Checkpoint:
    """The named arrays of a file.

    Attributes
    ----------
    path
        As given.
    layout
        In words: which of the formats it is.
    arrays
        By name, in the file's order; float32 where the file has bfloat16.
    """

    path: Path
    layout: str
    arrays: dict[str, NDArray[Any]]


def is_torch_file(path: Path) -> bool:
    """Return whether a file is one that PyTorch or safetensors wrote, by its content; a missing file is not."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(64)
        if start.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith("data.pkl") for name in archive.namelist())
    except (OSError, *DAMAGED_ARCHIVE):
        return False
    return _is_pickle(start) or looks_like_safetensors(start)


def _is_pickle(start: bytes) -> bool:
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the state dict of a PyTorch or safetensors file.

    Parameters
    ----------
    path
        ``.pt``, ``.pth``, ``.pth.tar`` or ``.safetensors``, recognised by content. A state dict, or a checkpoint that
        holds one under a usual name beside epoch, optimizer and the like.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    WeightsFileError
        It is something else, is damaged, is a whole pickled module, asks for anything but tensors, ordered
        dictionaries, lists, numbers and texts, or holds no state dict.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise unreadable(path, error) from error
    if looks_like_safetensors(start):
        return Checkpoint(path, "safetensors", read_safetensors(path))
    try:
        if start.startswith(b"PK\x03\x04"):
            content, layout = _read_archive(path), "PyTorch checkpoint (zip)"
        elif _is_pickle(start):
            content, layout = _read_stream(path), "PyTorch checkpoint (before 1.6)"
        else:
            raise WeightsFileError(f"{path}: is neither a PyTorch checkpoint nor a safetensors file")
        arrays = _state_dict(path, content)
    except (*DAMAGED_ARCHIVE, TypeError, AttributeError) as error:
        raise WeightsFileError(
            f"{path}: is damaged or cut off ({shown(str(error).strip(chr(39)), 100)})", remedy=_DAMAGED
        ) from error
    return Checkpoint(path, layout, {name: tensor.array(path, name) for name, tensor in arrays.items()})


# ------------------------------------------------------------------------------------------------------- what is in it


@dataclass(frozen=True)
class _Storage:
    """A block of numbers; `content` is filled in when it is found in the file."""

    type_name: str
    key: str
    n: int
    content: dict[str, bytes | memoryview] = field(compare=False, repr=False)

    def numbers(self, path: Path) -> NDArray[Any]:
        kind = np.dtype(_STORAGES[self.type_name])
        content = self.content.get(self.key)
        if content is None or len(content) < self.n * kind.itemsize:
            raise WeightsFileError(f"{path}: the numbers of storage {shown(self.key)} are missing", remedy=_DAMAGED)
        return np.frombuffer(content, kind, self.n)


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self, path: Path, name: str) -> NDArray[Any]:
        """Return the numbers, each of which must lie within the storage."""
        numbers = self.storage.numbers(path)
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        n = int(np.prod(self.shape, dtype=object)) if self.shape else 1
        if n and (last >= len(numbers) or n > len(numbers)):
            raise WeightsFileError(f"{path}: tensor {shown(name)} reaches beyond its storage", remedy=_DAMAGED)
        strides = tuple(step * numbers.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :] if n else numbers[:0], self.shape, strides)
        return from_bfloat16(view.copy()) if self.storage.type_name == "BFloat16Storage" else view.copy()


def _state_dict(path: Path, content: Any) -> dict[str, _Tensor]:
    """Find the state dict in what a file holds: the file's own dictionary, or one in it under a usual name."""
    own = _tensors(content)
    if own:
        return own
    inner = {key: found for key, value in _items(content) if (found := _tensors(value))}
    for name in _STATE_DICTS:
        if name in inner:
            return inner[name]
    if len(inner) == 1:
        return next(iter(inner.values()))
    held = ", ".join(shown(str(key)) for key, _ in _items(content)[:10])
    what = f"holds several ({', '.join(shown(key) for key in inner)})" if inner else f"holds none (it has: {held})"
    raise WeightsFileError(
        f"{path}: {what}",
        expected=f"a state dict, by itself or as one of {', '.join(_STATE_DICTS)}",
        remedy="Save model.state_dict() alone.",
    )


def _items(content: Any) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in content.items() if isinstance(key, str)] if isinstance(content, dict) else []


def _tensors(content: Any) -> dict[str, _Tensor]:
    return {key: value for key, value in _items(content) if isinstance(value, _Tensor)}


# ------------------------------------------------------------------------------------------------------------- layouts


def _read_archive(path: Path) -> Any:
    """Read the layout since 1.6: a zip archive of one pickle and a member for each storage, not compressed."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        programs = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(programs) != 1 or len(set(names)) < len(names):
            raise WeightsFileError(f"{path}: is not a PyTorch checkpoint (a ZIP archive of something else)")
        root = programs[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in names:
            raise WeightsFileError(
                f"{path}: is a TorchScript module, that is, a program with its weights; refused",
                remedy=_conversion(path, "torch.jit.load(source, map_location='cpu')"),
            )
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise WeightsFileError(f"{path}: was written on a big-endian machine", remedy="Save it on another one.")
        machine = _Machine(path, _bounded(path, archive, programs[0], _LONGEST_PROGRAM))
        content = machine.run()
        for storage in machine.storages.values():
            most = storage.n * np.dtype(_STORAGES[storage.type_name]).itemsize
            machine.content[storage.key] = _bounded(path, archive, f"{root}data/{storage.key}", most)
    return content


def _bounded(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read a member that may have `most` bytes when unpacked."""
    if archive.getinfo(name).file_size > most:
        raise WeightsFileError(
            f"{path}: {shown(name)} in it would unpack to {archive.getinfo(name).file_size:,} bytes",
            expected=f"at most {most:,}",
            remedy=_DAMAGED,
        )
    return archive.read(name)


def _read_stream(path: Path) -> Any:
    """Read the layout before 1.6: pickles of magic number, version, machine, object and keys; then the numbers."""
    content = memoryview(read_input(path))
    start = _Machine(path, content)
    if start.run() != _MAGIC or start.run_next() != _PROTOCOL:
        raise WeightsFileError(
            f"{path}: is a Python pickle that PyTorch did not write; refused", remedy="Save model.state_dict()."
        )
    system = start.run_next()
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise WeightsFileError(f"{path}: was written on a big-endian machine", remedy="Save it on another one.")
    result = start.run_next()
    storages, place_for = dict(start.storages), start.content
    keys = start.run_next()
    if not isinstance(keys, list):
        raise WeightsFileError(f"{path}: has no list of storages", remedy=_DAMAGED)
    place = start.position
    for key in keys:
        if key not in storages:
            raise WeightsFileError(f"{path}: holds a storage {shown(str(key))} of no tensor", remedy=_DAMAGED)
        size = storages[key].n * np.dtype(_STORAGES[storages[key].type_name]).itemsize
        (n,) = struct.unpack_from("<q", content, place)
        if n != storages[key].n or place + 8 + size > len(content):
            raise WeightsFileError(f"{path}: is cut off in storage {shown(str(key))}", remedy=_DAMAGED)
        place_for[key] = content[place + 8 : place + 8 + size]
        place += 8 + size
    return result


_CONVERSION = "If you trust its source, convert it where PyTorch and its code are installed:\n"


def _conversion(path: Path, load: str) -> str:
    """Return the lines that make a state dict of what runs code when it is loaded."""
    return (
        _CONVERSION + f"  import torch; source = {str(path)!r}\n"
        f"  model = {load}\n"
        "  torch.save(model.state_dict(), 'weights.pt')"
    )


# ------------------------------------------------------------------------------------------------------------- machine

_MARK = object()


@dataclass(frozen=True)
class _Name:
    """What a program imports: known here by its name alone."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Refusal(ValueError):
    """A value of another kind than the instruction needs."""


class _Machine:
    """Runs the instructions of a pickle that make plain data.

    Parameters
    ----------
    path
        For messages.
    program
        The pickle; what follows its end stays unread.
    """

    def __init__(self, path: Path, program: bytes | memoryview) -> None:
        self.path = path
        self.position = 0
        self.storages: dict[str, _Storage] = {}
        self.content: dict[str, bytes | memoryview] = {}
        self._program = memoryview(program)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run_next(self) -> Any:
        """Run the next pickle of the same stream."""
        self._stack, self._memo = [], {}
        return self.run()

    def run(self) -> Any:
        """Run to the instruction that ends a pickle; return what it made."""
        while True:
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                return self._pop()
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise WeightsFileError(
                    f"{self.path}: its pickle has an instruction that no state dict needs (byte {code} at "
                    f"{self.position - 1:,}); refused",
                    remedy="Save model.state_dict() alone.",
                )
            instruction(self)

    # --- reading the program and the stack

    def _take(self, n: int) -> bytes:
        taken = bytes(self._program[self.position : self.position + n])
        if len(taken) < n:
            raise WeightsFileError(f"{self.path}: is cut off", remedy=_DAMAGED)
        self.position += n
        return taken

    def _skip(self, n: int) -> None:
        self._take(n)

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        start = self.position
        while self._take(1) != b"\n":
            if self.position - start > 1000:
                raise _Refusal("a name without end")
        return bytes(self._program[start : self.position - 1]).decode("ascii")

    def _text(self, form: str, encoding: str = "utf-8") -> str:
        return self._take(self._number(form)).decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise _Refusal("a value is missing")
        return value

    def _since_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                values = self._stack[place + 1 :]
                del self._stack[place:]
                return values
        raise _Refusal("a mark is missing")

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise _Refusal(f"{kind.__name__} expected")
        return self._stack[-1]

    # --- instructions

    def _pop_tuple(self, n: int) -> None:
        values = tuple(self._stack[-n:])
        if len(values) < n or any(value is _MARK for value in values):
            raise _Refusal("a value is missing")
        self._stack[-n:] = [values]

    def _append(self, values: list[Any]) -> None:
        self._top(list).extend(values)

    def _set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise _Refusal("a key without a value")
        mapping = self._top(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (str, int, float, bytes, type(None))):
                raise _Refusal("keys must be texts or numbers")
            mapping[key] = value

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _append_one(self) -> None:
        value = self._pop()
        self._append([value])

    def _memoize(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _global(self, module: str, name: str) -> None:
        self._push(_Name(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _Refusal("names must be texts")
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, name = self._pop(), self._pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise _Refusal("a call of what is not a name")
        make = _MAKERS.get(str(name))
        if make is None:
            raise self._foreign(name)
        self._push(make(*arguments))

    def _build(self) -> None:
        # torch.save keeps _metadata, an attribute, with the ordered dictionary: versions of modules, of no use here.
        self._pop()
        self._top(dict)

    def _storage(self) -> None:
        reference = self._pop()
        if isinstance(reference, tuple) and len(reference) > 1 and reference[0] == "module":
            raise self._foreign(reference[1])  # the source code of a class, in files before 1.6
        if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
            raise _Refusal("a reference to what is not a storage")
        kind, key, n = reference[1], reference[2], reference[4]
        if not isinstance(kind, _Name) or kind.module not in ("torch", "torch.cuda") or kind.name not in _STORAGES:
            raise self._foreign(kind)
        if (
            not isinstance(key, str)
            or type(n) is not int
            or n < 0
            or (len(reference) == 6 and reference[5] is not None)
        ):
            raise _Refusal("a storage without a key or size")
        known = self.storages.setdefault(key, _Storage(kind.name, key, n, self.content))
        if (known.type_name, known.n) != (kind.name, n):
            raise _Refusal(f"storage {key} has two types or sizes")
        self._push(known)

    def _foreign(self, name: Any) -> WeightsFileError:
        if not isinstance(name, _Name) or not _is_module(name):
            return WeightsFileError(
                f"{self.path}: its pickle calls {shown(str(name))}; refused, because a pickle can run any code",
                expected="tensors, ordered dictionaries, lists, numbers and texts",
                remedy=_CONVERSION + f"  import torch; source = {str(self.path)!r}\n"
                "  held = torch.load(source, map_location='cpu', weights_only=False)\n"
                "  torch.save(held['state_dict'], 'weights.pt')  # or the name it has there",
            )
        return WeightsFileError(
            f"{self.path}: is a whole pickled module (of class {shown(str(name))}), which can run any code when it is "
            "loaded; refused",
            remedy=_conversion(self.path, "torch.load(source, map_location='cpu', weights_only=False)"),
        )

    def _new_object(self) -> None:
        arguments, name = self._pop(), self._pop()
        if str(name) == "collections.OrderedDict" and arguments == ():
            self._push({})
            return
        raise self._foreign(name)


def _is_module(name: _Name) -> bool:
    """Return whether a class is probably a network: none of PyTorch's helpers, and not of the standard library."""
    helpers = (
        "builtins __builtin__ os posix nt sys subprocess collections numpy _codecs argparse pathlib datetime types"
    )
    helper = name.module.split(".")[0] in helpers.split() or name.name.endswith("Storage")
    return not helper and name.name[:1].isupper()


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments not in ((), ([],)):
        raise _Refusal("an ordered dictionary is made empty")
    return {}


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *more: Any) -> _Tensor:
    """Make a tensor; `more` (whether it needs a gradient, hooks) does not matter for weights."""
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, _Storage) or len(shape) != len(stride) or len(shape) > 8:
        raise _Refusal("a tensor without storage")
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise _Refusal("a tensor's sizes must be whole numbers and not negative")
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: Any, *more: Any) -> _Tensor:
    if not isinstance(data, _Tensor):
        raise _Refusal("a parameter without a tensor")
    return data


def _size(sizes: Any) -> tuple[Any, ...]:
    if not isinstance(sizes, tuple):
        raise _Refusal("a size that is not a tuple")
    return sizes


#: What a checkpoint may call, by name.
_MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
}


def _long(machine: _Machine) -> None:
    machine._push(int.from_bytes(machine._take(machine._take(1)[0]), "little", signed=True))


def _do(push: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    """Return an instruction that pushes one value."""
    return lambda machine: machine._push(push(machine))


#: The instructions of pickle protocols 0 to 5 that plain data need, by their byte.
_INSTRUCTIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda machine: machine._skip(1),  # PROTO
    0x95: lambda machine: machine._skip(8),  # FRAME
    ord("("): _do(lambda machine: _MARK),
    ord("N"): _do(lambda machine: None),
    0x88: _do(lambda machine: True),
    0x89: _do(lambda machine: False),
    ord("K"): _do(lambda machine: machine._number("<B")),
    ord("M"): _do(lambda machine: machine._number("<H")),
    ord("J"): _do(lambda machine: machine._number("<i")),
    0x8A: _long,
    ord("G"): _do(lambda machine: machine._number(">d")),
    ord("X"): _do(lambda machine: machine._text("<I")),
    0x8C: _do(lambda machine: machine._text("<B")),
    0x8D: _do(lambda machine: machine._text("<Q")),
    ord("T"): _do(lambda machine: machine._text("<I", "latin-1")),
    ord("U"): _do(lambda machine: machine._text("<B", "latin-1")),
    ord("B"): _do(lambda machine: machine._take(machine._number("<I"))),
    ord("C"): _do(lambda machine: machine._take(machine._number("<B"))),
    ord(")"): _do(lambda machine: ()),
    ord("]"): _do(lambda machine: []),
    ord("}"): _do(lambda machine: {}),
    ord("t"): _do(lambda machine: tuple(machine._since_mark())),
    0x85: lambda machine: machine._pop_tuple(1),
    0x86: lambda machine: machine._pop_tuple(2),
    0x87: lambda machine: machine._pop_tuple(3),
    ord("a"): _Machine._append_one,
    ord("e"): lambda machine: machine._append(machine._since_mark()),
    ord("s"): _Machine._set_item,
    ord("u"): lambda machine: machine._set_items(machine._since_mark()),
    ord("q"): lambda machine: machine._memoize(machine._number("<B")),
    ord("r"): lambda machine: machine._memoize(machine._number("<I")),
    0x94: lambda machine: machine._memoize(len(machine._memo)),
    ord("h"): _do(lambda machine: machine._memo[machine._number("<B")]),
    ord("j"): _do(lambda machine: machine._memo[machine._number("<I")]),
    ord("c"): lambda machine: machine._global(machine._line(), machine._line()),
    0x93: _Machine._stack_global,
    ord("Q"): _Machine._storage,
    ord("R"): _Machine._reduce,
    0x81: _Machine._new_object,
    ord("b"): _Machine._build,
}
