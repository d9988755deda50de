"""A journal of finished work, so that a long run that was killed continues where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from cxr_cli.data.files import unwritable
from cxr_cli.errors import OutputError, argument, shown

#: Seconds of work that a kill or a power failure may cost.
CHECKPOINT_SECONDS = 2.0

_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Journal:
    """Entries of finished work in order, one JSON value a line, below a line that identifies their run.

    Each has a checksum behind it: from the first line that is damaged or out of place, work is done again. Entries
    reach the disk at checkpoints, after the data they speak of: what the journal says is done is done.

    Parameters
    ----------
    path
        The file; continued if it is there and belongs to the same run.
    run
        What determines the result: options, inputs, versions. Plain values.
    sync
        Brings the data that entries speak of to the disk; called before entries are written.

    Raises
    ------
    OutputError
        The journal belongs to another run, is in use, or cannot be written.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], *, sync: Callable[[], None]) -> None:
        self.path = path
        self._sync = sync
        self._pending: list[bytes] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = open(path, "a+b")
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            _lock(self._stream.fileno(), path)
            self.n_entries = self._resume(run)
        except OSError as error:
            self.close()
            raise unwritable(path, error) from error
        except BaseException:
            self.close()
            raise
        self._checkpointed = monotonic()

    def _resume(self, run: Mapping[str, Any]) -> int:
        """Return how many entries there are, having cut off what was not finished or is damaged."""
        header = json.dumps(run, sort_keys=True).encode() + b"\n"
        lines, end, first = 0, 0, b""
        self._stream.seek(0)
        for line in self._stream:
            if not line.endswith(b"\n") or (lines > 0 and line != _with_checksum(lines - 1, _entry_of(line))):
                break
            first = first or line
            lines += 1
            end += len(line)
        self._stream.truncate(end)
        if lines == 0:
            self._stream.write(header)
            self._stream.flush()
            return 0
        if first != header:
            raise self._belongs_to_another(first, run)
        return lines - 1

    def _belongs_to_another(self, header: bytes, now: Mapping[str, Any]) -> OutputError:
        try:
            before = dict(json.loads(header))
        except (ValueError, TypeError, RecursionError):
            return OutputError(
                f"{self.path.parent}: the unfinished run in this folder is damaged",
                remedy=f"Add {argument('start_over', True)}.",
            )
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        differences = ", ".join(
            f"{shown(str(key))} was {_short(before.get(key))} and is {_short(now.get(key))}" for key in keys
        )
        return OutputError(
            f"{self.path.parent}: holds an unfinished run that differs from this one: {differences}",
            remedy=f"Repeat the command of that run to finish it, choose another {argument('output')}, or add "
            f"{argument('start_over', True)}.",
        )

    def add(self, entries: Sequence[Any]) -> None:
        """Take note of finished work; written at the next checkpoint, which may be now."""
        texts = (_ENCODER.encode(entry).encode() for entry in entries)
        self._pending += [_with_checksum(number, text) for number, text in enumerate(texts, start=self.n_entries)]
        self.n_entries += len(entries)
        if monotonic() - self._checkpointed > CHECKPOINT_SECONDS:
            self.checkpoint()

    def restart(self, entries: Sequence[Any]) -> None:
        """Replace all entries, now."""
        try:
            self._stream.seek(0)
            self._stream.truncate(len(self._stream.readline()))
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._pending, self.n_entries = [], 0
        self.add(entries)
        self.checkpoint()

    def checkpoint(self) -> None:
        """Bring the data and then the entries to the disk, if there are any that are not there."""
        if not self._pending:
            return
        lines, self._pending = b"".join(self._pending), []
        try:
            self._sync()
            self._stream.write(lines)
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._checkpointed = monotonic()

    def entries(self) -> Iterator[Any]:
        """Read all entries back, one at a time."""
        self.checkpoint()
        with open(self.path, "rb") as stream:
            next(stream)
            for line in stream:
                yield json.loads(_entry_of(line))

    def close(self) -> None:
        """Let go of the file; what was not brought to the disk is done again."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def remove(self) -> None:
        """Delete the file: the run is finished."""
        self.close()
        self.path.unlink()


def _with_checksum(number: int, entry: bytes) -> bytes:
    return b"%b\t%08x\n" % (entry, zlib.crc32(b"%d %b" % (number, entry)))


def _entry_of(line: bytes) -> bytes:
    return line.rpartition(b"\t")[0]


def _short(value: Any) -> str:
    text = "not there" if value is None else shown(str(value))
    return text if len(text) <= 40 else f"{text[:12]}…"


def _lock(handle: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two runs at once into one folder go unnoticed
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"{path.parent}: another run is writing here",
            remedy=f"Wait for it, or choose another {argument('output')}.",
        ) from None
    except OSError:
        return  # some network file systems know no locks
