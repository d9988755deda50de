"""Finding image files: which folder belongs to a table, and which file each image name means.

A row never gets a file that its name does not determine. A name is matched in this order:

1. as a path in the folder;
2. as a path in the folder, after the leading folders that *all* names of the table begin with are dropped;
3. a bare name, as the only file of that name in any subfolder;
4. as the only file whose name differs in letter case, Unicode form, the direction of slashes or the ending alone,
   where no other name means that file;
5. as the SOP instance UID of a DICOM file, whatever the file is called.

Whatever else happens (several candidates, two names of one file, no file) is reported, and no file is taken.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxr_cli.data.image_types import IMAGE_SUFFIXES
from cxr_cli.data.names import is_unsafe_name, unsafe_names
from cxr_cli.data.schemas.own import IMAGE_FOLDERS
from cxr_cli.errors import ImageError, argument, shown

#: Endings that a name may have in place of its file's: the same image saved as another type.
_ENDINGS = tuple({*IMAGE_SUFFIXES, ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm", ".dicom"})
#: Ways in which a name may differ from its file's, in the order in which they are looked for.
SLASHES, UNICODE, CASE, ENDING = "backslashes", "Unicode form", "letter case", "ending"
#: A name that belongs to no file, and the SOP instance UID of a DICOM file.
SOP_INSTANCE = "SOP instance UID"
_LISTED = 4


@dataclass(frozen=True)
class AmbiguousName:
    """An image name that several files have.

    Attributes
    ----------
    name
        As in the table.
    files
        The files, relative to the folder, sorted.
    """

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class SharedFile:
    """A file that two or more different names of a table mean.

    Attributes
    ----------
    file
        Relative to the folder.
    names
        As in the table, in its order.
    """

    file: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class NearName:
    """A name and a file that differ in form only.

    Attributes
    ----------
    name
        As in the table.
    file
        Relative to the folder.
    difference
        "backslashes", "Unicode form", "letter case" or "ending"; several are joined by " and ". Or "SOP instance UID".
    """

    name: str
    file: str
    difference: str


@dataclass(frozen=True)
class LocatedImages:
    """Where the images of a table are.

    Attributes
    ----------
    folder
        The image folder.
    paths
        For each name asked for, in order: its file (an absolute path), or None. Links are resolved.
    missing
        Positions of names with no file.
    refused
        Positions of names that are unsafe, or whose file is a link that leaves the folder; never opened.
    n_unnamed
        Number of image files in the folder that no name asked for.
    ambiguous
        Names that several files have; none of them is taken.
    shared
        Files that different names mean; none of the names gets it.
    dropped
        Leading folders that all names begin with and that were dropped, such as ``CheXpert-v1.0-small/``; else empty.
    nearly
        Names read from a file that differs in form only.
    alternatives
        Missing names for which there is a file of nearly the same name that was not taken.
    linked_folders
        Folders inside that are links to elsewhere and were not searched, relative to the folder.
    """

    folder: Path
    paths: tuple[Path | None, ...]
    missing: tuple[int, ...]
    refused: tuple[int, ...]
    n_unnamed: int
    ambiguous: tuple[AmbiguousName, ...] = ()
    shared: tuple[SharedFile, ...] = ()
    dropped: str = ""
    nearly: tuple[NearName, ...] = ()
    alternatives: tuple[NearName, ...] = ()
    linked_folders: tuple[str, ...] = ()

    @property
    def n_found(self) -> int:
        """How many of the names have a file."""
        return sum(path is not None for path in self.paths)

    @property
    def uncertain(self) -> tuple[str, ...]:
        """Names for which it is not certain which file they mean."""
        return (*(item.name for item in self.ambiguous), *(name for both in self.shared for name in both.names))

    def as_given(self, path: Path | str) -> Path:
        """Return one of the paths with the folder as it was given, which may be relative."""
        for root in (os.path.abspath(self.folder), os.path.realpath(self.folder)):
            place = os.path.relpath(path, root)
            if not place.startswith(".."):
                return self.folder / place
        return Path(path)

    def refuse_uncertain(self) -> None:
        """Raise ImageError if it is not certain which file a name means.

        Raises
        ------
        ImageError
            A name has several candidates (the message lists them and the folders that decide), or two names mean one
            file (the message names both).
        """
        if self.ambiguous:
            first, others = self.ambiguous[0], len(self.ambiguous) - 1
            tops = _deciding_folders(first.files)
            folders = " or ".join(str(self.folder / top) for top in tops)
            decide = f"Give the folder that is meant ({folders})" if tops else "Move the others elsewhere"
            raise ImageError(
                f"{self.folder}: {shown(first.name)} could be {_listed(first.files, ' or ')}" + _more(others),
                expected="one file for each image name",
                remedy=f"{decide}, or write the subfolder into the image names of the table.",
            )
        if self.shared:
            both, others = self.shared[0], len(self.shared) - 1
            raise ImageError(
                f"{self.folder}: {_listed(both.names, ' and ')} are both the file {shown(both.file)}" + _more(others),
                expected="one name for each image file",
                remedy="Write every image of the table in one way.",
            )

    def notes(self) -> tuple[str, ...]:
        """Say in sentences how names were matched otherwise than letter for letter, and what is nearly there."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        for item in self.ambiguous[:1]:
            more = _more(len(self.ambiguous) - 1)
            yield f"{shown(item.name)} could be {_listed(item.files, ' or ')}{more}: not opened"
        for both in self.shared[:1]:
            more = _more(len(self.shared) - 1)
            yield f"{_listed(both.names, ' and ')} are both the file {shown(both.file)}{more}: not opened"
        if self.dropped:
            yield f"all image names begin with {shown(self.dropped)}, which is not in {self.folder} and was dropped"
        for found in _by_difference(self.nearly):
            one = found[0]
            if one.difference == SOP_INSTANCE:
                how = "1 image name is the SOP instance UID of a DICOM file"
                how = how if len(found) == 1 else f"{len(found):,} image names are SOP instance UIDs of DICOM files"
            else:
                names = "1 image name differs" if len(found) == 1 else f"{len(found):,} image names differ"
                how = f"{names} from the file in {one.difference} only"
            yield f"{how}: {shown(one.name)} was read from {shown(one.file)}" + _more(len(found) - 1)
        for found in _by_difference(self.alternatives):
            one = found[0]
            more = f" (and {len(found) - 1:,} more like it)" if len(found) > 1 else ""
            yield f"{shown(one.name)} is missing; there is {shown(one.file)}{more}"
        if self.linked_folders and (self.missing or self.refused):
            yield (
                f"not searched, because they are links to folders elsewhere: {_listed(self.linked_folders, ', ')}; "
                f"give such a folder itself: {argument('images')}"
            )


def _by_difference(found: Sequence[NearName]) -> list[list[NearName]]:
    groups: dict[str, list[NearName]] = {}
    for item in found:
        groups.setdefault(item.difference, []).append(item)
    return list(groups.values())


def _listed(items: Sequence[str], joint: str) -> str:
    listed = joint.join(shown(item) for item in items[:_LISTED])
    return listed if len(items) <= _LISTED else f"{listed} (of {len(items):,})"


def _more(others: int) -> str:
    return f" (and {others:,} more like it)" if others else ""


def _deciding_folders(files: Sequence[str]) -> list[str]:
    """Return the folders, relative to the image folder, below which only one of the files lies."""
    parts = [file.split("/")[:-1] for file in files]
    common = len(os.path.commonprefix(parts))
    tops = ["/".join(folders[: common + 1]) for folders in parts if len(folders) > common]
    counts = Counter(tops)
    return [top for top in dict.fromkeys(tops) if counts[top] == 1][:_LISTED]


def find_image_folder(
    table: Path, images: Path | None = None, *, names: Sequence[str] = IMAGE_FOLDERS, example: str | None = None
) -> Path | None:
    """Return the image folder: the given one, or one beside the table by a name that data sets use.

    ``images-small/``, ``images/``, or the table's own folder when it holds ``images_001/`` and so on, as NIH
    ships them, or the image that `example` names. A table that is a folder is its own image folder. None if there is
    none of these. `names` are the folder names to look for (`LabelTable.image_folders`).

    Raises
    ------
    ImageError
        The given folder does not exist or is not a folder.
    """
    if images is not None:
        if not images.exists():
            raise ImageError(f"{images}: no such image folder", remedy="Check the path of the image folder.")
        if not images.is_dir():
            raise ImageError(f"{images}: is a file, not an image folder", remedy="Give the folder.")
        return images
    if Path(table).is_dir():
        return Path(table)
    beside = Path(table).parent
    if example is not None and not is_unsafe_name(example) and (beside / example).is_file():
        return beside
    for name in names:
        if (beside / name).is_dir():
            return beside / name
    if any(path.is_dir() for path in beside.glob("images_[0-9][0-9][0-9]")):
        return beside
    return None


def locate_images(folder: Path, names: Sequence[str]) -> LocatedImages:
    """Find the files of image names in a folder, flat or nested.

    A bare name is found in any subfolder (NIH ships ``images_001/images/``); a name with folders in it
    (CheXpert's ``Path``) is taken relative to the folder, without the leading folders that all names have in common
    where that is needed. macOS' ``._name`` files and hidden folders are passed over, and so are pipes and devices,
    because opening one may wait for ever.

    Parameters
    ----------
    folder
        The image folder.
    names
        Image names of a whole table; absolute names are taken like others, and never lead out of the folder.

    Raises
    ------
    ImageError
        The folder cannot be read.
    """
    folder = Path(folder)
    try:
        files = _Files.of(folder)
    except OSError as error:
        raise ImageError(
            f"{error.filename or folder}: cannot be read: {error.strerror}", remedy="Check its permissions."
        ) from error
    return _Search(folder, files, names).result()


@dataclass
class _Files:
    """The files of an image folder by their place in it."""

    root: str
    real_root: str
    paths: dict[str, str] = field(default_factory=dict)
    by_name: dict[str, list[str]] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    linked_folders: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> _Files:
        # Absolute, so that a worker in another folder or on another machine opens the same file.
        files = cls(os.path.abspath(folder), os.path.realpath(folder))
        for place, path, is_link in walk_files(files.root, files.linked_folders):
            real = os.path.realpath(path) if is_link else path
            if is_link and not files.is_inside(real):
                files.outside.add(place)
            files.paths[place] = real
            files.by_name.setdefault(place.rpartition("/")[2], []).append(place)
        return files

    def is_inside(self, real: str) -> bool:
        return real.startswith(self.real_root.rstrip(os.sep) + os.sep)

    def folders_elsewhere(self) -> tuple[str, ...]:
        """Return the links to folders that are not part of this one anyway."""
        links = ((place, os.path.realpath(os.path.join(self.root, place))) for place in self.linked_folders)
        return tuple(sorted(place for place, real in links if real != self.real_root and not self.is_inside(real)))

    def behind_link(self, place: str) -> str | None:
        """Return the place of a file that is reached through a link to a folder; add it if it lies outside."""
        if not any(place.startswith(f"{linked}/") for linked in self.linked_folders):
            return None
        real = os.path.realpath(os.path.join(self.root, place))
        if not self.is_inside(real):
            if os.path.isfile(real):
                self.paths[place] = real
                self.outside.add(place)
                return place
            return None
        inside = os.path.relpath(real, self.real_root).replace(os.sep, "/")
        return inside if inside in self.paths else None


class _Search:
    """What the names of one table mean in one folder."""

    def __init__(self, folder: Path, files: _Files, names: Sequence[str]) -> None:
        self.folder = folder
        self.files = files
        self.names = names
        unsafe = {names[position] for position in unsafe_names(names)}
        #: Names with slashes as the folder has them; absolute ones without what an absolute path begins with.
        self.bare = bool(names) and not unsafe and not any(mark in " ".join(names) for mark in "/\\")
        self.written = (
            dict(zip(names, names, strict=True))
            if self.bare
            else {name: self._plain(name) for name in dict.fromkeys(names) if name not in unsafe or not _climbs(name)}
        )
        self.absolute = unsafe & self.written.keys()
        self.places: dict[str, str] = {}
        self.ambiguous: list[AmbiguousName] = []
        self.nearly: list[NearName] = []
        self.alternatives: list[NearName] = []
        #: For a number of parts, files by so many last parts of their paths.
        self.endings: dict[int, dict[str, str]] = {}
        self.dropped = self._leading_folders()

    def _plain(self, name: str) -> str:
        if "\\" in name and name not in self.files.paths:
            name = name.replace("\\", "/")
        if "./" in name or "//" in name:
            beginning = "/" if name.startswith("/") else ""
            name = beginning + "/".join(part for part in name.split("/") if part not in ("", "."))
        return name

    def _leading_folders(self) -> str:
        """Return the shortest leading folders common to all names without which any name has a file; else nothing."""
        written = self.written.values()
        if not written or self.bare:
            return ""
        common = os.path.commonprefix([min(written), max(written)])
        common = common[: common.rfind("/") + 1]
        own = f"{self.files.root}/".replace(os.sep, "/")
        candidates = [] if self.absolute else [""]
        candidates += [own] * common.startswith(own)
        candidates += [common[: end + 1] for end, letter in enumerate(common) if letter == "/"]
        return next((lead for lead in candidates if any(self._under(lead))), "")

    def _under(self, lead: str) -> Iterator[bool]:
        files, start = self.files, len(lead)
        return (
            name[start:] in files.paths or ("/" not in name and name in files.by_name) for name in self.written.values()
        )

    def result(self) -> LocatedImages:
        # First, and at once, what nearly all names of a big table beside a few images are.
        by_name = self.files.by_name
        lost = [name for name in self.written if name not in by_name] if self.bare else []
        for name in [name for name in self.written if name in by_name] if self.bare else self.written:
            self._look_up(name, self.written[name], lost)
        self._look_for_near_names(lost)
        self._look_for_uids(lost)
        shared = self._shared_files()
        nowhere = {item.name for item in self.ambiguous}.union(*(both.names for both in shared))
        refused_names = {name for name, place in self.places.items() if place in self.files.outside}
        if self.absolute and not self.dropped:
            refused_names |= self.absolute - self.places.keys()
        found = {
            name: Path(self.files.paths[place])
            for name, place in self.places.items()
            if name not in refused_names and name not in nowhere
        }
        paths = tuple(map(found.get, self.names))
        missing = [position for position, path in enumerate(paths) if path is None]
        refused: list[int] = []
        if refused_names or not self.bare:
            refused = [at for at in missing if self.names[at] not in self.written or self.names[at] in refused_names]
        if refused or nowhere:
            kept = set(refused)
            missing = [at for at in missing if at not in kept and self.names[at] not in nowhere]
        used = set(self.places.values()).union(*(item.files for item in self.ambiguous))
        return LocatedImages(
            folder=self.folder,
            paths=paths,
            missing=tuple(missing),
            refused=tuple(refused),
            n_unnamed=sum(place.lower().endswith(IMAGE_SUFFIXES) for place in self.files.paths.keys() - used),
            ambiguous=tuple(self.ambiguous),
            shared=shared,
            dropped=self.dropped,
            nearly=tuple(self.nearly),
            alternatives=tuple(self.alternatives),
            linked_folders=self.files.folders_elsewhere(),
        )

    def _look_up(self, name: str, written: str, lost: list[str]) -> None:
        files = self.files
        if name in self.absolute and not self.dropped:
            return
        wanted = written.removeprefix(self.dropped)
        place: str | None = wanted if wanted in files.paths else None
        if place is None and "/" not in written and wanted in files.by_name:
            places = files.by_name[wanted]
            if len(places) > 1:
                self.ambiguous.append(AmbiguousName(name, tuple(sorted(places))))
                return
            place = places[0]
        if place is None and files.linked_folders:
            place = files.behind_link(wanted)
        if place is None:
            lost.append(name)
            return
        self.places[name] = place
        if "\\" in name and written != name:
            self.nearly.append(NearName(name, place, SLASHES))

    def _look_for_near_names(self, lost: Sequence[str]) -> None:
        """Match names with files that differ in form only, where that is certain; else keep what is nearly there."""
        if not lost:
            return
        by_place, by_name = _by_key(self.files)
        written = lost if self.bare else [self.written[name] for name in lost]
        lost = _perhaps_near(written, by_name.keys(), lost)
        wanted = {name: self.written[name].removeprefix(self.dropped) for name in lost}
        keys = {name: _key(text) for name, text in wanted.items()}
        asked = Counter(keys.values())
        taken = set(self.places.values()).union(*(item.files for item in self.ambiguous))
        for name in lost:
            key = keys[name]
            bare = "/" not in self.written[name]
            candidates = (by_name if bare else by_place).get(key, [])
            free = [place for place in candidates if place not in taken]
            if len(candidates) == len(free) == 1 and asked[key] == 1:
                self.places[name] = free[0]
                self.nearly.append(NearName(name, free[0], _difference(name, wanted[name], free[0])))
                continue
            if len(candidates) > 1 and _without_ending(wanted[name]) == wanted[name]:
                self.ambiguous.append(AmbiguousName(name, tuple(candidates)))  # an id without ending
                continue
            elsewhere = candidates[0] if candidates else self._elsewhere(key, by_place)
            if elsewhere is not None:
                self.alternatives.append(NearName(name, elsewhere, "place"))

    def _elsewhere(self, key: str, by_place: dict[str, list[str]]) -> str | None:
        """Return a file that lies below or above where a name says: one of the two paths ends in the other."""
        parts = key.split("/")
        above = ("/".join(parts[first:]) for first in range(1, len(parts)))
        found = next((by_place[path] for path in above if path in by_place), None)
        if found is not None:
            return found[0]
        if len(parts) not in self.endings:
            # One look-up for each name: millions of files may be called view1_frontal.jpg.
            self.endings[len(parts)] = {
                "/".join(place.split("/")[-len(parts) :]): files[0] for place, files in reversed(by_place.items())
            }
        return self.endings[len(parts)].get(key)

    def _look_for_uids(self, lost: Sequence[str]) -> None:
        """Find the DICOM files of names that are SOP instance UIDs, whatever the files are called."""
        from cxr_cli.data.dicom.uids import files_by_uid, uid_of_name

        taken = set(self.places.values()).union(*(item.files for item in self.ambiguous))
        free = {place: self.files.paths[place] for place in self.files.paths.keys() - taken - self.files.outside}
        if not free:
            return
        uids = {name: uid for name in lost if name not in self.places and (uid := uid_of_name(self.written[name]))}
        if not uids:
            return
        found = files_by_uid(free, uids.values())
        for name, uid in uids.items():
            places = found.get(uid, [])
            if len(places) == 1:
                self.places[name] = places[0]
                self.nearly.append(NearName(name, places[0], SOP_INSTANCE))
            elif places:
                self.ambiguous.append(AmbiguousName(name, tuple(places)))

    def _shared_files(self) -> tuple[SharedFile, ...]:
        names: dict[str, list[str]] = {}
        if len(set(self.places.values())) < len(self.places):
            for name, place in self.places.items():
                names.setdefault(place, []).append(name)
        return tuple(SharedFile(place, tuple(both)) for place, both in names.items() if len(both) > 1)


def _climbs(name: str) -> bool:
    """Whether a name is unsafe for another reason than being absolute."""
    relative = name.replace("\\", "/").lstrip("/")
    if relative[1:2] == ":" and relative[:1].isascii() and relative[:1].isalpha():
        relative = relative[2:].lstrip("/")
    return not relative or is_unsafe_name(relative)


def _key(place: str) -> str:
    """Return a text in which a name and its file are equal if they differ in case, Unicode form or ending alone."""
    return _without_ending(_folded(place))


def _folded(place: str) -> str:
    """Return a text in which names are equal that differ in case or Unicode form alone."""
    if place.isascii():
        return place.lower()  # the same, in a tenth of the time
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", place).casefold())


def _perhaps_near(written: Sequence[str], keys: Collection[str], names: Sequence[str]) -> Sequence[str]:
    """Leave out names whose last part has the key of no file, which are nearly all where few images are present.

    A file of nearly the same name, wherever it lies, has the last part of the name's key. A few names too many are
    kept, because keys are not computed here.
    """
    if len(keys) * len(_ENDINGS) > len(names):
        return names
    folded: Sequence[str]
    likely = {key + ending for key in keys for ending in ("", *_ENDINGS)}
    together = "\n".join(written)
    if together.isascii() and together.count("\n") == len(names) - 1 and "/" not in together:
        lower = together.lower()
        folded = written if lower == together else lower.split("\n")
    else:
        folded = [_folded(text).rpartition("/")[2] for text in written]
    return [name for name, text in zip(names, folded, strict=True) if text in likely]


def _without_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.casefold()}" in _ENDINGS else name


def _by_key(files: _Files) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    by_place: dict[str, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    for place in sorted(files.paths):
        if place.lower().endswith(_ENDINGS):
            key = _key(place)
            by_place.setdefault(key, []).append(place)
            by_name.setdefault(key.rpartition("/")[2], []).append(place)
    return by_place, by_name


def _difference(name: str, wanted: str, place: str) -> str:
    if "/" not in wanted:
        place = place.rpartition("/")[2]
    composed, file = (unicodedata.normalize("NFC", text) for text in (wanted, place))
    stem, file_stem = _without_ending(composed), _without_ending(file)
    ending, file_ending = composed[len(stem) :], file[len(file_stem) :]
    found = {
        SLASHES: "\\" in name and "\\" not in wanted,
        UNICODE: _without_ending(wanted).casefold() != _without_ending(place).casefold(),
        CASE: stem != file_stem or (ending != file_ending and ending.casefold() == file_ending.casefold()),
        ENDING: ending.casefold() != file_ending.casefold(),
    }
    return " and ".join(kind for kind, differs in found.items() if differs)


def walk_files(folder: str, linked_folders: list[str] | None = None) -> Iterator[tuple[str, str, bool]]:
    """Yield (relative place, path, whether a link) of every file; links to folders are listed and not followed.

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
                elif linked_folders is not None and entry.is_symlink() and os.path.isdir(entry.path):
                    linked_folders.append(place)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, or to where we may not look
        return False
