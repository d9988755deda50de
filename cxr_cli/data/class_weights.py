"""The file of class weights that ``cxr weights --save`` writes and ``cxr build-model --class-weights`` reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cxr_cli.data.documents import is_number, read_json
from cxr_cli.data.files import InputFile
from cxr_cli.data.tables import read_table
from cxr_cli.errors import InputError, shown

#: Columns of the CSV form that are read back; it has more, for people.
CSV_COLUMNS = ("pathology", "positive_weight", "negative_weight", "scheme")
#: Losses are computed in float32, and Adam squares their gradients: beyond these they would be 0, infinite or NaN.
SMALLEST, LARGEST = 1e-12, 1e12
_REMEDY = "Make the file with 'cxr weights LABELS --save weights.json'."


@dataclass(frozen=True)
class ClassWeights:
    """Weights of label 1 and label 0 for each pathology, all finite and positive.

    Attributes
    ----------
    pathologies
        Names, in the order of the label table they come from.
    positive
        Factor of each label 1 of a pathology in the loss, in the same order.
    negative
        Factor of each label 0 of a pathology in the loss, in the same order.
    scheme
        How they were computed; empty if the file does not say.
    path
        The file they were read from, for messages; empty if they come from no file.
    table_sha256
        SHA-256 of the label table that the file says they were computed from; empty if it does not say.
    """

    pathologies: tuple[str, ...]
    positive: tuple[float, ...]
    negative: tuple[float, ...]
    scheme: str = ""
    path: str = field(default="", compare=False, metadata={"json": False})
    table_sha256: str = field(default="", compare=False, metadata={"json": False})

    def is_of_another_table(self, table: InputFile) -> bool:
        """Whether the weights are known to come from another table than this."""
        return self.table_sha256 not in ("", table.sha256)

    def in_order(self, pathologies: Sequence[str]) -> ClassWeights:
        """Return the same weights in the order of a model's outputs or another table's columns.

        Raises
        ------
        InputError
            A pathology has no weights, or weights belong to none of the pathologies.
        """
        lacking = [name for name in pathologies if name not in self.pathologies]
        extra = [name for name in self.pathologies if name not in pathologies]
        for names, what in ((lacking, "there are no class weights for"), (extra, "there are class weights for")):
            if names:
                where = f"{self.path}: " if self.path else ""
                raise InputError(
                    f"{where}{what} {names[0]}" + (f" ({len(names)} such pathologies)" if len(names) > 1 else ""),
                    expected=f"weights for exactly {', '.join(pathologies)}",
                    remedy="Compute the class weights from the table that the model is to be trained on.",
                )
        places = [self.pathologies.index(name) for name in pathologies]
        return ClassWeights(
            tuple(pathologies),
            tuple(self.positive[place] for place in places),
            tuple(self.negative[place] for place in places),
            self.scheme,
            self.path,
            self.table_sha256,
        )


def read_class_weights(path: Path | str) -> ClassWeights:
    """Read class weights from the JSON document or the CSV table that ``cxr weights`` saves.

    Parameters
    ----------
    path
        A ``.csv`` is read as a table, anything else as JSON. The output of ``cxr weights --json`` is the same
        document as the saved one.

    Raises
    ------
    InputError
        The file is missing or unreadable, is not such a file, or holds a name twice or a weight that is not a
        number from 1e-12 to 1e12.
    """
    path = Path(path)
    found = _from_csv(path) if path.suffix.lower() == ".csv" else _from_json(path)
    _check(path, found)
    return replace(found, path=str(path))


def _table_in(inputs: Any) -> str:
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    digest = first.get("sha256") if isinstance(first, dict) else None
    return digest if isinstance(digest, str) else ""


def _from_json(path: Path) -> ClassWeights:
    document = read_json(path, remedy=_REMEDY)
    result = document.get("result") if isinstance(document, dict) else None
    weights = result.get("class_weights") if isinstance(result, dict) else None
    if not isinstance(weights, dict):
        command = document.get("command") if isinstance(document, dict) else None
        raise InputError(
            f"{path}: has no class weights" + (f" but the result of cxr {shown(str(command))}" if command else ""),
            expected="result.class_weights with pathologies, positive and negative",
            remedy=_REMEDY,
        )
    columns: dict[str, list[Any]] = {}
    for name in ("pathologies", "positive", "negative"):
        values = weights.get(name)
        if not isinstance(values, list):
            raise InputError(f"{path}: result.class_weights.{name} is not a list", remedy=_REMEDY)
        columns[name] = values
    return ClassWeights(
        tuple(columns["pathologies"]),
        tuple(columns["positive"]),
        tuple(columns["negative"]),
        str(weights.get("scheme") or ""),
        table_sha256=_table_in(document.get("inputs")),
    )


def _from_csv(path: Path) -> ClassWeights:
    table = read_table(path)
    lacking = [name for name in CSV_COLUMNS[:3] if name not in table.header]
    if lacking:
        raise InputError(
            f"{path}: line 1: no column {lacking[0]}", expected=f"columns {', '.join(CSV_COLUMNS[:3])}", remedy=_REMEDY
        )
    cells = table.frame(dict.fromkeys(table.header, str)).astype(object)
    cells = cells.where(cells.notna(), "")
    schemes, digests = (cells[name].tolist() if name in table.header else [] for name in ("scheme", "source_sha256"))
    return ClassWeights(
        tuple(str(name).strip() for name in cells["pathology"]),
        tuple(_number(text) for text in cells["positive_weight"]),
        tuple(_number(text) for text in cells["negative_weight"]),
        schemes[0] if schemes else "",
        table_sha256=digests[0] if digests else "",
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _check(path: Path, weights: ClassWeights) -> None:
    names = weights.pathologies
    if not names:
        raise InputError(f"{path}: has no pathologies", remedy=_REMEDY)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{path}: {shown(repr(name))} is not the name of a pathology", remedy=_REMEDY)
        if names.count(name) > 1:
            raise InputError(f"{path}: pathology {shown(name)} is there twice", remedy=_REMEDY)
    for sign, values in (("positive", weights.positive), ("negative", weights.negative)):
        if len(values) != len(names):
            raise InputError(f"{path}: {len(values)} {sign} weights for {len(names)} pathologies", remedy=_REMEDY)
        for name, value in zip(names, values, strict=True):
            if not is_number(value) or not SMALLEST <= value <= LARGEST:
                raise InputError(
                    f"{path}: the {sign} weight of {shown(name)} is {shown(repr(value))}",
                    expected=f"a number from {SMALLEST:g} to {LARGEST:g}",
                    remedy=_REMEDY,
                )
