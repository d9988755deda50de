"""Tables of one's own, whose columns are recognised by words (see `cxr_cli.data.schemas.vocabulary`)."""

from __future__ import annotations

from cxr_cli.data.schemas.schema import Schema

#: Names of image folders that are looked for beside any table.
IMAGE_FOLDERS = ("images-small", "images")

#: The course's tables: ``Image``, ``PatientId`` and one column per pathology.
COURSE = Schema(
    name="course",
    title="one column per pathology (AI for Medical Diagnosis: train-small.csv)",
    image=("Image",),
    patient=("PatientId",),
    image_folders=IMAGE_FOLDERS,
)

OWN = Schema(
    name="own",
    title="a table of your own, with columns recognised by words",
    image=(),
    image_folders=IMAGE_FOLDERS,
)

SCHEMAS = (COURSE, OWN)
