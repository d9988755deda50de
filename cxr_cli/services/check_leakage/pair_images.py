"""The images of near duplicate pairs at a small size, to be put side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.images import read_gray
from cxr_cli.data.labels import LabelTable
from cxr_cli.services.check_leakage.result import LeakageReport, NearDuplicate, PairReport
from cxr_cli.services.check_leakage.split_images import SplitImages
from cxr_cli.services.images.resize import area


@dataclass(frozen=True, eq=False)
class PairImages:
    """Two images to be shown side by side.

    Attributes
    ----------
    pair
        The images and how alike they are.
    grade
        ``near duplicate`` or ``candidate for review``.
    first_split, second_split
        Where they are.
    first, second
        Grey values from 0 (black) to 1 (white), float32, longer side at most the side asked for.
    """

    pair: NearDuplicate
    grade: str
    first_split: str
    second_split: str
    first: NDArray[np.float32]
    second: NDArray[np.float32]


def pair_images(
    report: LeakageReport,
    splits: Mapping[str, LabelTable],
    images: SplitImages,
    *,
    n_pairs: int = 8,
    side: int = 320,
) -> list[PairImages]:
    """Read the images of the most telling pairs: copies under another patient id first, then by correlation.

    Parameters
    ----------
    report
        From `check_leakage`, with patient ids and image names as they are.
    splits, images
        What it was made from.
    n_pairs
        Largest number of pairs.
    side
        Longer side of the small images, in pixels.

    Raises
    ------
    ImageError
        An image can no longer be read.
    """
    found = [
        (grade, between, pair)
        for between in report.pairs
        for grade, graded in (
            ("near duplicate", between.near_duplicates),
            ("candidate for review", between.candidates),
        )
        if graded is not None
        for pair in graded.pairs
    ]
    found.sort(
        key=lambda item: (item[0] != "near duplicate", item[2].different_patient is not True, -item[2].correlation)
    )
    return [_side_by_side(grade, between, pair, splits, images, side) for grade, between, pair in found[:n_pairs]]


def _side_by_side(
    grade: str,
    between: PairReport,
    pair: NearDuplicate,
    splits: Mapping[str, LabelTable],
    images: SplitImages,
    side: int,
) -> PairImages:
    paths = (
        _path(between.first, pair.first_image, splits, images),
        _path(between.second, pair.second_image, splits, images),
    )
    first, second = (_small(path, side) for path in paths)
    return PairImages(pair, grade, between.first, between.second, first, second)


def _path(split: str, image: str, splits: Mapping[str, LabelTable], images: SplitImages) -> Path:
    position = int(images.positions[split][splits[split].images.index(image)])
    return images.fingerprints.paths[position]


def _small(path: Path, side: int) -> NDArray[np.float32]:
    image = read_gray(path)
    scale = min(1.0, side / max(image.height, image.width))
    size = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    return area(image.pixels, size) / np.float32(image.full_scale)
