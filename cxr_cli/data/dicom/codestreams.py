"""Codestreams inside DICOM files: their size before anything is allocated, and strict decoding by imagecodecs.

References
----------
ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.dicom.decoders import Family
from cxr_cli.data.dicom.terms import DicomRefused

_END = b"\xff\xd9"


@dataclass(frozen=True)
class Codestream:
    """The header of a codestream; a decoder allocates by it, whatever the DICOM header claims."""

    height: int
    width: int
    samples: int
    bits: int


def read_codestream(frame: bytes, family: Family) -> Codestream:
    """Read the size of a codestream, and verify that it has its end mark.

    Raises
    ------
    DicomRefused
        It is another kind of codestream, damaged, or cut short.
    """
    found = _read_jpeg2000(frame) if family == "JPEG 2000" else _read_jpeg(frame, family)
    if _END not in frame.rstrip(b"\0")[-16:]:
        raise DicomRefused("truncated", "the codestream has no end mark")
    return found


def _read_jpeg(frame: bytes, family: Family) -> Codestream:
    if not frame.startswith(b"\xff\xd8"):
        raise DicomRefused("damaged pixel data", "the codestream does not begin as JPEG")
    # T.81 table B.1 and T.87 C.1: the frame headers of each family.
    wanted = {"JPEG": (0xC0, 0xC1), "JPEG Lossless": (0xC3,), "JPEG-LS": (0xF7,)}[family]
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", frame, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) or marker == 0xF7:
            if marker not in wanted or at + 10 > len(frame):
                raise DicomRefused("damaged pixel data", f"a frame of type {marker:X} is not {family}")
            bits, height, width, samples = struct.unpack_from(">BHHB", frame, at + 4)
            return Codestream(height, width, samples, bits)
        if marker == 0xDA or length < 2:
            break
        at += 2 + length
    raise DicomRefused("damaged pixel data", "the codestream has no frame header")


def _read_jpeg2000(frame: bytes) -> Codestream:
    beginning = b"\xff\x4f\xff\x51"
    # Some files hold a whole JP2 file; its boxes come first.
    at = 0 if frame.startswith(beginning) else frame.find(beginning, 0, 1 << 16)
    if at < 0 or at + 43 > len(frame):
        raise DicomRefused("damaged pixel data", "the codestream does not begin as JPEG 2000")
    right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6L", frame, at + 8)
    samples, depth = struct.unpack_from(">HB", frame, at + 40)
    height, width = bottom - top, right - left
    if not tile_width or not tile_height or height <= 0 or width <= 0:
        raise DicomRefused("damaged pixel data", f"{width} × {height} pixels in tiles of {tile_width} × {tile_height}")
    if (height // tile_height + 2) * (width // tile_width + 2) > 65535:  # T.800 A.4.2
        raise DicomRefused("damaged pixel data", f"{width} × {height} pixels in tiles of {tile_width} × {tile_height}")
    return Codestream(height, width, samples, (depth & 0x7F) + 1)


def decode_codestream(frame: bytes, family: Family) -> NDArray[Any]:
    """Decode a codestream of verified size with imagecodecs.

    Raises
    ------
    DicomRefused
        Compressed data are missing, or left over.
    Exception
        What the decoder raises.
    """
    import imagecodecs

    if family == "JPEG 2000":
        made: NDArray[Any] = imagecodecs.jpeg2k_decode(frame)
        return made
    if family == "JPEG-LS":
        made = imagecodecs.jpegls_decode(frame)
        return made
    made = imagecodecs.jpeg8_decode(frame)
    _verify_that_data_suffice(frame, made, imagecodecs.jpeg8_decode, family)
    return made


def _verify_that_data_suffice(frame: bytes, decoded: NDArray[Any], decode: Any, family: Family) -> None:
    """Notice compressed data that end too early or too late; libjpeg fills in guesses silently.

    Data appended to a sound image change nothing: it is complete before they come. Where data were missing, they are
    taken for them, and another image comes out. In a lossless image each bit also counts: where its last bytes may be
    anything, the decoder has lost its way and was done before it came to them.
    """
    body = frame[: frame.rfind(_END)]
    # Two codes in turn, none of which is a marker.
    if not np.array_equal(decode(body + b"\x5a\xa5\x00\xf0" * 64 + _END), decoded):
        raise DicomRefused("truncated", "compressed data are missing")
    if family == "JPEG Lossless" and len(body) > 64:
        tails = (b"\x55" * 6, b"\xaa" * 6)
        if all(_same(decode, body[:-6] + tail + _END, decoded) for tail in tails):
            raise DicomRefused("damaged pixel data", "compressed data are left over")


def _same(decode: Any, frame: bytes, decoded: NDArray[Any]) -> bool:
    try:
        return np.array_equal(decode(frame), decoded)
    except Exception:  # data that are refused were looked at
        return False
