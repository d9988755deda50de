"""Closed lists: issues of DICOM images that are read, and reasons why others are refused."""

from __future__ import annotations

from typing import Literal

from cxr_cli.errors import shown

#: What a reader should know of an image that was read; counted by the commands.
Issue = Literal[
    "no window: grey range from percentiles",
    "no window: grey range of all stored values",
    "empty LUT sequence",
    "unusable window",
    "window misses the values",
    "LUT entries exceed their bits",
    "no rescale",
    "contradictory presentation LUT shape",
    "colour",
    "planar colour",
    "padding masked",
    "unused bits set",
    "values exceed bits stored",
    "excess pixel data",
    "pixels not square",
]

#: Why an image is refused; each refusal begins with one of these.
Reason = Literal[
    "no pixel data",
    "several frames",
    "unsupported transfer syntax",
    "missing decoder",
    "unsupported photometric interpretation",
    "unsupported pixel format",
    "truncated",
    "damaged header",
    "damaged lookup table",
    "damaged pixel data",
    "too large",
]


class DicomRefused(ValueError):
    """A DICOM file whose pixels cannot be had, or not without guessing.

    Parameters
    ----------
    reason
        One of the closed list.
    detail
        The values that led to it; kept short and in one line.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        detail = shown(detail, 200)  # it may hold bytes of the file
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
