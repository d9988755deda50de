"""Even frames around images: black bars of letterboxing, borders that an export adds, collimated edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Grey values of a frame differ by at most this fraction of the full range: JPEG leaves some ringing in even areas.
EVEN = 8 / 255
#: A frame counts from this fraction of the height or width on; the hashes tolerate narrower ones.
NARROWEST = 1 / 64
#: What is left inside has at least this fraction of the height and width.
SMALLEST = 1 / 4


def inside_frame(pixels: NDArray[Any], white: float) -> NDArray[Any] | None:
    """Return the part of an image inside an even frame.

    Parameters
    ----------
    pixels
        Grey values, shape (height, width).
    white
        Largest value that the image's type can hold (255 or 65535).

    Returns
    -------
    ndarray or None
        A view of `pixels` without the outer rows and columns that are of one grey; None if the image has no frame
        worth mentioning.

    Examples
    --------
    >>> image = np.zeros((100, 100), np.uint8)
    >>> image[10:90, 5:95] = np.arange(90)
    >>> inside_frame(image, 255).shape
    (80, 81)
    """
    height, width = pixels.shape
    top, bottom = _even_lines(pixels, white), _even_lines(pixels[::-1], white)
    if top + bottom > height * (1 - SMALLEST):
        return None
    rows = pixels[top : height - bottom]
    left, right = _even_lines(rows.T, white), _even_lines(rows.T[::-1], white)
    if left + right > width * (1 - SMALLEST):
        return None
    if top + bottom < height * NARROWEST and left + right < width * NARROWEST:
        return None
    return rows[:, left : width - right]


def _even_lines(lines: NDArray[Any], white: float) -> int:
    """Count the leading lines whose values all lie close to those of the first line."""
    first = lines[0]
    low, high = int(first.min()), int(first.max())
    tolerance = EVEN * white
    if high - low > tolerance:
        return 0
    # A few lines at a time: most frames are narrow, and most images have none.
    step = max(1, len(lines) // 16)
    for start in range(0, len(lines), step):
        block = lines[start : start + step]
        even = (block.max(axis=1) - np.float64(low) <= tolerance) & (np.float64(high) - block.min(axis=1) <= tolerance)
        if not even.all():
            return start + int(even.argmin())
    return len(lines)
