"""Finding image files: which folder belongs to a table, and which of the named images are in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_cli.data.image_types import IMAGE_SUFFIXES
from cxr_cli.data.names import unsafe_names
from cxr_cli.errors import ImageError


@dataclass(frozen=True)
class LocatedImages:
    """Where the images of a table are.

    Attributes
    ----------
    folder
        The image folder.
    paths
        For each name asked for, in order: its file (an absolute path), or None.
    missing
        Positions of names with no file.
    refused
        Positions of names that are unsafe, or whose file is a link that leaves the folder; never opened.
    n_unnamed
        Number of image files in the folder that no name asked for.
    ambiguous
        Names (without folder) that stand for files in several subfolders; the first in sorted order is taken.
    """

    folder: Path
    paths: tuple[Path | None, ...]
    missing: tuple[int, ...]
    refused: tuple[int, ...]
    n_unnamed: int
    ambiguous: tuple[str, ...]

    @property
    def n_found(self) -> int:
        """How many of the names have a file."""
        return sum(path is not None for path in self.paths)

    def as_given(self, path: Path | str) -> Path:
        """Return one of the paths with the folder as it was given, which may be relative."""
        return self.folder / os.path.relpath(path, os.path.abspath(self.folder))


def find_image_folder(table: Path, images: Path | None = None) -> Path | None:
    """Return the image folder: the given one, or one beside the table by a name that data sets use.

    ``images-small/``, ``images/``, or the table's own folder when it holds ``images_001/`` and so on, as NIH
    ships them. None if there is none of these.

    Raises
    ------
    ImageError
        The given folder does not exist or is no folder.
    """
    if images is not None:
        if not images.exists():
            raise ImageError(f"{images}: no such image folder", remedy="Check the path given with --images.")
        if not images.is_dir():
            raise ImageError(f"{images}: is a file, not an image folder", remedy="Give the folder with --images.")
        return images
    beside = Path(table).parent
    for name in ("images-small", "images"):
        if (beside / name).is_dir():
            return beside / name
    if any(path.is_dir() for path in beside.glob("images_[0-9][0-9][0-9]")):
        return beside
    return None


def locate_images(folder: Path, names: Sequence[str]) -> LocatedImages:
    """Find the files of image names in a folder, flat or nested.

    A bare name is found in any subfolder (NIH ships ``images_001/images/``); a name with folders in it
    (CheXpert's ``Path``) is taken relative to the folder, leading folders left off as far as needed. macOS' ``._name``
    files and hidden folders are passed over.

    Parameters
    ----------
    folder
        The image folder.
    names
        Image names of a table.

    Raises
    ------
    ImageError
        The folder cannot be read.
    """
    folder = Path(folder)
    root = os.path.realpath(folder)
    relative: dict[str, str] = {}
    by_name: dict[str, list[str]] = {}
    outside: set[str] = set()
    try:
        # Absolute, so that a worker in another folder or on another machine opens the same file.
        for file, path, is_link in _walk(os.path.abspath(folder)):
            if is_link and not _inside(root, path):
                outside.add(file)
            relative[file] = path
            by_name.setdefault(file.rpartition("/")[2], []).append(file)
    except OSError as error:
        raise ImageError(
            f"{error.filename or folder}: cannot be read: {error.strerror}", remedy="Check its permissions."
        ) from error
    paths: list[Path | None] = []
    missing, refused, ambiguous = [], [], set()
    used = set()
    unsafe = set(unsafe_names(names))
    for position, name in enumerate(names):
        place = _place(name, relative, by_name) if name in by_name or "/" in name else None
        if position in unsafe or place in outside:
            if place is not None:
                used.add(place)
            refused.append(position)
            paths.append(None)
        elif place is None:
            missing.append(position)
            paths.append(None)
        else:
            if "/" not in name and len(by_name[name]) > 1:
                ambiguous.add(name)
            used.add(place)
            paths.append(Path(relative[place]))
    n_unnamed = sum(place.lower().endswith(IMAGE_SUFFIXES) for place in relative.keys() - used)
    return LocatedImages(folder, tuple(paths), tuple(missing), tuple(refused), n_unnamed, tuple(sorted(ambiguous)))


def _place(name: str, relative: dict[str, str], by_name: dict[str, list[str]]) -> str | None:
    if "/" not in name:
        places = by_name.get(name)
        return None if places is None else min(places)
    parts = name.split("/")
    # At least one folder stays: view1_frontal.jpg alone is in every study.
    candidates = ("/".join(parts[first:]) for first in range(len(parts) - 1))
    return next((place for place in candidates if place in relative), None)


def _walk(folder: str) -> Iterator[tuple[str, str, bool]]:
    """Yield (relative place, path, whether a link) of every file; links to folders are not followed.

    Pipes and devices are passed over: opening one may wait for ever.
    """
    waiting = [(folder, "")]
    while waiting:
        here, prefix = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                place = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{place}/"))
                elif _is_file(entry):
                    yield place, entry.path, entry.is_symlink()


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, or to where we may not look
        return False


def _inside(root: str, path: str) -> bool:
    return os.path.realpath(path).startswith(root + os.sep)
