"""Predictions that are probably not what their reader takes them for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cxr_cli.errors import Message, argument
from cxr_cli.services.evaluate.inputs import EvaluationSet
from cxr_cli.services.evaluate.result import Issue

Floats = NDArray[np.float64]

#: A column needs this many images before its values are judged.
_ENOUGH = 50
#: sigmoid(0) and sigmoid(1): what probabilities become when a sigmoid is applied to them.
_TWICE = (0.5, 1 / (1 + math.exp(-1)))
#: Width of a bin on either side of 0.5, the least jump, and how many standard errors it must be.
_WIDTH, _JUMP, _SURE = 0.05, math.log(1.5), 5.0


def is_probability(scores: Floats) -> bool:
    """Whether all scores lie in [0, 1]."""
    return bool(((scores >= 0) & (scores <= 1)).all())


def check_scores(data: EvaluationSet) -> list[Issue]:
    """Return what is suspicious about the predictions of each model.

    Parameters
    ----------
    data
        The test set, with the scores of every model.
    """
    return [issue for model in data.models for issue in _check_model(model.name, data.pathologies, model.scores)]


def _check_model(name: str, pathologies: tuple[str, ...], scores: Floats) -> list[Issue]:
    columns = [
        (pathology, scores[run, :, column])
        for column, pathology in enumerate(pathologies)
        for run in range(len(scores))
        if not np.isnan(scores[run, 0, column])
    ]
    issues = []
    left = columns
    for kind, test, message in _KINDS:
        hit = list(dict.fromkeys(pathology for pathology, values in left if test(values)))
        if kind == "sigmoid-twice" and not _all_twice(hit, columns):
            continue
        if hit:
            issues.append(Issue(kind, Message(f"{message.format(name)} ({', '.join(hit)})"), len(hit), tuple(hit)))
            # One thing is said of a column: the first that explains it.
            left = [(pathology, values) for pathology, values in left if pathology not in hit]
    return issues


def _logits(values: Floats) -> bool:
    return bool(values.min() < 0 and values.max() > 1) or bool(values.max() < 0)


def _outside(values: Floats) -> bool:
    return not is_probability(values)


def _constant(values: Floats) -> bool:
    return len(values) > 1 and bool(np.ptp(values) == 0)


def _two_values(values: Floats) -> bool:
    return len(values) >= _ENOUGH and len(np.unique(values)) == 2


def _ranks(values: Floats) -> bool:
    distinct = np.unique(values)
    if len(values) < _ENOUGH or len(distinct) < 0.9 * len(values):
        return False
    gaps = np.diff(distinct)
    return bool(gaps.std() < 1e-3 * gaps.mean())


def _twice(values: Floats) -> bool:
    return len(values) >= _ENOUGH and bool(values.min() >= _TWICE[0] and values.max() <= _TWICE[1])


def _all_twice(hit: list[str], columns: list[tuple[str, Floats]]) -> bool:
    """Whether all columns are so; of an untrained model some are, close to 0.5."""
    return len(hit) == len(dict(columns)) and max(float(values.max()) for _, values in columns) > 0.55


def has_step(values: Floats) -> bool:
    """Whether the density of scores jumps at 0.5 by more than the slope on either side explains.

    A model whose scores are scaled piecewise, so that its operating point becomes 0.5, has such a step: the scores
    below are stretched over half of the scale, and those above are squeezed into the other half.
    """
    edges = 0.5 + _WIDTH * np.arange(-2, 3)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    # The last bin of a histogram is closed on the right, where a value or two do not matter.
    if counts.min() < 8:
        return False
    logs = np.log(counts)
    # The trend from one bin to the next, on either side of 0.5, would continue across it.
    expected = ((logs[1] - logs[0]) + (logs[3] - logs[2])) / 2
    jump = (logs[2] - logs[1]) - expected
    weights = np.array([0.5, -1.5, 1.5, -0.5])
    error = math.sqrt(float((weights**2 / counts).sum()))
    return bool(abs(jump) > max(_JUMP, _SURE * error))


#: Kind of issue, test of a column, and message. Of a column the first that fits is reported.
_KINDS: tuple[tuple[str, Callable[[Floats], bool], str], ...] = (
    (
        "logits",
        _logits,
        "{} predicts values below 0 and above 1, as logits are; only rankings are scored "
        f"({argument('logits', True)} turns them into probabilities)",
    ),
    (
        "outside-probabilities",
        _outside,
        "{} predicts values outside [0, 1], which are not probabilities; only rankings are scored",
    ),
    ("constant-predictions", _constant, "{} predicts the same value for every image"),
    (
        "two-values",
        _two_values,
        "{} predicts only two values, so decisions rather than probabilities, and AUROC rests on one threshold",
    ),
    (
        "rank-only",
        _ranks,
        "{} predicts equally spaced values, so ranks rather than probabilities; calibration means nothing for them",
    ),
    (
        "sigmoid-twice",
        _twice,
        "{} predicts values between 0.5 and 0.73 only, as if a sigmoid had been applied twice",
    ),
    (
        "step-at-half",
        has_step,
        "the density of predictions of {} jumps at 0.5, as if they had been rescaled to make 0.5 the operating point; "
        "they are not the probabilities that were trained",
    ),
)
