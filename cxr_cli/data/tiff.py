"""What the tags of a TIFF file say about its samples, read apart from the decoder.

A decoder gives numbers, not their meaning: it returns 12-bit, signed and negative images alike as 16-bit ones. The
tags tell depth, sign, polarity and orientation (TIFF 6.0, section 8); what they tell and is not known here is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cxr_cli.data.image_types import UnknownSamples

_BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES = 258, 259, 262, 274, 277
_MAXIMUM, _SAMPLE_FORMAT = 281, 339
_READ = (_BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _MAXIMUM, _SAMPLE_FORMAT)
#: Code and size of the types that these tags may have: BYTE, SHORT, LONG.
_TYPES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}
_PHOTOMETRICS = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 6: "YCbCr"}
#: More samples for a pixel than four colours and alpha are measurements, not a picture.
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
    """

    bits: int
    white_is_zero: bool
    orientation: int
    maximum: int | None
    photometric_at: tuple[int, str]


def read_meaning(content: bytes) -> TiffMeaning:
    """Read what the first image of a TIFF file is.

    Raises
    ------
    ValueError
        The tags cannot be read.
    UnknownSamples
        They contradict each other or say something that is not known here. Names the tag.
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
            f"has samples that are {kind} (tag SampleFormat): which value is black and which is white is not known"
        )
    photometric = _one(tags, _PHOTOMETRIC, "PhotometricInterpretation", None)
    if photometric not in _PHOTOMETRICS:
        raise UnknownSamples(f"has PhotometricInterpretation {photometric}, which is not known")
    _check_depth(bits[0], photometric)
    orientation = _one(tags, _ORIENTATION, "Orientation", 1)
    if not 1 <= orientation <= 8:
        raise UnknownSamples(f"has Orientation {orientation}; 1 to 8 was expected")
    maxima = tags.get(_MAXIMUM)
    maximum = max(maxima) if maxima and bits[0] == 16 and photometric < 2 else None
    return TiffMeaning(bits[0], photometric == 0, orientation, maximum, photometric_at)


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
            if kind not in _TYPES or not 1 <= count <= _MOST_SAMPLES:
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
