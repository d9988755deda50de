"""Predictions, labels and attributes brought together by image name."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.labels import LabelTable
from cxr_cli.data.patient_ids import patient_of_nih_name
from cxr_cli.data.predictions import Predictions, folded
from cxr_cli.data.schemas import NO_FINDING
from cxr_cli.data.schemas.vocabulary import same_pathology
from cxr_cli.errors import InputError, Message, UsageError, argument, shown
from cxr_cli.services.evaluate.result import Issue, NotScored
from cxr_cli.services.metrics.bootstrap import clusters_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Lower ends of the age groups, in years (Seyyed-Kalantari et al., Nature Medicine 2021).
AGES = (0, 20, 40, 60, 80)
#: How many names an issue gives.
_EXAMPLES = 5


@dataclass(frozen=True)
class Truth:
    """Labels of some images.

    Attributes
    ----------
    path
        Where they are from.
    images, patients
        Names, each once; patient ids, "" where unknown.
    pathologies
        Columns of `labels`, with `No Finding` where it is known.
    labels
        Float64, shape (n_images, n_pathologies); 1 present, 0 absent, NaN unknown.
    issues
        Issues found on the way.
    """

    path: str
    images: tuple[str, ...]
    patients: tuple[str, ...]
    pathologies: tuple[str, ...]
    labels: Floats
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True)
class Model:
    """One model on the test images.

    Attributes
    ----------
    name, files
        Of the model and its files.
    scores
        Float64, shape (n_runs, n_images, n_pathologies); NaN in the columns that it does not predict.
    has
        Bool, shape (n_pathologies,): the columns that it predicts.
    """

    name: str
    files: tuple[str, ...]
    scores: Floats
    has: NDArray[np.bool_]


@dataclass(frozen=True)
class EvaluationSet:
    """Labels and scores of the images that have both, in the order of their names.

    Attributes
    ----------
    images
        Names.
    pathologies, labels
        As `Truth`; the pathologies that the first model predicts.
    patient_ids
        Of each image, "" where unknown.
    patients
        Numbers from 0, -1 where unknown; shape (n_images,).
    clusters
        Unit that a draw takes (patient or image): shape (n_images,), numbers from 0.
    labels_from, patients_from
        Where they were taken from.
    models
        At least one.
    not_scored
        Pathologies that the first model and the labels do not share.
    issues
        Issues found on the way.
    """

    images: tuple[str, ...]
    pathologies: tuple[str, ...]
    labels: Floats
    patient_ids: tuple[str, ...]
    patients: Integers
    clusters: Integers
    labels_from: str
    patients_from: str | None
    models: tuple[Model, ...]
    not_scored: tuple[NotScored, ...]
    issues: tuple[Issue, ...]

    @property
    def n_patients(self) -> int:
        """Number of patients that are known."""
        return len(np.unique(self.patients[self.patients >= 0]))


def truth_of_table(table: LabelTable) -> Truth:
    """Return the labels of a table, and `No Finding` where it has a column of it or lists findings."""
    labels = table.labels.astype(np.float64)
    pathologies = list(table.pathologies)
    nothing = None if NO_FINDING in pathologies else _no_finding(table, labels)
    if nothing is not None:
        labels = np.column_stack([labels, nothing])
        pathologies.append(NO_FINDING)
    ids = np.array([*table.patient_ids, ""], dtype=object)
    patients = ids[table.patient_codes]
    first: dict[str, int] = {}
    again: list[int] = []
    contradicting: list[str] = []
    for row, name in enumerate(table.images):
        kept = first.setdefault(name, row)
        if kept != row:
            again.append(row)
            differ = (labels[kept] != labels[row]) & ~(np.isnan(labels[kept]) & np.isnan(labels[row]))
            if differ.any():
                labels[kept, differ] = np.nan
                contradicting.append(name)
    issues = []
    if table.issues:
        messages = tuple(issue.message for issue in table.issues)
        more = "; …" if len(messages) > 2 else ""
        message = f"{table.path}, as cxr explore tells in full: {'; '.join(messages[:2])}{more}"
        issues.append(Issue("label-table-issues", message, len(messages), messages[:_EXAMPLES]))
    if again:
        names = [table.images[row] for row in again]
        message = f"{table.path} names images more than once; each is counted once"
        issues.append(_issue("repeated-labels", message, names))
    if contradicting:
        message = f"{table.path} gives an image different labels; where they differ the label is unknown"
        issues.append(_issue("contradicting-labels", message, contradicting))
    rows = list(first.values())
    return Truth(str(table.path), tuple(first), tuple(patients[rows]), tuple(pathologies), labels[rows], tuple(issues))


def _no_finding(table: LabelTable, labels: Floats) -> Floats | None:
    column = next((name for name in table.columns if folded(name) == folded(NO_FINDING)), None)
    if column is not None and table.links is None:
        return np.array([_label(cell) for cell in _cells(table, column)])
    if table.n_findings_written is not None:
        return np.where(np.isnan(labels).all(axis=1), np.nan, (np.nansum(labels, axis=1) == 0).astype(np.float64))
    return None


def _label(cell: object) -> float:
    try:
        value = float(str(cell))
    except ValueError:
        return float("nan")
    return value if value in (0.0, 1.0) else float("nan")


def truth_of_predictions(predictions: Predictions) -> Truth:
    """Return the labels that stand in a predictions file.

    Raises
    ------
    InputError
        It has none.
    """
    if predictions.labels is None:
        raise InputError(
            f"{predictions.path}: has predictions but no labels",
            expected="columns such as Mass_pred for predictions and Mass for labels, or a label table",
            remedy=f"Give a label table as {argument('labels')}.",
        )
    known = np.asarray(~np.isnan(predictions.labels).all(axis=0), np.bool_)
    return Truth(
        predictions.path,
        predictions.images,
        predictions.patients or ("",) * len(predictions.images),
        tuple(name for name, some in zip(predictions.pathologies, known.tolist(), strict=True) if some),
        predictions.labels[:, known],
    )


def runs_of(name: str, files: Sequence[Predictions]) -> list[Predictions]:
    """Return the runs of a model: files with the same images, or one joined from files with different images.

    Raises
    ------
    InputError
        Images overlap in part, or the files have different pathologies.
    """
    for other in files[1:]:
        if set(map(folded, other.pathologies)) != set(map(folded, files[0].pathologies)):
            raise InputError(
                f"{other.path}: has other pathologies than {files[0].path}",
                expected=f"runs of one model: {', '.join(files[0].pathologies)}",
                remedy="Give different models under different names.",
            )
    sets = [set(item.images) for item in files]
    if all(images == sets[0] for images in sets):
        return list(files)
    for place, images in enumerate(sets):
        for earlier in range(place):
            if images & sets[earlier]:
                n_shared = len(images & sets[earlier])
                raise InputError(
                    f"{files[place].path} and {files[earlier].path} share {n_shared:,} images, but not all",
                    expected=f"for {name}, files with the same images (runs) or without shared images (folds)",
                    remedy="Predict the same images with every run.",
                )
    return [_joined(files)]


def _joined(files: Sequence[Predictions]) -> Predictions:
    first = files[0]
    columns = [
        [list(map(folded, item.pathologies)).index(folded(name)) for name in first.pathologies] for item in files
    ]
    parts = [item.probabilities[:, place] for item, place in zip(files, columns, strict=True)]
    labels = [
        None if item.labels is None else item.labels[:, place] for item, place in zip(files, columns, strict=True)
    ]
    patients = [item.patients or ("",) * len(item.images) for item in files]
    return Predictions(
        images=tuple(name for item in files for name in item.images),
        pathologies=first.pathologies,
        probabilities=np.concatenate(parts),
        patients=tuple(name for item in patients for name in item) if any(item.patients for item in files) else None,
        labels=None
        if any(item is None for item in labels)
        else np.concatenate([item for item in labels if item is not None]),
        source=first.source,
    )


def build(
    models: Mapping[str, Sequence[Predictions]],
    truth: Truth,
    attributes: LabelTable | None = None,
    *,
    unit: str = "patient",
) -> EvaluationSet:
    """Bring everything together by image name.

    Raises
    ------
    InputError
        Predictions and labels have no image or no pathology in common, or two models have different images.
    """
    runs = {name: runs_of(name, files) for name, files in models.items()}
    issues = list(truth.issues)
    first_name, first = next(iter(runs.items()))
    _check_same_images(runs)
    rows_of = _matched(first[0], truth, issues)
    images = tuple(sorted(rows_of))
    pathologies, places, not_scored = _shared_pathologies(first[0], truth)
    labels = truth.labels[np.ix_([rows_of[name] for name in images], places)]
    patient_ids, patients_from = _patients(images, rows_of, truth, attributes, first[0], issues)
    patients = _numbered(patient_ids)
    clusters = clusters_of(patients) if unit == "patient" else np.arange(len(images))
    return EvaluationSet(
        images=images,
        pathologies=pathologies,
        labels=labels,
        patient_ids=tuple(patient_ids),
        patients=patients,
        clusters=clusters,
        labels_from=truth.path,
        patients_from=patients_from,
        models=tuple(
            _model(name, [item.path for item in models[name]], items, images, pathologies, issues, name != first_name)
            for name, items in runs.items()
        ),
        not_scored=tuple(not_scored),
        issues=tuple(issues),
    )


def _check_same_images(runs: Mapping[str, Sequence[Predictions]]) -> None:
    (first_name, first), *others = runs.items()
    images = set(first[0].images)
    for name, items in others:
        theirs = set(items[0].images)
        if theirs != images:
            only, missing = sorted(theirs - images), sorted(images - theirs)
            example = (only or missing)[0]
            raise InputError(
                f"{first_name} and {name} predict different images: {len(missing):,} only in {first[0].path}, "
                f"{len(only):,} only in {items[0].path}, such as '{shown(example)}'",
                expected="the same images, because models are compared on the same images",
                remedy="Predict the same images with both models.",
            )


def _matched(predictions: Predictions, truth: Truth, issues: list[Issue]) -> dict[str, int]:
    """Return the row of the labels of each predicted image that has one."""
    place = {name: row for row, name in enumerate(truth.images)}
    found = {name: place[name] for name in predictions.images if name in place}
    if not found:
        found = _matched_by_file_name(predictions, truth)
        if found:
            message = (
                "image names were matched without their folders, because no name is the same with them: "
                f"{predictions.path} has '{shown(next(iter(found)))}'"
            )
            issues.append(_issue("matched-without-folders", message, list(found)))
    if not found:
        raise InputError(
            f"{predictions.path} and {truth.path} have no image in common: '{shown(predictions.images[0])}' and "
            f"'{shown(truth.images[0])}'"
            if predictions.images and truth.images
            else f"{predictions.path}: has no images",
            expected="predictions and labels of the same images",
            remedy="Give the labels of the images that were predicted.",
        )
    without_labels = [name for name in predictions.images if name not in found]
    if without_labels:
        message = f"{len(without_labels):,} predicted images have no labels in {truth.path} and are left out"
        issues.append(_issue("images-without-labels", message, without_labels))
    used = set(found.values())
    without_predictions = [name for row, name in enumerate(truth.images) if row not in used]
    if without_predictions:
        message = f"{len(without_predictions):,} images of {truth.path} have no prediction and are left out"
        issues.append(_issue("images-without-predictions", message, without_predictions))
    return found


def _matched_by_file_name(predictions: Predictions, truth: Truth) -> dict[str, int]:
    """Match names without their folders, if these tell all images apart on both sides."""
    place = {_file_name(name): row for row, name in enumerate(truth.images)}
    mine = {_file_name(name) for name in predictions.images}
    if len(place) != len(truth.images) or len(mine) != len(predictions.images):
        return {}
    return {name: place[_file_name(name)] for name in predictions.images if _file_name(name) in place}


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _no_predictions(name: str, predicted: Sequence[str]) -> str:
    """Say that a pathology has no predictions, and under which other name they may be there."""
    other = same_pathology(name, predicted)
    if other is None:
        return "no predictions"
    pair = argument("map_pathologies", {name: other}, option=f"--map-pathologies '{name}={other}'")
    return Message(f"no predictions; {other} may be the same: {pair}")


def _shared_pathologies(predictions: Predictions, truth: Truth) -> tuple[tuple[str, ...], list[int], list[NotScored]]:
    predicted = set(map(folded, predictions.pathologies))
    labelled = set(map(folded, truth.pathologies))
    places = [place for place, name in enumerate(truth.pathologies) if folded(name) in predicted]
    if not places:
        raise InputError(
            f"{predictions.path}: predicts no pathology of {truth.path}: {', '.join(predictions.pathologies[:20])}",
            expected=f"some of {', '.join(truth.pathologies[:20])}",
            remedy="Name the columns of predictions as in the label table.",
        )
    not_scored = [
        *(
            NotScored(name, _no_predictions(name, predictions.pathologies))
            for name in truth.pathologies
            if folded(name) not in predicted
        ),
        *(
            NotScored(name, f"no labels in {truth.path}")
            for name in predictions.pathologies
            if folded(name) not in labelled
        ),
    ]
    return tuple(truth.pathologies[place] for place in places), places, not_scored


def _model(
    name: str,
    files: list[str],
    runs: Sequence[Predictions],
    images: Sequence[str],
    pathologies: Sequence[str],
    issues: list[Issue],
    other: bool,
) -> Model:
    place = {folded(item): column for column, item in enumerate(runs[0].pathologies)}
    has = np.array([folded(item) in place for item in pathologies])
    if not has.any():
        raise InputError(
            f"{files[0]}: predicts no pathology that the first model and the labels share",
            expected=f"some of {', '.join(pathologies)}",
            remedy="Name the columns of predictions as in the label table.",
        )
    if other and not has.all():
        missing = [item for item, there in zip(pathologies, has, strict=True) if not there]
        message = f"{name} does not predict {', '.join(missing)}; they are not compared"
        issues.append(_issue("pathologies-missing-in-model", message, missing))
    scores = np.full((len(runs), len(images), len(pathologies)), np.nan)
    for run, item in enumerate(runs):
        place = {folded(pathology): column for column, pathology in enumerate(item.pathologies)}
        row_of = {image: row for row, image in enumerate(item.images)}
        rows = [row_of[image] for image in images]
        columns = [place[folded(pathology)] for pathology, there in zip(pathologies, has, strict=True) if there]
        scores[run][:, has] = item.probabilities[np.ix_(rows, columns)]
    return Model(name, tuple(files), scores, has)


def _patients(
    images: Sequence[str],
    rows_of: Mapping[str, int],
    truth: Truth,
    attributes: LabelTable | None,
    predictions: Predictions,
    issues: list[Issue],
) -> tuple[list[str], str | None]:
    """Return the patient of each image ("" where unknown), and where the patients are from."""
    ids: list[str] = []
    source: str | None = None
    of_truth = [truth.patients[rows_of[name]] for name in images]
    if any(of_truth):
        ids, source = of_truth, truth.path
    if source is None and attributes is not None and attributes.has_patients:
        rows = rows_in(attributes, images)
        codes = np.where(rows >= 0, attributes.patient_codes[rows], -1)
        ids, source = [attributes.patient_ids[code] if code >= 0 else "" for code in codes], str(attributes.path)
    if source is None and predictions.patients is not None and any(predictions.patients):
        of = dict(zip(predictions.images, predictions.patients, strict=True))
        ids, source = [of[name] for name in images], predictions.path
    if source is None:
        names = [patient_of_nih_name(name) for name in images]
        if all(names):
            ids, source = [name or "" for name in names], "image names as in ChestX-ray14"
    if source is None or not any(ids):
        message = "patients are unknown, so intervals are over images and too narrow if patients have several"
        issues.append(Issue("no-patients", message, len(images)))
        return [""] * len(images), None
    unknown = [name for name, patient in zip(images, ids, strict=True) if not patient]
    if unknown:
        message = f"the patient of {len(unknown):,} images is unknown; each counts as a patient of its own"
        issues.append(_issue("images-without-patient", message, unknown))
    return ids, source


def _numbered(patients: Sequence[str]) -> Integers:
    place: dict[str, int] = {"": -1}
    for patient in patients:
        place.setdefault(patient, len(place) - 1)
    return np.array([place[patient] for patient in patients], np.int64)


def rows_in(table: LabelTable, images: Sequence[str]) -> Integers:
    """Return the row of each image in a table, -1 where it is not there."""
    place = {name: row for row, name in reversed(list(enumerate(table.images)))}
    return np.array([place.get(name, -1) for name in images], np.int64)


def groups_of(attribute: str, images: Sequence[str], tables: Sequence[LabelTable]) -> list[str | None]:
    """Return the group of each image by an attribute: "sex", "age" (in groups of 20 years), "view", or a column.

    Parameters
    ----------
    attribute
        Its name.
    images
        Names of the images.
    tables
        Where to look, the first that has it wins.

    Raises
    ------
    UsageError
        No table has it.
    """
    for table in tables:
        values = _column(table, attribute)
        if values is not None:
            rows = rows_in(table, images)
            return [values[row] if row >= 0 else None for row in rows]
    names = ", ".join(str(table.path) for table in tables) or "the predictions file"
    raise UsageError(
        f"{argument('by', attribute)}: no such attribute in {names}",
        expected="sex, age, view, or a column of the label table or of the table of attributes",
        remedy=f"Give a table that has it as {argument('attributes')}.",
    )


def _column(table: LabelTable, attribute: str) -> list[str | None] | None:
    name = attribute.strip().casefold()
    if name == "age" and table.has("age"):
        return [_age_group(age) for age in table.frame["age"].tolist()]
    if name in ("sex", "view") and table.has(name):
        return [value if isinstance(value, str) and value else None for value in table.frame[name].tolist()]
    column = next((item for item in table.columns if item and folded(item) == folded(attribute)), None)
    if column is None:
        return None
    return [cell.strip() or None if isinstance(cell, str) else None for cell in _cells(table, column)]


def _cells(table: LabelTable, column: str) -> list[object]:
    """Return the cells of a column as text, one for each image: of the first line that describes it."""
    cells: list[object] = table.raw.frame({column: str}, [column])[column].tolist()
    if table.links is None:
        return cells
    first = np.searchsorted(table.links.rows, np.arange(table.n_images))
    return [cells[record] for record in table.links.records[first]]


def _age_group(age: float) -> str | None:
    if not age >= 0:
        return None
    place = bisect_right(AGES, age) - 1
    return f"{AGES[place]}-{AGES[place + 1] - 1}" if place + 1 < len(AGES) else f"{AGES[place]}+"


def _issue(kind: str, message: str, names: Sequence[str]) -> Issue:
    return Issue(kind, message, len(names), tuple(names[:_EXAMPLES]))
