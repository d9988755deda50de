"""Read cells: labels, lists of findings, ages, sexes and views, each from the text or number in a column."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.schemas.vocabulary import LABEL_WORDS, fold, is_no_finding

Floats = NDArray[np.float64]
Labels = NDArray[np.float32]

#: Ages above this are typing errors: the 2017 table of ChestX-ray14 goes up to 414.
MAX_AGE_YEARS = 120
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([YMWDymwd]?)\s*")
_AGE_WORDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:(y)ears?|(m)onths?|(w)eeks?|(d)ays?)(?: old)?\s*", re.IGNORECASE)
_BAND = re.compile(r"\s*(\d+)\s*(?:\+|or (?:more|older|above|over))\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F", "man": "M", "woman": "F"}


def label_values(column: pd.Series[Any]) -> Floats:
    """Read a column of labels: 1 present, 0 absent, -1 uncertain, NaN blank, and infinity for anything else.

    Numbers, truth values, and the words yes and no, positive and negative, present and absent are read.
    """
    if column.dtype.kind in "iufb":
        return column.to_numpy(dtype=np.float64)
    codes, found = pd.factorize(column)
    values = np.array([*(label_value(str(text)) for text in found), np.nan])
    read: Floats = values[codes]
    return read


def label_value(text: str) -> float:
    """Read one label; see `label_values`.

    Examples
    --------
    >>> [label_value(text) for text in ("1", "0.0", "YES", "-1", "", "maybe")]
    [1.0, 0.0, 1.0, -1.0, nan, inf]
    """
    text = text.strip()
    value = number(text)
    return LABEL_WORDS.get(text.casefold(), value) if np.isinf(value) else value


def number(text: str) -> float:
    """Read a plain number: NaN where there is no text, infinity where it is not a number."""
    text = text.strip()
    if not text:
        return np.nan
    if _COMMA_NUMBER.fullmatch(text):
        text = text.replace(",", ".")
    try:
        # Python also reads 1_000, digits of other scripts and nan; none of these is a number in a table.
        return float(text) if _NUMBER.fullmatch(text) else np.inf
    except ValueError:
        return np.inf


def numbers(column: pd.Series[Any]) -> Floats:
    """Read a column of numbers; see `number`."""
    codes, found = pd.factorize(column)
    values = np.array([*(number(str(text)) for text in found), np.nan])
    read: Floats = values[codes]
    return read


def looks_like_labels(values: Floats) -> bool:
    """Whether a column holds nothing but 1, 0, -1 and blanks, and not blanks alone."""
    known = values[~np.isnan(values)]
    return bool(len(known)) and bool(np.isin(known, (-1.0, 0.0, 1.0)).all())


def split_findings(text: str, separators: str) -> list[str]:
    """Split a cell into findings: ``Mass|Edema``, ``Mass; Edema``, or the text of a Python list.

    Examples
    --------
    >>> split_findings("Mass|Edema", "|"), split_findings("['pleural effusion', ' nodule ']", ",")
    (['Mass', 'Edema'], ['pleural effusion', 'nodule'])
    """
    text = text.strip()
    if text[:1] == "[" and text[-1:] == "]":
        quoted = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", text)
        if quoted:
            return [(one or other).strip() for one, other in quoted]
        text, separators = text[1:-1], separators or ","
    if not separators:
        return [text]
    return [item.strip() for item in re.split("[" + re.escape(separators) + "]", text)]


def separators_of(texts: Sequence[str]) -> str:
    """Return what separates findings in the distinct cells of a column: a bar, a semicolon, a comma, or nothing."""
    for separator in "|;":
        if any(separator in text for text in texts):
            return separator
    lists = [text for text in texts if text.strip()[:1] == "["]
    if lists:
        return ","
    # A comma may also belong to the name of a class: it separates where what it separates stands alone as well.
    with_comma = [text for text in texts if "," in text]
    if not with_comma:
        return ""
    alone = {fold(text) for text in texts if "," not in text}
    from cxr_cli.data.schemas.vocabulary import KNOWN_PATHOLOGIES

    parts = {fold(part) for text in with_comma for part in text.split(",")}
    return "," if parts & alone or parts & KNOWN_PATHOLOGIES.keys() else ""


@dataclass(frozen=True)
class FindingLists:
    """A column of findings, spread into one column of labels for each pathology.

    Attributes
    ----------
    labels
        Labels by pathology, shape (n_rows,) each: 1 present, 0 absent, NaN where nothing is known.
    blank, contradicting, undefined
        Rows that are blank; that name a finding beside "No Finding"; that say that their labels are unknown.
    unknown
        Rows with a finding that is none of the data set's, and the first such finding of each; empty as a rule.
    n_written
        Distinct cells, as written.
    """

    labels: Mapping[str, Labels]
    blank: NDArray[np.intp]
    contradicting: NDArray[np.intp]
    undefined: NDArray[np.intp]
    unknown: Mapping[int, str]
    n_written: int


def read_findings(
    column: pd.Series[Any],
    separators: str,
    *,
    pathologies: Sequence[str] | None = None,
    renamed: Mapping[str, str] | None = None,
    ignored: Sequence[str] = (),
    undefined: Sequence[str] = (),
    negative: Sequence[str] = (),
) -> FindingLists:
    """Spread a column of findings (categories of text) into labels.

    Parameters
    ----------
    column
        One cell a row, of a categorical type.
    separators
        What separates findings in a cell; "" where a cell names one.
    pathologies
        The pathologies that may occur; None: all that do, in alphabetical order.
    renamed
        Findings that are read under another name.
    ignored, undefined, negative
        Findings to pass over; that say that the labels are unknown; and that mean "No Finding", beside the words
        that data sets use for it.
    """
    codes, texts = column.cat.codes.to_numpy(), [str(item) for item in column.cat.categories]
    other_names = {fold(key): value for key, value in (renamed or {}).items()}
    passed, unclear, nothing = ({fold(item) for item in items} for items in (ignored, undefined, negative))
    canonical = None if pathologies is None else {fold(name): name for name in pathologies}
    cells: list[tuple[set[str], bool, bool]] = []  # the pathologies of a cell, whether normal, whether unknown
    folded: dict[str, str] = {}
    unknown: dict[int, str] = {}
    for code, text in enumerate(texts):
        found: set[str] = set()
        normal = not_known = False
        for item in split_findings(text, separators):
            key = folded.get(item) or folded.setdefault(item, fold(item))
            if key in unclear:
                not_known = True
            elif key in passed or not item:
                continue
            elif (canonical is None or key not in canonical) and (key in nothing or is_no_finding(item)):
                normal = True
            elif canonical is None:
                found.add(other_names.get(key, item))
            elif other_names.get(key, canonical.get(key)) is not None:
                found.add(other_names.get(key) or canonical[key])
            else:
                unknown[code] = item
        cells.append((found, normal, not_known))
    names = _merged(cells) if pathologies is None else tuple(pathologies)
    spelt = {fold(name): place for place, name in enumerate(names)}
    table = np.zeros((len(texts) + 1, len(names)), dtype=np.float32)
    table[-1] = np.nan  # a blank cell: nothing is known
    blank, contradicting, not_defined = [-1], [], []
    for code, (found, normal, not_known) in enumerate(cells):
        if not_known and not found:
            not_defined.append(code)
            table[code] = np.nan
        elif not found and not normal and code not in unknown:
            blank.append(code)
            table[code] = np.nan
        for name in found:
            table[code, spelt[fold(name)]] = 1
        if found and normal:
            contradicting.append(code)
    spread = np.ascontiguousarray(table.T)[:, codes]
    wrong = np.flatnonzero(np.isin(codes, list(unknown))) if unknown else np.empty(0, np.intp)
    return FindingLists(
        labels={name: spread[place] for place, name in enumerate(names)},
        blank=np.flatnonzero(np.isin(codes, blank)),
        contradicting=np.flatnonzero(np.isin(codes, contradicting)) if contradicting else np.empty(0, np.intp),
        undefined=np.flatnonzero(np.isin(codes, not_defined)) if not_defined else np.empty(0, np.intp),
        unknown={int(row): unknown[codes[row]] for row in wrong},
        n_written=len(texts),
    )


def _merged(cells: Sequence[tuple[set[str], bool, bool]]) -> tuple[str, ...]:
    """Return the findings of all cells in alphabetical order, one spelling of each."""
    spellings: dict[str, str] = {}
    for name in sorted({name for found, _, _ in cells for name in found}):
        spellings.setdefault(fold(name), name)
    return tuple(spellings.values())


@dataclass(frozen=True)
class Ages:
    """Ages in years, and the codes of the categories that were converted, are too high, or cannot be read."""

    years: Floats
    converted: tuple[int, ...]
    too_old: tuple[int, ...]
    unreadable: tuple[int, ...]


def read_ages(written: Sequence[str]) -> Ages:
    """Read distinct ages in years from ``58``, ``58,0``, ``058Y``, ``013M``, ``001D``, ``3 months``, ``85 or more``."""
    years = np.full(len(written) + 1, np.nan)
    strange, converted, too_old = [], [], []
    for code, text in enumerate(written):
        plain = text.replace(",", ".") if _COMMA_NUMBER.fullmatch(text.strip()) else text
        match = _AGE.fullmatch(plain)
        words = None if match else _AGE_WORDS.fullmatch(plain)
        band = None if match or words else _BAND.fullmatch(plain)
        if match:
            value, unit = float(match[1]), match[2].upper()
        elif words:
            value, unit = float(words[1]), next(letter for letter in words.groups()[1:] if letter).upper()
        elif band:
            value, unit = float(band[1]), ""
        else:
            if text.strip():
                strange.append(code)
            continue
        if unit not in ("", "Y"):
            converted.append(code)
        age = value * _YEARS[unit]
        if age > MAX_AGE_YEARS:
            too_old.append(code)
        else:
            years[code] = age
    return Ages(years, tuple(converted), tuple(too_old), tuple(strange))


def read_sex(text: str) -> str | None:
    """Read M or F; None for anything else.

    Examples
    --------
    >>> read_sex("Female"), read_sex(" m "), read_sex("Unknown")
    ('F', 'M', None)
    """
    return _SEX.get(text.strip().casefold())


def categories(values: NDArray[np.object_], codes: NDArray[np.integer[Any]]) -> pd.Categorical:
    """Return ``values[codes]`` as categories; None is missing, and equal values fall together."""
    distinct = list(dict.fromkeys(value for value in values.tolist() if value is not None))
    place_of = {value: place for place, value in enumerate(distinct)}
    places = np.array([-1 if value is None else place_of[value] for value in values.tolist()])
    return pd.Categorical.from_codes(places[codes], pd.Index(distinct, dtype="str"))
