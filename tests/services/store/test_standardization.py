import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr_cli.choices import Standardization, choices
from cxr_cli.errors import UsageError
from cxr_cli.services.images.pixels import sum_pixels
from cxr_cli.services.store.standardization import EPSILON, Statistics, mean_and_std, standardize, values_after

IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)))
STATISTICS = Statistics(100.0, 50.0, 10, 1000)


def samplewise(levels):
    return standardize(levels, "samplewise", *mean_and_std("samplewise", sum_pixels(levels, 255), None))


def test_by_hand():
    # mean 4, standard deviation 2
    made = samplewise(np.array([[2, 4], [4, 6], [2, 6]], np.uint8)[:2])
    expected = (np.array([[2, 4], [4, 6]]) - 4) / (np.sqrt(2) + 1e-6)
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    assert made.dtype == np.float32


def test_featurewise_by_hand():
    made = standardize(np.array([[0, 100, 150]], np.uint8), "featurewise", 100.0, 50.0)
    np.testing.assert_allclose(made, [[-2, 0, 1]], rtol=1e-6)


def test_imagenet_by_hand():
    made = standardize(np.array([[255]], np.uint8), "imagenet")
    expected = [[[(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]]]
    np.testing.assert_allclose(made, expected, rtol=1e-6)


def test_torchxrayvision_by_hand():
    made = standardize(np.array([[0, 51, 255]], np.uint8), "torchxrayvision")
    np.testing.assert_allclose(made, [[-1024.0, -614.4, 1024.0]], rtol=1e-6)


def test_none_keeps_grey_levels():
    levels = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(standardize(levels, "none"), [[0.0, 255.0]])


@given(IMAGES)
def test_samplewise_has_mean_0_and_deviation_1(levels):
    made = samplewise(levels).astype(np.float64)
    assert made.mean() == pytest.approx(0, abs=1e-4)
    if np.ptp(levels):
        assert made.std() == pytest.approx(1, abs=1e-4)
    else:
        assert (made == 0).all()  # a constant image


@given(IMAGES, st.floats(0.05, 1), st.floats(0, 20))
def test_samplewise_does_not_see_brightness_and_contrast(levels, factor, offset):
    assume(levels.std() > 1)
    changed = (levels * factor + offset).astype(np.float32)
    # 1e-6 is added to the deviation, which is 0.05 and more here.
    np.testing.assert_allclose(samplewise(changed), samplewise(levels), atol=1e-3)


@given(IMAGES, st.sampled_from(choices(Standardization)))
def test_summary_of_the_values_needs_no_look_at_them(levels, scheme):
    sums = sum_pixels(levels, 255)
    made = standardize(levels, scheme, *mean_and_std(scheme, sums, STATISTICS)).astype(np.float64)
    told = values_after(scheme, sums, STATISTICS)
    assume(scheme != "samplewise" or np.ptp(levels))
    assert told.minimum == pytest.approx(made.min(), rel=1e-5, abs=1e-5)
    assert told.maximum == pytest.approx(made.max(), rel=1e-5, abs=1e-5)
    assert told.mean == pytest.approx(made.mean(), rel=1e-5, abs=1e-4)
    assert told.std == pytest.approx(made.std(), rel=1e-5, abs=1e-4)


@given(hnp.arrays(np.uint8, (3, 4, 5)), st.sampled_from(choices(Standardization)))
def test_several_at_once_are_as_one_by_one(images, scheme):
    pairs = [mean_and_std(scheme, sum_pixels(image, 255), STATISTICS) for image in images]
    means, stds = np.array(pairs).T[:, :, None, None]
    one_by_one = np.stack([standardize(image, scheme, *pair) for image, pair in zip(images, pairs, strict=True)])
    np.testing.assert_array_equal(standardize(images, scheme, means, stds), one_by_one)


def test_featurewise_needs_statistics():
    with pytest.raises(UsageError, match="needs the statistics of the training table"):
        mean_and_std("featurewise", sum_pixels(np.zeros((1, 1), np.uint8), 255), None)


def test_epsilon_is_keras_own():
    assert EPSILON == 1e-6
