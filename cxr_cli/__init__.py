"""Prepare, train and evaluate chest X-ray classifiers (not for clinical use).

The public library: the functions behind the commands, what they take and what they return. Each name is loaded when it
is first used, so that importing the package costs nothing.

Examples
--------
>>> import cxr_cli
>>> table = cxr_cli.read_labels("sample_data/train-small.csv")
>>> cxr_cli.explore(table).patients.n_patients
163
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cxr_cli.data.boxes import read_boxes as read_boxes
    from cxr_cli.data.class_weights import ClassWeights as ClassWeights
    from cxr_cli.data.class_weights import read_class_weights as read_class_weights
    from cxr_cli.data.files import Outputs as Outputs
    from cxr_cli.data.folders import find_image_folder as find_image_folder
    from cxr_cli.data.labels import LabelTable as LabelTable
    from cxr_cli.data.labels import read_labels as read_labels
    from cxr_cli.data.predictions import Predictions as Predictions
    from cxr_cli.data.predictions import read_predictions as read_predictions
    from cxr_cli.errors import CxrError as CxrError
    from cxr_cli.models.datasets import StoreDataset as StoreDataset
    from cxr_cli.models.densenet import freeze as freeze
    from cxr_cli.models.losses import WeightedBinaryCrossentropy as WeightedBinaryCrossentropy
    from cxr_cli.services.build_model.build_model import assemble as assemble
    from cxr_cli.services.build_model.build_model import build_model as build_model
    from cxr_cli.services.build_model.options import ModelOptions as ModelOptions
    from cxr_cli.services.build_model.result import BuildModelResult as BuildModelResult
    from cxr_cli.services.check_leakage.check_and_remove import check_and_remove as check_and_remove
    from cxr_cli.services.check_leakage.check_leakage import check_leakage as check_leakage
    from cxr_cli.services.check_leakage.result import LeakageReport as LeakageReport
    from cxr_cli.services.check_leakage.result import Thresholds as Thresholds
    from cxr_cli.services.evaluate.evaluate import evaluate as evaluate
    from cxr_cli.services.evaluate.result import EvaluateResult as EvaluateResult
    from cxr_cli.services.explain.explain import explain as explain
    from cxr_cli.services.explain.gather import ExplainOptions as ExplainOptions
    from cxr_cli.services.explain.result import ExplainResult as ExplainResult
    from cxr_cli.services.explore.explore import explore as explore
    from cxr_cli.services.explore.result import ExploreResult as ExploreResult
    from cxr_cli.services.model_card import ModelCard as ModelCard
    from cxr_cli.services.model_card import read_model_card as read_model_card
    from cxr_cli.services.parallel import Workers as Workers
    from cxr_cli.services.predict.predict import predict as predict
    from cxr_cli.services.predict.result import PredictResult as PredictResult
    from cxr_cli.services.preprocess.options import Options as PreprocessOptions  # noqa: F401
    from cxr_cli.services.preprocess.preprocess import preprocess as preprocess
    from cxr_cli.services.preprocess.result import PreprocessResult as PreprocessResult
    from cxr_cli.services.report.report import report as report
    from cxr_cli.services.report.result import ReportResult as ReportResult
    from cxr_cli.services.sources import open_images as open_images
    from cxr_cli.services.split.result import SplitResult as SplitResult
    from cxr_cli.services.split.split import divide as divide
    from cxr_cli.services.split.split import split as split
    from cxr_cli.services.store.reader import Store as Store
    from cxr_cli.services.store.reader import open_store as open_store
    from cxr_cli.services.store.recipe import Recipe as Recipe
    from cxr_cli.services.train.options import TrainOptions as TrainOptions
    from cxr_cli.services.train.result import TrainResult as TrainResult
    from cxr_cli.services.train.train import train as train
    from cxr_cli.services.weights.result import WeightsResult as WeightsResult
    from cxr_cli.services.weights.weights import compute_weights as compute_weights

#: Where each public name lives: "module" or, under another name there, "module:name".
_PUBLIC = {
    # reading
    "read_labels": "data.labels",
    "LabelTable": "data.labels",
    "find_image_folder": "data.folders",
    "read_class_weights": "data.class_weights",
    "ClassWeights": "data.class_weights",
    "read_predictions": "data.predictions",
    "Predictions": "data.predictions",
    "read_boxes": "data.boxes",
    # the pipeline
    "explore": "services.explore.explore",
    "ExploreResult": "services.explore.result",
    "check_leakage": "services.check_leakage.check_leakage",
    "check_and_remove": "services.check_leakage.check_and_remove",
    "Thresholds": "services.check_leakage.result",
    "LeakageReport": "services.check_leakage.result",
    "split": "services.split.split",
    "divide": "services.split.split",
    "SplitResult": "services.split.result",
    "preprocess": "services.preprocess.preprocess",
    "Recipe": "services.store.recipe",
    "PreprocessOptions": "services.preprocess.options:Options",
    "PreprocessResult": "services.preprocess.result",
    "open_store": "services.store.reader",
    "Store": "services.store.reader",
    "compute_weights": "services.weights.weights",
    "WeightsResult": "services.weights.result",
    "build_model": "services.build_model.build_model",
    "ModelOptions": "services.build_model.options",
    "BuildModelResult": "services.build_model.result",
    "train": "services.train.train",
    "TrainOptions": "services.train.options",
    "TrainResult": "services.train.result",
    "predict": "services.predict.predict",
    "PredictResult": "services.predict.result",
    "evaluate": "services.evaluate.evaluate",
    "EvaluateResult": "services.evaluate.result",
    "explain": "services.explain.explain",
    "ExplainOptions": "services.explain.gather",
    "ExplainResult": "services.explain.result",
    "report": "services.report.report",
    "ReportResult": "services.report.result",
    # models
    "assemble": "services.build_model.build_model",
    "freeze": "models.densenet",
    "StoreDataset": "models.datasets",
    "WeightedBinaryCrossentropy": "models.losses",
    "read_model_card": "services.model_card",
    "ModelCard": "services.model_card",
    "open_images": "services.sources",
    # what they share
    "Outputs": "data.files",
    "Workers": "services.parallel",
    "CxrError": "errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = _PUBLIC[name].partition(":")
    found = getattr(import_module(f"{__name__}.{module}"), original or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
