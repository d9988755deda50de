"""Leakage between splits: shared patients, shared images, copies of images under other names or patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.labels import LabelTable
from cxr_cli.errors import Message, UsageError, argument, marked
from cxr_cli.services.check_leakage.comparable import is_unclear, origin, relation, why_not_comparable
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
    *,
    same_patients: bool = False,
) -> LeakageReport:
    """Look for patients and images that two splits share.

    Parameters
    ----------
    splits
        Two or more label tables by name, of any schemas.
    images
        Fingerprints of their images (`fingerprint_splits`); None compares tables only.
    thresholds
        From when on images count as near duplicates. Default: `Thresholds()`.

    same_patients
        Equal patient ids are the same patient even if the tables do not show that they are numbered alike.

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
    pairs = tuple(
        _pair(sides[first], sides[second], limits, same_patients) for first, second in combinations(splits, 2)
    )
    reports = tuple(_split_report(side) for side in sides.values())
    unchecked = (*_unchecked(reports), *_unchecked_pairs(sides, pairs))
    leakage = any(pair.leakage for pair in pairs)
    return LeakageReport(
        verdict="leakage" if leakage else "unchecked" if unchecked else "clean",
        n_copies_under_different_patient=sum(_copies_under_different_patient(pair) for pair in pairs),
        splits=reports,
        pairs=pairs,
        unchecked=unchecked,
        notes=tuple(_notes(pairs)),
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
    def distinct(self) -> _Images:
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

    def pixels_of_names(self, names: set[str]) -> dict[str, set[bytes]]:
        """Return the digests of the pixels of each name's files, where they could be read."""
        found: dict[str, set[bytes]] = {}
        if self.positions is None or self.images is None:
            return found
        records = self.images.fingerprints.records
        for name, position in zip(self.table.images, self.positions.tolist(), strict=True):
            if name in names and position >= 0:
                found.setdefault(name, set()).add(records["pixels"][position].tobytes())
        return found

    def patient(self, row: int) -> str | None:
        code = int(self.table.patient_codes[row])
        return self.table.patient_ids[code] if code >= 0 else None


def _pair(first: _Side, second: _Side, limits: Thresholds | None, same_patients: bool) -> PairReport:
    reason = None if same_patients else why_not_comparable(first.name, first.table, second.name, second.table)
    patients = None if reason is not None else _shared_patients(first, second)
    names = _shared_names(first, second)
    exact: ExactDuplicates | None = None
    near: NearDuplicates | None = None
    look: NearDuplicates | None = None
    if limits is not None:
        # Here, so that comparing tables alone does not load what decodes and compares images.
        from cxr_cli.services.check_leakage.near_duplicates import find_near_duplicates

        images_first, images_second = first.distinct, second.distinct
        exact = _exact_duplicates(images_first, images_second)
        graded = find_near_duplicates(images_first.comparable(), images_second.comparable(), limits)
        near, look = (_near_duplicates(images_first, images_second, grade) for grade in graded)
    found = (
        patients is not None and patients.n_patients,
        names.n_images,
        exact is not None and exact.n_duplicates,
        near is not None and near.n_pairs,
    )
    return PairReport(
        first=first.name,
        second=second.name,
        leakage=any(found),
        patients=patients,
        patients_not_compared=reason,
        related=None if patients is not None else relation(first.table, second.table),
        names=names,
        exact_duplicates=exact,
        near_duplicates=near,
        candidates=look,
    )


def _shared_patients(first: _Side, second: _Side) -> PatientOverlap | None:
    one, other = first.table, second.table
    if not one.has_patients or not other.has_patients:
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
    both = (
        set(first.table.images).intersection(second.table.images)
        if first.table.names_images and second.table.names_images
        else set()
    )
    different = _names_of_different_images(first, second, both)
    shared = both - different
    rows, others = (side.rows_of_names(shared) if shared else np.empty(0, np.int64) for side in (first, second))
    return SharedNames(
        n_images=len(shared),
        images=tuple(sorted(shared)),
        first=first.affected(rows),
        second=second.affected(others),
        n_different_images=len(different),
        different_images=tuple(sorted(different)),
    )


def _names_of_different_images(first: _Side, second: _Side, names: set[str]) -> set[str]:
    """Return those of the names in both splits whose files were read and have no pixels in common."""
    if first.images is None or not names:
        return set()
    one, other = (side.pixels_of_names(names) for side in (first, second))
    return {name for name in names if one.get(name) and other.get(name) and not one[name] & other[name]}


class _Images:
    """The distinct images of a split: rows grouped by equal pixels."""

    def __init__(self, side: _Side) -> None:
        assert side.images is not None and side.positions is not None
        self.side = side
        self.paths = side.images.fingerprints.paths
        self.positions = side.positions
        self.all_records = side.images.fingerprints.records
        self.rows = np.flatnonzero(side.positions >= 0)
        records = self.all_records[side.positions[self.rows]]
        digests = np.ascontiguousarray(records["pixels"]).view("V32").ravel()
        # `firsts` are the first rows of each distinct image, `group` the distinct image of each row.
        _, firsts, group = np.unique(digests, return_index=True, return_inverse=True)
        self.group = group.ravel()
        self.firsts = firsts
        self.digests = [digest.tobytes() for digest in digests[firsts]]
        self.records = records[firsts]
        self.showing = np.flatnonzero(~self.records["blank"])

    def comparable(self) -> NDArray[np.void]:
        """Return one record of each distinct image that is not blank."""
        return self.records[self.showing]

    def rows_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the rows of some distinct images, given as a mask over them."""
        return self.rows[chosen[self.group]]

    def first_row(self, shown: int) -> int:
        """Return the first row of a distinct image, given by its place in `comparable`."""
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


def _grouped_rows(images: _Images, chosen: list[int]) -> list[list[int]]:
    order = np.argsort(images.group, kind="stable")
    ordered = images.group[order]
    starts = np.searchsorted(ordered, chosen).tolist()
    ends = np.searchsorted(ordered, chosen, side="right").tolist()
    rows: list[int] = images.rows[order].tolist()
    return [sorted(rows[start:end]) for start, end in zip(starts, ends, strict=True)]


def _exact_duplicate(first: _Images, second: _Images, rows: list[int], others: list[int]) -> ExactDuplicate | None:
    """Describe an image in both splits; None if it is one file under one name, which comparing names has found."""
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


def _file_key(images: _Images, row: int) -> tuple[int, int]:
    record = images.all_records[images.positions[row]]
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
    for images, shown in ((first, graded.first), (second, graded.second)):
        mask = np.zeros(len(images.records), dtype=bool)
        mask[images.showing[shown]] = True
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
        patients_from=table.account.patients,
        patient_namespace=table.patient_namespace,
        n_images=table.n_images if table.names_images else 0,
        n_patients=len(table.patient_ids),
        n_without_patient=int((table.patient_codes < 0).sum()),
        uncertain=table.uncertain,
        n_uncertain=table.n_uncertain,
        n_repeated_rows=len(repeated),
        repeated_images=tuple(dict.fromkeys(repeated)),
        duplicates=None if side.images is None else _inside_duplicates(side.distinct),
        image_check=side.check,
        notes=tuple(_table_notes(table)),
    )


_PATIENT_MAP = argument("patient_map", option="--patient-map FILE")


def _table_notes(table: LabelTable) -> Iterable[str]:
    if table.account.aggregation is not None:
        yield table.account.aggregation
    yield from table.warnings()
    if table.account.patients == "image names":
        yield "patients come from the image names"
    yield from (issue.message for issue in table.issues if issue.kind == FROM_HEADERS)
    source = origin(table)
    if source is not None:
        yield Message(f"its images are those of {source}: {_PATIENT_MAP} tells their patients")
    if not table.names_images:
        yield "names patients, not images: only patients were compared"


def _inside_duplicates(images: _Images) -> tuple[tuple[str, ...], ...]:
    n_rows = np.bincount(images.group, minlength=len(images.firsts))
    groups = (
        tuple(dict.fromkeys(images.side.table.images[row] for row in rows))
        for rows in _grouped_rows(images, np.flatnonzero(n_rows > 1).tolist())
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


def _unchecked_pairs(sides: Mapping[str, _Side], pairs: Iterable[PairReport]) -> Iterable[Unchecked]:
    for pair in pairs:
        unclear = is_unclear(sides[pair.first].table, sides[pair.second].table)
        if pair.patients_not_compared is not None and unclear:
            yield Unchecked(f"{pair.first}, {pair.second}", "patients, which are not numbered alike", 1)


def _notes(pairs: Iterable[PairReport]) -> Iterable[str]:
    for pair in pairs:
        both = f"{pair.first} and {pair.second}"
        if pair.patients_not_compared is not None:
            yield Message(f"{both}: patient ids were not compared: {marked(pair.patients_not_compared)}")
        if pair.related is not None:
            images = argument("folders", option="--images")
            decides = "" if pair.exact_duplicates is not None else f", or {images}, which compares the images"
            yield Message(f"{both}: {pair.related}; a list of who is who decides ({_PATIENT_MAP}){decides}")
        if pair.names.n_different_images:
            yield (
                f"{both}: {pair.names.n_different_images:,} image names are in both and name different images: "
                "not leakage"
            )
        if pair.candidates is not None and pair.candidates.n_pairs:
            yield (
                f"{both}: {pair.candidates.n_pairs:,} candidates for review; among many images some of them are "
                "different images that look alike"
            )
