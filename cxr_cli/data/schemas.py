"""Where each public data set keeps image, patient, labels, view, age and sex: one entry per data set.

To add a data set, add a `Schema` to `SCHEMAS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_cli.errors import LabelTableError, UsageError, shown

#: The 14 findings of ChestX-ray14 in the alphabetical order of its files (Wang et al., CVPR 2017, arXiv:1705.02315).
NIH_PATHOLOGIES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)

#: The observations of CheXpert but for "No Finding" (Irvin et al., AAAI 2019, arXiv:1901.07031).
CHEXPERT_PATHOLOGIES = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)

#: What the data sets call a film without any finding. It is not a pathology.
NO_FINDING = "No Finding"


@dataclass(frozen=True)
class Schema:
    """How one data set names its columns.

    Attributes
    ----------
    name, title
        What ``--schema`` takes, and what people call it.
    image
        Column of the image name (or relative path).
    required
        Columns that make the schema out, besides `image`.
    patient
        Columns that may hold the patient id; empty where it stands in the image path.
    patient_pattern
        Regular expression whose first group is the patient id in the image path.
    findings
        Column of ``|``-separated findings; None where there is one column per pathology.
    pathologies
        The pathologies; None: every column that is nothing else.
    uncertain
        The label value that means "uncertain", if the data set has one.
    age, sex, view, follow_up
        Columns that may hold these.
    lateral
        Column that tells frontal from lateral films.
    other
        Further columns known to the data set and not used.
    """

    name: str
    title: str
    image: str
    required: tuple[str, ...] = ()
    patient: tuple[str, ...] = ()
    patient_pattern: str | None = None
    findings: str | None = None
    pathologies: tuple[str, ...] | None = None
    uncertain: float | None = None
    age: tuple[str, ...] = ()
    sex: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    follow_up: tuple[str, ...] = ()
    lateral: str | None = None
    other: tuple[str, ...] = ()

    def missing(self, header: Sequence[str]) -> list[str]:
        """Return the columns without which a table is not of this schema."""
        needed = (self.image, *self.required)
        lacking = [name for name in needed if name not in header]
        if self.findings is None and self.pathologies is None and not self._one_hot(header):
            lacking.append("at least one column of a known pathology")
        return lacking

    @staticmethod
    def _one_hot(header: Sequence[str]) -> bool:
        return bool(set(header) & {*NIH_PATHOLOGIES, *CHEXPERT_PATHOLOGIES})

    def column(self, header: Sequence[str], candidates: Sequence[str]) -> str | None:
        """Return the first of the candidates that the header has."""
        return next((name for name in candidates if name in header), None)

    def label_columns(self, header: Sequence[str]) -> tuple[str, ...]:
        """Return the one-hot columns in the order of the file."""
        if self.pathologies is not None:
            return tuple(name for name in header if name in self.pathologies)
        known = {
            self.image,
            NO_FINDING,
            "",
            *self.patient,
            *self.age,
            *self.sex,
            *self.view,
            *self.follow_up,
            *self.other,
        }
        return tuple(name for name in header if name not in known)


_NIH_COMMON = {
    "image": "Image Index",
    "findings": "Finding Labels",
    "pathologies": NIH_PATHOLOGIES,
    "patient": ("Patient ID",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "view": ("View Position",),
    "follow_up": ("Follow-up #",),
}

#: Every schema `read_labels` knows, the most particular first.
SCHEMAS = (
    Schema(
        name="nih-sample",
        title="Kaggle's sample of ChestX-ray14 (sample_labels.csv)",
        required=("Finding Labels", "Patient ID", "OriginalImageWidth"),
        **_NIH_COMMON,  # type: ignore[arg-type]
    ),
    Schema(
        name="nih",
        title="NIH ChestX-ray14 (Data_Entry_2017.csv, Data_Entry_2017_v2020.csv)",
        required=("Finding Labels", "Patient ID"),
        **_NIH_COMMON,  # type: ignore[arg-type]
    ),
    Schema(
        name="chexpert",
        title="CheXpert (train.csv, valid.csv)",
        image="Path",
        required=("Frontal/Lateral", "AP/PA"),
        patient_pattern=r"(?:^|/)patient(\d+)/",
        pathologies=CHEXPERT_PATHOLOGIES,
        uncertain=-1.0,
        age=("Age",),
        sex=("Sex",),
        view=("AP/PA",),
        lateral="Frontal/Lateral",
        other=(NO_FINDING,),
    ),
    Schema(
        name="course",
        title="one column per pathology (AI for Medical Diagnosis: train-small.csv)",
        image="Image",
        patient=("PatientId",),
        age=("Age", "Patient Age"),
        sex=("Sex", "Patient Sex", "Patient Gender"),
        view=("View", "View Position"),
        follow_up=("Follow-up #",),
    ),
)

SCHEMA_NAMES = tuple(schema.name for schema in SCHEMAS)


def recognise(path: Path, header: Sequence[str], name: str | None = None) -> Schema:
    """Return the schema whose columns the header has, or the named one.

    Raises
    ------
    UsageError
        No schema has that name.
    LabelTableError
        The header fits none, or not the named one; the message shows the header, the nearest schema and what is
        missing.
    """
    if name is not None:
        if name not in SCHEMA_NAMES:
            raise UsageError(f"--schema {name}: no such schema", expected=f"one of {', '.join(SCHEMA_NAMES)}")
        candidates = [schema for schema in SCHEMAS if schema.name == name]
    else:
        candidates = list(SCHEMAS)
    for schema in candidates:
        if not schema.missing(header) or (name and schema.image in header and not schema.required):
            return schema
    nearest = min(candidates, key=lambda schema: _distance(schema, header))
    names = ", ".join(shown(column) for column in header[:20]) + (", …" if len(header) > 20 else "")
    hints = []
    for lacking in nearest.missing(header):
        close = difflib.get_close_matches(lacking.casefold(), _folded(header), n=1, cutoff=0.75)
        original = next((column for column in header if close and column.casefold() == close[0]), None)
        hints.append(f"{lacking} (there is {original})" if original else lacking)
    raise LabelTableError(
        f"{path}: line 1: the header fits no schema that cxr knows: {names}"
        if name is None
        else f"{path}: line 1: the header does not fit schema {name}: {names}",
        expected=f"as nearest, schema {nearest.name}, {nearest.title}; missing: {', '.join(hints)}",
        remedy=f"Rename the columns, or name the schema with --schema ({', '.join(SCHEMA_NAMES)}).",
    )


def _folded(header: Sequence[str]) -> list[str]:
    """Return the names worth comparing: a comparison costs too much for long names and very many columns."""
    return [column.casefold() for column in header[:200] if len(column) <= 60]


def _distance(schema: Schema, header: Sequence[str]) -> float:
    folded = _folded(header)
    lacking = schema.missing(header)
    close = sum(bool(difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)) for name in lacking)
    found = len({schema.image, *schema.required} & set(header))
    return len(lacking) - 0.5 * close - 0.9 * found
