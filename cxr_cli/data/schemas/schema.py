"""`Schema`: all that the reader must know about one family of label tables, in one entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cxr_cli.data.schemas.vocabulary import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

#: What a blank label means: nothing is known, or the finding is absent.
Blank = Literal["unknown", "absent"]
#: What one row of the table describes; several boxes, or several readers, may describe one image.
Rows = Literal["images", "boxes", "readers"]


@dataclass(frozen=True)
class Source:
    """A further file of a data set that is joined to the label table.

    Attributes
    ----------
    title
        What people call it, for messages.
    required
        Columns by which the file is told from others.
    on
        Columns that both files share, and by which rows are matched.
    adds_images
        Whether each of its rows is an image of a row of the label table (as MIMIC's metadata, which name the images
        of a study); otherwise each of its rows describes one row of the label table.
    needed
        Whether the label table cannot be read without it.
    columns
        Its columns that are used; all others are left out.
    """

    title: str
    required: tuple[str, ...]
    on: tuple[str, ...]
    columns: tuple[str, ...]
    adds_images: bool = False
    needed: bool = False


@dataclass(frozen=True)
class Schema:
    """How one data set names its columns, and what their values mean.

    Header names are compared without regard to case, blanks, underscores and hyphens.

    Attributes
    ----------
    name, title
        What ``--schema`` takes, and what people call it.
    image
        Column of the image name (or relative path); the first of these that the table has.
    required
        Columns by which the schema is recognised, besides `image`. None: it is only recognised by name.
    patient
        Columns that may hold the patient id; empty where it stands in the image name, or nowhere.
    patient_namespace
        Within which numbering the patient ids hold: 13 in NIH's and 13 in CheXpert's are two people. None: a table
        of one's own, unless its image names are in the pattern of a data set.
    patient_in_name
        Regular expression that finds the patient id (its first group) in an image name of this data set.
    patients_unknown
        Why the table cannot tell patients, where that is so.
    findings
        Column that lists the findings of a row, or names one.
    separators
        Characters that separate findings in that column.
    pathologies
        The pathologies; None: those that the table has.
    renamed
        Columns or findings, and the pathologies as which they are read.
    not_findings
        Pathologies that may stand beside "No Finding", as CheXpert's support devices.
    ignored_findings
        Entries of the column of findings that are neither a pathology nor "No Finding".
    undefined_findings
        Entries of the column of findings which say that the labels of the row are unknown.
    blank
        Meaning of a blank label.
    uncertain
        The label value that means "uncertain".
    age, sex, view, follow_up, split
        Columns that may hold these.
    lateral
        Column that tells frontal from lateral images.
    reader
        Column that names the reader of a row, where several read one image.
    rows
        Content of one row.
    other
        Further columns known to the data set and not used.
    image_folders
        Names of the image folder as the data set ships it, beside the table.
    image_suffix
        Ending of the image files, where image names stand without it.
    sources
        Further files that can be joined.
    parse_labels
        Given the cells (one row per record, text), returns a column of labels for each pathology: float, 1, 0 or NaN.
    parse_ages
        Given the cells, returns ages in years; `age` then names the columns that it reads.
    name_image
        Given the cells, returns image names; `image` then names the columns that it reads.
    derived_from
        Name of the data set from which the images were taken, if known: its patients are in both.
    contains
        Other data sets whose images are part of this one.
    size
        What the whole published file holds, for people.
    verified
        How the header was verified: "file" (a published file), "loader" (public code that reads it).
    """

    name: str
    title: str
    image: tuple[str, ...]
    required: tuple[str, ...] | None = ()
    patient: tuple[str, ...] = ()
    patient_namespace: str | None = None
    patient_in_name: str | None = None
    patients_unknown: str | None = None
    findings: str | None = None
    separators: str = "|"
    pathologies: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    not_findings: tuple[str, ...] = ()
    ignored_findings: tuple[str, ...] = ()
    undefined_findings: tuple[str, ...] = ()
    blank: Blank = "unknown"
    uncertain: float | None = -1.0
    age: tuple[str, ...] = ()
    sex: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    follow_up: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    lateral: str | None = None
    reader: str | None = None
    rows: Rows = "images"
    other: tuple[str, ...] = ()
    image_folders: tuple[str, ...] = ()
    image_suffix: str = ""
    sources: tuple[Source, ...] = ()
    parse_labels: Callable[[pd.DataFrame], Mapping[str, Floats]] | None = None
    parse_ages: Callable[[pd.DataFrame], Floats] | None = None
    name_image: Callable[[pd.DataFrame], list[str]] | None = None
    derived_from: str | None = None
    contains: tuple[str, ...] = ()
    size: str = ""
    verified: Literal["file", "loader"] = "file"

    def missing(self, header: Sequence[str]) -> list[str]:
        """Return the columns without which a table is not of this schema."""
        present = {fold(name) for name in header}
        lacking = [] if any(fold(name) in present for name in self.image) else [self.image[0]]
        return lacking + [name for name in self.required or () if fold(name) not in present]

    def fits(self, header: Sequence[str]) -> bool:
        """Whether the header has the columns by which this schema is recognised."""
        return self.required is not None and bool(self.required) and not self.missing(header)

    @property
    def any_table(self) -> bool:
        """Whether this entry is for tables of one's own, whose columns are recognised by words."""
        return self.required == () and self.findings is None and self.parse_labels is None
