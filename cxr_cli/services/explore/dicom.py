"""Count the tags in headers of DICOM images, and warn of those that matter before the images are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_cli.data.image_types import SUFFIXES, may_be_dicom
from cxr_cli.services.parallel import Workers, local_workers

if TYPE_CHECKING:
    from cxr_cli.data.dicom.headers import DicomHeader

#: Modalities of plain radiographs: computed and digital radiography, and digitised ones (PS3.3 C.7.3.1.1.1).
RADIOGRAPHS = ("CR", "DX", "RG")
#: More headers than this are read by several processes, whose start takes about as long as so many headers.
_MANY = 2000
#: Values that may differ in every file (spacings, windows) are counted whole and listed up to this number.
_N_LISTED = 20


@dataclass(frozen=True)
class TagFacts:
    """One tag over all files.

    Attributes
    ----------
    tag
        Its name.
    values
        Values, and how many files have each, the commonest first; "" where a file has none. At most 20.
    n_values
        Distinct values.
    """

    tag: str
    values: Mapping[str, int]
    n_values: int


@dataclass(frozen=True)
class DicomFacts:
    """The headers of the DICOM images that were found.

    Attributes
    ----------
    n_files
        DICOM files.
    n_unreadable
        Files whose header cannot be read.
    unreadable
        Why, and how many files each.
    tags
        The tags that matter for what becomes of an image.
    n_lateral
        Files whose view is from the side.
    n_other_modality
        Files of a modality other than CR, DX and RG.
    n_without_pixels
        Files without pixel data: reports, presentation states, directories.
    n_several_frames
        Files of several frames.
    n_burnt_in
        Files that declare annotations burnt into the pixels.
    n_patient_data
        Files with names, birth dates and the like.
    patient_data
        Keywords of the standard, and how many files have each filled. Values are not kept.
    window
        With which the images were looked at: "centre,width" or "full"; None is that of each file.
    """

    n_files: int
    n_unreadable: int
    unreadable: Mapping[str, int]
    tags: tuple[TagFacts, ...]
    n_lateral: int
    n_other_modality: int
    n_without_pixels: int
    n_several_frames: int
    n_burnt_in: int
    n_patient_data: int
    patient_data: Mapping[str, int]
    window: str | None


#: What is counted, by name: shown in this order.
_TAGS: dict[str, Callable[[DicomHeader], str]] = {
    "modality": lambda header: header.modality,
    "view": lambda header: header.view,
    "photometric interpretation": lambda header: header.photometric,
    "bits stored": lambda header: header.bits,
    "window": lambda header: header.window,
    "presentation LUT shape": lambda header: header.presentation_shape,
    "rescale": lambda header: "yes" if header.has_rescale else "",
    "transfer syntax": lambda header: header.transfer_syntax,
    "manufacturer": lambda header: header.manufacturer,
    "pixel spacing (mm)": lambda header: header.pixel_spacing,
}


def survey_headers(
    paths: Sequence[Path], *, executor: Executor | Workers | None = None, window: str | None = None
) -> DicomFacts | None:
    """Read the headers of the DICOM files among some images, and count their tags.

    Parameters
    ----------
    paths
        Image files. One whose name ends as that of another type is passed over.
    executor
        Where they are read; None reads them here, many of them in processes on this machine.
    window
        Stands in the result.

    Returns
    -------
    DicomFacts or None
        None if none of them is DICOM.
    """
    candidates = [path for path in paths if may_be_dicom(path)]
    if not candidates:
        return None
    from cxr_cli.services.images.dicom_headers import read_headers

    with ExitStack() as stack:
        if executor is None and len(candidates) > _MANY:
            executor = stack.enter_context(local_workers())
        headers = read_headers(candidates, executor=executor)
    return _facts(candidates, headers, window)


def _facts(paths: Sequence[Path], headers: Sequence[DicomHeader | str], window: str | None) -> DicomFacts | None:
    read = [header for header in headers if not isinstance(header, str)]
    named = SUFFIXES["DICOM"]
    failed = Counter(
        header
        for path, header in zip(paths, headers, strict=True)
        if isinstance(header, str) and path.suffix.lower() in named
    )
    if not read and not failed:
        return None
    tags = []
    for tag, value in _TAGS.items():
        values = Counter(value(header) for header in read)
        if set(values) - {""}:
            ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
            tags.append(TagFacts(tag, dict(ordered[:_N_LISTED]), len(values)))
    filled = Counter(keyword for header in read for keyword in header.patient_data)
    return DicomFacts(
        n_files=len(read) + sum(failed.values()),
        n_unreadable=sum(failed.values()),
        unreadable=dict(sorted(failed.items(), key=lambda item: (-item[1], item[0]))[:_N_LISTED]),
        tags=tuple(tags),
        n_lateral=sum(header.is_lateral for header in read),
        n_other_modality=sum(bool(header.modality) and header.modality not in RADIOGRAPHS for header in read),
        n_without_pixels=sum(not header.has_pixels for header in read),
        n_several_frames=sum(header.n_frames > 1 for header in read),
        n_burnt_in=sum(header.is_burnt_in for header in read),
        n_patient_data=sum(bool(header.patient_data) for header in read),
        patient_data=dict(filled.most_common()),
        window=window,
    )
