"""The chain of custody: each result should be made from what the steps before it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxr_cli.data.files import STORE_MANIFEST
from cxr_cli.services.report.collect import Collection, Found
from cxr_cli.services.result import Result

#: Inputs that are read again to see whether they are as they were, up to this size.
_MOST_BYTES = 2 * 1024**3

#: For each command the steps that make one of its inputs, by the ending of the file's name: if one of these steps was
#: run, the file must be one that it wrote.
MADE_BY: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "preprocess": ((".csv", ("split",)),),
    "weights": ((".csv", ("split",)),),
    "build-model": ((STORE_MANIFEST, ("preprocess",)),),
    "train": ((STORE_MANIFEST, ("preprocess",)), (".keras", ("build-model",))),
    "predict": ((STORE_MANIFEST, ("preprocess",)), (".keras", ("train", "build-model"))),
    "evaluate": ((".csv", ("predict", "train")),),
    "explain": ((STORE_MANIFEST, ("preprocess",)), (".keras", ("train", "build-model"))),
}
#: Commands whose input of an ending is one among others: an evaluation also reads label tables.
_ONE_OF_MANY = {("evaluate", ".csv")}


@dataclass(frozen=True)
class Break(Result):
    """A place where the chain of custody is broken.

    Attributes
    ----------
    kind
        "edited": a result was changed after it was written; "changed": a file was changed between or after the steps
        that used it; "foreign": a step used a file that the step before it did not write.
    command
        The command whose result is in doubt.
    path
        The file in question.
    message
        The break, in a sentence.
    """

    kind: str
    command: str
    path: str
    message: str


def breaks(collection: Collection) -> tuple[Break, ...]:
    """Return every place where the chain of custody is broken, in the order of the pipeline."""
    found: list[Break] = []
    for run in collection.runs:
        if not run.intact:
            what = f"the result of 'cxr {run.command}' was changed after cxr wrote it"
            found.append(Break("edited", run.command, str(run.path), what))
        found += _changed(run, collection)
        found += _foreign(run, collection)
    return tuple(found)


def _changed(run: Found, collection: Collection) -> Iterable[Break]:
    for item in run.inputs:
        place = run.at(item.path)
        for other in collection.runs:
            for name, sha256 in other.outputs.items():
                if sha256 is not None and other.at(name) == place and sha256 != item.sha256:
                    what = f"'cxr {run.command}' read another content than 'cxr {other.command}' wrote"
                    yield Break("changed", run.command, item.path, f"{item.path}: {what}")
            if other is not run and _earlier(other, run):
                for theirs in other.inputs:
                    if other.at(theirs.path) == place and theirs.sha256 != item.sha256:
                        what = f"changed between 'cxr {other.command}' and 'cxr {run.command}'"
                        yield Break("changed", run.command, item.path, f"{item.path}: {what}")
        now = _sha256_of(place)
        if now is not None and now != item.sha256:
            what = f"changed since 'cxr {run.command}' read it"
            yield Break("changed", run.command, item.path, f"{item.path}: {what}")


def _earlier(one: Found, other: Found) -> bool:
    from cxr_cli.services.json_schema import RESULTS

    order = list(RESULTS)
    return (order.index(one.command), str(one.path)) < (order.index(other.command), str(other.path))


def _foreign(run: Found, collection: Collection) -> Iterable[Break]:
    for ending, makers in MADE_BY.get(run.command, ()):
        made = _written(collection, makers, ending)
        read = [item for item in run.inputs if item.path.endswith(ending)]
        if not made or not read:
            continue
        strangers = [item for item in read if item.sha256 not in made]
        if (run.command, ending) in _ONE_OF_MANY and len(strangers) < len(read):
            continue
        for item in strangers:
            names = " or ".join(f"'cxr {maker}'" for maker in makers if collection.of(maker))
            what = f"'cxr {run.command}' used a file that {names} of this report did not write"
            yield Break("foreign", run.command, item.path, f"{item.path}: {what}")


def _written(collection: Collection, makers: tuple[str, ...], ending: str) -> set[str]:
    """Return the hashes of files with an ending that some commands wrote, cleaned copies of tables among them."""
    commands = (*makers, "check-leakage") if "split" in makers and any(map(collection.of, makers)) else makers
    return {
        sha256
        for command in commands
        for run in collection.of(command)
        for name, sha256 in run.outputs.items()
        if sha256 is not None and name.endswith(ending)
    }


def _sha256_of(path: Path) -> str | None:
    """Return the hash of a plain file that is still there; None otherwise."""
    try:
        if not path.is_file() or path.is_symlink() or path.stat().st_size > _MOST_BYTES:
            return None
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
