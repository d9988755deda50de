"""Write the output of ``cxr weights``: plots, and the file of class weights for build-model and train."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from cxr_cli.data.files import InputFile, Outputs
from cxr_cli.errors import UsageError, argument
from cxr_cli.services.envelope import envelope
from cxr_cli.services.weights.result import WeightsResult

_COUNTS = ("n_positive", "n_negative", "n_unknown", "prevalence")


def save_weights(
    result: WeightsResult, inputs: Sequence[InputFile], outputs: Outputs, file: Path | None = None
) -> None:
    """Write plots and, if a file is named, the class weights.

    Parameters
    ----------
    result
        What `compute_weights` returned.
    inputs
        The label table, and what else was read.
    outputs
        Where to write; lists afterwards what was written.
    file
        A ``.json`` gets the document of the command, a ``.csv`` one line for each pathology; replaced if it is there.

    Raises
    ------
    UsageError
        The file has another ending.
    OutputError
        The file is an input, or something cannot be written.
    """
    if file is not None:
        check_file(file)
        outputs.refuse_input(file)
    if outputs.plots:
        from cxr_cli.plots import weights as plots

        outputs.write_figure("class-distribution.png", plots.class_distribution(result))
        outputs.write_figure("contributions.png", plots.contributions(result))
        outputs.write_figure("loss-shares.png", plots.loss_shares(result))
    if file is None:
        return
    if file.suffix.lower() == ".csv":
        outputs.write_text(file, _csv(result, inputs[0]), folder=Path(), named_by_user=True)
        return
    # The document lists all that the command writes: this file, and result.json, which holds the same.
    outputs.written.append(file)
    kept = outputs.result_path()
    document = envelope("weights", result, inputs, [*outputs.written, *([] if kept is None else [kept])])
    outputs.write_json(file, document, folder=Path(), named_by_user=True)


def check_file(file: Path) -> None:
    """Raise UsageError unless class weights can be saved under a name."""
    if file.suffix.lower() not in (".json", ".csv"):
        raise UsageError(
            argument("file", str(file), option=f"--save {file}"), expected="a file ending in .json or .csv"
        )


def _csv(result: WeightsResult, source: InputFile) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["pathology", "positive_weight", "negative_weight", "scheme", *_COUNTS, "source", "source_sha256"])
    for row in result.pathologies:
        numbers = [getattr(row, name) for name in _COUNTS]
        weights = [row.positive_weight, row.negative_weight]
        rows.writerow([row.pathology, *weights, result.scheme, *numbers, source.path, source.sha256])
    return text.getvalue()
