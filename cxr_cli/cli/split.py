"""``cxr split``: divide a table among splits, patients whole and pathologies balanced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_cli.cli import console
from cxr_cli.cli.options import (
    COMPUTE,
    INPUT,
    JsonOption,
    LabelsArgument,
    NoPlotsOption,
    OutputOption,
    PatientMapOption,
    SeedOption,
    open_outputs,
    option,
)
from cxr_cli.cli.reading import read_table
from cxr_cli.cli.table_options import RECOGNISED, TableOptions, with_table_options
from cxr_cli.errors import UsageError

if TYPE_CHECKING:
    from cxr_cli.services.split.result import SplitResult

#: A split whose share of the images is farther than this from what was asked for is worth a warning.
_SHARE_MISSED = 0.01


@with_table_options
def split(
    labels: LabelsArgument,
    official: Annotated[
        str | None,
        option(
            "--official",
            "Published lists to keep to, as NIH's train_val_list.txt,test_list.txt. The second becomes the split test; "
            "the first is divided by the other fractions, or into folds.",
            metavar="FILE,FILE",
            panel=INPUT,
        ),
    ] = None,
    how: TableOptions = RECOGNISED,
    patient_map: PatientMapOption = None,
    fractions: Annotated[
        str | None,
        option(
            "--fractions",
            "Fractions of the images: two are train,valid, three are train,valid,test; or with names, as "
            "train=0.8,test=0.2.",
            metavar="FRACTIONS",
            panel=COMPUTE,
            default="0.7,0.1,0.2",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        option("--folds", "Equal folds for cross-validation, instead of --fractions.", metavar="N", panel=COMPUTE),
    ] = None,
    min_positives: Annotated[
        int,
        option(
            "--min-positives",
            "Give every split but train at least N positives of each pathology, if the table has enough.",
            metavar="N",
            panel=COMPUTE,
            min=0,
        ),
    ] = 0,
    allow_image_split: Annotated[
        bool,
        option(
            "--allow-image-split",
            "Split images of unknown patients one by one. Images of one patient may then be in several splits.",
            panel=COMPUTE,
        ),
    ] = False,
    seed: SeedOption = 0,
    output: OutputOption = None,
    no_plots: NoPlotsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Divide a label table into splits that keep patients whole and balance every pathology.

    Writes one table per split, with unchanged lines, and split.json, which records how they were made. Exit code 1:
    the splits leak, or one got fewer positives than --min-positives.

    Example: `cxr split labels.csv --fractions 0.7,0.1,0.2 --min-positives 5`
    """
    from cxr_cli.cli.tables.split import tables_of
    from cxr_cli.data.labels import read_labels
    from cxr_cli.data.patient_map import PatientMap
    from cxr_cli.services.split import split as service

    if fractions is not None and folds is not None:
        raise UsageError("--fractions and --folds exclude each other", remedy="Drop one of them.")
    wanted = service.fold_fractions(folds) if folds is not None else service.parse_fractions(fractions or "0.7,0.1,0.2")
    table = read_table(labels, how, need_labels=True)
    lists = None
    if official is not None:
        train_valid, test = _two_paths(official)
        lists = (read_labels(train_valid, allow_image_list=True), read_labels(test, allow_image_list=True))
    known_patients = None if patient_map is None else PatientMap.read(patient_map)
    inputs = [*table.sources, *(item.source for item in lists or ())]
    inputs += [] if known_patients is None else [known_patients.source]
    outputs = open_outputs(output, "split", inputs, no_plots=no_plots)
    result = service.split(
        table,
        wanted,
        min_positives=min_positives,
        official=lists,
        seed=seed,
        allow_image_split=allow_image_split,
        patient_map=known_patients,
        outputs=outputs,
    )
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
    if result.patients_from not in ("unknown",) and not result.patients_from.startswith("column"):
        console.note(f"patients come from {'the ' * (result.patients_from == 'image names')}{result.patients_from}")
    if result.leakage is not None and result.leakage.n_without_patient:
        console.warn("images without patient were split one by one: images of one patient may be in several splits")
    if result.left_over:
        console.warn(
            f"left over from an earlier split into this folder: {', '.join(file.path for file in result.left_over)}; "
            "delete them, because they may share patients with the new tables"
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
        per_patient = ""
        if official.images_per_patient_test is not None and official.images_per_patient_rest is not None:
            per_patient = (
                f", and {official.images_per_patient_test:.1f} images per patient where the others have "
                f"{official.images_per_patient_rest:.1f}"
            )
        console.warn(
            f"the official test set is not representative: {official.worst} is {ratio:.1f} times as frequent as in the "
            f"other images{per_patient}. Expect other results on data like the training set"
        )
