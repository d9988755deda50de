"""What a model expects of its input images, and how that is read from the manifest of ``cxr preprocess``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_cli.choices import Standardization, checked
from cxr_cli.data.documents import image_size_of, is_number, read_json
from cxr_cli.data.files import InputFile, describe_input
from cxr_cli.errors import InputError, UsageError, argument, shown
from cxr_cli.services.result import Result

#: How a grey image becomes an input with three channels.
CHANNEL_RULE = "the grey image three times"
#: The manifest's name in the output folder of ``cxr preprocess``.
MANIFEST = "preprocess.json"
_REMEDY = "Pass the preprocess.json that 'cxr preprocess' wrote, or its folder."


@dataclass(frozen=True)
class Preprocessing(Result):
    """What must be done to an image before a model sees it; a part of the model.

    Attributes
    ----------
    standardize
        "samplewise": (x - mean) / (std + 1e-6) with the image's own mean and standard deviation; "featurewise": the
        same with `mean` and `std`; "imagenet": ``keras.applications.densenet.preprocess_input``; "none": grey
        levels from 0 to 255.
    mean
        Of the training images, in grey levels; None but for "featurewise".
    std
        Standard deviation of the training images, in grey levels; None but for "featurewise".
    interpolation
        How images are resized; None if not known.
    manifest
        The manifest of ``cxr preprocess`` that this was taken from; None without one.
    channels
        How a grey image becomes three channels.
    window
        Of DICOM images, in place of their own: "centre,width" or "full"; None is that of each file.
    """

    standardize: Standardization = "samplewise"
    mean: float | None = None
    std: float | None = None
    interpolation: str | None = None
    manifest: InputFile | None = None
    channels: str = CHANNEL_RULE
    window: str | None = None

    def __post_init__(self) -> None:
        checked(Standardization, self.standardize, "standardize")
        for value in (self.mean, self.std):
            if value is not None and not is_number(value):
                raise UsageError(f"cannot standardize with {shown(repr(value))}", expected="a finite number")
        if self.standardize == "featurewise" and (self.mean is None or self.std is None):
            raise UsageError(
                f"{argument('standardize', 'featurewise')} needs mean and standard deviation of the training images",
                remedy="Run 'cxr preprocess … --standardize featurewise --statistics fit' and give its output folder: "
                f"{argument('store')}.",
            )


@dataclass(frozen=True)
class Manifest:
    """What the manifest of a store says that concerns a model.

    Attributes
    ----------
    preprocessing
        What was done to the images.
    image_size
        (height, width) in pixels.
    pathologies
        Columns of the labels in the store, in order; empty if it has none.
    """

    preprocessing: Preprocessing
    image_size: tuple[int, int]
    pathologies: tuple[str, ...]


def read_manifest(path: Path) -> Manifest:
    """Read the manifest that ``cxr preprocess`` writes beside its images.

    Parameters
    ----------
    path
        The file, or the folder it lies in.

    Raises
    ------
    InputError
        It is missing, is no such manifest, or lacks something.
    """
    path = path / MANIFEST if path.is_dir() else path
    document = read_json(path, remedy=_REMEDY)
    recipe = _recipe(path, document)
    statistics = recipe.get("statistics") or {}
    try:
        image_size = image_size_of(recipe["image_size"])
        preprocessing = Preprocessing(
            standardize=recipe["standardize"],
            mean=statistics.get("mean"),
            std=statistics.get("std"),
            interpolation=recipe.get("interpolation"),
            manifest=describe_input(path),
            window=recipe.get("window"),
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, UsageError) as error:
        raise InputError(
            f"{path}: is not the manifest of a store ({shown(str(error), 200)})", remedy=_REMEDY
        ) from error
    return Manifest(preprocessing, image_size, _pathologies(document))


def _recipe(path: Path, document: Any) -> Mapping[str, Any]:
    recipe = document.get("recipe") if isinstance(document, dict) else None
    if not isinstance(recipe, dict):
        raise InputError(f"{path}: says nothing of how images were prepared", expected="a recipe", remedy=_REMEDY)
    return recipe


def _pathologies(document: Mapping[str, Any]) -> tuple[str, ...]:
    names = document.get("pathologies")
    return tuple(str(name) for name in names) if isinstance(names, list) else ()
