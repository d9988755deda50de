"""How an image looks, in a few bytes: a 256-bit hash to find copies by and a thumbnail to confirm them by.

Chest images resemble one another so much that the usual 64-bit hashes and plain correlation of thumbnails do not
tell a copy from a stranger. Both descriptors here are therefore taken after *local contrast normalisation*, which
leaves ribs, vessels, devices and outlines and drops exposure, windowing and gamma.

Both follow the image when it is mirrored, turned by right angles or inverted. Coefficients of a cosine transform only
change their signs if rows or columns are reversed: those of odd frequency in that direction. The hash keeps
coefficients of equal parity in one word, so that each of these changes complements whole words; turning by a right
angle also transposes. So one hash per image is enough to look for all sixteen.

References
----------
Zauner, C. (2010). Implementation and Benchmarking of Perceptual Image Hash Functions. (pHash: signs of the lowest
DCT coefficients of a thumbnail.)
Jarrett, K. et al. (2009). What is the Best Multi-Stage Architecture for Object Recognition? ICCV. (Local contrast
normalisation.)
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Side of the thumbnail that is normalised and hashed, in pixels.
THUMBNAIL_SIDE = 64
#: Side of the thumbnail that is kept to confirm a match by correlation.
CONFIRM_SIDE = 32
#: The hash has HASH_SIDE x HASH_SIDE bits.
HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
#: Width (standard deviation, in thumbnail pixels) of the neighbourhood that contrast is normalised over.
NEIGHBOURHOOD = 3.0
#: Contrast a thumbnail is brought to before, in grey levels; beside it `FLAT` keeps noise in empty areas small.
CONTRAST = 64.0
FLAT = 1.0
#: An image whose thumbnail varies less than this fraction of the full range shows nothing to compare.
BLANK = 1 / 255
#: Steps per standard deviation in which the normalised thumbnail is kept as int8.
STEPS = 32.0

#: The frequencies 1 to 16 of rows (and of columns), the even ones and then the odd ones, as positions from 0.
_BY_PARITY = np.array([*range(1, HASH_SIDE, 2), *range(0, HASH_SIDE, 2)])
_ONES = ~np.uint64(0)
#: XOR with this gives the hash of the mirrored image (left and right exchanged).
MIRROR_MASK: NDArray[np.uint64] = np.array([0, _ONES, 0, _ONES], dtype=np.uint64)
MIRROR_MASK.flags.writeable = False


class Descriptor(NamedTuple):
    """What is kept of one image.

    Attributes
    ----------
    hash
        256 bits as uint64, shape (4,): one word each for coefficients of (row, column) frequencies that are even and
        even, even and odd, odd and even, odd and odd.
    thumbnail
        Locally normalised thumbnail, int8, shape (1024,): 32 x 32, row by row.
    """

    hash: NDArray[np.uint64]
    thumbnail: NDArray[np.int8]


def is_blank(thumbnail: NDArray[np.floating], white: float) -> bool:
    """Return whether a thumbnail is too even to be compared.

    Parameters
    ----------
    thumbnail
        Grey values, any shape.
    white
        Largest value the image's type can hold (255 or 65535).
    """
    return float(np.std(thumbnail, dtype=np.float64)) < BLANK * white


def describe(thumbnail: NDArray[np.floating]) -> Descriptor:
    """Describe an image by its thumbnail.

    Parameters
    ----------
    thumbnail
        Grey values of any range, shape (64, 64), made by averaging (area resize).

    Returns
    -------
    Descriptor
        Hash and normalised thumbnail. They do not change with ``a * x + b`` (a > 0); ``-x`` gives the complement of
        the hash and the negative thumbnail.

    Raises
    ------
    ValueError
        The thumbnail has another shape.
    """
    if thumbnail.shape != (THUMBNAIL_SIDE, THUMBNAIL_SIDE):
        raise ValueError(f"thumbnail of shape {thumbnail.shape}; expected ({THUMBNAIL_SIDE}, {THUMBNAIL_SIDE})")
    even = normalise_contrast(thumbnail)
    side, step = CONFIRM_SIDE, THUMBNAIL_SIDE // CONFIRM_SIDE
    small = even.reshape(side, step, side, step).mean(axis=(1, 3))
    kept = np.clip(np.rint(small * STEPS), -127, 127).astype(np.int8)
    return Descriptor(_sign_hash(even), kept.ravel())


def normalise_contrast(thumbnail: NDArray[np.floating]) -> NDArray[np.float64]:
    """Subtract the local mean and divide by the local standard deviation (Gaussian neighbourhood).

    Parameters
    ----------
    thumbnail
        Grey values, shape (64, 64).

    Returns
    -------
    ndarray
        float64, shape (64, 64), about zero, mostly between -3 and 3; zero everywhere for an even thumbnail.
    """
    values = thumbnail.astype(np.float64)
    values -= values.mean()
    deviation = values.std()
    if deviation > 0:
        values *= CONTRAST / deviation
    smooth = _smoothing()
    values -= smooth @ values @ smooth.T
    local_deviation = np.sqrt(smooth @ (values * values) @ smooth.T)
    return np.asarray(values / (local_deviation + FLAT))


def correlation(
    first: NDArray[np.int8], second: NDArray[np.int8], *, mirrored: bool = False, chunk: int = 4096
) -> NDArray[np.float32]:
    """Correlate the normalised thumbnails of pairs of images (Pearson).

    Parameters
    ----------
    first, second
        Thumbnails of the two images of each pair, int8, shape (n_pairs, 1024).
    mirrored
        Compare with the second image mirrored.
    chunk
        Pairs taken at a time; bounds the memory.

    Returns
    -------
    ndarray
        float32, shape (n_pairs,), between -1 and 1; about -1 for an inverted copy, 0 for a blank image.
    """
    result = np.zeros(len(first), dtype=np.float32)
    for start in range(0, len(first), chunk):
        rows = slice(start, start + chunk)
        one, other = _unit(first[rows]), _unit(orient_thumbnails(second[rows], mirrored=mirrored))
        result[rows] = np.einsum("ij,ij->i", one, other)
    return result


def orient_thumbnails(
    thumbnails: NDArray[np.int8], *, transposed: bool = False, upside_down: bool = False, mirrored: bool = False
) -> NDArray[np.int8]:
    """Exchange rows and columns of thumbnails of shape (n, 1024), then top and bottom, then left and right."""
    images = thumbnails.reshape(-1, CONFIRM_SIDE, CONFIRM_SIDE)
    if transposed:
        images = images.transpose(0, 2, 1)
    images = images[:, :: -1 if upside_down else 1, :: -1 if mirrored else 1]
    return np.ascontiguousarray(images).reshape(thumbnails.shape)


def _unit(thumbnails: NDArray[np.int8]) -> NDArray[np.float32]:
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", values, values))[:, None]
    np.divide(values, length, out=values, where=length > 0)
    return values


def _sign_hash(even: NDArray[np.float64]) -> NDArray[np.uint64]:
    # Rows and columns 1 to 16: index 0 holds what is left of brightness gradients, which differ between exposures.
    cosines = _cosines()
    bits = (cosines @ even @ cosines.T > 0)[np.ix_(_BY_PARITY, _BY_PARITY)]
    half = HASH_SIDE // 2
    words = bits.reshape(2, half, 2, half).swapaxes(1, 2)
    return np.packbits(words.ravel()).view(np.uint64)


def transpose_hashes(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of the transposed images (rows and columns exchanged); shape (n, 4)."""
    half = HASH_SIDE // 2
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1).reshape(-1, 2, 2, half, half)
    turned = np.ascontiguousarray(bits.transpose(0, 2, 1, 4, 3)).reshape(len(hashes), HASH_BITS)
    return np.packbits(turned, axis=1).view(np.uint64)


@cache
def _cosines() -> NDArray[np.float64]:
    """Return rows 1 to 16 of the DCT-II, shape (16, 64)."""
    frequency = np.arange(1, HASH_SIDE + 1)[:, None]
    position = np.arange(THUMBNAIL_SIDE) + 0.5
    return np.asarray(np.cos(np.pi / THUMBNAIL_SIDE * frequency * position))


@cache
def _smoothing() -> NDArray[np.float64]:
    """Return the matrix that smooths a column of 64 with a Gaussian, mirrored at the borders."""
    side = THUMBNAIL_SIDE
    target, source = np.arange(side)[:, None], np.arange(-side, 2 * side)[None, :]
    weights = np.exp(-0.5 * ((source - target) / NEIGHBOURHOOD) ** 2)
    folded = weights[:, side : 2 * side] + weights[:, side - 1 :: -1] + weights[:, : 2 * side - 1 : -1]
    return np.asarray(folded / folded.sum(axis=1, keepdims=True))
