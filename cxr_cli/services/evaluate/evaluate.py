"""`evaluate`: metrics of predictions with intervals over patients, and what to know before believing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cxr_cli.choices import Unit, checked
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.predictions import Predictions, folded
from cxr_cli.data.thresholds import Thresholds
from cxr_cli.errors import InputError, Message, UsageError, argument
from cxr_cli.services.evaluate.checks import check_scores, is_probability
from cxr_cli.services.evaluate.choose_thresholds import (
    as_list,
    choose_thresholds,
    from_logits,
    main_rule,
    thresholds_file,
)
from cxr_cli.services.evaluate.class_weights import card_of
from cxr_cli.services.evaluate.compare import compare_models
from cxr_cli.services.evaluate.curves import model_curves
from cxr_cli.services.evaluate.estimates import Plan
from cxr_cli.services.evaluate.inputs import (
    EvaluationSet,
    Model,
    build,
    groups_of,
    runs_of,
    truth_of_predictions,
    truth_of_table,
)
from cxr_cli.services.evaluate.leakage import seen_in_training, seen_in_validation
from cxr_cli.services.evaluate.metrics_table import is_left_over, metrics_table
from cxr_cli.services.evaluate.models import ModelPart
from cxr_cli.services.evaluate.reference import PUBLISHED
from cxr_cli.services.evaluate.result import EvaluateResult, Issue
from cxr_cli.services.evaluate.subgroups import SubgroupPart, subgroup_plot
from cxr_cli.services.metrics.calibration import correct_prior

Floats = NDArray[np.float64]

#: With so many positives, an AUROC of 1 is too good to be true.
_TOO_GOOD = 20
_NO_THRESHOLDS = (
    "no validation predictions were given, and a threshold chosen on the test images would look better than it is"
)


def evaluate(
    predictions: Predictions | Sequence[Predictions],
    labels: LabelTable | None = None,
    *,
    name: str = "model",
    compare: Mapping[str, Sequence[Predictions]] | None = None,
    attributes: LabelTable | None = None,
    by: Sequence[str] = (),
    valid: Predictions | Sequence[Predictions] | None = None,
    valid_labels: LabelTable | None = None,
    thresholds: Thresholds | float | None = None,
    rule: str | None = None,
    prevalence: float | None = None,
    train_labels: LabelTable | None = None,
    undo_class_weights: ClassWeights | None = None,
    logits: bool = False,
    n_draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    unit: Unit = "patient",
    reference: bool = False,
    curves: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    outputs: Outputs | None = None,
) -> EvaluateResult:
    """Measure how well predictions agree with labels, and how sure of it one may be.

    Parameters
    ----------
    predictions
        One file of predictions, or several: runs of one recipe on the same images, or folds with different images.
    labels
        The label table; None if the labels stand in the predictions files.
    name
        What to call the model.
    compare
        Further models on the same images, by name.
    attributes
        A table that adds patients, sex, age and view to labels that lack them.
    by
        Attributes to divide the images by: "sex", "age", "view", or a column of one of the tables.
    valid
        Predictions for validation images, which thresholds are chosen on; as many runs as `predictions`.
    valid_labels
        Their labels. Default: those in their files, or else `labels`.
    thresholds
        Thresholds chosen elsewhere, or one number for all pathologies, instead of `valid`.
    rule
        The rule whose threshold is used for subgroups. Default: "youden", or that of `thresholds`.
    prevalence
        Give predictive values at this prevalence too.
    train_labels
        The table that the model was trained on: test patients in it are reported as leakage.
    undo_class_weights
        Class weights that were in the training loss: calibration is given before and after their correction.
    logits
        Put the predictions through a sigmoid.
    n_draws, confidence, seed
        Of the bootstrap.
    unit
        Unit that a draw takes: "patient" or, for comparison with the literature, "image".
    reference
        Add published results.
    curves
        Compute ROC and precision-recall curves with bands, for plots; done anyway if `outputs` wants plots.
    workers
        Threads; the result does not depend on it.
    progress
        Called with (draws done, all draws).
    outputs
        Where to write ``metrics.csv``, the plots and, if thresholds were chosen, ``thresholds.json``. None writes
        nothing.

    Raises
    ------
    UsageError
        Options contradict each other or are out of range.
    InputError
        Inputs do not fit together.

    References
    ----------
    G. S. Collins et al.: TRIPOD+AI statement. BMJ 385 (2024) e078378. A. S. Tejani et al.: Checklist for Artificial
    Intelligence in Medical Imaging (CLAIM): 2024 update. Radiology: Artificial Intelligence 6 (2024) e240300.
    """
    _check_options(n_draws, confidence, unit, prevalence, thresholds, valid)
    files = as_list(predictions)
    models = {name: files}
    for other, runs in (compare or {}).items():
        if other in models:
            raise UsageError(f"two models are called {other}", remedy="Give each model a name of its own.")
        models[other] = list(runs)
    if logits:
        models = {key: [from_logits(item) for item in items] for key, items in models.items()}
    joined = runs_of(name, models[name])
    truth = truth_of_predictions(joined[0]) if labels is None else truth_of_table(labels)
    data = build(models, truth, attributes, unit=unit)
    issues = [*_unused(models), *data.issues, *check_scores(data)]
    if undo_class_weights is None:
        issues += _weights_in_loss(files[0])
    chosen, validation = choose_thresholds(
        data.models[0], data.pathologies, name, valid, valid_labels, labels, thresholds, logits
    )
    leakage = False
    if validation is not None:
        found, seen = seen_in_validation(data, validation.files, validation.truth)
        issues += [*validation.issues, *found]
        leakage |= seen
    if train_labels is not None:
        found, seen = seen_in_training(data, train_labels, labels)
        issues += found
        leakage |= seen
    rule = main_rule(rule, chosen)
    if outputs is not None:
        names = [] if is_left_over(outputs.folder / "metrics.csv") else ["metrics.csv"]
        names += ["thresholds.json"] if validation is not None else []
        outputs.refuse_to_replace(*names, *(f"{subgroup_plot(item)}.png" for item in by if outputs.plots))
        curves |= outputs.plots
    plan = Plan(data.clusters)
    corrected = None
    if undo_class_weights is not None:
        corrected = _corrected(data.models[0], data.pathologies, undo_class_weights)
    parts = [
        ModelPart(plan, data, model, chosen if place == 0 else None, corrected if place == 0 else None)
        for place, model in enumerate(data.models)
    ]
    if not parts[0].scored:
        raise InputError(
            f"{data.labels_from}: no pathology has both positives and negatives among {len(data.images):,} test images",
            expected="at least one pathology with both",
            remedy="Give more test images.",
        )
    tables = [table for table in (labels, attributes) if table is not None]
    subgroups = [
        SubgroupPart(
            plan,
            data,
            data.models[0],
            parts[0].scored,
            attribute,
            groups_of(attribute, data.images, tables),
            None if rule is None else chosen[rule],
        )
        for attribute in by
    ]
    plan.run(n_draws, seed, workers, progress)
    over_patients = _over_patients(data, n_draws, seed, workers) if unit == "image" else None
    main = parts[0].result(confidence, prevalence, over_patients)
    issues += [issue for part in parts for issue in _perfect(part)]
    result = EvaluateResult(
        n_images=len(data.images),
        n_patients=data.n_patients,
        labels_from=data.labels_from,
        patients_from=data.patients_from,
        unit=unit if data.patients_from is not None else "image",
        n_draws=n_draws,
        confidence=confidence,
        seed=seed,
        narrower=_narrower(main.pathologies) if over_patients is not None else None,
        models=(main, *(part.result(confidence, None) for part in parts[1:])),
        comparisons=compare_models(data, parts, confidence),
        subgroups=tuple(part.result(confidence) for part in subgroups),
        rule=rule,
        thresholds_refused=None if chosen else _NO_THRESHOLDS,
        prevalence=prevalence,
        leakage=leakage,
        issues=tuple(issues),
        published=PUBLISHED if reference else (),
        curves=model_curves(data, parts, seed, confidence) if curves else None,
        thresholds=None if validation is None else thresholds_file(chosen, data.pathologies, rule, validation.files),
    )
    if outputs is not None:
        outputs.write_text("metrics.csv", metrics_table(result))
        if result.thresholds is not None:
            result.thresholds.write(outputs, "thresholds.json")
        if outputs.plots:
            from cxr_cli.plots.evaluate import figures

            for plot, figure in figures(result):
                outputs.write_figure(f"{plot}.png", figure)
    return result


def _check_options(
    n_draws: int,
    confidence: float,
    unit: str,
    prevalence: float | None,
    thresholds: Thresholds | float | None,
    valid: object,
) -> None:
    if n_draws < 100:
        raise UsageError(
            argument("n_draws", n_draws, option=f"--draws {n_draws}"),
            expected="at least 100, because an interval is made of their tails",
        )
    if not 0.5 <= confidence < 1:
        raise UsageError(argument("confidence", confidence), expected="a number from 0.5 to below 1, such as 0.95")
    checked(Unit, unit, "unit")
    if prevalence is not None and not 0 < prevalence < 1:
        raise UsageError(argument("prevalence", prevalence), expected="a number between 0 and 1")
    if isinstance(thresholds, (int, float)) and not np.isfinite(thresholds):
        raise UsageError(argument("thresholds", thresholds), expected="a finite number, such as 0.5")
    if thresholds is not None and valid is not None:
        raise UsageError(
            f"{argument('thresholds')} are given, and {argument('valid')} would choose others",
            remedy="Give one of the two.",
        )


def _unused(models: Mapping[str, Sequence[Predictions]]) -> list[Issue]:
    issues = []
    for items in models.values():
        for item in items:
            if item.unused:
                message = f"{item.path}: columns that are not read: {', '.join(item.unused[:10])}"
                issues.append(Issue("unused-columns", message, len(item.unused), item.unused[:10]))
    return issues


def _perfect(part: ModelPart) -> list[Issue]:
    """Return an issue if pathologies are ranked without any mistake, which real predictions do not do."""
    names = [
        part.data.pathologies[column]
        for place, column in enumerate(part.scored)
        if (part.areas[:, place] == 1).any() and (part.data.labels[:, column] == 1).sum() >= _TOO_GOOD
    ]
    if not names:
        return []
    message = (
        f"{part.model.name} ranks every image right ({', '.join(names)}): are these predictions, and of images that "
        "were not used for training?"
    )
    return [Issue("perfect-ranking", message, len(names), tuple(names))]


def _weights_in_loss(predictions: Predictions) -> list[Issue]:
    card = card_of(predictions)
    if card is None or card.loss.class_weights is None:
        return []
    undo = argument("undo_class_weights", option=f"--undo-class-weights {card.model.path}")
    message = Message(
        f"class weights were in the loss of {card.model.path}, so its probabilities are too high; {undo} shows the "
        "calibration after their correction"
    )
    return [Issue("class-weights-in-loss", message, len(card.loss.class_weights.pathologies))]


def _corrected(model: Model, pathologies: Sequence[str], weights: ClassWeights) -> Floats:
    place = {folded(name): number for number, name in enumerate(weights.pathologies)}
    corrected = model.scores.copy()
    n_found = 0
    for column, pathology in enumerate(pathologies):
        number = place.get(folded(pathology))
        scores = model.scores[:, :, column]
        if number is not None and is_probability(scores):
            corrected[:, :, column] = correct_prior(scores, weights.positive[number], weights.negative[number])
            n_found += 1
    if not n_found:
        raise InputError(
            f"{weights.path or 'class weights'}: no weights for a pathology that is scored as a probability",
            expected=f"some of {', '.join(pathologies)}",
        )
    return corrected


def _over_patients(data: EvaluationSet, n_draws: int, seed: int, workers: int) -> ModelPart | None:
    """Return the first model with draws of patients; None where patients are unknown."""
    if data.patients_from is None:
        return None
    from cxr_cli.services.metrics.bootstrap import clusters_of

    plan = Plan(clusters_of(data.patients))
    part = ModelPart(plan, data, data.models[0])
    plan.run(n_draws, seed, workers)
    return part


def _narrower(rows: Sequence[object]) -> float | None:
    ratios = []
    for row in rows:
        over_images, over_patients = row.auroc, row.auroc_over_patients  # type: ignore[attr-defined]
        width = over_patients.high - over_patients.low
        if width > 0:
            ratios.append((over_images.high - over_images.low) / width)
    return float(np.mean(ratios)) if ratios else None
