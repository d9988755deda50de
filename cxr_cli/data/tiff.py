"""The tags of a TIFF file about its samples, read apart from the decoder.

A decoder gives numbers, not their meaning: it returns 12-bit, signed and negative images alike as 16-bit ones. The
tags tell depth, sign, polarity and orientation (TIFF 6.0, section 8); unknown values are refused.

Decoders also pass over strips that are too short or too long, and over checksums. `check_segments` does not.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.image_types import UnknownSamples

_BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES = 258, 259, 262, 274, 277
_MAXIMUM, _SAMPLE_FORMAT = 281, 339
_WIDTH, _HEIGHT, _FILL_ORDER, _PLANAR = 256, 257, 266, 284
_STRIPS, _STRIP_ROWS, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_SEGMENTS = (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES)
_READ = (
    *(_BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _MAXIMUM, _SAMPLE_FORMAT),
    *(_WIDTH, _HEIGHT, _FILL_ORDER, _PLANAR, _STRIP_ROWS, _TILE_WIDTH, _TILE_HEIGHT, *_SEGMENTS),
)
#: More strips or tiles than this are not an image of `MAX_PIXELS`.
_MOST_SEGMENTS = 1 << 16
#: Code and size of the types that these tags may have: BYTE, SHORT, LONG.
_TYPES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}
_PHOTOMETRICS = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 6: "YCbCr"}
#: More samples for a pixel than four colours and alpha are measurements, not an image.
_MOST_SAMPLES = 5


@dataclass(frozen=True)
class TiffMeaning:
    """What the samples of a TIFF mean.

    Attributes
    ----------
    bits
        Of each sample: 1, 2, 4, 8, 12 or 16.
    white_is_zero
        Whether 0 is white.
    orientation
        As in EXIF, 1 to 8.
    maximum
        Largest value a sample may have, if the file says so (tag MaxSampleValue); else None.
    photometric_at
        Where in the file the value of PhotometricInterpretation stands, and how `struct` packs it.
    tags
        Values of all tags that are read here.
    """

    bits: int
    white_is_zero: bool
    orientation: int
    maximum: int | None
    photometric_at: tuple[int, str]
    tags: Mapping[int, tuple[int, ...]]


Tags = Mapping[int, tuple[int, ...]]


def read_meaning(content: bytes) -> TiffMeaning:
    """Read what the first image of a TIFF file is.

    Raises
    ------
    ValueError
        The tags cannot be read.
    UnknownSamples
        They contradict each other or say something that is unknown here. Names the tag.
    """
    tags, photometric_at = _tags(content)
    samples = _one(tags, _SAMPLES, "SamplesPerPixel", 1)
    if not 1 <= samples <= _MOST_SAMPLES:
        raise UnknownSamples(f"has {samples} samples for each pixel (tag SamplesPerPixel)")
    bits = tags.get(_BITS, (1,))
    if len(bits) not in (1, samples) or len(set(bits)) != 1:
        raise UnknownSamples(f"has samples of {_listed(bits)} bits (tag BitsPerSample) for {samples} samples a pixel")
    formats = set(tags.get(_SAMPLE_FORMAT, (1,)))
    if formats != {1}:
        kind = {2: "signed integers", 3: "floating-point numbers"}.get(min(formats - {1}), "of an unknown kind")
        raise UnknownSamples(
            f"has samples that are {kind} (tag SampleFormat): which value is black and which is white is unknown"
        )
    photometric = _one(tags, _PHOTOMETRIC, "PhotometricInterpretation", None)
    if photometric not in _PHOTOMETRICS:
        raise UnknownSamples(f"has PhotometricInterpretation {photometric}, which is unknown")
    _check_depth(bits[0], photometric)
    orientation = _one(tags, _ORIENTATION, "Orientation", 1)
    if not 1 <= orientation <= 8:
        raise UnknownSamples(f"has Orientation {orientation}; 1 to 8 was expected")
    maxima = tags.get(_MAXIMUM)
    maximum = max(maxima) if maxima and bits[0] == 16 and photometric < 2 else None
    return TiffMeaning(bits[0], photometric == 0, orientation, maximum, photometric_at, tags)


def with_black_zero(content: bytes, meaning: TiffMeaning) -> bytes:
    """Return the file with BlackIsZero in place of WhiteIsZero: the decoder then gives the samples as they are."""
    place, code = meaning.photometric_at
    size = struct.calcsize(code)
    return b"".join((content[:place], struct.pack(code, 1), content[place + size :]))


def _check_depth(bits: int, photometric: int) -> None:
    grey = photometric < 2
    allowed = (1, 2, 4, 8, 12, 16) if grey else (1, 2, 4, 8) if photometric == 3 else (8,)
    if bits not in allowed:
        raise UnknownSamples(
            f"has {bits} bits a sample (tag BitsPerSample) with {_PHOTOMETRICS[photometric]}; "
            f"{_listed(allowed)} was expected"
        )


def check_segments(content: bytes, meaning: TiffMeaning) -> None:
    """Check that each strip or tile is there, unpacks without damage, and holds just the samples that belong in it.

    Raises
    ------
    ValueError
        A strip or tile does not.
    UnknownSamples
        They are compressed in a way that cannot be checked.
    """
    tags = meaning.tags
    compression = _one(tags, _COMPRESSION, "Compression", 1)
    measure = _MEASURES.get(compression)
    if measure is None or (compression != 1 and _one(tags, _FILL_ORDER, "FillOrder", 1) != 1):
        raise UnknownSamples(f"is compressed in a way that is unknown (tag Compression {compression})")
    sizes = _segment_sizes(meaning)
    tiled = _TILES in tags
    starts = tags.get(_TILES if tiled else _STRIPS, ())
    lengths = tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, ())
    if not len(starts) == len(lengths) == len(sizes):
        raise ValueError(f"has {len(starts)} strips of {len(lengths)} lengths where {len(sizes)} were expected")
    for start, length, size in zip(starts, lengths, sizes, strict=True):
        if start + length > len(content):
            raise ValueError("unexpected end of file")
        found = measure(content[start : start + length], size)
        if found != size:
            raise ValueError(f"has a strip of {found} bytes where {size} were expected")


def _segment_sizes(meaning: TiffMeaning) -> list[int]:
    """Return how many bytes each strip or tile has when it is unpacked."""
    tags = meaning.tags
    width, height = (_one(tags, tag, name, None) for tag, name in ((_WIDTH, "ImageWidth"), (_HEIGHT, "ImageLength")))
    samples = _one(tags, _SAMPLES, "SamplesPerPixel", 1)
    planes = samples if _one(tags, _PLANAR, "PlanarConfiguration", 1) == 2 else 1
    bits = meaning.bits * (samples // planes)
    if _TILES in tags:
        across, down = (_one(tags, tag, "tile size", None) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
        n_tiles = -(-width // max(across, 1)) * -(-height // max(down, 1))
        _refuse_many(n_tiles * planes)
        return [down * -(-across * bits // 8)] * (n_tiles * planes)
    rows = min(max(_one(tags, _STRIP_ROWS, "RowsPerStrip", 2**32 - 1), 1), max(height, 1))
    _refuse_many(-(-height // rows) * planes)
    row_bytes = -(-width * bits // 8)
    return [min(rows, height - first) * row_bytes for first in range(0, height, rows)] * planes


def _refuse_many(n_segments: int) -> None:
    if n_segments > _MOST_SEGMENTS:
        raise ValueError(f"has {n_segments:,} strips")


def _plain_size(segment: bytes, size: int) -> int:
    return len(segment)


def _deflated_size(segment: bytes, size: int) -> int:
    """Return how many bytes a zlib stream unpacks to, whose checksum is right; at most one more than `size`."""
    stream = zlib.decompressobj()
    try:
        n_bytes = len(stream.decompress(segment, size + 1))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if n_bytes == size and not stream.eof:
        n_bytes += len(stream.decompress(stream.unconsumed_tail, 1))
    if n_bytes == size and not stream.eof:
        raise ValueError("unexpected end of compressed data")
    return n_bytes


def _packbits_size(segment: bytes, size: int) -> int:
    """Return how many bytes a PackBits segment unpacks to (TIFF 6.0, section 9)."""
    place = n_bytes = 0
    while place < len(segment):
        code = segment[place]
        if code < 128:
            place += code + 2
            n_bytes += code + 1
        else:
            place += 1 if code == 128 else 2
            n_bytes += 0 if code == 128 else 257 - code
    if place > len(segment):
        raise ValueError("unexpected end of compressed data")
    return n_bytes


#: LZW's two codes that are not strings.
_CLEAR, _END = 256, 257


def _lzw_size(segment: bytes, size: int) -> int:
    """Return how many bytes an LZW segment unpacks to (TIFF 6.0, section 13), without building the strings.

    Between two clear codes the width of each code depends on its place alone, so all of them are cut out at once.
    """
    bits = np.unpackbits(np.frombuffer(segment, np.uint8))
    place = n_bytes = 0
    while True:
        codes, stops = _lzw_run(bits, place)
        lengths = [1] * 256 + [0, 0]
        before = -1
        for index, code in enumerate(codes):
            if code in (_CLEAR, _END):
                place = stops[index]
                break
            if before >= 0:
                lengths.append(lengths[before] + 1)
            if code >= len(lengths):
                raise ValueError("a code in the compressed data makes no sense")
            n_bytes += lengths[code]
            before = code
            if n_bytes > size:
                return n_bytes
        else:
            if n_bytes == size:  # some writers leave out the last code
                return n_bytes
            raise ValueError("unexpected end of compressed data")
        if code == _END:
            return n_bytes


def _lzw_run(bits: NDArray[np.uint8], place: int) -> tuple[list[int], list[int]]:
    """Cut out the codes from a place on as if no clear code came; return them, and where each ends."""
    codes: list[int] = []
    stops: list[int] = []
    # The code before which 511, 1023 or 2047 strings are known is the first of the next width.
    for width, n_codes in ((9, 254), (10, 512), (11, 1024), (12, 2050)):
        n_codes = min(n_codes, (len(bits) - place) // width)
        part = bits[place : place + n_codes * width].reshape(n_codes, width)
        codes += (part @ (1 << np.arange(width)[::-1])).tolist()
        stops += range(place + width, place + n_codes * width + 1, width)
        place += n_codes * width
    return codes, stops


#: How to measure a strip, by the tag Compression: none, LZW, Deflate (old and new number), PackBits.
_MEASURES: Mapping[int, Callable[[bytes, int], int]] = {
    1: _plain_size,
    5: _lzw_size,
    8: _deflated_size,
    32946: _deflated_size,
    32773: _packbits_size,
}


def _tags(content: bytes) -> tuple[Mapping[int, tuple[int, ...]], tuple[int, str]]:
    """Return the values of the tags in `_READ` that the first directory has."""
    order = "<" if content.startswith(b"II") else ">"
    tags: dict[int, tuple[int, ...]] = {}
    photometric_at = (0, "B")
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (n_entries,) = struct.unpack_from(f"{order}H", content, start)
        for place in range(start + 2, start + 2 + 12 * n_entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", content, place)
            if tag not in _READ:
                continue
            if tag in tags:
                raise ValueError(f"has tag {tag} twice")
            if kind not in _TYPES or not 1 <= count <= (_MOST_SEGMENTS if tag in _SEGMENTS else _MOST_SAMPLES):
                raise ValueError(f"has tag {tag} with {count} values of type {kind}")
            code, size = _TYPES[kind]
            value_at = place + 8
            if count * size > 4:
                (value_at,) = struct.unpack_from(f"{order}I", content, value_at)
            tags[tag] = struct.unpack_from(f"{order}{count}{code}", content, value_at)
            if tag == _PHOTOMETRIC:
                photometric_at = (value_at, f"{order}{code}")
    except struct.error as error:
        raise ValueError("unexpected end of file") from error
    return tags, photometric_at


def _one(tags: Mapping[int, tuple[int, ...]], tag: int, name: str, default: int | None) -> int:
    values = tags.get(tag, () if default is None else (default,))
    if len(values) != 1:
        raise UnknownSamples(f"has {len(values)} values of tag {name} where one was expected")
    return values[0]


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
