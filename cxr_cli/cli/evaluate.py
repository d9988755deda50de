"""``cxr evaluate``: measure a model on its predictions, with the patient as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.choices import Unit
from cxr_cli.cli import console
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    RUNNING,
    JsonOption,
    NoPlotsOption,
    OutputOption,
    SeedOption,
    open_outputs,
    option,
)
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.data.files import InputFile
    from cxr_cli.data.predictions import Predictions
    from cxr_cli.data.thresholds import Thresholds


@with_table_options
def evaluate(
    predictions: Annotated[
        list[str],
        typer.Argument(
            metavar="PREDICTIONS",
            help="CSV of a model's predictions: an image column and one column per pathology (Mass, Mass_pred or "
            "prob_Mass). Several files are runs of one recipe, or folds of a cross-validation.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        Path | None,
        option("--labels", "Label table.", panel=INPUT, default="labels in the predictions file", metavar="TABLE"),
    ] = None,
    attributes: Annotated[
        Path | None,
        option(
            "--attributes",
            "Table that adds patients, sex, age and view to labels that lack them.",
            panel=INPUT,
            metavar="TABLE",
        ),
    ] = None,
    valid: Annotated[
        str | None,
        option(
            "--valid",
            "Predictions for validation images; thresholds are chosen on them and nowhere else.",
            panel=INPUT,
            metavar="PREDICTIONS",
        ),
    ] = None,
    valid_labels: Annotated[
        Path | None,
        option(
            "--valid-labels",
            "Their labels, in a table read as that of --labels.",
            panel=INPUT,
            default="in their file, or in --labels",
            metavar="TABLE",
        ),
    ] = None,
    train_labels: Annotated[
        Path | None,
        option(
            "--train-labels",
            "Table that the model was trained on, read as that of --labels: test patients in it are leakage.",
            panel=INPUT,
            metavar="TABLE",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        option(
            "--compare",
            "Another model on the same images; several files are its runs. May be repeated.",
            panel=INPUT,
            metavar="NAME=FILE[,FILE…]",
        ),
    ] = None,
    name: Annotated[
        str, option("--name", "Name of the model in tables and plots.", panel=INPUT, metavar="NAME")
    ] = "model",
    logits: Annotated[
        bool,
        option("--logits", "The predictions are logits: apply a sigmoid first.", panel=INPUT),
    ] = False,
    how: TableOptions = RECOGNISED,
    by: Annotated[
        str | None,
        option(
            "--by",
            "Subgroups: some of sex, age, view or columns of the table, as sex,age.",
            panel=COMPUTE,
            metavar="NAMES",
        ),
    ] = None,
    thresholds: Annotated[
        str | None,
        option(
            "--thresholds",
            "Thresholds chosen elsewhere (thresholds.json, or a CSV), or one number such as 0.5.",
            panel=COMPUTE,
            metavar="FILE|NUMBER",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        option(
            "--rule",
            "Threshold shown and used for subgroups: youden, best-f1, sensitivity-0.9 or specificity-0.9.",
            default="youden",
            panel=COMPUTE,
            metavar="RULE",
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        option("--prevalence", "Give PPV and NPV at this prevalence too, such as 0.01.", panel=COMPUTE, metavar="P"),
    ] = None,
    undo_class_weights: Annotated[
        Path | None,
        option(
            "--undo-class-weights",
            "Class weights of the training loss (a file of cxr weights, or the model that has them in its card): "
            "show calibration before and after their correction.",
            panel=COMPUTE,
            metavar="FILE",
        ),
    ] = None,
    draws: Annotated[
        int,
        option("--draws", "Bootstrap draws.", panel=COMPUTE, min=100, metavar="N"),
    ] = 2000,
    confidence: Annotated[
        float,
        option("--confidence", "Confidence of the intervals.", panel=COMPUTE, metavar="C"),
    ] = 0.95,
    unit: Annotated[
        Unit,
        option(
            "--unit",
            "Draw by patient, or by image for comparison with the literature (intervals too narrow).",
            panel=COMPUTE,
            metavar="UNIT",
        ),
    ] = "patient",
    reference: Annotated[
        bool,
        option("--reference", "Print published results beside yours.", panel=COMPUTE),
    ] = False,
    seed: SeedOption = 0,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
    workers: Annotated[
        int | None,
        option("--workers", "Threads.", panel=RUNNING, default="one per core", min=1, metavar="N"),
    ] = None,
) -> None:
    """Measure a model on its predictions: AUROC, AUPRC, calibration and error rates, with intervals over patients.

    Example: `cxr evaluate test-preds.csv --labels test.csv --valid valid-preds.csv --by sex,age`
    """
    from cxr_cli.cli.notes.evaluate import say
    from cxr_cli.cli.tables.evaluate import tables_of
    from cxr_cli.services.evaluate.class_weights import read_weights
    from cxr_cli.services.evaluate.evaluate import evaluate as service
    from cxr_cli.services.parallel import available_cores

    label_table = None
    if labels is not None:
        label_table = read_table(labels, how, allow_unsafe_names=True, need_labels=True)
    names = () if label_table is None else label_table.pathologies
    models = {name: _predictions(predictions, names)}
    for text in compare or []:
        other, files = _named(text)
        if other in models:
            raise UsageError(f"--compare {text}: two models are called {other}", remedy="Give each its own name.")
        models[other] = _predictions([files], names)
    tables = {
        key: None if path is None else read_table(path, as_labels, allow_unsafe_names=True, quiet=quiet)
        for key, path, as_labels, quiet in (
            ("attributes", attributes, TableOptions(uncertain=how.uncertain), True),
            ("valid", valid_labels, how, False),
            ("train", train_labels, how, True),
        )
    }
    validation = None if valid is None else _predictions([valid], names)
    limits, limits_source = (None, None) if thresholds is None else _limits(thresholds)
    weights = None if undo_class_weights is None else read_weights(undo_class_weights)
    inputs = _inputs(
        [item for files in (*models.values(), validation or []) for item in files],
        [source for table in (label_table, *tables.values()) if table is not None for source in table.sources],
        [path for path in (limits_source, undo_class_weights) if path is not None],
    )
    outputs = open_outputs(output, "evaluate", inputs, no_plots=no_plots)
    if outputs.keeps_result:
        outputs.refuse_to_replace("thresholds.json")
    with console.progress_bar("Drawing patients", unit="draws") as progress:
        result = service(
            models[name],
            label_table,
            name=name,
            compare={key: files for key, files in models.items() if key != name},
            attributes=tables["attributes"],
            by=[item.strip() for item in (by or "").split(",") if item.strip()],
            valid=validation,
            valid_labels=tables["valid"],
            thresholds=limits,
            rule=rule,
            prevalence=prevalence,
            train_labels=tables["train"],
            undo_class_weights=weights,
            logits=logits,
            n_draws=draws,
            confidence=confidence,
            seed=seed,
            unit=unit,
            reference=reference,
            workers=workers or available_cores(),
            progress=progress,
            outputs=outputs if outputs.keeps_result else None,
        )
    console.show("evaluate", result, tables_of, as_json=as_json, inputs=inputs, outputs=outputs)
    say(result, undo_class_weights is not None)
    if result.leakage:
        raise typer.Exit(1)


def _predictions(texts: Sequence[str], pathologies: Sequence[str]) -> list[Predictions]:
    """Read the files of one model, which may be separated by commas."""
    from cxr_cli.data.predictions import read_predictions

    paths: list[str] = []
    for text in texts:
        paths += [text] if Path(text).exists() else [part for part in text.split(",") if part]
    if not paths:
        raise UsageError("a model without predictions", expected="a file, or several separated by commas")
    return [read_predictions(path, pathologies) for path in paths]


def _named(text: str) -> tuple[str, str]:
    name, sign, files = text.partition("=")
    if not sign or not name.strip() or not files.strip():
        raise UsageError(f"--compare {text}", expected="NAME=FILE, such as resnet=resnet-preds.csv")
    return name.strip(), files.strip()


def _limits(text: str) -> tuple[Thresholds | float, Path | None]:
    from cxr_cli.data.thresholds import read_thresholds

    try:
        return float(text), None
    except ValueError:
        return read_thresholds(text), Path(text)


def _inputs(predictions: Sequence[Predictions], tables: Sequence[InputFile], paths: Sequence[Path]) -> list[InputFile]:
    from cxr_cli.data.files import describe_input

    found = [item.source for item in predictions if item.source is not None]
    every = [*found, *tables, *(describe_input(path) for path in paths)]
    return list(dict.fromkeys(every))
