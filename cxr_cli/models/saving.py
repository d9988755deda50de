"""Models saved so that the same model gives the same bytes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

#: The earliest date that a ZIP archive can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model as ``.keras``, without the date and the memory addresses that Keras writes into it.

    Parameters
    ----------
    model
        Any Keras model.
    path
        A name that ends in ``.keras``; replaced if it exists.
    """
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    members["metadata.json"] = _json({"keras_version": keras.__version__})
    members["config.json"] = _json(_renumber(json.loads(members["config.json"]), {}))
    # Stored, not deflated, as Keras does: weights hardly shrink.
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8")


def _renumber(config: Any, numbers: dict[int, int]) -> Any:
    """Give the objects that a configuration shares numbers in order of appearance instead of memory addresses."""
    if isinstance(config, list):
        return [_renumber(item, numbers) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: numbers.setdefault(value, len(numbers)) if key == "shared_object_id" else _renumber(value, numbers)
        for key, value in config.items()
    }
