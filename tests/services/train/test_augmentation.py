import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.errors import UsageError
from cxr_cli.services.train.augmentation import Ranges, Transform, apply_transform, random_transform

IMAGE = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8


def test_nothing_changes_nothing():
    np.testing.assert_array_equal(apply_transform(IMAGE, Transform()), IMAGE)


def test_flip_and_shift_by_hand():
    np.testing.assert_array_equal(apply_transform(IMAGE, Transform(flip=True)), IMAGE[:, ::-1])
    left = apply_transform(IMAGE, Transform(shift_x=2))
    np.testing.assert_array_equal(left[:, :4], IMAGE[:, 2:])
    np.testing.assert_array_equal(left[:, 4], IMAGE[:, 5])  # the edge is repeated
    np.testing.assert_array_equal(apply_transform(IMAGE, Transform(shift_y=1))[:4], IMAGE[1:])


def test_half_turn_and_half_pixel():
    square = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(apply_transform(square, Transform(rotation=180)), square[::-1, ::-1], atol=1e-4)
    assert apply_transform(square, Transform(shift_x=0.5))[0, 0] == pytest.approx(0.5)


@given(seed=st.integers(0, 2**32), rotation=st.floats(0, 180), shift=st.floats(0, 0.9), zoom=st.floats(0, 0.9))
def test_random_transforms_stay_in_range_and_make_no_new_values(seed, rotation, shift, zoom):
    ranges = Ranges(rotation, shift, zoom)
    drawn = random_transform(ranges, IMAGE.shape, np.random.default_rng(seed))
    assert abs(drawn.rotation) <= rotation
    assert abs(drawn.shift_x) <= shift * 6
    assert abs(drawn.shift_y) <= shift * 5
    made = apply_transform(IMAGE, drawn)
    assert made.shape == IMAGE.shape
    assert made.min() >= IMAGE.min() - 1e-3
    assert made.max() <= IMAGE.max() + 1e-3


def test_bad_ranges():
    with pytest.raises(UsageError, match="out of bounds"):
        Ranges(zoom=1.5)


@pytest.mark.slow
def test_same_as_image_data_generator(tmp_path):
    pytest.importorskip("scipy", reason="ImageDataGenerator's transformations need SciPy")
    cases = [
        {"theta": 7.5},
        {"tx": 3.3, "ty": -2.1},
        {"zx": 0.8, "zy": 1.15},
        {"theta": -12, "tx": 4, "ty": 1.5, "zx": 1.1, "zy": 0.93, "flip_horizontal": True},
    ]
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape).astype(np.float32) for shape in ((32, 32), (24, 40))]
    for number, image in enumerate(images):
        np.save(tmp_path / f"image{number}.npy", image)
    code = f"""
import numpy as np, tensorflow as tf
generator = tf.keras.preprocessing.image.ImageDataGenerator(fill_mode="nearest")
for number in range({len(images)}):
    image = np.load(f"image{{number}}.npy")[..., None]
    for case, parameters in enumerate({cases!r}):
        np.save(f"made{{number}}-{{case}}.npy", generator.apply_transform(image, dict(parameters))[..., 0])
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    names = {"theta": "rotation", "tx": "shift_x", "ty": "shift_y", "zx": "zoom_x", "zy": "zoom_y"}
    for number, image in enumerate(images):
        for case, parameters in enumerate(cases):
            ours = Transform(**{names.get(name, "flip"): value for name, value in parameters.items()})
            expected = np.load(tmp_path / f"made{number}-{case}.npy")
            np.testing.assert_allclose(apply_transform(image, ours), expected, atol=2e-3)
