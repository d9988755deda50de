"""Time `cxr weights` on NIH's full table beside reading that table, and its numbers beside scikit-learn's.

    python benchmarks/weights.py [LABELS] [--repeats 5]

LABELS defaults to NIH's table of 112,120 images in the folder that CXR_REAL_DATA names, or else to the sample data.
Reading is done by cxr, which validates, and by plain `pandas.read_csv` with `str.get_dummies`, which does not.
Medians over the repeats; times are ratios to cxr's reading, run in the same process.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from inputs import table_parser

from cxr_cli.data.labels import read_labels
from cxr_cli.plots import weights as plots
from cxr_cli.services.weights.weights import compute_weights


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def read_with_pandas(path: Path) -> pd.DataFrame:
    """Read a table and spread its findings, as notebooks do."""
    frame = pd.read_csv(path)
    return frame["Finding Labels"].str.get_dummies("|") if "Finding Labels" in frame else frame


def main() -> None:
    """Print one line for each."""
    parser = table_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    table = read_labels(options.labels)
    result = compute_weights(table)
    reading = median_seconds(lambda: read_labels(options.labels), options.repeats)
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("read with pandas, get_dummies", lambda: read_with_pandas(options.labels)),
        ("cxr: weights, shares, predictors", lambda: compute_weights(table)),
        *((f"cxr: draw {draw.__name__}", lambda draw=draw: draw(result)) for draw in _DRAWINGS),
    ]
    print(f"{options.labels.name}: {table.n_images:,} images, {len(table.pathologies)} pathologies")
    print(f"{'step':36}{'time':>9}{'/ cxr reads':>13}")
    print(f"{'cxr: read and validate':36}{reading:>7.3f} s{1:>13.2f}")
    for name, step in steps:
        seconds = median_seconds(step, options.repeats)
        print(f"{name:36}{seconds:>7.3f} s{seconds / reading:>13.2f}")
    if importlib.util.find_spec("sklearn"):
        compare_with_sklearn(table.labels, options.repeats, reading)


_DRAWINGS = (plots.class_distribution, plots.contributions, plots.loss_shares)


def compare_with_sklearn(labels: np.ndarray[Any, Any], repeats: int, reading: float) -> None:
    """Time scikit-learn's weights, column by column, and hold them against scheme "balanced"."""
    from sklearn.utils.class_weight import compute_class_weight

    from cxr_cli.services.weights.weights import scheme_weights

    def sklearn_weights() -> list[Any]:
        classes = np.array([0.0, 1.0])
        return [compute_class_weight("balanced", classes=classes, y=column) for column in labels.T]

    positive, negative = scheme_weights((labels == 1).sum(axis=0), (labels == 0).sum(axis=0), "balanced")
    difference = np.abs(np.column_stack([negative, positive]) - sklearn_weights()).max()
    seconds = median_seconds(sklearn_weights, repeats)
    print(f"{'scikit-learn, weights alone':36}{seconds:>7.3f} s{seconds / reading:>13.2f}")
    print(f"largest difference to scikit-learn's weights: {difference:.1e}")


if __name__ == "__main__":
    main()
