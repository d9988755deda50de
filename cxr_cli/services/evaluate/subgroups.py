"""The first model in subgroups: sexes, ages, views, or any attribute of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxr_cli.errors import UsageError, argument
from cxr_cli.services.evaluate.checks import is_probability
from cxr_cli.services.evaluate.estimates import Plan, estimate
from cxr_cli.services.evaluate.inputs import EvaluationSet, Model
from cxr_cli.services.evaluate.models import FEW, OperatingPart
from cxr_cli.services.evaluate.result import Estimate, Group, GroupPathology, Subgroups
from cxr_cli.services.metrics.bootstrap import RankStatistics, Sums
from cxr_cli.services.metrics.contributions import auroc_contributions, degrees_of_freedom
from cxr_cli.services.metrics.ranking import auroc, average_precision
from cxr_cli.services.metrics.thresholds import Confusion, rates

Floats = NDArray[np.float64]

#: An attribute with more values than this does not divide images into groups.
MOST_GROUPS = 30


class SubgroupPart:
    """A model by one attribute: statistics of draws, and the result made of them.

    Parameters
    ----------
    plan, data, model
        Where statistics of draws go, the test set, and one of its models.
    columns
        The pathologies, as columns of the labels.
    attribute, groups
        Its name, and the group of each image (None where unknown).
    thresholds
        Shape (n_runs, n_pathologies of the test set), or None.

    Raises
    ------
    UsageError
        The attribute has no known value, or too many.
    """

    def __init__(
        self,
        plan: Plan,
        data: EvaluationSet,
        model: Model,
        columns: Sequence[int],
        attribute: str,
        groups: Sequence[str | None],
        thresholds: Floats | None,
    ) -> None:
        self.attribute, self.names = attribute, [data.pathologies[column] for column in columns]
        values = np.array([group or "" for group in groups], dtype=object)
        found = sorted({group for group in groups if group}, key=_age_first)
        if not found or len(found) > MOST_GROUPS:
            raise UsageError(
                f"{argument('by', attribute)}: {len(found):,} different values in the test images",
                expected=f"an attribute with 1 to {MOST_GROUPS} values",
            )
        self.n_unknown = int((values == "").sum())
        self.parts = []
        for name in found:
            rows = np.flatnonzero(values == name)
            self.parts.append(_GroupPart(plan, data, model, list(columns), name, rows, thresholds))
        if attribute.strip().casefold() != "age":
            self.parts.sort(key=lambda part: -len(part.rows))
        self.reference = max(self.parts, key=lambda part: len(part.rows))

    def result(self, confidence: float) -> Subgroups:
        """Return the result, once the plan has run."""
        return Subgroups(
            attribute=self.attribute,
            reference=self.reference.name,
            groups=tuple(
                Group(
                    name=part.name,
                    n_images=len(part.rows),
                    n_patients=len(np.unique(part.clusters)),
                    pathologies=tuple(
                        part.result(place, name, confidence, None if part is self.reference else self.reference)
                        for place, name in enumerate(self.names)
                    ),
                )
                for part in self.parts
            ),
            n_unknown=self.n_unknown,
        )


class _GroupPart:
    def __init__(
        self,
        plan: Plan,
        data: EvaluationSet,
        model: Model,
        columns: list[int],
        name: str,
        rows: NDArray[np.int64],
        thresholds: Floats | None,
    ) -> None:
        self.plan, self.name, self.rows = plan, name, rows
        self.clusters = plan.clusters[rows]
        self.data, self.columns = data, columns
        labels = data.labels[rows][:, columns]
        scores = model.scores[:, rows][:, :, columns]
        self.areas = np.mean([auroc(labels, run) for run in scores], axis=0)
        self.precisions = np.mean([average_precision(labels, run) for run in scores], axis=0)
        self.rank = [plan.add(RankStatistics(labels, run, self.clusters)) for run in scores]
        moved = np.mean([auroc_contributions(labels, run, self.clusters) for run in scores], axis=0)
        self.freedom = [degrees_of_freedom(column) for column in moved.T]
        self.points = None
        if thresholds is not None:
            self.points = OperatingPart(plan, labels, scores, thresholds[:, columns], rows)
        known = ~np.isnan(labels)
        self.probable = [is_probability(model.scores[:, :, column]) for column in columns]
        # Scores that are not probabilities may be so large that their squares are infinite.
        chances = np.where(self.probable, scores, 0.0)
        errors = np.where(known & self.probable, np.mean((chances - labels) ** 2, axis=0), 0.0)
        self.brier = errors.sum(axis=0)
        self.sums = [plan.add(Sums(values, self.clusters)) for values in (errors, known)]

    def _rank_draws(self, place: int) -> Floats:
        draws: Floats = np.mean([self.plan.draws(number)[:, place] for number in self.rank], axis=0)
        return draws

    def _rates(self, place: int, *, drawn: bool) -> tuple[Floats, Floats] | None:
        """Return false positive and false negative rates; None without a threshold."""
        if self.points is None or np.isnan(self.points.thresholds[:, place]).any():
            return None
        counts: Confusion = self.points.draws(place) if drawn else self.points.observed(place)
        found = rates(counts)
        return 1 - found.specificity, 1 - found.sensitivity

    def result(self, place: int, name: str, confidence: float, reference: _GroupPart | None) -> GroupPathology:
        labels = self.data.labels[self.rows, self.columns[place]]
        known, positive = ~np.isnan(labels), labels == 1
        n_known, n_positive = int(known.sum()), int(positive.sum())
        draws = self._rank_draws(place)
        seen, drawn = self._rates(place, drawn=False), self._rates(place, drawn=True)
        of_rates: list[Estimate | None] = [None, None]
        rate_gaps: list[Estimate | None] = [None, None]
        area_gap = None
        if seen is not None and drawn is not None:
            of_rates = [estimate(float(seen[k]), drawn[k], confidence) for k in range(2)]
        if reference is not None:
            area_gap = estimate(
                float(self.areas[place] - reference.areas[place]),
                draws[:, 0] - reference._rank_draws(place)[:, 0],
                confidence,
            )
            other_seen, other_drawn = reference._rates(place, drawn=False), reference._rates(place, drawn=True)
            if seen is not None and drawn is not None and other_seen is not None and other_drawn is not None:
                rate_gaps = [
                    estimate(float(seen[k] - other_seen[k]), drawn[k] - other_drawn[k], confidence) for k in range(2)
                ]
        return GroupPathology(
            pathology=name,
            n_images=n_known,
            n_patients=len(np.unique(self.clusters[known])),
            n_positive=n_positive,
            too_small=min(n_positive, n_known - n_positive) < FEW,
            prevalence=n_positive / n_known if n_known else float("nan"),
            auroc=estimate(float(self.areas[place]), draws[:, 0], confidence, self.freedom[place]),
            auprc=estimate(float(self.precisions[place]), draws[:, 1], confidence, self.freedom[place]),
            brier=self._brier(place, n_known, confidence) if self.probable[place] else None,
            fpr=of_rates[0],
            fnr=of_rates[1],
            auroc_gap=area_gap,
            fpr_gap=rate_gaps[0],
            fnr_gap=rate_gaps[1],
        )

    def _brier(self, place: int, n_known: int, confidence: float) -> Estimate:
        squares, known = (self.plan.draws(number)[:, place] for number in self.sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = np.where(known > 0, squares / known, np.nan)
            value = self.brier[place] / n_known if n_known else np.nan
        return estimate(float(value), draws, confidence)


def subgroup_plot(attribute: str) -> str:
    """Return the name of an attribute's plot, without suffix.

    Examples
    --------
    >>> subgroup_plot("Patient Gender")
    'forest-patient-gender'
    """
    return "forest-" + "".join(sign if sign.isalnum() else "-" for sign in attribute.casefold())


def _age_first(name: str) -> tuple[int, str]:
    """Sort groups of ages by their lower end, and others by name."""
    match = re.match(r"(\d{1,3})[-+]", name)
    return (int(match[1]) if match else 0), name
