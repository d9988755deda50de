"""Headers of DICOM files: patient, view, storage; read without the pixels, a few kilobytes a file."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_cli.data.dicom.container import Incomplete, Opened, is_dicom, open_dicom
from cxr_cli.data.dicom.decoders import syntax_name
from cxr_cli.data.dicom.stored import text
from cxr_cli.data.dicom.terms import DicomRefused
from cxr_cli.data.files import unreadable
from cxr_cli.data.image_types import INSTALL_DICOM
from cxr_cli.data.images import MAX_FILE_BYTES
from cxr_cli.errors import ImageError, shown

#: Enough for nearly every header; one that is longer (lookup tables, icons) is read again.
_FIRST_BYTES = 1 << 14
_MORE_BYTES = 1 << 20

#: Tags that name people or tell when they were born, by the keywords of the standard. Patient ID is not among them:
#: data sets put their pseudonyms there.
PATIENT_DATA = {
    "PatientName": 0x00100010,
    "PatientBirthDate": 0x00100030,
    "OtherPatientIDs": 0x00101000,
    "OtherPatientNames": 0x00101001,
    "PatientBirthName": 0x00101005,
    "PatientAddress": 0x00101040,
    "PatientMotherBirthName": 0x00101060,
    "PatientTelephoneNumbers": 0x00102154,
    "ReferringPhysicianName": 0x00080090,
    "PerformingPhysicianName": 0x00081050,
    "OperatorsName": 0x00081070,
}
_TAGS = {
    "SOPInstanceUID": 0x00080018,
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "PatientID": 0x00100020,
    "PatientSex": 0x00100040,
    "PatientAge": 0x00101010,
    "ImagerPixelSpacing": 0x00181164,
    "ViewPosition": 0x00185101,
    "StudyInstanceUID": 0x0020000D,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "BurnedInAnnotation": 0x00280301,
    "WindowCenter": 0x00281050,
    "WindowWidth": 0x00281051,
    "RescaleSlope": 0x00281053,
    "ModalityLUTSequence": 0x00283000,
    "VOILUTSequence": 0x00283010,
    "ViewCodeSequence": 0x00540220,
    "PresentationLUTShape": 0x20500020,
}
_ALL_TAGS = (*_TAGS.values(), *PATIENT_DATA.values())
#: Names that say that there is no name.
_NO_NAME = re.compile(r"(?i)\W*(anon\w*|none|unknown|removed|deidentified|de-identified|xxx*|0*|na|n/a)\W*")
#: View positions that look at the chest from the side, and codes of the view for them (PS3.16 CID 4010).
_LATERAL = {"LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "LEFT LATERAL", "RIGHT LATERAL"}


@dataclass(frozen=True)
class DicomHeader:
    """The tags of one file that matter to a data set; "" where the file has none.

    Attributes
    ----------
    sop_instance, study
        UIDs of the image and of its study.
    patient_id, sex, age
        As written: "p17", "F", "058Y".
    view
        View position, or the meaning of the view code.
    modality, manufacturer
        As written.
    photometric, bits
        Photometric interpretation; "12 of 16" bits stored of those allocated.
    height, width
        In pixels; 0 where unknown.
    window
        "centre/width" of the first window, "LUT" for a VOI LUT, "" for none.
    presentation_shape
        PresentationLUTShape.
    has_rescale
        A rescale slope or a modality LUT.
    pixel_spacing
        "0.143" or "0.143 × 0.15" mm.
    transfer_syntax
        Its short name.
    has_pixels
        Whether there are pixel data.
    n_frames
        Number of frames.
    is_burnt_in
        The file declares annotations burnt into its pixels.
    patient_data
        Keywords of `PATIENT_DATA` that are filled. Their values are not kept.
    """

    sop_instance: str
    study: str
    patient_id: str
    sex: str
    age: str
    view: str
    modality: str
    manufacturer: str
    photometric: str
    bits: str
    height: int
    width: int
    window: str
    presentation_shape: str
    has_rescale: bool
    pixel_spacing: str
    transfer_syntax: str
    has_pixels: bool
    n_frames: int
    is_burnt_in: bool
    patient_data: tuple[str, ...]

    @property
    def is_lateral(self) -> bool:
        """Whether the header declares a lateral view."""
        view = self.view.upper()
        return view in _LATERAL or ("LATERAL" in view and "DECUBITUS" not in view)


def read_dicom_header(path: Path | str) -> DicomHeader:
    """Read the header of a DICOM file.

    Raises
    ------
    ImageError
        The file cannot be read, is not DICOM, or its header is damaged; or pydicom is not installed.
    """
    try:
        return describe(_opened(path))
    except OSError as error:
        reason = unreadable(Path(path), error)
        raise ImageError(reason.what, remedy=reason.remedy) from error
    except ImportError as error:
        raise ImageError(f"{path}: is DICOM; to read it, run {INSTALL_DICOM}") from error
    except DicomRefused as error:
        raise ImageError(f"{path}: cannot be decoded as DICOM: {shown(str(error), 200)}") from error


def _opened(path: Path | str) -> Opened:
    # No link is followed and no pipe waited for: where an image lies was decided when its folder was searched.
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path}: is not a file", expected="an image file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(f"{path}: is {status.st_size:,} bytes", expected=f"at most {MAX_FILE_BYTES:,}")
        content = b""
        for size in (_FIRST_BYTES, _MORE_BYTES, MAX_FILE_BYTES):
            content += os.read(descriptor, min(size, status.st_size) - len(content))
            if not is_dicom(content):
                raise ImageError(f"{path}: is not DICOM: 'DICM' does not stand at byte 128")
            try:
                return open_dicom(content, _ALL_TAGS, is_whole=len(content) >= status.st_size)
            except Incomplete:
                continue
        raise DicomRefused("truncated", "the file became shorter while it was read")
    finally:
        os.close(descriptor)


def describe(opened: Opened) -> DicomHeader:
    """Collect what matters from an opened file."""
    dataset = opened.dataset
    value = {
        keyword: _text(dataset, keyword, tag) for keyword, tag in _TAGS.items() if not keyword.endswith("Sequence")
    }
    allocated, stored = value["BitsAllocated"], value["BitsStored"]
    centre, width = value["WindowCenter"], value["WindowWidth"]
    window = f"{_short(centre)}/{_short(width)}" if centre and width else ""
    return DicomHeader(
        sop_instance=value["SOPInstanceUID"] or opened.sop_instance,
        study=value["StudyInstanceUID"],
        patient_id=value["PatientID"],
        sex=value["PatientSex"],
        age=value["PatientAge"],
        view=value["ViewPosition"] or _view_of_code(dataset),
        modality=value["Modality"],
        manufacturer=value["Manufacturer"],
        photometric=value["PhotometricInterpretation"],
        bits=f"{stored} of {allocated}" if stored and allocated else "",
        height=_whole(value["Rows"]),
        width=_whole(value["Columns"]),
        window="LUT" if _has_items(dataset, "VOILUTSequence") else window,
        presentation_shape=value["PresentationLUTShape"],
        has_rescale=bool(value["RescaleSlope"]) or _has_items(dataset, "ModalityLUTSequence"),
        pixel_spacing=_spacing(dataset),
        transfer_syntax=syntax_name(opened.transfer_syntax),
        has_pixels=opened.pixel_data is not None,
        n_frames=_whole(value["NumberOfFrames"]) or 1,
        is_burnt_in=value["BurnedInAnnotation"].upper() == "YES",
        patient_data=tuple(
            keyword
            for keyword, tag in PATIENT_DATA.items()
            if _tells_something(_text(dataset, keyword, tag), value["PatientID"])
        ),
    )


def _text(dataset: Any, keyword: str, tag: int) -> str:
    """Return the first value of an element as text; plain ASCII is read without pydicom's conversion, which is slow."""
    if tag not in dataset:
        return ""
    raw = dataset.get_item(tag)
    content = getattr(raw, "value", None)
    if isinstance(content, bytes):
        if getattr(raw, "VR", None) in ("US", None) and len(content) == 2 and keyword in _NUMBERS:
            return str(int.from_bytes(content, "little" if raw.is_little_endian else "big"))
        if content.isascii() and keyword not in _NUMBERS:
            return content.partition(b"\\")[0].decode("ascii").strip(" \0")
    return text(dataset, keyword)


_NUMBERS = {"SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored"}


def _short(number: str) -> str:
    try:
        return f"{float(number):g}"
    except ValueError:
        return number


def _whole(number: str) -> int:
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


def _has_items(dataset: Any, keyword: str) -> bool:
    if _TAGS[keyword] not in dataset:
        return False
    try:
        return bool(dataset[_TAGS[keyword]].value)
    except MemoryError:
        raise
    except Exception:  # pydicom converts on access; a damaged sequence is none
        return False


def _view_of_code(dataset: Any) -> str:
    if not _has_items(dataset, "ViewCodeSequence"):
        return ""
    return text(dataset[_TAGS["ViewCodeSequence"]].value[0], "CodeMeaning")


def _spacing(dataset: Any) -> str:
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        if _TAGS[keyword] not in dataset:
            continue
        content = getattr(dataset.get_item(_TAGS[keyword]), "value", None)
        if not isinstance(content, bytes) or not content.isascii():
            continue
        try:
            numbers = [f"{float(part):.3g}" for part in content.decode("ascii").strip(" \0").split("\\")]
        except ValueError:
            continue
        return " × ".join(dict.fromkeys(numbers)) if len(numbers) == 2 else ""
    return ""


def _tells_something(value: str, patient_id: str) -> bool:
    return bool(value) and value != patient_id and not _NO_NAME.fullmatch(value)
