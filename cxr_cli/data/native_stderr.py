"""Catch text that C libraries write to stderr past Python."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

#: How libtiff begins its lines: the name of its function.
_LIBTIFF = re.compile(r"_?(?:TIFF|[A-Z][A-Za-z0-9]*(?:Decode|Setup|Fixup|Read))\w*: ")
_lock = threading.Lock()


@contextlib.contextmanager
def libtiff_messages() -> Iterator[list[str]]:
    """Catch what libtiff writes to file descriptor 2 while the block runs; the list is filled when the block ends.

    What anyone else writes there in the meantime (a progress bar's thread) is handed on afterwards.
    """
    messages: list[str] = []
    with _lock, tempfile.TemporaryFile() as caught:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        try:
            saved = os.dup(2)
        except OSError:  # closed: nobody sees what is written there
            yield messages
            return
        os.dup2(caught.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            for line in caught.read().decode("utf-8", "replace").splitlines(keepends=True):
                if _LIBTIFF.match(line):
                    messages.append(line.strip())
                else:
                    with contextlib.suppress(OSError):
                        os.write(2, line.encode("utf-8", "replace"))
