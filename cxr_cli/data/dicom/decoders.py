"""Which decoder reads which transfer syntax, and what to install where one is missing.

imagecodecs (BSD-3) brings libjpeg-turbo, CharLS and OpenJPEG in one wheel for every supported Python. Where it is not
installed, the decoders that pydicom names stand in: OpenJPEG by way of pylibjpeg, pylibjpeg-libjpeg (GPL), and last
GDCM, which returns guessed pixels of damaged JPEG Lossless data with no more than a line on stderr.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

Family = Literal["JPEG", "JPEG Lossless", "JPEG-LS", "JPEG 2000", "RLE"]


@dataclass(frozen=True)
class Decoder:
    """A decoder of a transfer syntax.

    Attributes
    ----------
    module
        Package to install.
    plugin
        pydicom's name for it; None where it is called without pydicom.
    """

    module: str
    plugin: str | None = None


@dataclass(frozen=True)
class Compression:
    """A transfer syntax with encapsulated pixel data.

    Attributes
    ----------
    name
        In short.
    family
        Of codestreams: how size and end are told before decoding.
    decoders
        Those that are trusted with it, best first. The first one installed is taken, so that the same installation
        gives the same pixels; none is tried after another has failed. RLE is decoded by `cxr_cli.data.dicom.rle`.
    """

    name: str
    family: Family
    decoders: tuple[Decoder, ...]


IMAGECODECS = Decoder("imagecodecs")
_PILLOW = Decoder("PIL", "pillow")
_OPENJPEG = Decoder("openjpeg", "pylibjpeg")
_LIBJPEG = Decoder("libjpeg", "pylibjpeg")
_GDCM = Decoder("gdcm", "gdcm")

_LOSSLESS = (IMAGECODECS, _LIBJPEG, _GDCM)
_JPEG2000 = (IMAGECODECS, _OPENJPEG)
_EXTENDED = "1.2.840.10008.1.2.4.51"
COMPRESSIONS = {
    "1.2.840.10008.1.2.4.50": Compression("JPEG Baseline", "JPEG", (_PILLOW,)),
    _EXTENDED: Compression("JPEG Extended", "JPEG", (IMAGECODECS, _LIBJPEG)),
    "1.2.840.10008.1.2.4.57": Compression("JPEG Lossless", "JPEG Lossless", _LOSSLESS),
    "1.2.840.10008.1.2.4.70": Compression("JPEG Lossless SV1", "JPEG Lossless", _LOSSLESS),
    "1.2.840.10008.1.2.4.80": Compression("JPEG-LS Lossless", "JPEG-LS", _LOSSLESS),
    "1.2.840.10008.1.2.4.81": Compression("JPEG-LS Near-Lossless", "JPEG-LS", _LOSSLESS),
    "1.2.840.10008.1.2.4.90": Compression("JPEG 2000 Lossless", "JPEG 2000", _JPEG2000),
    "1.2.840.10008.1.2.4.91": Compression("JPEG 2000", "JPEG 2000", _JPEG2000),
    "1.2.840.10008.1.2.4.201": Compression("HTJ2K Lossless", "JPEG 2000", _JPEG2000),
    "1.2.840.10008.1.2.4.202": Compression("HTJ2K Lossless RPCL", "JPEG 2000", _JPEG2000),
    "1.2.840.10008.1.2.4.203": Compression("HTJ2K", "JPEG 2000", _JPEG2000),
    "1.2.840.10008.1.2.5": Compression("RLE Lossless", "RLE", ()),
}
_NATIVE_NAMES = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
}


def decoder_of(transfer_syntax: str, bits: int) -> Decoder | None:
    """Return the decoder of a compressed transfer syntax for codestreams of so many bits; None if none is installed."""
    decoders = COMPRESSIONS[transfer_syntax].decoders
    if transfer_syntax == _EXTENDED and bits == 8:  # the same codestreams as Baseline
        decoders = (_PILLOW,)
    return next((one for one in decoders if importlib.util.find_spec(one.module) is not None), None)


def syntax_name(transfer_syntax: str) -> str:
    """Return the short name of a transfer syntax, or its UID."""
    if transfer_syntax in COMPRESSIONS:
        return COMPRESSIONS[transfer_syntax].name
    return _NATIVE_NAMES.get(transfer_syntax, transfer_syntax)
