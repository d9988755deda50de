"""Names and shapes of the arrays of DenseNet121, without Keras: a file of weights is held against them first."""

from __future__ import annotations

#: Name of the layer that reads the image, and of the last one with weights.
STEM_LAYER, LAST_LAYER = "conv1_conv", "bn"
#: Channels that each dense layer adds, and that its first convolution has.
_GROWTH, _BOTTLENECK = 32, 128
#: Dense layers of each block.
_BLOCKS = (6, 12, 24, 16)
#: Features behind the base: what the head reads.
N_FEATURES = 1024

Shapes = dict[str, dict[str, tuple[int, ...]]]


def base_shapes() -> Shapes:
    """Return the shapes of all arrays of the base, by layer and weight, in Keras' order.

    Examples
    --------
    >>> shapes = base_shapes()
    >>> len(shapes), shapes["conv1_conv"], shapes["pool2_conv"]
    (241, {'kernel': (7, 7, 3, 64)}, {'kernel': (1, 1, 256, 128)})

    References
    ----------
    G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional Networks, CVPR 2017, table 1.
    """
    n_channels = 64
    shapes: Shapes = {STEM_LAYER: _kernel(7, 3, n_channels), "conv1_bn": _normalisation(n_channels)}
    for block, n_layers in enumerate(_BLOCKS, 2):
        for layer in range(1, n_layers + 1):
            name = f"conv{block}_block{layer}"
            shapes[f"{name}_0_bn"] = _normalisation(n_channels)
            shapes[f"{name}_1_conv"] = _kernel(1, n_channels, _BOTTLENECK)
            shapes[f"{name}_1_bn"] = _normalisation(_BOTTLENECK)
            shapes[f"{name}_2_conv"] = _kernel(3, _BOTTLENECK, _GROWTH)
            n_channels += _GROWTH
        if block <= len(_BLOCKS):
            shapes[f"pool{block}_bn"] = _normalisation(n_channels)
            shapes[f"pool{block}_conv"] = _kernel(1, n_channels, n_channels // 2)
            n_channels //= 2
    shapes[LAST_LAYER] = _normalisation(n_channels)
    return shapes


def _kernel(side: int, n_in: int, n_out: int) -> dict[str, tuple[int, ...]]:
    return {"kernel": (side, side, n_in, n_out)}


def _normalisation(n_channels: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (n_channels,))
