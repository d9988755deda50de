"""Data sets that are folders or lists of images, recognised by the names of their files alone."""

from __future__ import annotations

from cxr_cli.data.schemas.schema import Schema

#: ``person1_bacteria_1.jpeg``; the normal images of this set do not name their patients in a way that is documented.
KERMANY = Schema(
    name="kermany",
    title="chest_xray, the folders of Kermany et al. (2018, Cell 172: 1122-1131)",
    image=("image",),
    required=None,
    patient_namespace="kermany",
    patient_in_name=r"(?:^|[/\\])(person\d+)_(?:bacteria|virus)_\d+\.\w+$",
    verified="loader",
)

#: ``MCUCXR_0001_0.png``: one image for each patient, and whether there is tuberculosis (Jaeger et al. 2014).
MONTGOMERY = Schema(
    name="montgomery",
    title="the Montgomery County set of tuberculosis images",
    image=("image",),
    required=None,
    patient_namespace="montgomery",
    patient_in_name=r"(?:^|[/\\])MCUCXR_(\d{4})_[01]\.\w+$",
    verified="loader",
)

SHENZHEN = Schema(
    name="shenzhen",
    title="the Shenzhen set of tuberculosis images",
    image=("image",),
    required=None,
    patient_namespace="shenzhen",
    patient_in_name=r"(?:^|[/\\])CHNCXR_(\d{4})_[01]\.\w+$",
    verified="loader",
)

TBX11K = Schema(
    name="tbx11k",
    title="TBX11K (Liu et al. 2020)",
    image=("image",),
    required=None,
    patients_unknown="the data set does not tell patients",
    contains=("montgomery", "shenzhen"),
    verified="loader",
)

CHESTX_DET = Schema(
    name="chestx-det",
    title="ChestX-Det (Lian et al. 2021)",
    image=("image",),
    required=None,
    derived_from="nih",
    verified="loader",
)

#: A text file with one image name a line, as NIH's train_val_list.txt; labels may follow.
IMAGE_LIST = Schema(name="image-list", title="a list of image names", image=("image",), required=None)
PATIENT_LIST = Schema(name="patient-list", title="a list of patients", image=("patient",), required=None)
FOLDER = Schema(
    name="folder",
    title="a folder of images, whose sub-folders are classes",
    image=("image",),
    required=None,
    findings="class",
    separators="",
)

#: The columns are those of `cxr_cli.data.dicom.table.COLUMNS`.
DICOM_FOLDER = Schema(
    name="dicom-folder",
    title="a folder of DICOM files, described by their headers",
    image=("image",),
    required=None,
    patient=("patient_id",),
    findings="class",
    separators="",
    age=("age",),
    sex=("sex",),
    view=("view_position",),
    other=("study_id", "sop_instance"),
)

SCHEMAS = (KERMANY, MONTGOMERY, SHENZHEN, TBX11K, CHESTX_DET)
FORMS = (IMAGE_LIST, PATIENT_LIST, FOLDER, DICOM_FOLDER)
