from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.check_leakage.frames import inside_frame
from tests.drawn_images import image_pixels


@given(st.tuples(*[st.integers(0, 40)] * 4), st.sampled_from([0, 90, 255]), st.booleans())
def test_what_is_inside_a_frame_is_the_image(widths, grey, wide):
    # No outer line of a drawn image is even, so that the frame is all that goes.
    image = image_pixels(3, 96)
    top, bottom, left, right = widths
    framed = np.pad(image, ((top, bottom), (left, right)), constant_values=grey)
    if wide:
        framed, image = framed.astype(np.uint16) * 257, image.astype(np.uint16) * 257
    inside = inside_frame(framed, 65535 if wide else 255)
    narrow = top + bottom < framed.shape[0] / 64 and left + right < framed.shape[1] / 64
    assert inside is None if narrow else np.array_equal(inside, image)


def test_noise_of_jpeg_is_part_of_a_frame():
    random = np.random.default_rng(0)
    framed = np.pad(image_pixels(3, 96), 12)
    framed[:12] += random.integers(0, 5, (12, 120), dtype=np.uint8)
    assert inside_frame(framed, 255).shape == (96, 96)


@pytest.mark.parametrize("image", [np.zeros((50, 50), np.uint8), np.eye(50, dtype=np.uint8) * 255])
def test_an_even_image_and_one_without_frame_have_no_inside(image):
    assert inside_frame(image, 255) is None


def test_a_spot_in_an_empty_image_is_not_an_inside():
    image = np.zeros((100, 100), np.uint8)
    image[50:55, 50:55] = 200
    assert inside_frame(image, 255) is None
