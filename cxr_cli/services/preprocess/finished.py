"""The finished store in an output folder: what a new run of preprocess is about to take the place of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cxr_cli.choices import Engine, checked
from cxr_cli.data.files import InputFile
from cxr_cli.data.folders import LocatedImages
from cxr_cli.data.labels import LabelTable
from cxr_cli.errors import OutputError
from cxr_cli.services.images.prepare import Recipe
from cxr_cli.services.preprocess.options import MANIFEST, Options, recipe_of

#: All that an unfinished run has in its folder; the older form of the statistics among it.
_UNFINISHED = frozenset(
    (
        *("journal.jsonl", "statistics.jsonl", "statistics.json", "images.npy", "images", "replaced"),
        *("index.csv", "failures.csv", "preprocess.json"),
    )
)


@dataclass(frozen=True)
class FinishedStore:
    """A store as its manifest tells of it.

    Attributes
    ----------
    table
        The label table it was made for.
    uncertain
        What uncertain labels of the table became.
    recipe
        How each image was made.
    engine
        Who made the pixels.
    name
        Of the array or the folder of PNGs.
    n_done
        Images in it.
    """

    table: InputFile
    uncertain: str
    recipe: Recipe
    engine: Engine
    name: str
    n_done: int

    def is_made_alike(self, table: LabelTable, options: Options) -> bool:
        """Whether a run on a table makes the same again, or would if the image files were still the same."""
        recipe = self.recipe
        if options.fit_statistics:  # what comes of it is not known before the run
            recipe = replace(recipe, statistics=None)
        made = (self.table.sha256, self.uncertain, recipe, self.engine)
        return made == (table.source.sha256, table.uncertain, options.recipe, options.engine)


def finished_store(folder: Path) -> FinishedStore | None:
    """Return the finished store in a folder, or None if the folder has no manifest that makes sense."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        return FinishedStore(
            table=InputFile(**document["inputs"][0]),
            uncertain=document["uncertain"],
            recipe=recipe_of(document),
            engine=checked(Engine, document["engine"], "engine"),
            name=document["store"],
            n_done=int(document["n_done"]),
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def refuse_to_replace(pictures: Path, located: LocatedImages, *, is_store: bool) -> None:
    """Raise OutputError if the folder that PNGs are to replace is there and holds the sources or is no store.

    Parameters
    ----------
    pictures
        The folder that is replaced as a whole when the PNGs are complete.
    located
        The sources.
    is_store
        Whether it is known to be a store's.
    """
    if not pictures.exists():
        return
    if _any_inside(pictures, located):
        raise OutputError(
            f"{pictures}: holds images that are to be preprocessed; PNGs would take their place",
            remedy="Choose another --output.",
        )
    if not is_store:
        raise OutputError(
            f"{pictures}: is there and is no store's; PNGs would take its place",
            remedy="Choose another --output, or remove it.",
        )


def _any_inside(folder: Path, located: LocatedImages) -> bool:
    root = os.path.realpath(folder) + os.sep
    # The folder's real path is looked up once: for every image it would take seconds.
    given, real = os.path.abspath(located.folder), os.path.realpath(located.folder)
    paths: Iterable[str] = (str(path) for path in located.paths if path is not None)
    return any(f"{real}{path.removeprefix(given)}".startswith(root) for path in paths)


def is_unfinished_run(partial: Path) -> bool:
    """Whether a folder is what an unfinished run left: it is empty, or has a journal and nothing that is not ours."""
    try:
        names = set(os.listdir(partial))
    except OSError:
        return False
    return not partial.is_symlink() and names <= _UNFINISHED and (not names or "journal.jsonl" in names)
