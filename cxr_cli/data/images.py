"""Reading images as grey: one reader per file type, chosen by content."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cxr_cli.data import png
from cxr_cli.data.files import unreadable
from cxr_cli.errors import ImageError

#: Larger than any X-ray detector; an image that claims more is a mistake or an attack (8192 × 8192).
MAX_PIXELS = 1 << 26
#: No file of so many pixels is larger, even uncompressed with four 16-bit channels.
MAX_FILE_BYTES = 8 * MAX_PIXELS + (1 << 20)


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says of itself: format and mode as Pillow names them, height and width in pixels."""

    format: str
    mode: str
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class GrayImage:
    """A decoded image.

    Parameters
    ----------
    pixels
        Grey values, shape (height, width); uint8, or uint16 when the source has 16 bits.
    format
        File format, as Pillow names it ("PNG").
    mode
        Mode of the source, as Pillow names it: "L", "I;16", "RGBA", "P", …
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    format: str
    mode: str

    @property
    def full_scale(self) -> int:
        """White: 255 or 65535."""
        return int(256**self.pixels.itemsize - 1)

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True)
class ImageType:
    """A file type: how its content begins and who reads it."""

    name: str
    beginnings: tuple[bytes, ...]
    header: Callable[[bytes], ImageHeader]
    read: Callable[[bytes], GrayImage]


def read_gray(path: Path | str) -> GrayImage:
    """Read an image as grey.

    Colour becomes grey with Pillow's weights (ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B), palettes are
    expanded, alpha is dropped, 1-bit images become 0 and 255, 16-bit images keep their 16 bits. Orientation
    tags are not followed.

    Parameters
    ----------
    path
        The file. Its type is told by its content, whatever its name says.

    Returns
    -------
    GrayImage
        The pixels, and what the source was.

    Raises
    ------
    ImageError
        The file is missing, is no image of a known type, is damaged or cut short, or has more than
        `MAX_PIXELS` pixels. Names the file.
    """
    return decode_gray(read_content(path), path)


def decode_gray(content: bytes, path: Path | str) -> GrayImage:
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
        return kind.read(content)
    except MemoryError:
        raise
    except Exception as error:  # what decoders raise on damaged files is of every kind
        raise _damaged(path, kind, error) from error


def read_content(path: Path | str) -> bytes:
    """Read an image file without decoding it.

    Raises
    ------
    ImageError
        The file is missing, cannot be read, is no file, or is larger than any image.
    """
    if os.path.basename(path).startswith("._"):
        raise ImageError(f"{path}: is a side file of macOS, not an image", remedy="Delete it, or fix the name.")
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path}: is not a file", expected="an image file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(f"{path}: is {status.st_size:,} bytes", expected=f"at most {MAX_FILE_BYTES:,}")
        with open(path, "rb", buffering=0) as stream:
            return stream.read()
    except OSError as error:
        reason = unreadable(Path(path), error)
        raise ImageError(reason.what, remedy=reason.remedy) from error


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
        if content.startswith(kind.beginnings):
            return kind
    known = ", ".join(kind.name for kind in IMAGE_TYPES)
    if not content:
        raise ImageError(f"{path}: is empty", expected=f"an image ({known})", remedy="Fetch the file again.")
    if content[128:132] == b"DICM":
        raise ImageError(f"{path}: is DICOM", expected=f"an image ({known})", remedy="Convert it to 16-bit PNG.")
    raise ImageError(
        f"{path}: is not an image: it begins with {content[:12]!r}",
        expected=f"{known}",
        remedy="Fetch the file again.",
    )


def _refuse_absurd(header: ImageHeader) -> None:
    if header.height * header.width > MAX_PIXELS:
        raise ValueError(f"claims {header.width:,} × {header.height:,} pixels, more than {MAX_PIXELS:,}")


def _damaged(path: Path | str, kind: ImageType, error: Exception) -> ImageError:
    if isinstance(error, UnidentifiedImageError):  # its text names an address in memory
        reason = "its header makes no sense"
    else:
        reason = str(error).strip() or type(error).__name__
    return ImageError(f"{path}: cannot be decoded as {kind.name}: {reason}", remedy="Fetch the file again.")


@contextlib.contextmanager
def _open(name: str, content: bytes) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        # Size is for `_refuse_absurd` to judge, and odd tags harm no pixel: no warnings on stderr.
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=[name]) as image:
            yield image


def _pillow_header(name: str, content: bytes) -> ImageHeader:
    with _open(name, content) as image:
        return ImageHeader(name, image.mode, image.height, image.width)


def _pillow_gray(name: str, content: bytes) -> GrayImage:
    with _open(name, content) as image:
        if name != "PNG" and (n_frames := getattr(image, "n_frames", 1)) > 1:
            raise ValueError(f"holds {n_frames} pictures where one was expected")
        mode = image.mode
        return GrayImage(_gray_pixels(image), name, mode)


def _gray_pixels(image: Image.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"holds values from {values.min()} to {values.max()} where 0 to 65535 was expected")
        return values.astype(np.uint16)
    if image.mode == "F":
        raise ValueError("holds fractions, whose full scale is not known")
    image.info.pop("transparency", None)  # Pillow would warn of it
    gray = image if image.mode == "L" else image.convert("L")
    return np.asarray(gray)


def _png_header(content: bytes) -> ImageHeader:
    plain = png.plain_grey(content)
    if plain is None:
        return _pillow_header("PNG", content)
    height, width, bits = plain
    return ImageHeader("PNG", "L" if bits == 8 else "I;16", height, width)


def _png_gray(content: bytes) -> GrayImage:
    plain = png.plain_grey(content)
    if plain is not None:
        return GrayImage(png.decode_plain_grey(content, *plain), "PNG", "L" if plain[2] == 8 else "I;16")
    png.verify_chunks(content)
    return _pillow_gray("PNG", content)


def _by_pillow(name: str, *beginnings: bytes) -> ImageType:
    return ImageType(
        name,
        beginnings,
        header=lambda content: _pillow_header(name, content),
        read=lambda content: _pillow_gray(name, content),
    )


#: The registry: another file type (DICOM) is another line here.
IMAGE_TYPES: tuple[ImageType, ...] = (
    ImageType("PNG", (png.SIGNATURE,), header=_png_header, read=_png_gray),
    _by_pillow("JPEG", b"\xff\xd8\xff"),
    _by_pillow("TIFF", b"II*\x00", b"MM\x00*"),
    _by_pillow("BMP", b"BM"),
)
