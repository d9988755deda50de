"""``cxr report``: one page from the results of all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_cli.cli import console
from cxr_cli.cli.exits import BAD_NEWS
from cxr_cli.cli.options import JsonOption
from cxr_cli.cli.tables.report import tables_of


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Folders with results of cxr below them. Default: the current folder."),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", metavar="FILE", help="The page: report.html, or report.md."),
    ] = Path("report.html"),
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="Heading of the page.")
    ] = "Chest X-ray study: data card and model card",
    checklist: Annotated[
        list[str] | None,
        typer.Option(
            "--checklist",
            metavar="NAME",
            help="Answer a checklist item by item: claim, tripod-ai, datasheet or model-card; may be given several "
            "times. Default: claim.",
        ),
    ] = None,
    with_images: Annotated[
        bool,
        typer.Option("--with-images", help="Show plots that contain images of patients."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Collect the results of all commands into one page: data card, model card and chain of custody.

    Example: cxr report study --output study/report.html --checklist claim
    """
    from cxr_cli.data.files import Outputs
    from cxr_cli.services.report.report import report as service

    outputs = Outputs(Path(), result_file=output.with_suffix(".json"))
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
