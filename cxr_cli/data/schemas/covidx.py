"""The lists of COVIDx: patient, file, class and source in a line, separated by blanks (Wang et al. 2020)."""

from __future__ import annotations

from cxr_cli.data.schemas.schema import Schema

#: Patients are numbered by each source that COVIDx was put together from; with the source they are told apart.
COVIDX = Schema(
    name="covidx",
    title="the lists of COVIDx (train_COVIDx9A.txt)",
    image=("filename",),
    required=None,
    patient=("patient_id",),
    patient_namespace="covidx",
    findings="class",
    separators="",
    renamed={"positive": "COVID-19"},
    other=("source",),
    derived_from="rsna",
    verified="loader",
)

SCHEMAS = (COVIDX,)
