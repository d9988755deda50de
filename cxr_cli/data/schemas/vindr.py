"""VinDr-CXR and VinBigData's challenge: three radiologists read every image (Nguyen et al. 2022, Sci Data 9: 429)."""

from __future__ import annotations

from cxr_cli.data.schemas.schema import Schema

_UNKNOWN = "the data set does not tell patients, so leakage between patients cannot be checked"

VINBIGDATA = Schema(
    name="vinbigdata",
    title="VinBigData's challenge and the boxes of VinDr-CXR (train.csv, annotations_train.csv)",
    size="67,914 boxes on 15,000 images, 3 readers each",
    image=("image_id",),
    required=("class_name", "rad_id", "x_min", "y_min", "x_max", "y_max"),
    patients_unknown=_UNKNOWN,
    findings="class_name",
    separators="",
    reader="rad_id",
    rows="readers",
    other=("class_id", "x_min", "y_min", "x_max", "y_max"),
    image_folders=("train",),
    image_suffix=".dicom",
    derived_from="vindr-cxr",
)

VINDR = Schema(
    name="vindr-cxr",
    title="VinDr-CXR (image_labels_train.csv)",
    image=("image_id",),
    required=("rad_id", "No finding", "Aortic enlargement"),
    patients_unknown=_UNKNOWN,
    reader="rad_id",
    rows="readers",
    image_folders=("train",),
    image_suffix=".dicom",
    verified="loader",
)

SCHEMAS = (VINBIGDATA, VINDR)
