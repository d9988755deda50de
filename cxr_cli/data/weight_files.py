"""Files of pre-trained weights, read as data: which arrays they hold, under which names, in which order.

Nothing in such a file is ever executed. Files with code in them (Lambda layers, pickles) are refused, and so are HDF5
files that point to other files.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import DAMAGED_ARCHIVE, unreadable
from cxr_cli.errors import WeightsFileError, shown

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


@dataclass(frozen=True)
class StoredLayer:
    """A layer in a weight file.

    Attributes
    ----------
    path
        All the names that the file gives it, joined by "/", outermost first; "" where the format holds none.
    kind
        "conv2d", "batch_normalization", "dense", or what else Keras calls it in lower case; "" if not known.
    arrays
        Its arrays by name: kernel, bias, gamma, beta, moving_mean, moving_variance, or whatever the file says.
    """

    path: str
    kind: str
    arrays: Mapping[str, h5py.Dataset]

    @property
    def label(self) -> str:
        """Name for messages; Keras' legacy format says each one twice, as "conv1/conv/conv1/conv"."""
        half = self.path[: len(self.path) // 2]
        return half if self.path == f"{half}/{half}" else self.path or self.kind


@dataclass(frozen=True)
class WeightFile:
    """An open weight file.

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
        Its arrays are HDF5 data sets, to be read with :func:`read_array` before the context is left.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    WeightsFileError
        It is something else, is damaged, or holds code.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with _damage(path):
            file, config = _open(path, stack)
            stored = _read_layout(path, file, config)
        yield stored


def read_array(file: WeightFile, layer: StoredLayer, weight: str) -> NDArray[np.float32]:
    """Read one array as float32 and check that it can be a weight.

    Raises
    ------
    WeightsFileError
        It is no floating-point array, is stored in another file, holds NaN or infinity, or is a negative variance.
    """
    dataset = layer.arrays[weight]
    where = f"{file.path}: {weight} of layer {layer.label}"
    if dataset.dtype.kind != "f":
        raise WeightsFileError(f"{where} has type {dataset.dtype}", expected="floating-point numbers", remedy=REMEDY)
    if dataset.external or dataset.is_virtual:
        raise WeightsFileError(
            f"{where} points to another file", expected="the numbers themselves", remedy="Do not trust this file."
        )
    with _damage(file.path), np.errstate(over="ignore"):
        array: NDArray[np.float32] = np.asarray(dataset[()]).astype(np.float32, copy=False)
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise WeightsFileError(
            f"{where} holds {bad:,} of {array.size:,} values that are NaN or infinite",
            remedy="The training behind it diverged or the file is damaged; take another one.",
        )
    if weight == "moving_variance" and array.min(initial=0) < 0:
        raise WeightsFileError(
            f"{where} is negative (smallest: {array.min():.3g})",
            expected="variances, at least 0",
            remedy="The file is damaged; take another one.",
        )
    return array


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what h5py and zipfile raise on damaged files into one message."""
    try:
        yield
    except (*DAMAGED_ARCHIVE, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise unreadable(path, error) from error
        text = str(error).strip("'\"")
        what = "is cut off" if "truncated" in text or "eof" in text else "is damaged"
        raise WeightsFileError(f"{path}: {what} ({shown(text, 200)})", remedy="Download or copy it again.") from error


# ---------------------------------------------------------------------------------------------- what kind of file


def _open(path: Path, stack: contextlib.ExitStack) -> tuple[h5py.File, str]:
    """Open the HDF5 file at `path` or inside the .keras archive there; return it with the model's configuration."""
    if path.is_dir():
        raise WeightsFileError(f"{path}: is a folder{_folder_kind(path)}", remedy=REMEDY)
    with open(path, "rb") as stream:
        start = stream.read(2048)
    if not start.startswith(b"PK\x03\x04"):
        if not start.startswith(b"\x89HDF\r\n\x1a\n") and not h5py.is_hdf5(path):
            raise WeightsFileError(f"{path}: {_foreign(start)}", expected="HDF5 or .keras", remedy=REMEDY)
        file = stack.enter_context(h5py.File(path, "r"))
        return file, _text(_attribute(file, "model_config"))
    archive = stack.enter_context(_archive(path))
    names = archive.namelist()
    if "model.weights.h5" not in names or "config.json" not in names:
        raise WeightsFileError(f"{path}: {_foreign_archive(names)}", expected="HDF5 or .keras", remedy=REMEDY)
    for name in ("model.weights.h5", "config.json"):
        info = archive.getinfo(name)
        if info.file_size > max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size):
            raise WeightsFileError(f"{path}: {name} in it would unpack to {info.file_size:,} bytes", remedy=REMEDY)
    content = io.BytesIO(archive.read("model.weights.h5"))
    return stack.enter_context(h5py.File(content, "r")), archive.read("config.json").decode("utf-8")


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        # A ZIP archive keeps its directory at the end: it starts right and has none if the rest is missing.
        raise WeightsFileError(
            f"{path}: is cut off (a .keras or ZIP archive without its end)", remedy="Download or copy it again."
        ) from error


def _folder_kind(path: Path) -> str:
    if (path / "saved_model.pb").exists():
        return " in TensorFlow's SavedModel format, which contains a program"
    return ""


def _foreign(start: bytes) -> str:
    """Say what a file is that is neither HDF5 nor a ZIP archive, from its first bytes."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "is empty"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git-LFS pointer, not the file itself (run `git lfs pull` where it came from)"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<script")):
        return "is an HTML page, perhaps a log-in or error page that was saved instead of the file"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a Python pickle, which can run any code when it is loaded; refused"
    if start.startswith(b"\x1f\x8b"):
        return "is compressed with gzip (unpack it first)"
    if start[8:10] == b'{"':
        return "is a safetensors file, which holds no Keras weights"
    if text.startswith((b"{", b"[")):
        return "is a JSON document"
    if start.startswith(b"\x89HDF"):
        return "is an HDF5 file with a damaged head (perhaps transferred as text)"
    if start.strip(b"\0") == b"":
        return "holds only zero bytes, as after an interrupted download"
    return "is no HDF5 file: cut at its start, damaged, or of another program"


def _foreign_archive(names: Iterable[str]) -> str:
    """Say what a ZIP archive is that is no .keras file."""
    names = list(names)
    if any(name.endswith("data.pkl") for name in names):
        return "is a PyTorch file: a Python pickle, which can run any code when it is loaded; refused"
    if names and all(name.endswith(".npy") for name in names):
        return "is an .npz archive"
    inside = [name for name in names if name.lower().endswith((".h5", ".hdf5", ".keras"))]
    return f"is a ZIP archive around {inside[0]} (unpack it first)" if inside else "is a ZIP archive of something else"


# ---------------------------------------------------------------------------------------------- what is in it


def _read_layout(path: Path, file: h5py.File, config_text: str) -> WeightFile:
    config = json.loads(config_text) if config_text else {}
    _refuse_code(path, config)
    datasets = _datasets(path, file)
    whole = "model_weights" in file
    root = file["model_weights"] if whole else file
    prefix = "model_weights/" if whole else ""
    backend = _text(_attribute(root, "backend")) or _text(_attribute(file, "backend"))
    ordered = True
    if any(re.search(r"(^|/)vars/\d+$", name) for name in datasets):
        layout = "Keras 3 model (.keras)" if config else "Keras 3 weights (.weights.h5)"
        layers = _from_containers(file, datasets, _container_names(config))
    elif _names(root, "layer_names"):
        layout = "HDF5 model" if whole else "HDF5 weights"
        layers = _from_attributes(path, root, prefix, datasets)
    else:
        layout, ordered = "HDF5 without attributes", False
        layers = _from_paths(datasets)
    if not layers:
        raise WeightsFileError(f"{path}: holds no weights", remedy=REMEDY)
    return WeightFile(path, layout, tuple(layers), ordered, backend)


def _refuse_code(path: Path, config: Any) -> None:
    if isinstance(config, dict):
        if config.get("class_name") in ("Lambda", "__lambda__"):
            name = (config.get("config") or {}).get("name", "") if isinstance(config.get("config"), dict) else ""
            raise WeightsFileError(
                f"{path}: has a Lambda layer {name!r}, that is, program code; refused",
                remedy="Ask its author for the weights alone (model.save_weights).",
            )
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            _refuse_code(path, item)


def _datasets(path: Path, file: h5py.File) -> dict[str, h5py.Dataset]:
    """Collect the data sets of a file by path, in the natural order of their names."""
    tops = (name for name in file if name not in _NOT_LAYERS)
    seen: set[int] = set()
    found = dict(pair for name in tops for pair in _walk(path, file, name, seen))
    return {name: found[name] for name in sorted(found, key=_natural)}


def _walk(path: Path, file: h5py.File, name: str, seen: set[int]) -> Iterator[tuple[str, h5py.Dataset]]:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise WeightsFileError(
            f"{path}: {shown(name)} is a link to another place", remedy="Do not trust this file; weights need no links."
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
    if isinstance(item, h5py.Dataset):
        yield name, item
    elif isinstance(item, h5py.Group):
        for below in item:
            yield from _walk(path, file, f"{name}/{below}", seen)


def _natural(name: str) -> list[tuple[str, int]]:
    """Sort key that puts conv2d_10 after conv2d_9 and conv2d before conv2d_1."""
    parts = (re.fullmatch(r"(.*?)(?:_?(\d+))?", part) for part in name.split("/"))
    return [(match[1], int(match[2] or 0)) for match in parts if match]


def _from_attributes(
    path: Path, root: h5py.Group, prefix: str, datasets: Mapping[str, h5py.Dataset]
) -> list[StoredLayer]:
    """Read the layout of Keras 1 and 2: groups named in layer_names, their arrays in weight_names."""
    layers: dict[str, dict[str, h5py.Dataset]] = {}
    for group in _names(root, "layer_names"):
        for name in _names(root[group], "weight_names"):
            dataset = datasets.get(f"{prefix}{group}/{name}")
            if dataset is None:
                raise WeightsFileError(
                    f"{path}: names {name} of layer {group} but does not hold it", remedy="Download or copy it again."
                )
            parent, weight = _split(f"{group}/{name}")
            layers.setdefault(parent, {})[weight] = dataset
    return [_layer(layer_path, arrays) for layer_path, arrays in layers.items()]


def _from_paths(datasets: Mapping[str, h5py.Dataset]) -> list[StoredLayer]:
    """Read an HDF5 file that has lost its attributes: the groups still bear the names."""
    layers: dict[str, dict[str, h5py.Dataset]] = {}
    for name, dataset in datasets.items():
        parent, weight = _split(name.removeprefix("model_weights/"))
        layers.setdefault(parent, {})[weight] = dataset
    return [_layer(layer_path, arrays) for layer_path, arrays in layers.items()]


def _from_containers(
    file: h5py.File, datasets: Mapping[str, h5py.Dataset], names: Mapping[str, str]
) -> list[StoredLayer]:
    """Read the layout of Keras 3: …/conv2d_7/vars/0, with the layer's name in an attribute or the configuration."""
    groups: dict[str, list[h5py.Dataset]] = {}
    for name, dataset in datasets.items():
        container, found, index = name.rpartition("/vars/")
        if found and index.isdigit():
            groups.setdefault(container, []).append(dataset)
    layers = []
    for container, arrays in groups.items():
        kind = re.sub(r"_\d+$", "", container.rsplit("/", 1)[-1])
        if kind not in _VARIABLES:  # a layer that is an attribute of its model is stored under the attribute's name
            kind = _KINDS.get(tuple(array.ndim for array in arrays), kind)
        variables = _VARIABLES.get(kind, ())
        weights = {variables[i] if i < len(variables) else str(i): array for i, array in enumerate(arrays)}
        name = _text(_attribute(file[f"{container}/vars"], "name")) or names.get(container, "")
        layers.append(StoredLayer(name, kind, weights))
    return layers


def _container_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the layers' names in a Keras 3 configuration by the path that Keras stores them under."""
    inner = config.get("config")
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


def _layer(layer_path: str, arrays: Mapping[str, h5py.Dataset]) -> StoredLayer:
    kernel = arrays.get("kernel")
    if kernel is not None:
        kind = {4: "conv2d", 2: "dense"}.get(kernel.ndim, "")
    else:
        kind = "batch_normalization" if "moving_mean" in arrays else ""
    return StoredLayer(layer_path, kind, arrays)


def _split(name: str) -> tuple[str, str]:
    """Split "conv1/conv/kernel:0" into the layer's path and the weight's name."""
    parent, _, weight = name.rpartition("/")
    return parent, re.sub(r":\d+$", "", weight)


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Return a list of names kept in an attribute, or in several (name0, name1, …) where it was too long for one."""
    if attribute in group.attrs:
        return [_text(name) for name in _attribute(group, attribute)]
    numbered = itertools.takewhile(group.attrs.__contains__, (f"{attribute}{part}" for part in itertools.count()))
    return [_text(name) for part in numbered for name in _attribute(group, part)]


def _attribute(group: h5py.Group, name: str) -> Any:
    """Return an attribute of text, or nothing if there is none."""
    if name not in group.attrs:
        return b""
    attribute = group.attrs.get_id(name)
    if 0 in attribute.shape:  # the empty list of a layer without weights is written as one of numbers
        return []
    if not isinstance(attribute.get_type(), h5py.h5t.TypeStringID):
        raise TypeError(f"attribute {name} is no text")
    return group.attrs[name]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
