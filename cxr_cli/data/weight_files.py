"""Files of pre-trained weights, read as data: which arrays they hold, under which names, in which order.

Nothing in such a file is ever executed. Files with code in them (Lambda layers, pickles) are refused, and so are HDF5
files that point to other files. What the file is, is told here from its first bytes; HDF5 itself is opened in a process
of its own, see `cxr_cli.data.hdf5_reader`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import unreadable
from cxr_cli.data.limits import refuse_special
from cxr_cli.errors import CxrError, InputError, MachineError, WeightsFileError, shown

#: Where to get a good file, and how to pass it.
REMEDY = "Pass a file of DenseNet121 weights: Keras .h5, .hdf5, .weights.h5 or .keras."
#: Processor time and waiting time for a small file, in seconds, and bytes a second by which large ones get more.
CPU_SECONDS, PATIENCE, SLOWEST = 6, 20, 20 * 2**20
#: Memory of the process that reads, in bytes, besides what the file itself may need twice.
MEMORY = 2 * 2**30


@dataclass(frozen=True)
class StoredArray:
    """An array in a weight file.

    Attributes
    ----------
    dtype
        NumPy's name of its type; of an array that was copied, little-endian floating point.
    shape
        As in the file.
    values
        Its numbers; None if they are not floating point, lie in another file, or the file is too large to be that of
        a DenseNet121.
    elsewhere
        Whether the numbers lie in another file.
    """

    dtype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | None
    elsewhere: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(frozen=True)
class StoredLayer:
    """A layer in a weight file.

    Attributes
    ----------
    path
        All the names that the file gives it, joined by "/", outermost first; "" where the format holds none.
    kind
        "conv2d", "batch_normalization", "dense", or what else Keras calls it in lower case; "" if unknown.
    arrays
        Its arrays by name: kernel, bias, gamma, beta, moving_mean, moving_variance, or whatever the file says.
    """

    path: str
    kind: str
    arrays: Mapping[str, StoredArray]

    @property
    def label(self) -> str:
        """Name for messages; Keras' legacy format repeats each one, as "conv1/conv/conv1/conv"."""
        half = self.path[: len(self.path) // 2]
        return shown(half if self.path == f"{half}/{half}" else self.path or self.kind)


@dataclass(frozen=True)
class WeightFile:
    """A weight file, as it was read.

    Attributes
    ----------
    path
        As given.
    layout
        In words: which of the formats it is.
    layers
        Those with weights, in the order of the network if `ordered`.
    ordered
        Whether the file tells the order, at least among layers of the same kind.
    backend
        The Keras backend that wrote it, if it says so.
    """

    path: Path
    layout: str
    layers: tuple[StoredLayer, ...]
    ordered: bool
    backend: str


@contextlib.contextmanager
def open_weight_file(path: Path) -> Iterator[WeightFile]:
    """Open a weight file of any of Keras' formats, recognised by content, whatever its name.

    Parameters
    ----------
    path
        Legacy HDF5 (weights only, whole model, with or without attributes), ``.weights.h5`` or ``.keras``.

    Yields
    ------
    WeightFile
        Its arrays lie in a temporary file, to be read with :func:`read_array` before the context is left.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    WeightsFileError
        It is something else, is damaged, holds code, is larger than any model, or HDF5 crashes on it or does not come
        to an end.
    """
    path = Path(path)
    size = check_weight_file(path)
    with tempfile.TemporaryDirectory(prefix="cxr-weights-") as folder:
        found = _read_in_process(path, Path(folder), size)
        yield _weight_file(path, found, Path(folder) / "arrays.bin")


def read_array(file: WeightFile, layer: StoredLayer, weight: str) -> NDArray[np.float32]:
    """Read one array as float32 and check that it can be a weight.

    Raises
    ------
    WeightsFileError
        It is not an array of floating-point numbers, is stored in another file, holds NaN or infinity, is a kernel of
        zeros, or holds variances that are negative or all 0.
    """
    array = layer.arrays[weight]
    where = f"{file.path}: {shown(weight)} of layer {layer.label}"
    if array.elsewhere:
        raise WeightsFileError(
            f"{where} points to another file", expected="the numbers themselves", remedy="Do not trust this file."
        )
    if array.values is None:
        if np.dtype(array.dtype).kind == "f":
            raise WeightsFileError(f"{file.path}: is larger than any DenseNet121", remedy=REMEDY)
        raise WeightsFileError(
            f"{where} has type {shown(array.dtype)}", expected="floating-point numbers", remedy=REMEDY
        )
    return checked_weight(array.values, weight, where)


def checked_weight(array: NDArray[Any], weight: str, where: str) -> NDArray[np.float32]:
    """Return an array as float32 after a check that it can be a weight; `where` names it in errors.

    Raises
    ------
    WeightsFileError
        It holds NaN or infinity, is a kernel of zeros, or holds variances that are negative or all 0.
    """
    with np.errstate(over="ignore", under="ignore"):
        values: NDArray[np.float32] = np.array(array, dtype=np.float32)
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise WeightsFileError(
            f"{where} holds {bad:,} of {values.size:,} values that are NaN or infinite",
            remedy="The training behind it diverged or the file is damaged; take another one.",
        )
    if weight == "moving_variance" and values.min(initial=0) < 0:
        raise WeightsFileError(
            f"{where} is negative (smallest: {values.min():.3g})",
            expected="variances, at least 0",
            remedy="The file is damaged; take another one.",
        )
    if weight in ("kernel", "moving_variance") and values.size and not values.any():
        too_small = " in single precision" if np.any(array) else ""
        raise WeightsFileError(
            f"{where} is 0 everywhere{too_small}: nothing would pass the layer",
            remedy="The file is damaged or was never written to; take another one.",
        )
    return values


# ---------------------------------------------------------------------------------------------- what kind of file


def check_weight_file(path: Path) -> int:
    """Tell from its name, its kind and its first bytes whether a path can be a weight file; return the size in bytes.

    Takes no longer than reading a few bytes, so that a command can refuse a wrong file before it loads anything.

    Raises
    ------
    InputError
        The file is missing, cannot be read, or is a pipe or a device.
    WeightsFileError
        It is of another format or a folder. Names what it is and how to convert it.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise _missing(path) or unreadable(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise _folder(path)
    refuse_special(path)
    try:
        with open(path, "rb") as stream:
            start = stream.read(2048)
            is_hdf5 = start.startswith((b"\x89HDF\r\n\x1a\n", b"PK\x03\x04")) or _has_late_signature(
                stream, status.st_size
            )
    except OSError as error:
        raise unreadable(path, error) from error
    part = re.fullmatch(r"(.+)\.(index|data-\d{5}-of-\d{5})", path.name)
    if not is_hdf5 and part is not None:
        raise _checkpoint(path.with_name(part[1]), f"{path}: is a part of a TensorFlow checkpoint")
    if not is_hdf5:
        what, remedy = _foreign(start)
        raise WeightsFileError(f"{path}: {what}", expected="HDF5 or .keras", remedy=remedy)
    return status.st_size


def _has_late_signature(stream: Any, size: int) -> bool:
    """Return whether HDF5 begins behind a block of the user's: at 512 bytes, or that doubled any number of times."""
    place = 512
    while place < size:
        stream.seek(place)
        if stream.read(8) == b"\x89HDF\r\n\x1a\n":
            return True
        place *= 2
    return False


#: How to come from a model to a file that can be read.
_SAVE = "model.save_weights('model.weights.h5')."


def _missing(path: Path) -> WeightsFileError | None:
    """Return an error if a path is the prefix of a TensorFlow checkpoint, whose files bear longer names."""
    if not path.with_name(f"{path.name}.index").exists():
        return None
    return _checkpoint(path, f"{path}: is the prefix of a TensorFlow checkpoint ({path.name}.index and its data)")


def _folder(path: Path) -> WeightsFileError:
    if (path / "saved_model.pb").exists():
        return WeightsFileError(
            f"{path}: is a folder in TensorFlow's SavedModel format, which contains a program",
            expected="HDF5 or .keras",
            remedy="Convert it with the TensorFlow that wrote it: "
            f"tf.keras.models.load_model({path.name!r}).save_weights('model.weights.h5').",
        )
    indexes = sorted(path.glob("*.index"))
    if indexes:
        return _checkpoint(path / indexes[0].stem, f"{path}: is a folder with a TensorFlow checkpoint")
    return WeightsFileError(f"{path}: is a folder", remedy=REMEDY)


def _checkpoint(prefix: Path, what: str) -> WeightsFileError:
    return WeightsFileError(
        what,
        expected="HDF5 or .keras",
        remedy="Convert it where the model's code is: build the model, "
        f"model.load_weights({prefix.name!r}), then {_SAVE}",
    )


def _foreign(start: bytes) -> tuple[str, str]:
    """Say what a file is that is neither HDF5 nor a ZIP archive, from its first bytes, and what to do."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "is empty", REMEDY
    if start.startswith(b"version https://git-lfs"):
        return "is a Git-LFS pointer, not the file itself (run `git lfs pull` where it came from)", REMEDY
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<script")):
        return "is an HTML page, perhaps a log-in or error page that was saved instead of the file", REMEDY
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a Python pickle, which can run any code when it is loaded; refused", REMEDY
    if start[4:8] == b"TFL3":
        return (
            "is a TensorFlow Lite model, which is compiled and often rounded to 8 bits",
            f"It cannot be converted back; take the Keras model that it was made from. {REMEDY}",
        )
    if text.startswith(b"model_checkpoint_path:"):
        return "is TensorFlow's list of checkpoints", f"Load one of them into the model, then {_SAVE}"
    if start[:1] == b"\x08" and any(name in start[:64].lower() for name in (b"onnx", b"pytorch")):
        return "is an ONNX model", f"Take the model that it was exported from. {REMEDY}"
    if start[:3] == b"\x08\x01\x12":
        return (
            "is the graph of a TensorFlow SavedModel, which is a program",
            f"Load its folder with the TensorFlow that wrote it, then {_SAVE}",
        )
    if start.startswith(b"\x1f\x8b"):
        return "is compressed with gzip (unpack it first)", REMEDY
    if start[8:10] == b'{"':
        return "is a safetensors file, which has no Keras weights", REMEDY
    if text.startswith((b"{", b"[")):
        return "is a JSON document", REMEDY
    if start.startswith(b"\x89HDF"):
        return "is an HDF5 file with a damaged head (perhaps transferred as text)", REMEDY
    if start.strip(b"\0") == b"":
        return "holds only zero bytes, as after an interrupted download", REMEDY
    return "is not an HDF5 file: cut at its start, damaged, or of another program", REMEDY


# ------------------------------------------------------------------------------------------ the process that reads


def _read_in_process(path: Path, folder: Path, size: int) -> dict[str, Any]:
    """Let `hdf5_reader` read a file; return what it found."""
    cpu_seconds = CPU_SECONDS + size // SLOWEST
    patience = PATIENCE + size // SLOWEST
    memory = MEMORY + 2 * size
    code = run_reader([str(path), str(folder), str(cpu_seconds), str(memory)], patience)
    if code is None:
        raise _endless(path, f"{patience} seconds")
    try:
        found: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _ended(path, code, cpu_seconds, (folder / "stderr").read_bytes()) from None
    if "error" not in found:
        return found
    if found["error"] == "memory":
        raise WeightsFileError(
            f"{path}: reading it takes more than {memory / 2**30:.1f} GB of memory", remedy=f"It is damaged. {REMEDY}"
        )
    if found["error"] == "machine":
        raise MachineError(
            f"the numbers of {path} could not be copied to {folder.parent}: {found['what']}",
            remedy="Free some space there, or name another folder with TMPDIR.",
        )
    kind = WeightsFileError if found["error"] == "weights" else InputError
    raise kind(found["what"], expected=found["expected"], remedy=found["remedy"])


def run_reader(arguments: list[str], patience: float) -> int | None:
    """Run `hdf5_reader` in a process of its own; it has ended when this returns, however that is.

    Parameters
    ----------
    arguments
        File, folder (where its stderr goes, too), seconds of processor time, bytes of memory.
    patience
        Seconds to wait.

    Returns
    -------
    int or None
        Its exit code, negative for a signal; None if it had to be ended.
    """
    script = Path(__file__).with_name("hdf5_reader.py")
    # -P: what lies in the current folder is data, not modules.
    command = [sys.executable, "-P", str(script), *arguments]
    # Threads of linear algebra, of which it needs none, take address space for each core.
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with open(Path(arguments[1]) / "stderr", "wb") as stderr:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=os.environ | threads,
            )
        except OSError as error:
            raise MachineError(f"no process could be started to read {arguments[0]}: {error}") from error
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        finally:  # Ctrl-C, too: HDF5 itself hears no signal but this one
            process.kill()
            process.wait()


def _ended(path: Path, code: int, cpu_seconds: int, stderr: bytes) -> CxrError:
    """Return the error for a process that ended without a result."""
    if code in (-getattr(signal, "SIGXCPU", 0), -getattr(signal, "SIGKILL", 0)) and code:
        return _endless(path, f"{cpu_seconds} seconds of processor time")
    last = shown(stderr.decode("utf-8", "replace").strip().rpartition("\n")[2], 200)
    if code < 0:
        name = signal.Signals(-code).name
        return WeightsFileError(f"{path}: is damaged: HDF5 crashes on it ({name})", remedy="Download or copy it again.")
    if "MemoryError" in last:
        return WeightsFileError(f"{path}: reading it takes more memory than a model would", remedy=REMEDY)
    return MachineError(f"the process that was to read {path} did not work: {last or f'exit {code}'}")


def _endless(path: Path, how_long: str) -> WeightsFileError:
    return WeightsFileError(
        f"{path}: HDF5 did not come to an end on this file in {how_long}: it is damaged",
        remedy="Download or copy it again.",
    )


def _weight_file(path: Path, found: Mapping[str, Any], arrays: Path) -> WeightFile:
    numbers = np.fromfile(arrays, dtype=np.uint8)
    layers = tuple(
        StoredLayer(
            item["path"], item["kind"], {name: _stored(array, numbers) for name, array in item["arrays"].items()}
        )
        for item in found["layers"]
    )
    return WeightFile(path, found["layout"], layers, found["ordered"], found["backend"])


def _stored(array: Mapping[str, Any], numbers: NDArray[np.uint8]) -> StoredArray:
    shape = tuple(array["shape"])
    values = None
    if array["place"] is not None:
        dtype = np.dtype(array["dtype"])
        stop = array["place"] + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        values = numbers[array["place"] : stop].view(dtype).reshape(shape)
    return StoredArray(array["dtype"], shape, values, array["elsewhere"])
