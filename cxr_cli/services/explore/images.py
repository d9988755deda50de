"""The image files of a table: a random sample or all of them opened, measured and judged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import raise_if_machine_failed
from cxr_cli.data.image_types import IMAGE_SUFFIXES, SUFFIXES
from cxr_cli.errors import ImageError
from cxr_cli.services.images.pixels import sum_pixels
from cxr_cli.services.parallel import KILLED_WORKER, Workers, map_in_order

if TYPE_CHECKING:
    from cxr_cli.data.images import GrayImage

#: A standard deviation below this fraction of the full range: not a radiograph. The flattest of 39 NIH images: 0.136.
NEAR_CONSTANT = 0.02
#: Anatomical contrast below this many standard deviations means inverted. On 39 NIH images it lies between 0.8 and
#: 2.6, so for the same images inverted between -2.6 and -0.8: the limit keeps its distance from both.
INVERTED = -0.4
#: By how much the contrast of a turned image must exceed that of the image as it is: where that is below `_LOW`, and
#: where it is not.
_LIKELY, _SURELY, _LOW = 0.4, 0.8, 0.3
#: Orientations in EXIF, in words.
_TURNED = {
    2: "mirrored",
    3: "upside down",
    4: "mirrored and upside down",
    5: "mirrored and on its side",
    6: "on its side",
    7: "mirrored and on its side",
    8: "on its side",
}


@dataclass(frozen=True)
class ImageFacts:
    """One image as it was found.

    Attributes
    ----------
    image
        Its name in the table.
    path
        The file, in the folder as given.
    format
        As Pillow names it: "PNG", …
    mode
        As Pillow names it: "L" (8-bit grey), "I;16", "RGBA", …
    height, width
        In pixels.
    minimum, maximum, mean
        Of the grey values, as a fraction of the full range (`GrayImage.full_scale`): 0 is black, 1 is white. Alpha has
        no part in it.
    std
        Standard deviation of the pixels at hand (ddof 0), as a fraction of the full range.
    issues
        Issues, in fixed words: "16-bit", "inverted", …
    pathologies
        Findings present; None where no label of the image is known.
    window
        As in `ImageTask`.
    """

    image: str
    path: str
    format: str
    mode: str
    height: int
    width: int
    minimum: float
    maximum: float
    mean: float
    std: float
    issues: tuple[str, ...]
    pathologies: tuple[str, ...] | None = None
    window: str | None = field(default=None, metadata={"json": False})


@dataclass(frozen=True)
class BrokenImage:
    """A file that could not be opened.

    Attributes
    ----------
    image
        Its name in the table.
    path
        The file, in the folder as given.
    reason
        The reason.
    """

    image: str
    path: str
    reason: str


@dataclass(frozen=True)
class ImageIssues:
    """An image that was opened and is unusual.

    Attributes
    ----------
    image
        Its name in the table.
    issues
        Issues, in fixed words: "16-bit", "inverted", …
    """

    image: str
    issues: tuple[str, ...]


@dataclass(frozen=True)
class PixelStatistics:
    """All pixels of all opened images together.

    Attributes
    ----------
    n_images
        How many images.
    n_pixels
        How many pixels they have in all.
    minimum, maximum, mean
        Of all pixels, as a fraction of each image's full range, 0 to 1.
    std
        Standard deviation of all pixels (ddof 0), as a fraction of the full range.
    sizes
        Sizes ("1024 × 1024", height first), and how many images have each; the commonest first.
    modes
        Modes, and how many images have each.
    formats
        Formats, and how many images have each.
    """

    n_images: int
    n_pixels: int
    minimum: float
    maximum: float
    mean: float
    std: float
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    formats: Mapping[str, int]


@dataclass(frozen=True)
class ImageCheck:
    """The findings from opening images.

    Attributes
    ----------
    which
        "sample" or "all": which of the found images were opened.
    n_opened
        Images that could be opened.
    n_broken
        Images that could not.
    broken
        Those, in the order of the table.
    n_with_issues
        Images that were opened and are unusual.
    with_issues
        Those, in the order of the table.
    issues
        Issues, and how many images have each.
    statistics
        The opened images together; None if there are none.
    sample
        The images of the random sample that could be opened, in the order of the table.
    """

    which: str
    n_opened: int
    n_broken: int
    broken: tuple[BrokenImage, ...]
    n_with_issues: int
    with_issues: tuple[ImageIssues, ...]
    issues: Mapping[str, int]
    statistics: PixelStatistics | None
    sample: tuple[ImageFacts, ...]


@dataclass(frozen=True)
class ImageTask:
    """One image to inspect: its name in the table, its file, and the window if it is DICOM (None: that of the file)."""

    image: str
    path: str
    window: str | None = None


def inspect_image(task: ImageTask) -> ImageFacts | BrokenImage:
    """Open one image and measure it; an image that cannot be opened is a result too.

    Pure and at module level, so that any executor can run it.
    """
    # Decoders take long to load, and whoever looks at a table alone needs none.
    from cxr_cli.data.dicom.grey import read_window
    from cxr_cli.data.images import read_gray

    try:
        gray = read_gray(task.path, read_window(task.window))
    except ImageError as error:
        raise_if_machine_failed(error, task.path)
        return BrokenImage(task.image, task.path, error.what.removeprefix(f"{task.path}: "))
    return measure(gray, task)


def _lost(task: ImageTask) -> BrokenImage:
    return BrokenImage(task.image, task.path, KILLED_WORKER)


def measure(gray: GrayImage, task: ImageTask) -> ImageFacts:
    """Measure a decoded image."""
    white = gray.full_scale
    sums = sum_pixels(gray.pixels, white)
    return ImageFacts(
        image=task.image,
        path=task.path,
        format=gray.format,
        mode=gray.mode,
        height=gray.height,
        width=gray.width,
        minimum=sums.minimum / white,
        maximum=sums.maximum / white,
        mean=sums.mean / white,
        std=sums.std / white,
        issues=issues_of(gray, sums.std, Path(task.path).suffix),
        window=task.window,
    )


def issues_of(gray: GrayImage, std: float, suffix: str) -> tuple[str, ...]:
    """Name the issues of a decoded image.

    Parameters
    ----------
    gray
        The image.
    std
        Standard deviation of its pixels, in grey levels.
    suffix
        Ending of the file name.

    Returns
    -------
    tuple of str
        Some of: "16-bit", or "12-bit in 16 bits" (or another depth: its white is not 65535); "mode RGBA" (or RGB,
        P, 1 …: not plain grey); "white stored as 0"; "stored on its side (orientation tag 6)" (or another
        orientation; both are turned on reading); "JPEG named .png" (or another format that the name does not tell);
        "near-constant" (standard deviation below `NEAR_CONSTANT`); "inverted", "upside down", "on its side"
        (see `turned_or_inverted`). Of DICOM files, in place of what concerns
        depth, mode and polarity, what was assumed on reading (`cxr_cli.data.dicom.terms.Issue`).
    """
    found = list(gray.issues) if gray.format == "DICOM" else _unusual_storage(gray)
    # DICOM files are often named by a UID, whose last number looks like an ending.
    known = SUFFIXES.get(gray.format, (suffix.lower(),))
    if suffix.lower() not in known and (gray.format != "DICOM" or suffix.lower() in IMAGE_SUFFIXES):
        found.append(f"{gray.format} named {suffix or 'without ending'}")
    if std < NEAR_CONSTANT * gray.full_scale:
        found.append("near-constant")
    else:
        found += turned_or_inverted(gray.pixels, std)
    return tuple(found)


def _unusual_storage(gray: GrayImage) -> list[str]:
    found = []
    if gray.full_scale == 65535:
        found.append("16-bit")
    elif gray.full_scale > 255 or gray.mode.startswith("I;16"):
        found.append(f"{gray.full_scale.bit_length()}-bit in 16 bits")
    if gray.mode != "L" and not gray.mode.startswith("I;16"):
        found.append(f"mode {gray.mode}")
    if gray.white_is_zero:
        found.append("white stored as 0")
    if gray.orientation in _TURNED:
        found.append(f"stored {_TURNED[gray.orientation]} (orientation tag {gray.orientation})")
    return found


def turned_or_inverted(pixels: NDArray[Any], std: float | None = None) -> list[str]:
    """Tell whether a frontal image is inverted, upside down or on its side, by its anatomical contrast.

    The contrast is measured on the image as it is and turned by 90, 180 and 270 degrees, and compared with that of the
    inverted image: an upright image has the highest of all eight. On 39 NIH images and the 250 of the sample data no
    upright image is called turned. Turned ones are noticed less surely: 97 % on their side, three in four upside down.

    Parameters
    ----------
    pixels
        Grey values, shape (height, width), any scale.
    std
        Their standard deviation, if it is known already.

    Returns
    -------
    list of str
        Some of "inverted", "upside down", "on its side"; empty for an even image.
    """
    deviation = float(pixels.std(dtype=np.float64)) if std is None else std
    if deviation == 0:
        return []
    contrasts = [anatomical_contrast(np.rot90(pixels, quarter)) / deviation for quarter in range(4)]
    as_it_is, as_negative = max(contrasts), -min(contrasts)
    inverted = as_negative - as_it_is > (_SURELY if contrasts[0] >= INVERTED else 0)
    upright, left, down, right = (-value if inverted else value for value in contrasts)
    found = ["inverted"] if inverted else []
    if max(left, right) - upright > _LIKELY and max(left, right) > down:
        found.append("on its side")
    elif down - upright > (_SURELY if upright > _LOW else _LIKELY):
        found.append("upside down")
    return found


def anatomical_contrast(pixels: NDArray[Any]) -> float:
    """Measure how much brighter the dense parts of a frontal chest X-ray are than the airy ones.

    The mediastinum and the abdomen under the diaphragm stop the beam; lungs and the air above the shoulders let it
    through. Where each lies in a frontal image is rough anatomy, and differs little between people. Brightness of
    the border against the centre would be simpler, and is wrong on 4 of 39 NIH images.

    Parameters
    ----------
    pixels
        Grey values, shape (height, width), any scale.

    Returns
    -------
    float
        Mean of (mediastinum - lungs) and (abdomen - upper corners), in the units of the pixels: positive for an image
        with white bones, exactly its negative for the same image inverted, 0 for a constant image or one with fewer
        than 16 rows or columns.
    """
    height, width = pixels.shape
    if min(height, width) < 16:
        return 0.0

    def brightness(top: float, bottom: float, left: float, right: float) -> float:
        part = pixels[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        return float(part.mean(dtype=np.float64))

    lungs = (brightness(0.22, 0.60, 0.20, 0.40) + brightness(0.22, 0.60, 0.60, 0.80)) / 2
    mediastinum = brightness(0.25, 0.75, 0.42, 0.58)
    abdomen = brightness(0.75, 1.00, 0.30, 0.70)
    corners = (brightness(0.00, 0.10, 0.00, 0.15) + brightness(0.00, 0.10, 0.85, 1.00)) / 2
    return ((mediastinum - lungs) + (abdomen - corners)) / 2


def draw_sample(n_available: int, n_images: int, seed: int) -> list[int]:
    """Draw positions without replacement, the same for the same seed; returned in ascending order."""
    chosen = np.random.default_rng(seed).choice(n_available, min(n_images, n_available), replace=False)
    return sorted(int(position) for position in chosen)


def survey_files(
    tasks: Sequence[ImageTask],
    *,
    n_images: int = 9,
    seed: int = 0,
    every: bool = False,
    findings: Callable[[int], tuple[str, ...] | None] = lambda place: None,
    executor: Executor | Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageCheck:
    """Open a random sample of image files, or all of them.

    Parameters
    ----------
    tasks
        The files there are, in the order of the table.
    n_images, seed
        Size of the random sample, and what draws it.
    every
        Open every file, not only the sample.
    findings
        Gives the pathologies present in the image of a task, told by its position; None where no label is known.
    executor, progress
        As in `cxr_cli.services.parallel.map_in_order`.
    """
    sample = draw_sample(len(tasks), n_images, seed)
    sampled = set(sample)
    places = range(len(tasks)) if every else sample
    gathered = _Gathered()
    outcomes = map_in_order(
        inspect_image, [tasks[place] for place in places], lost=_lost, executor=executor, progress=progress
    )
    for place, outcome in zip(places, outcomes, strict=True):
        gathered.add(outcome)
        if place in sampled and isinstance(outcome, ImageFacts):
            gathered.sample.append(replace(outcome, pathologies=findings(place)))
    return gathered.check("all" if every else "sample")


class _Gathered:
    """Outcomes of `inspect_image` summed up as they come, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self.broken: list[BrokenImage] = []
        self.with_issues: list[ImageIssues] = []
        self.sample: list[ImageFacts] = []
        self.tallies: dict[str, Counter[str]] = {"sizes": Counter(), "modes": Counter(), "formats": Counter()}
        self.n_images = self.n_pixels = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.total = self.total_of_squares = 0.0

    def add(self, outcome: ImageFacts | BrokenImage) -> None:
        if isinstance(outcome, BrokenImage):
            self.broken.append(outcome)
            return
        if outcome.issues:
            self.with_issues.append(ImageIssues(outcome.image, outcome.issues))
        n_pixels = outcome.height * outcome.width
        self.tallies["sizes"][f"{outcome.height} × {outcome.width}"] += 1
        self.tallies["modes"][outcome.mode] += 1
        self.tallies["formats"][outcome.format] += 1
        self.n_images += 1
        self.n_pixels += n_pixels
        self.minimum, self.maximum = min(self.minimum, outcome.minimum), max(self.maximum, outcome.maximum)
        self.total += n_pixels * outcome.mean
        self.total_of_squares += n_pixels * (outcome.std**2 + outcome.mean**2)

    def check(self, which: str) -> ImageCheck:
        return ImageCheck(
            which=which,
            n_opened=self.n_images,
            n_broken=len(self.broken),
            broken=tuple(self.broken),
            n_with_issues=len(self.with_issues),
            with_issues=tuple(self.with_issues),
            issues=by_count(name for image in self.with_issues for name in image.issues),
            statistics=self._statistics(),
            sample=tuple(self.sample),
        )

    def _statistics(self) -> PixelStatistics | None:
        if not self.n_images:
            return None
        mean = self.total / self.n_pixels
        return PixelStatistics(
            n_images=self.n_images,
            n_pixels=self.n_pixels,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=mean,
            std=math.sqrt(max(self.total_of_squares / self.n_pixels - mean**2, 0.0)),
            **{name: by_count(tally.elements()) for name, tally in self.tallies.items()},
        )


def by_count(names: Iterable[str]) -> dict[str, int]:
    """Count names, the commonest first, equally common ones in alphabetical order."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
