"""Which column is which: by the schema of a data set, by words in a table of one's own, or by the user's choice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxr_cli.data.account import ColumnUse, Use
from cxr_cli.data.schemas import Schema
from cxr_cli.data.schemas.vocabulary import BOXES, KNOWN_PATHOLOGIES, NOT_LABELS, ROLES, fold, is_no_finding
from cxr_cli.errors import LabelTableError, Message, UsageError, argument, shown

#: What ``--columns`` can name; ``labels`` and ``negative`` take several, joined by +.
COLUMN_KEYS = ("image", "patient", "labels", "age", "sex", "view", "split", "reader", "negative")
_IMAGE_NAME = re.compile(r".+\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|webp|gif)(?:\.gz)?", re.IGNORECASE)
_PREDICTION = re.compile(
    r"(?:prob|pred|probability|score|logit)[ _-](.+)|(.+)[ _-](?:pred|prob|probability|score|logit)", re.I
)


def parse_columns(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``image=filename,patient=subject,labels=Mass+Nodule``.

    Raises
    ------
    UsageError
        An entry is not KEY=NAME, a key is unknown, or stands twice.

    Examples
    --------
    >>> parse_columns("image=filename,labels=Mass+Nodule")
    {'image': ('filename',), 'labels': ('Mass', 'Nodule')}
    """
    found: dict[str, tuple[str, ...]] = {}
    for entry in text.split(","):
        key, sign, names = entry.partition("=")
        key = key.strip().casefold()
        if not sign or not names.strip():
            raise UsageError(
                f"{argument('columns')} {shown(text)}: '{shown(entry)}' is not KEY=NAME",
                expected="such as image=filename,patient=subject,labels=Mass+Nodule",
            )
        if key not in COLUMN_KEYS:
            close = difflib.get_close_matches(key, COLUMN_KEYS, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(
                f"{argument('columns')} {shown(text)}: '{shown(key)}' is not one of the keys{hint}",
                expected=", ".join(COLUMN_KEYS),
            )
        if key in found:
            raise UsageError(
                f"{argument('columns')} {shown(text)}: {key} stands twice", expected="each key once, names joined by +"
            )
        found[key] = tuple(name.strip() for name in names.split("+"))
    return found


@dataclass
class Roles:
    """The columns of one table, by what they are for.

    Attributes
    ----------
    schema
        As which the table is read.
    image
        Column of image names; None where `Schema.name_image` makes them.
    patient, sex, view, lateral, split, follow_up, reader
        Columns of these; None where there is none.
    ages
        Column of ages, or the columns from which the schema computes them.
    findings
        Column that lists or names findings.
    labels
        Columns of labels, and the pathology as which each is read.
    nothing
        Columns that are 1 where there is no finding.
    open
        Columns of which only their values tell whether they hold labels.
    candidates
        Columns that may name the findings of a row, the most likely first.
    said
        Whether the user named the columns of labels.
    negative
        Further names of "No Finding".
    boxes
        Whether a row is a box.
    uses
        What became of the columns that are settled.
    """

    schema: Schema
    image: str | None = None
    patient: str | None = None
    sex: str | None = None
    view: str | None = None
    lateral: str | None = None
    split: str | None = None
    follow_up: str | None = None
    reader: str | None = None
    ages: tuple[str, ...] = ()
    findings: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    nothing: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)
    said: bool = False
    negative: tuple[str, ...] = ()
    boxes: bool = False
    uses: dict[str, ColumnUse] = field(default_factory=dict)

    def settle(self, name: str, use: Use, note: str | None = None) -> None:
        """Note how a column was read."""
        self.uses[name] = ColumnUse("" if name.startswith("Unnamed: ") else name, use, note)


Values = Callable[[str], Sequence[str]]
_NOT_NAMED = Message(f"not among the columns named with {argument('columns')}")


def labels_are(name: str) -> str:
    """Say the argument that makes labels of a column."""
    return argument("columns", f"labels={shown(name, 100)}")


def assign(
    path: Path, names: Sequence[str], schema: Schema, said: Mapping[str, tuple[str, ...]] | None, values: Values
) -> Roles:
    """Find out which column is which.

    Parameters
    ----------
    path
        The table, for messages.
    names
        Its columns; those without a name are called ``Unnamed: PLACE``.
    schema
        As which it is read.
    said
        Columns that the user named, see `parse_columns`.
    values
        Returns the distinct texts of a column; only asked where names alone do not decide.

    Raises
    ------
    UsageError
        The user names a column that the table does not have.
    LabelTableError
        The image column cannot be told, or two columns could name the patient.
    """
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(fold(name), name)
    roles = Roles(schema)
    for name in names:
        if name.startswith("Unnamed: "):
            roles.settle(name, "index" if name == names[0] else "empty")
    if schema.any_table:
        _by_words(path, names, roles, said or {}, values)
    else:
        _by_schema(names, folded, roles)
    if said:
        _as_said(path, names, folded, roles, said)
    _settle_rest(names, roles)
    return roles


def _by_schema(names: Sequence[str], folded: Mapping[str, str], roles: Roles) -> None:
    schema = roles.schema

    def first(candidates: Sequence[str]) -> str | None:
        return next((folded[fold(name)] for name in candidates if fold(name) in folded), None)

    if schema.name_image is None:
        roles.image = first(schema.image)
    roles.patient, roles.sex = first(schema.patient), first(schema.sex)
    roles.view, roles.follow_up, roles.split = first(schema.view), first(schema.follow_up), first(schema.split)
    roles.lateral = first((schema.lateral,)) if schema.lateral else None
    roles.reader = first((schema.reader,)) if schema.reader else None
    roles.findings = first((schema.findings,)) if schema.findings else None
    found = [column for column in (first((name,)) for name in schema.age) if column]
    roles.ages = tuple(found if schema.parse_ages else found[:1])
    roles.boxes = schema.rows == "boxes"
    taken = {roles.image, roles.patient, roles.sex, roles.view, roles.lateral, roles.split, roles.follow_up}
    taken |= {roles.reader, roles.findings, *roles.ages}
    other = {fold(name) for name in schema.other}
    one_hot = schema.findings is None and schema.parse_labels is None
    known = {fold(name): name for name in schema.pathologies or ()}
    known |= {fold(key): value for key, value in schema.renamed.items()}
    for name in names:
        if name in taken or name in roles.uses:
            continue
        key = fold(name)
        if one_hot and key in known:
            roles.labels[name] = known[key]
        elif one_hot and schema.pathologies != () and is_no_finding(name):
            roles.nothing.append(name)
        elif one_hot and schema.pathologies is None:
            roles.open.append(name)
        elif key in other or key in {fold(column) for column in schema.image}:
            roles.settle(name, "box" if _is_box(key) else "ignored", "known to this data set")
        elif schema.parse_labels is not None and key in {fold(column) for column in schema.required or ()}:
            roles.settle(name, "findings")


def _is_box(key: str) -> bool:
    return any(key in columns for columns in BOXES) or key in ("h", "bbox")


def _by_words(
    path: Path, names: Sequence[str], roles: Roles, said: Mapping[str, tuple[str, ...]], values: Values
) -> None:
    schema = roles.schema
    row = next((name for name in names if is_image_name(name)), None)
    if row is not None:
        raise LabelTableError(
            f"{path}: line 1: names an image, {shown(row)}, so it is not a header",
            expected="the names of the columns",
            remedy="Add a header line such as Image,Mass; a list of images alone needs the ending .txt.",
        )
    by_role: dict[str, list[str]] = {role: [] for role in ROLES}
    keys = {name: fold(name) for name in names if name not in roles.uses}
    for role, words in ROLES.items():
        order = {word: place for place, word in enumerate(words)}
        found = sorted((order[key], name) for name, key in keys.items() if key in order)
        by_role[role] = [name for _, name in found]
    if "image" not in said:
        roles.image = next((name for name in schema.image if name in names), None) or _image(
            path, names, by_role["image"], values
        )
    roles.patient = None
    if "patient" not in said:
        roles.patient = next((name for name in schema.patient if name in names), None) or _patient(
            path, [name for name in by_role["patient"] if name != roles.image], values
        )
    for role in ("sex", "view", "lateral", "split", "follow_up", "reader"):
        left = [name for name in by_role[role] if name not in (roles.image, roles.patient)]
        setattr(roles, role, left[0] if left else None)
    if roles.lateral and not roles.view:
        roles.view, roles.lateral = roles.lateral, None
    roles.ages = tuple(by_role["age"][:1])
    taken = {roles.image, roles.patient, roles.sex, roles.view, roles.lateral, roles.split, roles.follow_up}
    taken |= {roles.reader, *roles.ages}
    box = next((columns for columns in BOXES if set(columns) <= set(keys.values())), None)
    for name, key in keys.items():
        if name in taken:
            continue
        if box is not None and (key in box or key == "h"):
            roles.settle(name, "box")
            roles.boxes = True
        elif key in ROLES["index"]:
            roles.settle(name, "index")
        elif key in ROLES["findings"]:
            continue
        elif is_no_finding(name):
            roles.nothing.append(name)
        elif key in KNOWN_PATHOLOGIES:
            roles.labels[name] = name
        elif _is_prediction(name):
            roles.settle(name, "prediction", "a predicted probability, not a label")
        elif any(key in words for words in ROLES.values()):
            roles.settle(name, "ignored", "another column is used for this")
        elif key in NOT_LABELS or key.endswith(("date", "time", "uid", "comment", "comments", "notes", "url", "path")):
            roles.settle(name, "ignored", "not a label")
        else:
            roles.open.append(name)
    roles.candidates = [name for name in by_role["findings"] if name not in taken]


def _is_prediction(name: str) -> bool:
    match = _PREDICTION.fullmatch(name)
    if match is None:
        return False
    inner = match[1] or match[2]
    return fold(inner) in KNOWN_PATHOLOGIES or is_no_finding(inner)


def is_prediction(name: str) -> bool:
    """Whether a column is named as the predicted probabilities of a finding: ``prob_Mass``, ``Mass_pred``."""
    return _is_prediction(name)


def _image(path: Path, names: Sequence[str], candidates: Sequence[str], values: Values) -> str:
    """Choose the image column: by its name, and where several could be, by values that look like file names."""
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        by_value = [name for name in names if not name.startswith("Unnamed: ") and _all_images(values(name))]
        if len(by_value) == 1:
            return by_value[0]
        candidates = by_value
    else:
        with_files = [name for name in candidates if _all_images(values(name))]
        if len(with_files) == 1:
            return with_files[0]
        if not with_files and {fold(name) for name in candidates} <= {"imageid", "dicomid", "image", "imageindex"}:
            return candidates[0]
    figures = None if candidates else _figures(names, values)
    if figures is not None:
        raise LabelTableError(
            f"{path}: is a table of figures by pathology (column {shown(figures)} names pathologies): metrics or "
            "thresholds, not labels",
            expected="a label table, with a column of image names",
            remedy="Give the table of true labels.",
        )
    listed = ", ".join(shown(name) for name in names[:20]) + (", …" if len(names) > 20 else "")
    if candidates:
        listed_ = ", ".join(shown(name) for name in candidates)
        raise LabelTableError(
            f"{path}: line 1: {len(candidates)} columns could name the image: {listed_}",
            expected="one",
            remedy=f"Say which with {argument('columns')} image={candidates[0]}.",
        )
    raise LabelTableError(
        f"{path}: line 1: no column names the image: {listed}",
        expected="a column such as Image, filename or path, or one whose cells are names of image files",
        remedy=f"Say which with {argument('columns')} image=NAME.",
    )


def _figures(names: Sequence[str], values: Values) -> str | None:
    """Return the column whose cells are names of pathologies, each once, if there is one."""
    for name in names[:3]:
        texts = [text for text in values(name) if text.strip()]
        if texts and all(fold(text) in KNOWN_PATHOLOGIES or is_no_finding(text) for text in texts):
            return name
    return None


def _all_images(texts: Sequence[str]) -> bool:
    filled = [text.strip() for text in texts if text.strip()]
    return bool(filled) and all(_IMAGE_NAME.fullmatch(text) for text in filled)


def is_image_name(text: str) -> bool:
    """Whether a text ends as the name of an image file does.

    Examples
    --------
    >>> is_image_name("a b.png"), is_image_name("Image Index")
    (True, False)
    """
    return _IMAGE_NAME.fullmatch(text) is not None


def _patient(path: Path, candidates: Sequence[str], values: Values) -> str | None:
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    first = set(values(candidates[0]))
    other = next((name for name in candidates[1:] if set(values(name)) != first), None)
    if other is None:
        return candidates[0]
    raise LabelTableError(
        f"{path}: line 1: columns {shown(candidates[0])} and {shown(other)} could both name the patient",
        expected="one",
        remedy=f"Say which with {argument('columns')} patient={candidates[0]}, or leave one out.",
    )


def _as_said(
    path: Path,
    names: Sequence[str],
    folded: Mapping[str, str],
    roles: Roles,
    said: Mapping[str, tuple[str, ...]],
) -> None:
    """Put the columns that the user named in the place of those that were recognised."""

    def column(key: str, name: str) -> str:
        if name in names:
            return name
        if fold(name) in folded:
            return folded[fold(name)]
        close = difflib.get_close_matches(fold(name), list(folded)[:500], n=1, cutoff=0.6)
        hint = f"; did you mean {shown(folded[close[0]])}?" if close else ""
        listed = ", ".join(shown(item) for item in names[:20]) + (", …" if len(names) > 20 else "")
        raise UsageError(
            f"{argument('columns')} {key}={shown(name)}: {path} has no such column{hint}", expected=f"one of {listed}"
        )

    used: dict[str, str] = {}
    for key, given in said.items():
        if key == "negative":
            roles.negative = given
            continue
        if key != "labels" and len(given) > 1:
            raise UsageError(f"{argument('columns')} {key}={'+'.join(given)}: {len(given)} columns", expected="one")
        columns = [column(key, name) for name in given]
        for name in columns:
            if name in used:
                raise UsageError(
                    f"{argument('columns')}: {shown(name)} stands for {used[name]} and for {key}", expected="one use"
                )
            used[name] = key
            _release(roles, name)
        if key == "labels":
            for name in list(roles.labels):
                _release(roles, name)
                roles.settle(name, "not used", _NOT_NAMED)
            for name in roles.open + roles.candidates:
                roles.settle(name, "not used", _NOT_NAMED)
            roles.open, roles.candidates = [], []
            if roles.findings is not None:
                roles.settle(roles.findings, "not used", _NOT_NAMED)
                roles.findings = None
            for name in columns:
                roles.uses.pop(name, None)
            roles.labels = {name: name for name in columns}
            roles.said = True
        elif key == "age":
            roles.ages = tuple(columns)
        else:
            setattr(roles, key, columns[0])


def _release(roles: Roles, name: str) -> None:
    """Take a column out of whatever it was recognised as."""
    roles.uses.pop(name, None)
    roles.labels.pop(name, None)
    for kept in (roles.nothing, roles.open, roles.candidates):
        if name in kept:
            kept.remove(name)
    roles.ages = tuple(column for column in roles.ages if column != name)
    for role in ("image", "patient", "sex", "view", "lateral", "split", "follow_up", "reader", "findings"):
        if getattr(roles, role) == name:
            setattr(roles, role, None)


def _settle_rest(names: Sequence[str], roles: Roles) -> None:
    """Name the use of every column that has one by now, and of those that have none."""
    uses: tuple[tuple[str | None, Use], ...] = (
        (roles.image, "image"),
        (roles.patient, "patient"),
        (roles.sex, "sex"),
        (roles.view, "view"),
        (roles.lateral, "view"),
        (roles.split, "split"),
        (roles.follow_up, "follow-up"),
        (roles.reader, "reader"),
        (roles.findings, "findings"),
    )
    for name, use in uses:
        if name is not None:
            roles.settle(name, use)
    for name in roles.ages:
        roles.settle(name, "age")
    for name in roles.nothing:
        roles.settle(name, "no finding")
    for name, pathology in roles.labels.items():
        roles.settle(name, "pathology", None if pathology == name else f"read as {pathology}")
    for name in names:
        if name in roles.uses or name in roles.open or name in roles.candidates:
            continue
        key = fold(name)
        if key in KNOWN_PATHOLOGIES or key in ROLES["findings"]:
            roles.settle(name, "not used", Message(f"looks like labels; {labels_are(name)} reads it"))
        elif key in ROLES["index"]:
            roles.settle(name, "index")
        elif key in NOT_LABELS:
            roles.settle(name, "ignored", "not a label")
        elif roles.schema.pathologies == ():
            roles.settle(name, "ignored", "part of a DICOM header")
        else:
            roles.settle(name, "not used")
