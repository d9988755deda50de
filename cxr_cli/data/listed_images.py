"""Images that come from no file of their own, such as those of a store, as a label table to compare with others."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from cxr_cli.data.files import describe_input
from cxr_cli.data.labels import LabelTable
from cxr_cli.data.records import Reading
from cxr_cli.data.schemas import recognise
from cxr_cli.data.tables import parse_table


def table_of_images(source: Path, images: Iterable[str], patients: Iterable[str]) -> LabelTable:
    """Return images and their patients as a label table, in which every label is 0.

    Parameters
    ----------
    source
        Where they come from, for messages.
    images, patients
        Their names and patient ids, equally many; "" where a patient is unknown.
    """
    from cxr_cli.data.label_reader import read_raw

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["Image", "PatientId", "Atelectasis"])
    table.writerows([image, patient, 0] for image, patient in zip(images, patients, strict=True))
    content = text.getvalue().encode("utf-8")
    raw = parse_table(source, content, describe_input(source, content))
    return read_raw(raw, recognise(source, raw.header), Reading(unsafe_ok=True))
