"""Limits of reading: files, not pipes or devices, and no more than fits into memory."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from cxr_cli.errors import InputError

#: Bytes of memory that a byte of a table takes while it is read: text, places of its rows, parsed cells.
_TIMES = 10


def refuse_special(path: Path | str) -> None:
    """Refuse what is neither a file nor a folder: reading a pipe may wait for ever, a device may never end.

    Raises
    ------
    InputError
        It is a pipe, a device or a socket.
    """
    with contextlib.suppress(OSError, ValueError):  # what is missing is for the reader to say
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
            raise InputError(f"{path}: is {kind}, not a file", remedy="Write its content to a file first.")


def refuse_larger_than_memory(path: Path | str) -> None:
    """Refuse a file whose content would not fit into memory once it is read and parsed.

    Raises
    ------
    InputError
        It is larger than `largest_table`.
    OSError
        It cannot be looked at.
    """
    size, most = os.stat(path).st_size, largest_table()
    if most is not None and size > most:
        raise InputError(
            f"{path}: is {size:,} bytes, and reading a table takes about {_TIMES} times its size in memory",
            expected=f"at most {most:,} bytes, with the memory that is free now",
            remedy="Free some memory, or divide the table.",
        )


def largest_table() -> int | None:
    """Return how many bytes a table may have so that reading it fits into the free memory; None if that is unknown."""
    free = free_memory()
    return None if free is None else free // _TIMES


def free_memory() -> int | None:
    """Return the bytes of memory that this process could still get; None on platforms that do not report it.

    The machine's, or those of the container (control group) or of the process (``ulimit -v``) if they are fewer.
    """
    found = [_of_machine(), _of_container(), _of_process()]
    known = [n_bytes for n_bytes in found if n_bytes is not None]
    return max(0, min(known)) if known else None


def _of_machine() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container() -> int | None:
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((root / "memory.max").read_text(encoding="ascii"))
        return limit - int((root / "memory.current").read_text(encoding="ascii"))
    return None


def _of_process() -> int | None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
            return limit - used
    return None
