"""Input files described, output files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import glob
import hashlib
import json
import lzma
import os
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_cli.data.drawing import save_figure
from cxr_cli.data.limits import refuse_larger_than_memory, refuse_special
from cxr_cli.errors import InputError, MachineError, MissingPackageError, OutputError, argument, is_out_of_memory, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: What gzip and zipfile raise on damaged bytes (found by fuzzing); RuntimeError: encrypted or an unknown method.
DAMAGED_ARCHIVE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class InputFile:
    """An input as it was read.

    Attributes
    ----------
    path
        The file as given.
    size
        In bytes.
    sha256
        SHA-256 of its bytes, 64 hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class OutputFile(InputFile):
    """An output as it was written."""


def describe_input(path: Path, content: bytes | None = None) -> InputFile:
    """Describe a file by path, size and SHA-256; `content` spares reading it again.

    Raises
    ------
    InputError
        The file is missing, is a folder, or cannot be read.
    """
    if content is not None:
        return InputFile(str(path), len(content), hashlib.sha256(content).hexdigest())
    refuse_special(path)
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
            return InputFile(str(path), stream.tell(), digest.hexdigest())
    except OSError as error:
        raise unreadable(path, error) from error


def read_input(path: Path, *, remedy: str | None = None) -> bytes:
    """Read a whole input file; an address such as ``s3://bucket/train.csv`` is read through fsspec.

    Raises
    ------
    InputError
        The file is missing, is a folder, or cannot be read.
    MissingPackageError
        The path is an address, and fsspec or its package for that protocol is not installed.
    """
    address = remote_address(path)
    if address is not None:
        return _read_remote(address)
    refuse_special(path)
    try:
        refuse_larger_than_memory(path)
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error, remedy=remedy) from error


#: Protocols of addresses: storage and web servers. fsspec knows more, which wrap others, run programs or start servers.
PROTOCOLS = (
    *("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "hf", "http", "https"),
    *("ftp", "sftp", "ssh", "hdfs", "webhdfs", "smb", "file", "local", "memory"),
)


def remote_address(path: Path | str) -> str | None:
    """Return the address that a path stands for, or None for a local path.

    Examples
    --------
    >>> remote_address(Path("s3://bucket/train.csv")), remote_address("train.csv"), remote_address("C:/train.csv")
    ('s3://bucket/train.csv', None, None)
    """
    # Path("s3://bucket") folds the two slashes into one.
    match = re.match(r"([a-z][a-z0-9+]+):/+(?=[^/])", str(path))
    return f"{match[1]}://{str(path)[match.end() :]}" if match else None


def _read_remote(address: str) -> bytes:
    protocol = address.partition(":")[0]
    if protocol not in PROTOCOLS:
        raise InputError(
            f"{address}: tables are not read from {protocol}://",
            expected=f"a path, or an address with {', '.join(PROTOCOLS)}",
            remedy="Fetch the file, and give its path.",
        )
    try:
        import fsspec

        with fsspec.open(address, "rb") as stream:
            content: bytes = stream.read()
            return content
    except ImportError as error:
        raise MissingPackageError(
            f"{address}: needs a package that is not installed: {error}",
            remedy="Install fsspec and its package for the protocol (s3fs for s3://, gcsfs for gs://).",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # each protocol's package raises its own
        what = shown(str(error) or type(error).__name__, 200)
        raise InputError(f"{address}: cannot be read: {what}", remedy="Check the address and your access.") from error


def unreadable(path: Path, error: OSError, *, remedy: str | None = None) -> InputError:
    """Say why a file could not be read."""
    reason = {
        errno.ENOENT: "no such file",
        errno.EISDIR: "is a folder, not a file",
        errno.EACCES: "no permission to read it",
        errno.ENOTDIR: "a part of the path is not a folder",
    }.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))
    return InputError(f"{path}: {reason}", remedy=remedy or "Check the path.")


#: Errors of the system that say nothing of the file: disk, network, memory, too many open files.
_MACHINE_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EBUSY", "ENODEV", "ENXIO", "ESTALE", "EREMOTEIO"),
        *("ETIMEDOUT", "ENOTCONN", "ENOLINK", "ECONNRESET", "ECONNABORTED", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN"),
    )
    if hasattr(errno, name)
)


def machine_failure(error: BaseException | None) -> str | None:
    """Return how the machine failed if that is what an error, or what it was raised from, is about; else None.

    Examples
    --------
    >>> machine_failure(OSError(errno.EIO, "Input/output error")), machine_failure(OSError(errno.ENOENT, "none"))
    ('Input/output error', None)
    """
    while error is not None:
        if is_out_of_memory(error):
            return "out of memory"
        if isinstance(error, OSError) and error.errno is not None and error.errno in _MACHINE_ERRORS:
            return os.strerror(error.errno)
        error = error.__cause__
    return None


def raise_if_machine_failed(error: BaseException, path: Path | str) -> None:
    """Raise MachineError if a file could not be read because the machine failed: that is not a verdict on the file."""
    reason = machine_failure(error)
    if reason is not None:
        raise MachineError(
            f"{path}: cannot be read now: {reason}",
            remedy=f"Free some memory and use fewer {argument('workers')}, then repeat the command."
            if reason == "out of memory"
            else "Check the disk or the network, then repeat the command.",
        ) from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on leaving without an exception it is renamed to `path`.

    A kill, a full disk or an exception leaves the old file or none, never half of the new one.

    Raises
    ------
    OutputError
        The folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
    # The suffix is kept: matplotlib, numpy and Keras choose the format by it. The name is known before the file
    # exists, so that there is no moment at which a signal would leave it behind.
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(8)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_abandoned(path: Path) -> None:
    """Delete what processes that were killed left of their attempts to write a file with `atomic_path`."""
    for left in path.parent.glob(f".{glob.escape(path.stem[:40])}-{'?' * 16}.tmp{glob.escape(path.suffix)}"):
        with contextlib.suppress(OSError):
            left.unlink()


def unwritable(path: Path, error: OSError) -> OutputError:
    """Say why an output could not be written."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = f"Free some space, or choose another {argument('output')}."
    else:
        remedy = f"Choose an {argument('output')} that you can write to."
    return OutputError(f"{path}: cannot write: {reason}", remedy=remedy)


#: Name of the JSON document that a command leaves in its output folder; beside a single file, it is added to its name.
RESULT = "result.json"
#: Name of the manifest in a store, which comes last of all: see `cxr_cli.services.store.manifest`.
STORE_MANIFEST = "preprocess.json"
#: In the head of every plot, so that a later run knows it may replace it.
_PLOT_MARK = b"tEXtSoftware\x00cxr"
#: Documents of ours that say what else in their folder is ours.
_VOUCHERS = (RESULT, STORE_MANIFEST, "split.json", "model.keras.json")
#: The card of a model that was trained, and what was written with it.
TRAINED_CARD, TRAINED = "model.keras.json", ("model.keras", "history.csv", "valid-predictions.csv")


class Outputs:
    """The folder a command writes into and the list of what it wrote there.

    Inputs are never replaced, and nothing else that `cxr` did not write: a plot says that it is ours, a JSON document
    too, and documents of ours vouch for the other files in their folder.

    Parameters
    ----------
    folder
        Where outputs go; made when the first one is written.
    inputs
        Files that must never be overwritten.
    images
        An image folder: all that lies in it is input.
    plots
        Whether plots are wanted; if not, `write_figures` does nothing.
    keeps_result
        Whether the command's document belongs into the folder even if nothing else was written.
    result_file
        Where the command's document belongs, if it has a name of its own.

    Attributes
    ----------
    written
        What was written, in order.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Iterable[Path | str] = (),
        *,
        images: Path | None = None,
        plots: bool = True,
        keeps_result: bool = False,
        result_file: Path | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.written: list[Path] = []
        self.plots, self.keeps_result, self.result_file = plots, keeps_result, result_file
        self._inputs = [Path(item) for item in inputs]
        self._images = [] if images is None else [images]

    def protect(self, *images: Path, inputs: Iterable[Path | str] = ()) -> None:
        """Count further files, and all that lies in further image folders, as input."""
        self._images += images
        self._inputs += map(Path, inputs)

    @contextlib.contextmanager
    def path(self, name: str | Path, *, folder: Path | None = None, named_by_user: bool = False) -> Iterator[Path]:
        """Yield a temporary path that becomes `name` if all goes well.

        Parameters
        ----------
        name
            Relative to `folder`, or absolute.
        folder
            None is that of the outputs; ``Path()`` is for names as the user gave them.
        named_by_user
            The user named this very file, so one that is there may be replaced.

        Raises
        ------
        OutputError
            It is an input, it is there and not ours, or it cannot be written.
        """
        target = self._target(name, folder)
        self.refuse_input(target)
        with atomic_path(target) as temporary:
            yield temporary
            if not named_by_user and not _same_content(temporary, target):
                self.refuse_to_replace(target, folder=Path())
        if target not in self.written:
            self.written.append(target)

    def _target(self, name: str | Path, folder: Path | None) -> Path:
        return (self.folder if folder is None else folder) / name

    def refuse_input(self, target: Path) -> None:
        """Raise OutputError if `target` is one of the inputs, by whatever name."""
        for item in self._inputs:
            if _same_file(item, target):
                raise _is_input(target)
        if self._images and os.path.lexists(target) and not is_ours(target):
            folder = os.path.join(os.path.realpath(target.parent), "")
            if any(folder.startswith(os.path.join(os.path.realpath(images), "")) for images in self._images):
                raise _is_input(target)

    def refuse_to_replace(self, *names: str | Path, folder: Path | None = None, by: bytes | None = None) -> None:
        """Raise OutputError if one of the names is taken by an input or by something that `cxr` did not write.

        For a command that works long: to be called before, with all names it is going to write.

        Parameters
        ----------
        names, folder
            As in `path`.
        by
            What would take its place: of an equal file nothing is lost, and a run that was killed has left one.
        """
        for name in names:
            target = self._target(name, folder)
            self.refuse_input(target)
            if os.path.lexists(target) and target not in self.written and not is_ours(target):
                if by is not None and not target.is_symlink() and target.is_file() and target.read_bytes() == by:
                    continue
                raise OutputError(
                    f"{target}: already exists and was not written by cxr; it will not be replaced",
                    remedy=f"Choose another {argument('output')}, or move it away.",
                )

    def write_bytes(self, name: str | Path, content: bytes, **where: Any) -> Path:
        """Write bytes; return the final path. Further arguments are those of `path`."""
        with self.path(name, **where) as temporary:
            temporary.write_bytes(content)
        return self._target(name, where.get("folder"))

    def write_text(self, name: str | Path, text: str, **where: Any) -> Path:
        """Write UTF-8 text with the line ends it has; return the final path."""
        return self.write_bytes(name, text.encode("utf-8"), **where)

    def write_json(self, name: str | Path, document: Any, **where: Any) -> Path:
        """Write a JSON document, indented, in the order given; return the final path."""
        # Bytes of a path that are not UTF-8 become the escapes that JSON has for them.
        return self.write_bytes(name, (json_text(document) + "\n").encode("utf-8", "backslashreplace"), **where)

    def write_figure(self, name: str | Path, figure: Figure, *, dpi: int = 150) -> Path:
        """Write a figure as PNG without a time stamp or version, so that equal figures give equal bytes."""
        with self.path(name) as temporary:
            save_figure(figure, temporary, dpi=dpi)
        return self.folder / name

    def result_path(self) -> Path | None:
        """Return where the document of the command belongs; None if it writes nothing.

        It is ``result.json`` in the folder, or ``NAME.result.json`` beside a single file that the user named elsewhere.
        """
        if self.result_file is not None:
            return self.result_file
        if self.keeps_result or any(self.folder in path.parents for path in self.written if self.folder != Path()):
            return self.folder / RESULT
        if not self.written:
            return None
        return result_beside(self.written[0])


def result_beside(file: Path) -> Path:
    """Return where the document of a command belongs whose output is a single file."""
    return file.with_name(f"{file.name}.{RESULT}")


def _is_input(target: Path) -> OutputError:
    return OutputError(
        f"{target}: is an input; inputs are never overwritten", remedy="Choose another path for the output."
    )


def is_ours(path: Path) -> bool:
    """Whether `cxr` wrote a file: it is marked so, or a document of ours beside it lists it.

    A link is not ours, wherever it leads.
    """
    if path.is_symlink() or not path.is_file():
        return False
    try:
        with open(path, "rb") as stream:
            if _PLOT_MARK in stream.read(512):
                return True
    except OSError:
        return False
    if path.suffix == ".json":
        return _our_document(path) is not None
    # Documents beside single files, too: that of predictions.csv is predictions.csv.result.json.
    beside = sorted(found.name for found in path.parent.glob(f"*.{RESULT}"))
    return any(path.name in _vouched_for(path.parent / name) for name in (*_VOUCHERS, *beside))


def _vouched_for(voucher: Path) -> set[str]:
    """Return the names of the files beside a document of ours that were written with it."""
    document = _our_document(voucher)
    if document is None:
        return set()
    names = [document.get("store"), document.get("index")]
    if voucher.name == STORE_MANIFEST:
        names.append("failures.csv")
    if voucher.name == TRAINED_CARD and document["command"] == "train":
        names += TRAINED
    for key, within in (("outputs", ""), ("splits", "path"), ("left_over", "path")):
        items = document.get(key)
        for item in items if isinstance(items, list) else []:
            names.append(item.get(within) if isinstance(item, dict) and within else item)
    return {os.path.basename(name) for name in names if isinstance(name, str)}


def _our_document(path: Path) -> dict[str, Any] | None:
    """Return a JSON document that a command wrote, or None."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(document, dict) and {"schema_version", "command", "cxr_version"} <= document.keys():
        return document
    return None


def _same_content(one: Path, other: Path) -> bool:
    """Whether two files are equal byte for byte, so that nothing is lost when one takes the place of the other."""
    try:
        return not other.is_symlink() and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def json_text(document: Any) -> str:
    """Format a document of plain values, indented, lists of plain values on one line each.

    NaN is refused (it must have become null before).
    """
    return "".join(_json_parts(document, "\n"))


def _json_parts(value: Any, line: str) -> Iterator[str]:
    """Yield the text of a value piece by piece; `line` is the line end with the indentation that follows it."""
    inner = line + "  "
    if isinstance(value, dict) and value:
        yield "{"
        for index, (name, item) in enumerate(value.items()):
            yield f"{',' if index else ''}{inner}{json.dumps(name, ensure_ascii=False)}: "
            yield from _json_parts(item, inner)
        yield line + "}"
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        yield "["
        for index, item in enumerate(value):
            yield f"{',' if index else ''}{inner}"
            yield from _json_parts(item, inner)
        yield line + "]"
    else:
        # A long list of rows in one call: indenting it would cost ten times the time, and a line for every number.
        yield json.dumps(value, ensure_ascii=False, allow_nan=False)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
