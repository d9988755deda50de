"""Data-set knowledge in one place: one module for each family of data sets, one `Schema` for each form of table.

To add a data set, write a `Schema` and put it into `SCHEMAS`. Nothing else in `cxr` knows a data set by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from cxr_cli.data.schemas import chexpert, covidx, names, nih, openi, own, padchest, vindr
from cxr_cli.data.schemas.names import DICOM_FOLDER, FOLDER, IMAGE_LIST, PATIENT_LIST
from cxr_cli.data.schemas.own import COURSE, OWN
from cxr_cli.data.schemas.schema import Schema, Source
from cxr_cli.data.schemas.vocabulary import CHEXPERT_PATHOLOGIES, NIH_PATHOLOGIES, NO_FINDING, fold
from cxr_cli.errors import LabelTableError, UsageError, argument, shown

__all__ = [
    "CHEXPERT_PATHOLOGIES",
    "COURSE",
    "DICOM_FOLDER",
    "FOLDER",
    "IMAGE_LIST",
    "LISTS",
    "NIH_PATHOLOGIES",
    "NO_FINDING",
    "OWN",
    "PATIENT_LIST",
    "SCHEMAS",
    "SCHEMA_NAMES",
    "Schema",
    "Source",
    "image_folders",
    "recognise",
    "related",
    "schema_named",
]

#: Every schema `read_labels` knows, the most particular first.
SCHEMAS: tuple[Schema, ...] = (
    *openi.SCHEMAS,
    *nih.SCHEMAS,
    *chexpert.SCHEMAS,
    *padchest.SCHEMAS,
    *vindr.SCHEMAS,
    *covidx.SCHEMAS,
    *names.SCHEMAS,
    *own.SCHEMAS,
)

#: What ``--schema`` takes.
SCHEMA_NAMES = tuple(schema.name for schema in SCHEMAS if schema.required is not None)
#: Schemas of text files without a header.
LISTS = (IMAGE_LIST.name, PATIENT_LIST.name, covidx.COVIDX.name)


def schema_named(name: str) -> Schema:
    """Return the schema of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    for schema in (*SCHEMAS, *names.FORMS):
        if schema.name == name:
            return schema
    known = SCHEMA_NAMES
    close = difflib.get_close_matches(name, known, n=1)
    raise UsageError(
        f"{argument('schema', shown(name))}: no such schema" + (f"; did you mean {close[0]}?" if close else ""),
        expected=f"one of {', '.join(known)}",
    )


def recognise(path: Path, header: Sequence[str], name: str | None = None) -> Schema:
    """Return the schema whose columns the header has, or the named one; `OWN` where none fits.

    Raises
    ------
    UsageError
        No schema has that name.
    LabelTableError
        The header lacks columns of the named schema.
    """
    if name is None:
        found = next((schema for schema in SCHEMAS if schema.fits(header)), None)
        if found is not None:
            return found
        return COURSE if COURSE.image[0] in header else OWN
    schema = schema_named(name)
    missing = [] if schema is OWN else schema.missing(header)
    if missing:
        names_ = ", ".join(shown(column) for column in header[:20]) + (", …" if len(header) > 20 else "")
        raise LabelTableError(
            f"{path}: line 1: the header does not fit schema {name}: {names_}",
            expected=f"the columns of {schema.title}; missing: {', '.join(missing)}",
            remedy=f"Leave out {argument('schema')} to have the columns recognised, or name the {argument('columns')}.",
        )
    return schema


def image_folders() -> tuple[str, ...]:
    """Return the names that data sets give their image folder."""
    return tuple(dict.fromkeys(folder for schema in SCHEMAS for folder in schema.image_folders))


def related(one: str, other: str) -> bool:
    """Whether two data sets, named by their schemas or patient namespaces, are known to have images in common.

    Examples
    --------
    >>> related("rsna", "nih"), related("tbx11k", "shenzhen"), related("nih", "chexpert")
    (True, True, False)
    """

    def origins(name: str) -> set[str]:
        found, waiting = set(), [name]
        while waiting:
            here = waiting.pop()
            if here in found:
                continue
            found.add(here)
            for schema in SCHEMAS:
                if schema.name == here:
                    more = (schema.patient_namespace, schema.derived_from, *schema.contains)
                    waiting.extend(item for item in more if item is not None)
        return found

    return one != other and bool(origins(one) & origins(other))


# `fold` belongs to whoever compares names with those of a schema.
__all__ += ["fold"]
