"""PadChest of the San Juan hospital in Alicante (Bustos et al. 2020, Medical Image Analysis 66: 101797)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxr_cli.data.schemas.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


def _ages(cells: pd.DataFrame) -> Any:
    """Return the year of the study minus the year of birth."""
    import numpy as np
    import pandas as pd

    birth = pd.to_numeric(cells["PatientBirth"].astype("str").str[:4], errors="coerce").to_numpy(dtype=np.float64)
    year = pd.to_numeric(cells["StudyDate_DICOM"].astype("str").str[:4], errors="coerce").to_numpy(dtype=np.float64)
    return year - birth


PADCHEST = Schema(
    name="padchest",
    title="PadChest (PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv)",
    image=("ImageID",),
    required=("PatientID", "Labels", "StudyDate_DICOM"),
    patient=("PatientID",),
    patient_namespace="padchest",
    findings="Labels",
    separators=",",
    ignored_findings=("",),
    undefined_findings=("exclude", "unchanged", "suboptimal study"),
    age=("PatientBirth", "StudyDate_DICOM"),
    parse_ages=_ages,
    sex=("PatientSex_DICOM",),
    view=("Projection", "ViewPosition_DICOM"),
    other=(
        *("ImageDir", "StudyID", "Modality_DICOM", "Manufacturer_DICOM", "PhotometricInterpretation_DICOM"),
        *("PixelRepresentation_DICOM", "PixelAspectRatio_DICOM", "SpatialResolution_DICOM", "BitsStored_DICOM"),
        *("WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM", "Columns_DICOM", "XRayTubeCurrent_DICOM"),
        *("Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime", "RelativeXRayExposure_DICOM", "ReportID", "Report"),
        *("MethodLabel", "MethodProjection", "Pediatric", "Localizations", "LabelsLocalizationsBySentence"),
        *("labelCUIS", "LocalizationsCUIS", "ViewPosition_DICOM"),
    ),
    verified="loader",
)

SCHEMAS = (PADCHEST,)
