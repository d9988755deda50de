"""Who is who across data sets: a file that names the same patients or images in two numberings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_cli.data.documents import read_json
from cxr_cli.data.files import InputFile, describe_input
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.patient_ids import clean_patient_ids, patients_in_names
from cxr_cli.data.tables import read_table
from cxr_cli.errors import InputError, shown

_SUFFIX = re.compile(r"\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|webp|gif)", re.IGNORECASE)
_REMEDY = (
    "Give a CSV file with two columns, or a JSON list of objects as RSNA publishes it (img_id, subset_img_id), or one "
    "JSON object from id to id."
)
#: Within which the patients of a map are numbered, where its names are in the pattern of no data set.
MAPPED = "map"


@dataclass(frozen=True)
class MapUse:
    """How a map was used for one table.

    Attributes
    ----------
    column
        The column of the map that the table's images or patients are in.
    by
        "images" or "patients".
    target
        The column of the map from which the patients come.
    n_mapped
        Rows of the table whose patient the map tells.
    n_not_in_map
        Rows of the table that the map does not name; their patients count as unknown.
    """

    column: str
    by: str
    target: str
    n_mapped: int
    n_not_in_map: int


@dataclass(frozen=True)
class PatientMap:
    """A file that names the same patients or images in two numberings.

    Attributes
    ----------
    path, source
        The file, and its size and SHA-256.
    columns
        Its columns as text, all of one length, in the order of the file; blank cells are empty.
    target
        The column that tells patients: the one whose image names are in the pattern of a data set, else the last.
    namespace
        Numbering of these patients: a data set's, or "map".
    patients
        The patient of each line in normal form; None where unknown.
    """

    path: Path
    source: InputFile
    columns: Mapping[str, tuple[str, ...]]
    target: str
    namespace: str
    patients: tuple[str | None, ...]

    @classmethod
    def read(cls, path: Path | str) -> PatientMap:
        """Read a map: CSV, or JSON as RSNA publishes the origin of its images, or a JSON object from id to id.

        Raises
        ------
        InputError
            The file is missing or unreadable, has fewer than two columns, more than two of which none tells patients,
            or one id with two patients.
        """
        path = Path(path)
        columns = _from_json(path) if path.name.lower().endswith(".json") else _from_table(path)
        columns = {name: cells for name, cells in columns.items() if any(cells)}
        if len(columns) < 2 or not next(iter(columns.values())):
            raise InputError(f"{path}: has {len(columns)} columns that are not empty", expected="two", remedy=_REMEDY)
        found = {name: patients_in_names(cells) for name, cells in columns.items()}
        known = {
            name: value
            for name, value in found.items()
            if value is not None and sum(item is not None for item in value[1]) > len(value[1]) / 2
        }
        if known:
            target = next(iter(known))
            namespace, patients = known[target]
        elif len(columns) == 2:
            target = list(columns)[-1]
            namespace, patients = MAPPED, list(clean_patient_ids(columns[target]).ids)
        else:
            raise InputError(
                f"{path}: has {len(columns)} columns ({_listed(columns)}), and none of image names that tell patients",
                expected="two columns: what a table names, and the patient",
                remedy="Leave the other columns out.",
            )
        return cls(path, describe_input(path), columns, target, namespace, tuple(patients))

    def apply(self, table: LabelTable) -> tuple[LabelTable, MapUse | None]:
        """Return a table with the patients of this map, and how it was used.

        A table that names the map's own patients, or nothing that is in the map, is returned as it is, without a use.

        Raises
        ------
        InputError
            The map gives an image or patient of the table to two patients.
        """
        if table.patient_namespace == self.namespace and table.has_patients:
            return table, None
        best: tuple[int, str, str] | None = None
        stems = [_stem(name) for name in table.images] if table.names_images else []
        wanted = {"images": set(stems), "patients": set(table.patient_ids)}
        for column, cells in self.columns.items():
            if column == self.target and self.namespace == MAPPED:
                continue
            for by, names in wanted.items():
                if by == "patients" and column == self.target:
                    continue
                count = len(names.intersection(_keys(cells, by)))
                if count and (best is None or count > best[0]):
                    best = count, column, by
        if best is None:
            return (self._own(table), None) if self._names_targets(table) else (table, None)
        _, column, by = best
        patients = self._patients_of(column, by)
        keys: Iterable[str | None] = stems if by == "images" else _rows(table)
        mapped = [patients.get(key) if key is not None else None for key in keys]
        n_mapped = sum(patient is not None for patient in mapped)
        use = MapUse(column, by, self.target, n_mapped, len(mapped) - n_mapped)
        codes, ids = pd.factorize(np.array(mapped, dtype=object))
        patient_ids = tuple(str(item) for item in ids)
        frame = table.frame.copy(deep=False)
        frame["patient_id"] = pd.Categorical.from_codes(codes, pd.Index(patient_ids, dtype="str"))
        account = replace(
            table.account,
            patients=f"the map {self.path.name}",
            patient_namespace=self.namespace,
            n_rows_without_patient=use.n_not_in_map,
            why_without_patient={"not in the map of patients": use.n_not_in_map} if use.n_not_in_map else {},
        )
        return (
            replace(table, frame=frame, patient_codes=codes.astype(np.int64), patient_ids=patient_ids, account=account),
            use,
        )

    def _names_targets(self, table: LabelTable) -> bool:
        """Whether a table of one's own has the patients of a map whose target is a column of ids."""
        ids = {patient for patient in self.patients if patient is not None}
        return self.namespace == MAPPED and bool(ids.intersection(table.patient_ids))

    def _own(self, table: LabelTable) -> LabelTable:
        return replace(table, account=replace(table.account, patient_namespace=MAPPED))

    def _patients_of(self, column: str, by: str) -> dict[str, str]:
        patients: dict[str, str] = {}
        for row, (key, patient) in enumerate(zip(_keys(self.columns[column], by), self.patients, strict=True)):
            if key is None or patient is None:
                continue
            before = patients.setdefault(key, patient)
            if before != patient:
                raise InputError(
                    f"{self.path}: line {row + 1}: {shown(key)} is patient {shown(patient)} here and "
                    f"{shown(before)} before",
                    expected="one patient for each image or patient",
                    remedy="Correct the map.",
                )
        return patients


def _rows(table: LabelTable) -> list[str | None]:
    ids = [*table.patient_ids, None]  # code -1 finds the last
    return [ids[code] for code in table.patient_codes.tolist()]


def _keys(cells: Iterable[str], by: str) -> list[str | None]:
    if by == "patients":
        return list(clean_patient_ids(list(cells)).ids)
    return [_stem(cell) or None for cell in cells]


def _stem(name: str) -> str:
    """Return an image name without folders and without the ending of an image file."""
    base = re.split(r"[/\\]", name.strip())[-1]
    match = re.search(r"\.[A-Za-z]+$", base)
    return base[: match.start()] if match and _SUFFIX.fullmatch(match[0]) else base


def _from_table(path: Path) -> dict[str, tuple[str, ...]]:
    raw = read_table(path)
    frame = raw.frame(dict.fromkeys(raw.header, str))
    return {
        str(name): tuple("" if pd.isna(cell) else str(cell).strip() for cell in column)
        for name, column in frame.items()
    }


def _from_json(path: Path) -> dict[str, tuple[str, ...]]:
    document = read_json(path, remedy=_REMEDY)
    if isinstance(document, dict):
        pairs = {key: value for key, value in document.items() if isinstance(value, str | int)}
        if len(pairs) < len(document) or not pairs:
            raise InputError(f"{path}: is not a map of ids", expected="one id for each id", remedy=_REMEDY)
        return {"from": tuple(pairs), "to": tuple(str(value).strip() for value in pairs.values())}
    if not isinstance(document, list) or not document or not all(isinstance(item, dict) for item in document):
        raise InputError(f"{path}: is not a map of ids", expected="a list of objects", remedy=_REMEDY)
    # Other fields, such as RSNA's lists of labels, tell nothing of patients.
    names = [name for name, value in document[0].items() if isinstance(value, str | int)]
    return {
        name: tuple(str(value).strip() if isinstance(value := item.get(name), str | int) else "" for item in document)
        for name in names
    }


def _listed(names: Iterable[str]) -> str:
    return ", ".join(shown(name) for name in list(names)[:8])
