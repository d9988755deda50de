"""Reading images as grey: one reader per file type, chosen by content.

What black, white and upright are is settled here, for every type: 0 is black, `GrayImage.full_scale` is white, and
the first row is the top. Nobody else looks at modes, depths or tags.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cxr_cli.data import jpeg, png, tiff
from cxr_cli.data.files import unreadable
from cxr_cli.data.image_types import INSTALL_DICOM, SUFFIXES, UnknownSamples, foreign_type
from cxr_cli.data.native_stderr import libtiff_messages
from cxr_cli.errors import ImageError, shown

if TYPE_CHECKING:
    from cxr_cli.data.dicom.grey import WindowChoice

Gray = NDArray[np.uint8] | NDArray[np.uint16]

#: Larger than any X-ray detector; an image that claims more is a mistake or an attack (8192 × 8192).
MAX_PIXELS = 1 << 26
#: No file of so many pixels is larger, even uncompressed with four 16-bit channels.
MAX_FILE_BYTES = 8 * MAX_PIXELS + (1 << 20)
#: Depths of detectors in bits. Values that stand in 16 bits and fill fewer belong to one of them.
DEPTHS = (8, 10, 12, 14, 16)
#: EXIF's tag, in TIFF and JPEG and PNG alike.
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageHeader:
    """The facts that an image file gives about itself.

    Attributes
    ----------
    format, mode
        As Pillow names them.
    height, width
        In pixels, of the upright image.
    """

    format: str
    mode: str
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class GrayImage:
    """A decoded image: upright, 0 black, `full_scale` white.

    Attributes
    ----------
    pixels
        Grey values, shape (height, width), 0 to `full_scale`; uint8 if that is 255, else uint16.
    format
        File format, as Pillow names it ("PNG").
    mode
        Mode of the source, as Pillow names it: "L", "I;16", "RGBA", "P", …
    full_scale
        White: ``2**bits - 1``. 255 or 65535, or between them for detectors of 10, 12 or 14 bits.
    scale_source
        What `full_scale` is known from: "type" (the samples' type, as for all images of 8 bits), "tag" (the file
        says so) or "range" (the values fill so many of 16 bits, see `grey_of_16_bits`).
    white_is_zero
        Whether the file stores white as 0; `pixels` are turned already.
    orientation
        Orientation in the file, as in EXIF: 1 upright, 3 upside down, 6 and 8 on its side, …; `pixels` are turned
        already.
    issues
        Assumptions made on reading, in fixed words: of DICOM files only, see `cxr_cli.data.dicom.terms.Issue`.
    """

    pixels: Gray
    format: str
    mode: str
    full_scale: int
    scale_source: Literal["type", "tag", "range"] = "type"
    white_is_zero: bool = False
    orientation: int = 1
    issues: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])


def grey_of_16_bits(
    values: NDArray[np.uint16],
    format: str,
    mode: str,
    *,
    maximum: int | None = None,
    significant: int | None = None,
    white_is_zero: bool = False,
    orientation: int = 1,
) -> GrayImage:
    """Decide what the full scale of values is that stand in 16 bits, and turn them black on 0 and upright.

    Detectors have 10 to 16 bits, and many programs store them in 16 as they are: 4095 is white then, not 65535.
    In order: the largest value that the file allows (`maximum`); the number of significant bits that it tells
    (`significant`), unless the values are scaled up to 16 bits, as the PNG standard wants it; else the smallest of
    `DEPTHS` that holds all values of the image.

    Parameters
    ----------
    values
        Shape (height, width).
    format, mode, white_is_zero, orientation
        As in `GrayImage`; the values are as they stand in the file.
    maximum
        Largest value by the file's tags.
    significant
        Bits of the original by the file's tags.
    """
    highest = int(values.max(initial=0))
    source: Literal["type", "tag", "range"]
    if maximum is not None and highest <= maximum <= 65535 and (maximum & (maximum + 1)) == 0 and maximum >= 255:
        full_scale, source = maximum, "tag"
    elif significant is not None and _scaled_up(values, significant):
        full_scale, source = 65535, "tag"
    elif significant is not None and significant >= 8 and highest < 1 << significant:
        full_scale, source = (1 << significant) - 1, "tag"
    else:
        full_scale = next((1 << bits) - 1 for bits in DEPTHS if highest < 1 << bits)
        source = "type" if full_scale == 65535 else "range"
    if white_is_zero:
        values = np.uint16(full_scale) - values
    pixels: Gray = values.astype(np.uint8) if full_scale == 255 else values
    return GrayImage(upright(pixels, orientation), format, mode, full_scale, source, white_is_zero, orientation)


def _scaled_up(values: NDArray[np.uint16], significant: int) -> bool:
    """Tell whether the low bits only fill up: zeros, or the high bits once more (PNG 1.2, section 12.5)."""
    low = values & np.uint16((1 << (16 - significant)) - 1)
    return bool(values.any()) and (not low.any() or bool((low == values >> np.uint16(significant)).all()))


def upright(pixels: Gray, orientation: int) -> Gray:
    """Turn or mirror an image that is stored in one of EXIF's eight orientations, so that its top is the first row."""
    if orientation == 1:
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return cast("Gray", np.ascontiguousarray(pixels))


@dataclass(frozen=True)
class ImageType:
    """A file type: how its content begins (from byte `place` on) and who reads it."""

    name: str
    beginnings: tuple[bytes, ...]
    header: Callable[[bytes], ImageHeader]
    read: Callable[[bytes], GrayImage]
    place: int = 0


def read_gray(path: Path | str, window: WindowChoice = None) -> GrayImage:
    """Read an image as grey.

    Colour becomes grey with Pillow's weights (ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B), palettes are
    expanded, alpha is dropped, 1-bit images become 0 and 255, deeper ones keep their bits. Images stored with white
    as 0, or turned by an orientation tag, are turned to black as 0 and upright.

    Parameters
    ----------
    path
        The file. Its type is told by its content, whatever its name says.
    window
        What takes the place of the window or VOI LUT of a DICOM file; other types have none.

    Returns
    -------
    GrayImage
        The pixels, and what the source was.

    Raises
    ------
    ImageError
        The file is missing, is not an image of a known type, is damaged or cut short, holds samples whose meaning
        is unknown, or has more than `MAX_PIXELS` pixels. Names the file.
    """
    return decode_gray(read_content(path), path, window)


def decode_gray(content: bytes, path: Path | str, window: WindowChoice = None) -> GrayImage:
    """Decode the content of an image file as `read_gray` does; `path` serves its errors only.

    Raises
    ------
    ImageError
        As `read_gray`.
    """
    kind = _image_type(content, path)
    try:
        header = kind.header(content)
        _refuse_absurd(header)
        return kind.read(content) if window is None or kind.name != "DICOM" else _dicom_gray(content, window)
    except MemoryError:
        raise
    except Exception as error:  # what decoders raise on damaged files is of every kind
        raise _damaged(path, kind, error) from error


def read_content(path: Path | str) -> bytes:
    """Read an image file without decoding it.

    Raises
    ------
    ImageError
        The file is missing, cannot be read, is not a regular file (a link, a pipe), or is larger than any image.
    """
    if os.path.basename(path).startswith("._"):
        raise ImageError(f"{path}: is a side file of macOS, not an image", remedy="Delete it, or fix the name.")
    try:
        with open(path, "rb", buffering=0, opener=_open_plain) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{path}: is not a file", expected="an image file")
            if status.st_size > MAX_FILE_BYTES:
                raise ImageError(f"{path}: is {status.st_size:,} bytes", expected=f"at most {MAX_FILE_BYTES:,}")
            return stream.read()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ImageError(
                f"{path}: is a link, which is not followed", remedy="Name the file it leads to."
            ) from error
        reason = unreadable(Path(path), error)
        raise ImageError(reason.what, remedy=reason.remedy) from error


def _open_plain(path: str, flags: int) -> int:
    """Open a file without following a link or waiting for a pipe.

    Where an image lies was decided when its folder was searched (`folders.locate_images` resolves links): a link here
    has taken its place since then, and may lead anywhere.
    """
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def read_header(path: Path | str) -> ImageHeader:
    """Read format, mode and size without decoding the pixels.

    Raises
    ------
    ImageError
        As `read_gray`, except for damage behind the header.
    """
    content = read_content(path)
    kind = _image_type(content, path)
    try:
        header = kind.header(content)
        _refuse_absurd(header)
        return header
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(path, kind, error) from error


def _image_type(content: bytes, path: Path | str) -> ImageType:
    for kind in IMAGE_TYPES:
        if content.startswith(kind.beginnings, kind.place):
            return kind
    known = ", ".join(kind.name for kind in IMAGE_TYPES)
    if not content:
        raise ImageError(f"{path}: is empty", expected=f"an image ({known})", remedy="Fetch the file again.")
    foreign = foreign_type(content)
    if foreign is not None:
        raise ImageError(f"{path}: is {foreign[0]}", expected=f"an image ({known})", remedy=foreign[1])
    raise ImageError(
        f"{path}: is not an image: it begins with {content[:12]!r}",
        expected=f"{known}",
        remedy="Fetch the file again.",
    )


def _refuse_absurd(header: ImageHeader) -> None:
    if header.height * header.width > MAX_PIXELS:
        raise ValueError(f"claims {header.width:,} × {header.height:,} pixels, more than {MAX_PIXELS:,}")


def _damaged(path: Path | str, kind: ImageType, error: Exception) -> ImageError:
    if isinstance(error, UnknownSamples):
        return ImageError(f"{path}: {error}", remedy="Save it as PNG of 8 or 16 bits, grey, black as 0.")
    if kind.name == "DICOM":
        return _dicom_refused(path, error)
    if isinstance(error, UnidentifiedImageError):  # its text names an address in memory
        reason = "its header makes no sense"
    else:
        reason = shown(str(error).strip(), 200) or type(error).__name__
    return ImageError(f"{path}: cannot be decoded as {kind.name}: {reason}", remedy="Fetch the file again.")


def _dicom_refused(path: Path | str, error: Exception) -> ImageError:
    # The line that mends it stands in lists of failures too, which have room for one.
    if isinstance(error, ImportError):
        return ImageError(f"{path}: is DICOM; to read it, run {INSTALL_DICOM}")
    reason = shown(str(error), 200) or type(error).__name__
    is_damage = reason.startswith(("truncated", "damaged"))
    remedy = "Fetch the file again." if is_damage else "See docs/dicom.md for what is read."
    return ImageError(f"{path}: cannot be decoded as DICOM: {reason}", remedy=remedy)


@contextlib.contextmanager
def _open(name: str, content: bytes) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        # Size is for `_refuse_absurd` to judge, and odd tags harm no pixel: no warnings on stderr.
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=[name]) as image:
            yield image


def _pillow_header(name: str, content: bytes, orientation: int = 1) -> ImageHeader:
    with _open(name, content) as image:
        turned = orientation > 4
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        return ImageHeader(name, image.mode, height, width)


def _refuse_several(image: Image.Image) -> None:
    if (n_frames := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"holds {n_frames} images where one was expected")


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of any mode of at most 8 bits a sample."""
    image.info.pop("transparency", None)  # Pillow would warn of it
    gray = image if image.mode == "L" else image.convert("L")
    return np.asarray(gray)


def _orientation_of(exif: bytes | None) -> int:
    """Return the orientation in a block of EXIF; 1 where it tells none."""
    if not exif:
        return 1
    # What is odd in other tags harms no pixel.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tags = Image.Exif()
        tags.load(exif)
        orientation = tags.get(_ORIENTATION, 1)
        return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return 1


def _png_header(content: bytes) -> ImageHeader:
    orientation = _orientation_of(png.find_chunk(content, b"eXIf"))
    plain = png.plain_grey(content)
    if plain is None:
        return _pillow_header("PNG", content, orientation)
    height, width, bits = plain
    if orientation > 4:
        height, width = width, height
    return ImageHeader("PNG", "L" if bits == 8 else "I;16", height, width)


def _png_gray(content: bytes) -> GrayImage:
    plain = png.plain_grey(content)
    chunks = png.read_chunks(content, verify_pixels=plain is None)
    orientation = _orientation_of(chunks.get(b"eXIf"))
    pixels: Gray | None
    if plain is not None:
        mode = "L" if plain[2] == 8 else "I;16"
        pixels = png.decode_plain_grey(content, *plain)
    else:
        with _open("PNG", content) as image:
            mode = image.mode
            pixels = png.deep_grey(content)
            if pixels is None:
                pixels = np.asarray(image).astype(np.uint16) if mode.startswith("I;16") else _eight_bits(image)
    if pixels.dtype == np.uint8:
        return GrayImage(upright(pixels, orientation), "PNG", mode, 255, orientation=orientation)
    significant = png.significant_bits(chunks)
    return grey_of_16_bits(
        pixels.astype(np.uint16, copy=False), "PNG", mode, significant=significant, orientation=orientation
    )


def _jpeg_header(content: bytes) -> ImageHeader:
    with _open("JPEG", content) as image:
        orientation = _orientation_of(image.info.get("exif"))
    return _pillow_header("JPEG", content, orientation)


def _jpeg_gray(content: bytes) -> GrayImage:
    with _open("JPEG", content) as image:
        _refuse_several(image)
        mode, orientation = image.mode, _orientation_of(image.info.get("exif"))
        luminance = jpeg.decode_strictly(content, image)
        pixels = luminance if mode == "L" and luminance is not None else _eight_bits(image)
    return GrayImage(upright(pixels, orientation), "JPEG", mode, 255, orientation=orientation)


def _tiff_header(content: bytes) -> ImageHeader:
    _, image = _tiff_opened(content)
    with image:
        return ImageHeader("TIFF", image.mode, image.height, image.width)


def _tiff_gray(content: bytes) -> GrayImage:
    meaning, image = _tiff_opened(content)
    with image, libtiff_messages() as messages:
        _refuse_several(image)
        tiff.check_segments(content, meaning)
        mode = image.mode
        # Pillow turns the image upright.
        pixels: Gray = np.asarray(image).astype(np.uint16) if mode.startswith("I;16") else _eight_bits(image)
    if messages:
        raise ValueError(messages[0])
    if pixels.dtype == np.uint8:
        return GrayImage(
            pixels, "TIFF", mode, 255, white_is_zero=meaning.white_is_zero, orientation=meaning.orientation
        )
    maximum = 4095 if meaning.bits == 12 else meaning.maximum
    gray = grey_of_16_bits(
        pixels.astype(np.uint16, copy=False), "TIFF", mode, maximum=maximum, white_is_zero=meaning.white_is_zero
    )
    return replace(gray, orientation=meaning.orientation)


def _tiff_opened(content: bytes) -> tuple[tiff.TiffMeaning, Image.Image]:
    """Open a TIFF whose samples have a known meaning; deep ones are given as they stand in the file."""
    meaning = tiff.read_meaning(content)
    if meaning.white_is_zero and meaning.bits > 8:  # which Pillow turns for 8 bits and fewer only
        content = tiff.with_black_zero(content, meaning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image: Image.Image = Image.open(io.BytesIO(content), formats=["TIFF"])
        except UnidentifiedImageError as error:
            raise UnknownSamples(f"has an unknown layout ({meaning.bits} bits a sample)") from error
    if image.mode not in _TIFF_MODES:
        raise UnknownSamples(f"has the unknown mode {image.mode}")
    return meaning, image


#: Modes whose full scale and polarity `tiff.read_meaning` vouches for.
_TIFF_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "YCbCr", "I;16", "I;16B")


def _bmp_gray(content: bytes) -> GrayImage:
    with _open("BMP", content) as image:
        mode = image.mode
        return GrayImage(_eight_bits(image), "BMP", mode, 255)


def _dicom_header(content: bytes) -> ImageHeader:
    from cxr_cli.data.dicom.image import read_shape

    return ImageHeader("DICOM", *read_shape(content))


def _dicom_gray(content: bytes, window: WindowChoice = None) -> GrayImage:
    from cxr_cli.data.dicom.image import decode

    image = decode(content, window)
    return GrayImage(
        image.pixels,
        "DICOM",
        image.mode,
        image.full_scale,
        "tag",
        white_is_zero=image.mode.startswith("MONOCHROME1"),
        issues=image.issues,
    )


#: The registry: another file type is another line here and in `image_types.SUFFIXES`.
IMAGE_TYPES: tuple[ImageType, ...] = (
    # First: the bytes before its four letters may be those of another type, for programs that know no DICOM.
    ImageType("DICOM", (b"DICM",), _dicom_header, _dicom_gray, place=128),
    ImageType("PNG", (png.SIGNATURE,), _png_header, _png_gray),
    ImageType("JPEG", (b"\xff\xd8\xff",), _jpeg_header, _jpeg_gray),
    ImageType("TIFF", (b"II*\x00", b"MM\x00*"), _tiff_header, _tiff_gray),
    ImageType("BMP", (b"BM",), lambda content: _pillow_header("BMP", content), _bmp_gray),
)
assert {kind.name for kind in IMAGE_TYPES} == set(SUFFIXES)
