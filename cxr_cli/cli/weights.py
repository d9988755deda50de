"""``cxr weights``: class weights of a label table, and the proof that they do what they should."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.choices import Framework, Reduction, Scheme
from cxr_cli.cli import console
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    OUTPUT,
    JsonOption,
    LabelsArgument,
    NoPlotsOption,
    OutputOption,
    open_outputs,
    option,
)
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.data.labels import LabelTable
    from cxr_cli.services.weights.result import PathologyWeights, WeightsResult


@with_table_options
def weights(
    labels: LabelsArgument,
    predictions: Annotated[
        Path | None,
        option(
            "--predictions",
            "CSV of predicted probabilities (an image column, and one per pathology), whose loss is shown too.",
            metavar="FILE",
            panel=INPUT,
        ),
    ] = None,
    how: TableOptions = RECOGNISED,
    scheme: Annotated[
        Scheme,
        option(
            "--scheme",
            "frequency (CheXNet), w-cel (ChestX-ray8, pooled over pathologies), balanced (as scikit-learn) or "
            "effective-number (Cui et al. 2019).",
            metavar="NAME",
            panel=COMPUTE,
        ),
    ] = "frequency",
    beta: Annotated[
        float | None,
        option(
            "--beta",
            "Beta of effective-number, from 0 to below 1.",
            metavar="B",
            panel=COMPUTE,
            default="0.9999",
        ),
    ] = None,
    max_ratio: Annotated[
        float | None,
        option(
            "--max-ratio",
            "Cut positive weights to R times the negative weight (at least 1).",
            metavar="R",
            panel=COMPUTE,
            default="no limit",
        ),
    ] = None,
    losses: Annotated[
        bool, option("--losses", "Show the losses of simple predictors, part by part.", panel=COMPUTE)
    ] = False,
    reduction: Annotated[
        Reduction,
        option(
            "--reduction",
            "How these losses join the known labels of a pathology: mean or sum.",
            metavar="HOW",
            panel=COMPUTE,
        ),
    ] = "mean",
    epsilon: Annotated[
        float, option("--epsilon", "Added inside the logarithms of these losses.", metavar="E", panel=COMPUTE)
    ] = 1e-7,
    save: Annotated[
        Path | None,
        option("--save", "Save the weights for build-model and train (.json or .csv).", metavar="FILE", panel=OUTPUT),
    ] = None,
    print_code: Annotated[
        Framework | None,
        option(
            "--print-code",
            "Print code of the weighted loss for keras or torch, instead of tables.",
            metavar="NAME",
            panel=OUTPUT,
        ),
    ] = None,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute class weights from a label table and show what they do to the loss of each pathology.

    Unknown labels are left out. A pathology without positives, or without negatives, is named and keeps weight 1.

    Example: `cxr weights train.csv --scheme balanced --save weights.json`
    """
    from cxr_cli.cli.tables.weights import tables_of
    from cxr_cli.data.predictions import read_predictions
    from cxr_cli.services.envelope import keep_result
    from cxr_cli.services.weights.save import save_weights
    from cxr_cli.services.weights.weights import compute_weights

    _check_options(save, print_code, as_json)
    table = read_table(labels, how, need_labels=True)
    predicted = None if predictions is None else read_predictions(predictions, table.pathologies).in_order(table)
    inputs = [*table.sources, *([predicted.source] if predicted is not None and predicted.source is not None else [])]
    outputs = open_outputs(output, "weights", inputs, no_plots=no_plots)
    result = compute_weights(
        table,
        scheme=scheme,
        beta=beta,
        max_ratio=max_ratio,
        predictions=predicted,
        reduction=reduction,
        epsilon=epsilon,
    )
    save_weights(result, inputs, outputs, save)
    if print_code is None:
        render = partial(tables_of, labels=labels, losses=losses or predictions is not None)
        console.show("weights", result, render, as_json=as_json, inputs=inputs, outputs=outputs)
    else:
        keep_result("weights", result, inputs, outputs)
        typer.echo(_code(print_code, result, table, save), nl=False)
        for path in outputs.written:
            console.saved(path)
    _notes(result)


def _check_options(save: Path | None, code: Framework | None, as_json: bool) -> None:
    from cxr_cli.services.weights.save import check_file

    if code is not None and as_json:
        raise UsageError(
            "--print-code and --json both print to stdout", remedy="Drop one of them; --save writes the JSON."
        )
    if save is not None:
        check_file(save)


def _code(code: Framework, result: WeightsResult, table: LabelTable, save: Path | None) -> str:
    from cxr_cli.services.weights.code import keras_code, torch_code

    title = f"Class weights of {table.path.name} (SHA-256 {table.source.sha256[:12]}…), scheme {result.scheme}."
    return keras_code(result, title, save) if code == "keras" else torch_code(result, title)


def _notes(result: WeightsResult) -> None:
    if result.n_unknown:
        ignored = result.n_uncertain and result.uncertain == "ignore"
        uncertain = f" ({result.n_uncertain:,} of them uncertain)" if ignored else ""
        labels = result.n_known + result.n_unknown
        console.note(f"{result.n_unknown:,} of {labels:,} labels are unknown{uncertain} and left out")
    _warn_of_unweighted(result)
    _note_shares(result)
    console.note(
        "these weights belong in the loss (--print-code keras or torch shows how): Keras' fit(class_weight=...) "
        "silently takes the argmax of labels with many pathologies"
    )


def _warn_of_unweighted(result: WeightsResult) -> None:
    unweighted: dict[str, list[str]] = {}
    for row in result.pathologies:
        if not row.weighted:
            share = console.percent(row.weighted_loss_fraction, 2)
            unweighted.setdefault(_lacking(row), []).append(f"{row.pathology} ({share} of the weighted loss)")
    for what, pathologies in unweighted.items():
        console.warn(
            f"no {what} of {', '.join(pathologies)}: left unweighted (weights 1); leave them out of training, too"
        )


def _lacking(row: PathologyWeights) -> str:
    if not row.n_positive and not row.n_negative:
        return "known labels"
    return "negatives" if row.n_positive else "positives"


def _note_shares(result: WeightsResult) -> None:
    rows = [row for row in result.pathologies if row.weighted]
    if len(rows) < 2:
        return
    most, least = (choose(rows, key=lambda row: row.weighted_loss_fraction) for choose in (max, min))
    if most.weighted_loss_fraction > 2 * least.weighted_loss_fraction:
        console.note(
            "weights balance positives and negatives of each pathology, but not the pathologies among each other: "
            f"{most.pathology} takes {console.percent(most.weighted_loss_fraction, 2)} of the weighted loss, "
            f"{least.pathology} {console.percent(least.weighted_loss_fraction, 2)} (the same with --scheme balanced)"
        )
