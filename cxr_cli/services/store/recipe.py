"""Everything that determines the pixels made from an image file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_cli.choices import Interpolation, PixelType, Standardization, StoreFormat, checked
from cxr_cli.services.store.standardization import Statistics


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the pixels made from an image file.

    Attributes
    ----------
    image_size
        (height, width) in pixels.
    standardize
        Standardization scheme.
    interpolation
        How images are resized.
    dtype
        ``float32``: standardized values. ``uint8``: resized grey levels, rounded.
    format
        ``npy``: one array of all images. ``png``: one file per image, grey levels only.
    statistics
        Of the training table, for featurewise standardization.
    window
        Of DICOM files, in place of their own: "centre,width" or "full"; None is that of each file.
    """

    image_size: tuple[int, int] = (320, 320)
    standardize: Standardization = "samplewise"
    interpolation: Interpolation = "area"
    dtype: PixelType = "float32"
    format: StoreFormat = "npy"
    statistics: Statistics | None = None
    window: str | None = None

    def __post_init__(self) -> None:
        checked(Standardization, self.standardize, "standardize")
        checked(Interpolation, self.interpolation, "interpolation")
        checked(PixelType, self.dtype, "dtype")
        checked(StoreFormat, self.format, "format")

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one stored image; three channels only where they differ."""
        three = self.standardize == "imagenet" and self.dtype == "float32"
        return (*self.image_size, 3) if three else self.image_size

    @property
    def row_bytes(self) -> int:
        """Size of one stored image (uncompressed)."""
        return int(np.prod(self.row_shape)) * np.dtype(self.dtype).itemsize
