"""Tables of ``cxr explore``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console
from cxr_cli.cli.tables.account import account_table
from cxr_cli.errors import shown as shown_text

if TYPE_CHECKING:
    from cxr_cli.services.explore.dicom import DicomFacts
    from cxr_cli.services.explore.images import ImageCheck
    from cxr_cli.services.explore.result import ExploreResult, ImageSurvey, PatientFacts
    from cxr_cli.services.explore.subgroups import Breakdown


#: How many columns with missing cells, pairs, broken and odd images the tables show; the JSON has all of them.
_N_COLUMNS, _N_PAIRS, _N_FILES = 3, 10, 20
#: How many values of a DICOM tag are shown.
_N_VALUES = 6
#: Numbers of images per patient up to the first bound are shown one by one, then in these ranges.
_RANGES = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, None))


def tables_of(result: ExploreResult) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    yield _overview(result)
    yield account_table(result.account)
    if result.patients is not None:
        yield _images_per_patient(result.patients.images_per_patient)
    if result.pathologies:
        yield _pathologies(result)
        yield _labels_per_image(result)
    if result.co_occurrence.pairs:
        yield _pairs(result)
    yield from _groups(result)
    if result.images is not None:
        yield from _images(result.images)
    if result.issues:
        yield _issues(result)


def _overview(result: ExploreResult) -> RenderableType:
    table, labels = result.table, result.labels
    with_nulls = sorted((column for column in table.columns if column.n_null), key=lambda column: -column.n_null)
    nulls = ", ".join(f"{column.name}: {column.n_null:,}" for column in with_nulls[:_N_COLUMNS])
    nulls += ", …" if len(with_nulls) > _N_COLUMNS else ""
    rows: list[tuple[str, object]] = [
        ("schema", table.schema),
        ("rows × columns", f"{table.n_rows:,} × {table.n_columns:,}"),
        ("missing cells", f"{table.n_null_cells:,}" + (f" ({nulls})" if nulls else "")),
        ("images", table.n_images),
        *_patient_rows(result.patients),
        ("pathologies", labels.n_pathologies),
        ("labels", f"{labels.n_labels:,}, {labels.mean_per_image:.3f} per image"),
        ("combinations of labels", labels.n_combinations),
    ]
    if table.n_uncertain:
        rows.append(("uncertain labels", f"{table.n_uncertain:,}, {console.taken_as(table.uncertain)}"))
    age = result.age
    if age is not None and age.n_known:
        span = f"{age.minimum:.3g} to {age.maximum:.3g} years, mean {age.mean:.1f}, median {age.median:.3g}"
        rows.append(("age", f"{span}; {age.n_under_18:,} images under 18"))
    return console.table(table.path, ["table", ""], rows, text_columns=2)


def _patient_rows(patients: PatientFacts | None) -> list[tuple[str, object]]:
    if patients is None:
        return [("patients", "not known")]
    n_most = patients.images_per_patient[patients.maximum]
    who = ", ".join(patients.patients_with_maximum[:3]) + (", …" if n_most > 3 else "")
    rows: list[tuple[str, object]] = [
        ("patients", patients.n_patients),
        ("images per patient", f"mean {patients.mean:.2f}, median {patients.median:g}, at most {patients.maximum:,}"),
        ("with most images", f"patient {who}" if n_most == 1 else f"{n_most:,} patients: {who}"),
    ]
    if patients.n_without_patient:
        rows.append(("images without patient", patients.n_without_patient))
    return rows


def _images_per_patient(counts: Mapping[int, int]) -> RenderableType:
    n_patients, maximum = sum(counts.values()), max(counts)
    rows = []
    for first, end in _RANGES:
        last = maximum if end is None else min(end, maximum)
        inside = sum(n for number, n in counts.items() if first <= number <= last)
        name = f"{first}" if first == last else f"{first}–{last}"
        if inside:
            rows.append((name, inside, console.percent(inside / n_patients)))
    return console.table("Images per patient", ["images", "patients", "share"], rows)


def _pathologies(result: ExploreResult) -> RenderableType:
    with_patients, with_unknown = result.patients is not None, any(item.n_unknown for item in result.pathologies)
    rows: list[Sequence[object]] = []
    for item in sorted(result.pathologies, key=lambda item: -item.n_positive):
        row: list[object] = [item.pathology, item.n_positive, console.percent(item.prevalence, 2)]
        row += [item.n_patients] if with_patients else []
        row += [f"{item.negatives_per_positive:,.1f}" if item.n_positive else None]
        row += [item.n_unknown] if with_unknown else []
        rows.append(row)
    columns = ["pathology", "positives", "prevalence", *(["patients"] if with_patients else [])]
    columns += ["negatives per positive", *(["not known"] if with_unknown else [])]
    nothing = result.labels.n_without_finding
    share = console.percent(nothing / result.labels.n_counted)
    caption = f"{nothing:,} images ({share}) have none of them."
    if result.labels.n_unlabelled:
        caption += f" Of {result.labels.n_unlabelled:,} no label is known."
    return console.table("Pathologies", columns, rows, caption=caption)


def _labels_per_image(result: ExploreResult) -> RenderableType:
    rows = [
        (str(number), n_images, console.percent(n_images / result.labels.n_counted))
        for number, n_images in result.labels.per_image.items()
    ]
    return console.table("Labels per image", ["labels", "images", "share"], rows)


def _pairs(result: ExploreResult) -> RenderableType:
    pairs = result.co_occurrence.pairs
    rows = [
        (
            pair.first,
            pair.second,
            pair.n_images,
            console.percent(pair.fraction_of_first),
            console.percent(pair.fraction_of_second),
            f"{pair.lift:.1f} ×",
        )
        for pair in pairs
    ]
    return console.table(
        "Found together most often",
        ["first", "second", "images", "of first", "of second", "as often as by chance"],
        rows,
        text_columns=2,
        most=_N_PAIRS,
    )


def _groups(result: ExploreResult) -> Iterator[RenderableType]:
    parts = {"view": result.by_view, "sex": result.by_sex, "age": result.by_age}
    known = {name: part for name, part in parts.items() if part is not None}
    # Ages have a table of their own, so that both fit into a narrow terminal.
    for names in (known.keys() & {"view", "sex"}, known.keys() & {"age"}):
        if names:
            yield _prevalences(result, {name: part for name, part in known.items() if name in names})
    if result.differences:
        yield console.table(
            "Far commoner in one group",
            ["pathology", "group", "prevalence there", "elsewhere", "ratio"],
            [
                (
                    item.pathology,
                    f"{item.attribute} {item.group}",
                    console.percent(item.prevalence, 2),
                    console.percent(item.prevalence_elsewhere, 2),
                    f"{item.ratio:.1f} ×",
                )
                for item in result.differences
            ],
            caption="A model can learn to tell the group instead of the finding.",
            text_columns=2,
        )


def _prevalences(result: ExploreResult, parts: Mapping[str, Breakdown]) -> RenderableType:
    groups = [group for part in parts.values() for group in part.groups if group.n_images]
    unknown = [f"{name} not known: {part.n_unknown:,} images" for name, part in parts.items() if part.n_unknown]
    return console.table(
        f"Prevalence by {' and '.join(parts)}",
        ["pathology", *(group.name for group in groups)],
        [
            ("(images)", *(group.n_images for group in groups)),
            *(
                (item.pathology, *(console.percent(group.prevalence[item.pathology], 2) for group in groups))
                for item in sorted(result.pathologies, key=lambda item: -item.n_positive)
            ),
        ],
        caption="; ".join(unknown) or None,
    )


def _dicom_tags(facts: DicomFacts) -> RenderableType:
    rows: list[tuple[str, object]] = []
    for tag in facts.tags:
        values = list(tag.values.items())[:_N_VALUES]
        shown = ", ".join(f"{shown_text(value, 40) if value else 'none'} ({count:,})" for value, count in values)
        rows.append(
            (tag.tag, shown + (f", and {tag.n_values - len(values):,} more" if tag.n_values > len(values) else ""))
        )
    rows += [(f"unreadable: {reason}", count) for reason, count in list(facts.unreadable.items())[:_N_VALUES]]
    return console.table(f"Headers of {facts.n_files:,} DICOM files", ["tag", "values (files)"], rows, text_columns=2)


def _images(survey: ImageSurvey) -> Iterator[RenderableType]:
    check = survey.check
    rows: list[tuple[str, object]] = [
        ("named in the table", survey.n_named),
        ("found", survey.n_found),
        ("missing", survey.n_missing),
        ("in the folder, not in the table", survey.n_not_named),
    ]
    if survey.n_refused:
        rows.append(("refused: outside the folder", survey.n_refused))
    if survey.n_ambiguous:
        rows.append(("several files or names", survey.n_ambiguous))
    rows += [(f"opened ({check.which})", check.n_opened), ("broken", check.n_broken)]
    rows += [(f"odd: {issue}", count) for issue, count in check.issues.items()]
    if check.statistics is not None:
        for name, tally in (("height × width", check.statistics.sizes), ("mode", check.statistics.modes)):
            shown = [f"{value} ({count:,})" for value, count in list(tally.items())[:5]]
            rows.append((name, ", ".join(shown) + (", …" if len(tally) > len(shown) else "")))
    yield console.table(f"Images in {survey.folder}", ["images", ""], rows)
    if survey.dicom is not None:
        yield _dicom_tags(survey.dicom)
    if check.statistics is not None:
        yield _pixels(check)
    if check.broken:
        yield console.table(
            "Broken images",
            ["image", "reason"],
            [(item.image, item.reason) for item in check.broken],
            text_columns=2,
            most=_N_FILES,
            n_rows=check.n_broken,
        )
    if check.with_issues:
        yield console.table(
            "Odd images",
            ["image", "issue"],
            [(item.image, ", ".join(item.issues)) for item in check.with_issues],
            text_columns=2,
            most=_N_FILES,
            n_rows=check.n_with_issues,
        )


def _pixels(check: ImageCheck) -> RenderableType:
    rows: list[Sequence[object]] = [
        (
            item.image,
            ", ".join(item.pathologies or ()) or "–",
            f"{item.height} × {item.width}",
            item.mode,
            *(f"{value:.4f}" for value in (item.minimum, item.maximum, item.mean, item.std)),
        )
        for item in check.sample
    ]
    whole = check.statistics
    assert whole is not None
    rows.append(
        (
            f"all {whole.n_images:,} opened",
            "",
            "",
            "",
            *(f"{value:.4f}" for value in (whole.minimum, whole.maximum, whole.mean, whole.std)),
        )
    )
    return console.table(
        "Random images",
        ["image", "findings", "height × width", "mode", "min", "max", "mean", "std"],
        rows,
        caption="Grey values as shares of the full range: 0 is black, 1 is white.",
        text_columns=2,
    )


def _issues(result: ExploreResult) -> RenderableType:
    rows = []
    for issue in result.issues:
        shown = ", ".join(f"{row:,}" for row in issue.rows[:5])
        rows.append((issue.message, issue.count, shown + (", …" if shown and issue.count > 5 else "")))
    return console.table("Odd in the table", ["what", "how many", "rows (the first is 0)"], rows)
