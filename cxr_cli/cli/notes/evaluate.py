"""What ``cxr evaluate`` says on stderr about its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxr_cli.cli import console
from cxr_cli.errors import in_terminal

if TYPE_CHECKING:
    from cxr_cli.services.evaluate.result import EvaluateResult

#: Harmless issues, and those whose message lists everything already.
_HARMLESS = ("images-without-predictions", "unused-columns", "matched-without-folders")
_LISTED = (
    "unused-columns",
    "pathologies-missing-in-model",
    "perfect-ranking",
    "logits",
    "outside-probabilities",
    "constant-predictions",
    "two-values",
    "rank-only",
    "sigmoid-twice",
    "step-at-half",
    "matched-without-folders",
)


def say(result: EvaluateResult, corrected: bool) -> None:
    """Say what is worth knowing, and warn of what the user should act on."""
    for issue in result.issues:
        if issue.kind.removeprefix("validation-") == "label-table-issues":
            continue  # what matters of them was said when the table was read
        tell = console.note if issue.kind in _HARMLESS else console.warn
        examples = "" if not issue.examples or issue.kind in _LISTED else f" ({', '.join(issue.examples)}, …)"
        if issue.count <= len(issue.examples):
            examples = examples.replace(", …)", ")")
        tell(in_terminal(issue.message) + examples)
    if result.patients_from is not None:
        console.note(f"patients are taken from {result.patients_from}")
    if result.narrower is not None:
        console.note(
            f"intervals over images have {100 * result.narrower:.0f} % of the width of those over patients: images of "
            "one patient are not independent"
        )
    if result.thresholds_refused is not None:
        console.note(f"no threshold was chosen: {result.thresholds_refused} (--valid, or --thresholds 0.5)")
    one_run = [model.name for model in result.models if model.n_runs == 1]
    if result.comparisons and one_run:
        console.note(
            f"there is one training run of {', '.join(one_run)}: the noise of training is not in the intervals, and "
            "another seed may reverse a small difference (give several runs as NAME=FILE,FILE)"
        )
    told = any(issue.kind == "class-weights-in-loss" for issue in result.issues)
    if not corrected and not told and _overconfident(result.models[0].pathologies):
        console.note(
            "predicted probabilities are far above the prevalence; if class weights were in the loss, "
            "--undo-class-weights FILE shows the calibration after their correction"
        )


def _overconfident(rows: Sequence[object]) -> bool:
    """Whether most pathologies are predicted at more than twice their prevalence."""
    found = [row.calibration for row in rows if row.calibration is not None]  # type: ignore[attr-defined]
    return bool(found) and sum(item.mean_predicted > 2 * item.observed for item in found) > len(found) / 2
