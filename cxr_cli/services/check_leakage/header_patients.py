"""Patients from the headers of DICOM images, for tables that name none."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxr_cli.data.account import Issue
from cxr_cli.data.folders import locate_images
from cxr_cli.data.image_types import may_be_dicom
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.patient_ids import normal_patient_id
from cxr_cli.data.schemas import schema_named

if TYPE_CHECKING:
    from cxr_cli.services.parallel import Workers

#: Kind of the issue that says where patients came from.
FROM_HEADERS = "patients-from-headers"


def with_header_patients(
    tables: Mapping[str, LabelTable], folders: Mapping[str, Path], *, executor: Executor | Workers | None = None
) -> dict[str, LabelTable]:
    """Fill in the patients of tables that name none, from ``PatientID`` in the headers of their DICOM images.

    Parameters
    ----------
    tables
        By name. A table that names any patient is returned as it is.
    folders
        Image folder of each table; tables without one are returned as they are.
    executor
        Where headers are read; None reads them here.

    Returns
    -------
    dict
        The tables; one whose patients come from headers has an issue of kind `FROM_HEADERS`.

    Raises
    ------
    ImageError
        A folder cannot be read.
    """
    return {
        name: _filled(table, folders[name], executor) if name in folders and _may_have_patients(table) else table
        for name, table in tables.items()
    }


def _may_have_patients(table: LabelTable) -> bool:
    """Whether headers may tell what the table does not; in some data sets they repeat the name of the image."""
    unknown = schema_named(table.schema).patients_unknown
    return table.names_images and not table.has_patients and unknown is None


def _filled(table: LabelTable, folder: Path, executor: Executor | Workers | None) -> LabelTable:
    located = locate_images(folder, table.images)
    found = [(row, path) for row, path in enumerate(located.paths) if path is not None and may_be_dicom(path)]
    if not found:
        return table
    from cxr_cli.services.images.dicom_headers import read_headers

    headers = read_headers([path for _, path in found], executor=executor)
    place: dict[str, int] = {}
    codes = np.full(table.n_images, -1, dtype=np.int64)
    for (row, path), header in zip(found, headers, strict=True):
        # RSNA's headers repeat the id of the image in the place of the patient's.
        if not isinstance(header, str) and header.patient_id and header.patient_id != path.stem:
            codes[row] = place.setdefault(normal_patient_id(header.patient_id), len(place))
    if not place:
        return table
    ids = tuple(place)
    n_known = int((codes >= 0).sum())
    said = Issue(
        FROM_HEADERS,
        f"the table names no patient: those of {n_known:,} of {table.n_images:,} images are from DICOM headers",
        n_known,
    )
    patients = pd.Categorical.from_codes(codes, pd.Index(ids, dtype="str"))
    return replace(
        table,
        frame=table.frame.assign(patient_id=patients),
        patient_codes=codes,
        patient_ids=ids,
        issues=(*table.issues, said),
        account=replace(
            table.account,
            patients="DICOM headers",
            n_rows_without_patient=table.n_images - n_known,
            why_without_patient={"no patient in the DICOM header": table.n_images - n_known}
            if n_known < table.n_images
            else {},
        ),
    )
