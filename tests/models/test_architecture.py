"""What describe_model reads from the real network, against published values."""

import json

import numpy as np
import pytest

from cxr_cli.models.architecture import describe_model, section_of
from cxr_cli.models.densenet import build_densenet, freeze
from cxr_cli.services.build_model.architecture import dense_layers

pytestmark = pytest.mark.slow

LABELS = ("Emphysema", "Hernia", "Mass", "Pneumonia", "Edema")


@pytest.fixture(scope="module")
def at_320():
    model = build_densenet(LABELS, (320, 320))
    freeze(model, "base")
    return describe_model(model)


@pytest.fixture(scope="module")
def expected(real_data):
    values = json.loads((real_data / "reference_values.json").read_text())["values"]
    return {value["id"]: value["expected"] for value in values if value["command"] == "build-model"}


def test_every_published_value_of_the_course(at_320, expected):
    base = at_320.base_layers
    by_type = {item.type: item.n_layers for item in at_320.layer_types}

    wanted = expected.pop("model.base")
    assert by_type["Conv2D"] == wanted["conv2d_layers"]
    assert base[-1].output_shape[-1] == wanted["output_channels"]
    assert at_320.input_shape[-1] == wanted["input_channels"]
    assert at_320.base.total == wanted["total_params"]
    assert at_320.base.trainable + at_320.base.frozen == wanted["trainable_params"]
    assert at_320.base.moving_statistics == wanted["non_trainable_params"]

    assert [layer.type for layer in base[:5]] == expected.pop("model.first5")["types"]
    wanted = expected.pop("model.last5_as_printed")
    assert [layer.type for layer in base[-6:-1]] == wanted["types"]
    assert [layer.type for layer in base[-5:]] == wanted["true_last5_types"]
    assert [layer.name for layer in base[-5:]] == wanted["true_last5_names"]

    parameters = {layer.name: layer.parameters for layer in base}
    for name, value in expected.pop("model.summary_params").items():
        assert parameters[name.replace("/", "_")] == value

    wanted = expected.pop("model.head5")
    assert [None, *at_320.layers[-2].output_shape] == wanted["pooled_shape"]
    assert [None, *at_320.output_shape] == wanted["output_shape"]
    assert at_320.head.total == wanted["head_params"]
    assert at_320.model.total == wanted["total_params"]

    wanted = expected.pop("model.layer_types")
    assert sum(item.parameters for item in at_320.layer_types if item.type == "Conv2D") == wanted.pop("conv_params")
    assert sum(item.parameters for item in at_320.layer_types if item.type.startswith("B")) == wanted.pop("bn_params")
    assert by_type == wanted

    wanted = expected.pop("model.shapes")
    assert shapes(at_320) == wanted["320"]
    smaller = describe_model(build_densenet(LABELS, (224, 224)))
    assert shapes(smaller) == wanted["224"]
    for side, network in (("224", smaller), ("320", at_320)):
        assert network.multiply_adds_convolutions / 1e9 == pytest.approx(wanted["conv_GMACs"][side], rel=1e-9)

    wanted = expected.pop("model.head_params")
    for units, value in wanted["trainable"].items():
        assert at_320.head.trainable // len(LABELS) * int(units) == value
    assert at_320.model.frozen + at_320.model.moving_statistics == wanted["non_trainable"]
    assert (at_320.n_base_layers, at_320.n_layers) == (wanted["layers_base"], wanted["layers_full_flat"])
    # The forward pass of a file of Keras 2 is compared in test_pretrained.py, the unfrozen model below.
    assert set(expected) == {"model.legacy_weights_forward"}


def shapes(network):
    """Return the shapes that leave each part, under the names of the table of published values."""
    names = {"transition ": "trans", "dense block ": "block"}
    found = {}
    for block in network.blocks:
        for ours, theirs in names.items():
            if block.name.startswith(ours):
                found[theirs + block.name[-1]] = [*block.output_size, block.channels_out]
    by_name = {layer.name: list(layer.output_shape) for layer in network.layers}
    return {"conv1": by_name["conv1_relu"], "pool1": by_name["pool1"]} | found


def test_blocks_as_in_the_paper(at_320):
    dense = [block for block in at_320.blocks if block.depth]
    assert [block.depth for block in dense] == [6, 12, 24, 16]
    assert [block.connections for block in dense] == [21, 78, 300, 136]
    assert {block.growth for block in dense} == {32}
    assert sum(block.n_layers for block in at_320.blocks) == 429
    assert sum(block.parameters for block in at_320.blocks) == at_320.model.total == 7_042_629
    assert at_320.receptive_field == 2071
    assert at_320.n_batch_normalisations == at_320.n_batch_normalisations_frozen == 121


def test_unfrozen_with_14_pathologies(network):
    freeze(network, "none")
    found = describe_model(network)
    assert found.base.trainable == 6_953_856
    assert found.base.trainable + 14 * 1025 == 6_968_206
    assert found.model.moving_statistics == 83_648
    assert found.n_batch_normalisations_frozen == 0


def test_partly_frozen(network):
    freeze(network, "all-but-last-1-blocks")
    found = describe_model(network)
    states = {block.name: block.trainable for block in found.blocks}
    assert states["dense block 4"] == states["final"] == states["head"] == "yes"
    assert states["dense block 3"] == states["transition 3"] == states["stem"] == "no"
    assert all(not item.trainable for item in dense_layers(found.layers, "dense block 1"))
    assert all(item.trainable for item in dense_layers(found.layers, "dense block 4"))


def test_activations_are_counted_from_shapes(at_320):
    values = sum(int(np.prod(layer.output_shape)) for layer in at_320.layers)
    assert at_320.memory.activations_per_image == 4 * values


def test_mixed_precision_halves_activations_not_weights(network):
    whole = describe_model(network)
    mixed = describe_model(build_densenet(LABELS, (128, 128), mixed_precision=True))
    assert mixed.memory.weights == whole.memory.weights
    # The input and the head stay in float32.
    assert mixed.memory.activations_per_image == (whole.memory.activations_per_image + 4 * (128 * 128 * 3 + 5)) / 2


def test_every_layer_has_a_section(at_320):
    assert {layer.section for layer in at_320.layers} == {block.name for block in at_320.blocks}
    assert section_of("anything else") == "stem"
