"""CheXpert of Stanford, and the data sets that name their columns as it does."""

from __future__ import annotations

from typing import Any

from cxr_cli.data.schemas.schema import Schema, Source
from cxr_cli.data.schemas.vocabulary import CHEXPERT_PATHOLOGIES

NAMESPACE = "chexpert"
PATIENT_IN_NAME = r"(?:^|[/\\])patient(\d+)(?:[/\\]|$)"
_LABELS: dict[str, Any] = {"pathologies": CHEXPERT_PATHOLOGIES, "not_findings": ("Support Devices",)}

CHEXPERT = Schema(
    name="chexpert",
    title="CheXpert (train.csv, valid.csv)",
    size="223,414 images of 64,540 patients (train.csv)",
    image=("Path",),
    required=("Frontal/Lateral", "AP/PA"),
    patient_namespace=NAMESPACE,
    patient_in_name=PATIENT_IN_NAME,
    age=("Age",),
    sex=("Sex",),
    view=("AP/PA",),
    lateral="Frontal/Lateral",
    **_LABELS,
)

#: Labels of the test set by radiologists: one row a study, or one an image (CheXlocalize), without demographics.
CHEXPERT_TEST = Schema(
    name="chexpert-test",
    title="CheXpert's test labels by study",
    image=("Study",),
    required=("Enlarged Cardiomediastinum", "Lung Opacity", "Pleural Other"),
    patient_namespace=NAMESPACE,
    patient_in_name=PATIENT_IN_NAME,
    verified="loader",
    **_LABELS,
)

#: The table of reports and demographics; its labels are in JSON files of their own, which are not read.
CHEXPERT_PLUS = Schema(
    name="chexpert-plus",
    title="CheXpert Plus (df_chexpert_plus_240401.csv)",
    image=("path_to_image",),
    required=("deid_patient_id",),
    patient=("deid_patient_id",),
    patient_namespace=NAMESPACE,
    patient_in_name=PATIENT_IN_NAME,
    age=("age",),
    sex=("sex",),
    view=("ap_pa",),
    lateral="frontal_lateral",
    split=("split",),
    other=(
        *("path_to_dcm", "patient_report_date_order", "report", "race", "ethnicity", "interpreter_needed"),
        *("insurance_type", "recent_bmi", "deceased", "section_narrative", "section_clinical_history"),
        *("section_history", "section_comparison", "section_technique", "section_procedure_comments"),
        *("section_findings", "section_impression", "section_end_of_impression", "section_summary"),
        "section_accession_number",
    ),
    verified="loader",
    **_LABELS,
)

#: Labelled with CheXpert's labeler (Reis et al. 2022, Scientific Data 9: 487).
BRAX = Schema(
    name="brax",
    title="BRAX (master_spreadsheet_update.csv)",
    image=("PngPath",),
    required=("PatientID", "DicomPath", "Enlarged Cardiomediastinum"),
    patient=("PatientID",),
    patient_namespace="brax",
    age=("PatientAge",),
    sex=("PatientSex",),
    view=("ViewPosition",),
    other=("DicomPath", "AccessionNumber", "StudyDate", "Manufacturer", "Rows", "Columns"),
    verified="loader",
    **_LABELS,
)


def _mimic_path(cells: Any) -> list[str]:
    """Return ``files/p10/p10000032/s50414267/DICOM_ID.jpg`` for each image."""
    columns = (cells[name].astype("str").tolist() for name in ("subject_id", "study_id", "dicom_id"))
    return [
        f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg" for subject, study, dicom in zip(*columns, strict=True)
    ]


#: Labels per study, joined with the images of each study (Johnson et al. 2019, arXiv:1901.07042).
MIMIC = Schema(
    name="mimic-cxr-jpg",
    title="MIMIC-CXR-JPG (mimic-cxr-2.0.0-chexpert.csv or -negbio.csv, joined with -metadata.csv and -split.csv)",
    image=("dicom_id", "subject_id", "study_id"),
    required=("subject_id", "study_id", "Enlarged Cardiomediastinum"),
    patient=("subject_id",),
    patient_namespace="mimic-cxr",
    patient_in_name=r"(?:^|[/\\])p(\d{8})[/\\]s\d{8}(?:[/\\]|$)",
    view=("ViewPosition",),
    split=("split",),
    other=("study_id",),
    sources=(
        Source(
            title="mimic-cxr-2.0.0-metadata.csv",
            required=("dicom_id", "subject_id", "study_id", "ViewPosition"),
            on=("subject_id", "study_id"),
            columns=("dicom_id", "ViewPosition"),
            adds_images=True,
            needed=True,
        ),
        Source(
            title="mimic-cxr-2.0.0-split.csv",
            required=("dicom_id", "subject_id", "study_id", "split"),
            on=("dicom_id",),
            columns=("split",),
            needed=True,
        ),
    ),
    name_image=_mimic_path,
    verified="loader",
    **_LABELS,
)

SCHEMAS = (CHEXPERT, MIMIC, BRAX, CHEXPERT_PLUS, CHEXPERT_TEST)
