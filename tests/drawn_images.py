"""Images for tests that resemble radiographs: smooth, different for each seed, made in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def image_pixels(seed: int, side: int = 128) -> np.ndarray:
    """Return grey values, uint8, shape (side, side), in the middle of the range."""
    random = np.random.default_rng(seed)
    values = np.zeros((side, side), dtype=np.float64)
    for coarse in (4, 8, 16, 32):
        grid = Image.fromarray(random.normal(size=(coarse, coarse)).astype(np.float32))
        values += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) * (8 / coarse) ** 0.5
    values = (values - values.min()) / np.ptp(values)
    return np.rint(40 + 150 * values).astype(np.uint8)


def image_thumbnail(seed: int) -> np.ndarray:
    """Return a thumbnail, float64, shape (64, 64)."""
    return image_pixels(seed, 64).astype(np.float64)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write a values in the format that the name's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path
