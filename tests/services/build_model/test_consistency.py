import numpy as np
import pytest

from cxr_cli.errors import WeightsFileError
from cxr_cli.models.densenet import base_layers, freeze
from cxr_cli.models.pretrained import load_pretrained
from cxr_cli.services.build_model.consistency import find_exchanged, mean_after_relu
from tests.models.legacy_files import base_arrays, write_legacy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(network, sample_data):
    """Return the weights of a network whose batch normalisations have seen films, its scales and shifts random."""
    import keras

    from cxr_cli.data.images import read_gray
    from cxr_cli.services.images.resize import resize

    paths = sorted((sample_data / "images-small").glob("*.png"))[:12]
    films = np.stack([resize(read_gray(path).pixels, (128, 128)) for path in paths]).astype(np.float32)
    films = (films - films.mean(axis=(1, 2), keepdims=True)) / films.std(axis=(1, 2), keepdims=True)
    random = np.random.default_rng(6)
    freeze(network, "none")
    normalisations = [item for item in network.layers if isinstance(item, keras.layers.BatchNormalization)]
    for layer in base_layers(network):
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(random.normal(size=layer.kernel.shape) / np.sqrt(np.prod(layer.kernel.shape[:3])))
    momentum = normalisations[0].momentum
    for layer in normalisations:
        layer.momentum = 0.0  # the statistics of this batch are the moving statistics
        layer.gamma.assign(random.uniform(0.3, 1.5, layer.gamma.shape))
        layer.beta.assign(random.normal(0, 0.3, layer.beta.shape))
    network(np.repeat(films[..., None], 3, axis=3), training=True)
    for layer in normalisations:
        layer.momentum = momentum
    return {
        layer.name: {weight.name: np.asarray(weight) for weight in layer.weights}
        for layer in base_layers(network)
        if layer.weights
    }


def exchange(weights, one, other, *names):
    changed = {name: dict(arrays) for name, arrays in weights.items()}
    for name in names or weights[one]:
        changed[one][name], changed[other][name] = weights[other][name], weights[one][name]
    return changed


def test_a_whole_network_passes(trained):
    assert find_exchanged(trained) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("conv5_block15_2_conv", "conv5_block16_2_conv"),
        ("conv2_block1_2_conv", "conv4_block20_2_conv"),
        ("conv3_block5_1_conv", "conv4_block1_1_conv"),
        ("conv2_block3_1_bn", "conv5_block9_1_bn"),
        ("conv4_block11_1_bn", "conv4_block12_1_bn"),
    ],
)
def test_every_exchange_is_found(trained, one, other):
    assert find_exchanged(exchange(trained, one, other)) == (one, other)


def test_nothing_can_be_told_without_training(network, trained):
    arrays = base_arrays(network)
    assert find_exchanged(arrays) is None
    assert find_exchanged(exchange(arrays, "conv5_block15_2_conv", "conv5_block16_2_conv")) is None
    untrained = {
        name: {weight: np.zeros_like(array) if weight == "moving_mean" else array for weight, array in arrays.items()}
        for name, arrays in trained.items()
    }
    assert find_exchanged(untrained) is None
    assert find_exchanged({}) is None


def test_a_file_with_exchanged_bytes_is_refused(network, trained, tmp_path):
    whole = write_legacy(tmp_path / "whole.h5", trained)
    assert load_pretrained(network, whole).n_arrays == 604
    before = network.get_weights()
    swapped = exchange(trained, "conv5_block15_2_conv", "conv5_block16_2_conv")
    with pytest.raises(WeightsFileError, match="arrays of conv5_block15_2_conv and conv5_block16_2_conv were swapped"):
        load_pretrained(network, write_legacy(tmp_path / "swapped.h5", swapped))
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), before, strict=True))


def test_mean_after_relu_is_what_sampling_gives():
    random = np.random.default_rng(1)
    gamma, beta = np.array([1.0, -0.7, 2.0, 1e-9]), np.array([0.5, -1.0, 3.0, -0.2])
    sampled = np.maximum(gamma * random.normal(size=(400_000, 4)) + beta, 0).mean(axis=0)
    assert mean_after_relu(gamma, beta) == pytest.approx(sampled, abs=5e-3)
