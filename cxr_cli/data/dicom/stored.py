"""Stored values: the pixel data of a DICOM file as an array of integers, before any step towards grey.

References
----------
DICOM PS3.3 C.7.6.3 (image pixel module), PS3.5 section 8 and annex A (encoding of pixel data).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_cli.data import jpeg
from cxr_cli.data.dicom.codestreams import decode_codestream, read_codestream
from cxr_cli.data.dicom.container import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Opened, quiet
from cxr_cli.data.dicom.decoders import COMPRESSIONS, decoder_of, syntax_name
from cxr_cli.data.dicom.rle import decode_rle
from cxr_cli.data.dicom.terms import DicomRefused, Issue
from cxr_cli.data.image_types import INSTALL_DICOM
from cxr_cli.data.images import MAX_PIXELS

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)
#: Tags of the image pixel module.
PIXEL_TAGS = (
    0x00280002,  # Samples per Pixel
    0x00280004,  # Photometric Interpretation
    0x00280006,  # Planar Configuration
    0x00280008,  # Number of Frames
    0x00280010,  # Rows
    0x00280011,  # Columns
    0x00280100,  # Bits Allocated
    0x00280101,  # Bits Stored
    0x00280102,  # High Bit
    0x00280103,  # Pixel Representation
)
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True)
class PixelFormat:
    """The image pixel module (PS3.3 C.7.6.3): how pixels are stored."""

    height: int
    width: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    planar: int
    n_frames: int

    @property
    def is_monochrome(self) -> bool:
        """Whether one sample is one grey value."""
        return self.photometric in MONOCHROME


def integer(dataset: Any, keyword: str) -> int | None:
    """Return the whole number of an element; None if it is absent or empty.

    Raises
    ------
    DicomRefused
        The element holds something else.
    """
    try:
        with quiet():
            value = dataset.get(keyword)
            if value is None or value == "":
                return None
            return int(value)
    except MemoryError:
        raise
    except Exception as error:  # pydicom converts on access; damaged values raise what they like
        raise DicomRefused("damaged header", f"{keyword} is not a whole number") from error


def text(dataset: Any, keyword: str) -> str:
    """Return the text of an element (of several values the first), "" if it is absent or cannot be read."""
    try:
        with quiet():
            value = dataset.get(keyword)
            if value is None:
                return ""
            if not isinstance(value, (str, bytes)) and hasattr(value, "__getitem__") and hasattr(value, "append"):
                value = value[0] if len(value) else ""
            return str(value).strip().strip("\0")
    except MemoryError:
        raise
    except Exception:
        return ""


def pixel_format(dataset: Any) -> PixelFormat:
    """Read and verify the image pixel module.

    Raises
    ------
    DicomRefused
        It is incomplete, contradicts itself, or describes what cannot become one grey image.
    """
    height, width = integer(dataset, "Rows"), integer(dataset, "Columns")
    allocated, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    if not height or not width or height < 0 or width < 0:
        raise DicomRefused("damaged header", f"{height} rows and {width} columns")
    if height * width > MAX_PIXELS:
        raise DicomRefused("too large", f"claims {width:,} × {height:,} pixels, more than {MAX_PIXELS:,}")
    n_frames = integer(dataset, "NumberOfFrames")
    n_frames = 1 if n_frames is None else n_frames
    if n_frames > 1:
        raise DicomRefused("several frames", f"{n_frames} where one was expected")
    if n_frames < 1:
        raise DicomRefused("damaged header", f"{n_frames} frames")
    photometric = text(dataset, "PhotometricInterpretation").upper()
    if photometric not in MONOCHROME + COLOUR:
        raise DicomRefused("unsupported photometric interpretation", photometric[:20] or "none is given")
    samples = integer(dataset, "SamplesPerPixel") or 1
    if samples != (1 if photometric in MONOCHROME else 3):
        raise DicomRefused("damaged header", f"{samples} samples per pixel with {photometric}")
    wanted = (1, 8, 16, 32) if photometric in MONOCHROME else (8, 16)
    if allocated is None or allocated not in wanted:
        raise DicomRefused("unsupported pixel format", f"{allocated} bits allocated with {photometric}")
    stored = allocated if stored is None else stored
    high = integer(dataset, "HighBit")
    high = stored - 1 if high is None else high
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise DicomRefused("damaged header", f"{stored} bits stored, high bit {high}, in {allocated} bits allocated")
    if samples == 3 and (stored != allocated or high != stored - 1):
        raise DicomRefused("unsupported pixel format", f"{stored} bits stored of {allocated} with {photometric}")
    representation = integer(dataset, "PixelRepresentation") or 0
    if representation not in (0, 1) or (representation == 1 and (samples == 3 or allocated == 1)):
        raise DicomRefused("damaged header", f"pixel representation {representation} with {photometric}")
    planar = integer(dataset, "PlanarConfiguration") or 0
    if planar not in (0, 1):
        raise DicomRefused("damaged header", f"planar configuration {planar}")
    return PixelFormat(
        height, width, samples, photometric, allocated, stored, high, representation == 1, planar, n_frames
    )


def stored_values(opened: Opened, form: PixelFormat) -> tuple[NDArray[Any], list[Issue]]:
    """Return the stored values of the one frame.

    Returns
    -------
    values
        Shape (height, width), integers of 8, 16 or 32 bits in the byte order of this machine; of colour images
        (height, width, 3), RGB, uint8 or uint16.
    issues
        What was found on the way.

    Raises
    ------
    DicomRefused
        There are no pixel data, or they are truncated, damaged, or of a form that is not read here.
    """
    data = opened.pixel_data
    if data is None:
        raise DicomRefused("no pixel data")
    if data.is_float:
        raise DicomRefused("unsupported pixel format", "fractions, whose full scale is unknown")
    if opened.transfer_syntax in _NATIVE:
        return _native(opened, form)
    if opened.transfer_syntax not in COMPRESSIONS:
        raise DicomRefused("unsupported transfer syntax", syntax_name(opened.transfer_syntax)[:64])
    if not data.is_encapsulated:
        raise DicomRefused("damaged pixel data", "compressed pixel data of a defined length")
    return _compressed(opened, form)


def _native(opened: Opened, form: PixelFormat) -> tuple[NDArray[Any], list[Issue]]:
    data = opened.pixel_data
    assert data is not None
    if data.is_encapsulated:
        raise DicomRefused("damaged pixel data", "fragments in an uncompressed transfer syntax")
    n_values = form.height * form.width * form.samples
    n_bytes = -(-n_values * form.bits_allocated // 8)
    if form.photometric == "YBR_FULL_422":  # two pixels share their colour (PS3.3 C.7.6.3.1.2)
        n_bytes = n_bytes // 3 * 2
    if data.declared > len(data.value) or len(data.value) < n_bytes:
        held = f"{len(data.value):,} of {max(n_bytes, data.declared):,} bytes"
        raise DicomRefused("truncated", f"the pixel data hold {held}")
    issues: list[Issue] = []
    if len(data.value) > n_bytes + n_bytes % 2:
        issues.append("excess pixel data")
    order = "<" if opened.is_little_endian else ">"
    if form.samples > 1:
        return _native_colour(opened, form, n_bytes), issues
    if form.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data.value, np.uint8, n_bytes), count=n_values, bitorder="little")
        return bits.reshape(form.height, form.width), issues
    content = data.value
    if form.bits_allocated == 8 and order == ">" and data.vr == "OW":
        # Bytes in big-endian words: each pair is swapped (PS3.5 8.1.2 with OW).
        n_even = n_bytes + n_bytes % 2
        if len(content) < n_even:
            raise DicomRefused("truncated", f"the pixel data hold {len(content):,} of {n_even:,} bytes")
        content = memoryview(np.frombuffer(content, np.uint16, n_even // 2).byteswap().tobytes())
    kind = "i" if form.is_signed else "u"
    values = np.frombuffer(content, f"{order}{kind}{form.bits_allocated // 8}", n_values)
    values = values.reshape(form.height, form.width).astype(values.dtype.newbyteorder("="), copy=False)
    return _without_unused_bits(values, form, issues), issues


def _without_unused_bits(values: NDArray[Any], form: PixelFormat, issues: list[Issue]) -> NDArray[Any]:
    """Take the stored bits out of the allocated ones, and repeat the sign (PS3.5 8.1.1)."""
    above, below = form.bits_allocated - 1 - form.high_bit, form.high_bit + 1 - form.bits_stored
    if not above and not below:
        return values
    lowest, highest = (
        (-(1 << (form.bits_stored - 1)), (1 << (form.bits_stored - 1)) - 1)
        if form.is_signed
        else (0, (1 << form.bits_stored) - 1)
    )
    if not below and values.size and lowest <= values.min() and values.max() <= highest:
        return values  # as nearly all writers do it; spares a copy
    # Shifting to the left drops what is above, shifting back drops what is below and repeats the sign.
    made = (values << above) >> (above + below)
    issues.append("unused bits set")
    return made


def _native_colour(opened: Opened, form: PixelFormat, n_bytes: int) -> NDArray[Any]:
    data = opened.pixel_data
    assert data is not None
    # With the byte that makes the length even: words are swapped in pairs.
    source = bytes(data.value[: n_bytes + n_bytes % 2]).ljust(n_bytes + n_bytes % 2, b"\0")
    return _decoded(opened.transfer_syntax, source, form, vr=data.vr)


def _decoded(
    transfer_syntax: str, source: bytes, form: PixelFormat, *, plugin: str = "", vr: str | None = None
) -> NDArray[Any]:
    try:
        values = _by_pydicom(transfer_syntax, source, form, plugin=plugin, vr=vr)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise of every kind
        raise DicomRefused("damaged pixel data", _reason(error)) from error
    return _verified(values, form)


def _verified(values: NDArray[Any], form: PixelFormat) -> NDArray[Any]:
    if values.shape != (form.height, form.width, 3)[: 3 if form.samples == 3 else 2]:
        raise DicomRefused("damaged pixel data", f"decoded to {values.shape}")
    return values


def _by_pydicom(
    transfer_syntax: str, source: bytes, form: PixelFormat, *, plugin: str = "", vr: str | None = None
) -> NDArray[Any]:
    from pydicom.pixels import get_decoder

    options: dict[str, Any] = {
        "rows": form.height,
        "columns": form.width,
        "number_of_frames": 1,
        "samples_per_pixel": form.samples,
        "photometric_interpretation": form.photometric,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.is_signed),
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,
    }
    if form.samples > 1:
        options["planar_configuration"] = form.planar
    if vr in ("OB", "OW"):
        options["pixel_vr"] = vr
    syntax = EXPLICIT_LITTLE if transfer_syntax == DEFLATED else transfer_syntax
    with quiet():
        made, _ = get_decoder(syntax).as_array(source, decoding_plugin=plugin, index=0, **options)
    values: NDArray[Any] = made
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _compressed(opened: Opened, form: PixelFormat) -> tuple[NDArray[Any], list[Issue]]:
    data = opened.pixel_data
    assert data is not None
    compression = COMPRESSIONS[opened.transfer_syntax]
    if form.bits_allocated == 1:
        raise DicomRefused("unsupported pixel format", f"1 bit allocated with {compression.name}")
    frame = _joined_fragments(data.value)
    if compression.family == "RLE":
        return _run_length_decoded(frame, form)
    stream = read_codestream(frame, compression.family)
    if (stream.height, stream.width, stream.samples) != (form.height, form.width, form.samples):
        raise DicomRefused(
            "damaged pixel data",
            f"the codestream has {stream.width} × {stream.height} pixels of {stream.samples} samples, "
            f"the header {form.width} × {form.height} of {form.samples}",
        )
    if stream.bits > form.bits_allocated:
        raise DicomRefused("damaged pixel data", f"{stream.bits} bits in {form.bits_allocated} allocated")
    decoder = decoder_of(opened.transfer_syntax, stream.bits)
    if decoder is None:
        raise DicomRefused("missing decoder", f"{compression.name} of {stream.bits} bits; run {INSTALL_DICOM}")
    if decoder.plugin == "pillow" and form.samples == 1:
        return _baseline_grey(frame, form), []
    if decoder.plugin is not None:
        from pydicom.encaps import encapsulate

        return _decoded(opened.transfer_syntax, encapsulate([frame]), form, plugin=decoder.plugin), []
    try:
        values = decode_codestream(frame, compression.family)
    except (DicomRefused, MemoryError):
        raise
    except Exception as error:  # decoders raise of every kind
        raise DicomRefused("damaged pixel data", _reason(error)) from error
    return _as_declared(_verified(values, form), stream.bits, compression.family, form)


def _baseline_grey(frame: bytes, form: PixelFormat) -> NDArray[Any]:
    """Decode a grey JPEG of 8 bits as strictly as one that is a file of its own."""
    try:
        with Image.open(io.BytesIO(frame), formats=["JPEG"]) as image:
            values = jpeg.decode_strictly(frame, image)
            values = np.asarray(image) if values is None else values
    except MemoryError:
        raise
    except Exception as error:  # decoders raise of every kind
        raise DicomRefused("damaged pixel data", _reason(error)) from error
    values = _verified(values, form).astype(f"u{form.bits_allocated // 8}", copy=False)
    return values.view(f"i{form.bits_allocated // 8}") if form.is_signed else values


def _as_declared(values: NDArray[Any], bits: int, family: str, form: PixelFormat) -> tuple[NDArray[Any], list[Issue]]:
    """Read the bits of decoded values by the pixel representation of the header, whatever the codestream declares.

    JPEG-LS and JPEG have no sign, and JPEG 2000 files exist whose codestream has another one than the header.
    """
    issues: list[Issue] = []
    if form.samples > 1:
        if form.photometric in ("YBR_FULL", "YBR_FULL_422"):
            from pydicom.pixels import convert_color_space

            values = convert_color_space(values, "YBR_FULL", "RGB")
        return values, issues
    size = form.bits_allocated // 8
    values = values.astype(f"u{size}", casting="unsafe")
    if form.is_signed:
        above = form.bits_allocated - bits
        values = (values.view(f"i{size}") << above) >> above
    elif bits < form.bits_allocated:
        values &= np.array((1 << bits) - 1, values.dtype)
    if family.startswith("JPEG L") and form.high_bit == form.bits_stored - 1 and bits > form.bits_stored:
        values = _without_unused_bits(values, form, issues)
    return values, issues


def _run_length_decoded(frame: bytes, form: PixelFormat) -> tuple[NDArray[Any], list[Issue]]:
    n_bytes = form.bits_allocated // 8
    parts = decode_rle(frame, form.height, form.width, form.samples, n_bytes)
    kind = f"{'i' if form.is_signed else 'u'}{n_bytes}"
    values = np.ascontiguousarray(parts).view(f">{kind}")[..., 0].astype(kind)
    if form.samples == 1:
        issues: list[Issue] = []
        return _without_unused_bits(values[..., 0], form, issues), issues
    if form.photometric.startswith("YBR"):
        from pydicom.pixels import convert_color_space

        values = convert_color_space(values, "YBR_FULL", "RGB")
    return values, []


def _joined_fragments(content: memoryview) -> bytes:
    """Join the fragments of the one frame (PS3.5 A.4)."""
    parts: list[memoryview] = []
    at = 0
    while True:
        head = bytes(content[at : at + 8])
        if len(head) < 8:
            raise DicomRefused("truncated", "the fragments of the pixel data do not end")
        if head.startswith(_SEQUENCE_END):
            break
        (length,) = struct.unpack("<L", head[4:])
        if not head.startswith(_ITEM) or length == 0xFFFFFFFF:
            raise DicomRefused("damaged pixel data", "something else where a fragment should begin")
        part = content[at + 8 : at + 8 + length]
        if len(part) < length:
            raise DicomRefused("truncated", f"a fragment holds {len(part):,} of {length:,} bytes")
        parts.append(part)
        at += 8 + length
    if len(parts) < 2:
        raise DicomRefused("no pixel data", "there is no fragment")
    if len(parts[0]) > 4:  # offsets of several frames
        raise DicomRefused("several frames", f"{len(parts[0]) // 4} offsets where one frame was expected")
    return b"".join(parts[1:])


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(lines[-1].split())[:200]
