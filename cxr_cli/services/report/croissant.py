"""Croissant metadata of the label tables: what a catalogue of data sets wants to know.

References
----------
Croissant format specification 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from cxr_cli.services.report.collect import Found

if TYPE_CHECKING:
    from cxr_cli.services.explore.result import ExploreResult

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
#: Beginnings of pandas' names of types, and Croissant's.
_TYPES = {"int": "sc:Integer", "float": "sc:Float", "bool": "sc:Boolean"}


def croissant(run: Found, name: str) -> dict[str, Any] | None:
    """Return the metadata of the table that a run of `explore` read; None if it read none.

    Parameters
    ----------
    run
        A run of `explore`.
    name
        Of the data set; characters other than letters, digits, "-" and "_" become "-".
    """
    if run.command != "explore" or not run.inputs:
        return None
    result = cast("ExploreResult", run.result)
    table = run.inputs[0]
    file = re.split(r"[/\\]", table.path)[-1]
    encoding = {"gz": "application/gzip", "zip": "application/zip"}.get(file.rpartition(".")[2], "text/csv")
    patients = "" if result.patients is None else f" of {result.patients.n_patients:,} patients"
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"labels/{column.name}",
            "name": column.name,
            "dataType": next((kind for name, kind in _TYPES.items() if column.type.startswith(name)), "sc:Text"),
            "source": {"fileObject": {"@id": "table"}, "extract": {"column": column.name}},
        }
        for column in result.table.columns
        if column.name
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "chest-x-rays",
        "description": (
            f"Labels of {result.table.n_images:,} chest X-rays{patients}: "
            f"{', '.join(row.pathology for row in result.pathologies)}."
        ),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "table",
                "name": file,
                "contentUrl": file,
                "contentSize": f"{table.size} B",
                "encodingFormat": encoding,
                "sha256": table.sha256,
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "labels", "name": "labels", "field": fields}],
    }
