from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from cxr_cli.data.boxes import read_boxes
from cxr_cli.data.files import Outputs
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.explain.frame import box_frame
from cxr_cli.services.explain.gather import ExplainOptions
from cxr_cli.services.explain.gather import explain_images as explain

SIDE = 64
NAMES = ("Mass", "Nodule")


class Drawn:
    """Images with one bright spot each, and the box around it."""

    def __init__(self, n_images=24, size=(SIDE, SIDE), seed=0):
        dice = np.random.default_rng(seed)
        self.names = [f"{number // 2:08}_{number % 2:03}.png" for number in range(n_images)]
        self.patients = [str(number // 2) for number in range(n_images)]
        self.sizes = [size] * n_images
        self.labels = np.tile(np.float32([1, np.nan]), (n_images, 1))
        self.corners = [(int(dice.integers(0, size[1] - 16)), int(dice.integers(0, size[0] - 16))) for _ in self.names]
        self.asked = []
        self.failures = {}

    def pixels(self, place):
        image = np.zeros(self.sizes[place], np.float32)
        x, y = self.corners[place]
        image[y : y + 16, x : x + 16] = 1
        return image

    def batches(self, places, size):
        for start in range(0, len(places), size):
            part = places[start : start + size]
            self.asked.append(len(part))
            yield part, np.repeat(np.stack([self.pixels(place) for place in part])[..., None], 3, -1)

    def grey(self, place):
        return self.pixels(place)

    def box_list(self, folder, scale=1.0, pathology="Mass"):
        rows = [
            f"{name},{pathology},{x * scale:g},{y * scale:g},{16 * scale:g},{16 * scale:g}"
            for name, (x, y) in zip(self.names, self.corners, strict=True)
        ]
        (folder / "boxes.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n" + "\n".join(rows) + "\n")
        return read_boxes(folder / "boxes.csv", NAMES)


def detector(size=(SIDE, SIDE), sign=1.0):
    """A network with known filters: its first output sums what is bright, or what is dark."""
    images = keras.Input((*size, 3))
    maps = keras.layers.Conv2D(2, 4, strides=4, name="filters")(images)
    dense = keras.layers.Dense(2, activation="sigmoid")
    model = keras.Model(images, dense(keras.layers.GlobalAveragePooling2D()(maps)))
    model.get_layer("filters").kernel.assign(np.full((4, 4, 3, 2), 1 / 48))
    dense.kernel.assign([[sign, -sign], [sign, -sign]])
    return model


def run(images, boxes=None, model=None, **options):
    return explain(
        model or detector(images.sizes[0]),
        images,
        model_path="m.keras",
        pathologies=NAMES,
        boxes=boxes,
        options=ExplainOptions(**{"n_draws": 200, "pathologies": ("Mass",), **options}),
    )


def control(result, name):
    (row,) = result.localization
    return next(item for item in row.controls if item.map == name)


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (48, 128)])
def test_a_detector_of_spots_is_on_the_spot(tmp_path, size):
    images = Drawn(size=size)
    result = run(images, images.box_list(tmp_path)).result
    model = control(result, "model")
    assert model.pointing_game.value == 1 and model.found_at["0.5"].value == 1 and model.false_boxes.value == 0
    assert model.mass_inside.value > 0.6  # the map's cells are coarser than the spot
    (row,) = result.localization
    assert (row.n_images, row.n_patients, row.n_boxes) == (24, 12, 24)
    assert row.verdict == "points better than the centre prior" and row.above_prior.low > 0
    assert result.shows_nothing == () and result.method == "cam"
    for name in ("random", "prior"):
        assert control(result, name).mass_inside.high < model.mass_inside.low


def test_a_detector_of_the_opposite_shows_nothing(tmp_path):
    images = Drawn()
    result = run(images, images.box_list(tmp_path), detector(sign=-1.0)).result
    assert result.shows_nothing == ("Mass",)
    assert control(result, "model").pointing_game.value == 0
    few = Drawn(6)
    assert run(few, few.box_list(tmp_path)).result.localization[0].verdict == "too few patients to say"


def test_boxes_of_originals_are_scaled_and_said(tmp_path):
    images = Drawn()
    own = run(images, images.box_list(tmp_path)).result
    original = run(images, images.box_list(tmp_path, scale=16)).result
    assert own.box_frame is None and original.box_frame == (1024, 1024)
    assert original.localization == own.localization
    assert any("1024 × 1024 originals" in issue for issue in original.issues)
    named = run(images, images.box_list(tmp_path, scale=40), box_frame=(2560, 2560)).result
    assert named.localization == own.localization


def test_same_seed_same_result_whatever_the_batch(tmp_path):
    images = Drawn()
    boxes = images.box_list(tmp_path)
    one, other = (run(images, boxes, batch_size=size).result.to_dict() for size in (5, 24))
    assert json.dumps(one) == json.dumps(other)
    assert json.dumps(run(images, boxes, seed=1).result.to_dict()) != json.dumps(one)


def test_without_boxes_maps_are_shown_and_the_field_is_checked():
    images = Drawn(6)
    images.corners = [(0, 0)] * 3 + [(24, 24)] * 3
    found = run(images, n_images=2)
    assert len(found.sheet) == 2 and found.result.localization == () and found.result.n_boxes == 0
    (shortcut,) = found.result.shortcuts
    assert shortcut.n_images == 6 and shortcut.flat_outside == pytest.approx(1 - 0.8 * 0.84, abs=0.02)
    assert np.isnan(shortcut.expected_outside)
    assert [row.image for row in found.result.outside[:3]] == images.names[:3]
    assert found.result.outside[0].outside_field > 0.5 > found.result.outside[-1].outside_field
    assert found.outside[0].grey.shape == (SIDE, SIDE)


def test_maps_are_written_at_the_size_of_the_image(tmp_path):
    images = Drawn(4)
    options = ExplainOptions(n_images=2, save_maps=True, pathologies=("Mass",))
    found = explain(
        detector(), images, model_path="m", pathologies=NAMES, options=options, outputs=Outputs(tmp_path / "out")
    )
    for item in found.result.shown:
        heat = np.load(item.map, allow_pickle=False)
        assert heat.shape == (SIDE, SIDE) and heat.dtype == np.float32
        x, y = images.corners[images.names.index(item.image)]
        assert heat[y : y + 16, x : x + 16].max() == heat.max()


def test_only_images_with_boxes_are_computed_and_a_limit_is_said(tmp_path):
    images = Drawn(10)
    boxes = images.box_list(tmp_path)
    half = dataclasses.replace(boxes, images=boxes.images[:4], pathologies=boxes.pathologies[:4], boxes=boxes.boxes[:4])
    result = run(images, half).result
    assert result.n_images == 4 and "6 images without boxes were left out" in result.issues
    images.asked.clear()
    result = run(images, limit=3).result
    assert sum(images.asked) == 3 and "3 of 10 images were drawn at random" in result.issues


def test_what_does_not_fit_is_refused(tmp_path):
    images = Drawn(4)
    with pytest.raises(UsageError, match="no pathology Hernia"):
        run(images, pathologies=("Hernia",))
    boxes = images.box_list(tmp_path, pathology="Effusion")
    with pytest.raises(InputError, match="no box on the images given is of Mass"):
        run(images, boxes)
    foreign = dataclasses.replace(boxes, images=("x.png",) * 4)
    with pytest.raises(InputError, match="none of its 1 images"):
        run(images, foreign)


def test_frames(tmp_path):
    images = Drawn(4)
    boxes = images.box_list(tmp_path)
    sizes = dict(zip(images.names, images.sizes, strict=True))
    assert box_frame(boxes, sizes, None) == (None, None)
    # One image of the size of a small copy, the list of the originals: the whole list decides.
    reaching = dataclasses.replace(boxes, boxes=boxes.boxes + np.array([[0] * 4] * 3 + [[900, 0, 0, 0]]))
    assert box_frame(reaching, {images.names[0]: (SIDE, SIDE)}, None)[0] == (1024, 1024)
    with pytest.raises(InputError, match="belong to 1024 × 1024"):
        box_frame(reaching, {images.names[0]: (64, 48)}, None)
    others = dataclasses.replace(reaching, images=("a.png", "b.png", "c.png", "d.png"))
    with pytest.raises(InputError, match="beyond the images"):
        box_frame(others, {"a.png": (SIDE, SIDE)}, None)
