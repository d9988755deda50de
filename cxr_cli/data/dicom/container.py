"""The container of DICOM files: file meta information, data set, and where the pixel data lie. Bounded in every way.

References
----------
DICOM PS3.10 section 7 (file meta information), PS3.5 section 7 (data elements) and annex A (transfer syntaxes).
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cxr_cli.data.dicom.terms import DicomRefused
from cxr_cli.data.images import MAX_FILE_BYTES

#: The preamble has 128 bytes, then this.
PREFIX = b"DICM"
PREFIX_AT = 128

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

_TRANSFER_SYNTAX = 0x00020010
_SOP_INSTANCE = 0x00020003
#: Float, double and integer pixel data: the end of what is read as a data set.
_PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)
#: Value representations whose length has four bytes, in explicit syntaxes (PS3.5 7.1.2).
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_UNDEFINED = 0xFFFFFFFF
#: No real header comes near: the largest of pydicom's test files takes 2,500 reads.
_MAX_READS = 200_000
_MAX_META_ELEMENTS = 1000


@dataclass(frozen=True)
class PixelData:
    """Where the pixel data lie.

    Attributes
    ----------
    tag
        (7FE0,0010) for integers, (7FE0,0008) and (7FE0,0009) for fractions.
    vr
        Value representation, as far as the file tells.
    value
        The bytes; of encapsulated data all that follows.
    is_encapsulated
        The length is undefined: fragments follow.
    declared
        Length that the file declares, in bytes; more than `value` holds if the file is cut short.
    """

    tag: int
    vr: str | None
    value: memoryview
    is_encapsulated: bool
    declared: int

    @property
    def is_float(self) -> bool:
        """Whether the pixels are fractions."""
        return self.tag != _PIXEL_DATA[-1]


@dataclass(frozen=True)
class Opened:
    """A DICOM file as opened.

    Attributes
    ----------
    dataset
        pydicom's ``Dataset`` of the tags asked for.
    transfer_syntax
        Its UID.
    sop_instance
        SOP instance UID of the file meta information, or "".
    pixel_data
        None if the file has none, or none was asked for.
    """

    dataset: Any
    transfer_syntax: str
    sop_instance: str
    pixel_data: PixelData | None

    @property
    def is_little_endian(self) -> bool:
        """Byte order of the data set."""
        return self.transfer_syntax != EXPLICIT_BIG


class Incomplete(Exception):
    """The bytes at hand end before the header does."""


class _Bounded(io.BytesIO):
    """A stream that ends the reading of a header that never comes to its end."""

    n_left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.n_left -= 1
        if self.n_left < 0:
            raise DicomRefused("damaged header", f"more than {_MAX_READS:,} data elements")
        return super().read(size)


def is_dicom(content: bytes) -> bool:
    """Whether a file's content is DICOM: the four letters behind the preamble."""
    return content[PREFIX_AT : PREFIX_AT + 4] == PREFIX


def read_sop_instance(content: bytes) -> str:
    """Return the SOP instance UID in the file meta information, "" if there is none; pydicom is not needed.

    Raises
    ------
    DicomRefused
        The file meta information is damaged.
    """
    return _file_meta(content)[0].get(_SOP_INSTANCE, "")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings off stderr; what matters of them is counted as an issue here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_dicom(content: bytes, tags: Sequence[int], *, is_whole: bool = True) -> Opened:
    """Read the tags of a data set, and find its pixel data.

    Parameters
    ----------
    content
        Of the file, or its beginning.
    tags
        Which tags to read; all others are passed over.
    is_whole
        `content` is all of the file.

    Raises
    ------
    DicomRefused
        The header is damaged, or claims more than any image has.
    Incomplete
        `content` is not all of the file, and ends within the header.
    ImportError
        pydicom is not installed.
    """
    from pydicom.filereader import read_dataset

    _no_last_resort()
    meta, start = _file_meta(content)
    syntax = meta.get(_TRANSFER_SYNTAX, "")
    if not syntax:
        raise DicomRefused("unsupported transfer syntax", "none is given")
    if syntax == DEFLATED:
        content, start = _inflated(content, start, is_whole=is_whole), 0
    end: list[tuple[int, str | None, int]] = []

    def at_pixel_data(tag: int, vr: str | None, length: int) -> bool:
        if tag not in _PIXEL_DATA:
            return False
        end.append((int(tag), vr, length))
        return True

    stream = _Bounded(content)
    stream.seek(start)
    try:
        with quiet():
            dataset = read_dataset(
                stream,
                is_implicit_VR=syntax == IMPLICIT_LITTLE,
                is_little_endian=syntax != EXPLICIT_BIG,
                stop_when=at_pixel_data,
                specific_tags=list(tags),
            )
    except (DicomRefused, MemoryError):
        raise
    except Exception as error:  # found by mutation: struct.error, EOFError, KeyError, RecursionError, …
        if not is_whole:
            raise Incomplete from error
        raise DicomRefused("damaged header", _one_line(error)) from error
    if not end:
        # A cut between two elements looks like an end; only the rest of the file would tell.
        if not is_whole:
            raise Incomplete
        return Opened(dataset, syntax, meta.get(_SOP_INSTANCE, ""), None)
    return Opened(
        dataset, syntax, meta.get(_SOP_INSTANCE, ""), _pixel_data(content, stream.tell(), syntax, *end[0], is_whole)
    )


def _pixel_data(
    content: bytes, element: int, syntax: str, tag: int, vr: str | None, length: int, is_whole: bool
) -> PixelData:
    """Find the value of the element that begins at `element`."""
    # pydicom may have found the file to be implicit against its word; the bytes tell.
    has_long_form = vr is not None and vr.encode("ascii", "replace") in _LONG
    start = element + (12 if has_long_form else 8)
    is_encapsulated = length == _UNDEFINED
    value = memoryview(content)[start:] if is_encapsulated else memoryview(content)[start : start + length]
    return PixelData(tag, vr, value, is_encapsulated, length)


def _file_meta(content: bytes) -> tuple[dict[int, str], int]:
    """Read group 2, which is explicit little endian in every file; return its UIDs and where the data set begins."""
    values: dict[int, str] = {}
    at = PREFIX_AT + 4
    for _ in range(_MAX_META_ELEMENTS):
        if at + 8 > len(content):
            break
        group, element, vr, length = struct.unpack_from("<HH2sH", content, at)
        if group != 2:
            return values, at
        start = at + 8
        if vr in _LONG:
            if start + 4 > len(content):
                break
            (length,) = struct.unpack_from("<L", content, start)
            start += 4
        if start + length > len(content):
            break
        tag = group << 16 | element
        if tag in (_TRANSFER_SYNTAX, _SOP_INSTANCE):
            values[tag] = content[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        at = start + length
    else:
        raise DicomRefused("damaged header", "the file meta information does not end")
    if at == len(content):  # nothing but file meta information
        return values, at
    raise DicomRefused("truncated", "the file ends in its file meta information")


def _inflated(content: bytes, start: int, *, is_whole: bool) -> bytes:
    """Inflate a deflated data set (PS3.5 A.5), no further than any file is long."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        made = stream.decompress(memoryview(content)[start:], MAX_FILE_BYTES)
    except zlib.error as error:
        raise DicomRefused("damaged pixel data", f"the deflated data set is damaged: {error}") from error
    if not stream.eof:
        if stream.unconsumed_tail:
            raise DicomRefused("too large", f"the deflated data set has more than {MAX_FILE_BYTES:,} bytes")
        if is_whole:
            raise DicomRefused("truncated", "the deflated data set does not end")
    return made


def _no_last_resort() -> None:
    """Keep messages of pydicom and its decoders from Python's handler of last resort, which writes to stderr."""
    for name in ("pydicom", "openjpeg", "pylibjpeg", "rle", "libjpeg"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
