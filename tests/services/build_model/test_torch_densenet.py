from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxr_cli.data.torch_checkpoint import Checkpoint
from cxr_cli.errors import UsageError, WeightsFileError
from cxr_cli.models.densenet import build_densenet
from cxr_cli.models.pretrained import load_pretrained
from cxr_cli.services.build_model.torch_densenet import KERAS_EPSILON, TORCH_EPSILON, arrange
from tests.helpers import load_script

ROOT = Path(__file__).parents[3]
EXPECTED = np.load(ROOT / "tests" / "fixtures" / "torch" / "expected.npz")


@pytest.fixture(scope="module")
def script():
    return load_script(ROOT / "benchmarks" / "torch_agreement.py")


@pytest.fixture(scope="module")
def weights(script):
    return {n_channels: script.random_state_dict(n_channels) for n_channels in (1, 3)}


def checkpoint(arrays) -> Checkpoint:
    return Checkpoint(Path("weights.pt"), "test", dict(arrays))


@pytest.mark.slow
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("size", [224, 225])
def test_outputs_agree_with_those_that_pytorch_computed(script, weights, tmp_path, n_channels, size):
    script.write_safetensors(tmp_path / "w.safetensors", weights[n_channels])
    outputs = script.keras_outputs(tmp_path / "w.safetensors", script.random_images(n_channels, size))
    np.testing.assert_allclose(outputs, EXPECTED[f"{n_channels}-{size}"], atol=2e-5)


def test_epsilons_give_the_same_quotient(weights):
    layer = arrange(checkpoint(weights[3])).layers["conv1_bn"]
    arrays = {name.rpartition(".")[2]: array for name, array in weights[3].items() if ".norm0." in name}
    variance = arrays["running_var"].astype(float)
    assert variance.min() < 1e-3
    ours = layer["gamma"] / np.sqrt(layer["moving_variance"].astype(float) + KERAS_EPSILON)
    np.testing.assert_allclose(ours, arrays["weight"] / np.sqrt(variance + TORCH_EPSILON), rtol=2e-7)


def test_kernels_by_hand(weights):
    arranged = arrange(checkpoint(weights[3]))
    kernel = weights[3]["features.denseblock2.denselayer7.conv2.weight"]
    assert arranged.layers["conv3_block7_2_conv"]["kernel"][1, 2, 5, 9] == kernel[9, 5, 1, 2]
    assert arranged.head[0][17, 3] == weights[3]["classifier.weight"][3, 17]


def test_stem_of_one_channel_takes_grey_images_given_three_times(weights):
    arranged = arrange(checkpoint(weights[1]))
    assert arranged.n_channels == 1
    kernel = arranged.layers["conv1_conv"]["kernel"]
    np.testing.assert_allclose(
        kernel.sum(axis=2), weights[1]["features.conv0.weight"][:, 0].transpose(1, 2, 0), rtol=1e-6
    )


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: f"module.{name}",
        lambda name: f"module.densenet121.{name}",
        lambda name: name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2.").replace(".norm2.", ".norm.2."),
        lambda name: name.replace("classifier.", "classifier.0."),
        lambda name: name.replace("layer1.norm1", "layer1.layers.norm1").replace("classifier", "class_layers.out"),
    ],
)
def test_other_spellings(weights, spell):
    expected = arrange(checkpoint(weights[3]))
    arranged = arrange(checkpoint({spell(name): array for name, array in weights[3].items()}))
    for name, layer in expected.layers.items():
        for weight, array in layer.items():
            np.testing.assert_array_equal(arranged.layers[name][weight], array)
    np.testing.assert_array_equal(arranged.head[0], expected.head[0])


def changed(arrays, **new):
    result = {name: array for name, array in arrays.items() if name not in new}
    return result | {name: array for name, array in new.items() if array is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.norm5.weight": None}, "lacks norm5"),
        ({"features.norm5.running_var": None}, "running_var is missing"),
        ({"features.norm5.running_var": np.full(1024, -1e-3, np.float32)}, "negative"),
        ({"features.norm5.bias": np.full(1024, np.nan, np.float32)}, "1,024 of 1,024 values that are NaN"),
        ({"features.norm5.bias": np.zeros(1024, np.int64)}, "has type int64"),
        ({"features.conv0.weight": np.zeros((64, 4, 7, 7), np.float32)}, "4 channels"),
        ({"features.conv0.bias": np.zeros(64, np.float32)}, "has a bias"),
        ({"features.denseblock3.denselayer25.conv1.weight": np.zeros((1, 1, 1, 1), np.float32)}, "1 too many"),
        ({"other.features.conv0.weight": np.zeros((64, 3, 7, 7), np.float32)}, "holds 2 networks"),
    ],
)
def test_what_does_not_fit_is_named(weights, change, message):
    with pytest.raises(WeightsFileError, match=message):
        arrange(checkpoint(changed(weights[3], **change)))


@pytest.mark.parametrize(
    ("name", "message"), [("layer1.0.conv1.weight", "a ResNet"), ("encoder.weight", "other layers")]
)
def test_other_networks_are_named(name, message):
    with pytest.raises(WeightsFileError, match=message):
        arrange(checkpoint({name: np.zeros((2, 2), np.float32)}))


@pytest.mark.slow
def test_loading_is_all_or_nothing(script, weights, tmp_path):
    model = build_densenet(["A", "B"], (32, 32), seed=1)
    before = model.get_weights()
    wrong = changed(weights[3], **{"features.norm5.bias": np.zeros(1000, np.float32)})
    for arrays, error, message in (
        (wrong, WeightsFileError, "has shape"),
        (weights[3], UsageError, "head has 5 units"),
        (changed(weights[3], **{"classifier.weight": None}), UsageError, "no single dense layer"),
    ):
        script.write_safetensors(tmp_path / "w.safetensors", arrays)
        with pytest.raises(error, match=message):
            load_pretrained(model, tmp_path / "w.safetensors", keep_head=True)
        for one, two in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
    script.write_safetensors(tmp_path / "w.safetensors", weights[3])
    loaded = load_pretrained(model, tmp_path / "w.safetensors")
    assert (loaded.head, loaded.n_head_units, loaded.n_parameters) == ("left out", 5, 7037504)
    assert (loaded.layout, loaded.matched_by, loaded.untrained) == ("safetensors", "name", False)
