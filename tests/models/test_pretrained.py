import json

import h5py
import numpy as np
import pytest

from cxr_cli.errors import InputError, UsageError, WeightsFileError
from cxr_cli.models.pretrained import load_pretrained
from tests.models.legacy_files import base_arrays, legacy_name, write_legacy

pytestmark = pytest.mark.slow

KERAS2_WITH_HEAD = ["base_and_head.h5", "whole.weights.h5", "model.h5", "model.keras", "nested.h5", "nested.keras"]


@pytest.fixture(scope="module")
def arrays(network):
    return base_arrays(network)


@pytest.fixture(scope="module")
def spoil(arrays, tmp_path_factory):
    """Write a weight file of the base after `change` has been done to its layers."""

    def write(change=lambda layers: None, **options):
        layers = {legacy_name(name): dict(weights) for name, weights in arrays.items()}
        changed = change(layers)
        path = tmp_path_factory.mktemp("weights") / "densenet.HDF5"
        return write_legacy(path, layers if changed is None else changed, **options)

    return write


def refused(network, path, *texts, error=WeightsFileError, **options):
    before = network.get_weights()
    with pytest.raises(error) as caught:
        load_pretrained(network, path, **options)
    message = str(caught.value)
    assert str(path) in message
    for text in texts:
        assert text in message
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), before, strict=True)), "a partial load"
    return message


# ---------------------------------------------------------------------------------------------- what can be loaded


@pytest.mark.parametrize("name", ["base.hdf5", *KERAS2_WITH_HEAD])
def test_files_of_keras_2_give_the_same_forward_pass(network, keras2, name):
    import keras

    numbers = np.load(keras2 / "numbers.npz")
    with_head = name in KERAS2_WITH_HEAD
    loaded = load_pretrained(network, keras2 / name, keep_head=with_head)
    assert (loaded.n_arrays, loaded.n_parameters) == (604, 7_037_504)
    assert loaded.head == ("loaded" if with_head else "none in file")
    assert loaded.n_head_units == (5 if with_head else None)
    assert loaded.matched_by == ("order" if name == "whole.weights.h5" else "name")
    assert not loaded.untrained
    features = keras.Model(network.input, network.get_layer("relu").output)(numbers["images"])
    assert np.abs(np.asarray(features) - numbers["features"]).max() <= 1e-5
    if with_head:
        predictions = np.asarray(network(numbers["images"]))
        assert np.abs(predictions - numbers["predictions"]).max() <= 1e-5


def loads_exactly(network, path, arrays, **expected):
    for weight in network.weights:
        weight.assign(np.zeros(weight.shape))
    loaded = load_pretrained(network, path)
    for name, weights in arrays.items():
        for weight in network.get_layer(name).weights:
            assert np.array_equal(np.asarray(weight), weights[weight.name])
    for attribute, value in expected.items():
        assert getattr(loaded, attribute) == value


def test_names_of_2018(network, spoil, arrays):
    loads_exactly(network, spoil(), arrays, matched_by="name", layout="HDF5 weights", head="none in file")


def test_without_attributes(network, spoil, arrays):
    loads_exactly(network, spoil(attributes=False), arrays, matched_by="name", layout="HDF5 without attributes")


def test_names_made_unique_by_tensorflow_1(network, spoil, arrays):
    names = {legacy_name(name): f"scope/{legacy_name(name)}_1" for name in arrays}
    loads_exactly(network, spoil(inner_names=names), arrays, matched_by="name")


def test_layer_names_in_several_attributes(network, spoil, arrays):
    path = spoil()
    with h5py.File(path, "a") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:100], names[100:]
    loads_exactly(network, path, arrays, matched_by="name")


def test_other_names_are_loaded_by_order(network, spoil, arrays):
    def rename(layers):
        return {f"my_{number}": weights for number, weights in enumerate(layers.values())}

    loads_exactly(network, spoil(rename), arrays, matched_by="order")


def test_files_of_keras_3(network, arrays, tmp_path):
    for name, weights in arrays.items():
        network.get_layer(name).set_weights([weights[weight.name] for weight in network.get_layer(name).weights])
    names = ("model.keras", "w.weights.h5", "model.h5")
    network.save(tmp_path / names[0])
    network.save_weights(tmp_path / names[1])
    network.save(tmp_path / names[2])
    for name in names:
        loads_exactly(network, tmp_path / name, arrays, matched_by="name", head="left out", n_head_units=5)


def test_imagenet_top_is_left_out(network, spoil, arrays):
    def add_top(layers):
        layers["fc1000"] = {"kernel": np.zeros((1024, 1000), np.float32), "bias": np.zeros(1000, np.float32)}

    path = spoil(add_top)
    loads_exactly(network, path, arrays, head="left out", n_head_units=1000)
    refused(network, path, "ImageNet's 1000 classes", "5 pathologies", error=UsageError, keep_head=True)


def test_head_that_is_not_there(network, spoil):
    refused(network, spoil(), "no head to keep", error=UsageError, keep_head=True)


def test_untrained_statistics_are_seen(network, spoil):
    def untrain(layers):
        for weights in layers.values():
            if "moving_mean" in weights:
                weights["moving_mean"] = np.zeros_like(weights["moving_mean"])
                weights["moving_variance"] = np.ones_like(weights["moving_mean"])

    assert load_pretrained(network, spoil(untrain)).untrained


def test_half_precision_is_widened(network, spoil, arrays):
    def halve(layers):
        return {n: {w: a.astype(np.float16) for w, a in weights.items()} for n, weights in layers.items()}

    load_pretrained(network, spoil(halve))
    kernel = arrays["conv5_block1_1_conv"]["kernel"]
    assert np.array_equal(network.get_layer("conv5_block1_1_conv").kernel, kernel.astype(np.float16).astype(np.float32))


# --------------------------------------------------------------------------------------------- what cannot be loaded

TWO = ("conv5_block15_2_conv", "conv5_block16_2_conv")


def test_swapped_groups(network, spoil):
    message = refused(network, spoil(inner_names=dict(zip(TWO, reversed(TWO), strict=True))), "swapped")
    assert TWO[0] in message and TWO[1] in message


def test_swapped_groups_without_attributes(network, spoil):
    refused(network, spoil(attributes=False, inner_names=dict(zip(TWO, reversed(TWO), strict=True))), "swapped")


def test_swapped_order(network, spoil, arrays):
    order = [legacy_name(name) for name in arrays]
    first, second = (order.index(name) for name in TWO)
    order[first], order[second] = order[second], order[first]
    refused(network, spoil(order=order), "where conv5_block15_2_conv belongs")


def test_swapped_names_in_keras_3(network, tmp_path):
    path = tmp_path / "w.weights.h5"
    network.save_weights(path)
    with h5py.File(path, "a") as file:
        one, other = (file[f"layers/conv2d_{number}/vars"].attrs for number in (117, 119))
        one["name"], other["name"] = other["name"], one["name"]
    refused(network, path, "where conv5_block15_2_conv belongs")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(network, spoil, bad):
    def change(layers):
        kernel = layers["pool3_conv"]["kernel"].copy()
        kernel[0, 0, 3, 5] = bad
        layers["pool3_conv"]["kernel"] = kernel

    refused(network, spoil(change), "kernel of layer pool3_conv", "1 of 131,072 values")


def test_overflow_of_double_precision(network, spoil):
    def change(layers):
        layers["bn"]["gamma"] = np.full(1024, 1e300)

    refused(network, spoil(change), "1,024 of 1,024 values")


def test_negative_variance(network, spoil):
    def change(layers):
        layers["bn"]["moving_variance"] = np.full(1024, -1, np.float32)

    refused(network, spoil(change), "moving_variance of layer bn is negative")


def test_integers(network, spoil):
    def change(layers):
        layers["bn"]["gamma"] = np.ones(1024, np.int64)

    refused(network, spoil(change), "type int64")


def test_missing_layers(network, spoil):
    def change(layers):
        for name in (*TWO, "bn"):
            del layers[name]

    refused(network, spoil(change), "lacks 3 of the 241 layers", *TWO)


def test_missing_array(network, spoil):
    def change(layers):
        del layers["bn"]["beta"]

    refused(network, spoil(change), "bn has beta missing instead of (1024,)")


def test_wrong_shapes_are_listed(network, spoil):
    def change(layers):
        for block in range(1, 6):
            layers[f"conv2_block{block}_2_conv"]["kernel"] = np.zeros((3, 3, 128, 16), np.float32)

    message = refused(network, spoil(change), "5 of 241 layers")
    assert "conv2_block1_2_conv has kernel (3, 3, 128, 16) instead of (3, 3, 128, 32)" in message
    assert "conv2_block3_2_conv" in message and "conv2_block4_2_conv" not in message


def test_one_channel(network, spoil):
    def change(layers):
        layers["conv1/conv"]["kernel"] = np.zeros((7, 7, 1, 64), np.float32)

    refused(network, spoil(change), "one channel", "three channels")


def test_theano_axes(network, spoil):
    def change(layers):
        for weights in layers.values():
            if "kernel" in weights:
                weights["kernel"] = weights["kernel"].transpose(3, 2, 0, 1)

    refused(network, spoil(change), "(64, 3, 7, 7)", "Theano")


def test_theano_kernels_are_turned(network, spoil):
    refused(network, spoil(backend="theano"), "turned by 180 degrees")


def test_twice(network, spoil):
    def change(layers):
        layers["tower/bn"] = layers["bn"]

    refused(network, spoil(change), "layer bn more than once")


@pytest.mark.parametrize(
    ("n_convolutions", "n_normalisations", "network_name"),
    [
        (168, 169, "DenseNet169"),
        (200, 201, "DenseNet201"),
        (53, 53, "ResNet50"),
        (13, 0, "VGG16"),
        (53, 49, "ResNet50V2"),
    ],
)
def test_other_networks_by_count(network, tmp_path, n_convolutions, n_normalisations, network_name):
    one = np.ones(1, np.float32)
    layers = {f"c{i}": {"kernel": np.ones((1, 1, 1, 1), np.float32)} for i in range(n_convolutions)}
    normalisation = {"gamma": one, "beta": one, "moving_mean": one, "moving_variance": one}
    layers |= {f"b{i}": normalisation for i in range(n_normalisations)}
    refused(network, write_legacy(tmp_path / "x.h5", layers), f"the weights of {network_name}; expected DenseNet121")


def test_other_networks_by_name(network, tmp_path):
    kernel = {"kernel": np.ones((1, 1, 1, 1), np.float32)}
    layers = {f"block{i}a_expand_conv": kernel for i in range(2, 7)}
    refused(network, write_legacy(tmp_path / "x.h5", layers), "EfficientNet")


def test_unknown_network(network, tmp_path):
    layers = {f"layer_{i}": {"kernel": np.ones((1, 1, 1, 1), np.float32)} for i in range(7)}
    refused(network, write_legacy(tmp_path / "x.h5", layers), "7 of them convolutions", "layer_0, layer_1, layer_2, …")


def test_right_names_of_the_deeper_densenet_do_not_pass(network, spoil):
    def deepen(layers):
        layers.update({f"conv5_block{i}_2_conv": layers["conv5_block16_2_conv"] for i in range(17, 65)})
        normalisation = {w: np.ones(1, np.float32) for w in layers["bn"]}
        layers.update({f"conv5_block{i}_1_bn": normalisation for i in range(17, 65)})

    refused(network, spoil(deepen), "DenseNet169")


def test_file_cut_in_half(network, spoil):
    path = spoil()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(network, path, "is cut off", "again")


def test_keras_file_cut_in_half(network, keras2, tmp_path):
    content = (keras2 / "model.keras").read_bytes()
    path = tmp_path / "model.keras"
    path.write_bytes(content[: len(content) // 2])
    refused(network, path, "is cut off")


def test_flipped_bytes_in_an_archive_are_noticed(network, keras2, tmp_path):
    content = bytearray((keras2 / "model.keras").read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    refused(network, path, "is damaged")


def test_lambda_layer_in_the_configuration(network, spoil):
    path = spoil()
    with h5py.File(path, "a") as file:
        layer = {"class_name": "Lambda", "config": {"name": "scale", "function": ["4wEAAAA=", None, None]}}
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": {"layers": [layer]}})
    refused(network, path, "Lambda layer 'scale'", "refused")


def test_missing_file(network, tmp_path):
    refused(network, tmp_path / "densenet.hdf5", "no such file", error=InputError)


# ------------------------------------------------------------------------------------- plausible and still no weights


def test_names_and_shapes_without_keras_are_those_of_keras(network):
    from cxr_cli.models.densenet import base_layers
    from cxr_cli.services.build_model.densenet121 import base_shapes

    built = {
        layer.name: {weight.name: tuple(weight.shape) for weight in layer.weights}
        for layer in base_layers(network)
        if layer.weights
    }
    assert list(base_shapes().items()) == list(built.items())


WRONG = {
    "zeros": (lambda weight, array: array * 0, "is 0 everywhere"),
    "ones": (lambda weight, array: np.ones_like(array), "not finite"),
    "much too large": (lambda weight, array: array * np.float32(1e30), "not finite"),
    "vanishing in single precision": (
        lambda weight, array: array.astype(np.float64) * 1e-60,
        "is 0 everywhere in single precision",
    ),
    "without variance": (lambda weight, array: array * 0 if weight == "moving_variance" else array, "is 0 everywhere"),
    "without scale": (lambda weight, array: array * 0 if weight == "gamma" else array, "the same for every image"),
}


@pytest.mark.parametrize("name", WRONG)
def test_weights_that_cannot_be_any_are_refused(network, spoil, name):
    change, text = WRONG[name]

    def wrong(layers):
        return {layer: {w: change(w, array) for w, array in weights.items()} for layer, weights in layers.items()}

    refused(network, spoil(wrong), text)


def test_one_kernel_of_extreme_values_is_refused(network, spoil):
    def change(layers):
        layers["conv3_block1_1_conv"]["kernel"] = np.full((1, 1, 128, 128), 1e38, np.float32)

    refused(network, spoil(change), "not finite")


def test_the_last_dense_layer_is_the_head(network, spoil):
    def add(layers):
        layers["dense"] = {"kernel": np.ones((1024, 256), np.float32), "bias": np.zeros(256, np.float32)}
        layers["dense_1"] = {"kernel": np.ones((256, 14), np.float32), "bias": np.zeros(14, np.float32)}

    path = spoil(add)
    assert load_pretrained(network, path).n_head_units == 14
    refused(network, path, "14 units", "5 pathologies", error=UsageError, keep_head=True)

    def add_fitting(layers):
        add(layers)
        layers["dense_1"] = {"kernel": np.ones((256, 5), np.float32), "bias": np.zeros(5, np.float32)}

    refused(network, spoil(add_fitting), "1024 → 256 → 5", error=UsageError, keep_head=True)
