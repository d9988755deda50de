"""Text files of one image, or one patient, a line: NIH's lists, lists with labels, and those of COVIDx."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.account import ISSUE_ROWS, ColumnUse, Issue, TableAccount, Use
from cxr_cli.data.cells import label_values, read_findings
from cxr_cli.data.columns import is_image_name
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.names import UNSAFE, is_unsafe_name, why_unsafe
from cxr_cli.data.patient_ids import clean_patient_ids, coded_ids, ids_by_pattern, patients_in_names
from cxr_cli.data.schemas import IMAGE_LIST, PATIENT_LIST, recognise
from cxr_cli.data.schemas.covidx import COVIDX
from cxr_cli.data.schemas.nih import PATIENT_IN_NAME
from cxr_cli.data.schemas.vocabulary import ROLES, fold
from cxr_cli.data.tables import RawTable, parse_table, read_lines
from cxr_cli.errors import LabelTableError, shown

if TYPE_CHECKING:
    from cxr_cli.data.records import Reading

_SUFFIX = r"\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|webp|gif)"
#: A name, which may hold blanks, up to the first ending of an image file; then labels.
_NAMED = re.compile(rf"(.+?{_SUFFIX})(?:[\s,;]+(.*))?", re.IGNORECASE)
#: Patient, file, class and source, as in the lists of COVIDx.
_FOUR = re.compile(rf"(\S+)\s+(\S+{_SUFFIX})\s+(\S+)(?:\s+(\S+))?", re.IGNORECASE)
_PATIENT = re.compile(r"(?:patient|person|subject|p)?[-_ ]?0*(\d{1,10})", re.IGNORECASE)
#: The order of the 14 labels in the space-separated lists of ChestX-ray14 that follow CheXNet's.
LIST_ORDER = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
)


@dataclass
class _Lines:
    """Lines on their way to a table."""

    raw: RawTable
    texts: list[str]
    issues: list[Issue]


def read_list(path: Path, reading: Reading, allow_without_labels: bool) -> LabelTable:
    """Read a text file: a table with a header, a list of images with or without labels, or a list of patients.

    Raises
    ------
    LabelTableError
        It names no image, or no labels and `allow_without_labels` is false; or a line is not a name.
    """
    from cxr_cli.data.label_reader import read_raw

    raw = read_lines(path)
    texts = [raw.record(row).decode("utf-8").strip() for row in range(raw.n_rows)]
    if not texts:
        raise LabelTableError(f"{path}: names no image", expected="one image name a line", remedy="Check the file.")
    if _is_table(texts):
        table = parse_table(path, raw.content, raw.source)
        if not table.n_rows:
            raise LabelTableError(f"{path}: has a header and no rows", remedy="Give a table with at least one image.")
        return read_raw(table, recognise(path, table.header, None), reading)
    issues: list[Issue] = []
    header = _header(texts)
    if header:
        issues.append(Issue("header-line", f"the first line, {shown(texts[0])}, is taken as a header", 1))
        raw = replace(raw, header_end=int(raw.ends[0]), starts=raw.starts[1:], ends=raw.ends[1:])
    lines = _Lines(raw, texts[1:] if header else texts, issues)
    if not lines.texts:
        raise LabelTableError(f"{path}: names no image", expected="one image name a line", remedy="Check the file.")
    four = [_FOUR.fullmatch(text) for text in lines.texts]
    if all(four) and not any(is_image_name(match[1]) for match in four if match):
        return _with_patients(lines, [match for match in four if match], reading)
    if _names_patients(lines.texts, texts[0] if header else None):
        return _patients(lines, reading)
    return _images(lines, reading, allow_without_labels)


def _is_table(texts: Sequence[str]) -> bool:
    """Whether the first line is the header of a delimited table: it has several columns, and names none as a file."""
    first = texts[0]
    delimiter = next((sign for sign in ",;\t" if sign in first), None)
    if delimiter is None or len(texts) < 2:
        return False
    cells = [cell.strip() for cell in first.split(delimiter)]
    words = {word for words in ROLES.values() for word in words}
    return not any(is_image_name(cell) for cell in cells) and any(fold(cell) in words for cell in cells)


def _header(texts: Sequence[str]) -> bool:
    """Whether the first line is a header: a known word, or it does not end as the names in all other lines do."""
    first = texts[0]
    words = {word for role in ("image", "patient") for word in ROLES[role]}
    if fold(first) in words:
        return True
    return not _NAMED.fullmatch(first) and len(texts) > 1 and all(_NAMED.fullmatch(text) for text in texts[1:])


def _names_patients(texts: Sequence[str], header: str | None) -> bool:
    if header is not None and fold(header) in ROLES["patient"]:
        return True
    return not any(_NAMED.fullmatch(text) for text in texts) and all(_PATIENT.fullmatch(text) for text in texts)


def _patients(lines: _Lines, reading: Reading) -> LabelTable:
    """Read a list of patients: it names no image, so that only patients can be compared."""
    cleaned = clean_patient_ids([_bare(text) for text in lines.texts])
    lines.issues.append(Issue("patient-list", "each line names a patient, not an image", len(lines.texts)))
    images = pd.Series([f"(patient {text})" for text in lines.texts], dtype="str")
    found = patients_in_names(lines.texts)
    namespace = found[0] if found is not None and None not in found[1] else None
    return _table(
        lines, PATIENT_LIST.name, images, {}, list(cleaned.ids), namespace, reading, uses=[("patient", "patient", None)]
    )


def _bare(text: str) -> str:
    match = re.fullmatch(r"patient_?0*(\d+)", text, flags=re.IGNORECASE)
    return match[1] if match else text


def _with_patients(lines: _Lines, matches: Sequence[re.Match[str]], reading: Reading) -> LabelTable:
    schema = COVIDX
    sources = [match[4] or "" for match in matches]
    # Each source numbers its patients from 1.
    patients: list[str | None] = [
        f"{source}:{match[1]}" if source else match[1] for match, source in zip(matches, sources, strict=True)
    ]
    column = pd.Series([match[3] for match in matches]).astype("category")
    found = read_findings(
        column, "", renamed=schema.renamed, negative=reading.said.get("negative", ()) if reading.said else ()
    )
    uses: list[tuple[str, Use, str | None]] = [
        ("patient", "patient", "told apart by source" if any(sources) else None),
        ("filename", "image", None),
        ("class", "findings", None),
        ("source", "ignored", "part of the patient id"),
    ]
    images = pd.Series([match[2] for match in matches], dtype="str")
    return _table(
        lines,
        schema.name,
        images,
        dict(found.labels),
        patients,
        schema.patient_namespace,
        reading,
        uses,
        found.n_written,
    )


def _images(lines: _Lines, reading: Reading, allow_without_labels: bool) -> LabelTable:
    raw, path = lines.raw, lines.raw.path
    names, rests = [], []
    for text in lines.texts:
        match = _NAMED.fullmatch(text)
        names.append(match[1].strip() if match else text)
        rests.append((match[2] or "").strip() if match else "")
    for row, name in enumerate(names):
        odd = not name or ("," in name and not is_image_name(name))
        if odd or (not reading.unsafe_ok and is_unsafe_name(name)):
            what = f"'{shown(name)}' is not an image name" if odd else why_unsafe(name)
            raise LabelTableError(
                f"{path}: line {raw.line(row)}: {what}",
                expected="one image name a line",
                remedy="Correct the line; a table with columns needs the ending .csv.",
            )
    labels, uses, n_written = _labels(lines, names, rests)
    if not labels and not allow_without_labels:
        raise LabelTableError(
            f"{path}: is a list of images without labels",
            expected="a label table",
            remedy="Give the table that has the labels; check-leakage reads lists, and split as official lists.",
        )
    found = patients_in_names(names) if reading.pattern is None else (None, ids_by_pattern(names, reading.pattern))
    namespace, patients = found if found is not None else (None, [None] * len(names))
    images = pd.Series(names, dtype="str")
    return _table(
        lines,
        IMAGE_LIST.name,
        images,
        labels,
        patients,
        namespace,
        reading,
        [("image", "image", None), *uses],
        n_written,
    )


def _labels(
    lines: _Lines, names: Sequence[str], rests: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], list[tuple[str, Use, str | None]], int | None]:
    """Read what stands behind the names: 14 labels in the order of CheXNet's lists, or one class."""
    if not any(rests):
        return {}, [], None
    parts = [re.split(r"[\s,;]+", rest) if rest else [] for rest in rests]
    sizes = Counter(map(len, parts))
    if len(sizes) > 1:
        row = next(row for row, part in enumerate(parts) if len(part) != len(parts[0]))
        raise LabelTableError(
            f"{lines.raw.path}: line {lines.raw.line(row)}: {len(parts[row])} labels behind the name",
            expected=f"{len(parts[0])} as in the lines before",
            remedy="Correct the line.",
        )
    size = len(parts[0])
    columns = [pd.Series([part[place] for part in parts], dtype="str") for place in range(size)]
    values = [label_values(column) for column in columns]
    one_hot = all(not np.isinf(column).any() for column in values)
    if one_hot and size == len(LIST_ORDER) and all(re.search(PATIENT_IN_NAME, name) for name in names):
        labels = {
            name: np.where(column == -1, np.nan, column).astype(np.float32)
            for name, column in zip(LIST_ORDER, values, strict=True)
        }
        lines.issues.append(
            Issue("label-columns-by-place", "14 labels behind each name: read in the order of CheXNet's lists", size)
        )
        return labels, [(name, "pathology", "by its place") for name in LIST_ORDER], None
    if size == 1 and not one_hot:
        found = read_findings(columns[0].astype("category"), "|")
        return dict(found.labels), [("class", "findings", None)], found.n_written
    lines.issues.append(
        Issue(
            "label-columns-without-names",
            f"{size} columns of labels without names behind the image names: not used; a header line names them",
            size,
        )
    )
    return {}, [(f"column {place + 2}", "not used", "has no name") for place in range(size)], None


def _table(
    lines: _Lines,
    schema: str,
    images: pd.Series[Any],
    labels: dict[str, NDArray[np.float32]],
    patients: Sequence[str | None],
    namespace: str | None,
    reading: Reading,
    uses: Sequence[tuple[str, Use, str | None]],
    n_written: int | None = None,
) -> LabelTable:
    raw = lines.raw
    codes, ids = coded_ids(patients)
    unknown = np.flatnonzero(codes < 0)
    unsafe = [row for row, name in enumerate(images) if is_unsafe_name(name)] if schema != PATIENT_LIST.name else []
    repeated = np.flatnonzero(images.duplicated().to_numpy())
    issues = [
        *(
            Issue(kind, message, len(rows), tuple(int(row) for row in rows[:ISSUE_ROWS]))
            for kind, message, rows in (
                ("unsafe-image-name", UNSAFE, unsafe),
                ("no-patient", "no patient number in the file name", unknown),
                ("duplicate-image", "image named by an earlier row too", repeated),
            )
            if len(rows)
        ),
        *lines.issues,
    ]
    frame = pd.DataFrame(
        {
            "image": images,
            "patient_id": pd.Categorical.from_codes(codes, pd.Index(ids, dtype="str")),
            **labels,
        }
    )
    is_patients = schema == PATIENT_LIST.name
    account = TableAccount(
        columns=tuple(ColumnUse(*use) for use in uses),
        rows_describe="patients" if is_patients else "images",
        n_rows=raw.n_rows,
        n_rows_used=raw.n_rows,
        rows_not_used={},
        n_images=0 if is_patients else int(images.nunique()),
        aggregation=None,
        labels="none" if not labels else "one class" if n_written is not None else "one column per pathology",
        blank="unknown",
        patients="the lines"
        if is_patients or schema not in (IMAGE_LIST.name,)
        else "image names"
        if len(ids)
        else "unknown",
        patient_namespace=namespace if len(ids) else None,
        n_rows_without_patient=len(unknown),
        why_without_patient={"image name without a patient": len(unknown)} if len(unknown) else {},
        written_as=() if raw.encoding == "utf-8" else ("the file is UTF-16",),
        joined=(),
        mapped={},
    )
    return LabelTable(
        path=raw.path,
        source=raw.source,
        schema=schema,
        frame=frame,
        pathologies=tuple(labels),
        issues=tuple(issues),
        account=account,
        columns=raw.header,
        column_types=("str",),
        null_cells=(0,),
        n_findings_written=n_written,
        uncertain=reading.uncertain,
        n_uncertain=0,
        patient_codes=codes,
        patient_ids=ids,
        raw=raw,
        sources=(raw.source,),
    )
