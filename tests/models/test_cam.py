from __future__ import annotations

import keras
import numpy as np
import pytest

from cxr_cli.errors import InputError, UsageError
from cxr_cli.models.cam import mapper


def spot_detector(size, head="exact"):
    """Two outputs: the first sums what is bright, the second is against it."""
    images = keras.Input((*size, 3))
    features = keras.layers.AveragePooling2D(4, name="features")(images)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    if head == "hidden":
        pooled = keras.layers.Dense(2, activation="relu", kernel_initializer="ones")(pooled)
    dense = keras.layers.Dense(2, activation="sigmoid", name="predictions")
    model = keras.Model(images, dense(keras.layers.Dropout(0.5)(pooled)))
    width = dense.kernel.shape[0]
    dense.kernel.assign(np.tile([[1.0, -1.0]], (width, 1)))
    dense.bias.assign([0.5, 0.0])
    return model


def spot(size, row, column):
    image = np.zeros((1, *size, 3), np.float32)
    image[0, row : row + 4, column : column + 4] = 1
    return image


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (48, 80)])
def test_the_map_is_on_the_spot_whatever_the_size(size):
    maps, probabilities = mapper(spot_detector(size))(spot(size, size[0] - 8, 4))
    assert maps.shape == (1, 2, size[0] // 4, size[1] // 4) and probabilities.shape == (1, 2)
    assert np.unravel_index(maps[0, 0].argmax(), maps.shape[2:]) == (size[0] // 4 - 2, 1)
    assert maps[0, 1].max() == 0


def test_the_mean_of_the_map_and_the_bias_are_the_logit():
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    found = mapper(spot_detector((32, 32)))
    maps, probabilities = found(images)
    logits = maps.mean(axis=(2, 3)) + [0.5, 0.0]
    assert found.method == "cam"
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), probabilities, rtol=1e-5)


def test_grad_cam_is_used_where_cam_is_not_exact():
    model = spot_detector((32, 32), head="hidden")
    found = mapper(model)
    assert found.method == "grad-cam"
    maps, _ = found(spot((32, 32), 8, 16))
    assert np.unravel_index(maps[0, 0].argmax(), (8, 8)) == (2, 4) and maps.min() >= 0
    with pytest.raises(UsageError, match="global average pooling"):
        mapper(model, "cam")


def test_grad_cam_agrees_with_the_positive_part_of_cam():
    model = spot_detector((32, 32))
    images = np.abs(np.random.default_rng(1).normal(size=(2, 32, 32, 3))).astype(np.float32)
    exact, _ = mapper(model, "cam")(images)
    gradient, _ = mapper(model, "grad-cam")(images)
    np.testing.assert_allclose(gradient[:, 0] * 64, np.clip(exact[:, 0], 0, None), rtol=1e-4)


def test_densenet(network):
    found = mapper(network)
    images = np.random.default_rng(2).normal(size=(2, 128, 128, 3)).astype(np.float32)
    maps, probabilities = found(images)
    assert found.method == "cam" and maps.shape == (2, 5, 4, 4) == (2, 5, *found.map_size)
    bias = network.get_layer("predictions").bias.numpy()
    expected = 1 / (1 + np.exp(-(maps.mean(axis=(2, 3)) + bias)))
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)
    np.testing.assert_allclose(probabilities, network.predict(images, verbose=0), rtol=1e-4)


def test_a_model_without_feature_maps():
    images = keras.Input((4,))
    model = keras.Model(images, keras.layers.Dense(1)(images))
    with pytest.raises(InputError, match="feature maps"):
        mapper(model)
