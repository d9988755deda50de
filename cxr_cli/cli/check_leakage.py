"""``cxr check-leakage``: what splits share, and cleaned copies of them that are checked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.choices import RemovalLevel
from cxr_cli.cli import console
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    OUTPUT,
    RUNNING,
    ClusterOption,
    JsonOption,
    NoPlotsOption,
    OutputOption,
    PatientMapOption,
    WorkersOption,
    open_outputs,
    option,
    refuse_useless,
)
from cxr_cli.cli.reading import folders_of, read_splits, splits_of
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from cxr_cli.data.labels import LabelTable
    from cxr_cli.services.check_leakage.fingerprints import FingerprintCache
    from cxr_cli.services.parallel import Workers

#: Below so many images a process, starting processes costs more than it saves.
_IMAGES_PER_PROCESS = 64
_EXIT = {"clean": 0, "leakage": 1, "unchecked": 2}


@with_table_options
def check_leakage(
    splits: Annotated[
        list[Path],
        typer.Argument(
            metavar="SPLIT",
            help="Two or more splits: label tables, folders of images, lists of image names or patients (.txt); or one "
            "table with a column of splits. 'train' means train.csv, or the only train-*.csv, or the folder train/.",
            show_default=False,
        ),
    ],
    images: Annotated[
        list[Path] | None,
        option(
            "--images",
            "Image folder; compares pixels too. Give one folder for all splits, or one for each in their order.",
            metavar="DIR",
            panel=INPUT,
            default="compare tables only",
        ),
    ] = None,
    how: TableOptions = RECOGNISED,
    split_column: Annotated[
        str | None,
        option(
            "--split-column",
            "With one table: compare the values of this column.",
            metavar="NAME",
            panel=INPUT,
            default="a column named split, set or fold",
        ),
    ] = None,
    same_patients: Annotated[
        bool,
        option(
            "--same-patients",
            "Equal patient ids are the same patient, even if nothing shows that the tables number them alike.",
            panel=COMPUTE,
        ),
    ] = False,
    patient_map: PatientMapOption = None,
    near_distance: Annotated[
        int,
        option(
            "--near-distance",
            "Near duplicate: at most BITS of the 256 hash bits differ (0 to 126).",
            metavar="BITS",
            panel=COMPUTE,
        ),
    ] = 40,
    near_correlation: Annotated[
        float,
        option(
            "--near-correlation",
            "Near duplicate: the thumbnails must also correlate by at least R (Pearson).",
            metavar="R",
            panel=COMPUTE,
        ),
    ] = 0.85,
    review_distance: Annotated[
        int,
        option(
            "--review-distance",
            "Candidate for review: at most BITS of the 256 hash bits differ (0 to 126).",
            metavar="BITS",
            panel=COMPUTE,
        ),
    ] = 60,
    review_correlation: Annotated[
        float,
        option(
            "--review-correlation",
            "Candidate for review: the thumbnails must also correlate by at least R (Pearson).",
            metavar="R",
            panel=COMPUTE,
        ),
    ] = 0.80,
    remove_from: Annotated[
        str | None,
        option(
            "--remove-from",
            "Write a copy of this split without the patients and images it shares with other splits. If you name two "
            "splits, shared ones are removed from the one named first.",
            metavar="NAME,…",
            panel=COMPUTE,
        ),
    ] = None,
    remove: Annotated[
        RemovalLevel | None,
        option(
            "--remove",
            "What --remove-from removes: patients; exact-duplicates, too; or near-duplicates, too. Patients are "
            "always removed whole.",
            metavar="LEVEL",
            panel=COMPUTE,
            default="exact-duplicates",
        ),
    ] = None,
    hide_ids: Annotated[
        bool,
        option(
            "--hide-ids", "Replace patient ids and image names by salted hashes wherever they are shown.", panel=OUTPUT
        ),
    ] = False,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
    cache: Annotated[
        Path | None,
        option(
            "--cache",
            "Keep fingerprints of images in FILE, so that unchanged images are not read again.",
            metavar="FILE",
            panel=RUNNING,
        ),
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Find the patients and images that splits share; write copies without them and check those again.

    Patients are compared by id and images by name. With --images, pixels are compared too. A pair of images is
    reported as an exact duplicate if all pixels are equal, and as a near duplicate if both the hashes and the
    thumbnails are alike; copies that are mirrored, turned, inverted or framed are found as well.

    Exit codes: 0 no leakage (after --remove-from: none in the copies), 1 leakage, 2 failed or something was not
    checked.

    Example: `cxr check-leakage train.csv valid.csv --images images-small --remove-from train`
    """
    from cxr_cli.cli.notes.check_leakage import say
    from cxr_cli.cli.tables.check_leakage import tables_of
    from cxr_cli.data.patient_map import PatientMap
    from cxr_cli.services.check_leakage.check_and_remove import check_and_remove
    from cxr_cli.services.check_leakage.result import Thresholds

    if remove_from is None:
        refuse_useless("without --remove-from", remove=remove)
    limits = Thresholds(near_distance, near_correlation, review_distance, review_correlation)
    arguments = splits_of(splits)
    if len(arguments) > 1:
        refuse_useless("with several splits", split_column=split_column)
    tables = read_splits(arguments, split_column, how)
    known_patients = None if patient_map is None else PatientMap.read(patient_map)
    folders = folders_of(tables, arguments, images)
    if not folders:
        refuse_useless("without --images", cache=cache, cluster=cluster)
    order = _order(remove_from, list(tables))
    inputs = list(dict.fromkeys(source for table in tables.values() for source in table.sources))
    inputs += [] if known_patients is None else [known_patients.source]
    outputs = open_outputs(output, "check-leakage", inputs, no_plots=no_plots)
    outputs.protect(*folders.values())
    known = _cache(cache) if folders else None
    with _reading(tables if folders else {}, workers, cluster) as (executor, progress):
        report = check_and_remove(
            tables,
            folders or None,
            thresholds=limits,
            remove_from=order,
            remove=remove or "exact-duplicates",
            outputs=outputs,
            plots=not no_plots,
            hide_ids=hide_ids,
            same_patients=same_patients,
            patient_map=known_patients,
            cache=known,
            executor=executor,
            progress=progress,
        )
    console.show(
        "check-leakage",
        report,
        tables_of,
        as_json=as_json,
        inputs=inputs,
        outputs=outputs,
    )
    say(report)
    final = report if report.removal is None else report.removal.after
    raise typer.Exit(_EXIT[final.verdict])


@contextmanager
def _reading(
    tables: Mapping[str, LabelTable], workers: int | None, cluster: str | None
) -> Iterator[tuple[Executor | Workers | None, Callable[[int, int], None] | None]]:
    """Yield what runs the reading of images, and its progress bar; nothing where no images are read."""
    if not tables:
        yield None, None
        return
    from cxr_cli.services.cluster import open_executor

    most = 1 + sum(table.n_images for table in tables.values()) // _IMAGES_PER_PROCESS
    with (
        open_executor(workers, cluster, n_items=most if workers is None else None) as executor,
        console.progress_bar("Reading images") as progress,
    ):
        yield executor, progress


def _cache(path: Path | None) -> FingerprintCache:
    from cxr_cli.services.check_leakage.fingerprints import FingerprintCache

    # In memory at least: removal checks the same images a second time.
    return FingerprintCache() if path is None else FingerprintCache.load(path)


def _order(remove_from: str | None, names: list[str]) -> list[str]:
    from cxr_cli.cli.arguments import match_split
    from cxr_cli.errors import UsageError

    if remove_from is None:
        return []
    order = [match_split(word.strip(), names, "--remove-from") for word in remove_from.split(",")]
    if len(set(order)) != len(order):
        raise UsageError(f"--remove-from {remove_from}: a split is named twice", expected="each at most once")
    return order
