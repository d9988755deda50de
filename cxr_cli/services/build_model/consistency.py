"""Whether the layers of a trained DenseNet fit each other: finds weights exchanged between layers of one shape.

Batch normalisation before a convolution tells what goes in, the one behind it tells what came out on average: both
from training. Where the kernel between them carries the one to the other all along the network but for two layers,
and for these with their arrays exchanged, they were exchanged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Weights = Mapping[str, Mapping[str, Floats]]

#: Correlations of foretold and recorded means. In DenseNet121 with random kernels and statistics from chest films
#: the lowest of 119 is 0.95, the median 0.997; between layers that do not belong together they scatter around 0.
_FITS, _DOES_NOT_FIT = 0.8, 0.5


@dataclass(frozen=True)
class _Joint:
    """A convolution between two batch normalisations.

    Attributes
    ----------
    convolution, after
        Names of the convolution and of the normalisation behind it.
    entering
        Mean of each channel that goes in, shape (n_in,).
    kernel
        Summed over its window, shape (n_in, n_out).
    recorded
        Mean of each channel that came out in training, shape (n_out,).
    shape
        Of the kernel.
    """

    convolution: str
    after: str
    entering: Floats
    kernel: Floats
    recorded: Floats
    shape: tuple[int, ...]


def find_exchanged(weights: Weights) -> tuple[str, str] | None:
    """Return two layers whose arrays were exchanged, or None.

    Parameters
    ----------
    weights
        Arrays by layer and name, convolutions and batch normalisations in the order of the network; every layer
        with weights of a DenseNet lies on one chain.

    Returns
    -------
    tuple of str or None
        Names of two convolutions, or of two batch normalisations. None also where nothing can be told, because the
        network was never trained.

    Notes
    -----
    The mean that leaves a convolution is its kernel, summed over the window, times the mean that enters (borders
    aside). What enters is ReLU(γ z + β) with z of mean 0 and variance 1; for normal z its mean is β Φ(β/γ) + γ φ(β/γ).
    """
    joints = _joints(weights)
    fits = [_correlation(joint.entering @ joint.kernel, joint.recorded) for joint in joints]
    if not joints or float(np.median(fits)) < _FITS:
        return None
    suspects = [joint for joint, fit in zip(joints, fits, strict=True) if fit < _DOES_NOT_FIT]
    for one, other in itertools.combinations(suspects, 2):
        if one.shape == other.shape and _fit(one, other.kernel) and _fit(other, one.kernel):
            return one.convolution, other.convolution
        if one.recorded.shape == other.recorded.shape and _fit_means(one, other) and _fit_means(other, one):
            return one.after, other.after
    return None


def _fit(joint: _Joint, kernel: Floats) -> bool:
    return _correlation(joint.entering @ kernel, joint.recorded) > _FITS


def _fit_means(joint: _Joint, other: _Joint) -> bool:
    return _correlation(joint.entering @ joint.kernel, other.recorded) > _FITS


def _joints(weights: Weights) -> list[_Joint]:
    names = list(weights)
    joints = []
    for before, convolution, after in zip(names, names[1:], names[2:], strict=False):
        kernel = weights[convolution].get("kernel")
        if kernel is None or "gamma" not in weights[before] or "gamma" not in weights[after]:
            continue
        # A dense layer's output comes last in the concatenation that is normalised next.
        recorded = weights[after]["moving_mean"][-kernel.shape[-1] :]
        entering = mean_after_relu(weights[before]["gamma"], weights[before]["beta"])
        joints.append(_Joint(convolution, after, entering, kernel.sum(axis=(0, 1)), recorded, kernel.shape))
    return joints


def mean_after_relu(gamma: Floats, beta: Floats) -> Floats:
    """Return the mean of ReLU(γ z + β) for standard normal z, elementwise.

    Parameters
    ----------
    gamma, beta
        Scale and shift of a batch normalisation, shape (n_channels,).

    Examples
    --------
    >>> mean_after_relu(np.array([1.0, 0.0]), np.array([0.0, 2.0])).round(4)
    array([0.3989, 2.    ])
    """
    scale = np.maximum(np.abs(np.asarray(gamma, np.float64)), 1e-12)
    ratio = np.asarray(beta, np.float64) / scale
    below = 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in ratio]))
    mean: Floats = beta * below + scale * np.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    return mean


def _correlation(one: Sequence[float] | Floats, other: Sequence[float] | Floats) -> float:
    left, right = np.asarray(one, np.float64) - np.mean(one), np.asarray(other, np.float64) - np.mean(other)
    size = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / size if size > 0 else 0.0
