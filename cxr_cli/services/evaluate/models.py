"""One model on the test set: ranking, calibration and operating points of every pathology."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.schemas import NO_FINDING
from cxr_cli.services.evaluate.checks import is_probability
from cxr_cli.services.evaluate.estimates import Plan, estimate, of_fit
from cxr_cli.services.evaluate.inputs import EvaluationSet, Model
from cxr_cli.services.evaluate.result import (
    Bin,
    Calibration,
    Estimate,
    MeanResult,
    ModelResult,
    NotScored,
    OperatingPoint,
    PathologyResult,
)
from cxr_cli.services.metrics.bootstrap import RankStatistics, Sums, Tallies
from cxr_cli.services.metrics.calibration import (
    calibration_intercept,
    calibration_slope,
    equal_mass_bins,
    expected_calibration_error,
)
from cxr_cli.services.metrics.contributions import auroc_contributions, degrees_of_freedom
from cxr_cli.services.metrics.ranking import auroc, average_precision
from cxr_cli.services.metrics.thresholds import Confusion, confusion_cells, predictive_values, rates

Floats = NDArray[np.float64]

#: With fewer positives (or negatives) a reliability curve is not drawn and a subgroup is too small.
FEW = 20
#: Bins of a reliability curve.
N_BINS = 10


class ModelPart:
    """One model: statistics of draws, and the result made of them.

    Parameters
    ----------
    plan
        Where statistics of draws go.
    data
        The test set.
    model
        One of its models.
    thresholds
        For each rule, thresholds of shape (n_runs, n_pathologies).
    corrected
        Scores after the correction for class weights, of the shape of the model's; None without one.
    """

    def __init__(
        self,
        plan: Plan,
        data: EvaluationSet,
        model: Model,
        thresholds: Mapping[str, Floats] | None = None,
        corrected: Floats | None = None,
    ) -> None:
        self.plan, self.data, self.model = plan, data, model
        self.columns = [column for column in range(len(data.pathologies)) if model.has[column]]
        n_positive, n_negative = (data.labels == 1).sum(axis=0), (data.labels == 0).sum(axis=0)
        self.scored = [column for column in self.columns if n_positive[column] and n_negative[column]]
        self.members = [column for column in self.scored if data.pathologies[column] != NO_FINDING]
        every = len(self.scored) == len(data.pathologies)  # then nothing need be copied
        labels = data.labels if every else data.labels[:, self.scored]
        scores = model.scores if every else model.scores[:, :, self.scored]
        # Shape (n_runs, n_scored).
        self.areas = np.stack([auroc(labels, run) for run in scores])
        self.precisions = np.stack([average_precision(labels, run) for run in scores])
        self.rank = [plan.add(RankStatistics(labels, run, plan.clusters)) for run in scores]
        #: By how much each patient moves each AUROC, shape (n_clusters, n_scored).
        self.contributions: Floats = np.mean(
            [auroc_contributions(labels, run, plan.clusters) for run in scores], axis=0
        )
        self.calibration = CalibrationPart(plan, labels, scores)
        self.corrected = None
        if corrected is not None:
            self.corrected = CalibrationPart(plan, labels, corrected[:, :, self.scored])
        self.points = {
            rule: OperatingPart(plan, labels, scores, values[:, self.scored])
            for rule, values in (thresholds or {}).items()
        }

    def draws(self) -> Floats:
        """Return AUROC and average precision of each draw, mean over runs; shape (n_draws, n_scored, 2)."""
        runs = [self.plan.draws(number) for number in self.rank]
        return runs[0] if len(runs) == 1 else np.mean(runs, axis=0)

    def member_places(self) -> list[int]:
        """Return where the members of the mean stand among the scored pathologies."""
        return [self.scored.index(column) for column in self.members]

    def result(
        self, confidence: float, prevalence: float | None, over_patients: ModelPart | None = None
    ) -> ModelResult:
        """Return the result, once the plan has run."""
        return ModelResult(
            name=self.model.name,
            files=self.model.files,
            n_runs=len(self.model.scores),
            pathologies=tuple(
                self._pathology(place, confidence, prevalence, over_patients) for place in range(len(self.scored))
            ),
            mean=self._mean(confidence, over_patients),
            not_scored=tuple(self._not_scored()),
        )

    def ranking(self, places: list[int], confidence: float) -> tuple[Estimate, Estimate]:
        """Return the mean AUROC and the mean average precision of some of the scored pathologies."""
        if not places:
            return Estimate(float("nan")), Estimate(float("nan"))
        draws = self.draws()[:, places].mean(axis=1)
        # Of the AUROC; the same patients carry the average precision.
        freedom = degrees_of_freedom(self.contributions[:, places].mean(axis=1))
        areas, precisions = self.areas[:, places].mean(), self.precisions[:, places].mean()
        return (
            estimate(float(areas), draws[:, 0], confidence, freedom),
            estimate(float(precisions), draws[:, 1], confidence, freedom),
        )

    def _pathology(
        self, place: int, confidence: float, prevalence: float | None, over_patients: ModelPart | None
    ) -> PathologyResult:
        column = self.scored[place]
        labels = self.data.labels[:, column]
        known, positive = ~np.isnan(labels), labels == 1
        area, precision = self.ranking([place], confidence)
        return PathologyResult(
            pathology=self.data.pathologies[column],
            n_images=int(known.sum()),
            n_patients=len(np.unique(self.plan.clusters[known])),
            n_positive=int(positive.sum()),
            n_positive_patients=len(np.unique(self.plan.clusters[positive])),
            n_unknown=int((~known).sum()),
            prevalence=float(positive.sum() / known.sum()),
            in_mean=column in self.members,
            auroc=area,
            auprc=precision,
            auroc_runs=tuple(self.areas[:, place].tolist()),
            auprc_runs=tuple(self.precisions[:, place].tolist()),
            auroc_over_patients=None if over_patients is None else over_patients.ranking([place], confidence)[0],
            calibration=self.calibration.result(place, confidence),
            calibration_corrected=None if self.corrected is None else self.corrected.result(place, confidence),
            operating_points=tuple(
                point
                for rule, part in self.points.items()
                if (point := part.result(rule, place, confidence, prevalence)) is not None
            ),
        )

    def _mean(self, confidence: float, over_patients: ModelPart | None) -> MeanResult:
        places = self.member_places()
        nothing = np.full(len(self.areas), np.nan)
        area, precision = self.ranking(places, confidence)
        return MeanResult(
            members=tuple(self.data.pathologies[column] for column in self.members),
            auroc=area,
            auprc=precision,
            auroc_runs=tuple((self.areas[:, places].mean(axis=1) if places else nothing).tolist()),
            auprc_runs=tuple((self.precisions[:, places].mean(axis=1) if places else nothing).tolist()),
            auroc_over_patients=None
            if over_patients is None or not places
            else over_patients.ranking(places, confidence)[0],
        )

    def _not_scored(self) -> list[NotScored]:
        found = list(self.data.not_scored)
        for column, name in enumerate(self.data.pathologies):
            labels = self.data.labels[:, column]
            if not self.model.has[column]:
                found.append(NotScored(name, "no predictions"))
            elif column not in self.scored:
                n_positive, n_negative = int((labels == 1).sum()), int((labels == 0).sum())
                lacking = "known labels" if not n_positive + n_negative else "negatives" if n_positive else "positives"
                found.append(NotScored(name, f"no {lacking} among the test images"))
        return found


class CalibrationPart:
    """Calibration of some pathologies; runs are pooled.

    Parameters
    ----------
    plan
        Where statistics of draws go.
    labels
        Shape (n_images, n_pathologies).
    scores
        Shape (n_runs, n_images, n_pathologies).
    """

    def __init__(self, plan: Plan, labels: Floats, scores: Floats) -> None:
        self.plan = plan
        n_runs, n_images, n_columns = scores.shape
        self.labels = labels if n_runs == 1 else np.tile(labels, (n_runs, 1))
        self.scores = scores.reshape(n_runs * n_images, n_columns)
        self.clusters = plan.clusters if n_runs == 1 else np.tile(plan.clusters, n_runs)
        known = ~np.isnan(labels)
        self.possible = [is_probability(self.scores[~np.isnan(self.labels[:, k]), k]) for k in range(n_columns)]
        squares = np.zeros(labels.shape)
        for column in [column for column, ok in enumerate(self.possible) if ok]:
            error = np.where(known[:, column], (scores[:, :, column] - labels[:, column]) ** 2, 0.0)
            squares[:, column] = error.mean(axis=0)
        self.n_known, self.n_positive = known.sum(axis=0), (labels == 1).sum(axis=0)
        self.squares = squares.sum(axis=0)
        self.sums = [plan.add(Sums(values, plan.clusters)) for values in (squares, labels == 1, known)]
        self.bins = [
            equal_mass_bins(self.labels[:, column], self.scores[:, column], N_BINS) if ok else None
            for column, ok in enumerate(self.possible)
        ]
        categories = np.full(self.labels.shape, -1, np.int8)
        for column, bins in enumerate(self.bins):
            if bins is not None:
                inside = bins.number >= 0
                categories[inside, column] = 2 * bins.number[inside] + (self.labels[inside, column] == 1)
        self.tallies = plan.add(Tallies(categories, self.clusters, 2 * N_BINS))

    def result(self, place: int, confidence: float) -> Calibration | None:
        """Return the calibration of a pathology, once the plan has run; None if its scores are not probabilities."""
        bins = self.bins[place]
        if bins is None:
            return None
        squares, positive, known = (self.plan.draws(number)[:, place] for number in self.sums)
        brier, rate = _fraction(squares, known), _fraction(positive, known)
        with np.errstate(invalid="ignore", divide="ignore"):
            skill = np.where((positive > 0) & (positive < known), 1 - brier / (rate * (1 - rate)), np.nan)
        n_known, n_positive = int(self.n_known[place]), int(self.n_positive[place])
        score, prevalence = float(self.squares[place] / n_known), n_positive / n_known
        labels, scores = self.labels[:, place], self.scores[:, place]
        few = min(n_positive, n_known - n_positive)
        refused = None
        if few < FEW:
            what = "positives" if n_positive < FEW else "negatives"
            refused = f"{few} {what} are too few for a curve (at least {FEW})"
        return Calibration(
            mean_predicted=float(scores[~np.isnan(labels)].mean()),
            observed=prevalence,
            brier=estimate(score, brier, confidence),
            brier_skill=estimate(1 - score / (prevalence * (1 - prevalence)), skill, confidence),
            intercept=of_fit(calibration_intercept(labels, scores, self.clusters), confidence),
            slope=of_fit(calibration_slope(labels, scores, self.clusters), confidence),
            expected_error=expected_calibration_error(bins) if refused is None else float("nan"),
            bins=self._curve(place, confidence) if refused is None else (),
            curve_refused=refused,
        )

    def _curve(self, place: int, confidence: float) -> tuple[Bin, ...]:
        bins = self.bins[place]
        assert bins is not None
        tallies = self.plan.draws(self.tallies)[:, place]
        points = []
        for number in range(len(bins.n_images)):
            negative, positive = tallies[:, 2 * number], tallies[:, 2 * number + 1]
            rate = _fraction(positive, negative + positive)
            observed = estimate(float(bins.observed[number]), rate, confidence)
            points.append(Bin(int(bins.n_images[number]), float(bins.mean_predicted[number]), observed))
        return tuple(points)


def _fraction(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


class OperatingPart:
    """Confusion counts of some pathologies at one rule's thresholds.

    Parameters
    ----------
    plan
        Where statistics of draws go.
    labels
        Shape (n_images, n_pathologies).
    scores
        Shape (n_runs, n_images, n_pathologies).
    thresholds
        Shape (n_runs, n_pathologies); NaN where there is none.
    rows
        The images to count, as positions in the plan's; all by default.
    """

    def __init__(
        self, plan: Plan, labels: Floats, scores: Floats, thresholds: Floats, rows: NDArray[np.int64] | None = None
    ) -> None:
        self.plan, self.thresholds = plan, thresholds
        clusters = plan.clusters if rows is None else plan.clusters[rows]
        counts = []
        self.numbers = []
        for run, cuts in zip(scores, thresholds, strict=True):
            cells = confusion_cells(labels, run, cuts)
            counts.append(cells.sum(axis=1).T)
            categories = np.where(cells.any(axis=0), cells.argmax(axis=0).astype(np.int8), np.int8(-1))
            self.numbers.append(plan.add(Tallies(categories, clusters, 4)))
        #: Shape (n_pathologies, 4): true and false positives, true and false negatives.
        self.counts = np.mean(counts, axis=0)

    def draws(self, place: int) -> Confusion:
        """Return the confusion counts of each draw, mean over runs."""
        tallies = np.mean([self.plan.draws(number)[:, place] for number in self.numbers], axis=0)
        return Confusion(*tallies.T)

    def observed(self, place: int) -> Confusion:
        """Return the confusion counts of the images."""
        return Confusion(*self.counts[place])

    def result(self, rule: str, place: int, confidence: float, prevalence: float | None) -> OperatingPoint | None:
        """Return a pathology's operating point, once the plan has run; None if it has no threshold."""
        cuts = self.thresholds[:, place]
        if np.isnan(cuts).any():
            return None
        seen, drawn = rates(self.observed(place)), rates(self.draws(place))

        def of(name: str) -> Estimate:
            return estimate(float(getattr(seen, name)), getattr(drawn, name), confidence)

        elsewhere: Sequence[Estimate | None] = (None, None)
        if prevalence is not None:
            values = predictive_values(seen.sensitivity, seen.specificity, prevalence)
            draws = predictive_values(drawn.sensitivity, drawn.specificity, prevalence)
            elsewhere = [estimate(float(value), draw, confidence) for value, draw in zip(values, draws, strict=True)]
        counts = [float(count) for count in self.counts[place]]
        return OperatingPoint(
            rule=rule,
            thresholds=tuple(cuts.tolist()),
            true_positive=counts[0],
            false_positive=counts[1],
            true_negative=counts[2],
            false_negative=counts[3],
            sensitivity=of("sensitivity"),
            specificity=of("specificity"),
            ppv=of("ppv"),
            npv=of("npv"),
            f1=of("f1"),
            ppv_at_prevalence=elsewhere[0],
            npv_at_prevalence=elsewhere[1],
        )
