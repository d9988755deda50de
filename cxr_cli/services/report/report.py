"""One page from the results of all commands: data card, model card, chain of custody and checklists."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxr_cli.choices import Checklist, checked
from cxr_cli.data.files import InputFile, Outputs, is_ours
from cxr_cli.errors import UsageError, argument
from cxr_cli.services.report.checklists import CHECKLISTS, answers
from cxr_cli.services.report.collect import Collection, Found, collect
from cxr_cli.services.report.croissant import croissant
from cxr_cli.services.report.custody import breaks
from cxr_cli.services.report.page import Part, Section
from cxr_cli.services.report.render import EmbeddedImage, as_html, as_markdown
from cxr_cli.services.report.result import (
    ReportedChecklist,
    ReportedItem,
    ReportedRun,
    ReportedSection,
    ReportedTable,
    ReportResult,
)
from cxr_cli.services.report.sections import sections as sections_of

#: Plots that show images of patients, by command: on the page only if asked for.
_IMAGES = {
    "explore": {"images.png": "Images drawn at random"},
    "preprocess": {"samples.png": "Images before and after preprocessing"},
    "check-leakage": {"near-duplicates.png": "Near duplicates side by side"},
    "explain": {"maps.png": "Where the model looks", "outside.png": "Maps with most of their mass outside the lungs"},
}
#: Plots that show no patient and whose curves are too long for a result: on every page.
_PLOTS = {"evaluate": {"roc.png": "ROC curves", "precision-recall.png": "Precision-recall curves"}}
#: Images are at most so many pixels wide, and all of them together so many bytes.
_WIDEST, _MOST_BYTES = 1100, 900_000


def report(
    folders: Sequence[Path | str] = (Path(),),
    *,
    page: Path | str = "report.html",
    title: str = "Chest X-ray study: data card and model card",
    checklists: Sequence[str] = ("claim",),
    with_images: bool = False,
    outputs: Outputs | None = None,
) -> tuple[ReportResult, tuple[InputFile, ...]]:
    """Collect results and write one self-contained page, with its content as JSON and Croissant metadata beside it.

    Parameters
    ----------
    folders
        Where results (``result.json``) are looked for, sub-folders included.
    page
        The page; ``.html`` or ``.md``.
    title
        Its heading.
    checklists
        Those that are answered item by item: "claim", "tripod-ai", "datasheet", "model-card".
    with_images
        Show plots that contain images of patients.
    outputs
        Where `page` is written; None: its own folder.

    Returns
    -------
    result
        The content of the page.
    inputs
        The results it was made from.

    Raises
    ------
    UsageError
        `page` has another ending, or there is no such checklist.
    InputError
        A folder does not exist or holds no result.
    """
    target = Path(page)
    if target.suffix not in (".html", ".md"):
        given = argument("page", str(target), option=f"--output {target}")
        raise UsageError(f"{given}: unknown kind of page", expected="a name that ends in .html or .md")
    wanted = [checked(Checklist, name, "checklist") for name in checklists]
    outputs = Outputs(Path()) if outputs is None else outputs
    again = is_ours(outputs.folder / target.with_suffix(".json"))
    collection = collect(folders)
    sections = sections_of(collection)
    result = ReportResult(
        page=str(outputs.folder / target),
        n_runs=len(collection.runs),
        breaks=breaks(collection),
        sections=tuple(_reported(section) for section in sections),
        checklists=tuple(_checklist(name, sections) for name in dict.fromkeys(wanted)),
        versions=dict(sorted(Counter(run.version for run in collection.runs).items())),
        ignored=collection.ignored,
        images_shown=with_images,
    )
    software = _software(collection)
    if target.suffix == ".md":
        outputs.write_text(target, as_markdown(title, result, sections, software), named_by_user=True)
    else:
        images = _embedded_images(collection, with_images)
        outputs.write_text(target, as_html(title, result, sections, images, software), named_by_user=True)
    for metadata in (croissant(run, title) for run in collection.of("explore")[:1]):
        if metadata is not None:
            # It cannot say that it is ours; the page beside it, which the user named, does.
            outputs.write_json(target.with_suffix(".croissant.json"), metadata, named_by_user=again)
    return result, tuple(run.source for run in collection.runs)


def _reported(section: Section) -> ReportedSection:
    return ReportedSection(section.name, section.title, tuple(map(_run, section.parts)), section.missing)


def _run(part: Part) -> ReportedRun:
    return ReportedRun(
        command=part.source.command,
        result_file=part.source.path,
        sha256=part.source.sha256,
        inputs=dict(part.source.inputs),
        facts=dict(part.facts),
        tables=tuple(ReportedTable(table.caption, table.columns, table.rows) for table in part.tables),
        notes=part.notes,
    )


def _checklist(name: str, sections: Sequence[Section]) -> ReportedChecklist:
    source = CHECKLISTS[name]
    found = answers(source, frozenset(section.name for section in sections if section.parts))
    count = Counter(answer.status for answer in found)
    items = tuple(
        ReportedItem(
            number=answer.item.number,
            topic=answer.item.topic,
            status=answer.status,
            sections=answer.sections,
            commands=answer.commands,
            also_write=answer.item.also_write,
        )
        for answer in found
    )
    return ReportedChecklist(name, source.title, source.doi, count["answered"], count["missing"], count["write"], items)


def _software(collection: Collection) -> str:
    for run in collection.of("build-model"):
        versions: Mapping[str, str] = getattr(run.result, "versions", {})
        return ", ".join(f"{name} {version}" for name, version in versions.items())
    return ""


def _embedded_images(collection: Collection, with_images: bool) -> Mapping[str, list[EmbeddedImage]]:
    """Read plots that the runs wrote, as long as there is room for them on the page; those of patients if asked for."""
    found: dict[str, list[EmbeddedImage]] = {}
    room = _MOST_BYTES
    for run in collection.runs:
        for name in run.outputs:
            plots = _PLOTS.get(run.command, {}) | (_IMAGES.get(run.command, {}) if with_images else {})
            caption = plots.get(Path(name).name)
            png = None if caption is None else _small_png(run, name)
            if caption is not None and png is not None and len(png) <= room:
                found.setdefault(str(run.path), []).append(EmbeddedImage(caption, png))
                room -= len(png)
    return found


def _small_png(run: Found, name: str) -> bytes | None:
    from PIL import Image

    try:
        with Image.open(run.at(name)) as image:
            width = min(image.width, _WIDEST)
            small = image.convert("RGB").resize((width, round(image.height * width / image.width)))
    except (OSError, ValueError):
        return None
    stream = io.BytesIO()
    small.quantize(96).save(stream, "PNG", optimize=True)
    return stream.getvalue()
