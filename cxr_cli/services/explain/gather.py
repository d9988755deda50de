"""Maps of a model's images, measured as they are made: against boxes, controls and the lungs' usual field."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cxr_cli.choices import MapMethod
from cxr_cli.data.boxes import BoxList
from cxr_cli.data.files import Outputs
from cxr_cli.errors import InputError, UsageError, shown
from cxr_cli.services.explain.frame import box_frame
from cxr_cli.services.explain.maps import (
    MeanBoxes,
    corners,
    fractions_of_mass,
    outside_field,
    random_map,
    resized,
)
from cxr_cli.services.explain.measure import Case, measure_map, summarise
from cxr_cli.services.explain.result import CONTROLS, ExplainedImage, ExplainResult, ShortcutCheck
from cxr_cli.services.keras_backend import require_tensorflow

if TYPE_CHECKING:
    import keras

Floats = NDArray[np.float32]

#: Images with the largest fraction of a map outside the lungs' usual field that are listed.
N_OUTSIDE = 10
#: Where labels are unknown, this fraction of images counts as positive: those with the highest probability.
_TOP = 0.1


class Images(Protocol):
    """Images as a model sees them."""

    names: Sequence[str]
    #: Patient ids, "" where unknown.
    patients: Sequence[str]
    #: (height, width) of the image files, in pixels.
    sizes: Sequence[tuple[int, int]]
    #: Labels, shape (n_images, n_pathologies) in the order of the model's outputs, NaN unknown; None if there are none.
    labels: NDArray[np.float32] | None
    #: Images that could not be read, and why; complete when all batches were yielded.
    failures: dict[str, str]

    def batches(self, places: Sequence[int], size: int) -> Iterator[tuple[Sequence[int], Floats]]:
        """Yield places and standardized images, shape (n, height, width, 3), without those that failed."""

    def grey(self, place: int) -> Floats:
        """Return an image to show, 0 black to 1 white, shape (height, width)."""


@dataclass(frozen=True)
class ExplainOptions:
    """How to explain.

    Attributes
    ----------
    pathologies
        Those to explain; None for all of the model's.
    method
        "auto", "cam" or "grad-cam"; see `cxr_cli.models.cam.mapper`.
    n_images
        Images on the sheet.
    limit
        At most so many images go through the model, drawn at random; None for all.
    save_maps
        Write the maps of the images on the sheet as arrays, at the images' own size.
    box_frame
        (height, width) in pixels of the images on which the boxes were drawn; None: found from the list.
    batch_size
        Images that go through the model at a time.
    n_draws, confidence
        Of the bootstrap over patients.
    seed
        Of the choice of images, the random maps, the untrained network and the bootstrap.
    """

    pathologies: tuple[str, ...] | None = None
    method: MapMethod = "auto"
    n_images: int = 9
    limit: int | None = None
    save_maps: bool = False
    box_frame: tuple[int, int] | None = None
    batch_size: int = 16
    n_draws: int = 1000
    confidence: float = 0.95
    seed: int = 0


@dataclass
class Shown:
    """An image with its map, to draw.

    Attributes
    ----------
    row
        What the result says of it.
    grey
        The image, 0 to 1, shape (height, width).
    heat
        The map at the resolution of the feature maps.
    boxes
        Shape (n_boxes, 4), as fractions of width and height.
    """

    row: ExplainedImage
    grey: Floats
    heat: Floats
    boxes: NDArray[np.float64]


@dataclass
class Explanation:
    """The result and the images that belong to it."""

    result: ExplainResult
    sheet: list[Shown] = field(default_factory=list)
    outside: list[Shown] = field(default_factory=list)


def explain_images(
    model: keras.Model,
    images: Images,
    *,
    model_path: str,
    pathologies: Sequence[str],
    boxes: BoxList | None = None,
    options: ExplainOptions | None = None,
    issues: Sequence[str] = (),
    outputs: Outputs | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Compute maps, measure them against boxes and controls, and look for maps outside the lungs.

    Parameters
    ----------
    model
        A Keras classifier.
    images
        What it sees.
    model_path
        For the result.
    pathologies
        The model's outputs, in order.
    boxes
        Boxes of radiologists; without them nothing is measured, only shown.
    options
        Defaults: all pathologies, exact maps where possible.
    issues
        Notes so far, for the result.
    outputs
        Where maps are written if `options.save_maps`.
    progress
        Called with (images done, images).

    Raises
    ------
    UsageError
        A pathology that the model does not have, or a method that does not suit it.
    InputError
        No image has a box; the boxes do not fit the images.
    """
    require_tensorflow()
    from cxr_cli.models.cam import mapper
    from cxr_cli.models.randomized import randomized

    options = options or ExplainOptions()
    chosen = _chosen(options.pathologies, pathologies)
    run = _Run(images, chosen, pathologies, options, boxes, issues)
    maps = mapper(model, options.method)
    untrained = None if boxes is None else mapper(randomized(model, options.seed), maps.method)
    done = 0
    for places, batch in images.batches(run.places, options.batch_size):
        heat, probabilities = maps(batch)
        control = None if untrained is None or not run.with_boxes(places) else untrained(batch)[0]
        for number, place in enumerate(places):
            run.add(place, heat[number], probabilities[number], None if control is None else control[number])
        done += len(places)
        if progress is not None:
            progress(done, len(run.places))
    return run.finish(model_path, maps.method, model.input_shape[1:3], maps.map_size, outputs)


def _chosen(wanted: Sequence[str] | None, pathologies: Sequence[str]) -> tuple[str, ...]:
    for name in wanted or ():
        if name not in pathologies:
            raise UsageError(f"the model has no pathology {shown(name)}", expected=f"some of {', '.join(pathologies)}")
    return tuple(name for name in pathologies if wanted is None or name in wanted)


class _Run:
    """What is gathered while batches go through the model."""

    def __init__(
        self,
        images: Images,
        chosen: Sequence[str],
        pathologies: Sequence[str],
        options: ExplainOptions,
        boxes: BoxList | None,
        issues: Sequence[str],
    ) -> None:
        self.images, self.chosen, self.options, self.boxes = images, tuple(chosen), options, boxes
        self.columns = [list(pathologies).index(name) for name in chosen]
        self.issues: list[str] = list(issues)
        self.frame: tuple[int, int] | None = None
        #: pathology -> image -> boxes as fractions of (width, height, width, height)
        self.targets: dict[str, dict[str, NDArray[np.float64]]] = {}
        self.priors: dict[str, MeanBoxes] = {}
        if boxes is not None:
            self._place_boxes(boxes)
        self.places = self._choose_places()
        self.drawn = set(self._choose_shown())
        self.cases: list[Case] = []
        self.done: list[int] = []
        self.kept: dict[int, Floats] = {}
        self.probabilities = np.full((len(images.names), len(chosen)), np.nan, np.float32)
        self.outside = np.full((len(images.names), len(chosen)), np.nan)
        self.in_corners = np.full((len(images.names), len(chosen)), np.nan)
        #: The largest fractions outside so far, with what is needed to show them.
        self.heap: list[_Entry] = []

    def _place_boxes(self, boxes: BoxList) -> None:
        place = {name: number for number, name in enumerate(self.images.names)}
        sizes = {name: self.images.sizes[place[name]] for name in dict.fromkeys(boxes.images) if name in place}
        if not sizes:
            raise InputError(
                f"{boxes.source.path}: none of its {len(set(boxes.images)):,} images is among those given "
                f"(such as {shown(boxes.images[0])})",
                expected="image names as in the box list",
            )
        self.frame, issue = box_frame(boxes, sizes, self.options.box_frame)
        if issue is not None:
            self.issues.append(issue)
        for pathology in self.chosen:
            found = {
                image: corner / np.tile((self.frame or sizes[image])[::-1], 2)
                for image, corner in boxes.of_pathology(pathology).items()
                if image in sizes
            }
            if found:
                self.targets[pathology] = found
                # An image without a patient is a patient of its own.
                patients = {image: self.images.patients[place[image]] or f"image {image}" for image in found}
                self.priors[pathology] = MeanBoxes(found, patients)
        if not self.targets:
            raise InputError(
                f"{boxes.source.path}: no box on the images given is of {', '.join(self.chosen)}",
                remedy="Choose other pathologies.",
            )

    def _choose_places(self) -> list[int]:
        names = self.images.names
        boxed = {image for found in self.targets.values() for image in found}
        places = [place for place, name in enumerate(names) if not boxed or name in boxed]
        if boxed and len(places) < len(names):
            self.issues.append(_left_out(len(names) - len(places)))
        limit = self.options.limit
        if limit is not None and len(places) > limit:
            order = np.random.default_rng([self.options.seed, 1]).permutation(len(places))[:limit]
            self.issues.append(f"{limit:,} of {len(places):,} images were drawn at random")
            places = [places[number] for number in sorted(order.tolist())]
        return places

    def _choose_shown(self) -> list[int]:
        order = np.random.default_rng([self.options.seed, 2]).permutation(len(self.places))
        return [self.places[number] for number in order[: self.options.n_images].tolist()]

    def with_boxes(self, places: Sequence[int]) -> bool:
        return any(self.images.names[place] in found for place in places for found in self.targets.values())

    def add(self, place: int, heat: Floats, probabilities: Floats, control: Floats | None) -> None:
        """Measure one image's maps, shape (n_outputs, height, width)."""
        self.done.append(place)
        self.probabilities[place] = probabilities[self.columns]
        heat = heat[self.columns]
        if place in self.drawn:
            self.kept[place] = heat
        size = self._grid(heat.shape[1:])
        grown = resized(heat, size)
        self.outside[place] = fractions_of_mass(grown, outside_field(size))
        self.in_corners[place] = fractions_of_mass(grown, corners(size))
        for column, pathology in enumerate(self.chosen):
            if self._positive(place, column) and np.isfinite(self.outside[place, column]):
                entry = _Entry(float(self.outside[place, column]), place, column, heat[column])
                if len(self.heap) < N_OUTSIDE:
                    heapq.heappush(self.heap, entry)
                else:
                    heapq.heappushpop(self.heap, entry)
            self._measure(place, column, pathology, grown[column], heat.shape[1:], control)

    @staticmethod
    def _grid(cells: tuple[int, ...]) -> tuple[int, int]:
        # DenseNet's maps are 32 times smaller than its input; half of its resolution is more than a map can tell.
        return cells[0] * 16, cells[1] * 16

    def _measure(
        self, place: int, column: int, pathology: str, grown: Floats, cells: tuple[int, ...], control: Floats | None
    ) -> None:
        name = self.images.names[place]
        boxes = self.targets.get(pathology, {}).get(name)
        if boxes is None or control is None:
            return
        size = grown.shape
        scaled = boxes * [size[1], size[0], size[1], size[0]]
        maps = {
            "model": grown,
            "random": random_map((cells[0], cells[1]), (size[0], size[1]), (self.options.seed, 3, place, column)),
            "prior": self.priors[pathology].without(name, (size[0], size[1])),
            "untrained": resized(control[self.columns[column]], (size[0], size[1])),
        }
        sums = {key: measure_map(maps[key], scaled) for key in CONTROLS}
        self.cases.append(Case(name, self.images.patients[place], pathology, sums))

    def _positive(self, place: int, column: int) -> bool:
        name = self.images.names[place]
        if name in self.targets.get(self.chosen[column], {}):
            return True
        labels = self.images.labels
        if labels is None or np.isnan(labels[:, self.columns[column]]).all():
            return True
        return bool(labels[place, self.columns[column]] == 1)

    def _positives(self, column: int) -> NDArray[np.bool_]:
        marked = np.array([self._positive(place, column) for place in range(len(self.images.names))])
        seen = np.zeros(len(marked), bool)
        seen[self.done] = True
        marked &= seen
        labels = self.images.labels
        if not self.targets and (labels is None or np.isnan(labels[:, self.columns[column]]).all()):
            values = self.probabilities[:, column]
            marked &= values >= np.nanquantile(values, 1 - _TOP)
        return marked

    def _shortcut(self, column: int, pathology: str, size: tuple[int, int]) -> ShortcutCheck:
        chosen = self._positives(column) & np.isfinite(self.outside[:, column])
        prior = self.priors.get(pathology)
        beyond = outside_field(size)
        expected = float("nan") if prior is None else float(fractions_of_mass(resized(prior.mean, size), beyond))
        return ShortcutCheck(
            pathology=pathology,
            n_images=int(chosen.sum()),
            outside_field=_mean(self.outside[chosen, column]),
            corners=_mean(self.in_corners[chosen, column]),
            expected_outside=expected,
            flat_outside=float(beyond.mean()),
        )

    def finish(
        self,
        model_path: str,
        method: str,
        image_size: tuple[int, int],
        map_size: tuple[int, int],
        outputs: Outputs | None,
    ) -> Explanation:
        """Put the result together."""
        names = self.images.names
        sheet = [self._shown(place, self._column_to_show(place), self.kept[place]) for place in self._shown_order()]
        if self.options.save_maps and outputs is not None:
            sheet = [self._with_map(item, outputs) for item in sheet]
        ranked = sorted(self.heap, reverse=True)
        outside = [self._shown_map(entry.place, entry.column, entry.heat) for entry in ranked]
        patients = {self.images.patients[place] for place in self.done}
        boxes = self.boxes
        given = set(names)
        n_boxes = sum(len(corner) for found in self.targets.values() for corner in found.values())
        elsewhere = 0 if boxes is None else sum(image not in given for image in boxes.images)
        others = Counter() if boxes is None else Counter(name for name in boxes.pathologies if name not in self.chosen)
        size = self._grid(map_size)
        result = ExplainResult(
            model=model_path,
            method=method,
            pathologies=self.chosen,
            image_size=image_size,
            map_size=map_size,
            n_images=len(self.done),
            n_patients=None if "" in patients else len(patients),
            n_boxes=n_boxes,
            n_boxes_elsewhere=elsewhere,
            other_pathologies=dict(sorted(others.items())),
            box_frame=self.frame,
            n_draws=self.options.n_draws,
            confidence=self.options.confidence,
            localization=()
            if not self.cases
            else summarise(
                self._ordered_cases(),
                n_draws=self.options.n_draws,
                confidence=self.options.confidence,
                seed=self.options.seed,
            ),
            shortcuts=tuple(self._shortcut(column, name, size) for column, name in enumerate(self.chosen)),
            shown=tuple(item.row for item in sheet),
            outside=tuple(item.row for item in outside),
            failures=dict(self.images.failures),
            issues=tuple(self.issues),
        )
        return Explanation(result, sheet, outside)

    def _ordered_cases(self) -> list[Case]:
        order = {name: place for place, name in enumerate(self.chosen)}
        return sorted(self.cases, key=lambda case: order[case.pathology])

    def _shown_order(self) -> list[int]:
        return [place for place in self._choose_shown() if place in self.kept]

    def _column_to_show(self, place: int) -> int:
        """Return the pathology with a box, else the one labelled, else the one with the highest probability."""
        name = self.images.names[place]
        boxed = [column for column, item in enumerate(self.chosen) if name in self.targets.get(item, {})]
        labels = self.images.labels
        if not boxed and labels is not None:
            boxed = [column for column, output in enumerate(self.columns) if labels[place, output] == 1]
        columns = boxed or range(len(self.chosen))
        return max(columns, key=lambda column: (self.probabilities[place, column], -column))

    def _shown(self, place: int, column: int, heat: Floats) -> Shown:
        return self._shown_map(place, column, heat[column])

    def _shown_map(self, place: int, column: int, heat: Floats) -> Shown:
        name = self.images.names[place]
        boxes = self.targets.get(self.chosen[column], {}).get(name, np.empty((0, 4)))
        row = ExplainedImage(
            image=name,
            patient_id=self.images.patients[place] or None,
            pathology=self.chosen[column],
            probability=float(self.probabilities[place, column]),
            outside_field=float(self.outside[place, column]),
            n_boxes=len(boxes),
            map=None,
        )
        return Shown(row, self.images.grey(place), heat, boxes)

    def _with_map(self, item: Shown, outputs: Outputs) -> Shown:
        place = list(self.images.names).index(item.row.image)
        safe = re.sub(r"[^\w.-]+", "_", item.row.image)
        path = Path("maps") / f"{safe}.{item.row.pathology}.npy"
        with outputs.path(path) as temporary, open(temporary, "wb") as stream:
            np.save(stream, resized(item.heat, self.images.sizes[place]))
        return replace(item, row=replace(item.row, map=str(outputs.folder / path)))


@dataclass(frozen=True, eq=False)
class _Entry:
    """A map and the fraction of it outside the field; a larger fraction is larger, then an earlier image."""

    outside: float
    place: int
    column: int
    heat: Floats

    def __lt__(self, other: _Entry) -> bool:
        return (self.outside, -self.place, -self.column) < (other.outside, -other.place, -other.column)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _left_out(count: int) -> str:
    return "1 image without boxes was left out" if count == 1 else f"{count:,} images without boxes were left out"
