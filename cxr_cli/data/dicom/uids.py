"""SOP instance UIDs: which DICOM file is the image that a table names by its UID."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from cxr_cli.data.image_types import IMAGE_SUFFIXES, SUFFIXES

#: PS3.5 chapter 9: numbers without leading zeros, at most 64 characters in all. Three dots at least: 1.5 is a number.
_UID = re.compile(r"(?=.{8,64}$)[0-2](\.(0|[1-9]\d*)){3,}")
#: The file meta information, where the UID stands, takes a few hundred bytes.
_BEGINNING = 4096


def uid_of_name(name: str) -> str | None:
    """Return the UID that an image name is, with or without the ending of a DICOM file; None if it is none.

    Examples
    --------
    >>> uid_of_name("1.2.840.113619.2.5"), uid_of_name("1.2.840.113619.2.5.dcm"), uid_of_name("00000013_005.png")
    ('1.2.840.113619.2.5', '1.2.840.113619.2.5', None)
    """
    if name[1:2] != ".":
        return None
    for ending in SUFFIXES["DICOM"]:
        name = name.removesuffix(ending)
    return name if _UID.fullmatch(name) else None


def files_by_uid(files: Mapping[str, str], wanted: Iterable[str]) -> dict[str, list[str]]:
    """Find the files of some SOP instance UIDs.

    Parameters
    ----------
    files
        Places in the image folder, and the files there. Those that end as other types do are not looked into.
    wanted
        UIDs.

    Returns
    -------
    dict
        UID → places of the files that have it, sorted; UIDs without file are left out.
    """
    found: dict[str, list[str]] = {uid: [] for uid in wanted}
    for place in sorted(files):
        if os.path.splitext(place)[1].lower() in _OTHERS:
            continue
        uid = _uid_of_file(files[place])
        if uid in found:
            found[uid].append(place)
    return {uid: places for uid, places in found.items() if places}


_OTHERS = {*IMAGE_SUFFIXES, ".csv", ".txt", ".json", ".gz", ".zip"} - set(SUFFIXES["DICOM"])


def _uid_of_file(path: str) -> str:
    # Here, so that tables with missing images of other kinds load no decoders.
    from cxr_cli.data.dicom.container import is_dicom, read_sop_instance
    from cxr_cli.data.dicom.terms import DicomRefused

    try:
        with open(path, "rb", buffering=0) as stream:
            content = stream.read(_BEGINNING)
    except OSError:
        return ""
    if not is_dicom(content):
        return ""
    try:
        return read_sop_instance(content)
    except DicomRefused:
        return ""
