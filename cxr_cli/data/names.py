"""Names in tables: how a pathology is printed, and which image names could lead out of the image folder."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cxr_cli.errors import shown

#: Longer than any path on any system.
LONGEST_NAME = 4096
#: What is said of such names where they are kept.
UNSAFE = "image name is absolute, leaves the image folder or holds control characters: never opened"


def in_print(pathology: str) -> str:
    """Return a pathology's name as papers print it: "Pleural_Thickening" becomes "Pleural thickening".

    Only words of the form "Thickening" are put in lower case; abbreviations such as COVID-19 stay as they are.
    """
    first, *others = pathology.replace("_", " ").split() or [pathology]
    return " ".join([first, *(word.lower() if word.istitle() else word for word in others)])


def unsafe_names(names: Sequence[str]) -> list[int]:
    r"""Return the positions of image names that are absolute or climb out of their folder.

    Names come from outside: ``/etc/passwd``, ``C:\x.png``, ``../x.png`` and ``a/../../x.png`` must not be opened.
    """
    if all(names) and max(map(len, names), default=0) <= LONGEST_NAME:
        joined = " ".join(names)
        if "\\" not in joined and ":" not in joined and _is_harmless(joined):
            return []
    return [position for position, name in enumerate(names) if is_unsafe_name(name)]


def _is_harmless(joined: str) -> bool:
    """Whether names with blanks between them are printable, and none is absolute or holds two dots."""
    if not joined.isascii():
        return joined.isprintable() and " /" not in joined and ".." not in joined and not joined.startswith("/")
    import numpy as np  # the words of names are wanted where numpy is not

    # The same, in a fifth of the time: blanks and dots are few.
    raw = np.frombuffer(f" {joined} ".encode("ascii"), np.uint8)
    if raw.min() < ord(" ") or raw.max() > ord("~"):
        return False
    blanks, dots = np.flatnonzero(raw[:-1] == ord(" ")), np.flatnonzero(raw == ord("."))
    return not ((raw[blanks + 1] == ord("/")).any() or (np.diff(dots) == 1).any())


def is_unsafe_name(name: str) -> bool:
    """Whether an image name is absolute, climbs out of its folder, holds a control character, or is not a name."""
    if len(name) > LONGEST_NAME:
        return True
    parts = re.split(r"[/\\]", name)
    return parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name) is not None or not name.isprintable()


def why_unsafe(name: str) -> str:
    """Say what is wrong with an unsafe name, for an error message."""
    if len(name) > LONGEST_NAME:
        return f"'{shown(name)}' has {len(name):,} characters"
    if not name.isprintable():
        return f"'{shown(name)}' holds a character that cannot be printed"
    return f"'{shown(name)}' is absolute or leaves the image folder"
