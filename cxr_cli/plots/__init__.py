"""Plots of results: each function takes a result and returns a matplotlib Figure.

Those that take the whole result of a command can be imported from here: ``from cxr_cli.plots import co_occurrence``.
"""

from importlib import import_module
from typing import Any

from cxr_cli.data.drawing import import_matplotlib

import_matplotlib()

#: Module of each function that takes the whole result of a command.
_OF_RESULTS = {
    "label_distribution": "explore",
    "co_occurrence": "explore",
    "age_sex_view": "explore",
    "split_sizes": "check_leakage",
    "plot_split": "split",
    "class_distribution": "weights",
    "contributions": "weights",
    "loss_shares": "weights",
    "plot_architecture": "build_model",
    "plot_depth": "build_model",
    "plot_learning_curves": "train",
    "roc_curves": "evaluate",
    "precision_recall_curves": "evaluate",
    "reliability_curves": "evaluate",
    "forest": "evaluate",
    "localization": "explain",
}


def __getattr__(name: str) -> Any:
    if name not in _OF_RESULTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OF_RESULTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_RESULTS})
