"""RLE Lossless, decoded within bounds: the compiled decoder at hand panics on damaged data and writes to stderr.

References
----------
DICOM PS3.5 annex G.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.dicom.terms import DicomRefused

_HEADER = struct.Struct("<16L")


def decode_rle(frame: bytes, height: int, width: int, samples: int, n_bytes: int) -> NDArray[np.uint8]:
    """Decode a frame into its bytes.

    Parameters
    ----------
    frame
        Header and segments.
    height, width, samples, n_bytes
        Of the image; `n_bytes` of each sample.

    Returns
    -------
    ndarray
        Shape (height, width, samples, n_bytes), the most significant byte first.

    Raises
    ------
    DicomRefused
        A segment is missing, ends too early, or holds more than the image does.
    """
    if len(frame) < _HEADER.size:
        raise DicomRefused("truncated", "the RLE header is incomplete")
    n_segments, *offsets = _HEADER.unpack_from(frame)
    if n_segments != samples * n_bytes:
        raise DicomRefused("damaged pixel data", f"{n_segments} RLE segments where {samples * n_bytes} were expected")
    starts = offsets[:n_segments]
    stops = [*starts[1:], len(frame)]
    made = np.empty((n_segments, height * width), np.uint8)
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if not _HEADER.size <= start <= stop <= len(frame):
            raise DicomRefused("damaged pixel data", f"RLE segment {number + 1} lies outside the frame")
        made[number] = np.frombuffer(_decode_segment(frame[start:stop], height * width), np.uint8)
    return made.reshape(samples, n_bytes, height, width).transpose(2, 3, 0, 1)


def _decode_segment(segment: bytes, n_wanted: int) -> bytearray:
    """Undo the packing of one segment; only zeros may follow the last byte wanted."""
    made = bytearray()
    at, end = 0, len(segment)
    while at < end and len(made) < n_wanted:
        code = segment[at]
        if code < 128:
            made += segment[at + 1 : at + 2 + code]
            at += 2 + code
        elif code > 128:
            made += segment[at + 1 : at + 2] * (257 - code)
            at += 2
        else:
            at += 1
    if len(made) < n_wanted or at > end:
        raise DicomRefused("truncated", f"an RLE segment gives {len(made):,} of {n_wanted:,} bytes")
    if len(made) > n_wanted or segment[at:].strip(b"\0"):
        raise DicomRefused("damaged pixel data", f"an RLE segment gives more than {n_wanted:,} bytes")
    return made
