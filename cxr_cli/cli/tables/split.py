"""Tables of ``cxr split``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.split.result import LeakageCheck, PathologyInSplit, SplitResult, SplitSummary


#: With more splits than this, tables show the range over splits instead of one column each.
_MAX_COLUMNS = 5


def tables_of(result: SplitResult) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    patients = "unknown patients" if result.n_patients is None else f"{result.n_patients:,} patients"
    yield Text(f"{result.table.path}: {result.n_images:,} images, {patients}, seed {result.seed}")
    yield _sizes(result)
    yield _positives(result)
    if result.min_positives or result.official:
        yield _prevalences(result)
    yield _conclusion(result)


def _sizes(result: SplitResult) -> RenderableType:
    return console.table(
        "Splits",
        ["split", "images", "fraction", "wanted", "patients", "images per patient"],
        [
            (
                summary.name + (" (official)" if summary.official else ""),
                summary.n_images,
                console.percent(summary.fraction),
                console.percent(summary.target_fraction),
                summary.n_patients,
                None if summary.images_per_patient is None else f"{summary.images_per_patient:.2f}",
            )
            for summary in result.splits
        ],
    )


def _positives(result: SplitResult) -> RenderableType:
    splits, judged = result.splits, _judged(result)
    wide = len(splits) > _MAX_COLUMNS
    columns = ["pathology", "all", *(["fewest", "most"] if wide else [summary.name for summary in splits])]
    columns += ["off by", *(["± at worst"] if wide else [f"± {item.name}" for item in judged])]
    rows = []
    for place, (pathology, total) in enumerate(zip(result.pathologies, result.n_positive, strict=True)):
        shares = [summary.pathologies[place] for summary in splits]
        numbers = [share.n_positive for share in shares]
        deviations = [share.deviation for share in shares if share.deviation is not None]
        worst = max(deviations, key=abs, default=None)
        widths = [_half_width(summary.pathologies[place]) for summary in judged]
        rows.append(
            (
                pathology,
                total,
                *([min(numbers), max(numbers)] if wide else numbers),
                None if worst is None else _signed(worst),
                *([max(widths, key=lambda width: (width == "–", width))] if wide else widths),
            )
        )
    return console.table(
        "Images with each pathology",
        columns,
        rows,
        caption=f"off by: worst deviation from the target; ±: half a 95 % confidence interval of an AUROC of "
        f"{result.expected_auroc:g} (Hanley and McNeil, treating images as independent)",
    )


def _signed(share: float) -> str:
    # Adding 0.0 turns the -0.0 of a rounded trifle into 0.0.
    percent = round(100 * share, 1) + 0.0
    return f"{percent:+.1f} %" if abs(percent) < 10 else f"{percent:+.0f} %"


def _judged(result: SplitResult) -> list[SplitSummary]:
    """Return the splits that models are judged on: all but the training split, or all folds."""
    return [summary for summary in result.splits if summary.name != result.training] or list(result.splits)


def _half_width(share: PathologyInSplit) -> str:
    return "–" if share.auroc_half_width is None else f"{share.auroc_half_width:.3f}"


def _prevalences(result: SplitResult) -> RenderableType:
    return console.table(
        "Prevalence relative to the whole table",
        ["pathology", *(summary.name for summary in result.splits)],
        [
            (pathology, *(_times(summary.pathologies[place].prevalence_ratio) for summary in result.splits))
            for place, pathology in enumerate(result.pathologies)
        ],
    )


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"×{ratio:.2f}"


def _conclusion(result: SplitResult) -> Text:
    lines = []
    if result.worst is not None and result.largest_miss is not None:
        worst = result.worst
        lines.append(
            f"Positives deviate from their targets by {console.percent(result.mean_deviation)} on average, by "
            f"{console.percent(abs(worst.deviation))} at worst ({worst.pathology} in {worst.split}), by at most "
            f"{result.largest_miss:.1f} images."
        )
    if result.leakage is not None:
        lines.append(_verdict(result.leakage))
    return Text("\n".join(lines))


def _verdict(leakage: LeakageCheck) -> str:
    if leakage.verdict == "clean":
        return "check-leakage on the written tables: clean; no patient or image is in two of them."
    if leakage.verdict == "unchecked":
        return (
            "check-leakage on the written tables: no image is in two of them; patients could not be compared "
            f"({leakage.n_without_patient:,} images without patient)."
        )
    pairs = [
        f"{pair.first} and {pair.second} share "
        + (f"{pair.n_patients:,} patients and " if pair.n_patients is not None else "")
        + f"{pair.n_images:,} images"
        for pair in leakage.shared
    ]
    return f"check-leakage on the written tables: LEAKAGE: {'; '.join(pairs)}."
