"""From results to sections: the facts, tables and figures that a methods section or a reviewer needs."""

from __future__ import annotations

import io
import math
import re
import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cxr_cli.data.names import in_print
from cxr_cli.services.report.checklists import FILLED_BY
from cxr_cli.services.report.collect import Collection, Found
from cxr_cli.services.report.page import Figure, Part, Section, Source, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from cxr_cli.services.check_leakage.result import LeakageReport
    from cxr_cli.services.evaluate.result import EvaluateResult, ModelResult
    from cxr_cli.services.explain.result import ExplainResult
    from cxr_cli.services.explore.result import ExploreResult
    from cxr_cli.services.model_card import DataSource
    from cxr_cli.services.predict.result import PredictResult
    from cxr_cli.services.preprocess.result import PreprocessResult
    from cxr_cli.services.split.result import SplitResult
    from cxr_cli.services.train.result import TrainResult
    from cxr_cli.services.weights.result import WeightsResult

TITLES = {
    "data": "Data",
    "leakage": "Leakage",
    "splits": "Splits",
    "preprocessing": "Preprocessing",
    "weights": "Class weights",
    "model": "Model",
    "training": "Training",
    "predictions": "Predictions",
    "evaluation": "Evaluation",
    "explanation": "Where the model looks",
}
#: How a command that was not run would be typed.
COMMANDS = {
    "explore": "cxr explore LABELS --output DIR",
    "check-leakage": "cxr check-leakage TRAIN VALID --images DIR --output DIR",
    "split": "cxr split LABELS --output DIR",
    "preprocess": "cxr preprocess LABELS --images DIR --output STORE",
    "weights": "cxr weights LABELS --output DIR",
    "build-model": "cxr build-model --store STORE --save MODEL.keras",
    "train": "cxr train MODEL.keras --train STORE --valid STORE --output DIR",
    "predict": "cxr predict MODEL.keras STORE --output predictions.csv",
    "evaluate": "cxr evaluate predictions.csv --labels LABELS --output DIR",
    "explain": "cxr explain MODEL.keras STORE --boxes BOXES --output DIR",
}


def sections(collection: Collection) -> tuple[Section, ...]:
    """Return every section of the report, empty ones with the command that would fill them."""
    made = []
    for name, command in FILLED_BY.items():
        parts = tuple(_part(run) for run in collection.of(command))
        made.append(Section(name, TITLES[name], parts, None if parts else COMMANDS[command]))
    return tuple(made)


def _part(run: Found) -> Part:
    facts, tables, drawings, notes = _WRITERS[run.command](run.result)
    return Part(
        source=source_of(run),
        facts=tuple((name, value) for name, value in facts if value),
        tables=tuple(table for table in tables if table.rows),
        figures=tuple(Figure(caption, svg_of(figure)) for caption, figure in drawings),
        notes=tuple(notes),
    )


def source_of(run: Found) -> Source:
    """Return where a run's numbers come from."""
    command = shlex.join(("cxr", *run.arguments)) if run.arguments else f"cxr {run.command}"
    return Source(command, str(run.path), run.source.sha256, tuple((item.path, item.sha256) for item in run.inputs))


def svg_of(figure: Drawing) -> str:
    """Return a figure as one SVG element whose names of parts do not depend on time or chance."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "cxr", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, dpi=96)
    text = stream.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


_Written = tuple[list[tuple[str, str]], list[Table], list[tuple[str, "Drawing"]], list[str]]


def _explore(result: ExploreResult) -> _Written:
    from cxr_cli.plots import explore as plots

    table, labels = result.table, result.labels
    facts = [
        ("Label table", table.path),
        ("Kind", table.schema),
        ("Images", _count(table.n_images)),
        ("Rows", _count(table.n_rows) if table.n_rows != table.n_images else ""),
        ("Pathologies", _count(labels.n_pathologies)),
        ("Images without a finding", _part_of(labels.n_without_finding, table.n_rows)),
        ("Uncertain labels", f"{_count(table.n_uncertain)}, read as: {table.uncertain}" if table.n_uncertain else ""),
    ]
    if result.patients is not None:
        patients = result.patients
        facts.insert(3, ("Patients", _count(patients.n_patients)))
        facts.append(("Images per patient", f"mean {patients.mean:.2f}, at most {_count(patients.maximum)}"))
    if result.age is not None:
        age = result.age
        facts.append(("Age", f"{age.mean:.1f} ± {age.std:.1f} years, {age.minimum:g} to {age.maximum:g}"))
    for name, groups in (("Sex", result.by_sex), ("View", result.by_view)):
        if groups is not None:
            counted = [f"{group.name} {_part_of(group.n_images, table.n_rows)}" for group in groups.groups]
            facts.append((name, ", ".join(counted)))
    columns: tuple[str, ...] = ("Pathology", "Positive images", "Patients", "Prevalence (95 % CI)", "Unknown")
    ordered = sorted(result.pathologies, key=lambda row: -row.n_positive)
    rows: list[tuple[str, ...]] = [
        (
            in_print(row.pathology),
            _count(row.n_positive),
            _count(row.n_patients),
            _prevalence(row),
            _count(row.n_unknown),
        )
        for row in ordered
    ]
    if not any(row.n_unknown for row in ordered):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    shortcuts = [
        (
            in_print(row.pathology),
            f"{row.attribute} {row.group}",
            _percent(row.prevalence),
            _percent(row.prevalence_elsewhere),
            _ratio(row.ratio),
        )
        for row in result.differences
    ]
    tables = [
        Table("Pathologies", columns, tuple(rows)),
        Table(
            "Possible shortcuts: labels that tell view, sex or age apart",
            ("Pathology", "Subgroup", "Prevalence there", "Prevalence elsewhere", "Ratio"),
            tuple(shortcuts),
        ),
    ]
    drawings = [("Images with each finding", plots.label_distribution(result))] if result.pathologies else []
    if result.age is not None or result.by_sex is not None or result.by_view is not None:
        drawings.append(("Images and prevalence by view, sex and age", plots.age_sex_view(result)))
    return facts, tables, drawings, _texts(result.issues)


def _check_leakage(result: LeakageReport) -> _Written:
    from cxr_cli.plots.check_leakage import split_sizes

    verdicts = {"leakage": "leakage found", "clean": "no leakage", "unchecked": "not everything could be compared"}
    facts = [("Verdict", verdicts.get(result.verdict, result.verdict))]
    rows = []
    for pair in result.pairs:
        rows.append(
            (
                f"{pair.first} and {pair.second}",
                "not compared" if pair.patients is None else _count(pair.patients.n_patients),
                _count(pair.names.n_images),
                "not compared" if pair.exact_duplicates is None else _count(pair.exact_duplicates.n_duplicates),
                "not compared" if pair.near_duplicates is None else _count(pair.near_duplicates.n_pairs),
            )
        )
    tables = [
        Table("Shared by", ("Splits", "Patients", "Image names", "Exact duplicates", "Near duplicates"), tuple(rows))
    ]
    notes = list(map(str, result.notes))
    if result.verdict == "leakage":
        notes.insert(0, "Leakage was found: results on these splits are too good.")
    if result.removal is not None:
        removed = ", ".join(
            f"{split.name}: {_count(len(split.rows_removed))} rows of {_count(split.n_patients_removed)} patients"
            for split in result.removal.splits
        )
        after = verdicts.get(result.removal.after.verdict, result.removal.after.verdict)
        notes.insert(0, f"Removed from {removed}. After removal: {after}.")
    return facts, tables, [("Shared part of each split", split_sizes(result))], notes


def _split(result: SplitResult) -> _Written:
    from cxr_cli.plots.split import plot_split

    facts = [
        ("Label table", result.table.path),
        ("Unit", f"disjoint by {result.unit}"),
        ("Images", _count(result.n_images)),
        ("Patients", "unknown" if result.n_patients is None else _count(result.n_patients)),
        ("Seed", str(result.seed)),
        (
            "Verified",
            "" if result.leakage is None else f"check-leakage on the written tables: {result.leakage.verdict}",
        ),
    ]
    rows = [
        (
            split.name,
            _count(split.n_images),
            "unknown" if split.n_patients is None else _count(split.n_patients),
            _percent(split.fraction),
            "" if split.sha256 is None else split.sha256[:12],
        )
        for split in result.splits
    ]
    names = [split.name for split in result.splits]
    positives = [
        (
            in_print(pathology),
            *(f"{_count(split.pathologies[place].n_positive)}" for split in result.splits),
        )
        for place, pathology in enumerate(result.pathologies)
    ]
    tables = [
        Table("Splits", ("Split", "Images", "Patients", "Fraction of images", "SHA-256"), tuple(rows)),
        Table("Positive images in each split", ("Pathology", *names), tuple(positives)),
    ]
    notes = [
        f"{in_print(row.pathology)} has {_count(row.n_positive)} positives in {_count(row.n_units)} units: "
        f"too rare for every split."
        for row in result.too_rare
    ]
    return facts, tables, [("Sizes, positives and deviations of the splits", plot_split(result))], notes


def _preprocess(result: PreprocessResult) -> _Written:
    recipe = result.recipe
    facts = [
        ("Store", str(result.output)),
        ("Images stored", f"{_count(result.n_done)} of {_count(result.n_images)}"),
        ("Image size", f"{recipe.image_size[1]} × {recipe.image_size[0]} pixels"),
        ("Resized by", f"{recipe.interpolation} interpolation"),
        ("Standardization", recipe.standardize),
        ("Stored as", f"{recipe.dtype}, {recipe.format}"),
        ("Missing", _count(result.n_missing) if result.n_missing else ""),
        ("Failed", _count(result.n_failed) if result.n_failed else ""),
    ]
    comparison = result.comparison
    rows = [
        (when, f"{pixels.mean:.2f}", f"{pixels.std:.2f}", f"{pixels.minimum:.2f}", f"{pixels.maximum:.2f}")
        for when, pixels in (("before", comparison.before), ("after", comparison.after))
        if pixels is not None
    ]
    tables = [Table("Pixel values of all images", ("", "Mean", "Std", "Minimum", "Maximum"), tuple(rows))]
    # Names of images often hold patient numbers: the report gives counts, failures.csv the names.
    notes = (
        [f"{_count(len(result.failures))} images failed; {result.failures_file} names them."] if result.failures else []
    )
    return facts, tables, [], notes


def _weights(result: WeightsResult) -> _Written:
    from cxr_cli.plots.weights import contributions

    facts = [
        ("Scheme", result.scheme),
        ("Images", _count(result.n_images)),
        ("Unknown labels", _count(result.n_unknown) if result.n_unknown else ""),
        ("Cut at", f"{result.max_ratio:g} times the negative weight" if result.max_ratio is not None else ""),
    ]
    rows = [
        (
            in_print(row.pathology),
            _count(row.n_positive),
            _number(row.positive_weight),
            _number(row.negative_weight),
            _number(row.corrected_half),
        )
        for row in result.pathologies
    ]
    columns = ("Pathology", "Positives", "Positive weight", "Negative weight", "A prediction of 0.5 means")
    notes = [f"{in_print(name)} has no positives or no negatives and is not weighted." for name in result.unweighted]
    return (
        facts,
        [Table("Class weights", columns, tuple(rows))],
        [("Fraction of the loss that positives contribute", contributions(result))],
        notes,
    )


def _build_model(result: Any) -> _Written:
    parameters = result.architecture.model
    pretrained = result.pretrained
    origin = {"random": "random", "imagenet": "ImageNet (published by Keras)", "file": "a file"}[pretrained.source]
    facts = [
        ("Network", f"{result.model}, {len(result.pathologies)} sigmoid outputs"),
        ("Outputs", ", ".join(map(in_print, result.pathologies))),
        ("Input", f"{result.image_size[1]} × {result.image_size[0]} pixels, {result.preprocessing.standardize}"),
        ("Parameters", f"{_count(parameters.total)}, {_count(parameters.trainable)} of them trainable"),
        ("Initial weights", origin + ("" if pretrained.file is None else f", {pretrained.file.sha256[:12]}")),
        ("Trained before on", pretrained.trained_on),
        ("Frozen", result.freeze),
        ("Loss", result.loss.name + (" with class weights" if result.loss.class_weights is not None else "")),
        ("Optimizer", f"Adam, learning rate {result.learning_rate:g}"),
        ("Seed", str(result.seed)),
        ("Software", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
        ("Saved as", "" if result.saved is None else f"{result.saved.path}, {result.saved.sha256[:12]}"),
    ]
    return facts, [], [], []


def _explain(result: ExplainResult) -> _Written:
    from cxr_cli.plots.explain import localization

    facts = [
        ("Model", result.model),
        ("Method", {"cam": "class activation maps", "grad-cam": "Grad-CAM"}.get(result.method, result.method)),
        ("Images", _count(result.n_images)),
        ("Boxes", _count(result.n_boxes) if result.n_boxes else ""),
    ]
    rows = []
    for row in result.localization:
        measures = {item.map: item for item in row.controls}
        rows.append(
            (
                in_print(row.pathology),
                _count(row.n_boxes),
                *(_estimate(measures[name].pointing_game) for name in measures),
                _estimate(measures["model"].mass_inside),
                row.verdict,
            )
        )
    names = [f"Pointing game: {item.map}" for item in result.localization[0].controls] if result.localization else []
    shortcuts = [
        (in_print(row.pathology), _count(row.n_images), _percent(row.outside_field), _percent(row.corners))
        for row in result.shortcuts
    ]
    tables = [
        Table("Maps against boxes", ("Pathology", "Boxes", *names, "Mass inside", "Verdict"), tuple(rows)),
        Table(
            "Maps outside the lungs' usual field",
            ("Pathology", "Images", "Outside the field", "In the corners"),
            tuple(shortcuts),
        ),
    ]
    drawings = [("Maps and controls against boxes", localization(result))] if result.localization else []
    return facts, tables, drawings, list(result.issues)


def _patients_checked(result: TrainResult) -> str:
    if result.shared_patients:
        return f"{len(result.shared_patients):,} in train and valid"
    return "none shared" if result.patients_checked else "not checked"


def _train(result: TrainResult) -> _Written:
    from cxr_cli.plots.train import plot_learning_curves

    options = result.options
    facts = [
        ("Started from", f"{result.model.path}, {result.model.sha256[:12]}"),
        ("Trained", "" if result.trained else "no"),
        ("Training images", _images_of(result.train)),
        ("Validation images", _images_of(result.valid)),
        ("Patients checked", _patients_checked(result)),
        ("Stages", ", ".join(options.stages)),
        ("Loss", result.loss.name + (" with class weights" if result.loss.class_weights is not None else "")),
        ("Learning rates", ", ".join(f"{rate:g}" for rate in result.learning_rates)),
        ("Batch size", str(options.batch_size)),
        ("Augmentation", ", ".join(options.augment) or "none"),
        ("Model chosen by", f"{options.monitor} on validation images, patience {options.patience}"),
        ("Seeds", ", ".join(str(run.seed) for run in result.runs)),
    ]
    rows = [
        (
            str(run.seed),
            stage.name,
            _count(stage.n_epochs),
            _count(stage.best_epoch),
            stage.stopped_by,
            f"{run.auroc:.3f}",
            f"{run.auprc:.3f}",
            run.model.sha256[:12],
        )
        for run in result.runs
        for stage in run.stages
    ]
    columns = ("Seed", "Stage", "Epochs", "Best", "Stopped by", "AUROC", "AUPRC", "SHA-256")
    tables = [Table("Training, with means over pathologies on the validation images", columns, tuple(rows))]
    notes = list(result.warnings)
    for run in result.runs:
        if not run.sanity.learnt:
            notes.insert(0, f"Seed {run.seed}: nothing was learnt (validation AUROC {run.sanity.auroc:.2f}).")
    drawings = [("Learning curves", plot_learning_curves(result))] if result.runs else []
    return facts, tables, drawings, notes


def _images_of(source: DataSource) -> str:
    patients = "unknown patients" if source.n_patients is None else f"{_count(source.n_patients)} patients"
    return f"{_count(source.n_images)} of {patients}, store {source.store.sha256[:12]}"


def _predict(result: PredictResult) -> _Written:
    facts = [
        ("Model", f"{result.model.path}, {result.model.sha256[:12]}"),
        ("Images", f"{_count(result.n_predicted)} of {_count(result.n_images)} from the {result.kind} {result.source}"),
        ("Predictions", f"{result.predictions.path}, {result.predictions.sha256[:12]}"),
        ("Corrected for class weights", "yes" if result.corrected else "no"),
        ("Decisions by", result.rule or ""),
    ]
    rows = [
        (in_print(row.pathology), f"{row.mean:.3f}", f"{row.minimum:.3f}", f"{row.maximum:.3f}")
        for row in result.pathologies
    ]
    columns = ("Pathology", "Mean", "Minimum", "Maximum")
    notes = [f"{_count(result.n_failed)} images have no prediction."] if result.n_failed else []
    return facts, [Table("Predicted probabilities", columns, tuple(rows))], [], notes


def _evaluate(result: EvaluateResult) -> _Written:
    from cxr_cli.plots import evaluate as plots

    facts = [
        ("Images", _count(result.n_images)),
        ("Patients", _count(result.n_patients)),
        ("Labels from", result.labels_from),
        ("Unit of the intervals", result.unit),
        ("Intervals", f"{100 * result.confidence:g} %, percentile bootstrap, {_count(result.n_draws)} draws"),
        ("Thresholds", result.rule or "none chosen"),
        ("Models", ", ".join(f"{model.name} ({', '.join(model.files)})" for model in result.models)),
    ]
    tables = []
    for model in result.models:
        rows = [
            (
                in_print(row.pathology),
                _count(row.n_images),
                _count(row.n_positive),
                _estimate(row.auroc),
                _estimate(row.auprc),
                _percent(row.prevalence),
                "–" if row.calibration is None else f"{row.calibration.brier.value:.3f}",
                "–" if row.calibration is None else _estimate(row.calibration.slope),
            )
            for row in model.pathologies
        ]
        mean = f"Mean of {len(model.mean.members)}"
        rows.append((mean, "", "", _estimate(model.mean.auroc), _estimate(model.mean.auprc), "", "", ""))
        columns = ("Pathology", "Images", "Positives", "AUROC", "AUPRC", "Prevalence", "Brier", "Calibration slope")
        tables.append(Table(f"Performance of {model.name}", columns, tuple(rows)))
        tables.append(Table(f"At the thresholds of {model.name}", _AT_THRESHOLD, tuple(_operating_points(model))))
    for subgroups in result.subgroups:
        groups = [
            (
                f"{group.name}, {in_print(row.pathology)}",
                _count(row.n_images),
                _count(row.n_positive),
                "too few positives" if row.too_small else _estimate(row.auroc),
                "–" if row.fpr is None else _estimate(row.fpr),
                "–" if row.fnr is None else _estimate(row.fnr),
            )
            for group in subgroups.groups
            for row in group.pathologies
        ]
        tables.append(Table(f"By {subgroups.attribute}", _IN_SUBGROUP, tuple(groups)))
    for comparison in result.comparisons:
        differences = [
            (in_print(row.pathology), _estimate(row.auroc), f"{row.p_value:.3g}", f"{row.p_holm:.3g}", row.verdict)
            for row in (*comparison.pathologies, comparison.mean)
        ]
        title = f"{comparison.first} against {comparison.second}"
        tables.append(Table(title, _OF_DIFFERENCE, tuple(differences)))
    drawings = [("AUROC with intervals", plots.forest(result))]
    if any(row.calibration is not None and row.calibration.bins for row in result.models[0].pathologies):
        drawings.append(("Reliability", plots.reliability_curves(result)))
    drawings += [(f"AUROC by {item.attribute}", plots.subgroup_forest(result, item)) for item in result.subgroups]
    notes = [issue.message for issue in result.issues]
    if result.thresholds_refused:
        notes.append(result.thresholds_refused)
    return facts, tables, drawings, notes


_IN_SUBGROUP = ("Subgroup", "Images", "Positives", "AUROC", "FPR", "FNR")
_OF_DIFFERENCE = ("Pathology", "Difference of AUROC", "p", "p (Holm)", "Verdict")
_AT_THRESHOLD = ("Pathology", "Rule", "Threshold", "Sensitivity", "Specificity", "PPV", "NPV")


def _operating_points(model: ModelResult) -> Iterable[tuple[str, ...]]:
    for row in model.pathologies:
        for point in row.operating_points:
            yield (
                in_print(row.pathology),
                point.rule,
                ", ".join(_number(value) for value in point.thresholds),
                *(_estimate(item) for item in (point.sensitivity, point.specificity, point.ppv, point.npv)),
            )


_WRITERS: dict[str, Callable[[Any], _Written]] = {
    "explore": _explore,
    "check-leakage": _check_leakage,
    "split": _split,
    "preprocess": _preprocess,
    "weights": _weights,
    "build-model": _build_model,
    "train": _train,
    "predict": _predict,
    "evaluate": _evaluate,
    "explain": _explain,
}


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(fraction: float | None) -> str:
    if fraction is None or not math.isfinite(fraction):
        return "–"
    return f"{100 * fraction:.{2 if 0 < fraction < 0.01 else 1}f} %"


def _part_of(count: int, total: int) -> str:
    return f"{count:,} ({_percent(count / total)})" if total else f"{count:,}"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "∞"


def _prevalence(row: Any) -> str:
    low, high = getattr(row, "prevalence_low", math.nan), getattr(row, "prevalence_high", math.nan)
    interval = f" ({100 * low:.1f} to {100 * high:.1f})" if math.isfinite(low) and math.isfinite(high) else ""
    return _percent(row.prevalence) + interval


def _estimate(item: Any) -> str:
    if not math.isfinite(item.value):
        return "–"
    interval = f" ({item.low:.2f} to {item.high:.2f})" if math.isfinite(item.low) else ""
    return f"{item.value:.2f}{interval}"


def _texts(issues: Iterable[Any]) -> list[str]:
    return [str(getattr(issue, "message", issue)) for issue in issues]
