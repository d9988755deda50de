"""Holm's correction of p values, because one of many tests comes out significant by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return adjusted p values: below 0.05, they are significant although many tests were made.

    Parameters
    ----------
    p_values
        Shape (n_tests,), in [0, 1]; NaN for a test that could not be made, which then does not count.

    Returns
    -------
    Float64, the same shape; never below the p values given.

    References
    ----------
    S. Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6 (1979) 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    made = np.flatnonzero(~np.isnan(values))
    if not ((values[made] >= 0) & (values[made] <= 1)).all():
        raise ValueError("p values must lie in [0, 1]")
    order = made[np.argsort(values[made], kind="stable")]
    adjusted = np.full(values.shape, np.nan)
    remaining = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * remaining), 1.0)
    return adjusted
