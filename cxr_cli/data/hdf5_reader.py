"""Reads one file of Keras weights, in a process of its own: ``python hdf5_reader.py FILE FOLDER CPU_SECONDS BYTES``.

HDF5 does not come to an end on some damaged files, cannot be interrupted while it works, and crashes on others. So
the file is opened here, under limits of processor time and memory where the platform has them, and never in the process
of the command: `cxr_cli.data.weight_files` starts this one, waits, and ends it. What it finds is written to the folder:
``found.json`` (the layers, or why the file is refused) and ``arrays.bin`` (their numbers, one array behind the other,
little-endian, as wide as in the file).
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

if __name__ == "__main__":  # the package, wherever it lies: behind everything else, and never the current folder
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from cxr_cli.data.files import unreadable
from cxr_cli.errors import InputError, WeightsFileError, shown

#: Where to get a good file, and how to pass it.
REMEDY = "Pass a file of DenseNet121 weights: Keras .h5, .hdf5, .weights.h5 or .keras."
#: Trees in a file that hold no weights of layers.
_NOT_LAYERS = ("optimizer", "optimizer_weights", "metrics", "compile_metrics", "loss_tracker", "seed_generator")
#: What Keras 3 stores as vars/0, vars/1, …, by kind of layer.
_VARIABLES = {
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
}
#: Kinds of layers by the numbers of dimensions of their variables.
_KINDS = {(1, 1, 1, 1): "batch_normalization", (4,): "conv2d", (4, 1): "conv2d", (2,): "dense", (2, 1): "dense"}
#: Above this many bytes, a compressed archive member that shrinks a hundredfold is a bomb, not weights.
_BOMB_BYTES, _BOMB_RATIO = 2**28, 100
#: Bounds. The largest models that Keras publishes have about 5,000 groups and arrays, 6 levels, 2 MB of configuration.
MAX_OBJECTS, MAX_DEPTH, MAX_NAMES = 12_000, 32, 12_000
MAX_CONFIG = 2**24
#: Pieces in which an array may be stored; each costs a search.
MAX_CHUNKS = 20_000
#: Bytes of arrays that are copied; the base of DenseNet121 has 28 MB. Of larger files shapes and names are told.
MAX_COPIED = 2**29

#: A layer as it is handed over: path, kind, and arrays by name.
Layer = tuple[str, str, dict[str, h5py.Dataset]]


class CannotWriteError(Exception):
    """The arrays cannot be handed over: the disk with temporary files is full, or fails."""


def main(file: str, folder: str, cpu_seconds: str, n_bytes: str) -> None:
    """Read a file and write what was found."""
    limit_process(int(cpu_seconds), int(n_bytes))
    target = Path(folder)
    path = Path(file)
    try:
        with open(target / "arrays.bin", "wb") as arrays:
            found = read(path, arrays)
    except InputError as error:
        kind = "weights" if isinstance(error, WeightsFileError) else "input"
        found = {"error": kind, "what": error.what, "expected": error.expected, "remedy": error.remedy}
    except MemoryError:
        found = {"error": "memory"}
    except CannotWriteError as error:
        found = {"error": "machine", "what": str(error)}
    (target / "found.json").write_text(json.dumps(found), encoding="utf-8")


def limit_process(cpu_seconds: int, n_bytes: int) -> None:
    """Limit processor time and memory, where the platform can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # The soft limit sends a signal that ends the process, the hard one a second later kills it.
    limits = (
        (resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1)),
        (resource.RLIMIT_AS, (n_bytes, n_bytes)),
        (resource.RLIMIT_CORE, (0, 0)),
    )
    for kind, limit in limits:
        with contextlib.suppress(OSError, ValueError):  # a lower one is set already
            resource.setrlimit(kind, limit)


def read(path: Path, arrays: BinaryIO) -> dict[str, Any]:
    """Read the layers of a file; copy their arrays to a stream.

    Returns
    -------
    dict
        Plain values: layout, ordered, backend, and the layers, each with path, kind and arrays; an array with dtype,
        shape, and its place in the stream (None if it was not copied) and why not.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    WeightsFileError
        It is something else, is damaged, holds code, or is larger than any model in some respect.
    CannotWriteError
        The stream cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            file, config = _open(path, stack)
            return _read_layout(path, file, config, arrays)
        except (InputError, MemoryError, CannotWriteError):
            raise
        except Exception as error:  # h5py and zipfile raise whatever they meet in damaged files
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno:
        return unreadable(path, error)
    text = str(error).strip("'\"") or type(error).__name__
    what = "is cut off" if "truncated" in text or "eof" in text else "is damaged"
    return WeightsFileError(f"{path}: {what} ({shown(text, 200)})", remedy="Download or copy it again.")


def _too_much(path: Path, what: str) -> WeightsFileError:
    return WeightsFileError(f"{path}: {what}", expected="a model that Keras saved", remedy=REMEDY)


# ---------------------------------------------------------------------------------------------- what kind of file


def _open(path: Path, stack: contextlib.ExitStack) -> tuple[h5py.File, str]:
    """Open the HDF5 file at `path` or inside the .keras archive there; return it with the model's configuration."""
    with open(path, "rb") as stream:
        start = stream.read(8)
    if not start.startswith(b"PK\x03\x04"):
        file = stack.enter_context(h5py.File(path, "r"))
        return file, _text(_attribute(file, "model_config"))
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        # A ZIP archive keeps its directory at the end: it starts right and has none if the rest is missing.
        raise WeightsFileError(
            f"{path}: is cut off (a .keras or ZIP archive without its end)", remedy="Download or copy it again."
        ) from error
    names = archive.namelist()
    if "model.weights.h5" not in names or "config.json" not in names:
        raise WeightsFileError(f"{path}: {_foreign_archive(names)}", expected="HDF5 or .keras", remedy=REMEDY)
    for name, most in (("model.weights.h5", None), ("config.json", MAX_CONFIG)):
        info = archive.getinfo(name)
        if info.file_size > (most or max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size)):
            raise WeightsFileError(f"{path}: {name} in it would unpack to {info.file_size:,} bytes", remedy=REMEDY)
    content = io.BytesIO(archive.read("model.weights.h5"))
    return stack.enter_context(h5py.File(content, "r")), archive.read("config.json").decode("utf-8")


def _foreign_archive(names: Iterable[str]) -> str:
    """Say what a ZIP archive is that is not a .keras file."""
    names = list(names)
    if any(name.endswith("data.pkl") for name in names):
        return "is a PyTorch file: a Python pickle, which can run any code when it is loaded; refused"
    if names and all(name.endswith(".npy") for name in names):
        return "is an .npz archive"
    inside = [name for name in names if name.lower().endswith((".h5", ".hdf5", ".keras"))]
    if inside:
        return f"is a ZIP archive around {shown(inside[0])} (unpack it first)"
    return "is a ZIP archive of something else"


# ---------------------------------------------------------------------------------------------- what is in it


def _read_layout(path: Path, file: h5py.File, config_text: str, arrays: BinaryIO) -> dict[str, Any]:
    if len(config_text) > MAX_CONFIG:
        raise _too_much(path, f"has a configuration of {len(config_text):,} characters")
    config = json.loads(config_text) if config_text else {}
    _refuse_code(path, config)
    groups, datasets = _objects(path, file)
    whole = "model_weights" in groups
    root = groups["model_weights"] if whole else file
    prefix = "model_weights/" if whole else ""
    backend = _text(_attribute(root, "backend")) or _text(_attribute(file, "backend"))
    ordered = True
    layers: list[Layer]
    if any(re.search(r"(^|/)vars/\d+$", name) for name in datasets):
        layout = "Keras 3 model (.keras)" if config else "Keras 3 weights (.weights.h5)"
        layers = _from_containers(groups, datasets, _container_names(config))
    elif _names(root, "layer_names"):
        layout = "HDF5 model" if whole else "HDF5 weights"
        layers = _from_attributes(path, root, prefix, groups, datasets)
    else:
        layout, ordered = "HDF5 without attributes", False
        layers = _from_paths(datasets)
    if not layers:
        raise WeightsFileError(f"{path}: has no weights", remedy=REMEDY)
    return {
        "layout": layout,
        "ordered": ordered,
        "backend": backend,
        "layers": _copied(path, layers, arrays),
    }


def _refuse_code(path: Path, config: Any) -> None:
    if isinstance(config, dict):
        if config.get("class_name") in ("Lambda", "__lambda__"):
            name = (config.get("config") or {}).get("name", "") if isinstance(config.get("config"), dict) else ""
            raise WeightsFileError(
                f"{path}: has a Lambda layer {shown(str(name))!r}, that is, program code; refused",
                remedy="Ask its author for the weights alone (model.save_weights).",
            )
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            _refuse_code(path, item)


def _objects(path: Path, file: h5py.File) -> tuple[dict[str, h5py.Group], dict[str, h5py.Dataset]]:
    """Collect the groups and the data sets of a file by path, data sets in the natural order of their names.

    Only hard links are followed, each object once; nothing is ever opened that is not reached in this way. Trees that
    hold no layers are not entered.
    """
    groups: dict[str, h5py.Group] = {}
    datasets: dict[str, h5py.Dataset] = {}
    seen: set[int] = set()
    if len(file) > MAX_OBJECTS:
        raise _too_much(path, f"holds more than {MAX_OBJECTS:,} groups and arrays")
    waiting = [name for name in file if name not in _NOT_LAYERS][::-1]
    while waiting:
        name = waiting.pop()
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise WeightsFileError(
                f"{path}: {shown(name)} is a link to another place",
                remedy="Do not trust this file; weights need no links.",
            )
        item = file[name]
        address = int(h5py.h5o.get_info(item.id).addr)
        if address in seen:
            # Groups in groups by several names make endless paths.
            raise WeightsFileError(
                f"{path}: {shown(name)} is in the file under another name too",
                remedy="Do not trust this file; weights need no links.",
            )
        seen.add(address)
        if len(seen) > MAX_OBJECTS:
            raise _too_much(path, f"holds more than {MAX_OBJECTS:,} groups and arrays")
        if isinstance(item, h5py.Dataset):
            datasets[name] = item
        elif isinstance(item, h5py.Group):
            if name.count("/") >= MAX_DEPTH:
                raise _too_much(path, f"has groups in groups over more than {MAX_DEPTH} levels")
            if len(item) > MAX_OBJECTS:
                raise _too_much(path, f"holds more than {MAX_OBJECTS:,} groups and arrays")
            groups[name] = item
            waiting += [f"{name}/{below}" for below in item][::-1]
    return groups, {name: datasets[name] for name in sorted(datasets, key=_natural)}


def _natural(name: str) -> list[tuple[str, int]]:
    """Sort key that puts conv2d_10 after conv2d_9 and conv2d before conv2d_1."""
    parts = (re.fullmatch(r"(.*?)(?:_?(\d+))?", part, re.DOTALL) for part in name.split("/"))
    return [(match[1], int(match[2] or 0)) for match in parts if match]


def _from_attributes(
    path: Path,
    root: h5py.Group,
    prefix: str,
    groups: Mapping[str, h5py.Group],
    datasets: Mapping[str, h5py.Dataset],
) -> list[Layer]:
    """Read the layout of Keras 1 and 2: groups named in layer_names, their arrays in weight_names."""
    layers: dict[str, dict[str, h5py.Dataset]] = {}
    for group in _names(root, "layer_names"):
        found = groups.get(f"{prefix}{group}")
        if found is None:
            raise WeightsFileError(
                f"{path}: names layer {shown(group)} but does not hold it", remedy="Download or copy it again."
            )
        for name in _names(found, "weight_names"):
            dataset = datasets.get(f"{prefix}{group}/{name}")
            if dataset is None:
                raise WeightsFileError(
                    f"{path}: names {shown(name)} of layer {shown(group)} but does not hold it",
                    remedy="Download or copy it again.",
                )
            parent, weight = _split(f"{group}/{name}")
            layers.setdefault(parent, {})[weight] = dataset
    return [_layer(layer_path, arrays) for layer_path, arrays in layers.items()]


def _from_paths(datasets: Mapping[str, h5py.Dataset]) -> list[Layer]:
    """Read an HDF5 file that has lost its attributes: the groups still bear the names."""
    layers: dict[str, dict[str, h5py.Dataset]] = {}
    for name, dataset in datasets.items():
        parent, weight = _split(name.removeprefix("model_weights/"))
        layers.setdefault(parent, {})[weight] = dataset
    return [_layer(layer_path, arrays) for layer_path, arrays in layers.items()]


def _from_containers(
    groups: Mapping[str, h5py.Group], datasets: Mapping[str, h5py.Dataset], names: Mapping[str, str]
) -> list[Layer]:
    """Read the layout of Keras 3: …/conv2d_7/vars/0, with the layer's name in an attribute or the configuration."""
    containers: dict[str, list[h5py.Dataset]] = {}
    for name, dataset in datasets.items():
        container, found, index = name.rpartition("/vars/")
        if found and index.isdigit():
            containers.setdefault(container, []).append(dataset)
    layers: list[Layer] = []
    for container, arrays in containers.items():
        kind = re.sub(r"_\d+$", "", container.rsplit("/", 1)[-1])
        if kind not in _VARIABLES:  # a layer that is an attribute of its model is stored under the attribute's name
            kind = _KINDS.get(tuple(array.ndim for array in arrays), kind)
        variables = _VARIABLES.get(kind, ())
        weights = {variables[i] if i < len(variables) else str(i): array for i, array in enumerate(arrays)}
        name = _text(_attribute(groups[f"{container}/vars"], "name")) or names.get(container, "")
        layers.append((name, kind, weights))
    return layers


def _container_names(config: Any) -> dict[str, str]:
    """Return the layers' names in a Keras 3 configuration by the path that Keras stores them under."""
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers", []) if isinstance(inner, dict) else []
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for layer in layers:
        kind = _snake_case(str(layer.get("class_name", "")))
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        container = f"layers/{kind}_{number}" if number else f"layers/{kind}"
        names[container] = str(layer.get("config", {}).get("name", ""))
        names |= {f"{container}/{below}": name for below, name in _container_names(layer).items()}
    return names


def _snake_case(class_name: str) -> str:
    """Write a class name as Keras does in its files: BatchNormalization, Conv2D -> batch_normalization, conv2d."""
    split = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", split).lower()


def _layer(layer_path: str, arrays: dict[str, h5py.Dataset]) -> Layer:
    kernel = arrays.get("kernel")
    if kernel is not None:
        kind = {4: "conv2d", 2: "dense"}.get(kernel.ndim, "")
    else:
        kind = "batch_normalization" if "moving_mean" in arrays else ""
    return layer_path, kind, arrays


def _split(name: str) -> tuple[str, str]:
    """Split "conv1/conv/kernel:0" into the layer's path and the weight's name."""
    parent, _, weight = name.rpartition("/")
    return parent, re.sub(r":\d+$", "", weight)


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Return a list of names kept in an attribute, or in several (name0, name1, …) where it was too long for one."""
    names: list[str] = []
    for part in _parts(group, attribute):
        names += [_text(name) for name in _attribute(group, part)]
        if len(names) > MAX_NAMES:
            raise ValueError(f"attribute {attribute} holds more than {MAX_NAMES:,} names")
    return names


def _parts(group: h5py.Group, attribute: str) -> Iterator[str]:
    if attribute in group.attrs:
        yield attribute
        return
    for number in itertools.count():
        if f"{attribute}{number}" not in group.attrs:
            return
        if number > MAX_NAMES // 100:
            raise ValueError(f"attribute {attribute} is divided into too many")
        yield f"{attribute}{number}"


def _attribute(group: h5py.Group, name: str) -> Any:
    """Return an attribute of text, or nothing if there is none."""
    if name not in group.attrs:
        return b""
    attribute = group.attrs.get_id(name)
    if 0 in attribute.shape:  # the empty list of a layer without weights is written as one of numbers
        return []
    if not isinstance(attribute.get_type(), h5py.h5t.TypeStringID):
        raise TypeError(f"attribute {name} is not text")
    if math.prod(attribute.shape) > MAX_NAMES:
        raise ValueError(f"attribute {name} holds more than {MAX_NAMES:,} texts")
    if attribute.get_storage_size() > MAX_CONFIG:
        raise ValueError(f"attribute {name} is larger than {MAX_CONFIG:,} bytes")
    return group.attrs[name]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# ------------------------------------------------------------------------------------------------- its numbers


def _copied(path: Path, layers: Iterable[Layer], arrays: BinaryIO) -> list[dict[str, Any]]:
    """Copy the arrays of the layers; return the layers with the places of their arrays."""
    layers = list(layers)
    whole = sum(_n_bytes(array) for _, _, weights in layers for array in weights.values()) <= MAX_COPIED
    if sum(_n_chunks(array) for _, _, weights in layers for array in weights.values()) > MAX_CHUNKS:
        raise _too_much(path, f"stores its arrays in more than {MAX_CHUNKS:,} pieces")
    found = []
    for layer_path, kind, weights in layers:
        described = {name: _array(array, arrays if whole else None) for name, array in weights.items()}
        found.append({"path": layer_path, "kind": kind, "arrays": described})
    return found


def _array(dataset: h5py.Dataset, arrays: BinaryIO | None) -> dict[str, Any]:
    shape = [int(side) for side in dataset.shape]
    described = {"dtype": str(dataset.dtype), "shape": shape, "place": None, "elsewhere": False}
    if dataset.external or dataset.is_virtual:
        return described | {"elsewhere": True}
    if dataset.dtype.kind != "f" or arrays is None:
        return described
    values = np.ascontiguousarray(dataset[()], dtype=dataset.dtype.newbyteorder("<"))
    if values.dtype.itemsize > 8:
        values = values.astype("<f8")
    place = arrays.tell()
    try:
        arrays.write(values.tobytes())
        arrays.flush()
    except OSError as error:
        raise CannotWriteError(error.strerror or str(error)) from error
    return described | {"dtype": values.dtype.str, "place": place}


def _n_bytes(dataset: h5py.Dataset) -> int:
    return int(math.prod(dataset.shape or ()) * dataset.dtype.itemsize)


def _n_chunks(dataset: h5py.Dataset) -> int:
    """Return in how many pieces an array may be stored."""
    if dataset.chunks is None:
        return 1
    return math.prod(-(-side // piece) for side, piece in zip(dataset.shape, dataset.chunks, strict=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
