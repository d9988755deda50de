"""Patient ids in one normal form, those that image names hold, and within which numbering they can be compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.schemas import SCHEMAS
from cxr_cli.data.schemas.vocabulary import is_placeholder
from cxr_cli.errors import UsageError, argument, shown

#: What a spreadsheet makes of a long id: most of its digits are gone.
_EXPONENT = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE]\+\d{2,3}")
_LONG_FLOAT = re.compile(r"\d{17,}[.,]0+")
#: ``'00013`` and ``="00013"``, by which spreadsheets are told not to take an id for a number.
_MARKED = re.compile(r"['\u2018\u2019`](.+)|=\s*\"(.*)\"")


def normal_patient_id(text: str) -> str:
    """Return the one normal form of a patient id: ``00013118``, ``13118`` and ``13118.0`` are the same patient.

    Examples
    --------
    >>> normal_patient_id(" 00013118 "), normal_patient_id("13118.0"), normal_patient_id("p07")
    ('13118', '13118', 'p07')
    """
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        number = re.fullmatch(r"([0-9]+)[.,]0*", text)
        if number is None:
            return text
        text = number[1]
    return text.lstrip("0") or "0"


@dataclass(frozen=True)
class CleanIds:
    """Distinct patient ids, cleaned.

    Attributes
    ----------
    ids
        In normal form; None where the patient is unknown.
    marked, digits_lost, placeholders
        Positions of ids that a spreadsheet has marked as text, of those whose digits it has lost, and of words for
        "unknown".
    """

    ids: tuple[str | None, ...]
    marked: tuple[int, ...]
    digits_lost: tuple[int, ...]
    placeholders: tuple[int, ...]


def clean_patient_ids(written: Sequence[str]) -> CleanIds:
    """Bring distinct patient ids to one normal form, and find those that do not identify a patient.

    Examples
    --------
    >>> clean_patient_ids(["'00013", "8.39860E+35", "unknown"]).ids
    ('13', None, None)
    """
    together = "".join(written)
    if together.isascii() and together.isdigit() and not {text[:1] for text in written} & {"", "0"}:
        return CleanIds(tuple(written), (), (), ())
    ids: list[str | None] = []
    marked, lost, placeholders = [], [], []
    for place, text in enumerate(written):
        # Most ids are plain numbers, whose normal form is seen at once.
        if text.isdigit() and text.isascii() and text[0] != "0":
            ids.append(text)
            continue
        stripped = text.strip()
        match = _MARKED.fullmatch(stripped)
        if match is not None:
            marked.append(place)
            stripped = (match[1] or match[2] or "").strip()
        if not stripped:
            ids.append(None)
        elif _EXPONENT.fullmatch(stripped) or _LONG_FLOAT.fullmatch(stripped):
            lost.append(place)
            ids.append(None)
        elif is_placeholder(stripped):
            placeholders.append(place)
            ids.append(None)
        else:
            ids.append(normal_patient_id(stripped))
    return CleanIds(tuple(ids), tuple(marked), tuple(lost), tuple(placeholders))


def compiled_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """Compile ``--patient-pattern``.

    Raises
    ------
    UsageError
        It is not a regular expression, or has no group.
    """
    if pattern is None:
        return None
    try:
        found = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{argument('patient_pattern')} {shown(pattern)}: is not a regular expression: {error}",
            expected=r"such as (person\d+)_",
        ) from error
    if found.groups < 1:
        raise UsageError(
            f"{argument('patient_pattern')} {shown(pattern)}: has no group",
            expected=r"a group around the patient id, such as (person\d+)_",
        )
    return found


def ids_by_pattern(names: Sequence[str], pattern: re.Pattern[str]) -> list[str | None]:
    """Return the first group of a pattern in each name, as written; None where it is not found."""
    return [match[1] if match else None for match in map(pattern.search, names)]


def coded_ids(ids: Sequence[str | None]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Bring ids to normal form and number them: a code for each (-1 where it is unknown), and the distinct ids."""
    import pandas as pd

    codes, texts = pd.factorize(np.array(ids, dtype=object))
    together = "".join(texts.tolist())
    if together.isascii() and together.isdigit():
        stripped = [text.lstrip("0") or "0" for text in texts.tolist()]
        if len(set(stripped)) == len(stripped) and all(texts.tolist()):
            return codes.astype(np.int64), tuple(stripped)
    position: dict[str, int] = {}
    places = []
    for text in texts.tolist():
        plain = text.isdigit() and text.isascii()
        normal = (text.lstrip("0") or "0") if plain else normal_patient_id(text)
        places.append(position.setdefault(normal, len(position)) if normal else -1)
    return np.array([*places, -1], dtype=np.int64)[codes], tuple(position)


def _first_groups(names: Sequence[str], pattern: re.Pattern[str]) -> list[str | None]:
    """Return the first group of a data set's pattern in each name; None where it is not found."""
    text = "\n".join(names)
    if text.count("\n") == len(names) - 1:
        # All names in one go, many times faster: one match a line, for the patterns of data sets match no line end.
        found: list[str | None] = re.findall(_for_lines(names, text, pattern.pattern), text, flags=re.MULTILINE)
        if len(found) == len(names):
            return found
    matches = map(pattern.search, names)
    return [match[1] if match else None for match in matches]


#: How patterns of data sets begin that look for a word at the start of a folder or file name.
_WORD_FIRST = re.compile(r"\(\?:\^\|\[/\\\\\]\)([A-Za-z]+)(.*)", re.DOTALL)


def _for_lines(names: Sequence[str], text: str, pattern: str) -> str:
    """Return a pattern that finds at most one match in each line of a text."""
    match = _WORD_FIRST.fullmatch(pattern)
    if match is not None and text.count(match[1]) == len(names) and all([match[1] in name for name in names]):
        # Each line holds the word once, so the word alone is looked for, if it stands where it must.
        begin = text.count(f"/{match[1]}")
        if begin == len(names) or begin + text.count(f"\n{match[1]}") + text.startswith(match[1]) == len(names):
            return match[1] + match[2]
    return rf"^.*?(?:{pattern})"


#: How a pattern looks that finds a number behind a word that begins a folder or file name: CheXpert's.
_NUMBER_AFTER_WORD = re.compile(r"\(\?:\^\|\[/\\\\\]\)([A-Za-z]+)\(\\d\+\)\(\?:\[/\\\\\]\|\$\)")


def _numbers_after_word(names: Sequence[str], pattern: str) -> NDArray[np.int64] | None:
    """Return the number that a pattern such as CheXpert's finds in each name; None where a closer look is needed.

    Many times faster than regular expressions: the names are looked at as one array of bytes.
    """
    form, text = _NUMBER_AFTER_WORD.fullmatch(pattern), "\n".join(names)
    if form is None or not text.isascii() or "\\" in text:
        return None
    longest = 18  # digits of an int64
    raw = np.frombuffer(f"\n{text}\n{' ' * (len(form[1]) + longest + 2)}".encode("ascii"), np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    word = form[1].encode()
    places = np.flatnonzero(raw == word[0]) - 1
    for step, letter in enumerate(word[1:], start=2):
        places = places[raw[places + step] == letter]
    places = places[(raw[places] == ord("/")) | (raw[places] == ord("\n"))]
    # Exactly one word in each line.
    if len(places) != len(names) or len(ends) != len(names) + 1:
        return None
    if not ((ends[:-1] <= places) & (places < ends[1:])).all():
        return None
    places = places + len(word) + 1
    numbers = np.zeros(len(names), np.int64)
    inside = np.ones(len(names), bool)
    for step in range(longest + 1):
        digits = raw[places + step] - np.uint8(ord("0"))  # below "0" wraps round to more than 9
        inside &= digits <= 9
        if step == 0 and not inside.all():
            return None
        if not inside.any():
            break
        numbers = np.where(inside, numbers * 10 + digits, numbers)
        places = np.where(inside, places, places - 1)  # what ended stays at the sign behind its number
    else:
        return None
    behind = raw[places + step]
    return numbers if ((behind == ord("/")) | (behind == ord("\n"))).all() else None


def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    patterns = {
        (schema.patient_namespace, schema.patient_in_name): re.compile(schema.patient_in_name)
        for schema in SCHEMAS
        if schema.patient_in_name is not None and schema.patient_namespace is not None
    }
    return [(str(namespace), pattern) for (namespace, _), pattern in patterns.items()]


def _likeliest_first(names: Sequence[str]) -> list[tuple[str, re.Pattern[str]]]:
    # That of the first name first: as a rule it fits all names, and no other is tried.
    return sorted(_patterns(), key=lambda item: item[1].search(names[0]) is None)


def patients_in_names(names: Sequence[str]) -> tuple[str, list[str | None]] | None:
    """Return the namespace and the patient of each image name, where names are in the pattern of a data set.

    Patients are in normal form; see `patients_written_in_names`.

    Examples
    --------
    >>> patients_in_names(["00000013_005.png", "other.png"])
    ('nih', ['13', None])
    """
    found = patients_written_in_names(names)
    if found is None:
        return None
    codes, ids = coded_ids(found[1])
    return found[0], [ids[code] if code >= 0 else None for code in codes.tolist()]


def coded_patients_in_names(names: Sequence[str]) -> tuple[str, NDArray[np.int64], tuple[str, ...]] | None:
    """Return the namespace, a code for the patient of each image name (-1: unknown), and the distinct patients.

    See `patients_written_in_names`, whose patients these are, in normal form.

    Examples
    --------
    >>> namespace, codes, ids = coded_patients_in_names(["a/patient00013/1.jpg", "a/patient00007/1.jpg"])
    >>> namespace, codes.tolist(), ids
    ('chexpert', [0, 1], ('13', '7'))
    """
    import pandas as pd

    namespace, pattern = _likeliest_first(names)[0]
    if (numbers := _numbers_after_word(names, pattern.pattern)) is not None:
        codes, distinct = pd.factorize(numbers)
        return namespace, codes.astype(np.int64), tuple(map(str, distinct.tolist()))
    found = patients_written_in_names(names)
    return None if found is None else (found[0], *coded_ids(found[1]))


def patients_written_in_names(names: Sequence[str]) -> tuple[str, list[str | None]] | None:
    """Return the namespace and the patient, as written, of image names in the pattern of a data set.

    A name in another pattern has no patient. Of several patterns the one that fits the most names counts. None: no name
    is in a pattern of any data set.

    Examples
    --------
    >>> patients_written_in_names(["00000013_005.png", "other.png"])
    ('nih', ['00000013', None])
    """
    best: tuple[str, list[str | None]] | None = None
    most = 0
    for namespace, pattern in _likeliest_first(names):
        found = _first_groups(names, pattern)
        count = len(names) - found.count(None)
        if count > most:
            best, most = (namespace, found), count
            if most == len(names):
                break
    return best


def namespace_of(names: Sequence[str], with_patient: NDArray[np.bool_]) -> str | None:
    """Return the data set in whose pattern the names of all images with a known patient are; None if there is none.

    Parameters
    ----------
    names
        Image names.
    with_patient
        Which of them have a known patient, shape (n_names,).
    """
    rows: Any = np.flatnonzero(with_patient)
    if not len(rows):
        return None
    for namespace, pattern in _patterns():
        if not pattern.search(names[rows[0]]):
            continue
        if None not in _first_groups([names[row] for row in rows.tolist()], pattern):
            return namespace
    return None


def patient_of_nih_name(name: str) -> str | None:
    """Return the patient id in an NIH image name (``00000013_005.png`` -> ``13``), or None.

    Examples
    --------
    >>> patient_of_nih_name("00000013_005.png"), patient_of_nih_name("view1_frontal.jpg")
    ('13', None)
    """
    match = re.fullmatch(r"(\d{8})_\d{3}\.\w+", name.rpartition("/")[2], flags=re.ASCII)
    return normal_patient_id(match[1]) if match else None


def nih_numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """Return the digits of names such as ``00000013_005.png`` as one number, 13005, and -1 for any other name."""
    codes = _letters(names, 14)
    digits = codes[:, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]] - ord("0")  # uint8: below "0" wraps round to more than 9
    like_nih = (digits.max(axis=1) <= 9) & (codes[:, 8] == ord("_")) & (codes[:, 12] == ord("."))
    # Eleven digits are exact in float64, in which NumPy's products are fast.
    values = digits.astype(np.float64) @ 10.0 ** np.arange(10, -1, -1)
    return np.where(like_nih, values, -1).astype(np.int64)


def _letters(names: Sequence[str], width: int) -> NDArray[np.uint8]:
    """Return the first letters of each name, shape (n_names, width); 0 behind its end, "?" for what is not ASCII."""
    text = "\n".join(names)
    size = len(names[0]) + 1
    if text.isascii() and size > width and len(text) + 1 == len(names) * size:
        # Most tables have names of one length: their text, cut into lines, is a matrix already.
        lines = np.frombuffer(text.encode() + b"\n", dtype=np.uint8).reshape(len(names), size)
        if (lines[:, -1] == ord("\n")).all() and text.count("\n") == len(names) - 1:
            return lines[:, :width]
    letters = np.array([name[:width].encode("ascii", "replace") for name in names], dtype=f"S{width}")
    return letters.view(np.uint8).reshape(len(names), width)
