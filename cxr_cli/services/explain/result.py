"""The result of `explain`: measures of the maps against boxes and controls, and the check for shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cxr_cli.services.result import Result

#: The maps that are measured: the model's, random values, the mean box of other patients, and the same network with
#: random weights.
CONTROLS = ("model", "random", "prior", "untrained")


@dataclass(frozen=True)
class Estimate(Result):
    """A value with its interval.

    Attributes
    ----------
    value
        On the images given.
    low
        Lower end of the interval from the bootstrap over patients; null if it is undefined.
    high
        Upper end; null if it is undefined.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Control(Result):
    """How well one kind of map agrees with the boxes of a pathology.

    Attributes
    ----------
    map
        "model"; "random": random values, as coarse as the model's map; "prior": the mean box of the other patients;
        "untrained": the map of the same network with random weights.
    found_at
        T(IoBB) → fraction of boxes, 0 to 1, that overlap with a box of the map by more than that fraction of the map's
        box (Wang et al. 2017).
    false_boxes
        Boxes of the map per image that touch none of its boxes.
    pointing_game
        Fraction of images, 0 to 1, in which the map's maximum lies in a box.
    mass_inside
        Mean fraction, 0 to 1, of the map's positive values that lies in the boxes.
    """

    map: str
    found_at: Mapping[str, Estimate]
    false_boxes: Estimate
    pointing_game: Estimate
    mass_inside: Estimate


@dataclass(frozen=True)
class PathologyLocalization(Result):
    """The maps of one pathology against its boxes.

    Attributes
    ----------
    pathology
        Its name; "all" pools the boxes of all pathologies.
    n_images
        Images with boxes that were measured.
    n_patients
        Their patients; null where some are unknown, and their images count as patients of their own.
    n_boxes
        Boxes.
    controls
        The model's map, then the maps it is compared with.
    above_prior
        `mass_inside` of the model minus that of the prior, with the interval of the paired difference.
    verdict
        Whether the model points better than the centre prior.
    """

    pathology: str
    n_images: int
    n_patients: int | None
    n_boxes: int
    controls: tuple[Control, ...]
    above_prior: Estimate
    verdict: str

    @property
    def shows_nothing(self) -> bool:
        """Whether there were enough patients to judge, and the map is not above the centre prior."""
        return self.verdict.startswith("shows nothing")


@dataclass(frozen=True)
class ShortcutCheck(Result):
    """How much of a pathology's maps lies where no lung is.

    Attributes
    ----------
    pathology
        Its name.
    n_images
        Images whose map has positive values.
    outside_field
        Mean fraction, 0 to 1, of the map's positive values outside the usual field (rows from 10 % to 90 %, columns
        from 8 % to 92 %, which hold 98.2 % of the area of NIH's boxes); null without such images.
    corners
        Mean fraction in the four corners of 15 %, where side markers and burnt-in text stand; null without such images.
    expected_outside
        The same fraction of the pathology's mean box; null without boxes of the pathology.
    flat_outside
        Fraction of the image's area outside the field: that of a map which is the same everywhere.
    """

    pathology: str
    n_images: int
    outside_field: float
    corners: float
    expected_outside: float
    flat_outside: float


@dataclass(frozen=True)
class ExplainedImage(Result):
    """One image and pathology that is shown.

    Attributes
    ----------
    image
        Its name.
    patient_id
        Its patient; null where unknown.
    pathology
        Whose map is shown.
    probability
        Predicted probability, 0 to 1.
    outside_field
        Fraction of the map's positive values outside the usual field, 0 to 1; null if none is positive.
    n_boxes
        Boxes of this pathology on this image.
    map
        Path of the map as float32 array of the image's own height and width; null unless asked for.
    """

    image: str
    patient_id: str | None
    pathology: str
    probability: float
    outside_field: float
    n_boxes: int
    map: str | None


@dataclass(frozen=True)
class ExplainResult(Result):
    """Where a model looks.

    Attributes
    ----------
    model
        Path of the model.
    method
        "cam": exact class activation maps; "grad-cam".
    pathologies
        Those explained, in the order of the model's outputs.
    image_size
        (height, width) in pixels of the images the model sees.
    map_size
        (height, width) of its last feature maps: the maps' true resolution.
    n_images
        Images put through the model.
    n_patients
        Their patients; null where unknown.
    n_boxes
        Boxes that belong to these images and pathologies.
    n_boxes_elsewhere
        Boxes on images that were not given.
    other_pathologies
        Pathologies of the box list that the model does not have, with their numbers of boxes.
    box_frame
        (height, width) in pixels of the images on which the boxes were drawn; null if it is each image's own size.
    n_draws
        Draws of the bootstrap.
    confidence
        Of the intervals.
    localization
        The measures by pathology; empty without boxes.
    shortcuts
        How much of the maps lies outside the lungs' usual field, by pathology.
    shown
        Images on the sheet.
    outside
        The images with the largest fraction outside the field, largest first.
    failures
        Images that could not be read, and why.
    issues
        Assumptions and omissions.
    """

    model: str
    method: str
    pathologies: tuple[str, ...]
    image_size: tuple[int, int]
    map_size: tuple[int, int]
    n_images: int
    n_patients: int | None
    n_boxes: int
    n_boxes_elsewhere: int
    other_pathologies: Mapping[str, int]
    box_frame: tuple[int, int] | None
    n_draws: int
    confidence: float
    localization: tuple[PathologyLocalization, ...]
    shortcuts: tuple[ShortcutCheck, ...]
    shown: tuple[ExplainedImage, ...]
    outside: tuple[ExplainedImage, ...]
    failures: Mapping[str, str]
    issues: tuple[str, ...]

    @property
    def shows_nothing(self) -> tuple[str, ...]:
        """Pathologies whose maps do not beat the centre prior."""
        return tuple(row.pathology for row in self.localization if row.shows_nothing)
