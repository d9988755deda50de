"""Patient-disjoint splits that balance every pathology."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import LabelCounts, LabelTable, read_again
from cxr_cli.data.patient_map import PatientMap
from cxr_cli.data.schemas import schema_named
from cxr_cli.errors import InputError, UsageError, argument
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.comparable import origin
from cxr_cli.services.envelope import head
from cxr_cli.services.metrics.auroc_interval import auroc_half_width
from cxr_cli.services.split.leftovers import MANIFEST, tables_left_over
from cxr_cli.services.split.result import (
    BelowMinimum,
    Deviation,
    LeakageCheck,
    OfficialContrast,
    PathologyInSplit,
    RareLabel,
    SharedBySplits,
    SplitResult,
    SplitSummary,
)
from cxr_cli.services.split.stratify import assign_units, count_per_unit, plan_targets, promises

Ints = npt.NDArray[np.int64]

_ONE_BY_ONE = argument("allow_image_split", True)
#: 70 % to learn from, 10 % to choose with, 20 % to judge by, as in Wang et al., CVPR 2017.
DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.7, "valid": 0.1, "test": 0.2}
#: The area for which confidence intervals are predicted: about the mean over the 14 findings in the literature.
EXPECTED_AUROC = 0.8
#: How the fractions of two, three splits are called when they are given without names.
_NAMES = {2: ("train", "valid"), 3: ("train", "valid", "test")}


def parse_fractions(text: str) -> dict[str, float]:
    """Read fractions written as ``0.7,0.1,0.2`` or ``train=0.7,calibration=0.1,test=0.2``.

    Two fractions without names are train and valid, three are train, valid and test.

    Raises
    ------
    UsageError
        A fraction is not a number, or there are more fractions than names.

    Examples
    --------
    >>> parse_fractions("0.7,0.1,0.2")
    {'train': 0.7, 'valid': 0.1, 'test': 0.2}
    """
    parts = [part.strip() for part in text.split(",")]
    if any("=" in part for part in parts):
        pairs = [part.partition("=")[::2] for part in parts]
    elif len(parts) in _NAMES:
        pairs = list(zip(_NAMES[len(parts)], parts, strict=True))
    else:
        raise UsageError(
            f"{argument('fractions', text)}: {len(parts)} fractions without names",
            expected="two (train, valid), three (train, valid, test), or names",
            remedy=f"Write train=0.7,valid=0.1,… or use {argument('fold_fractions', option='--folds')}.",
        )
    fractions: dict[str, float] = {}
    for name, number in pairs:
        name = name.strip()
        if name in fractions:
            raise UsageError(f"{argument('fractions', text)}: the name {name} is given twice")
        try:
            fractions[name] = float(number)
        except ValueError:
            raise UsageError(
                f"{argument('fractions', text)}: {number or name!r} is not a number",
                expected="fractions such as 0.7,0.1,0.2",
            ) from None
    return fractions


def fold_fractions(n_folds: int) -> dict[str, float]:
    """Return equal fractions for cross-validation, named ``fold-1`` and so on (zero-padded to sort well).

    Raises
    ------
    UsageError
        Fewer than two folds.
    """
    if n_folds < 2:
        raise UsageError(argument("n_folds", n_folds, option=f"--folds {n_folds}"), expected="at least 2")
    digits = len(str(n_folds))
    return {f"fold-{number:0{digits}}": 1 / n_folds for number in range(1, n_folds + 1)}


def divide(
    table: LabelTable,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    *,
    min_positives: int = 0,
    official: tuple[LabelTable, LabelTable] | None = None,
    seed: int = 0,
    allow_image_split: bool = False,
) -> SplitResult:
    """Divide a label table so that patients stay whole and every split has its part of every pathology.

    Patients are what is divided; positives and images are what is counted (`stratify.assign_units`). The order of
    rows has no influence.

    Parameters
    ----------
    table
        The table. Two patients who share an image name are kept together.
    fractions
        Fraction of the images for each split, by name; positive, sum 1. The training split is the one called ``train``,
        or else the first.
    min_positives
        Every split gets at least so many positives of each pathology where the table has enough: the other splits
        are given up to an equal part of a rare finding, so that the training split never keeps less than they get, and
        nothing on top of their fraction where fewer patients than splits have it.
        Prevalence in the other splits is bent by this, and the result says how far.
    official
        Published lists (what to train and validate with, what to test with), as ChestX-ray14 has them: image names, or
        patients. The second becomes the split ``test`` as it is; the other fractions are taken in proportion inside the
        first.
    seed
        Decides between equally good divisions; 0 or more.
    allow_image_split
        Let an image whose patient is unknown stand for itself. Images of one patient may then fall into several
        splits without anyone being able to tell.

    Returns
    -------
    The division; nothing is written (`split` does that).

    Raises
    ------
    UsageError
        Fractions that are not positive or do not add up to 1, unfit names, or a minimum without training split.
    InputError
        Unknown patients, fewer patients than splits, a split that stays empty, or images that are in no official list
        or in both.
    """
    fractions = _checked_fractions(fractions, official is not None)
    units = _units(table, allow_image_split)
    in_test = np.zeros(table.n_images, dtype=bool) if official is None else _official_rows(table, official)
    names = tuple(fractions)
    wanted = np.array(list(fractions.values()), dtype=np.float64)
    free = np.flatnonzero(~in_test)
    _, inside = np.unique(units[free], return_inverse=True)
    counts = count_per_unit(inside, table.labels[free])
    if len(counts) < len(names):
        raise InputError(
            f"{table.path}: {len(counts):,} patients cannot fill {len(names)} splits", remedy="Ask for fewer splits."
        )
    minimum = _minimum(counts, names, min_positives, len(table.pathologies))
    assigned = assign_units(counts, wanted, minimum=minimum, seed=seed)[inside]
    rows = [free[assigned == number] for number in range(len(names))]
    empty = [name for name, part in zip(names, rows, strict=True) if not len(part)]
    if empty:
        raise InputError(
            f"{table.path}: nothing is left for split {empty[0]}: patients with many images leave too few others",
            remedy="Ask for fewer splits or larger fractions.",
        )
    targets = plan_targets(counts.sum(axis=0), wanted, minimum)
    summaries = [
        _summary(table, name, part, target, float(fraction) * len(free) / table.n_images)
        for name, part, target, fraction in zip(names, rows, targets, wanted, strict=True)
    ]
    if official is not None:
        rows.append(np.flatnonzero(in_test))
        summaries.append(_summary(table, "test", rows[-1], None, None))
    return _result(table, summaries, rows, units, seed=seed, min_positives=min_positives, official=official)


def split(
    table: LabelTable,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    *,
    min_positives: int = 0,
    official: tuple[LabelTable, LabelTable] | None = None,
    seed: int = 0,
    allow_image_split: bool = False,
    patient_map: PatientMap | None = None,
    outputs: Outputs,
) -> SplitResult:
    """Divide a label table and write the parts: ``NAME.csv`` per split, and ``split.json`` with this result.

    The parts have the header of the table and its lines, byte for byte. What was written is read back and given to
    check-leakage, whose verdict is part of the result. Tables of an earlier division into the same folder that are not
    replaced stay, and the result names them. For the other parameters and errors see `divide`.

    Parameters
    ----------
    patient_map
        Who is who across data sets: patients are those that it tells.
    outputs
        The folder to write into.

    Raises
    ------
    InputError
        The map names nothing that is in the table.
    OutputError
        The folder cannot be written to, or a part would replace an input.
    """
    if patient_map is not None:
        table, use = patient_map.apply(table)
        if use is None and table.patient_namespace != patient_map.namespace:
            raise InputError(
                f"{patient_map.path}: names no image and no patient of {table.path}",
                expected=f"some of them in a column ({', '.join(patient_map.columns)})",
                remedy="Check that it is the map of this data set.",
            )
    result = divide(
        table,
        fractions,
        min_positives=min_positives,
        official=official,
        seed=seed,
        allow_image_split=allow_image_split,
    )
    left_over = tables_left_over(outputs.folder, [_file_name(summary) for summary in result.splits], table.source)
    result = _written(result, table, outputs)
    result = replace(result, leakage=_check(result, table, patient_map), left_over=left_over)
    outputs.write_json(MANIFEST, {**head("split"), **result.to_dict()})
    if outputs.plots:
        from cxr_cli.plots.split import plot_split

        outputs.write_figure("split.png", plot_split(result))
    return result


def _file_name(summary: SplitSummary) -> str:
    return f"{summary.name}.csv"


def _written(result: SplitResult, table: LabelTable, outputs: Outputs) -> SplitResult:
    contents = [table.select(rows) for rows in result.rows]
    for summary, content in zip(result.splits, contents, strict=True):
        outputs.refuse_to_replace(_file_name(summary), by=content)
    outputs.refuse_to_replace(MANIFEST)
    summaries = []
    for summary, content in zip(result.splits, contents, strict=True):
        path = outputs.write_bytes(_file_name(summary), content)
        summaries.append(replace(summary, path=str(path), sha256=hashlib.sha256(content).hexdigest()))
    return replace(result, splits=tuple(summaries))


def _check(result: SplitResult, table: LabelTable, patient_map: PatientMap | None) -> LeakageCheck:
    """Read the written tables back and have them checked from scratch."""
    written = {summary.name: read_again(table, summary.path) for summary in result.splits if summary.path is not None}
    if patient_map is not None:
        written = {name: patient_map.apply(part)[0] for name, part in written.items()}
    # The parts of one table number patients alike, whatever the names of the few images in a small part look like.
    report = check_leakage(written, same_patients=True)
    return LeakageCheck(
        verdict=str(report.verdict),
        shared=tuple(
            SharedBySplits(
                pair.first,
                pair.second,
                None if pair.patients is None else pair.patients.n_patients,
                pair.names.n_images,
            )
            for pair in report.pairs
            if pair.leakage
        ),
        n_without_patient=sum(split.n_without_patient for split in report.splits),
    )


def _checked_fractions(fractions: Mapping[str, float], official: bool) -> dict[str, float]:
    """Check names and numbers; with official lists leave out ``test`` and let the others add up to 1."""
    written = ",".join(f"{name}={value:g}" for name, value in fractions.items())
    given = argument("fractions", dict(fractions), option=f"--fractions {written}")
    for name, value in fractions.items():
        if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            raise UsageError(f"{given}: {name!r} cannot name a split", expected="letters, digits, - and _")
        if not 0 < value <= 1:
            raise UsageError(f"{given}: {name} is {value:g}", expected="more than 0 and at most 1")
    total = math.fsum(fractions.values())
    if abs(total - 1) > 1e-6:
        raise UsageError(f"{given}: the fractions add up to {total:g}", expected="a sum of 1")
    inside = {name: value for name, value in fractions.items() if not (official and name == "test")}
    if not inside or (len(inside) < 2 and not official):
        raise UsageError(f"{given}: one split", expected="two or more")
    total = math.fsum(inside.values())
    return {name: value / total for name, value in inside.items()}


def _units(table: LabelTable, allow_image_split: bool) -> Ints:
    """Give a number to what must stay whole: patients by id, then images of unknown patients by name."""
    unknown = np.flatnonzero(table.patient_codes < 0)
    if len(unknown) and not allow_image_split:
        if not table.has_patients:
            why = schema_named(table.schema).patients_unknown
            what = "names no patients" + (f": {why}" if why else "")
            source = origin(table)
            add = (
                "Add a patient column"
                if source is None
                else f"The images are those of {source}: take the patients from a map with {argument('patient_map')}"
            )
            remedy = f"{add}, or accept leakage with {_ONE_BY_ONE}."
        else:
            what = f"line {table.line(int(unknown[0]))}: no patient ({len(unknown):,} such rows)"
            remedy = f"Fill it in, remove the rows, or split such images one by one with {_ONE_BY_ONE}."
        raise InputError(f"{table.path}: {what}", expected="a patient for every image", remedy=remedy)
    rank = np.empty(len(table.patient_ids) + 1, dtype=np.int64)
    rank[np.argsort(np.array(table.patient_ids, dtype=object), kind="stable")] = np.arange(len(table.patient_ids))
    units = rank[table.patient_codes]
    images = np.array(table.images, dtype=object)
    codes, _ = pd.factorize(images[unknown], sort=True)
    units[unknown] = len(table.patient_ids) + codes
    return _joined(units, pd.factorize(images)[0])


def _joined(units: Ints, images: Ints) -> Ints:
    """Give units that share an image the number of the lowest of them."""
    order = np.lexsort((units, images))
    same = np.flatnonzero((np.diff(images[order]) == 0) & (np.diff(units[order]) != 0))
    if not len(same):
        return units
    lowest = np.arange(units.max() + 1)
    pairs = [(int(units[order[place]]), int(units[order[place + 1]])) for place in same]
    while True:  # each round carries the lowest number one pair further; chains of shared images are short
        before = lowest.copy()
        for one, other in pairs:
            lowest[[one, other]] = min(lowest[one], lowest[other])
        if (lowest == before).all():
            break
    joined: Ints = lowest[units]
    return joined


def _official_rows(table: LabelTable, official: tuple[LabelTable, LabelTable]) -> npt.NDArray[np.bool_]:
    """Tell for each row whether it is in the test list; every image must be in exactly one list."""
    in_train, in_test = (_rows_in_list(table, listed) for listed in official)
    for bad, where in ((in_train & in_test, "both"), (~in_train & ~in_test, "neither")):
        if bad.any():
            row = int(bad.argmax())
            raise InputError(
                f"{table.path}: line {table.line(row)}: {table.images[row]} is in {where} of the official lists"
                f" ({int(bad.sum()):,} such images)",
                expected="every image in exactly one list",
                remedy=f"Check {official[0].path} and {official[1].path}, or split without {argument('official')}.",
            )
    if in_test.all() or in_train.all():
        one = official[0 if in_test.all() else 1]
        raise InputError(f"{one.path}: names no image of {table.path}", remedy="Check the order: train_val, test.")
    return in_test


def _rows_in_list(table: LabelTable, listed: LabelTable) -> npt.NDArray[np.bool_]:
    """Tell for each row whether a list names its image, or its patient where the list is one of patients."""
    if listed.names_images:
        rows: npt.NDArray[np.bool_] = table.frame["image"].isin(listed.images).to_numpy()
        return rows
    ids = set(listed.patient_ids)
    in_list = np.array([*(patient in ids for patient in table.patient_ids), False], dtype=bool)
    return in_list[table.patient_codes]


def _training(names: Sequence[str]) -> str | None:
    """Return the name of the training split: ``train``, or the first, or none among folds."""
    if "train" in names:
        return "train"
    return None if names[0].startswith("fold-") else names[0]


def _minimum(counts: Ints, names: Sequence[str], min_positives: int, n_pathologies: int) -> Ints:
    """Return what each split is promised of each measure, shape (n_splits, n_measures)."""
    minimum = np.zeros((len(names), counts.shape[1]), dtype=np.int64)
    if min_positives < 0:
        raise UsageError(argument("min_positives", min_positives), expected="0 or more")
    if min_positives and _training(names) is None:
        raise UsageError(
            f"{argument('min_positives', min_positives)} needs a training split to take from, and each fold is a test "
            "split in turn",
            remedy="Drop one of them.",
        )
    minimum[:, :n_pathologies] = promises(counts, len(names), min_positives)[:n_pathologies]
    return minimum


def _summary(
    table: LabelTable, name: str, rows: Ints, targets: npt.NDArray[np.float64] | None, share: float | None
) -> SplitSummary:
    patients = table.patient_codes[rows]
    n_patients = len(np.unique(patients[patients >= 0])) if table.has_patients else None
    counts = LabelCounts.of(table.labels[rows])
    everywhere, here = table.counts.prevalence, counts.prevalence
    positives, known = counts.n_positive, counts.n_positive + counts.n_negative
    return SplitSummary(
        name=name,
        path=None,
        sha256=None,
        official=targets is None,
        n_images=len(rows),
        n_patients=n_patients,
        images_per_patient=len(rows) / n_patients if n_patients else None,
        fraction=len(rows) / table.n_images,
        target_fraction=share,
        pathologies=tuple(
            PathologyInSplit(
                pathology=pathology,
                n_positive=int(positives[place]),
                n_known=int(known[place]),
                target=None if targets is None else float(targets[place]),
                deviation=None if targets is None else _ratio(positives[place] - targets[place], targets[place]),
                prevalence=_number(here[place]),
                prevalence_ratio=_ratio(here[place], everywhere[place]),
                auroc_half_width=_number(
                    auroc_half_width(int(positives[place]), int(known[place] - positives[place]), EXPECTED_AUROC)
                ),
            )
            for place, pathology in enumerate(table.pathologies)
        ),
    )


def _result(
    table: LabelTable,
    summaries: Sequence[SplitSummary],
    rows: Sequence[Ints],
    units: Ints,
    *,
    seed: int,
    min_positives: int,
    official: tuple[LabelTable, LabelTable] | None,
) -> SplitResult:
    deviations = [
        Deviation(summary.name, label.pathology, label.deviation)
        for summary in summaries
        for label in summary.pathologies
        if label.deviation is not None
    ]
    training = _training(tuple(summary.name for summary in summaries))
    return SplitResult(
        unit="patient" if table.has_patients else "image",
        seed=seed,
        min_positives=min_positives,
        table=table.source,
        official_lists=() if official is None else (official[0].source, official[1].source),
        schema=table.schema,
        patients_from=table.account.patients,
        uncertain=table.uncertain,
        n_uncertain=table.n_uncertain,
        n_images=table.n_images,
        n_patients=len(table.patient_ids) if table.has_patients else None,
        n_units=len(np.unique(units)),
        pathologies=table.pathologies,
        n_positive=tuple(int(number) for number in table.counts.n_positive),
        expected_auroc=EXPECTED_AUROC,
        splits=tuple(summaries),
        training=training,
        worst=max(deviations, key=lambda item: abs(item.deviation), default=None),
        mean_deviation=math.fsum(abs(item.deviation) for item in deviations) / len(deviations) if deviations else None,
        largest_miss=max(
            (
                abs(label.n_positive - label.target)
                for summary in summaries
                for label in summary.pathologies
                if label.target is not None
            ),
            default=None,
        ),
        too_rare=_too_rare(table, summaries, units),
        below_minimum=tuple(
            BelowMinimum(summary.name, label.pathology, label.n_positive, min_positives)
            for summary in summaries
            if summary.name != training
            for label in summary.pathologies
            if label.n_positive < min_positives
        ),
        official=None if official is None else _contrast(table, summaries[-1], rows),
        leakage=None,
        left_over=(),
        rows=tuple(rows),
    )


def _too_rare(table: LabelTable, summaries: Sequence[SplitSummary], units: Ints) -> tuple[RareLabel, ...]:
    rare = []
    for place, pathology in enumerate(table.pathologies):
        without = tuple(summary.name for summary in summaries if not summary.pathologies[place].n_positive)
        if without:
            present = table.labels[:, place] == 1
            rare.append(RareLabel(pathology, int(present.sum()), len(np.unique(units[present])), without))
    return tuple(rare)


def _contrast(table: LabelTable, test: SplitSummary, rows: Sequence[Ints]) -> OfficialContrast:
    rest = np.concatenate(rows[:-1])
    inside, outside = (LabelCounts.of(table.labels[part]).prevalence for part in (rows[-1], rest))
    ratios = {
        pathology: _ratio(one, other) for pathology, one, other in zip(table.pathologies, inside, outside, strict=True)
    }
    told = {name: abs(math.log(ratio)) for name, ratio in ratios.items() if ratio}
    patients = table.patient_codes[rest]
    n_patients = len(np.unique(patients[patients >= 0]))
    return OfficialContrast(
        n_images_test=test.n_images,
        n_images_rest=len(rest),
        images_per_patient_test=test.images_per_patient,
        images_per_patient_rest=len(rest) / n_patients if n_patients else None,
        ratios=ratios,
        worst=max(told, key=lambda name: told[name]) if told else None,
    )


def _ratio(one: Any, other: Any) -> float | None:
    return _number(one / other) if other and not np.isnan(other) else None


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
