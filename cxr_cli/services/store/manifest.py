"""The manifest of a store, ``preprocess.json``: one dataclass that reads and writes it, for all commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cxr_cli.choices import Engine, Standardization, UncertainPolicy, checked
from cxr_cli.data.documents import image_size_of, is_number, read_json
from cxr_cli.data.files import STORE_MANIFEST, InputFile, Outputs, describe_input
from cxr_cli.data.names import is_unsafe_name
from cxr_cli.errors import CxrError, InputError, UsageError, argument, shown
from cxr_cli.services.envelope import SCHEMA_VERSION, head
from cxr_cli.services.result import Result, plain, restore
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import EPSILON

#: How a grey image becomes an input with three channels.
CHANNEL_RULE = "the grey image three times"
_REMEDY = "Pass the preprocess.json that 'cxr preprocess' wrote, or its folder."


@dataclass(frozen=True)
class Preprocessing(Result):
    """The preparation of an image before a model sees it; a part of the model.

    Attributes
    ----------
    standardize
        "samplewise": (x - mean) / (std + 1e-6) with the image's own mean and standard deviation; "featurewise": the
        same with `mean` and `std`; "imagenet": ``keras.applications.densenet.preprocess_input``; "torchxrayvision":
        (2x / 255 - 1) * 1024; "none": grey levels from 0 to 255.
    mean
        Of the training images, in grey levels; None but for "featurewise".
    std
        Standard deviation of the training images, in grey levels; None but for "featurewise".
    interpolation
        How images are resized; None if unknown.
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
        for name, value, largest in (("mean", self.mean, 255), ("std", self.std, 127.51)):
            if value is not None and not (is_number(value) and 0 <= value <= largest):
                raise UsageError(
                    f"cannot standardize with {name} {shown(repr(value))}",
                    expected=f"grey levels from 0 to {largest:g}",
                )
        if self.standardize == "featurewise" and (self.mean is None or self.std is None):
            raise UsageError(
                f"{argument('standardize', 'featurewise')} needs mean and standard deviation of the training images",
                remedy="Run 'cxr preprocess … --standardize featurewise --statistics fit' and give its output folder: "
                f"{argument('store')}.",
            )


@dataclass(frozen=True, kw_only=True)
class StoreManifest:
    """The content of ``preprocess.json``; written last of all, so that a folder without it is not finished.

    Attributes
    ----------
    versions
        Of ``cxr``, Python and the libraries that decode images.
    inputs
        The label table, and the manifest that statistics were taken from.
    image_folder
        Where the images were.
    uncertain
        How uncertain labels of the table were read.
    recipe
        How each image was made.
    epsilon
        What is added to a standard deviation before values are divided by it.
    statistics_fitted_on
        The table behind the statistics of the recipe; None if it has none.
    engine
        Which code made the pixels.
    fit_sample
        On how many images statistics were fitted, drawn at random; None is all.
    seed
        Of the samples.
    pathologies
        Columns of the labels in the index, in order.
    store
        Name of the array, or of the folder of PNGs.
    index
        Name of the table with one line for each image.
    shape
        Of the array.
    dtype
        Of the array.
    n_images
        Rows of the label table.
    n_done
        Images in the store.
    n_failed
        Images that are not in the store.
    comparison
        The images before and after, as plain values.
    image_issues
        Assumptions made on reading images, and in how many.
    table_schema, patient_namespace
        The schema that the label table was read as, and the numbering of its patients; None where unknown.
    file
        The manifest itself, if it was read from a file.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[InputFile, ...]
    image_folder: str = ""
    uncertain: UncertainPolicy
    recipe: Recipe
    epsilon: float = EPSILON
    statistics_fitted_on: InputFile | None = None
    engine: Engine
    fit_sample: int | None = None
    seed: int = 0
    pathologies: tuple[str, ...]
    store: str
    index: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    n_images: int = 0
    n_done: int
    n_failed: int = 0
    comparison: Any = None
    image_issues: Mapping[str, int] = field(default_factory=dict)
    table_schema: str | None = None
    patient_namespace: str | None = None
    file: InputFile | None = field(default=None, compare=False, metadata={"json": False})

    def __post_init__(self) -> None:
        # It comes from files too.
        if not self.inputs:
            raise ValueError("inputs: the label table is missing")
        image_size_of(list(self.recipe.image_size))
        if self.recipe.standardize == "featurewise" and self.recipe.statistics is None:
            raise ValueError("recipe.statistics are missing")
        for name in self.pathologies:
            if not name or self.pathologies.count(name) > 1:
                raise ValueError(f"pathologies: {shown(repr(name))}")
        if min(self.n_images, self.n_done, self.n_failed) < 0:
            raise ValueError("a count is negative")
        for name in (self.store, self.index):
            if is_unsafe_name(name):
                raise ValueError(f"{shown(repr(name))} lies outside the folder")

    @property
    def table(self) -> InputFile:
        """The label table that the store was made for."""
        return self.inputs[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images, in pixels."""
        return self.recipe.image_size

    @property
    def preprocessing(self) -> Preprocessing:
        """The preparation of the images, as a part of a model."""
        statistics = self.recipe.statistics if self.recipe.standardize == "featurewise" else None
        return Preprocessing(
            standardize=self.recipe.standardize,
            mean=None if statistics is None else statistics.mean,
            std=None if statistics is None else statistics.std,
            interpolation=self.recipe.interpolation,
            manifest=self.file,
            window=self.recipe.window,
        )

    @classmethod
    def read(cls, path: Path | str, *, remedy: str = _REMEDY) -> StoreManifest:
        """Read the manifest of a finished store.

        Parameters
        ----------
        path
            The file, or the folder it lies in.
        remedy
            What a user can do who gave something else.

        Raises
        ------
        InputError
            It is missing or is not the manifest of a store.
        """
        path = Path(path)
        path = path / STORE_MANIFEST if path.is_dir() else path
        document = read_json(path, remedy=remedy)
        if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{path}: is not the manifest of a store", expected=f"schema_version {SCHEMA_VERSION}", remedy=remedy
            )
        try:
            _refuse_unknown_steps(document.get("recipe"))
            manifest: StoreManifest = restore(cls, document)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, UsageError) as error:
            reason = error.what if isinstance(error, CxrError) else str(error)
            raise InputError(f"{path}: is not the manifest of a store ({shown(reason, 200)})", remedy=remedy) from error
        return replace(manifest, file=describe_input(path))

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        body = plain(self)
        assert isinstance(body, dict)
        return head("preprocess") | body

    def write(self, outputs: Outputs) -> Path:
        """Write the manifest into the folder of the store; return its path."""
        return outputs.write_json(STORE_MANIFEST, self.to_document())


def _refuse_unknown_steps(recipe: object) -> None:
    """Refuse a recipe with an unknown name, because its effect on the pixels is unknown.

    Raises
    ------
    ValueError
        It has one.
    """
    known = {field.name for field in fields(Recipe)}
    for name in recipe if isinstance(recipe, dict) else ():
        if name not in known:
            raise ValueError(f"recipe.{name} is unknown")


def check_recipe(folder: Path, image_size: tuple[int, int], preprocessing: Preprocessing) -> None:
    """Check that the images of a store fit a model.

    Parameters
    ----------
    folder
        The store.
    image_size, preprocessing
        Those of the model card.

    Raises
    ------
    InputError
        The store's manifest is missing or damaged.
    UsageError
        Its images have another size, were standardized in another way, or were shown with another window.
    """
    manifest = StoreManifest.read(folder)
    theirs = manifest.preprocessing
    if manifest.image_size != image_size:
        raise UsageError(
            f"{folder}: its images are {_times(manifest.image_size)} pixels, the model takes {_times(image_size)}",
            remedy=f"Run 'cxr preprocess --image-size {image_size[0]}x{image_size[1]}'.",
        )
    if _scheme(preprocessing) != _scheme(theirs):
        remedy = f"Run 'cxr preprocess --standardize {preprocessing.standardize}'"
        if preprocessing.standardize == "featurewise":
            remedy += " with --statistics and the store that the model was built with"
        raise UsageError(
            f"{folder}: its images are standardized {_named(theirs)}, the model takes {_named(preprocessing)}",
            remedy=f"{remedy}.",
        )
    if preprocessing.window != theirs.window:
        raise UsageError(
            f"{folder}: its DICOM images were shown with {_window(theirs)}, the model takes {_window(preprocessing)}",
            remedy="Run 'cxr preprocess' again, "
            + (f"with --window {preprocessing.window}." if preprocessing.window else "without --window."),
        )


def _window(preprocessing: Preprocessing) -> str:
    return f"the window {preprocessing.window}" if preprocessing.window else "the window of each file"


def _scheme(preprocessing: Preprocessing) -> tuple[object, ...]:
    if preprocessing.standardize == "featurewise":
        return (preprocessing.standardize, preprocessing.mean, preprocessing.std)
    return (preprocessing.standardize,)


def _named(preprocessing: Preprocessing) -> str:
    if preprocessing.standardize == "featurewise":
        return f"featurewise (mean {preprocessing.mean:g}, standard deviation {preprocessing.std:g})"
    return preprocessing.standardize


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
