import numpy as np
import pytest

from cxr_cli.errors import UsageError
from cxr_cli.models.densenet import base_layers, build_densenet, compile_densenet, freeze
from cxr_cli.services.build_model.options import first_trainable_block

pytestmark = pytest.mark.slow


def numbers(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_flat_with_one_sigmoid_per_pathology(network):
    assert len(base_layers(network)) == 427
    assert len(network.layers) == 429
    assert network.input_shape == (None, 128, 128, 3)
    assert network.output_shape == (None, 5)
    assert network.layers[-2].output.shape == (None, 1024)
    assert network.layers[-1].activation.__name__ == "sigmoid"


def test_published_numbers_of_parameters(network):
    freeze(network, "base")
    assert numbers(network.trainable_weights) == 5125
    assert numbers(network.non_trainable_weights) == 7_037_504
    freeze(network, "none")
    assert numbers(network.trainable_weights) == 6_953_856 + 5125
    assert numbers(network.non_trainable_weights) == 83_648


@pytest.mark.parametrize(
    ("scheme", "first_trainable", "last_frozen"),
    [
        ("all-but-last-1-blocks", "conv5_block1_0_bn", "pool4_pool"),
        ("all-but-last-1-block", "conv5_block1_0_bn", "pool4_pool"),
        ("all-but-last-2-blocks", "conv4_block1_0_bn", "pool3_pool"),
        ("all-but-last-3-blocks", "conv3_block1_0_bn", "pool2_pool"),
        ("all-but-last-4-blocks", "conv2_block1_0_bn", "pool1"),
    ],
)
def test_freezing_cuts_between_blocks(network, scheme, first_trainable, last_frozen):
    freeze(network, scheme)
    layers = {layer.name: layer.trainable for layer in network.layers}
    names = list(layers)
    cut = names.index(first_trainable)
    assert names[cut - 1] == last_frozen
    assert not any(layers[name] for name in names[:cut])
    assert all(layers[name] for name in names[cut:])


@pytest.mark.parametrize("scheme", ["all", "all-but-last-5-blocks", "all-but-last-0-blocks", "last-2", "", "Base"])
def test_unknown_freezing_is_refused(scheme):
    with pytest.raises(UsageError, match="all-but-last-N-blocks"):
        first_trainable_block(scheme)


def test_freezing_recompiles_and_frozen_statistics_stay(network):
    random = np.random.default_rng(0)
    images = random.normal(size=(4, 128, 128, 3)).astype(np.float32)
    labels = random.integers(0, 2, (4, 5)).astype(np.float32)
    freeze(network, "base")
    compile_densenet(network, "binary_crossentropy", learning_rate=0.01)
    before = network.get_weights()
    network.run_eagerly = True  # compiling the training function takes longer than one step without it
    network.train_on_batch(images, labels)
    after = zip(network.weights, network.get_weights(), before, strict=True)
    changed = [weight.path for weight, new, old in after if not np.array_equal(new, old)]
    assert changed == ["predictions/kernel", "predictions/bias"]

    freeze(network, "all-but-last-1-blocks")
    assert network.compiled
    network.train_on_batch(images, labels)
    frozen = [layer for layer in base_layers(network) if not layer.name.startswith(("conv5", "bn", "relu"))]
    n_frozen = sum(len(layer.weights) for layer in frozen)
    now = network.get_weights()
    assert all(np.array_equal(new, old) for new, old in zip(now[:n_frozen], before[:n_frozen], strict=True))
    assert not any(np.array_equal(new, old) for new, old in zip(now[n_frozen:], before[n_frozen:], strict=True))


def test_too_small_an_image_is_refused():
    with pytest.raises(UsageError, match="at least 32 pixels"):
        build_densenet(["Mass"], (320, 31))


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_learning_rate_is_refused(network, rate):
    with pytest.raises(UsageError, match="learning_rate"):
        compile_densenet(network, "binary_crossentropy", learning_rate=rate)


def test_seed_decides_the_weights_whatever_the_settings():
    import keras

    # A machine's configuration file must not decide what is built.
    keras.config.set_image_data_format("channels_first")
    try:
        one = build_densenet(["Mass"], (32, 48), seed=1)
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
    keras.utils.set_random_seed(5)
    two = build_densenet(["Mass"], (32, 48), seed=1, mixed_precision=True)
    assert two.input_shape == (None, 32, 48, 3)
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
    assert two.get_layer("conv5_block1_1_conv").compute_dtype == "float16"
    assert two.layers[-1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_seeds_and_layers_differ(network):
    kernels = [np.asarray(network.get_layer(f"conv5_block{i}_2_conv").kernel) for i in (15, 16)]
    assert not np.array_equal(*kernels)
