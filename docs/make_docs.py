"""Remake what the documentation shows of the program: recordings, plots, option and field tables, JSON Schemas.

Run it from anywhere with the package and its extra ``test`` installed::

    python docs/make_docs.py            # everything
    python docs/make_docs.py --quick    # tables and schemas only

``tests/test_docs.py`` fails when the texts no longer agree with the program.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import typer
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from cxr_cli.cli.app import app
from cxr_cli.services.json_schema import RESULTS, document_schema, field_table

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
SCHEMAS = ROOT / "cxr_cli" / "json_schemas"
WIDTH = 110

#: name -> command line, run in a folder that holds a copy of sample_data/; recordings are of a real terminal.
RECORDINGS: dict[str, str] = {}

#: picture in docs/images/ -> (recording whose run made it, file it wrote)
PLOTS: dict[str, tuple[str, str]] = {}

#: Rich's own frame, without the web font that its default fetches when the picture is looked at.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "Fira Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
 font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run_in_terminal(command: str, folder: Path) -> str:
    """Run a command line in a pseudo-terminal of `WIDTH` columns; return what appears there, ANSI codes included."""
    arguments = [sys.executable, "-m", "cxr_cli", *command.split()[1:]]
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")},
        "COLUMNS": str(WIDTH),
        "LINES": "1000",
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    parent, child = pty.openpty()
    # Notes and progress go to stderr, which is left out: a recording shows the result.
    process = subprocess.Popen(
        arguments, cwd=folder, env=environment, stdin=child, stdout=child, stderr=subprocess.DEVNULL, close_fds=True
    )
    os.close(child)
    parts = []
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # Linux: the last writer has gone
            break
        if not part:
            break
        parts.append(part)
    os.close(parent)
    code = process.wait()
    if code not in (0, 1):
        raise RuntimeError(f"{command}: exit code {code}")
    return b"".join(parts).decode("utf-8").replace("\r\n", "\n")


def svg_of(command: str, output: str) -> str:
    """Make a picture of a command line and its output."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor", legacy_windows=False
        )
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(output.rstrip("\n")))
        return console.export_svg(title="cxr", theme=MONOKAI, code_format=SVG, unique_id="cxr")


def text_of_svg(svg: str) -> list[str]:
    """Return the lines of text in such a picture, blanks folded: what a test can compare."""
    lines: dict[str, list[str]] = {}
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        clip = element.get("clip-path", "")
        if "line" in clip:
            lines.setdefault(clip, []).append(element.text or "")
    return [" ".join("".join(parts).split()) for parts in lines.values()]


def options_table(command: str) -> str:
    """Return a command's arguments and options as a Markdown table, from its own declarations."""
    group = typer.main.get_command(app)
    parameters = group.commands[command].params  # type: ignore[attr-defined]
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for parameter in parameters:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            name, default = f"`{parameter.metavar or parameter.name.upper()}`", ""
        else:
            name = ", ".join(f"`{item}`" for item in [*parameter.opts, *parameter.secondary_opts])
            choices = getattr(parameter.type, "choices", None)
            if choices:
                name += " " + " \\| ".join(str(getattr(item, "value", item)) for item in choices)
            elif parameter.metavar:
                name += f" {parameter.metavar}"
            value = getattr(parameter.default, "value", parameter.default)
            default = "" if value in (None, False, "") or value == () or callable(value) else f"`{value}`"
        text = " ".join((parameter.help or "").split()).replace("|", "\\|")
        rows.append(f"| {name} | {default} | {text} |")
    return "\n".join(rows) + "\n"


def with_section(page: str, name: str, text: str) -> str:
    """Put a text between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a page."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{text}{match[2]}", page)


def page_with_tables(command: str, page: str) -> str:
    """Return a command's page with its option and field tables as they must be now."""
    page = with_section(page, "options", options_table(command))
    return with_section(page, "fields", field_table(command))


def make_tables() -> None:
    """Write option and field tables into the pages, and the JSON Schemas."""
    SCHEMAS.mkdir(exist_ok=True)
    for command in RESULTS:
        path = DOCS / f"{command}.md"
        path.write_text(page_with_tables(command, path.read_text(encoding="utf-8")), encoding="utf-8")
        schema = json.dumps(document_schema(command), indent=1, ensure_ascii=False) + "\n"
        (SCHEMAS / f"{command}.json").write_text(schema, encoding="utf-8")


def make_recordings() -> None:
    """Run every recorded command on the sample data; write its picture and the plots the pages show."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "sample_data", folder / "sample_data")
        for recording, command in RECORDINGS.items():
            print(command)
            svg = svg_of(command, run_in_terminal(command, folder))
            (IMAGES / f"{recording}.svg").write_text(svg, encoding="utf-8")
        for picture, (_, file) in PLOTS.items():
            shutil.copyfile(folder / file, IMAGES / picture)


def main() -> None:
    """Remake everything, or the quick part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tables and schemas only")
    arguments = parser.parse_args()
    make_tables()
    if not arguments.quick:
        make_recordings()


if __name__ == "__main__":
    main()
