"""Leakage between splits: shared patients, shared images, copies of images under other names or patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.labels import LabelTable
from cxr_cli.errors import UsageError
from cxr_cli.services.check_leakage.header_patients import FROM_HEADERS
from cxr_cli.services.check_leakage.result import (
    AffectedRows,
    ExactDuplicate,
    ExactDuplicates,
    LeakageReport,
    NearDuplicate,
    NearDuplicates,
    PairReport,
    PatientOverlap,
    SharedNames,
    SharedPatient,
    SplitReport,
    Thresholds,
    Unchecked,
)

if TYPE_CHECKING:
    from cxr_cli.services.check_leakage.near_duplicates import GradedPairs
    from cxr_cli.services.check_leakage.split_images import SplitImages


def check_leakage(
    splits: Mapping[str, LabelTable],
    images: SplitImages | None = None,
    thresholds: Thresholds | None = None,
) -> LeakageReport:
    """Look for patients and images that two splits share.

    Parameters
    ----------
    splits
        Two or more label tables by name, of any schemas.
    images
        Fingerprints of their images (`fingerprint_splits`); None compares tables only.
    thresholds
        From when on films count as near duplicates. Default: `Thresholds()`.

    Returns
    -------
    LeakageReport
        Its verdict is ``clean`` only if nothing was found and everything asked for could be checked.

    Raises
    ------
    UsageError
        There are fewer than two splits.

    Examples
    --------
    >>> from cxr_cli.data.labels import read_labels
    >>> tables = {name: read_labels(f"sample_data/{name}-small.csv") for name in ("train", "valid")}
    >>> report = check_leakage(tables)
    >>> str(report.verdict), report.pairs[0].patients.n_patients
    ('leakage', 5)
    """
    if len(splits) < 2:
        raise UsageError(f"{len(splits)} split given", expected="two or more")
    limits = (thresholds or Thresholds()) if images is not None else None
    sides = {name: _Side(name, table, images) for name, table in splits.items()}
    pairs = tuple(_pair(sides[first], sides[second], limits) for first, second in combinations(splits, 2))
    reports = tuple(_split_report(side) for side in sides.values())
    unchecked = tuple(_unchecked(reports))
    leakage = any(pair.leakage for pair in pairs)
    return LeakageReport(
        verdict="leakage" if leakage else "unchecked" if unchecked else "clean",
        n_copies_under_different_patient=sum(_copies_under_different_patient(pair) for pair in pairs),
        splits=reports,
        pairs=pairs,
        unchecked=unchecked,
        notes=tuple(_notes(sides.values(), pairs)),
        thresholds=limits,
    )


class _Side:
    """One split, made ready to be compared."""

    def __init__(self, name: str, table: LabelTable, images: SplitImages | None) -> None:
        self.name = name
        self.table = table
        self.positions = None if images is None else images.positions[name]
        self.check = None if images is None else images.checks[name]
        self.images = images

    @cached_property
    def pictures(self) -> _Images:
        return _Images(self)

    def affected(self, rows: NDArray[np.int64]) -> AffectedRows:
        """Describe some rows (ascending)."""
        codes = self.table.patient_codes[rows]
        n_patients = len(np.unique(codes[codes >= 0]))
        names, chosen = self.table.images, rows.tolist()
        return AffectedRows(
            split=self.name,
            n_images=len(chosen),
            fraction_of_images=len(chosen) / len(names),
            n_patients=n_patients,
            fraction_of_patients=n_patients / len(self.table.patient_ids) if self.table.patient_ids else float("nan"),
            rows=tuple(chosen),
            images=tuple([names[row] for row in chosen]),
        )

    def rows_of_names(self, names: set[str]) -> NDArray[np.int64]:
        return np.array([row for row, name in enumerate(self.table.images) if name in names], dtype=np.int64)

    def patient(self, row: int) -> str | None:
        code = int(self.table.patient_codes[row])
        return self.table.patient_ids[code] if code >= 0 else None


def _pair(first: _Side, second: _Side, limits: Thresholds | None) -> PairReport:
    patients = _shared_patients(first, second)
    names = _shared_names(first, second)
    exact: ExactDuplicates | None = None
    near: NearDuplicates | None = None
    look: NearDuplicates | None = None
    if limits is not None:
        # Here, so that comparing tables alone does not load what decodes and compares images.
        from cxr_cli.services.check_leakage.near_duplicates import find_near_duplicates

        images_first, images_second = first.pictures, second.pictures
        exact = _exact_duplicates(images_first, images_second)
        graded = find_near_duplicates(images_first.comparable(), images_second.comparable(), limits)
        near, look = (_near_duplicates(images_first, images_second, grade) for grade in graded)
    found = (
        patients is not None and patients.n_patients,
        names.n_images,
        exact is not None and exact.n_duplicates,
        near is not None and near.n_pairs,
    )
    return PairReport(first.name, second.name, any(found), patients, names, exact, near, look)


def _shared_patients(first: _Side, second: _Side) -> PatientOverlap | None:
    one, other = first.table, second.table
    if not one.has_patients or not other.has_patients or not _comparable_ids(one, other):
        return None
    shared = sorted(set(one.patient_ids).intersection(other.patient_ids), key=_id_order)
    rows, others = _rows_of_patients(one, shared), _rows_of_patients(other, shared)
    return PatientOverlap(
        n_patients=len(shared),
        patients=tuple(
            SharedPatient(patient, tuple(in_first), tuple(in_second))
            for patient, in_first, in_second in zip(shared, rows, others, strict=True)
        ),
        first=first.affected(_ascending(rows)),
        second=second.affected(_ascending(others)),
    )


def _comparable_ids(one: LabelTable, other: LabelTable) -> bool:
    """Whether equal ids mean equal patients: in the numbering of one data set, or in two tables of one's own."""
    return one.patient_namespace == other.patient_namespace


def _id_order(patient: str) -> tuple[bool, int, str]:
    number = patient.isdigit()
    return not number, len(patient) if number else 0, patient


def _rows_of_patients(table: LabelTable, patients: list[str]) -> list[list[int]]:
    """Return the rows of each of some patients, ascending."""
    order = np.argsort(table.patient_codes, kind="stable")
    ordered = table.patient_codes[order]
    code_of = {patient: code for code, patient in enumerate(table.patient_ids)}
    codes = np.array([code_of[patient] for patient in patients], dtype=np.int64)
    starts, ends = np.searchsorted(ordered, codes), np.searchsorted(ordered, codes, side="right")
    rows: list[int] = order.tolist()
    return [rows[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _ascending(groups: Iterable[Iterable[int]]) -> NDArray[np.int64]:
    return np.array(sorted(row for group in groups for row in group), dtype=np.int64)


def _shared_names(first: _Side, second: _Side) -> SharedNames:
    shared = set(first.table.images).intersection(second.table.images)
    rows, others = (side.rows_of_names(shared) if shared else np.empty(0, np.int64) for side in (first, second))
    return SharedNames(len(shared), tuple(sorted(shared)), first.affected(rows), second.affected(others))


class _Images:
    """The distinct pictures of a split: rows grouped by equal pixels."""

    def __init__(self, side: _Side) -> None:
        assert side.images is not None and side.positions is not None
        self.side = side
        self.paths = side.images.fingerprints.paths
        self.positions = side.positions
        self.all_records = side.images.fingerprints.records
        self.rows = np.flatnonzero(side.positions >= 0)
        records = self.all_records[side.positions[self.rows]]
        digests = np.ascontiguousarray(records["pixels"]).view("V32").ravel()
        # `firsts` are the first rows of each picture, `picture` the picture of each row.
        _, firsts, picture = np.unique(digests, return_index=True, return_inverse=True)
        self.picture = picture.ravel()
        self.firsts = firsts
        self.digests = [digest.tobytes() for digest in digests[firsts]]
        self.records = records[firsts]
        self.showing = np.flatnonzero(~self.records["blank"])

    def comparable(self) -> NDArray[np.void]:
        """Return one record of each distinct picture that is not blank."""
        return self.records[self.showing]

    def rows_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the rows of some pictures, given as a mask over them."""
        return self.rows[chosen[self.picture]]

    def first_row(self, shown: int) -> int:
        """Return the first row of a picture, given by its place in `comparable`."""
        return int(self.rows[self.firsts[self.showing[shown]]])


def _exact_duplicates(first: _Images, second: _Images) -> ExactDuplicates:
    place = {digest: index for index, digest in enumerate(second.digests)}
    matches = [
        (index, place[digest]) for index, digest in enumerate(first.digests) if digest in place
    ]  # fmt: skip
    rows, others = _grouped_rows(first, [one for one, _ in matches]), _grouped_rows(second, [two for _, two in matches])
    found: list[tuple[ExactDuplicate, list[int], list[int]]] = []
    for in_first, in_second in zip(rows, others, strict=True):
        duplicate = _exact_duplicate(first, second, in_first, in_second)
        if duplicate is not None:
            found.append((duplicate, in_first, in_second))
    found.sort(key=lambda item: item[1])
    return ExactDuplicates(
        n_duplicates=len(found),
        n_different_patient=sum(duplicate.different_patient is True for duplicate, _, _ in found),
        duplicates=tuple(duplicate for duplicate, _, _ in found),
        first=first.side.affected(_ascending(in_first for _, in_first, _ in found)),
        second=second.side.affected(_ascending(in_second for _, _, in_second in found)),
    )


def _grouped_rows(pictures: _Images, chosen: list[int]) -> list[list[int]]:
    order = np.argsort(pictures.picture, kind="stable")
    ordered = pictures.picture[order]
    starts = np.searchsorted(ordered, chosen).tolist()
    ends = np.searchsorted(ordered, chosen, side="right").tolist()
    rows: list[int] = pictures.rows[order].tolist()
    return [sorted(rows[start:end]) for start, end in zip(starts, ends, strict=True)]


def _exact_duplicate(first: _Images, second: _Images, rows: list[int], others: list[int]) -> ExactDuplicate | None:
    """Describe a picture in both splits; None if it is one file under one name, which comparing names has found."""
    names = tuple(dict.fromkeys(first.side.table.images[row] for row in rows))
    other_names = tuple(dict.fromkeys(second.side.table.images[row] for row in others))
    files = {first.paths[first.positions[row]] for row in rows}
    other_files = {second.paths[second.positions[row]] for row in others}
    if files == other_files and len(files) == 1:
        if names == other_names:
            return None
        kind = "same file"
    else:
        keys = {_file_key(first, row) for row in rows}
        kind = "same bytes" if keys & {_file_key(second, row) for row in others} else "same pixels"
    patients = {first.side.patient(row) for row in rows} | {second.side.patient(row) for row in others}
    known = patients - {None}
    different_patient = True if len(known) > 1 else None if None in patients else False
    return ExactDuplicate(kind, names, other_names, different_patient)


def _file_key(pictures: _Images, row: int) -> tuple[int, int]:
    record = pictures.all_records[pictures.positions[row]]
    return int(record["size"]), int(record["crc"])


def _near_duplicates(first: _Images, second: _Images, graded: GradedPairs) -> NearDuplicates:
    found = graded.pairs
    pairs = tuple(
        _near_duplicate(first, second, *values)
        for values in zip(
            found.first.tolist(),
            found.second.tolist(),
            found.distance.tolist(),
            found.correlation.tolist(),
            found.alterations(),
            strict=True,
        )
    )
    masks = []
    for pictures, shown in ((first, graded.first), (second, graded.second)):
        mask = np.zeros(len(pictures.records), dtype=bool)
        mask[pictures.showing[shown]] = True
        masks.append(mask)
    return NearDuplicates(
        n_pairs=graded.n_pairs,
        n_different_patient=sum(pair.different_patient is True for pair in pairs),
        pairs=pairs,
        first=first.side.affected(first.rows_of(masks[0])),
        second=second.side.affected(second.rows_of(masks[1])),
    )


def _near_duplicate(
    first: _Images, second: _Images, one: int, other: int, distance: int, correlation: float, alteration: str
) -> NearDuplicate:
    row, other_row = first.first_row(one), second.first_row(other)
    patient, other_patient = first.side.patient(row), second.side.patient(other_row)
    return NearDuplicate(
        first_image=first.side.table.images[row],
        second_image=second.side.table.images[other_row],
        first_patient=patient,
        second_patient=other_patient,
        different_patient=None if patient is None or other_patient is None else patient != other_patient,
        distance=distance,
        correlation=round(correlation, 4),
        alteration=alteration,
    )


def _copies_under_different_patient(pair: PairReport) -> int:
    found = (pair.exact_duplicates, pair.near_duplicates)
    return sum(item.n_different_patient for item in found if item is not None)


def _split_report(side: _Side) -> SplitReport:
    table = side.table
    seen: set[str] = set()
    repeated = [name for name in table.images if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    return SplitReport(
        name=side.name,
        path=str(table.path),
        schema=table.schema,
        n_images=table.n_images,
        n_patients=len(table.patient_ids),
        n_without_patient=int((table.patient_codes < 0).sum()),
        uncertain=table.uncertain,
        n_uncertain=table.n_uncertain,
        n_repeated_rows=len(repeated),
        repeated_images=tuple(dict.fromkeys(repeated)),
        duplicates=None if side.images is None else _inside_duplicates(side.pictures),
        image_check=side.check,
    )


def _inside_duplicates(pictures: _Images) -> tuple[tuple[str, ...], ...]:
    n_rows = np.bincount(pictures.picture, minlength=len(pictures.firsts))
    groups = (
        tuple(dict.fromkeys(pictures.side.table.images[row] for row in rows))
        for rows in _grouped_rows(pictures, np.flatnonzero(n_rows > 1).tolist())
    )
    return tuple(sorted(group for group in groups if len(group) > 1))


def _unchecked(reports: Iterable[SplitReport]) -> Iterable[Unchecked]:
    for report in reports:
        if report.n_without_patient:
            yield Unchecked(report.name, "rows without patient", report.n_without_patient)
        check = report.image_check
        if check is None:
            continue
        for what, names in (
            ("images without a file", check.missing),
            ("images refused: their names or links leave the folder", check.refused),
            ("images that cannot be decoded", check.broken),
            ("images of nearly one grey (compared for exact duplicates only)", check.blank),
        ):
            if names:
                yield Unchecked(report.name, what, len(names))


def _notes(sides: Iterable[_Side], pairs: Iterable[PairReport]) -> Iterable[str]:
    tables: dict[str, Any] = {side.name: side.table for side in sides}
    for name, table in tables.items():
        for issue in table.issues:
            if issue.kind == FROM_HEADERS:
                yield f"{name}: {issue.message}"
    for pair in pairs:
        if pair.patients is None and tables[pair.first].has_patients and tables[pair.second].has_patients:
            yield (
                f"{pair.first} and {pair.second} are of different data sets, which number their patients "
                "independently: patient ids were not compared"
            )
        if pair.candidates is not None and pair.candidates.n_pairs:
            yield (
                f"{pair.first} and {pair.second}: {pair.candidates.n_pairs:,} pairs to be looked at; among many "
                "films some of them are different films that look alike"
            )
