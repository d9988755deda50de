"""Whether equal patient ids in two tables mean the same patient."""

from __future__ import annotations

from cxr_cli.data.labels import LabelTable
from cxr_cli.data.schemas import SCHEMAS, related, schema_named
from cxr_cli.errors import Message, argument


def why_not_comparable(name: str, table: LabelTable, other_name: str, other: LabelTable) -> str | None:
    """Return why patient ids of two tables cannot be compared, in words; None if they can, or one has none.

    They can where both are numbered in one namespace: the same data set, or two tables of one's own, which are given
    as splits of one set. A list of patients belongs to the table that it is given with.
    """
    one, two = table.patient_namespace, other.patient_namespace
    if one == two or not table.has_patients or not other.has_patients:
        return None
    if (one is None and not table.names_images) or (two is None and not other.names_images):
        return None  # a list of patients shows no numbering: it is the other's
    if one is not None and two is not None:
        return f"{name} has the numbers of {_title(one)}, {other_name} those of {_title(two)}, different data sets"
    known, own, namespace = (name, other_name, one) if two is None else (other_name, name, two)
    return Message(
        f"{known} has the patient numbers of {_title(str(namespace))}, and nothing shows that {own} has them too; "
        f"{argument('same_patients', True)} says so"
    )


def is_unclear(table: LabelTable, other: LabelTable) -> bool:
    """Whether two tables whose ids cannot be compared may still have patients in common.

    Two known data sets that are not related do not: they number patients of different hospitals.
    """
    one, two = table.patient_namespace, other.patient_namespace
    return one != two and (one is None or two is None or relation(table, other) is not None)


def relation(table: LabelTable, other: LabelTable) -> str | None:
    """Return what is known of images that two data sets have in common, in words; None where nothing is."""
    names = {table.schema, table.patient_namespace} - {None}
    others = {other.schema, other.patient_namespace} - {None}
    for one in sorted(str(name) for name in names):
        for two in sorted(str(name) for name in others):
            if related(one, two):
                return f"{_title(one)} and {_title(two)} have images in common"
    return None


def origin(table: LabelTable) -> str | None:
    """Return the data set whose patients a table's images show, by name, where the table itself does not name them."""
    source = schema_named(table.schema).derived_from
    named = [schema for schema in SCHEMAS if source is not None and source in (schema.name, schema.patient_namespace)]
    if table.has_patients or source is None or not any(schema.patient_namespace for schema in named):
        return None
    return _title(source)


def _title(name: str) -> str:
    """Return a short name for people of a data set or namespace."""
    named = [schema for schema in SCHEMAS if schema.name == name]
    for schema in (*named, *(schema for schema in SCHEMAS if schema.patient_namespace == name)):
        return schema.title.partition(" (")[0].partition(",")[0]
    return "the map of patients" if name == "map" else name
