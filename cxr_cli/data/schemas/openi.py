"""The chest collection of Indiana University in OpenI (Demner-Fushman et al. 2016, JAMIA 23: 304-310)."""

from __future__ import annotations

from cxr_cli.data.schemas.schema import Schema

OPENI = Schema(
    name="openi",
    title="the DICOM metadata of OpenI's chest collection",
    size="7,469 images",
    image=("imageid",),
    required=("Accession Number", "Patient ID", "Photometric Interpretation"),
    patient=("Patient ID",),
    patient_namespace="openi",
    pathologies=(),
    sex=("Patient's Sex",),
    view=("View Position",),
)

SCHEMAS = (OPENI,)
