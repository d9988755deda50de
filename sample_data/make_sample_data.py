"""Draw the synthetic chest images of ``sample_data/`` and write their two tables.

Run ``python sample_data/make_sample_data.py`` to write everything again beside this file, or name another folder.
With ``--n-images`` it draws as many other images instead: ``labels.csv``, ``boxes.csv`` and ``images/`` in the folder.
NumPy is all it needs. What is drawn and what is planted is described in ``README.md`` beside it.

The bytes must be the same on every machine, so the drawing keeps to operations whose result IEEE 754 fixes to the last
bit: ``+ - * /``, ``sqrt``, comparisons and rounding, one NumPy call each. There is no ``sin``, ``exp`` or power (they
differ between libm builds and SIMD widths), no sum along an axis and no matrix product (their order of addition
differs). Random numbers come from ``PCG64.random_raw``, the stream that NumPy promises never to change.

Body coordinates: x from -1 (the patient's right, on the left of the image) to 1 across the rib cage, y from -1 (apex of
the lungs) down to about 0.9 (diaphragm). Everything is thickness: an image is bright where the rays met much tissue.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
IntArray = NDArray[np.int32]
Pixels = NDArray[np.uint8]
Point = tuple[float, float]

SIZE = 256  # pixels along each edge of an image
TABLE_SEED = 2018
IMAGE_SEED = 1  # one of those tried that bring no two images close to each other by chance

COLUMNS = (  # the course's order: PatientId stands between the findings
    "Image,Atelectasis,Cardiomegaly,Consolidation,Edema,Effusion,Emphysema,Fibrosis,Hernia,Infiltration,Mass,Nodule,"
    "PatientId,Pleural_Thickening,Pneumonia,Pneumothorax"
).split(",")

# Positive rows in (train, valid): about the prevalences of the course's tables.
POSITIVES = {
    "Infiltration": (34, 9),
    "Effusion": (24, 6),
    "Atelectasis": (20, 5),
    "Nodule": (11, 3),
    "Mass": (9, 3),
    "Pneumothorax": (8, 2),
    "Consolidation": (7, 2),
    "Pleural_Thickening": (5, 1),
    "Cardiomegaly": (5, 1),
    "Edema": (4, 1),
    "Emphysema": (4, 1),
    "Fibrosis": (3, 1),
    "Pneumonia": (3, 1),
    "Hernia": (2, 0),
}
CHRONIC = ("Hernia", "Fibrosis", "Emphysema", "Cardiomegaly", "Pleural_Thickening")  # on every image of a patient
ROWS_WITH_FINDINGS = (90, 23)

# NIH numbers its patients from 1 to 30805: a number above 90000 belongs to no real patient.
FIRST_PATIENT = 90001
TRAIN_PATIENTS = ((1, 135), (2, 14), (3, 6), (4, 2), (6, 1))  # (images, patients with so many), only in train
VALID_PATIENTS = ((1, 36), (2, 2), (3, 1))  # only in valid; the patient of the copied image comes on top
SHARED_PATIENTS = ((1, 1), (1, 1), (1, 2), (1, 1), (1, 1))  # in both tables: (images in train, images in valid)

# What --n-images draws.
FIRST_OTHER_PATIENT = 100001  # none of those above
IMAGES_PER_PATIENT = ((1, 0.6), (2, 0.8), (3, 0.95), (5, 1.0))  # (images, fraction of patients with at most so many)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"  # as in NIH's BBox_List_2017.csv


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


class Dice:
    """Random numbers that are the same on every machine and with every NumPy release."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.uniform() < probability

    def below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        return int(self.uniform() * n)

    def side(self) -> int:
        """Return -1 (patient's right) or 1 (left)."""
        return 1 if self.chance(0.5) else -1

    def shuffled(self, items: Sequence) -> list:
        """Return the items in random order (Fisher and Yates)."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result

    def grid(self, rows: int, columns: int) -> Array:
        """Return numbers in [0, 1), float32 of shape (rows, columns)."""
        raw = self._bits.random_raw(rows * columns) >> np.uint64(11)
        return (raw.astype(np.float64) * 2.0**-53).astype(np.float32).reshape(rows, columns)

    def grain(self) -> Array:
        """Return grain of about unit deviation: sums of four bytes, float32 of shape (SIZE, SIZE)."""
        raw = self._bits.random_raw(SIZE * SIZE // 2).astype("<u8").view(np.uint8).reshape(SIZE, SIZE, 4)
        total = raw[..., 0].astype(np.int32) + raw[..., 1] + raw[..., 2] + raw[..., 3]
        return (total.astype(np.float32) - 510.0) / 147.8


def mask(condition: NDArray[np.bool_]) -> Array:
    """Return 1 where the condition holds and 0 elsewhere."""
    return condition.astype(np.float32)


def step(value: Array) -> Array:
    """Rise smoothly from 0 at value <= 0 to 1 at value >= 1."""
    t = np.clip(value, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(distance_squared: Array) -> Array:
    """Fall smoothly from 1 at distance 0 to 0 at distance 1 and beyond."""
    t = np.maximum(1.0 - distance_squared, 0.0)
    return t * t


def chord(distance_squared: Array) -> Array:
    """Return the thickness of a unit ball at a distance from its centre, 1 in the middle."""
    return np.sqrt(np.maximum(1.0 - distance_squared, 0.0))


def texture(dice: Dice, cells: int) -> Array:
    """Return smooth random hills in [0, 1], ``cells`` of them along each edge of the image."""
    knots = dice.grid(cells + 2, cells + 2)
    position = (np.arange(SIZE, dtype=np.float32) + 0.5) * (cells / SIZE)
    cell = position.astype(np.intp)
    t = step(position - np.floor(position))
    rows = knots[cell] * (1.0 - t)[:, None] + knots[cell + 1] * t[:, None]
    return rows[:, cell] * (1.0 - t) + rows[:, cell + 1] * t


# ---------------------------------------------------------------------------------------------------------------------
# Who is on the image, and how it was taken


@dataclass(frozen=True)
class Anatomy:
    """What stays the same from image to image of a patient (lengths in body coordinates)."""

    cage: float  # half width of the rib cage
    squareness: float  # 0: the cage tapers like an egg, 1: like a barrel
    flesh: float  # thickness of fat and muscle
    bones: float  # how much the bones absorb
    breasts: float  # size of the breast shadows, 0 for none
    heart: float  # half length of the heart
    heart_tilt: float
    heart_x: float
    knob: float  # radius of the aortic arch
    mediastinum: float  # half width beside the spine
    diaphragm: float  # height of the right dome
    dome_difference: float  # how much lower the left dome stands
    dome_curve: float
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    rib_width: float
    clavicle: float  # height of the shoulder end
    scoliosis: float  # sideways bend of the spine
    vessels: float
    stomach: float  # radius of the gas bubble in the stomach, 0 for none


@dataclass(frozen=True)
class Pose:
    """What differs from image to image: position, breath, exposure."""

    x: float  # pixels of body coordinates (0, 0)
    y: float
    scale_x: float  # pixels per unit
    scale_y: float
    half_tilt: float  # tangent of half the rotation in the plane of the image
    turn: float  # rotation about the long axis, seen as a sideways shift of what lies deep
    lordosis: float  # tube angle: moves clavicles and slants the ribs
    breath: float  # lowers the diaphragm
    arm: float  # how far the arms stand off
    blades: float  # how far the shoulder blades are drawn out of the lungs
    portable: bool  # taken at the bedside, from the front: larger heart, cables
    gain: float  # exposure
    fall_x: float  # change of exposure from the middle to the right edge
    fall_y: float  # and to the lower edge
    contrast: float
    black: float
    white: float
    grain: float


def draw_anatomy(dice: Dice) -> Anatomy:
    """Return a patient's anatomy."""
    female = dice.chance(0.45)
    flesh = dice.uniform()
    return Anatomy(
        cage=dice.uniform(0.90, 1.04),
        squareness=dice.uniform(0.15, 1.0),
        flesh=0.10 + 0.28 * flesh * flesh,
        bones=dice.uniform(0.65, 1.1),
        breasts=dice.uniform(0.3, 0.5) if female else 0.0,
        heart=dice.uniform(0.50, 0.60),
        heart_tilt=dice.uniform(0.35, 0.85),
        heart_x=dice.uniform(0.10, 0.18),
        knob=dice.uniform(0.10, 0.16),
        mediastinum=dice.uniform(0.15, 0.22),
        diaphragm=dice.uniform(0.54, 0.80),
        dome_difference=dice.uniform(-0.02, 0.14),
        dome_curve=dice.uniform(0.26, 0.50),
        rib_spacing=dice.uniform(0.185, 0.245),
        rib_phase=dice.uniform(),
        rib_slope=dice.uniform(0.18, 0.62),
        rib_width=dice.uniform(0.30, 0.44),
        clavicle=dice.uniform(-1.10, -0.86),
        scoliosis=dice.uniform(-0.07, 0.07),
        vessels=dice.uniform(0.7, 1.25),
        stomach=dice.uniform(0.10, 0.22) if dice.chance(0.55) else 0.0,
    )


def draw_pose(dice: Dice, anatomy: Anatomy) -> Pose:
    """Return how one image of a patient was taken."""
    scale = dice.uniform(76.0, 110.0)
    portable = dice.chance(0.35)
    return Pose(
        x=SIZE / 2 + dice.uniform(-21.0, 21.0),
        y=SIZE / 2 + dice.uniform(-26.0, 24.0),
        scale_x=scale,
        scale_y=scale * dice.uniform(0.92, 1.15),
        half_tilt=dice.uniform(-0.07, 0.07),
        turn=dice.uniform(-0.09, 0.09),
        lordosis=dice.uniform(-0.09, 0.09),
        breath=dice.uniform(-0.10, 0.08) - (0.06 if portable else 0.0),
        arm=dice.uniform(-0.25, 0.45),
        blades=dice.uniform(0.0, 0.18) if portable else dice.uniform(0.16, 0.40),
        portable=portable,
        gain=dice.uniform(0.8, 1.4) / (0.85 + 0.8 * anatomy.flesh),
        fall_x=dice.uniform(-0.16, 0.16),
        fall_y=dice.uniform(-0.25, 0.15),
        contrast=dice.uniform(-0.55, 0.15),
        black=dice.uniform(0.0, 26.0),
        white=dice.uniform(215.0, 252.0),
        grain=dice.uniform(0.35, 0.85),
    )


class Scene:
    """The rays of one image: where each meets the body, and how much of what it passes.

    ``air`` (0 to about 1, lung depth), ``dense`` (thickness added to the soft tissue: bones, vessels, metal) and
    ``haze`` (0 to 1, share of the air that is filled with something) are what structures and findings draw on.
    All arrays are float32 of shape (SIZE, SIZE).
    """

    def __init__(self, anatomy: Anatomy, pose: Pose) -> None:
        self.anatomy, self.pose = anatomy, pose
        t = pose.half_tilt
        self._cos, self._sin = (1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)
        across = (np.arange(SIZE, dtype=np.float32) + 0.5 - pose.x)[None, :]
        down = (np.arange(SIZE, dtype=np.float32) + 0.5 - pose.y)[:, None]
        self.skin_x: Array = (across * self._cos + down * self._sin) / pose.scale_x
        self.y: Array = (down * self._cos - across * self._sin) / pose.scale_y
        # A turned patient: the middle moves against the wall.
        self.x: Array = self.skin_x + pose.turn * np.maximum(1.0 - self.skin_x * self.skin_x, 0.0)
        self.reach: Array = np.abs(self.x)
        self.left = mask(self.x > 0)
        self.wall = self._wall() - self.reach  # distance to the side wall of the chest, > 0 inside
        self.above = self._diaphragm() - self.y  # height above the diaphragm
        self.spine_x = anatomy.scoliosis * (1.0 - self.y * self.y)
        self.air = np.zeros((SIZE, SIZE), np.float32)
        self.dense = np.zeros((SIZE, SIZE), np.float32)
        self.haze = np.zeros((SIZE, SIZE), np.float32)

    def _wall(self) -> Array:
        a = self.anatomy
        u = np.clip((0.55 - self.y) / 1.55, 0.0, 1.0)
        u2 = u * u
        taper = np.sqrt(np.maximum(1.0 - ((1.0 - a.squareness) * u2 + a.squareness * u2 * u2), 0.0))
        low = np.maximum(self.y - 0.55, 0.0)
        return 0.40 + (a.cage - 0.40) * taper - 0.08 * low * low

    def _diaphragm(self) -> Array:
        a = self.anatomy
        top = a.diaphragm + self.pose.breath + a.dome_difference * self.left
        off = (self.reach / a.cage - 0.46) / 0.54
        off2 = off * off
        return top + a.dome_curve * (0.45 * off2 + 0.55 * off2 * off2 * off2) * (0.35 + 0.65 * mask(off > 0))

    def half(self, side: int) -> Array:
        """Return 1 on the given side of the body (-1 right, 1 left) and 0 on the other."""
        return self.left if side > 0 else 1.0 - self.left

    def fill(self, share: Array) -> None:
        """Fill a share (0 to 1) of the air that is left."""
        self.haze = 1.0 - (1.0 - self.haze) * (1.0 - np.clip(share, 0.0, 1.0))

    def ball(self, x: float, y: float, radius_x: float, radius_y: float | None = None, slant: float = 0.0) -> Array:
        """Return the squared distance from (x, y) in units of the radii."""
        dx, dy = self.x - x, self.y - y
        unit = math.sqrt(1.0 + slant * slant)
        across, down = (dx + slant * dy) / (unit * radius_x), (dy - slant * dx) / (unit * (radius_y or radius_x))
        return across * across + down * down

    def pixel(self, point: Point) -> Point:
        """Return the pixel (column, row) of a point of the body."""
        x, y = point
        x = x - self.pose.turn * max(1.0 - x * x, 0.0)
        across, down = x * self.pose.scale_x, y * self.pose.scale_y
        return across * self._cos - down * self._sin + self.pose.x, across * self._sin + down * self._cos + self.pose.y

    def stroke(self, layer: Array, points: Sequence[Point], widths: Sequence[float], strength: float) -> None:
        """Draw a rounded line through points of the body; widths in body units, one per point."""
        pixels = [self.pixel(point) for point in points]
        radii = [max(width * self.pose.scale_x, 0.75) for width in widths]
        for start, end, r0, r1 in zip(pixels, pixels[1:], radii, radii[1:], strict=False):
            stroke_pixels(layer, start, end, r0, r1, strength)


def stroke_pixels(layer: Array, start: Point, end: Point, r0: float, r1: float, strength: float) -> None:
    """Draw a rounded line between two pixels where it is stronger than what is there; radii taper from r0 to r1."""
    margin = max(r0, r1) + 1.0
    left, right = (int(edge) for edge in (min(start[0], end[0]) - margin, max(start[0], end[0]) + margin + 1.0))
    top, bottom = (int(edge) for edge in (min(start[1], end[1]) - margin, max(start[1], end[1]) + margin + 1.0))
    left, right, top, bottom = max(left, 0), min(right, SIZE), max(top, 0), min(bottom, SIZE)
    if left >= right or top >= bottom:
        return
    dx, dy = end[0] - start[0], end[1] - start[1]
    px = (np.arange(left, right) + 0.5 - start[0])[None, :]
    py = (np.arange(top, bottom) + 0.5 - start[1])[:, None]
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy + 1e-9), 0.0, 1.0)
    off_x, off_y, radius = px - along * dx, py - along * dy, r0 + (r1 - r0) * along
    profile = strength * chord((off_x * off_x + off_y * off_y) / (radius * radius))
    box = layer[top:bottom, left:right]
    np.maximum(box, profile, out=box)


def curve(a: Point, b: Point, c: Point, n: int = 8) -> list[Point]:
    """Return n + 1 points of the quadratic Bezier curve from a by way of b to c."""
    points = []
    for i in range(n + 1):
        t = i / n
        u, v, w = (1 - t) * (1 - t), 2 * t * (1 - t), t * t
        points.append((u * a[0] + v * b[0] + w * c[0], u * a[1] + v * b[1] + w * c[1]))
    return points


# ---------------------------------------------------------------------------------------------------------------------
# The healthy chest


def soft_tissue(scene: Scene) -> Array:
    """Return the thickness of the body without lungs: trunk, neck, shoulders, arms, breasts."""
    a, x, y = scene.anatomy, scene.skin_x, scene.y
    trunk_width = a.cage + a.flesh + 0.06 * np.clip(y - 0.3, 0.0, 1.0) * a.flesh
    neck_width = 0.30 + 0.5 * a.flesh
    half = neck_width + (trunk_width - neck_width) * step((y + 1.32) / 0.55)
    off = x / half
    trunk = (1.05 + 0.35 * step((y + 0.9) / 0.6) + 0.45 * step((y - 0.4) / 0.7)) * chord(off * off * off * off)
    arms = np.zeros((SIZE, SIZE), np.float32)
    reach = a.cage + 0.34 + a.flesh
    elbow = reach + 1.6 * scene.pose.arm
    for side in (-1, 1):
        shoulder = (side * reach, a.clavicle + 0.24)
        scene.stroke(arms, [(side * 0.55, a.clavicle + 0.14), shoulder], [0.26, 0.30 + 0.3 * a.flesh], 0.95)
        scene.stroke(arms, [shoulder, (side * elbow, 1.8)], [0.30 + 0.3 * a.flesh, 0.22 + 0.2 * a.flesh], 0.95)
    trunk2, arms2 = trunk * trunk, arms * arms
    body = np.sqrt(np.sqrt(trunk2 * trunk2 + arms2 * arms2)) * (0.85 + 0.8 * a.flesh)
    for side in (-1, 1) if a.breasts else ():
        d2 = scene.ball(side * 0.56, 0.38, a.breasts + 0.08, a.breasts)
        below = step((scene.y - 0.1) / 0.5)
        body = body + 0.38 * chord(d2) * below * step(body / 0.25)
    return body


def lungs(scene: Scene, mediastinum: float) -> Array:
    """Return the depth of the lungs, 0 to 1, without the heart."""
    u = np.clip((0.55 - scene.y) / 1.55, 0.0, 1.0)
    u2 = u * u
    u4 = u2 * u2
    medial = 0.40 - (0.40 - mediastinum) * np.sqrt(np.maximum(1.0 - u4 * u4, 0.0))
    away = np.abs(scene.x - scene.spine_x)
    depth_wall = np.clip(scene.wall / 0.5, 0.0, 1.0)
    depth_wall = np.sqrt(depth_wall * (2.0 - depth_wall))
    inner = np.clip((away - medial) / 0.16, 0.0, 1.0)
    inner = np.sqrt(inner * (2.0 - inner))
    apex = step((scene.y + 1.0) / 0.35)
    behind = 0.22 * step((scene.above + 0.22) / 0.24)  # lung that hangs behind the dome
    floor = np.maximum(step((scene.above + 0.01) / 0.03), behind)
    return depth_wall * inner * (0.55 + 0.45 * apex) * floor


def heart_muscle(scene: Scene) -> tuple[Array, Array]:
    """Return the squared distances from the middles of the left heart and the right atrium, in their radii."""
    a = scene.anatomy
    size = a.heart * (1.06 if scene.pose.portable else 1.0)
    base_y = a.diaphragm + scene.pose.breath - 0.20 - 0.16 * size
    main = scene.ball(a.heart_x + 0.06, base_y + 0.05, size, size * 0.68, slant=a.heart_tilt)
    atrium = scene.ball(-0.06, base_y + 0.02, 0.34 * size + 0.06, 0.66 * size)
    return main, atrium


def heart(scene: Scene) -> Array:
    """Return how much of the lung's depth the heart, the aorta and the great vessels take, 0 to 1."""
    a = scene.anatomy
    size = a.heart * (1.06 if scene.pose.portable else 1.0)
    base_y = a.diaphragm + scene.pose.breath - 0.20 - 0.16 * size
    main, atrium = heart_muscle(scene)
    knob = scene.ball(0.10 + 0.3 * a.knob, -0.50, a.knob + 0.05, a.knob + 0.02)
    trunk = scene.ball(0.12, base_y - 0.34 - 0.1 * size, a.knob + 0.09, 0.34, slant=-0.25)
    cava = scene.ball(-0.12, -0.5, 0.13, 0.55)
    shadow = np.maximum(np.maximum(chord(main), 0.9 * chord(atrium)), 0.75 * chord(knob))
    shadow = np.maximum(shadow, np.maximum(0.6 * chord(trunk), 0.5 * chord(cava)))
    return np.minimum(1.0, 1.35 * shadow)


def spine(scene: Scene) -> Array:
    """Return the vertebrae as added thickness."""
    across = (scene.x - scene.spine_x) / (0.105 + 0.012 * scene.y)
    column = step((1.15 - np.abs(across)) / 0.5)
    phase = (scene.y + scene.anatomy.rib_phase) / 0.165
    within = (phase - np.floor(phase)) * 2.0 - 1.0
    disc = step((np.abs(within) - 0.72) / 0.25)
    pedicle = bump((np.abs(across) - 0.68) * (np.abs(across) - 0.68) / 0.07 + (within + 0.1) * (within + 0.1) / 0.10)
    process = bump(across * across / 0.03 + (within - 0.45) * (within - 0.45) / 0.25)
    bodies = column * (0.30 - 0.14 * disc) + 0.10 * pedicle + 0.10 * process
    return bodies * (1.0 - 0.4 * step((scene.y - 0.4) / 0.6))


def rib_band(phase: Array, width: float) -> Array:
    """Return ribs of unit spacing: 1 on a rib, with brighter edges (cortical bone), 0 between."""
    off = np.abs((phase - np.floor(phase)) * 2.0 - 1.0)
    inside = step((width - off) / 0.16 + 0.5)
    rim = (off - width + 0.10) / 0.13
    return inside * 0.75 + 0.45 * bump(rim * rim) * inside


def ribs(scene: Scene) -> Array:
    """Return the ribs as added thickness: the back halves plain, the front halves fainter and the other way down."""
    a, pose = scene.anatomy, scene.pose
    reach, y = scene.reach / a.cage, scene.y
    r2 = reach * reach
    slope = a.rib_slope + pose.lordosis
    back_line = -0.20 * reach + (0.30 + slope) * r2 + 0.10 * r2 * r2
    back_line = back_line * (1.0 - 0.25 * np.clip(y, -1.0, 1.0))
    back = rib_band((y - back_line) / a.rib_spacing + a.rib_phase, a.rib_width)
    front_line = -0.55 * (1.0 + pose.lordosis) * reach - 0.25 * r2
    front = rib_band((y - front_line) / (a.rib_spacing * 1.12) + 1.7 * a.rib_phase, a.rib_width * 1.15)
    cage = step((scene.wall + 0.07) / 0.04)
    top = step((y + 1.08) / 0.12)
    bottom = step((1.15 - y) / 0.3) * (1.0 - 0.5 * step(-scene.above / 0.1))
    from_spine = step((reach - 0.10) / 0.08)
    cartilage = step((reach - 0.42) / 0.22) * step((y + 0.85) / 0.2)
    tangent = np.clip((scene.wall + 0.07) / 0.22, 0.0, 1.0)
    tangent = 1.0 + 0.9 * (1.0 - tangent) * (1.0 - tangent)  # at the side the rays run along the bone
    return a.bones * cage * top * bottom * (0.20 * back * from_spine * tangent + 0.085 * front * cartilage)


def shoulder_bones(scene: Scene) -> Array:
    """Return clavicles, shoulder blades and upper arms as added thickness."""
    a, pose = scene.anatomy, scene.pose
    layer = np.zeros((SIZE, SIZE), np.float32)
    shift = 0.8 * pose.lordosis
    reach = a.cage + 0.34 + a.flesh
    for side in (-1, 1):
        head = (side * (reach - 0.02), a.clavicle + 0.22)
        middle, end = (side * 0.74, a.clavicle + shift), (side * (reach - 0.1), a.clavicle)
        clavicle = curve((side * 0.12, -0.74 + shift), (side * 0.45, -0.84 + shift), middle)
        clavicle += curve(middle, (side * 0.95, a.clavicle - 0.10 + shift), end)[1:]
        scene.stroke(layer, clavicle, [0.055] + [0.042] * (len(clavicle) - 1), 0.34)
        scene.stroke(layer, [head, head], [0.135, 0.135], 0.36)
        scene.stroke(layer, [head, (side * (reach + 1.6 * pose.arm), 1.8)], [0.10, 0.075], 0.40)
        out = pose.blades
        blade = curve((side * (0.48 + out), -0.86), (side * (0.58 + out), -0.35), (side * (0.72 + out), 0.02))
        scene.stroke(layer, blade, [0.022] * len(blade), 0.15)
        scene.stroke(layer, [blade[-1], (side * (reach - 0.16), a.clavicle + 0.3)], [0.03, 0.05], 0.17)
        scene.stroke(
            layer, [(side * (0.52 + out), -0.80), (side * (reach - 0.1), a.clavicle + 0.12)], [0.03, 0.06], 0.17
        )
    return a.bones * layer


def airways(scene: Scene) -> Array:
    """Return windpipe and main bronchi as missing thickness."""
    layer = np.zeros((SIZE, SIZE), np.float32)
    bend = scene.anatomy.scoliosis
    scene.stroke(
        layer,
        [(-1.5 * bend, -1.6), (0.01 + 0.3 * bend, -0.75), (-0.02 + 0.5 * bend, -0.28)],
        [0.075, 0.07, 0.065],
        0.30,
    )
    scene.stroke(layer, [(-0.02 + 0.5 * bend, -0.28), (-0.17, -0.10)], [0.055, 0.04], 0.18)
    scene.stroke(layer, [(-0.02 + 0.5 * bend, -0.28), (0.20, -0.12)], [0.05, 0.04], 0.18)
    return layer


def vessels(scene: Scene, dice: Dice, strength: float) -> Array:
    """Return the vessels that branch from the hila as added thickness."""
    layer = np.zeros((SIZE, SIZE), np.float32)
    for side, root in ((-1, (-0.21, -0.06)), (1, (0.22, -0.14))):
        for i in range(10):
            down = -0.75 + 0.165 * i + dice.uniform(-0.08, 0.08)
            tip = (side * (0.84 - 0.35 * abs(down) + dice.uniform(-0.15, 0.08)), root[1] + down)
            bend = (root[0] + side * dice.uniform(0.02, 0.14), root[1] + down * dice.uniform(0.45, 0.8))
            branch = curve(root, bend, tip, 6)
            scene.stroke(layer, branch, [0.040, 0.032, 0.024, 0.017, 0.012, 0.009, 0.006], 0.13 * strength)
            for fork in branch[2:5]:
                twig = (
                    fork[0] + side * dice.uniform(0.06, 0.25),
                    fork[1] + dice.uniform(-0.05, 0.22) * (1 if down > 0 else -1),
                )
                scene.stroke(layer, [fork, twig], [0.014, 0.006], 0.10 * strength)
        layer = layer + 0.13 * strength * bump(scene.ball(root[0], root[1] + 0.04, 0.14, 0.24))
    return layer


def belly_gas(scene: Scene, dice: Dice) -> Array:
    """Return the gas under the diaphragm as missing thickness: a bubble in the stomach, loops of bowel."""
    a = scene.anatomy
    top = a.diaphragm + a.dome_difference + scene.pose.breath
    gas = np.zeros((SIZE, SIZE), np.float32)
    if a.stomach:
        gas = 0.55 * chord(scene.ball(0.42, top + 0.10 + 0.6 * a.stomach, 1.25 * a.stomach, 0.75 * a.stomach))
    for _ in range(dice.below(5)):
        x, y, size = dice.uniform(-0.8, 0.8), top + dice.uniform(0.35, 0.85), dice.uniform(0.07, 0.16)
        gas = np.maximum(
            gas, 0.35 * chord(scene.ball(x, y, size * dice.uniform(1.0, 1.8), size, dice.uniform(-0.5, 0.5)))
        )
    return gas * step(-(scene.above + 0.04) / 0.04)


# ---------------------------------------------------------------------------------------------------------------------
# Findings that change the anatomy


def enlarge_heart(anatomy: Anatomy, dice: Dice) -> Anatomy:
    """Let the heart take well over half the width of the chest."""
    return replace(anatomy, heart=dice.uniform(0.74, 0.86) * anatomy.cage, heart_tilt=0.3, heart_x=0.16)


def overinflate(anatomy: Anatomy, dice: Dice) -> Anatomy:
    """Give emphysema its low, flat domes, a barrel chest and a narrow heart."""
    low = max(anatomy.diaphragm, 0.72) + 0.16
    return replace(
        anatomy, diaphragm=low, dome_curve=0.06, dome_difference=0.03, squareness=1.0, heart=0.40, vessels=0.45
    )


def shrink_lungs(anatomy: Anatomy, dice: Dice) -> Anatomy:
    """Make the lungs small, as stiff ones are."""
    return replace(anatomy, diaphragm=anatomy.diaphragm - 0.10)


ALTERATIONS: dict[str, Callable[[Anatomy, Dice], Anatomy]] = {
    "Cardiomegaly": enlarge_heart,
    "Emphysema": overinflate,
    "Fibrosis": shrink_lungs,
}


# ---------------------------------------------------------------------------------------------------------------------
# Findings that are drawn on the image


def place_in_lung(scene: Scene, dice: Dice, low: float = -0.65, high: float = 0.6) -> Point:
    """Return a point well inside a lung and clear of heart, wall and what was drawn before."""
    free = scene.air * (1.0 - scene.haze)
    point = (0.0, 0.0)
    for _ in range(500):
        point = (dice.side() * dice.uniform(0.30, 0.75), dice.uniform(low, high))
        column, row = (int(place) for place in scene.pixel(point))
        if 8 <= column < SIZE - 8 and 8 <= row < SIZE - 8 and free[row, column] > 0.5:
            break
    return point


def raise_dome(scene: Scene, side: int, height: float) -> None:
    """Raise one dome of the diaphragm: a lung that lost volume."""
    scene.air *= 1.0 - scene.half(side) * step((height + 0.02 - scene.above) / 0.03)


def atelectasis(scene: Scene, dice: Dice) -> None:
    """Draw plate-like bands across a lower zone, and the dome under them drawn up."""
    side = dice.side()
    height = dice.uniform(0.12, 0.22)
    raise_dome(scene, side, height)
    floor = scene.anatomy.diaphragm + scene.pose.breath - height
    band = np.zeros((SIZE, SIZE), np.float32)
    for i in range(1 + dice.below(3)):
        y = floor - 0.10 - 0.13 * i - dice.uniform(0.0, 0.05)
        start, end = (
            (side * dice.uniform(0.25, 0.35) + (0.15 if side > 0 else 0.0), y + dice.uniform(-0.12, 0.06)),
            (side * dice.uniform(0.70, 0.88), y),
        )
        scene.stroke(
            band,
            curve(start, (side * 0.6, y - 0.05), end),
            [0.026 + 0.016 * dice.uniform()] * 9,
            dice.uniform(0.5, 0.75),
        )
    scene.fill(band)


def patch(scene: Scene, dice: Dice, centre: Point, size: float, strength: float, cells: int) -> Array:
    """Return an ill-defined patch of opacity, 0 to ``strength``."""
    shape = bump(scene.ball(*centre, size, size * dice.uniform(0.8, 1.3)) * 0.55)
    return strength * shape * (0.35 + 0.9 * texture(dice, cells))


def infiltration(scene: Scene, dice: Dice) -> None:
    """Draw one to three faint, mottled, ill-defined patches."""
    for _ in range(1 + dice.below(3)):
        centre = place_in_lung(scene, dice)
        scene.fill(patch(scene, dice, centre, dice.uniform(0.28, 0.44), 0.68, 26))


def bronchogram(scene: Scene, dice: Dice, centre: Point, size: float) -> Array:
    """Return the air-filled bronchi that stay dark in a filled lung."""
    layer = np.zeros((SIZE, SIZE), np.float32)
    side = 1 if centre[0] > 0 else -1
    root = (centre[0] - side * 0.8 * size, centre[1] - 0.5 * size)
    for i in range(3):
        tip = (centre[0] + side * 0.6 * size, centre[1] + size * (-0.45 + 0.4 * i + dice.uniform(-0.1, 0.1)))
        bend = (centre[0] - side * 0.2 * size, 0.7 * root[1] + 0.3 * tip[1])
        scene.stroke(layer, curve(root, bend, tip, 4), [0.020, 0.018, 0.016, 0.013, 0.010], 0.42)
    return layer


def consolidation(scene: Scene, dice: Dice) -> None:
    """Draw a dense, even patch with a straight lower edge (the fissure) and air bronchograms."""
    centre = place_in_lung(scene, dice, -0.5, 0.35)
    size = dice.uniform(0.32, 0.44)
    shape = step(1.9 * (1.0 - scene.ball(*centre, size * 1.1, size)))
    fissure = step((centre[1] + 0.55 * size + 0.1 * (scene.x - centre[0]) - scene.y) / 0.03)
    scene.fill(0.88 * shape * fissure * (1.0 - bronchogram(scene, dice, centre, size)))


def pneumonia(scene: Scene, dice: Dice) -> None:
    """Draw a coarse, lobe-sized patch in one lower zone, with faint air bronchograms."""
    centre = (dice.side() * dice.uniform(0.48, 0.60), dice.uniform(0.12, 0.32))
    size = dice.uniform(0.42, 0.52)
    opacity = patch(scene, dice, centre, size, 1.05, 16)
    scene.fill(opacity * (1.0 - 0.6 * bronchogram(scene, dice, centre, 0.7 * size)))


def edema(scene: Scene, dice: Dice) -> None:
    """Draw haze spreading from both hila like wings, wide vessels, short lines at the bases."""
    strength = dice.uniform(0.75, 0.9)
    for side in (-1, 1):
        wing = bump(scene.ball(side * 0.40, 0.04, 0.66, 0.86) * 0.62)
        scene.fill(strength * wing * (0.55 + 0.6 * texture(dice, 26)))
    lines = np.zeros((SIZE, SIZE), np.float32)
    for i in range(6):
        for side in (-1, 1):
            y = 0.20 + 0.07 * i
            scene.stroke(lines, [(side * 0.97, y), (side * 0.84, y + dice.uniform(-0.02, 0.02))], [0.008, 0.006], 0.12)
    scene.dense += lines * mask(scene.air > 0.05)
    scene.dense += 0.5 * vessels(scene, dice, 1.2) * scene.air


def effusion(scene: Scene, dice: Dice) -> None:
    """Draw fluid that blunts the angle beside the diaphragm and climbs the wall, on one or both sides."""
    sides = (-1, 1) if dice.chance(0.3) else (dice.side(),)
    for side in sides:
        height = dice.uniform(0.10, 0.45)
        lateral = np.clip(scene.reach / scene.anatomy.cage, 0.0, 1.0)
        climb = lateral * lateral
        climb = climb * climb
        level = scene.anatomy.diaphragm + scene.pose.breath + 0.06 - height - 0.42 * climb
        under = step((scene.y - level + 0.03) / 0.07)
        scene.fill(0.97 * under * scene.half(side))


def fibrosis(scene: Scene, dice: Dice) -> None:
    """Draw a net of coarse lines, thickest at the bases and the walls, on both sides."""
    net = np.zeros((SIZE, SIZE), np.float32)
    for cells in (22, 36, 52):
        ridge = np.abs(texture(dice, cells) - 0.5) / 0.075
        net = np.maximum(net, bump(ridge * ridge))
    where = np.maximum(step((scene.y + 0.25) / 0.7), step((0.36 - scene.wall) / 0.3))
    scene.fill(0.62 * net * where + 0.15 * where)


def hernia(scene: Scene, dice: Dice) -> None:
    """Draw a round gas bubble with a fluid level behind the heart."""
    x, radius = dice.uniform(-0.02, 0.16), dice.uniform(0.20, 0.25)
    y = scene.anatomy.diaphragm + scene.pose.breath - 0.75 * radius - 0.05
    d2 = scene.ball(x, y, radius, radius * 0.9)
    rim = (np.sqrt(d2) - 1.0) / 0.13
    gas = chord(d2 / 0.85) * step((y + 0.25 * radius - scene.y) / 0.03)
    scene.dense += 0.45 * chord(d2 / 1.15) * (1.0 - gas) + 0.25 * bump(rim * rim) - 0.75 * gas


def nodule(scene: Scene, dice: Dice) -> None:
    """Draw one to three small round shadows with a sharp edge."""
    for _ in range(1 + dice.below(3)):
        x, y = place_in_lung(scene, dice)
        radius = dice.uniform(0.065, 0.10)
        scene.dense += 0.46 * np.minimum(1.4 * chord(scene.ball(x, y, radius, radius)), 1.0)


def mass(scene: Scene, dice: Dice) -> None:
    """Draw one large, lobed shadow."""
    x, y = place_in_lung(scene, dice, -0.6, 0.35)
    radius = dice.uniform(0.16, 0.24)
    shape = chord(scene.ball(x, y, radius, radius * 0.9))
    for _ in range(3):
        dx, dy = dice.uniform(-0.6, 0.6) * radius, dice.uniform(-0.6, 0.6) * radius
        shape = np.maximum(shape, 0.9 * chord(scene.ball(x + dx, y + dy, 0.7 * radius, 0.7 * radius)))
    scene.fill(np.minimum(1.3 * shape, 0.95))
    scene.dense += 0.12 * shape


def pleural_thickening(scene: Scene, dice: Dice) -> None:
    """Draw a bright, wavy peel along the wall of one lung, thickest at the apex."""
    side = dice.side()
    apex = step((-0.35 - scene.y) / 0.5)
    width = dice.uniform(0.075, 0.11) * (0.6 + 0.8 * texture(dice, 9)) + 0.12 * apex
    peel = step((width - scene.wall) / 0.025) * scene.half(side)
    cap = step((-0.80 - scene.y + 0.10 * texture(dice, 12)) / 0.03) * scene.half(side)
    scene.fill(0.92 * np.maximum(peel, cap))


def emphysema(scene: Scene, dice: Dice) -> None:
    """Draw overblown lungs: more air, thin-walled holes in the upper zones."""
    scene.air *= 1.30
    for _ in range(5):
        x, y = place_in_lung(scene, dice, -0.75, 0.0)
        d2 = scene.ball(x, y, dice.uniform(0.10, 0.18))
        rim = (np.sqrt(d2) - 1.0) / 0.12
        scene.dense += (0.07 * bump(rim * rim) - 0.07 * chord(d2)) * mask(scene.air > 0.2)


def pneumothorax(scene: Scene, dice: Dice) -> None:
    """Draw a rim of black, empty air along the wall of one side; the lung's edge is a thin white line."""
    side = dice.side()
    here = scene.half(side)
    width = dice.uniform(0.16, 0.28) + 0.22 * step((-0.2 - scene.y) / 0.7)
    inside = scene.wall - width
    top = scene.y + 0.80 - 0.1 * scene.reach
    inside = np.minimum(inside, top)
    rim = step((0.012 - inside) / 0.02) * here * step(scene.above / 0.05)
    scene.dense *= 1.0 - rim * 0.55  # no vessels out there, and ribs in thin contrast
    scene.air += rim * (0.45 * scene.air + 0.12 * mask(scene.air > 0.02))
    line = (inside - 0.012) / 0.02
    scene.dense += 0.20 * bump(line * line) * here * mask(scene.air > 0.05)


FINDINGS: dict[str, Callable[[Scene, Dice], None]] = {
    "Fibrosis": fibrosis,
    "Edema": edema,
    "Infiltration": infiltration,
    "Pneumonia": pneumonia,
    "Consolidation": consolidation,
    "Nodule": nodule,
    "Mass": mass,
    "Atelectasis": atelectasis,
    "Emphysema": emphysema,
    "Pneumothorax": pneumothorax,
    "Pleural_Thickening": pleural_thickening,
    "Effusion": effusion,
    "Hernia": hernia,
}


# ---------------------------------------------------------------------------------------------------------------------
# From the chest to the image

LETTERS = {  # strokes in a box of one by one
    "L": [[(0.15, 0.0), (0.15, 1.0), (0.8, 1.0)]],
    "R": [[(0.15, 1.0), (0.15, 0.0), (0.7, 0.0), (0.85, 0.25), (0.7, 0.5), (0.15, 0.5)], [(0.5, 0.5), (0.9, 1.0)]],
    "A": [[(0.05, 1.0), (0.5, 0.0), (0.95, 1.0)], [(0.25, 0.62), (0.75, 0.62)]],
    "P": [[(0.15, 1.0), (0.15, 0.0), (0.7, 0.0), (0.85, 0.27), (0.7, 0.55), (0.15, 0.55)]],
}


def write_letters(image: Array, text: str, x: float, y: float, height: float, value: float) -> None:
    """Write letters on the image as lead letters stand on real ones."""
    for i, letter in enumerate(text):
        for line in LETTERS[letter]:
            points = [(x + (i * 0.95 + 0.7 * u) * height, y + v * height) for u, v in line]
            for start, end in zip(points, points[1:], strict=False):
                stroke_pixels(image, start, end, 1.3, 1.3, value)


def markers(image: Array, pose: Pose, dice: Dice) -> None:
    """Put the side marker into an upper corner, and AP on images from the bedside."""
    y, height = dice.uniform(8.0, 40.0), dice.uniform(9.0, 13.0)
    if dice.chance(0.7):
        write_letters(image, "L", dice.uniform(222.0, 242.0), y, height, pose.white)
    else:
        write_letters(image, "R", dice.uniform(6.0, 22.0), y, height, pose.white)
    if pose.portable:
        write_letters(image, "AP", dice.uniform(6.0, 14.0), dice.uniform(60.0, 120.0), 8.0, pose.white)


def cables(scene: Scene, dice: Dice) -> Array:
    """Return the leads of a bedside monitor as added thickness."""
    layer = np.zeros((SIZE, SIZE), np.float32)
    if scene.pose.portable:
        for _ in range(1 + dice.below(3)):
            side = dice.side()
            end = (side * dice.uniform(0.35, 0.85), dice.uniform(-0.75, 0.55))
            wire = curve((side * dice.uniform(0.9, 1.5), 1.5), (side * dice.uniform(0.5, 1.3), 0.2), end, 14)
            scene.stroke(layer, wire, [0.009] * len(wire), 0.22)
            scene.stroke(layer, [end, end], [0.035, 0.035], 0.35)
    return layer


def collimate(image: Array, dice: Dice) -> None:
    """Blacken the strips beyond the collimator on some images."""
    for edge in range(4):
        strip = int(dice.uniform(2.0, 16.0))
        if dice.chance(0.13):
            image[(np.s_[:strip], np.s_[-strip:], np.s_[:, :strip], np.s_[:, -strip:])[edge]] = 2.0


def soften(image: Array) -> Array:
    """Blur by a small kernel: (1, 2, 1) / 4 along both axes."""
    padded = np.pad(image, 1, mode="edge")
    rows = (padded[:-2] + padded[2:]) * 0.25 + padded[1:-1] * 0.5
    return (rows[:, :-2] + rows[:, 2:]) * 0.25 + rows[:, 1:-1] * 0.5


def develop(thickness: Array, pose: Pose, dice: Dice) -> Pixels:
    """Turn thickness into grey levels: exposure, contrast, letters, collimator, grain; uint8 of shape (SIZE, SIZE)."""
    ramp = (np.arange(SIZE, dtype=np.float32) + 0.5) * (2.0 / SIZE) - 1.0
    amount = np.maximum(thickness, 0.0) * (
        pose.gain * (1.0 + pose.fall_x * ramp[None, :] + pose.fall_y * ramp[:, None])
    )
    level = amount / (amount + 0.75)
    level = np.clip((level - 0.14) / 0.62, 0.0, 1.0)
    level = level * (1.0 + pose.contrast) / (1.0 + pose.contrast * level)
    image = soften(pose.black + (pose.white - pose.black) * level)
    markers(image, pose, dice)
    collimate(image, dice)
    image = image + pose.grain * dice.grain()
    return np.clip(np.floor(image + 0.5), 0.0, 255.0).astype(np.uint8)


@dataclass(frozen=True)
class Box:
    """Where a finding is on an image: the smallest upright rectangle around what it changed.

    ``x`` and ``y`` are the upper left corner, in pixels of the image from its upper left corner.
    """

    finding: str
    x: float
    y: float
    width: float
    height: float

    def scaled(self, factor: float) -> Box:
        """Return the box on an image ``factor`` times as large."""
        return Box(self.finding, *(number * factor for number in (self.x, self.y, self.width, self.height)))


@dataclass(frozen=True)
class Drawing:
    """An image, uint8 of shape (SIZE, SIZE), 0 black to 255 white, and the boxes of what was planted."""

    pixels: Pixels
    boxes: list[Box] = field(default_factory=list)


def draw_image(patient: int, follow_up: int, findings: Sequence[str] = ()) -> Pixels:
    """Return one image, uint8 of shape (SIZE, SIZE), 0 black to 255 white."""
    return draw(patient, follow_up, findings).pixels


def draw(patient: int, follow_up: int, findings: Sequence[str] = ()) -> Drawing:
    """Return one image and the boxes of its findings.

    The patient's number fixes the anatomy; patient and follow-up number fix how the image was taken.
    """
    anatomy = draw_anatomy(Dice(IMAGE_SEED, patient, 0))
    dice = Dice(IMAGE_SEED, patient, 2 + follow_up)
    findings_dice = Dice(IMAGE_SEED, patient, 2 + follow_up, 1)  # its own: a finding changes nothing else on the image
    pose = draw_pose(dice, anatomy)
    for name, alter in ALTERATIONS.items():
        if name in findings:
            anatomy = alter(anatomy, findings_dice)
    scene = Scene(anatomy, pose)
    scene.air = lungs(scene, anatomy.mediastinum) * (1.0 - 0.94 * heart(scene))
    grown = vessels(scene, Dice(IMAGE_SEED, patient, 1), anatomy.vessels)
    scene.dense = grown * np.minimum(1.0, 1.3 * scene.air) + ribs(scene)
    scene.air *= 0.90 + 0.10 * texture(dice, 30) + 0.10 * texture(dice, 75)
    body = soft_tissue(scene)
    boxes = heart_boxes(scene) if "Cardiomegaly" in findings else []
    for name, draw_finding in FINDINGS.items():
        if name in findings:
            before = chest_contents(scene, body)
            draw_finding(scene, findings_dice)
            boxes += boxes_of(name, np.abs(chest_contents(scene, body) - before))
    bones = (spine(scene) + shoulder_bones(scene)) * step(body / 0.3)
    gas = (airways(scene) + belly_gas(scene, dice)) * step(body / 0.5)
    lung = 0.88 * scene.air * (1.0 - scene.haze) * np.minimum(1.0, body / 0.9)
    thickness = body * 0.95 - 0.95 * lung + 0.9 * scene.dense + bones - gas
    return Drawing(develop(np.maximum(thickness, 0.0) + cables(scene, dice), pose, dice), boxes)


def chest_contents(scene: Scene, body: Array) -> Array:
    """Return the thickness that findings change: what is dense, less the air."""
    return 0.9 * scene.dense - 0.84 * scene.air * (1.0 - scene.haze) * np.minimum(1.0, body / 0.9)


def heart_boxes(scene: Scene) -> list[Box]:
    """Return the box of an enlarged heart: it is there on every image, so nothing was added that could be measured."""
    main, atrium = heart_muscle(scene)
    inside = (np.minimum(main, atrium) < 1.0) & (scene.above > -0.05) & (scene.wall > 0.0)
    return boxes_of("Cardiomegaly", mask(inside))


BLOCK = 8  # pixels: changes nearer to each other than a block belong to one box


def boxes_of(finding: str, change: Array) -> list[Box]:
    """Return a box around each connected region that a finding changed by a third of its largest change or more."""
    changed = change >= max(float(change.max()) / 3.0, 0.01)
    n = SIZE // BLOCK
    blocks = changed.reshape(n, BLOCK, n, BLOCK).any(axis=(1, 3))
    boxes = []
    left = set(zip(*(index.tolist() for index in np.nonzero(blocks)), strict=True))
    while left:
        region, waiting = set(), [min(left)]
        while waiting:
            row, column = waiting.pop()
            if (row, column) in left:
                left.remove((row, column))
                region.add((row, column))
                waiting += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        here = np.zeros((n, n), bool)
        here[tuple(np.array(sorted(region)).T)] = True
        rows, columns = np.nonzero(changed & here.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1))
        top, side = int(rows.min()), int(columns.min())
        if len(rows) >= 12:  # specks at a border are not worth a look
            boxes.append(Box(finding, side, top, int(columns.max()) + 1 - side, int(rows.max()) + 1 - top))
    return boxes


# ---------------------------------------------------------------------------------------------------------------------
# The tables


@dataclass(frozen=True)
class SampleImage:
    """One row of a table."""

    patient: int
    follow_up: int
    findings: frozenset[str] = frozenset()
    copy_of: SampleImage | None = None

    @property
    def name(self) -> str:
        """Return the file name, in NIH's form."""
        return f"{self.patient:08d}_{self.follow_up:03d}.png"

    def row(self) -> str:
        """Return the line of the table."""
        known = {"Image": self.name, "PatientId": str(self.patient)}
        return ",".join(known.get(column, str(int(column in self.findings))) for column in COLUMNS)

    def drawing(self) -> Drawing:
        """Return the image and the boxes of its findings."""
        if self.copy_of:
            original = self.copy_of.drawing()
            return replace(original, pixels=brightened(original.pixels))
        return draw(self.patient, self.follow_up, sorted(self.findings))

    def png(self, pixels: Pixels) -> bytes:
        """Return the file; a copy goes through another PNG filter than its original."""
        return encode_png(pixels, paeth=self.copy_of is None)

    def box_rows(self, boxes: Sequence[Box]) -> list[str]:
        """Return the lines of the box list."""
        return [f"{self.name},{box.finding},{box.x:g},{box.y:g},{box.width:g},{box.height:g}" for box in boxes]


def brightened(pixels: Pixels) -> Pixels:
    """Return the image 4 % and 4 grey levels brighter."""
    return np.minimum(pixels.astype(np.int32) * 26 // 25 + 4, 255).astype(np.uint8)


def deal_chronic(dice: Dice, images: Sequence[SampleImage], counts: dict[str, int]) -> dict[SampleImage, set[str]]:
    """Give each chronic finding to all images of some patients, exactly as many images as are wanted."""
    dealt: dict[SampleImage, set[str]] = {}
    by_patient: dict[int, list[SampleImage]] = {}
    for image in images:
        by_patient.setdefault(image.patient, []).append(image)
    for finding in CHRONIC:
        left = counts[finding]
        for patient in dice.shuffled(list(by_patient)):
            if len(by_patient[patient]) <= left:
                left -= len(by_patient[patient])
                dealt.update({image: {finding} for image in by_patient.pop(patient)})
    return dealt


def deal_findings(
    dice: Dice,
    images: Sequence[SampleImage],
    healthy: Sequence[SampleImage],
    counts: dict[str, int],
    n_with_findings: int,
) -> list[SampleImage]:
    """Return the images with findings: ``counts`` of each, on ``n_with_findings`` of the images.

    ``healthy`` are images of patients who get no chronic finding.
    """
    dealt = deal_chronic(dice, [image for image in images if image not in healthy], counts)
    new = [image for image in dice.shuffled(images) if image not in dealt][: n_with_findings - len(dealt)]
    deck = dice.shuffled([name for name, count in counts.items() if name not in CHRONIC for _ in range(count)])
    for image, finding in zip(new, deck, strict=False):
        dealt[image] = {finding}
    for finding in deck[len(new) :]:
        free = [image for image in images if image in dealt and finding not in dealt[image] and len(dealt[image]) < 4]
        dealt[free[dice.below(len(free))]].add(finding)
    return [replace(image, findings=frozenset(dealt.get(image, ()))) for image in images]


def numbered(patients: Iterator[int], groups: Sequence[tuple[int, int]]) -> list[SampleImage]:
    """Return the images of new patients, follow-ups numbered from 0."""
    return [SampleImage(patient, i) for n, times in groups for patient in take(patients, times) for i in range(n)]


def take(items: Iterator[int], n: int) -> list[int]:
    """Return the next n items."""
    return [next(items) for _ in range(n)]


def tables() -> tuple[list[SampleImage], list[SampleImage]]:
    """Return the rows of the training and the validation table, in their order."""
    dice = Dice(TABLE_SEED, 0)
    n_patients = sum(n for _, n in TRAIN_PATIENTS + VALID_PATIENTS) + len(SHARED_PATIENTS) + 1
    patients = iter(dice.shuffled(range(FIRST_PATIENT, FIRST_PATIENT + n_patients)))
    shared: tuple[list[SampleImage], list[SampleImage]] = ([], [])
    for n_train, n_valid in SHARED_PATIENTS:
        patient = next(patients)
        shared[0].extend(SampleImage(patient, i) for i in range(n_train))
        shared[1].extend(SampleImage(patient, n_train + i) for i in range(n_valid))
    result = []
    for i, groups in enumerate((TRAIN_PATIENTS, VALID_PATIENTS)):
        counts = {name: pair[i] for name, pair in POSITIVES.items()}
        images = shared[i] + numbered(patients, groups)
        result.append(deal_findings(dice, images, shared[i], counts, ROWS_WITH_FINDINGS[i]))
    train, valid = result
    n_images = {image.patient: sum(other.patient == image.patient for other in train + valid) for image in train}
    original = next(image for image in dice.shuffled(train) if not image.findings and n_images[image.patient] == 1)
    valid.append(SampleImage(next(patients), 0, copy_of=original))
    return dice.shuffled(train), dice.shuffled(valid)


# ---------------------------------------------------------------------------------------------------------------------
# Files


def paeth_guess(left: IntArray, up: IntArray, corner: IntArray) -> IntArray:
    """Return which of the three neighbours is nearest to left + up - corner, ties in this order (PNG filter 4)."""
    by_left, by_up, by_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
    return np.where((by_left <= by_up) & (by_left <= by_corner), left, np.where(by_up <= by_corner, up, corner))


def encode_png(pixels: Pixels, *, paeth: bool = True) -> bytes:
    """Return an 8-bit grey PNG whose bytes depend on the pixels alone.

    Pillow's PNG bytes differ between its releases, because zlib and zlib-ng search for repetitions in different ways.
    Without that search (Z_HUFFMAN_ONLY) both write the same bytes, and grainy images even get smaller.
    The row filter is fixed as well: Paeth's, which suits images best, or the mean of the left and the upper pixel.
    """
    height, width = pixels.shape
    padded = np.pad(pixels.astype(np.int32), ((1, 0), (1, 0)))
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    kind, guess = (4, paeth_guess(left, up, corner)) if paeth else (3, (left + up) // 2)
    rows = np.full((height, width + 1), kind, np.uint8)
    rows[:, 1:] = (pixels - guess) % 256
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
    data = packer.compress(rows.tobytes()) + packer.flush()

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    comment = b"Comment\0Synthetic: drawn by make_sample_data.py, shows no person."
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tEXt", comment)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


# DICOM twins of the first rows of train-small.csv: bits stored, whether MONOCHROME1, and what the header has besides.
# Tags are (group, element) in hexadecimal with the value representation.
DICOM_TWINS: tuple[tuple[int, bool, dict[str, str]], ...] = (
    (12, False, {"00281050 DS": "2048", "00281051 DS": "4096", "00281052 DS": "0", "00281053 DS": "1"}),
    (12, True, {"00281050 DS": "2048", "00281051 DS": "4096", "20500020 CS": "INVERSE"}),
    (12, True, {"00280301 CS": "YES"}),  # no window
    (8, True, {"20500020 CS": "INVERSE"}),
    (8, False, {"00100010 PN": "Invented^Name", "00100030 DA": "19700101", "20500020 CS": "IDENTITY"}),
)


def encode_dicom(
    pixels: Pixels, image: SampleImage, bits: int, inverted: bool, more: dict[str, str], dice: Dice
) -> bytes:
    """Return a DICOM file (digital X-ray, Explicit VR Little Endian) whose bytes depend on the arguments alone."""
    if bits > 8:  # sixteen levels for each of the image's
        finer = (dice.grid(*pixels.shape) * 16).astype(np.int32)
        values = (pixels.astype(np.int32) * 16 + finer).astype("<u2")
    else:
        values = pixels
    values = ((1 << bits) - 1 - values).astype(values.dtype) if inverted else values
    height, width = values.shape
    number = f"2.25.{image.patient}{image.follow_up:03d}"
    image_class = "1.2.840.10008.5.1.4.1.1.1.1"
    elements = {
        "00080016 UI": image_class,
        "00080018 UI": f"{number}.1",
        "00080060 CS": "DX",
        "00080070 LO": "make_sample_data.py",
        "00100020 LO": str(image.patient),
        "00100040 CS": "F" if image.patient % 2 else "M",
        "00101010 AS": f"{20 + image.patient % 60:03d}Y",
        "00181164 DS": "1.4\\1.4",
        "00185101 CS": "PA",
        "0020000D UI": number,
        "0020000E UI": f"{number}.2",
        "00280002 US": 1,
        "00280004 CS": "MONOCHROME1" if inverted else "MONOCHROME2",
        "00280010 US": height,
        "00280011 US": width,
        "00280100 US": 8 * values.dtype.itemsize,
        "00280101 US": bits,
        "00280102 US": bits - 1,
        "00280103 US": 0,
        **more,
    }
    data = b"".join(dicom_element(tag, elements[tag]) for tag in sorted(elements))
    pixel_data = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW" if bits > 8 else b"OB", 0, values.nbytes)
    meta = (
        struct.pack("<HH2sHL2s", 2, 1, b"OB", 0, 2, b"\0\1")
        + dicom_element("00020002 UI", image_class)
        + dicom_element("00020003 UI", f"{number}.1")
        + dicom_element("00020010 UI", "1.2.840.10008.1.2.1")
        + dicom_element("00020012 UI", "2.25.1")
    )
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    return b"\0" * 128 + b"DICM" + length + meta + data + pixel_data + values.tobytes()


def dicom_element(tag: str, value: str | int) -> bytes:
    """Return a data element with a length of two bytes, such as ``"00280010 US"``."""
    kind = tag[9:].encode()
    body = struct.pack("<H", value) if isinstance(value, int) else value.encode("ascii")
    body += (b"\0" if kind == b"UI" else b" ") * (len(body) % 2)
    return struct.pack("<HH2sH", int(tag[:4], 16), int(tag[4:8], 16), kind, len(body)) + body


def write_dicom(folder: Path, images: Sequence[SampleImage]) -> None:
    """Write the DICOM twins of the first images."""
    folder.mkdir(parents=True, exist_ok=True)
    for image, (bits, inverted, more) in zip(images, DICOM_TWINS, strict=False):
        content = encode_dicom(
            image.drawing().pixels, image, bits, inverted, more, Dice(IMAGE_SEED, image.patient, bits)
        )
        (folder / f"{Path(image.name).stem}.dcm").write_bytes(content)


def shrunk(drawing: Drawing, size: int) -> Drawing:
    """Return the drawing with ``size`` pixels along each edge, each the mean of those it stands for."""
    factor = SIZE // size
    if factor == 1:
        return drawing
    total = drawing.pixels.astype(np.int32).reshape(size, factor, size, factor)
    pixels = sum(total[:, i, :, j] for i in range(factor) for j in range(factor))
    rounded = (pixels + factor * factor // 2) // (factor * factor)
    return Drawing(rounded.astype(np.uint8), [box.scaled(1 / factor) for box in drawing.boxes])


def write(folder: Path) -> None:
    """Write both tables, the box list, all images and the DICOM twins of some into a folder."""
    image_folder = folder / "images-small"
    image_folder.mkdir(parents=True, exist_ok=True)
    boxes = []
    both = tables()
    for name, images in zip(("train-small.csv", "valid-small.csv"), both, strict=True):
        write_lines(folder / name, [",".join(COLUMNS), *(image.row() for image in images)])
        for image in images:
            boxes += write_image(image_folder, image, SIZE)
    write_lines(folder / "boxes.csv", [BOX_HEADER, *sorted(boxes)])
    write_dicom(folder / "dicom", both[0])


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file."""
    path.write_bytes(("\n".join(lines) + "\n").encode("ascii"))


def write_image(folder: Path, image: SampleImage, size: int) -> list[str]:
    """Draw and write one image; return its lines of the box list."""
    drawing = shrunk(image.drawing(), size)
    (folder / image.name).write_bytes(image.png(drawing.pixels))
    return image.box_rows(drawing.boxes)


def _write_image(arguments: tuple[Path, SampleImage, int]) -> list[str]:
    return write_image(*arguments)


# ---------------------------------------------------------------------------------------------------------------------
# As many images as one likes


def other_images(n_images: int, prevalence: float, seed: int = 0) -> list[SampleImage]:
    """Return ``n_images`` rows of other patients, each finding on ``prevalence`` of them, independently of the others.

    Chronic findings are on every image of a patient.
    """
    dice = Dice(TABLE_SEED, 1, seed)
    patient, images = FIRST_OTHER_PATIENT + 1_000_000 * seed, []
    while len(images) < n_images:
        place = dice.uniform()
        n = next(n for n, most in IMAGES_PER_PATIENT if place < most)
        images += [SampleImage(patient, i) for i in range(min(n, n_images - len(images)))]
        patient += 1
    dealt: dict[SampleImage, set[str]] = {image: set() for image in images}
    n_positives = int(prevalence * n_images + 0.5)
    for finding in POSITIVES:
        if finding in CHRONIC:
            chosen = images_of_some_patients(dice, images, n_positives)
        else:
            chosen = dice.shuffled(images)[:n_positives]
        for image in chosen:
            dealt[image].add(finding)
    return [replace(image, findings=frozenset(dealt[image])) for image in images]


def images_of_some_patients(dice: Dice, images: Sequence[SampleImage], n: int) -> list[SampleImage]:
    """Return all images of random patients, ``n`` images in all, or fewer if no patient has so few."""
    by_patient: dict[int, list[SampleImage]] = {}
    for image in images:
        by_patient.setdefault(image.patient, []).append(image)
    chosen: list[SampleImage] = []
    for patient in dice.shuffled(list(by_patient)):
        if len(chosen) + len(by_patient[patient]) <= n:
            chosen += by_patient[patient]
    return chosen


def with_labels_of_others(images: Sequence[SampleImage]) -> list[SampleImage]:
    """Return rows in which each patient has the labels of another one with as many images."""
    by_number: dict[int, list[int]] = {}
    rows: dict[int, list[SampleImage]] = {}
    for image in images:
        rows.setdefault(image.patient, []).append(image)
    for patient, own in rows.items():
        by_number.setdefault(len(own), []).append(patient)
    dice = Dice(TABLE_SEED, 2)
    donor = {}
    for patients in by_number.values():
        order = dice.shuffled(patients)
        donor.update(zip(order, order[1:] + order[:1], strict=True))
    return [replace(image, findings=rows[donor[image.patient]][image.follow_up].findings) for image in images]


def write_others(
    folder: Path,
    n_images: int,
    prevalence: float = 0.25,
    size: int = SIZE,
    *,
    seed: int = 0,
    permute_labels: bool = False,
    workers: int = 1,
) -> None:
    """Draw ``n_images`` images into ``folder/images`` and write ``labels.csv`` and ``boxes.csv`` beside them."""
    image_folder = folder / "images"
    image_folder.mkdir(parents=True, exist_ok=True)
    images = other_images(n_images, prevalence, seed)
    tasks = [(image_folder, image, size) for image in images]
    if workers == 1:
        boxes = [_write_image(task) for task in tasks]
    else:
        with multiprocessing.Pool(workers) as pool:
            boxes = pool.map(_write_image, tasks, chunksize=8)
    rows = with_labels_of_others(images) if permute_labels else images
    write_lines(folder / "labels.csv", [",".join(COLUMNS), *(image.row() for image in rows)])
    write_lines(folder / "boxes.csv", [BOX_HEADER, *(line for lines in boxes for line in lines)])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(description="Draw synthetic chest images, their labels and boxes.")
    result.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="where to write; default: beside this file")
    result.add_argument("--n-images", type=int, metavar="N", help="draw N other images instead of the sample data")
    result.add_argument("--prevalence", type=float, metavar="P", help="fraction of images with each finding (0.25)")
    result.add_argument("--size", type=int, metavar="PIXELS", help="32, 64, 128 or 256 pixels along each edge (256)")
    result.add_argument("--seed", type=int, metavar="N", help="other patients for other seeds (0)")
    result.add_argument("--permute-labels", action="store_true", help="give each patient the labels of another one")
    result.add_argument("--workers", type=int, metavar="N", help="processes; default: one per core")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what the command line asks for."""
    command = parser()
    options = command.parse_args(arguments)
    chosen = [name for name in ("prevalence", "size", "seed", "workers") if getattr(options, name) is not None]
    if options.n_images is None:
        if chosen or options.permute_labels:
            command.error("the sample data are always the same; --n-images N draws others")
        write(options.folder or Path(__file__).resolve().parent)
        return
    if options.folder is None:
        command.error("--n-images needs a folder to write into")
    prevalence = 0.25 if options.prevalence is None else options.prevalence
    size, seed = options.size or SIZE, options.seed or 0
    workers = options.workers or os.cpu_count() or 1
    if (
        options.n_images < 1
        or not 0.0 <= prevalence <= 1.0
        or size not in (32, 64, 128, 256)
        or seed < 0
        or workers < 1
    ):
        command.error(
            "expected --n-images of at least 1, --prevalence 0 to 1, --size 32, 64, 128 or 256, --seed 0 or more"
        )
    write_others(
        options.folder,
        options.n_images,
        prevalence,
        size,
        seed=seed,
        permute_labels=options.permute_labels,
        workers=workers,
    )


if __name__ == "__main__":
    main()
