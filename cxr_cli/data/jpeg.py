"""JPEG files, decoded strictly.

A JPEG has no checksum. libjpeg notices codes that make no sense and data that end too early, but only warns, fills in
guesses and goes on; Pillow drops the warnings. The libjpeg-turbo inside kornia_rs makes errors of them. What gives
another valid code cannot be noticed by any decoder: see docs/robustness.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_cli.data import fast_decoders
from cxr_cli.data.image_types import UnknownSamples


def decode_strictly(content: bytes, image: Image.Image) -> NDArray[np.uint8] | None:
    """Decode the grey channel of a JPEG with libjpeg's warnings as errors.

    Parameters
    ----------
    content
        The file.
    image
        The same file as Pillow opened it, not yet decoded.

    Returns
    -------
    ndarray or None
        Shape (height, width); of a grey image the pixels that Pillow gives. None if kornia_rs is not installed: damage
        that libjpeg only warns of is not noticed then.

    Raises
    ------
    ValueError
        The compressed data are damaged.
    UnknownSamples
        The image has four channels (CMYK).
    """
    if image.mode not in ("L", "RGB"):
        raise UnknownSamples(f"has mode {image.mode}; grey or three colours were expected")
    if fast_decoders.kornia is None:
        return None
    try:
        grey: NDArray[np.uint8] = fast_decoders.kornia.decode_image_jpegturbo(content, "mono")
    except Exception as error:  # the decoder raises bare Exceptions, and tells no reason
        image.load()  # which Pillow does, where it notices too
        raise ValueError("its compressed data are damaged: some of the pixels would be guesses") from error
    return grey.reshape(image.height, image.width)
