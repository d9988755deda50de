"""Tables of ``cxr explore``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cxr_cli.cli import console
from cxr_cli.cli.tables.account import account_table
from cxr_cli.errors import shown as shown_text

if TYPE_CHECKING:
    from cxr_cli.services.explore.dicom import DicomFacts
    from cxr_cli.services.explore.images import ImageCheck, ImageFacts, PixelStatistics
    from cxr_cli.services.explore.result import ExploreResult, ImageSurvey, PathologyFacts, PatientFacts
    from cxr_cli.services.explore.subgroups import Breakdown


#: How many columns with missing cells, pairs, and images that are broken or have issues are shown; JSON has all.
_N_COLUMNS, _N_PAIRS, _N_FILES = 3, 10, 20
#: How many values of a DICOM tag are shown.
_N_VALUES = 6
#: Numbers of images per patient and of labels per image are shown in these ranges.
_RANGES = ((0, 0), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, None))


def tables_of(result: ExploreResult) -> Iterator[RenderableType]:
    """Yield the tables of a result: the news first, then counts, then detail."""
    yield _overview(result)
    if result.issues:
        yield _issues(result)
    if result.images is not None:
        yield from _image_issues(result.images.check)
    if result.differences:
        yield _shortcuts(result)
    if result.pathologies:
        yield _pathologies(result)
    if result.co_occurrence.pairs:
        yield _pairs(result)
    yield from _groups(result)
    yield account_table(result.account)
    if result.images is not None:
        yield from _images(result.images)


def _overview(result: ExploreResult) -> RenderableType:
    table, labels = result.table, result.labels
    with_nulls = sorted(
        (column for column in table.columns if column.n_null and column.name), key=lambda column: -column.n_null
    )
    nulls = ", ".join(f"{column.name}: {column.n_null:,}" for column in with_nulls[:_N_COLUMNS])
    nulls += ", …" if len(with_nulls) > _N_COLUMNS else ""
    rows: list[tuple[str, object]] = [
        ("schema", table.schema),
        ("rows × columns", f"{table.n_rows:,} × {table.n_columns:,}"),
        *([("missing cells", f"{sum(column.n_null for column in with_nulls):,} ({nulls})")] if nulls else []),
        ("images", table.n_images),
        *_patient_rows(result.patients),
        ("pathologies", labels.n_pathologies),
        ("labels", f"{labels.n_labels:,} in {labels.n_combinations:,} combinations"),
        ("labels per image", f"mean {labels.mean_per_image:.3g}; {_tally(labels.per_image, 'images')}"),
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
        return [("patients", "unknown")]
    n_most = patients.images_per_patient[patients.maximum]
    who = ", ".join(patients.patients_with_maximum[:3]) + (", …" if n_most > 3 else "")
    rows: list[tuple[str, object]] = [
        ("patients", patients.n_patients),
        ("images per patient", f"mean {patients.mean:.3g}; {_tally(patients.images_per_patient, 'patients')}"),
        (f"with {patients.maximum:,} images", f"patient {who}" if n_most == 1 else f"{n_most:,} patients: {who}"),
    ]
    if patients.n_without_patient:
        rows.append(("images of unknown patients", patients.n_without_patient))
    return rows


def _tally(counts: Mapping[int, int], noun: str) -> str:
    """Say how many have how much, in a few ranges: "1 (140 patients), 2 (14), 3–6 (9)"."""
    maximum = max(counts)
    parts: list[str] = []
    for first, end in _RANGES:
        last = maximum if end is None else min(end, maximum)
        inside = sum(n for number, n in counts.items() if first <= number <= last)
        if inside:
            name = f"{first}" if first == last else f"{first}–{last}"
            parts.append(f"{name} ({inside:,}{'' if parts else ' ' + noun})")
    return ", ".join(parts)


def _pathologies(result: ExploreResult) -> RenderableType:
    items = sorted(result.pathologies, key=lambda item: -item.n_positive)
    columns: dict[str, Callable[[PathologyFacts], object]] = {
        "positives": lambda item: item.n_positive,
        "prevalence": lambda item: console.percent(item.prevalence, 2),
    }
    if result.patients is not None and any(item.n_patients != item.n_positive for item in items):
        columns["patients"] = lambda item: item.n_patients
    if any(item.n_unknown for item in items):
        columns["unknown"] = lambda item: item.n_unknown
    nothing = result.labels.n_without_finding
    caption = f"{nothing:,} images ({console.percent(nothing / result.labels.n_counted)}) have none of them."
    if result.labels.n_unlabelled:
        caption += f" {result.labels.n_unlabelled:,} images have no known label."
    rows = [(item.pathology, *(cell(item) for cell in columns.values())) for item in items]
    return console.table("Pathologies", ["pathology", *columns], rows, caption=caption)


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
        ["first", "second", "images", "of first", "of second", "lift"],
        rows,
        caption="lift: how many times as often as by chance",
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


def _shortcuts(result: ExploreResult) -> RenderableType:
    return console.table(
        "Possible shortcuts",
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
        caption="A model can learn to recognise the group instead of the pathology.",
        text_columns=2,
    )


def _prevalences(result: ExploreResult, parts: Mapping[str, Breakdown]) -> RenderableType:
    groups = [group for part in parts.values() for group in part.groups if group.n_images]
    unknown = [f"{name} unknown: {part.n_unknown:,} images" for name, part in parts.items() if part.n_unknown]
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
        *([("missing", survey.n_missing)] if survey.n_missing else []),
        *([("in the folder, not in the table", survey.n_not_named)] if survey.n_not_named else []),
    ]
    if survey.n_refused:
        rows.append(("refused: outside the folder", survey.n_refused))
    if survey.n_ambiguous:
        rows.append(("several files or names", survey.n_ambiguous))
    rows += [(f"opened ({check.which})", check.n_opened), *([("broken", check.n_broken)] if check.n_broken else [])]
    rows += [(f"issue: {issue}", count) for issue, count in check.issues.items()]
    if check.statistics is not None:
        for name, tally in (("height × width", check.statistics.sizes), ("mode", check.statistics.modes)):
            shown = [f"{value} ({count:,})" for value, count in list(tally.items())[:5]]
            rows.append((name, ", ".join(shown) + (", …" if len(tally) > len(shown) else "")))
    yield console.table(f"Images in {survey.folder}", ["images", ""], rows)
    if survey.dicom is not None:
        yield _dicom_tags(survey.dicom)
    if check.statistics is not None:
        yield _pixels(check)


def _image_issues(check: ImageCheck) -> Iterator[RenderableType]:
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
            "Images with issues",
            ["image", "issues"],
            [(item.image, ", ".join(item.issues)) for item in check.with_issues],
            text_columns=2,
            most=_N_FILES,
            n_rows=check.n_with_issues,
        )


def _pixels(check: ImageCheck) -> RenderableType:
    whole = check.statistics
    assert whole is not None
    columns: dict[str, Callable[[ImageFacts], object]] = {
        "image": lambda item: item.image,
        "pathologies": lambda item: ", ".join(item.pathologies or ()) or "–",
    }
    # Where all are alike, the table above has said so.
    if len(whole.sizes) > 1:
        columns["height × width"] = lambda item: f"{item.height} × {item.width}"
    if len(whole.modes) > 1:
        columns["mode"] = lambda item: item.mode

    def numbers(facts: ImageFacts | PixelStatistics) -> Iterator[str]:
        for value in (facts.minimum, facts.maximum, facts.mean, facts.std):
            yield f"{value:.3f}"

    rows = [(*(cell(item) for cell in columns.values()), *numbers(item)) for item in check.sample]
    rows.append((f"all {whole.n_images:,} opened", *[""] * (len(columns) - 1), *numbers(whole)))
    return console.table(
        "Random images",
        [*columns, "min", "max", "mean", "std"],
        rows,
        caption="Grey values are fractions of the full range: 0 is black, 1 is white.",
        text_columns=2,
    )


def _issues(result: ExploreResult) -> RenderableType:
    rows = []
    for issue in result.issues:
        shown = ", ".join(f"{row:,}" for row in issue.rows[:5])
        rows.append((issue.message, issue.count, shown + (", …" if shown and issue.count > 5 else "")))
    return console.table("Issues of the table", ["issue", "count", "rows (from 0)"], rows)
