"""What `read_labels` promises, checked by code that shares nothing with it: Python's csv module, one cell at a time."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_cli.data.labels import LabelTable, read_labels
from cxr_cli.data.patient_ids import normal_patient_id
from cxr_cli.data.schemas import NO_FINDING, SCHEMAS
from cxr_cli.errors import CxrError

#: What pandas takes for a missing cell.
MISSING = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
#: An error is one or two lines that fit a screen, whatever was in the file.
LONGEST_MESSAGE = 2000


def check(path: Path, content: bytes, **options: object) -> LabelTable | CxrError:
    """Write a table, read it, and hold what comes back against the promise.

    Either an error that a user can act on, or a LabelTable that says what is written in the file.
    """
    path.write_bytes(content)
    try:
        table = read_labels(path, **options)
    except CxrError as error:
        check_message(error, path)
        return error
    check_form(table)
    if table.schema == "image-list":
        check_image_list(table)
    else:
        check_against_csv(table)
    return table


def check_message(error: CxrError, path: Path) -> None:
    """An error names the file, says what to do, and is short and printable."""
    text = str(error)
    assert text.startswith(str(path)), text
    assert len(text) - len(str(path)) <= LONGEST_MESSAGE, len(text)
    lines = text.split("\n")
    assert len(lines) <= 2, text
    assert all(line.isprintable() for line in lines), ascii(text)


def check_form(table: LabelTable) -> None:
    """The parts of a LabelTable agree with each other."""
    n = table.n_images
    assert n == table.raw.n_rows == len(table.images) == len(table.patient_codes) > 0
    assert table.labels.shape == (n, len(table.pathologies))
    assert table.labels.dtype == np.float32
    assert np.isin(table.labels[~np.isnan(table.labels)], (0, 1)).all()
    assert not np.signbit(table.labels[table.labels == 0]).any()
    assert len(set(table.patient_ids)) == len(table.patient_ids)
    assert all(table.patient_ids)
    assert set(table.patient_codes.tolist()) - {-1} == set(range(len(table.patient_ids)))
    for name, code in zip(table.frame["patient_id"].tolist(), table.patient_codes.tolist(), strict=True):
        assert (name == table.patient_ids[code]) if code >= 0 else pd.isna(name)
    for issue in table.issues:
        assert issue.count >= max(1, len(issue.rows))
        assert all(0 <= row < n for row in issue.rows)
        assert list(issue.rows) == sorted(set(issue.rows))
        assert len(issue.message) <= LONGEST_MESSAGE
        assert issue.message.isprintable(), ascii(issue.message)
    starts, ends = table.raw.starts, table.raw.ends
    assert (starts < ends).all()
    assert (ends[:-1] <= starts[1:]).all()


def check_image_list(table: LabelTable) -> None:
    """A list holds one name a line."""
    text = table.raw.content.decode("utf-8").removeprefix("\ufeff")
    lines = [line.strip() for line in text.split("\n" if "\n" in text else "\r")]
    assert table.images == [line for line in lines if line]


def check_against_csv(table: LabelTable) -> None:
    """Every row says what Python's csv module reads in the same place."""
    text = table.raw.content.decode("utf-8").removeprefix("\ufeff")
    rows = parsed(text)
    header = [cell.strip() for cell in rows.pop(0)]
    assert tuple(header) == table.columns
    assert len(rows) == table.n_images
    for index, row in enumerate(rows):
        alone = parsed(table.raw.record(index).decode("utf-8"))
        assert alone == [row], (index, alone, row)
    first, last = 0, table.n_images - 1
    assert table.raw.line(first) == line_of(table.raw.content, int(table.raw.starts[first]))
    assert table.raw.line(last) == line_of(table.raw.content, int(table.raw.starts[last]))
    again = parsed(table.raw.select(range(table.n_images)).decode("utf-8").removeprefix("\ufeff"))
    assert again[1:] == rows
    cells = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    schema = next(schema for schema in SCHEMAS if schema.name == table.schema)
    assert table.images == [cell.strip() for cell in cells[schema.image]]
    assert all(table.images)
    check_patients(table, cells, schema)
    check_labels(table, cells, schema)
    check_demographics(table, cells, schema)


def parsed(text: str) -> list[list[str]]:
    """Return the rows that are not blank."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    return [row for row in rows if row and not (len(row) == 1 and not row[0].strip(" \t") and '"' not in text)]


def line_of(content: bytes, place: int) -> int:
    """Return the line that a text editor would show for a byte."""
    return content.count(b"\n" if b"\n" in content else b"\r", 0, place) + 1


def check_patients(table: LabelTable, cells: dict[str, list[str]], schema) -> None:
    column = next((name for name in schema.patient if name in cells), None)
    for row, code in enumerate(table.patient_codes.tolist()):
        found = table.patient_ids[code] if code >= 0 else None
        if column is not None:
            cell = cells[column][row].strip()
            expected = None if cell in MISSING else normal_patient_id(cell)
        elif schema.patient_pattern is not None:
            match = re.search(schema.patient_pattern, table.images[row])
            expected = normal_patient_id(match[1]) if match else None
        else:
            expected = None
        assert found == expected, (row, found, expected)


def check_labels(table: LabelTable, cells: dict[str, list[str]], schema) -> None:
    for place, name in enumerate(table.pathologies):
        for row in range(table.n_images):
            found = float(table.labels[row, place])
            if schema.findings is not None:
                expected = from_findings(cells[schema.findings][row], name)
            else:
                expected = from_cell(cells[name][row], schema.uncertain, table.uncertain)
            assert found == expected or (math.isnan(found) and math.isnan(expected)), (row, name, found, expected)


def from_findings(cell: str, name: str) -> float:
    if cell.strip() in MISSING:
        return math.nan
    findings = {item.strip() for item in cell.split("|")}
    assert findings <= {NO_FINDING, *SCHEMAS[0].pathologies}
    return float(name in findings)


def from_cell(cell: str, uncertain: float | None, policy: str) -> float:
    cell = cell.strip()
    if cell in MISSING:
        return math.nan
    value = {"true": 1.0, "false": 0.0}.get(cell.lower())
    value = float(cell) if value is None else value
    if uncertain is not None and value == uncertain:
        return {"ignore": math.nan, "positive": 1.0, "negative": 0.0}[policy]
    return value


def check_demographics(table: LabelTable, cells: dict[str, list[str]], schema) -> None:
    frame = table.frame
    if "age" in frame:
        assert ((frame["age"] >= 0) & (frame["age"] <= 120) | frame["age"].isna()).all()
        column = next(name for name in schema.age if name in cells)
        for cell, age in zip(cells[column], frame["age"].tolist(), strict=True):
            if re.fullmatch("[0-9]{1,2}", cell):
                assert age == float(cell)
    if "sex" in frame:
        column = next(name for name in schema.sex if name in cells)
        for cell, sex in zip(cells[column], frame["sex"].tolist(), strict=True):
            known = {"m": "M", "male": "M", "f": "F", "female": "F"}.get(cell.strip().lower())
            assert sex == known if known else pd.isna(sex)
    if "view" in frame:
        assert all(pd.isna(view) or view.strip() == view != "" for view in frame["view"].tolist())
    if "follow_up" in frame:
        assert frame["follow_up"].dtype == np.float64
