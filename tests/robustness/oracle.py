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
from cxr_cli.data.schemas import NIH_PATHOLOGIES
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
    if path.suffix == ".txt":
        check_image_list(table)
    elif table.account.rows_describe == "images":
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
    assert n == len(table.images) == len(table.patient_codes) > 0
    assert n == table.raw.n_rows or table.links is not None
    assert len(table.account.columns) in (len(table.columns), n) or path_is_list(table)
    assert table.account.n_rows == table.account.n_rows_used + sum(table.account.rows_not_used.values())
    assert table.account.n_rows_without_patient == int((table.patient_codes < 0).sum())
    assert sum(table.account.why_without_patient.values()) == table.account.n_rows_without_patient
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
        assert all(0 <= row < table.account.n_rows for row in issue.rows)
        assert list(issue.rows) == sorted(set(issue.rows))
        assert len(issue.message) <= LONGEST_MESSAGE
        assert issue.message.isprintable(), ascii(issue.message)
    starts, ends = table.raw.starts, table.raw.ends
    assert (starts < ends).all()
    assert (ends[:-1] <= starts[1:]).all()


def path_is_list(table: LabelTable) -> bool:
    return table.path.suffix == ".txt"


def check_image_list(table: LabelTable) -> None:
    """A list holds one name a line, first of all."""
    text = table.raw.content.decode("utf-8").removeprefix("\ufeff")
    # A line of nothing but blanks of Unicode is a line.
    lines = [line.strip() for line in text.split("\n" if "\n" in text else "\r") if line.strip(" \t\r\v\f")]
    if table.account.rows_describe == "patients" or table.schema != "image-list":
        return
    header = any(issue.kind == "header-line" for issue in table.issues)
    for name, line in zip(table.images, lines[header:], strict=True):
        assert line.startswith(name)


def check_against_csv(table: LabelTable) -> None:
    """Every row says what Python's csv module reads in the same place."""
    text = table.raw.content.decode("utf-8").removeprefix("\ufeff")
    sign = table.raw.delimiter
    if re.match(r"sep=[,;|\t]\r?\n", text, re.IGNORECASE):
        text = text.partition("\n")[2]
    text = re.sub(r'(?<=[,;|\t\n])="([^"\r\n]*)"(?=[,;|\t\r\n]|$)', r'"\1"', text)
    rows = parsed(text, sign)
    header = [" ".join(cell.split()) for cell in rows.pop(0)]
    assert tuple(header) == table.columns
    assert len(rows) == table.raw.n_rows
    if not table.raw.n_formulas:
        for index, row in enumerate(rows):
            alone = parsed(table.raw.record(index).decode("utf-8"), sign)
            assert alone == [row], (index, alone, row)
        again = parsed(table.raw.select(range(len(rows))).decode("utf-8").removeprefix("\ufeff"), sign)
        assert again[-len(rows) :] == rows
    for index in (0, len(rows) - 1):
        assert table.raw.line(index) == line_of(table.raw.content, int(table.raw.starts[index]))
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    if table.links is not None:
        used = table.links.records.tolist()
        for index in set(range(len(rows))) - set(used):
            assert all(cell.strip() in MISSING for cell in rows[index])
        rows = [rows[index] for index in used]
    assert len(rows) == table.n_images
    cells: dict[str, list[str]] = {}
    use_of: dict[str, list[str]] = {}
    for place, use in enumerate(table.account.columns):
        cells.setdefault(use.name or f"Unnamed: {place}", [row[place] for row in rows])
        use_of.setdefault(use.use, []).append(use.name)
    assert [use.name for use in table.account.columns] == [
        name if not name.startswith("Unnamed: ") else "" for name in header
    ]
    if "image" in use_of:
        assert table.images == [cell.strip() for cell in cells[use_of["image"][0]]]
    assert all(table.images)
    check_patients(table, cells, use_of)
    check_labels(table, cells, use_of)
    check_demographics(table, cells, use_of)


def parsed(text: str, delimiter: str = ",") -> list[list[str]]:
    """Return the rows that are not blank."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    return [row for row in rows if row and not (len(row) == 1 and not row[0].strip(" \t") and '"' not in text)]


def line_of(content: bytes, place: int) -> int:
    """Return the line that a text editor would show for a byte."""
    return content.count(b"\n" if b"\n" in content else b"\r", 0, place) + 1


def check_patients(table: LabelTable, cells: dict[str, list[str]], use_of: dict[str, list[str]]) -> None:
    column = next(iter(use_of.get("patient", [])), None)
    for row, code in enumerate(table.patient_codes.tolist()):
        found = table.patient_ids[code] if code >= 0 else None
        if column is not None:
            assert found == patient(cells[column][row]), (row, found, cells[column][row])
        elif found is not None:
            assert re.search(rf"0*{re.escape(found)}\D", table.images[row]), (row, found)


def patient(cell: str) -> str | None:
    """Understand one patient id."""
    text = cell.strip()
    if text in MISSING or cell in MISSING:
        return None
    quoted = re.fullmatch(r"=\s*\"(.*)\"", text)
    if quoted:
        text = quoted[1].strip()
    elif text[0] in "'`\u2018\u2019" and len(text) > 1:
        text = text[1:].strip()
    lost = re.fullmatch(r"[+-]?\d+([.,]\d+)?[eE]\+\d{2,3}|\d{17,}[.,]0+", text)
    word = "".join(sign for sign in text.casefold() if sign.isalnum())
    nobody = {
        "unknown",
        "none",
        "null",
        "nan",
        "na",
        "missing",
        "anonymous",
        "xxx",
        "nil",
        "tbd",
        "value",
        "name",
        "ref",
    }
    minus = text in ("-1", "-1.0", "-9", "-99", "-999", "-9999")
    if not text or lost or minus or word in nobody or not re.sub(r"[-\u2013\u2014?_.*#/\\ ]", "", text):
        return None
    number = re.fullmatch(r"([0-9]+)(?:[.,]0*)?", text)
    return (number[1].lstrip("0") or "0") if number else text


def check_labels(table: LabelTable, cells: dict[str, list[str]], use_of: dict[str, list[str]]) -> None:
    listed = next(iter(use_of.get("findings", [])), None)
    columns = use_of.get("pathology", [])
    assert listed is not None or len(columns) == len(table.pathologies)
    for place, name in enumerate(table.pathologies):
        for row in range(table.n_images):
            found = float(table.labels[row, place])
            if listed is not None:
                expected = from_findings(cells[listed][row], name, table.schema)
            else:
                expected = from_cell(cells[columns[place]][row], table.uncertain)
            assert found == expected or (math.isnan(found) and math.isnan(expected)), (row, name, found, expected)


def from_findings(cell: str, name: str, schema: str) -> float:
    if cell.strip() in MISSING or cell in MISSING:
        return math.nan
    parts = re.split(r"\|", cell) if "|" in cell or schema.startswith("nih") else re.split("[|;,]", cell)
    findings = {re.sub(r"\W|_", "", item.casefold()) for item in parts} - {""}
    if schema.startswith("nih"):
        known = {re.sub("_", "", item.casefold()) for item in NIH_PATHOLOGIES}
        assert all(item in known or item.startswith(("no", "healthy", "neg", "unrem")) for item in findings), findings
    return float(re.sub(r"\W|_", "", name.casefold()) in findings) if findings else math.nan


def from_cell(cell: str, policy: str) -> float:
    text = cell.strip()
    if text in MISSING or cell in MISSING:
        return math.nan
    yes, no = (
        ("yes", "y", "true", "t", "positive", "pos", "present", "+", "abnormal"),
        (*("no", "n", "false", "f", "negative", "neg", "absent", "-", "normal"),),
    )
    if text.lower() in yes or text.lower() in no:
        return float(text.lower() in yes)
    value = float(text.replace(",", "."))
    return {"ignore": math.nan, "positive": 1.0, "negative": 0.0}[policy] if value == -1 else value


def check_demographics(table: LabelTable, cells: dict[str, list[str]], use_of: dict[str, list[str]]) -> None:
    frame = table.frame
    if "age" in frame:
        assert ((frame["age"] >= 0) & (frame["age"] <= 120) | frame["age"].isna()).all()
        for cell, age in zip(cells[use_of["age"][0]], frame["age"].tolist(), strict=True):
            if re.fullmatch("[0-9]{1,2}", cell):
                assert age == float(cell)
    if "sex" in frame:
        for cell, sex in zip(cells[use_of["sex"][0]], frame["sex"].tolist(), strict=True):
            known = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F"}.get(cell.strip().lower())
            assert sex == known if known else pd.isna(sex)
    if "view" in frame:
        assert all(pd.isna(view) or view.strip() == view != "" for view in frame["view"].tolist())
    if "follow_up" in frame:
        assert frame["follow_up"].dtype == np.float64
