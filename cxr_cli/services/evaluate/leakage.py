"""Whether test patients were seen before: in training, or when thresholds were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxr_cli.data.labels import LabelTable
from cxr_cli.data.listed_images import table_of_images
from cxr_cli.data.patient_ids import patient_of_nih_name
from cxr_cli.data.predictions import Predictions
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.evaluate.inputs import EvaluationSet, Truth
from cxr_cli.services.evaluate.result import Issue

_EXAMPLES = 5


def seen_in_training(data: EvaluationSet, train: LabelTable, test: LabelTable | None) -> tuple[list[Issue], bool]:
    """Compare the test images with a training table by `check_leakage`.

    Parameters
    ----------
    data
        The test set.
    train
        The label table that the model was trained on.
    test
        The label table that the test labels are from, if they are from one.

    Returns
    -------
    Issues, and whether there is leakage.
    """
    pair = check_leakage({"train": train, "test": _as_table(data, test)}).pairs[0]
    issues = []
    names = pair.names
    if names.n_images:
        message = f"{names.n_images:,} test images were used for training ({train.path})"
        issues.append(Issue("test-images-in-training", message, names.n_images, tuple(names.images[:_EXAMPLES])))
    if pair.patients is None:
        message = f"test patients were not compared with {train.path}: patients of one of the two are unknown"
        issues.append(Issue("training-patients-unchecked", message, len(data.images)))
    elif pair.patients.n_patients:
        shared = [item.patient_id for item in pair.patients.patients[:_EXAMPLES]]
        n_images = pair.patients.second.n_images
        message = (
            f"{pair.patients.n_patients:,} test patients with {n_images:,} test images are in {train.path}: "
            "the results are too good"
        )
        issues.append(Issue("test-patients-in-training", message, pair.patients.n_patients, tuple(shared)))
    return issues, bool(names.n_images or (pair.patients is not None and pair.patients.n_patients))


def _as_table(data: EvaluationSet, test: LabelTable | None) -> LabelTable:
    """Return the evaluated images as a label table: rows of the table they are from, or one made for the purpose."""
    if test is not None and test.has_patients:
        wanted = set(data.images)
        rows = [row for row, name in enumerate(test.images) if name in wanted]
        if rows:
            return test.take(rows)
    return table_of_images(Path("the test images"), data.images, data.patient_ids)


def seen_in_validation(
    data: EvaluationSet, valid: Sequence[Predictions], truth: Truth | None
) -> tuple[list[Issue], bool]:
    """Compare the test images with those that thresholds are chosen on.

    Parameters
    ----------
    data
        The test set.
    valid
        Validation predictions.
    truth
        Their labels.
    """
    images: set[str] = {name for item in valid for name in item.images}
    patients = _patients_of(images, valid, truth)
    shared_images = [name for name in data.images if name in images]
    shared_patients = sorted({patient for patient in data.patient_ids if patient and patient in patients})
    issues = []
    if shared_images:
        message = f"{len(shared_images):,} validation images are test images: thresholds were chosen on the test set"
        issues.append(Issue("validation-images-in-test", message, len(shared_images), tuple(shared_images[:_EXAMPLES])))
    if shared_patients:
        message = (
            f"{len(shared_patients):,} validation patients are test patients: thresholds look better than they are"
        )
        issues.append(
            Issue("validation-patients-in-test", message, len(shared_patients), tuple(shared_patients[:_EXAMPLES]))
        )
    return issues, bool(issues)


def _patients_of(images: set[str], valid: Sequence[Predictions], truth: Truth | None) -> set[str]:
    found = {patient for item in valid for patient in item.patients or () if patient}
    if truth is not None:
        found |= {
            patient for name, patient in zip(truth.images, truth.patients, strict=True) if patient and name in images
        }
    if not found:
        found = {patient for name in images if (patient := patient_of_nih_name(name)) is not None}
    return found
