"""Measures of maps against boxes, beside their controls, with intervals from a bootstrap over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_cli.services.explain.localize import T_IOBB, localization, mass_inside, pointing_game
from cxr_cli.services.explain.result import CONTROLS, Control, Estimate, PathologyLocalization
from cxr_cli.services.metrics.bootstrap import Sums, clusters_of, percentile_interval, replicate

Floats = NDArray[np.float64]

#: Fewer patients with boxes than this, and nothing is concluded about a pathology.
FEW_PATIENTS = 10

#: What is summed over images: boxes, boxes found at each T(IoBB), false boxes, images, points, mass.
_N_BOXES, _FALSE, _IMAGES, _POINTS, _MASS = 0, len(T_IOBB) + 1, len(T_IOBB) + 2, len(T_IOBB) + 3, len(T_IOBB) + 4
_WIDTH = len(T_IOBB) + 5


@dataclass(frozen=True)
class Case:
    """One image with boxes of one pathology, measured.

    Attributes
    ----------
    image, patient, pathology
        Their names; `patient` is "" where unknown.
    sums
        For each of `CONTROLS` a vector of what is summed over images.
    """

    image: str
    patient: str
    pathology: str
    sums: Mapping[str, Floats]


def measure_map(heat: ArrayLike, boxes: ArrayLike) -> Floats:
    """Return what one map contributes: numbers of boxes, of those found and of false ones, point and mass.

    A map without positive values has no mass anywhere: its fraction inside counts as 0.

    Parameters
    ----------
    heat
        Shape (height, width).
    boxes
        Shape (n_boxes, 4), in the map's pixels.
    """
    overlap, n_false = localization(heat, boxes)
    sums = np.zeros(_WIDTH)
    sums[_N_BOXES] = len(overlap)
    for place, least in enumerate(T_IOBB, 1):
        sums[place] = (overlap > least).sum()
    sums[_FALSE], sums[_IMAGES] = n_false, 1
    sums[_POINTS] = pointing_game(heat, boxes)
    sums[_MASS] = np.nan_to_num(mass_inside(heat, boxes))
    return sums


def summarise(
    cases: Sequence[Case], *, n_draws: int, confidence: float, seed: int, workers: int = 1
) -> tuple[PathologyLocalization, ...]:
    """Return the measures of each pathology, and of all of them together where there are several.

    Parameters
    ----------
    cases
        One for each image and pathology with boxes.
    n_draws, confidence, seed, workers
        As in `cxr_cli.services.metrics.bootstrap`.

    Returns
    -------
    In the order of the cases' pathologies; "all" comes last and pools all boxes.
    """
    names = list(dict.fromkeys(case.pathology for case in cases))
    groups = [(name, [case for case in cases if case.pathology == name]) for name in names]
    if len(groups) > 1:
        groups.append(("all", list(cases)))
    return tuple(_summary(name, group, n_draws, confidence, seed, workers) for name, group in groups)


def _summary(
    name: str, cases: Sequence[Case], n_draws: int, confidence: float, seed: int, workers: int
) -> PathologyLocalization:
    known = dict.fromkeys(case.patient for case in cases if case.patient)
    numbers = {patient: place for place, patient in enumerate(known)}
    images = {image: place for place, image in enumerate(dict.fromkeys(case.image for case in cases))}
    # Without a patient, an image is a cluster of its own, with all its pathologies.
    codes = [numbers[case.patient] if case.patient else len(numbers) + images[case.image] for case in cases]
    clusters = clusters_of(codes)
    n_clusters = int(clusters.max()) + 1
    sums = {control: np.array([case.sums[control] for case in cases]) for control in CONTROLS}
    draws = replicate(
        [Sums(sums[control], clusters) for control in CONTROLS],
        n_clusters,
        n_draws,
        seed=seed,
        workers=workers,
    )
    found = {control: _ratios(sums[control].sum(axis=0)[None])[0] for control in CONTROLS}
    drawn = {control: _ratios(draw) for control, draw in zip(CONTROLS, draws, strict=True)}
    differences = drawn["model"][:, -1] - drawn["prior"][:, -1]
    difference = _estimate(found["model"][-1] - found["prior"][-1], differences, confidence)
    return PathologyLocalization(
        pathology=name,
        n_images=len(images),
        n_patients=len(numbers) if all(case.patient for case in cases) else None,
        n_boxes=int(sums["model"][:, _N_BOXES].sum()),
        controls=tuple(_control(control, found[control], drawn[control], confidence) for control in CONTROLS),
        above_prior=difference,
        verdict=_verdict(n_clusters, difference),
    )


def _ratios(sums: Floats) -> Floats:
    """Return found boxes at each T(IoBB), false boxes an image, points and mass an image; shape (n_draws, 6)."""
    per_box = sums[:, 1 : len(T_IOBB) + 1] / sums[:, [_N_BOXES]]
    per_image = sums[:, [_FALSE, _POINTS, _MASS]] / sums[:, [_IMAGES]]
    return np.asarray(np.concatenate([per_box, per_image], axis=1))


def _control(name: str, found: Floats, drawn: Floats, confidence: float) -> Control:
    estimates = [_estimate(value, drawn[:, place], confidence) for place, value in enumerate(found)]
    return Control(
        map=name,
        found_at=dict(zip([f"{least:g}" for least in T_IOBB], estimates[: len(T_IOBB)], strict=True)),
        false_boxes=estimates[-3],
        pointing_game=estimates[-2],
        mass_inside=estimates[-1],
    )


def _estimate(value: float, draws: Floats, confidence: float) -> Estimate:
    interval = percentile_interval(draws, confidence)
    return Estimate(float(value), interval.low, interval.high)


def _verdict(n_clusters: int, difference: Estimate) -> str:
    if n_clusters < FEW_PATIENTS:
        return "too few patients to say"
    return "points better than the centre prior" if difference.low > 0 else "shows nothing: not above the centre prior"
