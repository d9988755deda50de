"""Input files described, output files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
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

from cxr_cli.errors import InputError, MachineError, MissingPackageError, OutputError

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
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error, remedy=remedy) from error


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
    except (OSError, ValueError) as error:
        raise InputError(f"{address}: cannot be read: {error}", remedy="Check the address and your access.") from error


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
#: What the loader says when a library does not fit into memory (glibc, musl, macOS).
_LOADER_OUT_OF_MEMORY = ("failed to map segment", "cannot allocate memory", "out of memory", "not enough memory")


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
            remedy="Free some memory and use fewer --workers, then repeat the command."
            if reason == "out of memory"
            else "Check the disk or the network, then repeat the command.",
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, which importing a library reports in its own words."""
    if isinstance(error, ImportError):
        return any(sign in str(error).lower() for sign in _LOADER_OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


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


def unwritable(path: Path, error: OSError) -> OutputError:
    """Say why an output could not be written."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "Free some space or choose another folder with --output."
    else:
        remedy = "Choose a folder you can write to with --output."
    return OutputError(f"{path}: cannot write: {reason}", remedy=remedy)


class Outputs:
    """The folder a command writes into and the list of what it wrote there.

    Parameters
    ----------
    folder
        Where outputs go; made when the first one is written.
    inputs
        Files that must never be overwritten.
    """

    def __init__(self, folder: Path, inputs: Iterable[Path | str] = ()) -> None:
        self.folder = Path(folder)
        self.written: list[Path] = []
        self._inputs = [Path(item) for item in inputs]

    @contextlib.contextmanager
    def path(self, name: str | Path) -> Iterator[Path]:
        """Yield a temporary path that becomes `name` (relative to the folder, or absolute) if all goes well."""
        target = self.folder / name
        self.refuse_input(target)
        with atomic_path(target) as temporary:
            yield temporary
        self.written.append(target)

    def refuse_input(self, target: Path) -> None:
        """Raise OutputError if `target` is one of the inputs, by whatever name."""
        for item in self._inputs:
            if _same_file(item, target):
                raise OutputError(
                    f"{target}: is an input; inputs are never overwritten",
                    remedy="Choose another path for the output.",
                )

    def write_bytes(self, name: str | Path, content: bytes) -> Path:
        """Write bytes; return the final path."""
        with self.path(name) as temporary:
            temporary.write_bytes(content)
        return self.written[-1]

    def write_text(self, name: str | Path, text: str) -> Path:
        """Write UTF-8 text with the line ends it has; return the final path."""
        return self.write_bytes(name, text.encode("utf-8"))

    def write_json(self, name: str | Path, document: Any) -> Path:
        """Write a JSON document, indented, in the order given; return the final path."""
        # Bytes of a path that are no UTF-8 become the escapes that JSON has for them.
        return self.write_bytes(name, (json_text(document) + "\n").encode("utf-8", "backslashreplace"))

    def write_figure(self, name: str | Path, figure: Figure, *, dpi: int = 150) -> Path:
        """Write a figure as PNG without a time stamp or version, so that equal figures give equal bytes."""
        with self.path(name) as temporary:
            figure.savefig(temporary, dpi=dpi, metadata={"Software": None})
        return self.written[-1]


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
