"""How precisely a metric can be known from so many positives and negatives."""

from __future__ import annotations

import math
from statistics import NormalDist


def auroc_half_width(n_positive: int, n_negative: int, auroc: float = 0.8, *, level: float = 0.95) -> float:
    """Return half the width of the confidence interval of an area under the ROC curve.

    The images are taken as independent. Several images of one patient are not, so that the true interval is wider,
    and a bootstrap over patients should have the last word; for planning, this tells what N positives can buy.

    Parameters
    ----------
    n_positive, n_negative
        Images with and without the finding.
    auroc
        The area one expects, 0.5 to 1.
    level
        Confidence level, between 0 and 1.

    Returns
    -------
    Half-width, 0 to about 1, in the unit of the area; NaN without positives or without negatives.

    References
    ----------
    J. A. Hanley, B. J. McNeil: The meaning and use of the area under a receiver operating characteristic (ROC) curve.
    Radiology 143 (1982) 29-36, doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> round(auroc_half_width(50, 1000), 3)
    0.075
    """
    if n_positive < 1 or n_negative < 1:
        return math.nan
    square = auroc**2
    two_positives = auroc / (2 - auroc)
    two_negatives = 2 * square / (1 + auroc)
    variance = (
        auroc * (1 - auroc) + (n_positive - 1) * (two_positives - square) + (n_negative - 1) * (two_negatives - square)
    ) / (n_positive * n_negative)
    return NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(max(variance, 0.0))
