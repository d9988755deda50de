"""The file of thresholds that ``cxr evaluate`` writes and ``cxr predict`` and ``cxr evaluate --thresholds`` read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli import __version__
from cxr_cli.data.documents import is_number, read_json
from cxr_cli.data.files import InputFile, Outputs
from cxr_cli.data.predictions import folded
from cxr_cli.data.tables import read_table
from cxr_cli.errors import InputError, shown

SCHEMA_VERSION = 1
#: Columns of a CSV of thresholds, folded.
_NAMES, _VALUES = ("label", "pathology", "finding"), ("threshold", "bestthr", "thr")
_REMEDY = "Make the file with 'cxr evaluate TEST.csv --valid VALID.csv'."


@dataclass(frozen=True)
class Thresholds:
    """Thresholds by rule and pathology. An image is predicted positive if its score is at least the threshold.

    Attributes
    ----------
    rules
        For each rule ("youden", "best-f1", …; "file" if the file names none) the thresholds by pathology.
    rule
        The rule to use if no other is asked for.
    chosen_on
        The validation predictions that they were chosen on.
    """

    rules: Mapping[str, Mapping[str, float]]
    rule: str
    chosen_on: tuple[InputFile, ...] = ()

    def of(self, pathologies: Sequence[str], rule: str | None = None) -> NDArray[np.float64]:
        """Return the thresholds of some pathologies, shape (n_pathologies,); NaN for those without one.

        Raises
        ------
        InputError
            There is no such rule.
        """
        name = self.rule if rule is None else rule
        if name not in self.rules:
            raise InputError(f"there are no thresholds by the rule {name}", expected=f"one of {', '.join(self.rules)}")
        values = {folded(pathology): value for pathology, value in self.rules[name].items()}
        return np.array([values.get(folded(pathology), np.nan) for pathology in pathologies], np.float64)

    def write(self, outputs: Outputs, name: str | Path) -> Path:
        """Write the JSON document; return its path."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "command": "evaluate",
            "cxr_version": __version__,
            "chosen_on": [asdict(source) for source in self.chosen_on],
            "rule": self.rule,
            "thresholds": {
                rule: {name: value for name, value in values.items() if is_number(value)}
                for rule, values in self.rules.items()
            },
        }
        return outputs.write_json(name, document)


def read_thresholds(path: Path | str) -> Thresholds:
    """Read thresholds: the JSON that ``cxr evaluate`` writes, or a CSV with a column of pathologies and one of numbers.

    Raises
    ------
    InputError
        The file is missing, is neither, names a pathology twice, or holds a threshold that is not a finite number.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return _from_json(path)
    table = read_table(path)
    names = [name for name in table.header if folded(name) in _NAMES]
    values = [name for name in table.header if folded(name) in _VALUES]
    if len(names) != 1 or len(values) != 1:
        raise InputError(
            f"{path}: line 1: not a table of thresholds: {', '.join(shown(name) for name in table.header[:20])}",
            expected="a column pathology (or label) and a column threshold (or bestthr)",
            remedy=_REMEDY,
        )
    cells = table.frame(dict.fromkeys([names[0], values[0]], str), [names[0], values[0]])
    found: dict[str, float] = {}
    for row, (name, text) in enumerate(zip(cells[names[0]], cells[values[0]], strict=True)):
        try:
            value: object = float(text)
        except ValueError:
            value = text
        _add(found, f"{path}: line {table.line(row)}", name, value)
    return Thresholds({"file": found}, "file")


def _from_json(path: Path) -> Thresholds:
    document = read_json(path, remedy=_REMEDY)
    rules = document.get("thresholds") if isinstance(document, dict) else None
    if not isinstance(rules, dict) or not rules or not all(isinstance(values, dict) for values in rules.values()):
        raise InputError(
            f"{path}: has no thresholds",
            expected="thresholds by rule and pathology, as cxr evaluate writes them",
            remedy=_REMEDY,
        )
    found: dict[str, dict[str, float]] = {}
    for rule, values in rules.items():
        found[str(rule)] = {}
        for name, value in values.items():
            _add(found[str(rule)], f"{path}: {shown(str(rule))}", name, value)
    rule = document.get("rule")
    chosen_on = document.get("chosen_on")
    return Thresholds(
        found,
        rule if isinstance(rule, str) and rule in found else next(iter(found)),
        tuple(_source(item) for item in chosen_on if isinstance(item, dict)) if isinstance(chosen_on, list) else (),
    )


def _source(item: dict[str, Any]) -> InputFile:
    size = item.get("size")
    return InputFile(str(item.get("path")), size if isinstance(size, int) else 0, str(item.get("sha256")))


def _add(found: dict[str, float], where: str, name: object, value: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: no pathology", expected="the name of a pathology", remedy=_REMEDY)
    if folded(name) in map(folded, found):
        raise InputError(f"{where}: pathology {shown(name)} is there twice", remedy="Remove one of them.")
    if not is_number(value):
        raise InputError(
            f"{where}: the threshold of {shown(name)} is {shown(str(value))}",
            expected="a finite number",
            remedy=_REMEDY,
        )
    assert isinstance(value, (int, float))
    found[name.strip()] = float(value)
