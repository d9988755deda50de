"""``cxr split``: divide a table among splits, patients whole and pathologies balanced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.cli import console
from cxr_cli.cli.options import (
    JsonOption,
    LabelsArgument,
    NoPlotsOption,
    OutputOption,
    SchemaOption,
    SeedOption,
    UncertainOption,
    open_outputs,
)
from cxr_cli.cli.tables.split import tables_of
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.services.split.result import SplitResult

#: A split whose share of the images is farther than this from what was asked for is worth a warning.
_SHARE_MISSED = 0.01


def split(
    labels: LabelsArgument,
    fractions: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Shares of the images, for train and valid, for train, valid and test, or with names: "
            "train=0.8,test=0.2. Default: 0.7,0.1,0.2.",
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="N", help="Equal folds for cross-validation instead of --fractions.")
    ] = None,
    min_positives: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Give every split but train at least N positives of each pathology, where the table has enough.",
        ),
    ] = 0,
    official: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN_VAL,TEST",
            help="Published lists to honour, as NIH's train_val_list.txt,test_list.txt: the second becomes the split "
            "test as it is, the first is divided in proportion to the other shares, or into folds.",
        ),
    ] = None,
    allow_image_split: Annotated[
        bool,
        typer.Option(
            "--allow-image-split",
            help="Divide images whose patient is not known one by one, which may leak; refused otherwise.",
        ),
    ] = False,
    seed: SeedOption = 0,
    schema: SchemaOption = None,
    uncertain: UncertainOption = "ignore",
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Divide a label table into splits that keep patients whole and give each split its share of every pathology.

    One table per split is written, every line as it was, and split.json, which says how it came about. Exit code 1:
    the splits leak, or a split got fewer positives than --min-positives.
    """
    from cxr_cli.data.labels import read_labels
    from cxr_cli.services.split import split as service

    if fractions is not None and folds is not None:
        raise UsageError("--fractions and --folds exclude each other", remedy="Drop one of them.")
    shares = service.fold_fractions(folds) if folds is not None else service.parse_fractions(fractions or "0.7,0.1,0.2")
    table = read_labels(labels, schema=schema, uncertain=uncertain)
    lists = None
    if official is not None:
        train_valid, test = _two_paths(official)
        lists = (read_labels(train_valid, allow_image_list=True), read_labels(test, allow_image_list=True))
    inputs = [table.source, *(item.source for item in lists or ())]
    outputs = open_outputs(output, "split", inputs, no_plots=no_plots)
    result = service.split(
        table,
        shares,
        min_positives=min_positives,
        official=lists,
        seed=seed,
        allow_image_split=allow_image_split,
        outputs=outputs,
    )
    if not no_plots:
        from cxr_cli.plots.split import plot_split

        outputs.write_figure("split.png", plot_split(result))
    console.show("split", result, tables_of, as_json=as_json, inputs=inputs, outputs=outputs)
    _warn(result)
    if result.below_minimum or (result.leakage is not None and result.leakage.verdict == "leakage"):
        raise typer.Exit(1)


def _two_paths(official: str) -> tuple[Path, Path]:
    parts = [part.strip() for part in official.split(",")]
    if len(parts) != 2 or not all(parts):
        raise UsageError(f"--official {official}", expected="two files: TRAIN_VAL,TEST")
    return Path(parts[0]), Path(parts[1])


def _warn_of_rare(result: SplitResult) -> None:
    without: dict[tuple[str, ...], list[str]] = {}
    for rare in result.too_rare:
        units = console.counted(rare.n_units, result.unit)
        held = f"{rare.n_positive:,} in {units}" if rare.n_positive else "none at all"
        without.setdefault(rare.splits_without, []).append(f"{rare.pathology} ({held})")
    for splits, pathologies in without.items():
        console.warn(f"no positives in {', '.join(splits)} of {', '.join(pathologies)}")
    if not result.min_positives and any(rare.n_units >= len(result.splits) for rare in result.too_rare):
        console.note("--min-positives 1 gives every split a positive where there are enough patients")


def _warn_of_minimum(result: SplitResult) -> None:
    for summary in result.splits:
        below = [short for short in result.below_minimum if short.split == summary.name]
        if below:
            totals = [result.n_positive[result.pathologies.index(short.pathology)] for short in below]
            numbers = zip(below, totals, strict=True)
            short_of = ", ".join(f"{short.pathology} ({short.n_positive:,} of {total:,})" for short, total in numbers)
            console.warn(f"{summary.name} has fewer than {result.min_positives:,} positives of {short_of}")


def _warn(result: SplitResult) -> None:
    if result.leakage is not None and result.leakage.n_without_patient:
        console.warn("images without patient were divided one by one: films of one patient may be in several splits")
    if result.left_over:
        console.warn(
            f"left from an earlier division, no part of this one: {', '.join(file.path for file in result.left_over)}; "
            "delete them, for the new tables may have the same patients"
        )
    _warn_of_rare(result)
    _warn_of_minimum(result)
    for summary in result.splits:
        if summary.target_fraction is not None and abs(summary.fraction - summary.target_fraction) > _SHARE_MISSED:
            console.warn(
                f"{summary.name} has {console.percent(summary.fraction)} of the images instead of "
                f"{console.percent(summary.target_fraction)}; --min-positives or large patients made it so"
            )
    official = result.official
    if official is not None and official.worst is not None:
        ratio = official.ratios[official.worst]
        assert ratio is not None
        films = ""
        if official.images_per_patient_test is not None and official.images_per_patient_rest is not None:
            films = (
                f", and {official.images_per_patient_test:.1f} images per patient where the others have "
                f"{official.images_per_patient_rest:.1f}"
            )
        console.warn(
            f"the official test list differs from the other images: {official.worst} is {ratio:.1f} times as "
            f"frequent{films}; results on it are no forecast for data like the training set"
        )
