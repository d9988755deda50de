"""``cxr report``: one page from the results of all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_cli.cli import console
from cxr_cli.cli.exits import BAD_NEWS
from cxr_cli.cli.options import COMPUTE, OUTPUT, JsonOption, option


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR",
            help="Folders with results of cxr (result.json) below them.",
            show_default="the current folder",
        ),
    ] = None,
    title: Annotated[
        str, option("--title", "Heading of the page.", metavar="TEXT", panel=COMPUTE)
    ] = "Chest X-ray study: data card and model card",
    checklist: Annotated[
        list[str] | None,
        option(
            "--checklist",
            "Answer a checklist item by item: claim, tripod-ai, datasheet or model-card. May be repeated.",
            metavar="NAME",
            panel=COMPUTE,
            default="claim",
        ),
    ] = None,
    with_images: Annotated[
        bool, option("--with-images", "Show plots that contain images of patients.", panel=COMPUTE)
    ] = False,
    output: Annotated[
        Path, option("--output", "The page: a name that ends in .html or .md.", metavar="FILE", panel=OUTPUT)
    ] = Path("report.html"),
    as_json: JsonOption = False,
) -> None:
    """Put the results of all commands on one page: data card, model card, chain of custody, checklists.

    Example: `cxr report study --checklist claim --output study/report.html`
    """
    from cxr_cli.cli.tables.report import tables_of
    from cxr_cli.data.files import Outputs
    from cxr_cli.services.report.report import report as service

    document = output.with_suffix(".json")
    outputs = Outputs(Path(), result_file=document)
    outputs.refuse_to_replace(document)
    if not document.exists():  # it vouches for the page, which cannot say itself that it is ours
        outputs.refuse_to_replace(output)
    result, inputs = service(
        folders or [Path()],
        page=output,
        title=title,
        checklists=tuple(checklist or ("claim",)),
        with_images=with_images,
        outputs=outputs,
    )
    console.show("report", result, tables_of, as_json=as_json, inputs=inputs, outputs=outputs)
    for item in result.breaks:
        console.warn(item.message)
    if result.breaks:
        raise typer.Exit(BAD_NEWS)
