"""The finished store in an output folder: what a new run of preprocess is about to take the place of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cxr_cli.data.files import STORE_MANIFEST
from cxr_cli.data.folders import LocatedImages
from cxr_cli.data.labels import LabelTable
from cxr_cli.errors import InputError, OutputError, argument
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.store.manifest import StoreManifest

#: All that an unfinished run has in its folder; the older form of the statistics among it.
_UNFINISHED = frozenset(
    (
        *("journal.jsonl", "statistics.jsonl", "statistics.json", "images.npy", "images", "replaced"),
        *("index.csv", "failures.csv", STORE_MANIFEST),
    )
)


def finished_store(folder: Path) -> StoreManifest | None:
    """Return the manifest of the finished store in a folder, or None if the folder has none that makes sense."""
    try:
        return StoreManifest.read(folder / STORE_MANIFEST)
    except InputError:
        return None


def is_made_alike(store: StoreManifest, table: LabelTable, options: Options) -> bool:
    """Whether a run on a table makes a store again, or would if the image files were still the same."""
    recipe = store.recipe
    if options.fit_statistics:  # what comes of it is unknown before the run
        recipe = replace(recipe, statistics=None)
    made = (store.table.sha256, store.uncertain, recipe, store.engine)
    return made == (table.source.sha256, table.uncertain, options.recipe, options.engine)


def refuse_to_replace(png_folder: Path, located: LocatedImages, *, is_store: bool) -> None:
    """Raise OutputError if the folder that PNGs are to replace is there and holds the sources or is not a store.

    Parameters
    ----------
    png_folder
        The folder that is replaced as a whole when the PNGs are complete.
    located
        The sources.
    is_store
        Whether it is known to be a store's.
    """
    if not png_folder.exists():
        return
    if _any_inside(png_folder, located):
        raise OutputError(
            f"{png_folder}: holds images that are to be preprocessed; PNGs would take their place",
            remedy=f"Choose another {argument('output')}.",
        )
    if not is_store:
        raise OutputError(
            f"{png_folder}: already exists and was not written by cxr preprocess; it will not be replaced",
            remedy=f"Choose another {argument('output')}, or remove it.",
        )


def _any_inside(folder: Path, located: LocatedImages) -> bool:
    root = os.path.realpath(folder) + os.sep
    # The folder's real path is looked up once: for every image it would take seconds.
    given, real = os.path.abspath(located.folder), os.path.realpath(located.folder)
    paths: Iterable[str] = (str(path) for path in located.paths if path is not None)
    return any(f"{real}{path.removeprefix(given)}".startswith(root) for path in paths)


def is_unfinished_run(partial: Path) -> bool:
    """Whether an unfinished run left the folder: it has a journal and nothing that is not ours, or nothing."""
    try:
        # A kill leaves files under their temporary names.
        names = {name for name in os.listdir(partial) if not re.fullmatch(r"\..+-[0-9a-f]{16}\.tmp(\..+)?", name)}
    except OSError:
        return False
    return not partial.is_symlink() and names <= _UNFINISHED and (not names or "journal.jsonl" in names)
