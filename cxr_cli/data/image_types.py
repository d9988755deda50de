"""Which image files there are: the types that `cxr` reads, how their names end, and how other types begin.

Standard library only: a command that looks at a table and a folder's listing loads no decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath


class UnknownSamples(ValueError):
    """A sound image whose samples have an unknown meaning: depth, sign, colours."""


#: The types that are read, as Pillow names them, and how the names of such files end, in lower case.
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "DICOM": (".dcm", ".dicom"),
}
#: What brings pydicom and the decoders that DICOM files need.
INSTALL_DICOM = "pip install 'cxr-cli[dicom]'"
#: Endings by which a file in an image folder counts as an image.
IMAGE_SUFFIXES: tuple[str, ...] = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)

#: Types that are not read: their name, and what to do instead. Each begins with one of these bytes at this place.
_CONVERT = "Convert it to PNG, for example with Pillow or ImageMagick."
_FOREIGN: tuple[tuple[str, int, tuple[bytes, ...], str], ...] = (
    ("a GIF image", 0, (b"GIF87a", b"GIF89a"), _CONVERT),
    ("a WebP image", 8, (b"WEBP",), _CONVERT),
    ("an AVIF image", 4, (b"ftypavif", b"ftypavis"), _CONVERT),
    ("a HEIC image", 4, (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"), _CONVERT),
    ("a JPEG 2000 image", 0, (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"), "Convert it to 16-bit PNG."),
    ("a JPEG XL image", 0, (b"\xff\x0a", b"\x00\x00\x00\x0cJXL "), _CONVERT),
    ("a BigTIFF image", 0, (b"II+\x00", b"MM\x00+"), "Convert it to PNG or plain TIFF."),
    ("a Photoshop document", 0, (b"8BPS",), _CONVERT),
    ("a PNM image", 0, (b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n", b"P7\n", b"P5 ", b"P6 "), _CONVERT),
    ("a NIfTI volume", 344, (b"n+1\x00", b"ni1\x00"), "Convert it to 16-bit PNG."),
    ("a NumPy array", 0, (b"\x93NUMPY",), "Save it as 16-bit PNG."),
    ("an HDF5 file", 0, (b"\x89HDF\r\n\x1a\n",), "Save its images as 16-bit PNG."),
    ("a PDF document", 0, (b"%PDF",), "Export its images as PNG."),
    ("compressed with gzip", 0, (b"\x1f\x8b",), "Unpack it."),
    ("a ZIP archive", 0, (b"PK\x03\x04",), "Unpack it."),
    ("a Git-LFS pointer, not the file itself", 0, (b"version https://git-lfs",), "Run 'git lfs pull'."),
)


def may_be_dicom(path: PurePath) -> bool:
    """Whether the name of a file leaves open that it is DICOM: many have no ending, or a number of their UID."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES["DICOM"] or suffix not in IMAGE_SUFFIXES


def foreign_type(content: bytes) -> tuple[str, str] | None:
    """Name the type of a file that is not read as an image, and what to do with it; None if the type is unknown.

    Examples
    --------
    >>> foreign_type(b"RIFF....WEBPVP8 ")[0]
    'a WebP image'
    """
    for name, place, beginnings, remedy in _FOREIGN:
        if content.startswith(beginnings, place):
            return name, remedy
    if content[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page", "Download the file itself, not the page that shows it."
    return None
