"""Matplotlib as it was delivered: no configuration of the user or of the current folder changes or runs anything.

The folder that one works in is data. A ``matplotlibrc`` in it would be read when matplotlib is imported, before any
other; it could change the plots, start LaTeX on text of the data, or make the import fail. And text of the data is
never taken for a formula: pathologies and file names may contain ``$``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MISSING_GLYPH = re.compile(r"Glyph (\d+) .*missing from font")


class MissingGlyphWarning(UserWarning):
    """A plot has signs that the font lacks; they are drawn as boxes."""


def import_matplotlib() -> None:
    """Import matplotlib with its own configuration file; what else there is, in no way.

    In a program other than the command line, the user's configuration is applied afterwards, as if matplotlib had
    been imported by the program itself.
    """
    if "matplotlib" in sys.modules:
        return
    spec = importlib.util.find_spec("matplotlib")
    folders = [] if spec is None else spec.submodule_search_locations or []
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        # It looks into the current folder first, and has no switch for that.
        with contextlib.ExitStack() as stack:
            for folder in folders:
                if (Path(folder) / "mpl-data" / "matplotlibrc").is_file():
                    stack.enter_context(_working_in(Path(folder) / "mpl-data"))
            matplotlib = importlib.import_module("matplotlib")
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if "cxr_cli.cli" not in sys.modules:
        with contextlib.suppress(Exception):
            matplotlib.rcParams.update(matplotlib.rc_params())
            if backend:
                matplotlib.rcParams["backend"] = backend


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Change the current folder and come back, even to one that cannot be listed or was removed."""
    before: int | str
    try:
        before = os.open(".", getattr(os, "O_PATH", os.O_RDONLY)) if hasattr(os, "fchdir") else os.getcwd()
    except OSError:
        yield  # nothing can be read there either
        return
    try:
        os.chdir(folder)
        yield
    finally:
        os.chdir(before)
        if isinstance(before, int):
            os.close(before)


@contextlib.contextmanager
def packaged_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, text as it stands, and without warnings of missing glyphs.

    A context, and a decorator of functions that make figures.
    """
    import_matplotlib()
    import matplotlib

    with matplotlib.rc_context(_defaults()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING_GLYPH.pattern)
        yield


@cache
def _defaults() -> Any:
    import matplotlib

    # The backend is not a matter of style; figures are saved without any.
    style: dict[str, Any] = {}
    style.update(item for item in matplotlib.rcParamsDefault.items() if not item[0].startswith("backend"))
    style.update({"text.parse_math": False, "text.usetex": False})
    return style


def save_figure(figure: Figure, path: Path, *, dpi: int) -> None:
    """Save a figure as PNG without a time stamp or version, so that equal figures give equal bytes.

    Warns
    -----
    MissingGlyphWarning
        Its text has signs that the font lacks.
    """
    with packaged_style(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(path, dpi=dpi, metadata={"Software": "cxr"})
    missing = dict.fromkeys(
        chr(int(match[1])) for item in caught if (match := _MISSING_GLYPH.match(str(item.message))) is not None
    )
    if missing:
        some = " ".join(sign for sign in list(missing)[:10] if sign.isprintable())
        warnings.warn(
            f"the plots' font lacks {len(missing)} signs ({some}); they are drawn as boxes",
            MissingGlyphWarning,
            stacklevel=2,
        )
