"""One DICOM image from the bytes of its file to grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_cli.data.dicom.container import Opened, open_dicom, quiet
from cxr_cli.data.dicom.grey import (
    FULL_SCALE,
    LookupTable,
    Rendering,
    Rescale,
    StoredRange,
    Window,
    WindowChoice,
    WindowFunction,
    to_grey,
)
from cxr_cli.data.dicom.stored import PIXEL_TAGS, PixelFormat, integer, pixel_format, stored_values, text
from cxr_cli.data.dicom.terms import DicomRefused, Issue

_GREY_TAGS = (
    0x00181164,  # Imager Pixel Spacing
    0x00280030,  # Pixel Spacing
    0x00280034,  # Pixel Aspect Ratio
    0x00280120,  # Pixel Padding Value
    0x00280121,  # Pixel Padding Range Limit
    0x00281050,  # Window Center
    0x00281051,  # Window Width
    0x00281052,  # Rescale Intercept
    0x00281053,  # Rescale Slope
    0x00281056,  # VOI LUT Function
    0x00283000,  # Modality LUT Sequence
    0x00283010,  # VOI LUT Sequence
    0x20500020,  # Presentation LUT Shape
)
_TAGS = PIXEL_TAGS + _GREY_TAGS
_FUNCTIONS: tuple[WindowFunction, ...] = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, eq=False)
class DicomImage:
    """A DICOM image as grey.

    Attributes
    ----------
    pixels
        Shape (height, width), uint8 or uint16; 0 is black.
    full_scale
        White: 255 or 65535.
    mode
        How the source stores pixels: "MONOCHROME1 12 bit".
    issues
        Issues, each at most once.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    full_scale: int
    mode: str
    issues: tuple[Issue, ...]


def read_shape(content: bytes) -> tuple[str, int, int]:
    """Return mode, height and width of a DICOM image without decoding its pixels.

    Raises
    ------
    DicomRefused
        The header is damaged, or what it describes is not one image.
    ImportError
        pydicom is not installed.
    """
    _, form = _opened(content, PIXEL_TAGS)
    return _mode(form), form.height, form.width


def _opened(content: bytes, tags: Sequence[int]) -> tuple[Opened, PixelFormat]:
    opened = open_dicom(content, tags)
    if opened.pixel_data is None:
        raise DicomRefused("no pixel data")
    return opened, pixel_format(opened.dataset)


def decode(content: bytes, window: WindowChoice = None) -> DicomImage:
    """Decode a DICOM image, in the order of the standard, into grey.

    Stored values → modality LUT or rescale → VOI LUT or window (the first one of the file, a table before a window,
    or the one given) → polarity by the photometric interpretation → grey.

    Parameters
    ----------
    content
        Of the file.
    window
        What takes the place of the file's VOI LUT or window; "full": all values that can be stored.

    Raises
    ------
    DicomRefused
        The pixels cannot be had, or not without guessing; its reason is one of a closed list.
    ImportError
        pydicom is not installed.
    """
    opened, form = _opened(content, _TAGS)
    values, found = stored_values(opened, form)
    issues: list[Issue] = list(found)
    if not form.is_monochrome:
        issues.append("colour")
        if form.planar == 1:
            issues.append("planar colour")
        grey = _grey_of_colour(values)
    else:
        rendering = _rendering(opened, form, window, issues)
        grey, assumed = to_grey(values, rendering)
        issues += assumed
    if not _has_square_pixels(opened.dataset):
        issues.append("pixels not square")
    return DicomImage(grey, 255 if grey.dtype == np.uint8 else FULL_SCALE, _mode(form), tuple(dict.fromkeys(issues)))


def _mode(form: PixelFormat) -> str:
    return f"{form.photometric} {form.bits_stored} bit"


def _rendering(opened: Opened, form: PixelFormat, window: WindowChoice, issues: list[Issue]) -> Rendering:
    dataset = opened.dataset
    stored = StoredRange(form.bits_stored, form.is_signed, _padding(dataset, form))
    modality = _modality(opened, form, issues)
    voi = _voi(opened, stored, modality, issues) if window is None else None
    inverts = form.photometric == "MONOCHROME1"
    # DX files state the polarity twice (PS3.3 C.8.11.3.1.2); the photometric interpretation decides.
    shape = text(dataset, "PresentationLUTShape").upper()
    if shape and shape != ("INVERSE" if inverts else "IDENTITY"):
        issues.append("contradictory presentation LUT shape")
    return Rendering(stored, modality, voi, inverts, window)


def _modality(opened: Opened, form: PixelFormat, issues: list[Issue]) -> LookupTable | Rescale:
    table = _lookup_table(opened, "ModalityLUTSequence", form.is_signed, issues)
    if table is not None:
        if table.exceeds_bits:
            issues.append("LUT entries exceed their bits")
        return table
    slope, intercept = _number(opened.dataset, "RescaleSlope"), _number(opened.dataset, "RescaleIntercept")
    if slope is None or intercept is None:
        issues.append("no rescale")
        return Rescale()
    if slope == 0:
        raise DicomRefused("damaged header", "a rescale slope of 0")
    return Rescale(slope, intercept)


def _voi(
    opened: Opened, stored: StoredRange, modality: LookupTable | Rescale, issues: list[Issue]
) -> LookupTable | Window | None:
    is_signed = isinstance(modality, Rescale) and (
        min(stored.lowest * modality.slope, stored.highest * modality.slope) + modality.intercept < 0
    )
    table = _lookup_table(opened, "VOILUTSequence", is_signed, issues)
    if table is not None:
        return table
    try:
        centre, width = _number(opened.dataset, "WindowCenter"), _number(opened.dataset, "WindowWidth")
    except DicomRefused:
        issues.append("unusable window")
        return None
    if centre is None or width is None:
        if centre is not None or width is not None:
            issues.append("unusable window")
        return None
    name = text(opened.dataset, "VOILUTFunction").upper() or "LINEAR"
    for function in _FUNCTIONS:
        if function == name:
            return Window(centre, width, function)
    issues.append("unusable window")
    return None


def _lookup_table(opened: Opened, keyword: str, is_signed: bool, issues: list[Issue]) -> LookupTable | None:
    """Read the first table of a sequence (PS3.3 C.11.1.1: descriptor and data)."""
    dataset = opened.dataset
    if keyword not in dataset:
        return None
    try:
        with quiet():
            items = dataset[keyword].value
            if not items:
                issues.append("empty LUT sequence")
                return None
            item = items[0]
            descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
            if descriptor is None and data is None:
                issues.append("empty LUT sequence")
                return None
            n_entries, first, bits = (int(number) & 0xFFFF for number in descriptor)
            entries = _entries(data, n_entries or 1 << 16, bits, opened.is_little_endian)
    except (DicomRefused, MemoryError):
        raise
    except Exception as error:  # pydicom converts on access; damaged values raise what they like
        raise DicomRefused("damaged lookup table", f"{keyword} cannot be read") from error
    if not 8 <= bits <= 16:
        raise DicomRefused("damaged lookup table", f"{keyword} has entries of {bits} bits")
    # Whether the second number is signed depends on what goes into the table, not on how pydicom reads it.
    return LookupTable(first - (1 << 16) if is_signed and first >= 1 << 15 else first, entries, bits)


def _entries(data: Any, n_entries: int, bits: int, is_little_endian: bool) -> NDArray[np.uint16]:
    if isinstance(data, (bytes, bytearray)):
        if bits <= 8 and len(data) < 2 * n_entries:
            entries = np.frombuffer(data, np.uint8)
        else:
            entries = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if is_little_endian else ">u2")
    else:
        numbers: Sequence[int] = [data] if isinstance(data, int) else list(data)
        entries = np.array([int(number) & 0xFFFF for number in numbers], np.uint16)
        if bits <= 8 and len(entries) == -(-n_entries // 2) and n_entries > 1:  # two entries of 8 bits in a word
            entries = entries.astype("<u2").view(np.uint8)
    if len(entries) < n_entries:
        raise DicomRefused("damaged lookup table", f"{len(entries)} of {n_entries} entries")
    made: NDArray[np.uint16] = entries[:n_entries].astype(np.uint16)
    return made


def _number(dataset: Any, keyword: str) -> float | None:
    """Return the number of an element, of several values the first; None if it is absent or empty."""
    value = text(dataset, keyword)
    if not value:
        if _is_filled(dataset, keyword):
            raise DicomRefused("damaged header", f"{keyword} is not a number")
        return None
    try:
        number = float(value)
    except ValueError as error:
        raise DicomRefused("damaged header", f"{keyword} is not a number") from error
    if not np.isfinite(number):
        raise DicomRefused("damaged header", f"{keyword} is not a number")
    return number


def _is_filled(dataset: Any, keyword: str) -> bool:
    """Whether an element holds bytes, readable or not."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return False
    value = dataset.get_item(tag).value
    return bool(value.strip(b" \0")) if isinstance(value, bytes) else bool(value)


def _padding(dataset: Any, form: PixelFormat) -> tuple[int, int] | None:
    """Return lowest and highest padding value (PS3.3 C.7.5.1.1.2)."""
    try:
        value = integer(dataset, "PixelPaddingValue")
        limit = integer(dataset, "PixelPaddingRangeLimit")
    except DicomRefused:
        return None
    if value is None:
        return None
    ends = [_as_stored(end, form) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(value: int, form: PixelFormat) -> int:
    """Return a number of an element as a stored value: files write negative ones as unsigned, and the reverse."""
    size = 1 << max(16, form.bits_allocated)
    value %= size
    return value - size if form.is_signed and value >= size // 2 else value


def _has_square_pixels(dataset: Any) -> bool:
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        try:
            with quiet():
                value = dataset.get(keyword)
                if not value:
                    continue
                down, across = (float(number) for number in value)
        except MemoryError:
            raise
        except Exception:  # an image without spacing is not an issue
            continue
        if down > 0 and across > 0:
            return abs(down / across - 1) <= 0.01
    return True


def _grey_of_colour(values: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Weigh red, green and blue as every other format is weighed (ITU-R 601-2)."""
    if values.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(values)).convert("L"))
    red, green, blue = (values[..., channel].astype(np.uint64) for channel in range(3))
    grey: NDArray[np.uint16] = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint16)
    return grey
