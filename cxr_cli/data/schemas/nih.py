"""ChestX-ray14 of the NIH Clinical Center, and the sets that others made of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxr_cli.data.schemas.schema import Schema, Source
from cxr_cli.data.schemas.vocabulary import NIH_PATHOLOGIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

#: Name of the numbering of NIH's patients, within which their ids can be compared.
NAMESPACE = "nih"
#: ``00000013_005.png``: the number of the patient, then that of the image.
PATIENT_IN_NAME = r"(?:^|[/\\])(\d{8})_\d{3}\.\w+$"
_SPACING = (
    *("OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"),
    *("OriginalImageWidth", "OriginalImageHeight", "OriginalImagePixelSpacing_x", "OriginalImagePixelSpacing_y"),
)
_COMMON: dict[str, Any] = {
    "image": ("Image Index",),
    "patient": ("Patient ID",),
    "patient_namespace": NAMESPACE,
    "patient_in_name": PATIENT_IN_NAME,
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "view": ("View Position",),
    "follow_up": ("Follow-up #",),
    "other": _SPACING,
    "image_folders": ("images-small", "images"),
}

NIH_SAMPLE = Schema(
    name="nih-sample",
    title="Kaggle's sample of ChestX-ray14 (sample_labels.csv)",
    size="5,606 images of 4,230 patients",
    required=("Finding Labels", "Patient ID", "OriginalImageHeight"),
    findings="Finding Labels",
    pathologies=NIH_PATHOLOGIES,
    **_COMMON,
)

NIH = Schema(
    name="nih",
    title="NIH ChestX-ray14 (Data_Entry_2017.csv, Data_Entry_2017_v2020.csv)",
    size="112,120 images of 30,805 patients",
    required=("Finding Labels", "Patient ID"),
    findings="Finding Labels",
    pathologies=NIH_PATHOLOGIES,
    **_COMMON,
)

#: Four columns of labels that radiologists agreed upon, YES or NO (Majkowska et al. 2020, Radiology 294: 421-431).
GOOGLE = Schema(
    name="google-nih",
    title="Google's relabelled images of ChestX-ray14",
    size="4,376 images",
    required=("Airspace opacity", "Nodule or mass"),
    pathologies=("Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass"),
    split=("Set Id",),
    derived_from=NAMESPACE,
    **_COMMON,
)

#: Boxes that radiologists drew on 880 images; a finding without a box on an image is read as absent.
NIH_BOXES = Schema(
    name="nih-boxes",
    title="the boxes of ChestX-ray14 (BBox_List_2017.csv)",
    size="984 boxes on 880 images of 726 patients",
    image=("Image Index",),
    required=("Finding Label", "Bbox [x"),
    patient_namespace=NAMESPACE,
    patient_in_name=PATIENT_IN_NAME,
    findings="Finding Label",
    separators="",
    pathologies=(
        *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    ),
    renamed={"Infiltrate": "Infiltration"},
    blank="absent",
    rows="boxes",
    other=("Bbox [x", "y", "w", "h]"),
    image_folders=("images-small", "images"),
)

_RSNA_UNKNOWN = (
    "patientId is the id of an image; only the mapping to ChestX-ray14, which RSNA publishes, tells the patients"
)

RSNA_CLASSES = Schema(
    name="rsna-classes",
    title="the classes of the RSNA pneumonia challenge (stage_2_detailed_class_info.csv)",
    image=("patientId",),
    required=("class",),
    patients_unknown=_RSNA_UNKNOWN,
    findings="class",
    separators="",
    pathologies=("Lung Opacity", "No Lung Opacity / Not Normal"),
    rows="boxes",
    image_folders=("stage_2_train_images",),
    image_suffix=".dcm",
    derived_from=NAMESPACE,
    verified="loader",
)

RSNA_HEADERS = Schema(
    name="rsna-headers",
    title="the DICOM headers of the RSNA pneumonia challenge",
    size="26,684 images",
    image=("PatientID",),
    required=("Filename", "PatientID", "BodyPartExamined", "ConversionType"),
    patients_unknown=_RSNA_UNKNOWN,
    pathologies=(),
    age=("PatientAge",),
    sex=("PatientSex",),
    view=("ViewPosition",),
    other=(
        *("Filename", "BodyPartExamined", "ConversionType", "InstanceNumber", "Modality", "PatientOrientation"),
        *("PixelSpacing", "SamplesPerPixel", "SeriesNumber"),
    ),
    image_folders=("stage_2_train_images",),
    image_suffix=".dcm",
    derived_from=NAMESPACE,
)


RSNA = Schema(
    name="rsna",
    title="the RSNA pneumonia challenge (stage_2_train_labels.csv)",
    size="30,227 boxes on 26,684 images, 6,012 of them positive",
    image=("patientId",),
    required=("x", "y", "width", "height", "Target"),
    patients_unknown=_RSNA_UNKNOWN,
    pathologies=("Pneumonia",),
    renamed={"Target": "Pneumonia"},
    age=("PatientAge",),
    sex=("PatientSex",),
    view=("ViewPosition",),
    rows="boxes",
    other=("x", "y", "width", "height"),
    image_folders=("stage_2_train_images",),
    image_suffix=".dcm",
    sources=(
        Source(
            title="the DICOM headers",
            required=("PatientID", "PatientAge", "PatientSex", "ViewPosition"),
            on=("patientId=PatientID",),
            columns=("PatientAge", "PatientSex", "ViewPosition"),
        ),
    ),
    derived_from=NAMESPACE,
)


def _encoded(cells: pd.DataFrame) -> Mapping[str, Any]:
    """Read run-length encoded masks: -1 means that there is no pneumothorax."""
    import numpy as np

    text = cells["EncodedPixels"].astype("str").str.strip()
    known = cells["EncodedPixels"].notna().to_numpy() & (text != "").to_numpy()
    return {"Pneumothorax": np.where(known, (text != "-1").to_numpy().astype(np.float32), np.float32(np.nan))}


#: One row for each outlined pneumothorax.
SIIM = Schema(
    name="siim",
    title="the SIIM-ACR pneumothorax challenge (train-rle.csv)",
    size="12,954 masks of 12,047 images",
    image=("ImageId",),
    required=("EncodedPixels",),
    patients_unknown="the table names images alone",
    pathologies=("Pneumothorax",),
    parse_labels=_encoded,
    rows="boxes",
    image_suffix=".dcm",
    derived_from=NAMESPACE,
)

SCHEMAS = (NIH_SAMPLE, GOOGLE, NIH, NIH_BOXES, RSNA, RSNA_CLASSES, RSNA_HEADERS, SIIM)
