"""Film-like pictures for tests: smooth, different for each seed, made in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def film_pixels(seed: int, side: int = 128) -> np.ndarray:
    """Return grey values, uint8, shape (side, side), in the middle of the range."""
    random = np.random.default_rng(seed)
    picture = np.zeros((side, side), dtype=np.float64)
    for coarse in (4, 8, 16, 32):
        grid = Image.fromarray(random.normal(size=(coarse, coarse)).astype(np.float32))
        picture += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) * (8 / coarse) ** 0.5
    picture = (picture - picture.min()) / np.ptp(picture)
    return np.rint(40 + 150 * picture).astype(np.uint8)


def film_thumbnail(seed: int) -> np.ndarray:
    """Return a thumbnail, float64, shape (64, 64)."""
    return film_pixels(seed, 64).astype(np.float64)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write a picture in the format that the name's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path
