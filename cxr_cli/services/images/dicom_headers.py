"""The headers of many DICOM files, read by as many workers as there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from cxr_cli.data.dicom.headers import DicomHeader, read_dicom_header
from cxr_cli.errors import ImageError
from cxr_cli.services.parallel import KILLED_WORKER, Workers, map_in_order

#: A header takes less than a millisecond; a message to another process should carry many.
CHUNK = 64


def read_headers(
    paths: Sequence[Path],
    *,
    executor: Executor | Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[DicomHeader | str]:
    """Read the headers of DICOM files, in order; what cannot be read is its reason.

    Parameters
    ----------
    paths
        The files.
    executor
        Where they are read; None reads them here.
    progress
        Called with (done, total).
    """
    return list(
        map_in_order(read_header_or_reason, paths, lost=_lost, executor=executor, progress=progress, chunk=CHUNK)
    )


def read_header_or_reason(path: Path) -> DicomHeader | str:
    """Read one header; pure and at module level, so that any executor can run it."""
    try:
        return read_dicom_header(path)
    except ImageError as error:
        return error.what.removeprefix(f"{path}: ")


def _lost(path: Path) -> str:
    return KILLED_WORKER
