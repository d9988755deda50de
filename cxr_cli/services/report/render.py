"""The content of a report as HTML or Markdown. Text from tables and files is hostile and escaped everywhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cxr_cli import __version__
from cxr_cli.services.report.page import Part, Section
from cxr_cli.services.report.result import ReportResult
from cxr_cli.services.report.sections import TITLES

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class EmbeddedImage:
    """A PNG with images of patients.

    Attributes
    ----------
    caption
        Caption.
    png
        The file's bytes.
    """

    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The bytes as text for a data address."""
        return base64.b64encode(self.png).decode("ascii")


def as_html(
    title: str,
    result: ReportResult,
    sections: Sequence[Section],
    images: Mapping[str, Sequence[EmbeddedImage]],
    software: str,
) -> str:
    """Return one self-contained page.

    Parameters
    ----------
    title
        Its heading.
    result
        Custody and checklists.
    sections
        With figures as SVG.
    images
        Result file → images to show with it.
    software
        Versions behind the model, in a phrase; "" if unknown.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        title=title,
        cxr_version=__version__,
        result=SimpleNamespace(
            n_runs=result.n_runs,
            breaks=result.breaks,
            versions=result.versions,
            ignored=result.ignored,
            checklists=[SimpleNamespace(**{**_fields(item), "entries": item.items}) for item in result.checklists],
        ),
        sections=[
            SimpleNamespace(**{**_fields(section), "parts": [_with_images(part, images) for part in section.parts]})
            for section in sections
        ],
        commands=commands_of(sections),
        titles=TITLES,
        software=software,
    )


def _fields(item: Any) -> dict[str, Any]:
    return dict(vars(item))


def _with_images(part: Part, images: Mapping[str, Sequence[EmbeddedImage]]) -> SimpleNamespace:
    return SimpleNamespace(**_fields(part), images=images.get(part.source.path, ()))


def commands_of(sections: Iterable[Section]) -> list[str]:
    """Return the commands behind the sections, each once, in order."""
    return list(dict.fromkeys(part.source.command for section in sections for part in section.parts))


def as_markdown(title: str, result: ReportResult, sections: Sequence[Section], software: str) -> str:
    """Return the same content as Markdown, without figures."""
    lines = [f"# {_escaped(title)}", ""]
    counted = f"{result.n_runs} result{'' if result.n_runs == 1 else 's'}"
    lines += [f"Made by cxr {__version__} from {counted}. Not for clinical use.", ""]
    if result.breaks:
        lines += ["**The chain of custody is broken:**", ""]
        lines += [f"- {_escaped(item.message)}" for item in result.breaks]
    else:
        lines += ["Chain of custody: each step used the files that the steps before it wrote."]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        if section.missing:
            lines += [f"Not in the results. This would fill it: {_code(section.missing)}"]
        for number, part in enumerate(section.parts, 1):
            if len(section.parts) > 1:
                lines += [f"### Run {number} of {len(section.parts)}", ""]
            lines += _markdown_part(part)
    lines += ["", "## How to reproduce", "", "```text", *commands_of(sections), "```"]
    if software:
        lines += ["", f"Software of the model: {_escaped(software)}."]
    for checklist in result.checklists:
        lines += ["", f"## {checklist.title}", ""]
        lines += [
            f"{checklist.n_answered} items are answered here, {checklist.n_missing} are not in the results, "
            f"{checklist.n_to_write} only you can write. Topics in our words; source: doi:{checklist.doi}.",
            "",
            "| item | topic | where |",
            "|---|---|---|",
        ]
        lines += [f"| {item.number} | {_escaped(item.topic)} | {_where(item)} |" for item in checklist.items]
    return "\n".join(lines) + "\n"


def _markdown_part(part: Part) -> list[str]:
    lines = [f"> {_escaped(note)}" for note in part.notes]
    if part.notes:
        lines.append("")
    if part.facts:
        lines += [
            "| | |",
            "|---|---|",
            *(f"| {_escaped(name)} | {_escaped(value)} |" for name, value in part.facts),
            "",
        ]
    for table in part.tables:
        lines += [f"{_escaped(table.caption)}:", "", f"| {' | '.join(map(_escaped, table.columns))} |"]
        lines += ["|---" + "|---:" * (len(table.columns) - 1) + "|"]
        lines += [f"| {' | '.join(map(_escaped, row))} |" for row in table.rows]
        lines += [""]
    read = ", ".join(f"{_code(path)} ({sha256[:12]})" for path, sha256 in part.source.inputs)
    lines += [
        f"From {_code(part.source.command)}, {_code(part.source.path)} ({part.source.sha256[:12]})"
        + (f"; read {read}" if read else "")
    ]
    return lines


def _where(item: Any) -> str:
    if item.status == "answered":
        where = ", ".join(f"[{TITLES[name]}](#{TITLES[name].lower().replace(' ', '-')})" for name in item.sections)
        return f"answered here: {where}" + (f"; write also {item.also_write}" if item.also_write else "")
    if item.status == "missing":
        return "not in the results: run " + " or ".join(f"`cxr {name}`" for name in item.commands)
    return "you must write this"


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    plain = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", plain)


def _code(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", plain)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{blank}{plain}{blank}{fence}"
