import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.build_model.architecture import Layer, dense_layers, receptive_field, summarise


def layer(name, kind, inputs=(), shape=(8, 8, 1), section="stem", **numbers):
    defaults = {
        "kernel": None,
        "stride": None,
        "parameters": 0,
        "trainable_parameters": 0,
        "moving_statistics": 0,
        "trainable": True,
        "multiply_adds": 0,
        "output_bytes": 0,
    }
    return Layer(name, kind, section, tuple(inputs), shape, **(defaults | numbers))


def block_of(depth, section="dense block 1", growth=2):
    """Return a stem with one channel and a dense block behind it, a convolution a layer."""
    layers = [layer("start", "Activation", shape=(4, 4, 1))]
    old = "start"
    for number in range(1, depth + 1):
        convolution = layer(f"conv{number}", "Conv2D", [old], (4, 4, growth), section, kernel=3, stride=1)
        joined = layer(f"join{number}", "Concatenate", [old, convolution.name], (4, 4, 1 + growth * number), section)
        layers += [convolution, joined]
        old = joined.name
    return layers


def test_wiring_of_three_layers():
    found = dense_layers(block_of(3), "dense block 1")
    assert [(item.name, item.sources) for item in found] == [
        ("conv1", ("start",)),
        ("conv2", ("start", "conv1")),
        ("conv3", ("start", "conv1", "conv2")),
    ]


@given(st.integers(1, 30), st.integers(1, 64))
def test_every_layer_takes_all_before(depth, growth):
    (_, block) = summarise(block_of(depth, growth=growth)).blocks
    assert block.connections == depth * (depth + 1) // 2
    assert (block.depth, block.growth) == (depth, growth)
    assert (block.channels_in, block.channels_out) == (1, 1 + growth * depth)
    assert block.n_convolutions == depth


def test_receptive_field_by_hand():
    layers = [
        layer("images", "InputLayer"),
        layer("conv", "Conv2D", ["images"], kernel=7, stride=2),  # sees 7, cells 2 apart
        layer("pool", "MaxPooling2D", ["conv"], kernel=3, stride=2),  # 7 + 2 * 2 = 11, cells 4 apart
        layer("short", "Conv2D", ["pool"], kernel=1, stride=1),
        layer("long", "Conv2D", ["pool"], kernel=3, stride=1),  # 11 + 2 * 4 = 19
        layer("join", "Concatenate", ["short", "long"]),
    ]
    assert receptive_field(layers) == 19
    assert receptive_field(layers[:3]) == 11
    assert receptive_field(layers[:1]) == 1


def test_counts_add_up():
    layers = [
        layer("images", "InputLayer", output_bytes=100),
        layer("conv", "Conv2D", ["images"], parameters=10, trainable=False, multiply_adds=640, output_bytes=50),
        layer("bn", "BatchNormalization", ["conv"], parameters=8, moving_statistics=4, trainable=False),
        layer("bn2", "BatchNormalization", ["bn"], parameters=8, moving_statistics=4, trainable_parameters=4),
        layer("out", "Dense", ["bn2"], (3,), "head", parameters=6, trainable_parameters=6, multiply_adds=3),
    ]
    found = summarise(layers)
    assert (found.base.total, found.base.trainable, found.base.frozen, found.base.moving_statistics) == (26, 4, 14, 8)
    assert (found.head.total, found.head.trainable) == (6, 6)
    assert found.model.total == found.model.trainable + found.model.frozen + found.model.moving_statistics == 32
    assert (found.multiply_adds_convolutions, found.multiply_adds_head) == (640, 3)
    assert (found.memory.weights, found.memory.activations_per_image, found.memory.optimizer) == (128, 150, 120)
    assert (found.n_batch_normalisations, found.n_batch_normalisations_frozen) == (2, 1)
    assert [(block.name, block.trainable) for block in found.blocks] == [("stem", "partly"), ("head", "yes")]
    assert found.blocks[-1].output_size is None
    assert [(item.type, item.n_layers, item.parameters) for item in found.layer_types][0] == (
        "BatchNormalization",
        2,
        16,
    )


@pytest.mark.parametrize("section", ["stem", "dense block 2"])
def test_no_wiring_where_nothing_is_joined(section):
    assert dense_layers(block_of(2), section) == ()
