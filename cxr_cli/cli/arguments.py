"""Split tables by short names: ``train`` stands for ``train.csv``, or for the one ``train-*.csv`` there is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cxr_cli.errors import InputError, UsageError

#: Endings of split tables, longest first where one ends in another.
ENDINGS = (".csv.gz", ".csv.zip", ".csv", ".txt.gz", ".txt", ".gz", ".zip")
#: What folders of splits are called, in lower case.
SPLIT_FOLDERS = ("train", "training", "val", "valid", "validation", "test", "testing")
_PLAIN = (".csv", ".csv.gz", ".csv.zip")


def find_split(argument: Path | str) -> Path:
    """Return the file that a split argument stands for.

    Parameters
    ----------
    argument
        A file; or a name such as ``train`` or ``data/train``: then ``train.csv`` (or ``.csv.gz``, ``.csv.zip``), or
        the one file that matches ``train-*.csv``, or else the folder of that name.

    Raises
    ------
    InputError
        No file or several files match; the message lists them.
    """
    path = Path(argument)
    if path.is_file() or path.name.lower().endswith(ENDINGS):
        return path  # reading it says what is wrong with it
    exact = [path.with_name(path.name + ending) for ending in _PLAIN]
    found = [candidate for candidate in exact if candidate.is_file()] or _with_suffix(path)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{path}: {len(found)} tables match: {', '.join(str(item) for item in found)}",
            expected="one",
            remedy="Name the file itself.",
        )
    if path.is_dir():
        return path  # a folder of images, or one with a table inside: reading it says what is wrong with it
    tables = sorted(item.name for item in _files(path.parent) if item.name.lower().endswith(_PLAIN))
    held = ", ".join(tables[:20]) + (", …" if len(tables) > 20 else "") if tables else "none"
    raise InputError(
        f"{path}: no {path.name}.csv and no {path.name}-*.csv; tables in {path.parent}: {held}",
        remedy="Name the file itself.",
    )


def split_folders(folder: Path) -> list[Path]:
    """Return the folders inside a folder that are called like splits, in the order of `SPLIT_FOLDERS`; none or several.

    A folder that is itself a split has classes inside.
    """
    if not folder.is_dir():
        return []
    inside = {item.name.casefold(): item for item in _files(folder) if item.is_dir()}
    found = [inside[name] for name in SPLIT_FOLDERS if name in inside]
    return found if len(found) > 1 else []


def split_names(arguments: Sequence[Path | str]) -> tuple[str, ...]:
    """Return a distinct short name for each split: the file name without ending, with its folders where needed.

    Raises
    ------
    UsageError
        The same file is given twice.

    Examples
    --------
    >>> split_names(["data/train-small.csv", "valid"])
    ('train-small', 'valid')
    >>> split_names(["fold1/train.csv", "fold2/train.csv"])
    ('fold1/train', 'fold2/train')
    """
    parts = [_stem_parts(Path(argument)) for argument in arguments]
    depth = 1
    while True:
        names = tuple("/".join(part[-depth:]) for part in parts)
        if len(set(names)) == len(names):
            return names
        if depth >= max(map(len, parts)):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"{twice}: given twice", expected="different splits")
        depth += 1


def refuse_same_file(paths: Sequence[Path]) -> None:
    """Raise UsageError if two paths are one file: a split shares everything with itself."""
    seen: dict[str, Path] = {}
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            raise UsageError(f"{path}: is the same file as {seen[real]}", expected="different splits")
        seen[real] = path


def match_split(word: str, names: Sequence[str], option: str) -> str:
    """Return the split that a word on the command line means: its name, or the one that begins with ``word-``.

    Raises
    ------
    UsageError
        None or several splits match.
    """
    if word in names:
        return word
    stem = "/".join(_stem_parts(Path(word)))
    matching = [name for name in names if name == stem or name.rpartition("/")[2].startswith((f"{stem}-", f"{stem}_"))]
    if len(matching) == 1:
        return matching[0]
    raise UsageError(f"{option} {word}: {len(matching) or 'no'} splits match", expected=f"one of {', '.join(names)}")


def _with_suffix(path: Path) -> list[Path]:
    beginning = f"{path.name}-"
    return sorted(
        item
        for item in _files(path.parent)
        if item.name.startswith(beginning) and item.name.lower().endswith(_PLAIN) and item.is_file()
    )


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _stem_parts(path: Path) -> tuple[str, ...]:
    name = path.name
    for ending in ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
            break
    return (*(part for part in path.parts[:-1] if part != "."), name)
