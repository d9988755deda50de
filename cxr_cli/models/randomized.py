"""A network with the same architecture and random weights: the control for maps of a trained one."""

from __future__ import annotations

import keras
import numpy as np

#: Weights that are set rather than drawn, by their last name.
_SET = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0, "bias": 0.0}


def randomized(model: keras.Model, seed: int) -> keras.Model:
    """Return a copy of a model with new weights: kernels uniform as in Glorot and Bengio 2010, the rest neutral.

    References
    ----------
    J. Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018 (arXiv:1810.03292): a map that looks the same with
    random weights does not explain what the model has learnt.
    """
    copy = keras.models.clone_model(model)
    for number, variable in enumerate(copy.weights):
        name = variable.path.rpartition("/")[2]
        if name in _SET:
            value = np.full(variable.shape, _SET[name], np.float32)
        else:
            receptive = int(np.prod(variable.shape[:-2]))
            fans = sum(variable.shape[-2:]) * receptive if len(variable.shape) > 1 else sum(variable.shape)
            limit = np.sqrt(6 / max(fans, 1))
            value = np.random.default_rng([seed, number]).uniform(-limit, limit, variable.shape).astype(np.float32)
        variable.assign(value)
    return copy
