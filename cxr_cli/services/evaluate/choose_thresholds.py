"""Thresholds: chosen on validation predictions or given, never on the test labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import InputFile
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.predictions import Predictions, folded
from cxr_cli.data.thresholds import Thresholds
from cxr_cli.errors import InputError, UsageError, argument
from cxr_cli.services.evaluate.inputs import Model, Truth, build, runs_of, truth_of_predictions, truth_of_table
from cxr_cli.services.evaluate.result import Issue
from cxr_cli.services.metrics.calibration import sigmoid
from cxr_cli.services.metrics.thresholds import at_sensitivity, at_specificity, best_f1, youden

Floats = NDArray[np.float64]

#: How a threshold is chosen on validation predictions.
RULES: Mapping[str, Callable[[Floats, Floats], float]] = {
    "youden": youden,
    "best-f1": best_f1,
    "sensitivity-0.9": lambda labels, scores: at_sensitivity(labels, scores, 0.9),
    "specificity-0.9": lambda labels, scores: at_specificity(labels, scores, 0.9),
}


def as_list(predictions: Predictions | Sequence[Predictions]) -> list[Predictions]:
    """Return one or several predictions as a list."""
    return [predictions] if isinstance(predictions, Predictions) else list(predictions)


def from_logits(predictions: Predictions) -> Predictions:
    """Return predictions that are logits as probabilities."""
    return replace(predictions, probabilities=sigmoid(predictions.probabilities))


@dataclass(frozen=True)
class Validation:
    """Validation predictions that thresholds were chosen on.

    Attributes
    ----------
    files
        The predictions.
    truth
        Their labels.
    issues
        Notes on both.
    """

    files: Sequence[Predictions]
    truth: Truth
    issues: tuple[Issue, ...]


def choose_thresholds(
    model: Model,
    pathologies: Sequence[str],
    name: str,
    valid: Predictions | Sequence[Predictions] | None,
    valid_labels: LabelTable | None,
    labels: LabelTable | None,
    given: Thresholds | float | None,
    logits: bool,
) -> tuple[dict[str, Floats], Validation | None]:
    """Return thresholds by rule, each of shape (n_runs, n_pathologies), and what they were chosen on."""
    n_runs = len(model.scores)
    if isinstance(given, Thresholds):
        return {key: np.tile(given.of(pathologies, key), (n_runs, 1)) for key in given.rules}, None
    if given is not None:
        return {"fixed": np.full((n_runs, len(pathologies)), float(given))}, None
    if valid is None:
        return {}, None
    files = as_list(valid)
    if logits:
        files = [from_logits(item) for item in files]
    runs = runs_of("valid", files)
    if len(runs) != n_runs:
        raise InputError(
            f"{len(runs)} validation runs for {n_runs} runs of {name}",
            expected="validation predictions of each run, in the same order",
            remedy="Predict the validation images with every run.",
        )
    truth = _validation_truth(runs, valid_labels, labels)
    validation = build({"validation": files}, truth)
    if not len(validation.images):
        raise InputError(f"{files[0].path}: no validation images", remedy="Give the predictions for them.")
    found = {key: np.full((n_runs, len(pathologies)), np.nan) for key in RULES}
    places = {folded(item): column for column, item in enumerate(validation.pathologies)}
    for column, pathology in enumerate(pathologies):
        place = places.get(folded(pathology))
        if place is None:
            continue
        for run, scores in enumerate(validation.models[0].scores):
            for key, choose in RULES.items():
                found[key][run, column] = choose(validation.labels[:, place], scores[:, place])
    issues = [
        replace(issue, kind=f"validation-{issue.kind}", message=f"validation: {issue.message}")
        for issue in validation.issues
        # Test images in the same label table have no validation prediction, and patients play no part.
        if issue.kind not in ("images-without-predictions", "no-patients", "images-without-patient")
    ]
    return found, Validation(files, truth, tuple(issues))


def _validation_truth(runs: Sequence[Predictions], valid_labels: LabelTable | None, labels: LabelTable | None) -> Truth:
    if not runs[0].images:
        raise InputError(
            f"{runs[0].path}: no validation images",
            expected="at least one row",
            remedy="Give the predictions for them.",
        )
    if valid_labels is not None:
        return truth_of_table(valid_labels)
    if runs[0].labels is not None:
        return truth_of_predictions(runs[0])
    if labels is not None:
        return truth_of_table(labels)
    raise InputError(
        f"{runs[0].path}: has predictions but no labels",
        expected="the labels of the validation images",
        remedy=f"Give a table that has them as {argument('valid_labels')}.",
    )


def main_rule(rule: str | None, chosen: Mapping[str, Floats]) -> str | None:
    """Return the rule whose threshold is used for subgroups; None without thresholds."""
    if not chosen:
        if rule is not None:
            raise UsageError(
                f"{argument('rule', rule)} needs thresholds",
                remedy=f"Give {argument('valid')} or {argument('thresholds')}.",
            )
        return None
    if rule is not None and rule not in chosen:
        raise UsageError(argument("rule", rule), expected=f"one of {', '.join(chosen)}")
    return rule or next(iter(chosen))


def thresholds_file(
    chosen: Mapping[str, Floats], pathologies: Sequence[str], rule: str | None, files: Sequence[Predictions]
) -> Thresholds | None:
    """Return what `Thresholds.write` writes; None for several runs."""
    # The thresholds of several runs have no meaning for one of them.
    if any(len(values) != 1 for values in chosen.values()) or rule is None:
        return None
    sources: tuple[InputFile, ...] = tuple(item.source for item in files if item.source is not None)
    return Thresholds(
        {
            key: {name: float(cut) for name, cut in zip(pathologies, values[0], strict=True) if not np.isnan(cut)}
            for key, values in chosen.items()
        },
        rule,
        sources,
    )
