"""Predict the images of a store, a table or a folder with a saved model."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.data.files import OutputFile, Outputs, describe_input
from cxr_cli.data.journal import Journal
from cxr_cli.data.predictions import Predictions
from cxr_cli.data.thresholds import Thresholds
from cxr_cli.errors import InputError, UsageError, argument
from cxr_cli.services.metrics.calibration import correct_prior
from cxr_cli.services.predict.result import FailedImage, PredictedPathology, PredictResult
from cxr_cli.services.sources import Source

Floats = NDArray[Any]
#: Failures that the result holds itself.
_SHOWN = 10


def predict(
    model: Path | str,
    source: Source,
    outputs: Outputs,
    name: Path | str = "predictions.csv",
    *,
    undo_class_weights: ClassWeights | None = None,
    thresholds: Thresholds | None = None,
    rule: str | None = None,
    batch_size: int = 32,
    start_over: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PredictResult:
    """Predict every image of a source and write image, patient and a probability per pathology.

    A run that was interrupted goes on when it is called again with the same arguments. The same arguments give the same
    bytes.

    Parameters
    ----------
    model
        The model's file, its model card beside it.
    source
        The images (:mod:`cxr_cli.services.sources`), opened for this model.
    outputs
        Receives the files.
    name
        Of the file of predictions, in the folder of `outputs`; the others have its name with an ending of their own.
    undo_class_weights
        Class weights of the training loss; probabilities are corrected for them.
    thresholds, rule
        Write decisions by these thresholds too; by the rule they name if none is given.
    batch_size
        Images computed together.
    start_over
        Discard what an interrupted run left.
    progress
        Called with (images done, all images).

    Raises
    ------
    InputError
        Model, images or thresholds cannot be read, or an output is not a finite number.
    OutputError
        A file cannot be written, or an unfinished run of another kind is in the way.
    """
    from cxr_cli.models.classifier import open_classifier
    from cxr_cli.models.datasets import as_three_channels

    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}", expected="at least 1")
    report = progress or (lambda done, total: None)
    path, target = Path(model), outputs.folder / name
    network, card = open_classifier(path)
    weights = None if undo_class_weights is None else undo_class_weights.in_order(card.pathologies)
    limits = None if thresholds is None else thresholds.of(card.pathologies, rule)
    described = describe_input(path)
    partial = target.with_name(f".{target.name}.partial")
    if start_over:
        partial.unlink(missing_ok=True)
    run = {"model": described.sha256, "images": source.key, "n_images": len(source.names), "batch_size": batch_size}
    journal = Journal(partial, run, sync=lambda: None)
    try:
        first = journal.n_entries // batch_size
        report(journal.n_entries, len(source.names))
        for batch in source.batches(batch_size, first):
            values = np.empty((0, len(card.pathologies)), np.float32)
            if len(batch.images):
                values = np.asarray(network.predict_on_batch(as_three_channels(batch.images)), np.float32)
            if not np.isfinite(values).all():
                raise InputError(
                    f"{path}: predicts what is not a finite number for one of the images {journal.n_entries + 1:,} to "
                    f"{journal.n_entries + len(batch.failures):,} of {source.path}",
                    remedy="Check the model's weights, and these images.",
                )
            rows = iter(values.tolist())
            journal.add([next(rows) if reason is None else reason for reason in batch.failures])
            report(journal.n_entries, len(source.names))
        entries = list(journal.entries())
    except BaseException:
        journal.checkpoint()
        raise
    finally:
        journal.close()
    result = _write(entries, card.pathologies, source, outputs, Path(name), described, weights, limits)
    journal.remove()
    if limits is None or thresholds is None:
        return result
    return _with_rule(result, thresholds.rule if rule is None else rule)


def _with_rule(result: PredictResult, rule: str) -> PredictResult:
    from dataclasses import replace

    return replace(result, rule=rule)


def _write(
    entries: Sequence[Any],
    pathologies: tuple[str, ...],
    source: Source,
    outputs: Outputs,
    name: Path,
    model: Any,
    weights: ClassWeights | None,
    limits: Floats | None,
) -> PredictResult:
    done = [place for place, entry in enumerate(entries) if not isinstance(entry, str)]
    failed = [FailedImage(source.names[i], entry) for i, entry in enumerate(entries) if isinstance(entry, str)]
    if not done:
        raise InputError(
            f"{source.path}: none of its {len(entries):,} images could be read"
            + (f" ({failed[0].image}: {failed[0].reason})" if failed else ""),
            remedy=f"Check the image folder ({argument('images')}).",
        )
    probabilities: Floats = np.array([entries[place] for place in done], np.float32)
    if weights is not None:
        probabilities = correct_prior(probabilities, weights.positive, weights.negative)
    known = all(source.patients[place] for place in done)
    predicted = Predictions(
        images=tuple(source.names[place] for place in done),
        pathologies=pathologies,
        probabilities=probabilities,
        patients=tuple(source.patients[place] for place in done) if known else None,
    )
    written = predicted.write(outputs, name)
    file = describe_input(written)
    failures = decisions = None
    if failed:
        rows = [["Image", "reason"], *([item.image, item.reason] for item in failed)]
        failures = outputs.write_text(name.with_name(f"{name.stem}-failures.csv"), _csv(rows))
    if limits is not None:
        decisions = outputs.write_text(name.with_name(f"{name.stem}-decisions.csv"), _decisions(predicted, limits))
    return PredictResult(
        model=model,
        kind=source.kind,
        source=str(source.path),
        n_images=len(entries),
        n_predicted=len(done),
        n_failed=len(failed),
        failures=tuple(failed[:_SHOWN]),
        failures_file=None if failures is None else str(failures),
        predictions=OutputFile(file.path, file.size, file.sha256),
        decisions=None if decisions is None else str(decisions),
        rule=None,
        corrected=weights is not None,
        patients_known=known,
        pathologies=tuple(_summaries(predicted, limits)),
    )


def _summaries(predicted: Predictions, limits: Floats | None) -> list[PredictedPathology]:
    thresholds = np.full(len(predicted.pathologies), np.nan) if limits is None else limits
    found = []
    for name, values, threshold in zip(predicted.pathologies, predicted.probabilities.T, thresholds, strict=True):
        n_positive = None if np.isnan(threshold) else int((values >= threshold).sum())
        numbers = float(values.mean(dtype=float)), float(values.min()), float(values.max())
        found.append(PredictedPathology(name, *numbers, float(threshold), n_positive))
    return found


def _decisions(predicted: Predictions, limits: Floats) -> str:
    patients = [] if predicted.patients is None else ["patient_id"]
    rows: list[list[Any]] = [["Image", *patients, *predicted.pathologies]]
    for row, (image, values) in enumerate(zip(predicted.images, predicted.probabilities, strict=True)):
        patient = [] if predicted.patients is None else [predicted.patients[row]]
        cells = ["" if np.isnan(limit) else int(value >= limit) for value, limit in zip(values, limits, strict=True)]
        rows.append([image, *patient, *cells])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
