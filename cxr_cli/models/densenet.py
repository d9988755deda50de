"""DenseNet121 with one sigmoid unit per pathology: built flat, frozen by dense block, compiled."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from cxr_cli.services.build_model.options import (
    N_DENSE_BLOCKS,
    check_image_size,
    check_learning_rate,
    first_trainable_block,
)

#: Name of the last layer of the base, as Keras builds it with ``include_top=False``.
LAST_BASE_LAYER = "relu"
#: Names of the layers that follow it.
POOLING_LAYER, HEAD_LAYER = "avg_pool", "predictions"


def build_densenet(
    pathologies: Sequence[str], image_size: tuple[int, int], *, seed: int = 0, mixed_precision: bool = False
) -> keras.Model:
    """Build Keras' DenseNet121 without its top, average pooling and a dense layer with a sigmoid per pathology.

    The model is flat: the layers of the base are layers of the model, under Keras' own names, so that they can be
    frozen, inspected and loaded by name. Its weights are random and depend on `seed` alone; it is not compiled.

    Parameters
    ----------
    pathologies
        Names of the outputs, in order.
    image_size
        (height, width) in pixels, each at least 32.
    seed
        Seed of the random weights.
    mixed_precision
        Compute in float16 with float32 variables; the head stays in float32 (a float16 sigmoid rounds small
        probabilities and their gradients to 0).

    Returns
    -------
    keras.Model
        Input (n_images, height, width, 3) float32, standardized; output (n_images, n_pathologies) float32 in
        [0, 1].

    Raises
    ------
    UsageError
        An image side is smaller than 32.

    References
    ----------
    G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional Networks, CVPR 2017.
    P. Rajpurkar et al.: CheXNet, arXiv:1711.05225 (DenseNet121 with sigmoid units for 14 pathologies).
    """
    check_image_size(image_size)
    with _keras_settings("mixed_float16" if mixed_precision else "float32"):
        images = keras.Input((*image_size, 3), name="images")
        base = keras.applications.DenseNet121(include_top=False, weights=None, input_tensor=images)
        _name_paddings(base)
        pooled = keras.layers.GlobalAveragePooling2D(name=POOLING_LAYER)(base.output)
        head = keras.layers.Dense(
            len(pathologies),
            activation="sigmoid",
            dtype="float32",
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
            name=HEAD_LAYER,
        )
        model = keras.Model(images, head(pooled), name="densenet121")
    _seed_kernels(model, seed)
    return model


@contextlib.contextmanager
def _keras_settings(policy: str) -> Iterator[None]:
    # Keras reads these from its configuration file; a model must not depend on whose machine built it.
    settings = keras.config
    previous = settings.dtype_policy(), settings.image_data_format(), settings.floatx()
    settings.set_floatx("float32")
    settings.set_dtype_policy(policy)
    settings.set_image_data_format("channels_last")
    try:
        yield
    finally:
        settings.set_dtype_policy(previous[0])
        settings.set_image_data_format(previous[1])
        settings.set_floatx(previous[2])


def _name_paddings(base: keras.Model) -> None:
    # Keras leaves them unnamed, and numbers them by how many models the process has built.
    paddings = (layer for layer in base.layers if isinstance(layer, keras.layers.ZeroPadding2D))
    for layer, name in zip(paddings, ("conv1_pad", "pool1_pad"), strict=True):
        layer.name = name


def _seed_kernels(model: keras.Model, seed: int) -> None:
    # Keras' applications take no seed; the global one is not ours to set.
    for index, layer in enumerate(base_layers(model)):
        if isinstance(layer, keras.layers.Conv2D):
            initializer = keras.initializers.GlorotUniform(seed=_layer_seed(seed, index))
            layer.kernel.assign(initializer(layer.kernel.shape))


def _layer_seed(seed: int, index: int) -> int:
    return (seed * 1009 + index + 1) % 2**31


def base_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of the base, from the input to the last activation."""
    names = [layer.name for layer in model.layers]
    return list(model.layers[: names.index(LAST_BASE_LAYER) + 1])


def freeze(model: keras.Model, scheme: str) -> None:
    """Make the head trainable and the base frozen, as a whole or up to a dense block; recompile what was compiled.

    Frozen batch normalisation runs in inference mode, also inside ``fit``: its moving statistics stay what they are.

    Parameters
    ----------
    model
        From :func:`build_densenet`, or such a model loaded again.
    scheme
        ``"base"``: the whole base. ``"none"``: nothing. ``"all-but-last-N-blocks"``: all but the last N of the
        four dense blocks, the transitions between these, and the final batch normalisation.

    Raises
    ------
    UsageError
        `scheme` is none of these.

    Notes
    -----
    Keras compiles the list of trainable weights into the training function: a change after ``compile`` would be
    ignored. Recompiling forgets the state of the optimizer, not the weights.
    """
    first = first_trainable_block(scheme)
    for layer in base_layers(model):
        layer.trainable = _stage(layer.name) >= first
    if model.compiled:
        model.compile_from_config(model.get_compile_config())


def _stage(name: str) -> int:
    """Return the number in a layer's name: 1 stem, 2 to 5 dense blocks, 6 the layers after the last one.

    A transition has the number of the block before it (pool2_… follows conv2_…) and is frozen with it: so the last
    N blocks come with the transitions between them, and not with the one that leads to the first of them.
    """
    block = re.match(r"(conv|pool)([2-5])_", name)
    if block is not None:
        return int(block[2])
    return N_DENSE_BLOCKS + 2 if name in ("bn", LAST_BASE_LAYER) else 1


def compile_densenet(
    model: keras.Model, loss: Any, *, learning_rate: float = 1e-3, metrics: Sequence[Any] = ()
) -> None:
    """Compile with Adam.

    Parameters
    ----------
    model
        The model; freeze it first, or call :func:`freeze` later, which recompiles.
    loss
        A Keras loss or its name.
    learning_rate
        Adam's step size, above 0. The default is Keras' and CheXNet's, 0.001.
    metrics
        Keras metrics.

    Raises
    ------
    UsageError
        `learning_rate` is not a finite number above 0.

    References
    ----------
    D. P. Kingma, J. Ba: Adam: A Method for Stochastic Optimization, ICLR 2015.
    """
    check_learning_rate(learning_rate)
    with _keras_settings("float32"):  # of the optimizer's own variables
        # Keras would number the optimizers of a process, and save the number.
        optimizer = keras.optimizers.Adam(learning_rate, name="adam")
        model.compile(optimizer=optimizer, loss=loss, metrics=list(metrics))
        # load_model() builds it, and would warn that what was saved before the first fit lacks its variables.
        model.optimizer.build(model.trainable_variables)
