"""Explain a saved model on the images of a store, a table or a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from cxr_cli.data.boxes import BoxList, read_boxes
from cxr_cli.data.files import InputFile, Outputs, describe_input
from cxr_cli.data.labels import LabelTable, read_labels
from cxr_cli.errors import InputError, argument
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.explain.gather import ExplainOptions, Explanation, Images, explain_images
from cxr_cli.services.explain.inputs import FileImages, StoreImages
from cxr_cli.services.model_card import ModelCard, read_model_card
from cxr_cli.services.sources import StoreSource, open_images


def explain(
    model: Path | str,
    images_of: Path | str | LabelTable,
    *,
    images: Path | None = None,
    boxes: Path | str | BoxList | None = None,
    train_labels: LabelTable | None = None,
    allow_training_patients: bool = False,
    options: ExplainOptions | None = None,
    outputs: Outputs | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Explanation, tuple[InputFile, ...]]:
    """Show where a model looks; with boxes, measure how well it points, beside controls.

    Parameters
    ----------
    model
        What ``cxr train`` or ``cxr build-model`` saved, with its model card.
    images_of
        A store of ``cxr preprocess``, a label table, or a folder of images.
    images
        The image folder of a table; None: beside it.
    boxes
        A box list such as NIH's ``BBox_List_2017.csv``.
    train_labels
        The table that the model was trained on: images of its patients are refused.
    allow_training_patients
        Explain them all the same; the result says so.
    options
        What to compute.
    outputs
        Where figures and maps are written; None writes nothing.
    workers
        Processes that prepare images; None is one for each core.
    progress
        Called with (images done, images).

    Returns
    -------
    explanation
        The result, and the images to show.
    inputs
        Files read.

    Raises
    ------
    InputError
        Model, images or boxes cannot be read or do not fit each other, or images are of training patients.
    UsageError
        An option does not suit the model.
    """
    model = Path(model)
    card = read_model_card(model)
    source, inputs = _open(images_of, images, card, workers)
    listed = read_boxes(boxes, card.pathologies) if isinstance(boxes, (str, Path)) else boxes
    issues: list[str] = []
    if train_labels is not None:
        inputs = (*inputs, train_labels.source)
        issues = _seen_in_training(source, train_labels, allow_training_patients)
    from cxr_cli.models.classifier import open_classifier

    classifier, _ = open_classifier(model)
    found = explain_images(
        classifier,
        source,
        model_path=str(model),
        pathologies=card.pathologies,
        boxes=listed,
        options=options,
        issues=issues,
        outputs=outputs,
        progress=progress,
    )
    if not found.result.n_images:
        name, reason = next(iter(found.result.failures.items()))
        raise InputError(f"no image could be read: {name}: {reason}", remedy="Check the image folder.")
    if outputs is not None and outputs.plots:
        _write_figures(found, outputs)
    read = (describe_input(model), *inputs, *(() if listed is None else (listed.source,)))
    return found, read


def _open(
    images_of: Path | str | LabelTable, images: Path | None, card: ModelCard, workers: int | None
) -> tuple[Images, tuple[InputFile, ...]]:
    given = images_of if isinstance(images_of, LabelTable) else Path(images_of)
    if isinstance(given, Path) and not given.is_dir():
        given = read_labels(given, allow_unsafe_names=True)
    source = open_images(given, images, card, workers)
    if isinstance(source, StoreSource):
        return StoreImages(source, card), source.inputs
    return FileImages(source, card, given if isinstance(given, LabelTable) else None), source.inputs


def _seen_in_training(images: Images, train: LabelTable, allowed: bool) -> list[str]:
    """Compare the images with the training table; return what a reader must know.

    Raises
    ------
    InputError
        They share patients or images, and that is not allowed.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["Image", "PatientId", train.pathologies[0]])
    rows.writerows((name, patient, 0) for name, patient in zip(images.names, images.patients, strict=True))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "explained.csv"
        path.write_text(text.getvalue(), encoding="utf-8")
        report = check_leakage({"train": train, "explained": read_labels(path, allow_unsafe_names=True)})
    pair = report.pairs[0]
    n_patients = 0 if pair.patients is None else pair.patients.n_patients
    if n_patients or pair.names.n_images:
        what = f"{n_patients:,} patients and {pair.names.n_images:,} images are in the training table {train.path}"
        if allowed:
            return [f"{what}: the model has seen them"]
        raise InputError(
            what,
            expected="images of patients that the model has not seen",
            remedy=f"Give other images, or insist with {argument('allow_training_patients')}.",
        )
    if pair.patients is None:
        return [f"patients were not compared with {train.path}: patients of one of the two are unknown"]
    return []


def _write_figures(found: Explanation, outputs: Outputs) -> None:
    from cxr_cli.plots import explain as plots

    if found.sheet:
        outputs.write_figure("maps.png", plots.map_sheet(found.sheet))
    if found.outside:
        outputs.write_figure("outside.png", plots.map_sheet(found.outside, field=True))
    if found.result.localization:
        outputs.write_figure("localization.png", plots.localization(found.result))
