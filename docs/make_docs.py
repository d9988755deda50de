"""Remake the generated parts of the documentation: option tables, reference pages, JSON Schemas, recordings, plots.

Run it from anywhere with the package and its extra ``test`` installed::

    python docs/make_docs.py            # everything
    python docs/make_docs.py --quick    # tables and schemas only
    python docs/make_docs.py --pipeline STUDY   # only what shows a training, in a folder of examples/pipeline.sh

``tests/test_docs.py`` fails when the texts no longer agree with the program.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import typing
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text
from typer.models import ArgumentInfo

from cxr_cli.cli.app import app
from cxr_cli.data.schemas import OWN, Schema
from cxr_cli.data.schemas import SCHEMAS as ALL_SCHEMAS
from cxr_cli.data.schemas.vocabulary import NOT_THE_SAME, SAME
from cxr_cli.services.json_schema import RESULTS, document_schema

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
DATA_SETS = DOCS / "data-sets.md"
REFERENCE = DOCS / "reference"
IMAGES = DOCS / "images"
SCHEMAS = ROOT / "cxr_cli" / "json_schemas"
#: Images of plots have at most so many pixels across, so many colours and so many bytes: pages are to load fast.
PLOT_WIDTH, PLOT_COLOURS, PLOT_BYTES = 1500, 256, 250_000

#: image in docs/images/ -> (command line that it shows, columns of the terminal); the command lines run one after the
#: other in a folder like the one that `fill_playground` makes.
RECORDINGS: dict[str, tuple[str, int]] = {
    "explore.svg": ("cxr explore sample_data/train-small.csv | head -47", 82),
    "check-leakage.svg": (
        "cxr check-leakage sample_data/train sample_data/valid --images sample_data/images-small",
        121,
    ),
    "split.svg": ("cxr split sample_data/train-small.csv", 96),
    "preprocess.svg": ("cxr preprocess sample_data/train-small.csv --image-size 96", 98),
    "weights.svg": ("cxr weights sample_data/train-small.csv | head -20", 106),
    "build-model.svg": ("cxr build-model --labels sample_data/train-small.csv --loss binary-crossentropy", 127),
    "evaluate.svg": (
        "cxr evaluate examples/evaluate/test-a-seed1.csv --labels examples/evaluate/test.csv --name A --no-plots"
        " | head -24",
        100,
    ),
}

#: image in docs/images/ -> file that the command lines above write.
PLOTS: dict[str, str] = {
    "explore-images.png": "cxr-output/explore/images.png",
    "explore-label-distribution.png": "cxr-output/explore/label-distribution.png",
    "explore-co-occurrence.png": "cxr-output/explore/co-occurrence.png",
    "explore-intensities.png": "cxr-output/explore/intensities.png",
    "check-leakage-near-duplicates.png": "cxr-output/check-leakage/near-duplicates.png",
    "split.png": "cxr-output/split/split.png",
    "preprocess-samples.png": "cxr-output/preprocess/samples.png",
    "preprocess-distributions.png": "cxr-output/preprocess/distributions.png",
    "preprocess-interpolations.png": "cxr-output/preprocess/interpolations.png",
    "weights-contributions.png": "cxr-output/weights/contributions.png",
    "weights-loss-shares.png": "cxr-output/weights/loss-shares.png",
    "build-model-architecture.png": "cxr-output/build-model/architecture.png",
    "build-model-depth.png": "cxr-output/build-model/depth.png",
}

#: The same for commands that need the files of examples/pipeline.sh; no test repeats them, because training rounds
#: differently on other machines.
PIPELINE_RECORDINGS: dict[str, tuple[str, int]] = {
    "train.svg": (
        "cxr train study/model/model.keras --train study/stores/train --valid study/stores/valid"
        " --learning-rate 0.05 --monitor loss --patience 10 --epochs 300",
        100,
    ),
    "predict.svg": ("cxr predict cxr-output/train/model.keras study/stores/test --output test-predictions.csv", 100),
}
PIPELINE_PLOTS = {"train-learning-curves.png": "cxr-output/train/learning-curves.png"}

#: image in docs/images/ -> (command line that makes a page, the page, width and height of the window); they follow
#: the recordings in the same folder. Needs Chromium; without it, the images stay as they are.
PAGES: dict[str, tuple[str, str, tuple[int, int]]] = {
    "report-page.png": ("cxr report cxr-output --output report.html", "report.html", (1100, 1250)),
}

#: Rich's own frame, without the web font that its default fetches when the image is looked at.
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


def options_table(command: str) -> str:
    """Return a command's arguments and options as a Markdown table, from its function's annotations."""
    function = next(item.callback for item in app.registered_commands if item.name == command)
    hints = typing.get_type_hints(function, include_extras=True)
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for name, parameter in inspect.signature(function).parameters.items():
        kind, declared = typing.get_args(hints[name])[:2]
        words = " ".join((declared.help or "").split())
        # Where None stands for something, the declaration says for what.
        said = declared.show_default if isinstance(declared.show_default, str) else ""
        default = _default(parameter.default) or said.replace("COMMAND", command)
        value = declared.metavar or _values(kind)
        if isinstance(declared, ArgumentInfo):
            shown = value or name.upper()
        else:
            # Inside Annotated, Typer takes the first of an option's names for its default and sorts it out later.
            names = [item for item in (declared.default, *(declared.param_decls or ())) if isinstance(item, str)]
            shown = ", ".join(names or ["--" + name.replace("_", "-")]) + (f" {value}" if value else "")
        rows.append("| " + " | ".join(_cell(item) for item in (f"`{shown}`", default, words)) + " |")
    return "\n".join(rows) + "\n"


def _default(value: object) -> str:
    if value is None or value is False or value is inspect.Parameter.empty:
        return ""
    return f"`{value}`"


def _values(kind: Any) -> str:
    """Return what an option takes: its choices, or nothing for a flag."""
    for item in (kind, *typing.get_args(kind)):
        if typing.get_origin(item) is typing.Literal:
            return "|".join(typing.get_args(item))
    return "" if bool in (kind, *typing.get_args(kind)) else "N"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def fields_table(command: str) -> str:
    """Return the fields of a command's result as Markdown tables, one per class, the result itself first."""
    schema = document_schema(command)
    whole = schema["properties"]["result"]["$ref"].rpartition("/")[2]
    parts = []
    for name, definition in schema["$defs"].items():
        rows = [f"## {'result' if name == whole else name}", "", definition["description"], ""]
        rows += ["| field | type | meaning |", "|---|---|---|"]
        for field, kind in definition["properties"].items():
            rows.append(f"| `{field}` | {_type_name(kind)} | {_cell(kind.get('description', ''))} |")
        parts.append("\n".join(rows))
    text = "\n\n".join(parts).replace(f"(#{whole.lower()})", "(#result)")
    return f"\n{text}\n\n"


def _type_name(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type_name(item) for item in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(item)}`" for item in schema["enum"])
    if "prefixItems" in schema:
        return "list of " + ", ".join(_type_name(item) for item in schema["prefixItems"])
    kind = schema.get("type", "any")
    if kind == ["number", "null"] and "null" not in schema.get("description", ""):
        return "number"  # every number may be null in JSON, but this one has no reason to be
    if kind == "array":
        return f"list of {_type_name(schema['items'])}"
    if kind == "object":
        return f"object: name → {_type_name(schema['additionalProperties'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def with_section(page: str, name: str, text: str) -> str:
    """Put a text between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a page."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{text}{match[2]}", page)


def page_with_options(command: str, page: str) -> str:
    """Return a command's page with its option table as it must be now."""
    return with_section(page, "options", "\n" + options_table(command) + "\n")


def reference_page(command: str) -> str:
    """Return the page with every field of a command's JSON."""
    schema = f"[JSON Schema](../../cxr_cli/json_schemas/{command}.json)"
    return f"""# JSON of `cxr {command}`

`cxr {command} --json` prints one document: `schema_version`, `command`, `cxr_version`, `inputs` (path, size and SHA-256
of every file read, images excepted), `outputs` (path of every file written) and `result`. Rows are counted from 0 below
the header. The {schema} is installed with the package. [cxr {command}](../{command}.md) explains the command.
{fields_table(command).rstrip()}
"""


def data_sets_table() -> str:
    """Return the matrix of data sets: how each is recognised, where patients and labels are, what is unknown."""
    head = "| `--schema` | data set | recognised by | patients | labels | unknown, and to be joined |"
    lines = [head, "|---|---|---|---|---|---|"]
    for schema in ALL_SCHEMAS:
        if schema is OWN:
            recognised = "words, see below"
        elif schema.required:
            columns = dict.fromkeys((schema.image[0], *schema.required))
            recognised = ", ".join(f"`{name}`" for name in columns)
        elif schema.required is None:
            recognised = "names of its files" if schema.patient_in_name else "`--schema` or the form of its lines"
        else:
            recognised = f"`{schema.image[0]}`"
        if schema.patient:
            patients = f"`{schema.patient[0]}`"
        elif schema.patient_in_name:
            patients = "in the image name"
        elif schema is OWN:
            patients = "a column, the image name, or `--patient-pattern`"
        else:
            patients = "unknown"
        title = f"{schema.title}: {schema.size}" if schema.size else schema.title
        cells = (f"`{schema.name}`", title, recognised, patients, _labels_of(schema), _unknown_of(schema))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(line.replace("Bbox [x", "Bbox [x,y,w,h]") for line in lines)


def _labels_of(schema: Schema) -> str:
    if schema.pathologies == ():
        return "none"
    if schema.required is None and schema.findings is None:
        return "those of its table or folders"
    if schema.findings is not None:
        how = f"`{schema.findings}`"
        how += f", separated by `{schema.separators}`".replace("|", "\\|") if schema.separators else ", one a row"
    elif schema.parse_labels is not None:
        how = ", ".join(f"`{name}`" for name in schema.required or ())
    else:
        how = "one column per pathology"
    rows = {"images": "", "boxes": "; a row is a box", "readers": "; a row is the view of a reader"}[schema.rows]
    return f"{how}{rows}; blank = {schema.blank}"


def _unknown_of(schema: Schema) -> str:
    said = []
    if schema.patients_unknown is not None:
        said.append(schema.patients_unknown)
    said += [f"{'needs' if source.needed else 'may have'} `--join` {source.title}" for source in schema.sources]
    lacking = [name for name in ("age", "sex", "view") if not getattr(schema, name)]
    if lacking and not schema.any_table and not schema.required == ():
        said.append(f"no {', '.join(lacking)}")
    if schema.derived_from is not None:
        said.append(f"images are from `{schema.derived_from}`")
    if schema.contains:
        said.append(f"contains {', '.join(f'`{name}`' for name in schema.contains)}")
    if schema.verified == "loader":
        said.append("header from public loaders, not from a published file")
    return "; ".join(said)


def vocabulary_tables() -> str:
    """Return the tables of names that mean the same, and of names that do not."""
    lines = ["| name | is | source |", "|---|---|---|"]
    lines += [f"| {one} | {other} | {source} |" for one, other, source in SAME]
    lines += ["", "| name | is not | because |", "|---|---|---|"]
    lines += [f"| {one} | {other} | {source} |" for one, other, source in NOT_THE_SAME]
    return "\n".join(lines)


def data_sets_page(page: str) -> str:
    """Return the page of data sets with its tables remade."""
    for mark, table in (("data-sets", data_sets_table()), ("vocabulary", vocabulary_tables())):
        begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return page


def make_tables() -> None:
    """Write the option tables into the pages, the reference pages and the JSON Schemas."""
    DATA_SETS.write_text(data_sets_page(DATA_SETS.read_text(encoding="utf-8")), encoding="utf-8")
    SCHEMAS.mkdir(exist_ok=True)
    REFERENCE.mkdir(exist_ok=True)
    for command in RESULTS:
        path = DOCS / f"{command}.md"
        path.write_text(page_with_options(command, path.read_text(encoding="utf-8")), encoding="utf-8")
        (REFERENCE / f"{command}.md").write_text(reference_page(command), encoding="utf-8")
        schema = json.dumps(document_schema(command), indent=1, ensure_ascii=False) + "\n"
        (SCHEMAS / f"{command}.json").write_text(schema, encoding="utf-8")


def fill_playground(folder: Path) -> None:
    """Copy the sample data and the examples into a folder, and the tables and images to its top.

    There, ``cxr explore train-small.csv`` and ``cxr explore sample_data/train-small.csv`` both work.
    """
    shutil.copytree(ROOT / "sample_data", folder / "sample_data")
    shutil.copytree(ROOT / "sample_data" / "images-small", folder / "images-small")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for table in ("train-small.csv", "valid-small.csv"):
        shutil.copyfile(ROOT / "sample_data" / table, folder / table)


def run_in_terminal(command: str, width: int, folder: Path, commands: Path) -> str:
    """Run a command line in a pseudo-terminal; return what appears there, ANSI codes included.

    Parameters
    ----------
    command
        For ``sh``; ``cxr`` is found in `commands`.
    width
        Columns of the terminal.
    folder
        Where it runs.
    commands
        A folder made by `make_commands`.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")},
        "COLUMNS": str(width),
        "LINES": "1000",
        "TERM": "xterm-256color",
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    parent, child = pty.openpty()
    # Notes and progress go to stderr, which is left out: a recording shows the result.
    process = subprocess.Popen(
        ["sh", "-c", command], cwd=folder, env=environment, stdin=child, stdout=child, stderr=subprocess.DEVNULL
    )
    os.close(child)
    output = b"".join(_parts(parent)).decode("utf-8").replace("\r\n", "\n")
    if process.wait() not in (0, 1):
        raise RuntimeError(f"{command}: exit code {process.returncode}")
    return output


def _parts(terminal: int) -> Iterator[bytes]:
    with os.fdopen(terminal, "rb", buffering=0) as stream:
        while True:
            try:
                part = stream.read(65536)
            except OSError:  # Linux: the last writer has gone
                return
            if not part:
                return
            yield part


def make_commands(folder: Path) -> None:
    """Write ``cxr`` and ``python`` into a folder: this package, this interpreter.

    Every ``cxr`` appends its exit code to the file ``codes`` there.
    """
    codes = f'code=$?; echo $code >> "{folder}/codes"; exit $code'
    for name, call in (("cxr", f'"{sys.executable}" -m cxr_cli "$@"; {codes}'), ("python", f'"{sys.executable}" "$@"')):
        (folder / name).write_text(f"#!/bin/sh\n{call}\n", encoding="utf-8")
        (folder / name).chmod(0o755)


def svg_of(command: str, width: int, output: str) -> str:
    """Make an image of a command line and its output."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=width, file=nowhere, force_terminal=True, color_system="truecolor", legacy_windows=False
        )
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(output.rstrip("\n")))
        return console.export_svg(title="cxr", theme=MONOKAI, code_format=SVG, unique_id="cxr")


def text_of_svg(svg: str) -> list[str]:
    """Return the lines of text in such an image, blanks folded: what a test can compare."""
    lines: dict[str, list[str]] = {}
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        clip = element.get("clip-path", "")
        if "line" in clip:
            lines.setdefault(clip, []).append(element.text or "")
    return [" ".join("".join(parts).split()) for parts in lines.values()]


def make_recordings() -> None:
    """Run every recorded command on the sample data; write its image and the plots the pages show."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as commands:
        fill_playground(Path(folder))
        make_commands(Path(commands))
        record(RECORDINGS, PLOTS, Path(folder), Path(commands))
        for screen, (command, page, size) in PAGES.items():
            print(command)
            run_in_terminal(command, 100, Path(folder), Path(commands))
            screenshot(Path(folder) / page, size, IMAGES / screen)


def make_pipeline_recordings(study: Path) -> None:
    """Record the commands that need a trained model, in a folder that examples/pipeline.sh has filled."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as commands:
        os.symlink(study.resolve() / "study", Path(folder) / "study")
        make_commands(Path(commands))
        record(PIPELINE_RECORDINGS, PIPELINE_PLOTS, Path(folder), Path(commands))


def record(recordings: dict[str, tuple[str, int]], plots: dict[str, str], folder: Path, commands: Path) -> None:
    """Run commands in a folder; write an image of what each prints, and the plots that pages show."""
    for image, (command, width) in recordings.items():
        print(command)
        svg = svg_of(command, width, run_in_terminal(command, width, folder, commands))
        (IMAGES / image).write_text(svg, encoding="utf-8")
    for image, file in plots.items():
        save_small(folder / file, IMAGES / image)


def screenshot(page: Path, size: tuple[int, int], target: Path) -> None:
    """Save what Chromium shows of a page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(f"no Chromium: {target.name} stays as it is")
        return
    with tempfile.TemporaryDirectory() as profile:
        whole = Path(profile) / "whole.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
        flags += [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", f"--screenshot={whole}"]
        subprocess.run([browser, *flags, page.as_uri()], check=True, capture_output=True)
        save_small(whole, target)


def save_small(source: Path, target: Path) -> None:
    """Copy a plot, with fewer colours and as narrow as it must be to keep it small."""
    with Image.open(source) as image:
        plot = image.convert("RGB")
    width = min(plot.width, PLOT_WIDTH)
    while True:
        small = plot.resize((width, round(plot.height * width / plot.width)), Image.Resampling.LANCZOS)
        small.quantize(PLOT_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= PLOT_BYTES:
            return
        width = round(0.9 * width)


def main() -> None:
    """Remake everything, or the quick part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tables and schemas only")
    parser.add_argument("--pipeline", type=Path, metavar="STUDY", help="a folder of examples/pipeline.sh")
    arguments = parser.parse_args()
    if arguments.pipeline is not None:
        make_pipeline_recordings(arguments.pipeline)
        return
    make_tables()
    if not arguments.quick:
        make_recordings()


if __name__ == "__main__":
    main()
