"""Tables of ``cxr check-leakage``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.check_leakage.result import (
        AffectedRows,
        ExactDuplicates,
        LeakageReport,
        NearDuplicates,
        PairReport,
        PatientOverlap,
        Removal,
        Thresholds,
    )


#: Lines of a list in the tables; the JSON has all of them.
_N_LISTED = 20


def tables_of(report: LeakageReport) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    if report.n_copies_under_different_patient:
        n = report.n_copies_under_different_patient
        yield Text(
            f"{n:,} {'copy' if n == 1 else 'copies'} under another patient id: the same image in two splits, which "
            "no comparison of patient ids finds. See the duplicates below.",
            style="bold red",
        )
    yield from _render_report(report)
    if report.removal is not None:
        yield from _render_removal(report.removal)
    yield _verdict(report)


def _render_report(report: LeakageReport) -> Iterator[RenderableType]:
    yield console.table(
        "Splits",
        ("split", "file", "schema", "images", "patients", "unknown patient", "repeated rows", "compared"),
        [
            (
                split.name,
                split.path,
                split.schema,
                split.n_images,
                split.n_patients,
                split.n_without_patient,
                split.n_repeated_rows,
                None if split.image_check is None else f"{split.image_check.n_checked:,}",
            )
            for split in report.splits
        ],
        text_columns=3,
        if_any=("patients", "unknown patient", "repeated rows", "compared"),
    )
    for pair in report.pairs:
        yield from _render_pair(pair, report.thresholds)
    for split in report.splits:
        if split.duplicates:
            yield _listed(
                f"Equal images inside {split.name}", ("images",), [(", ".join(group),) for group in split.duplicates]
            )
        if split.image_check is not None and split.image_check.broken:
            broken = split.image_check.broken
            yield _listed(
                f"Images of {split.name} that cannot be decoded",
                ("image", "reason"),
                [(item.image, item.reason) for item in broken],
                text_columns=2,
            )


def _render_pair(pair: PairReport, limits: Thresholds | None) -> Iterator[RenderableType]:
    findings: list[tuple[str, int, AffectedRows, AffectedRows]] = []
    if pair.patients is not None:
        findings.append(("patients", pair.patients.n_patients, pair.patients.first, pair.patients.second))
    findings.append(("image names", pair.names.n_images, pair.names.first, pair.names.second))
    for label, found in (
        ("exact duplicates", pair.exact_duplicates),
        ("near duplicates", pair.near_duplicates),
        ("candidates for review", pair.candidates),
    ):
        if found is not None:
            findings.append((label, _number(found), found.first, found.second))
    yield console.table(
        f"Shared by {pair.first} and {pair.second}",
        ("shared", "count", f"images of {pair.first}", f"images of {pair.second}"),
        [(label, n, _part(first), _part(second)) for label, n, first, second in findings],
        caption="Patients were not compared." if pair.patients is None else None,
    )
    if pair.patients is not None and pair.patients.n_patients:
        yield _patients(pair.patients)
    if pair.names.n_images:
        yield _listed("The same image names", ("image",), [(name,) for name in pair.names.images])
    if pair.exact_duplicates is not None and pair.exact_duplicates.n_duplicates:
        yield _listed(
            "Exact duplicates",
            (pair.first, pair.second, "equal", "patient"),
            [
                (
                    ", ".join(item.first_images),
                    ", ".join(item.second_images),
                    item.kind,
                    _patient(item.different_patient),
                )
                for item in pair.exact_duplicates.duplicates
            ],
            text_columns=4,
        )
    if limits is None:
        return
    for title, graded, rule in (
        ("Near duplicates", pair.near_duplicates, (limits.near_distance, limits.near_correlation)),
        ("Candidates for review", pair.candidates, (limits.review_distance, limits.review_correlation)),
    ):
        if graded is not None and graded.n_pairs:
            yield _listed(
                f"{title} (at most {rule[0]} of 256 bits, correlation at least {rule[1]:g})",
                (pair.first, pair.second, "altered", "patient", "bits", "r"),
                [
                    (
                        item.first_image,
                        item.second_image,
                        None if item.alteration == "none" else item.alteration,
                        _patient(item.different_patient),
                        item.distance,
                        f"{item.correlation:.3f}",
                    )
                    for item in graded.pairs
                ],
                n=graded.n_pairs,
                text_columns=4,
                if_any=("altered",),
                caption="r: correlation of the thumbnails (Pearson)",
            )


def _number(found: ExactDuplicates | NearDuplicates) -> int:
    return found.n_pairs if hasattr(found, "n_pairs") else found.n_duplicates


def _part(part: AffectedRows) -> str:
    return f"{part.n_images:,} ({console.percent(part.fraction_of_images)})"


def _patient(other: bool | None) -> Text:
    if other is None:
        return Text("unknown")
    return Text("different", style="bold red") if other else Text("same")


def _patients(overlap: PatientOverlap) -> RenderableType:
    first, second = overlap.first, overlap.second
    return _listed(
        f"{console.counted(overlap.n_patients, 'patient')} in both ({console.percent(first.fraction_of_patients)} of "
        f"{first.split}, {console.percent(second.fraction_of_patients)} of {second.split})",
        ("patient", f"images in {first.split}", f"images in {second.split}"),
        [(patient.patient_id, len(patient.first_rows), len(patient.second_rows)) for patient in overlap.patients],
    )


def _listed(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    n: int | None = None,
    text_columns: int = 1,
    if_any: Collection[str] = (),
    caption: str | None = None,
) -> RenderableType:
    return console.table(
        title,
        columns,
        rows,
        text_columns=text_columns,
        most=_N_LISTED,
        n_rows=n,
        if_any=if_any,
        caption=caption,
    )


def _render_removal(removal: Removal) -> Iterator[RenderableType]:
    yield console.table(
        f"Removed: {', '.join(removal.kinds)}",
        ("split", "written to", "images before", "after", "patients before", "after"),
        [
            (
                split.name,
                split.path,
                split.n_images_before,
                split.n_images_after,
                split.n_patients_before,
                split.n_patients_after,
            )
            for split in removal.splits
        ],
        text_columns=2,
    )
    for split in removal.splits:
        losses = [loss for loss in split.pathologies if loss.n_positive_before != loss.n_positive_after]
        if losses:
            yield console.table(
                f"Positive images of {split.name}",
                ("pathology", "before", "after"),
                [(loss.pathology, loss.n_positive_before, loss.n_positive_after) for loss in losses],
            )
    yield Text("Checked again, from the files written:", style="bold")
    yield console.table(
        None,
        ("splits", "patients", "image names", "exact duplicates", "near duplicates"),
        [
            (
                f"{pair.first}, {pair.second}",
                None if pair.patients is None else pair.patients.n_patients,
                pair.names.n_images,
                None if pair.exact_duplicates is None else pair.exact_duplicates.n_duplicates,
                None if pair.near_duplicates is None else pair.near_duplicates.n_pairs,
            )
            for pair in removal.after.pairs
        ],
    )


def _verdict(report: LeakageReport) -> Text:
    sentences = [
        f"{part.n_images:,} of {split.n_images:,} {part.split} images, {console.percent(part.fraction_of_images)}, "
        f"come from patients that are also in {other.split}."
        for pair in report.pairs
        if pair.patients is not None and pair.patients.n_patients
        for part, other in ((pair.patients.second, pair.patients.first),)
        for split in report.splits
        if split.name == part.split
    ]
    final = report if report.removal is None else report.removal.after
    closing = {
        "clean": ("No leakage found.", "green"),
        "leakage": ("Leakage found.", "bold red"),
        "unchecked": ("Nothing found, but not everything could be checked.", "yellow"),
    }[final.verdict]
    if report.removal is None:
        return Text("\n".join([*sentences, closing[0]]), style=closing[1])
    left = {
        "clean": "The copies are clean.",
        "leakage": "The copies still share something (see above); --remove and --remove-from remove more.",
        "unchecked": "Nothing was found in the copies, but not everything could be checked.",
    }[final.verdict]
    return Text("\n".join([*sentences, left]), style=closing[1])
