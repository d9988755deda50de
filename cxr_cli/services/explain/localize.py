"""How well a map points to boxes: boxes of a map, overlap, pointing game, fraction of the map inside. Pure arrays.

A map has the shape of its image, (height, width); a box is (x, y, width, height) in the same pixels, and covers the
pixel whose centre lies inside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

#: Thresholds on maps scaled to [0, 255], each of which gives boxes of its own (Wang et al. 2017, section 4.2).
WANG_THRESHOLDS = (60, 180)
#: Least overlap at which a box counts as found, T(IoBB), of those in Wang et al. 2017, table 4.
T_IOBB = (0.1, 0.25, 0.5)


def boxes_of_map(heat: ArrayLike, thresholds: ArrayLike = WANG_THRESHOLDS) -> Floats:
    """Return boxes around the isolated regions of a map, as Wang et al. make them.

    The map is scaled so that its least value is 0 and its largest 255, cut at each threshold, and each connected region
    of what is above gets the smallest upright rectangle that holds it. Pixels that touch at a side or a corner are
    connected (the paper does not say; in images as smooth as these maps it makes no difference). Boxes that both
    thresholds give are listed once.

    Parameters
    ----------
    heat
        Shape (height, width), finite.
    thresholds
        On the scale from 0 to 255.

    Returns
    -------
    Float64, shape (n_boxes, 4): x, y, width, height in pixels. None for a constant map.

    References
    ----------
    X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers: ChestX-ray8: Hospital-scale Chest X-ray Database and
    Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases, CVPR 2017
    (arXiv:1705.02315), section 4.2: "The intensities in heatmaps are first normalized to [0, 255] and then thresholded
    by {60, 180} individually."

    Examples
    --------
    >>> boxes_of_map([[0, 0, 0, 0], [0, 9, 9, 0], [0, 0, 0, 9]], [128]).tolist()
    [[1.0, 1.0, 3.0, 2.0]]
    """
    values = np.asarray(heat, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"a map of shape {values.shape}; expected (height, width) of finite values")
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    if not high > low:
        return np.empty((0, 4))
    scaled = (values - low) * (255 / (high - low))
    # One below the other, with an empty row between.
    levels = np.asarray(thresholds, np.float64).reshape(-1, 1, 1)
    above = np.pad(scaled > levels, ((0, 0), (0, 1), (0, 0)))
    boxes = regions(above.reshape(-1, above.shape[2]))
    boxes[:, 1] %= above.shape[1]
    return np.array(sorted({tuple(box) for box in boxes.tolist()})).reshape(-1, 4)


def regions(mask: ArrayLike) -> Floats:
    """Return the smallest upright rectangle around each connected region of a mask (8-connected).

    Runs of pixels in a row are joined to those they touch in the row above, all rows at once, so that time depends on
    the number of runs and not of pixels.

    Parameters
    ----------
    mask
        Booleans, shape (height, width).

    Returns
    -------
    Float64, shape (n_regions, 4): x, y, width, height; from top to bottom.

    Examples
    --------
    >>> regions([[1, 1, 0, 1], [0, 0, 0, 1]]).tolist()
    [[0.0, 0.0, 2.0, 1.0], [3.0, 0.0, 1.0, 2.0]]
    """
    inside = np.asarray(mask, bool)
    width = inside.shape[1] + 2
    padded = np.zeros((inside.shape[0], width), np.int8)
    padded[:, 1:-1] = inside
    steps = np.diff(padded.ravel())
    first, last = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)  # places in the mask, row after row
    if not len(first):
        return np.empty((0, 4))
    groups = _joined(first, last, width)
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    rows = first[order] // width
    left = np.minimum.reduceat(first[order] % width, cuts)
    right = np.maximum.reduceat(last[order] % width, cuts)
    top, bottom = np.minimum.reduceat(rows, cuts), np.maximum.reduceat(rows, cuts) + 1
    boxes = np.stack([left, top, right - left, bottom - top], axis=1).astype(np.float64)
    return boxes[np.lexsort([left, top])]


def _joined(first: NDArray[np.intp], last: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """Return the group of each run: the number of the first run that it is connected with.

    A run goes from `first` up to `last`, which is outside; rows are `width` long and end outside of every run.
    """
    # Runs of the row above that touch a run, also at a corner, follow each other: from `start` up to `stop`.
    start = np.searchsorted(last, first - width, side="left")
    stop = np.searchsorted(first, last - width, side="right")
    counts = stop - start
    below = np.repeat(np.arange(len(first)), counts)
    above = np.arange(len(below)) + np.repeat(start - (np.cumsum(counts) - counts), counts)
    groups = np.arange(len(first))
    while True:
        # Hang the later of two touching groups onto the earlier one, then let every run point to the first of all.
        one, other = groups[below], groups[above]
        apart = one != other
        if not apart.any():
            return groups
        np.minimum.at(groups, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while not np.array_equal(groups, groups[groups]):
            groups = groups[groups]


def iobb(detected: ArrayLike, truth: ArrayLike) -> Floats:
    """Return the intersection over the detected box area, for every pair of boxes.

    Parameters
    ----------
    detected, truth
        Shapes (n_detected, 4) and (n_truth, 4): x, y, width, height.

    Returns
    -------
    Float64, shape (n_detected, n_truth), 0 to 1.

    References
    ----------
    Wang et al. 2017, section 4.2: IoBB, "similar to Area of Precision or Purity".

    Examples
    --------
    >>> iobb([[0, 0, 4, 2]], [[2, 0, 9, 9]]).tolist()
    [[0.5]]
    """
    ours = np.asarray(detected, float).reshape(-1, 1, 4)
    theirs = np.asarray(truth, float).reshape(1, -1, 4)
    starts = np.maximum(ours[..., :2], theirs[..., :2])
    stops = np.minimum(ours[..., :2] + ours[..., 2:], theirs[..., :2] + theirs[..., 2:])
    intersection = np.clip(stops - starts, 0, None).prod(axis=-1)
    area = ours[..., 2:].prod(axis=-1)
    return np.asarray(intersection / np.where(area > 0, area, np.inf), np.float64)


def inside_boxes(boxes: ArrayLike, shape: tuple[int, int]) -> Booleans:
    """Return which pixels have their centre in one of the boxes; shape (height, width).

    Examples
    --------
    >>> inside_boxes([[1, 0, 2, 1]], (2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros(shape, bool)
    for x, y, width, height in np.asarray(boxes, float).reshape(-1, 4):
        # Centres lie at half pixels: the first one inside is the first at or behind the edge.
        left, right = (int(np.ceil(edge - 0.5)) for edge in (x, x + width))
        top, bottom = (int(np.ceil(edge - 0.5)) for edge in (y, y + height))
        mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return mask


def pointing_game(heat: ArrayLike, boxes: ArrayLike) -> float:
    """Return whether the map's maximum lies in a box: 1 or 0, or the fraction of its maxima where there are several.

    References
    ----------
    J. Zhang, S. A. Bargal, Z. Lin, J. Brandt, X. Shen, S. Sclaroff: Top-Down Neural Attention by Excitation Backprop,
    International Journal of Computer Vision 126 (2018) 1084-1102, doi:10.1007/s11263-017-1059-x, section 4.2. No
    tolerance around the box is granted here.

    Examples
    --------
    >>> pointing_game([[0, 1], [0, 0]], [[1, 0, 1, 1]])
    1.0
    """
    values = np.asarray(heat, np.float64)
    return float(inside_boxes(boxes, values.shape)[values == values.max()].mean())


def mass_inside(heat: ArrayLike, boxes: ArrayLike) -> float:
    """Return the fraction of the map's positive values that lies in the boxes; NaN if none is positive.

    Examples
    --------
    >>> mass_inside([[3, 1], [-5, 0]], [[0, 0, 1, 1]])
    0.75
    """
    values = np.clip(np.asarray(heat, np.float64), 0, None)
    total = values.sum()
    return float(values[inside_boxes(boxes, values.shape)].sum() / total) if total > 0 else float("nan")


def localization(heat: ArrayLike, boxes: ArrayLike) -> tuple[Floats, int]:
    """Return the best overlap of a detected box with each box, and how many detected boxes miss all of them.

    Parameters
    ----------
    heat
        Shape (height, width).
    boxes
        Shape (n_boxes, 4), in the map's pixels.

    Returns
    -------
    overlap
        Shape (n_boxes,): the largest IoBB of a detected box with it, 0 if nothing was detected. A box is found at
        T(IoBB) if this is larger than T.
    n_false
        Detected boxes that have no pixel in common with any of them.
    """
    pairs = iobb(boxes_of_map(heat), boxes)
    return pairs.max(axis=0, initial=0.0), int((pairs.max(axis=1, initial=0.0) == 0).sum())
