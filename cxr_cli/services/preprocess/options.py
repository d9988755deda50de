"""What ``cxr preprocess`` is asked to do, checked; and statistics carried from the training table's store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_cli.choices import Engine, checked
from cxr_cli.data.dicom.grey import read_window
from cxr_cli.data.documents import image_size_of, read_json
from cxr_cli.data.files import InputFile, describe_input
from cxr_cli.errors import InputError, UsageError, argument
from cxr_cli.services.images.prepare import Recipe
from cxr_cli.services.store.standardization import Statistics

#: Name of the manifest in the output folder, and version of its form.
MANIFEST = "preprocess.json"
SCHEMA_VERSION = 1

_FIT = argument("fit_statistics", True, option="--statistics fit")
_TAKE = argument("read_statistics", option="--statistics STORE")


@dataclass(frozen=True)
class StatisticsSource:
    """Where statistics come from.

    Attributes
    ----------
    manifest
        The ``preprocess.json`` they were read from.
    fitted_on
        The table they were fitted on.
    """

    manifest: InputFile
    fitted_on: InputFile


@dataclass(frozen=True)
class Options:
    """What to make, and how to go about it.

    Attributes
    ----------
    recipe
        What to make of each image.
    engine
        ``fast``, or ``keras``: Keras' own ImageDataGenerator, one process, as the reference.
    fit_statistics
        Fit the statistics for featurewise standardization on this (training) table.
    fit_sample
        On how many of its images, drawn at random; None is all.
    statistics_from
        Where ``recipe.statistics`` came from.
    strict
        Stop at the first image that fails.
    start_over
        Discard what an unfinished run left.
    seed
        Draws the sample for fitting and the sample for comparison.
    n_sample
        How many images the comparison names one by one.
    """

    recipe: Recipe = Recipe()
    engine: Engine = "fast"
    fit_statistics: bool = False
    fit_sample: int | None = None
    statistics_from: StatisticsSource | None = None
    strict: bool = False
    start_over: bool = False
    seed: int = 0
    n_sample: int = 4


def check(options: Options) -> None:
    """Raise UsageError for options that contradict each other."""
    recipe = options.recipe
    checked(Engine, options.engine, "engine")
    read_window(recipe.window)
    featurewise = recipe.standardize == "featurewise"
    if min(recipe.image_size) < 1:
        height, width = recipe.image_size
        raise UsageError(
            argument("image_size", recipe.image_size, option=f"--image-size {height}x{width}"),
            expected="at least 1 pixel each way",
        )
    if options.fit_statistics and recipe.statistics is not None:
        raise UsageError(
            f"{argument('fit_statistics', True)} and {argument('recipe.statistics')} exclude each other",
            remedy="Fit on the training table; take its statistics for all others.",
        )
    if not featurewise and (options.fit_statistics or recipe.statistics is not None):
        raise UsageError(
            f"{argument('standardize', recipe.standardize)} uses no statistics of a table",
            remedy=f"Use {argument('standardize', 'featurewise')}, or leave out the statistics.",
        )
    if featurewise and not options.fit_statistics and recipe.statistics is None:
        raise UsageError(
            f"{argument('standardize', 'featurewise')} needs the statistics of the training table",
            remedy=f"On the training table, fit them with {_FIT}; for other tables, take those of its store: {_TAKE}.",
        )
    if options.fit_sample is not None and not options.fit_statistics:
        raise UsageError(f"{argument('fit_sample')} has no effect without {_FIT}")
    if recipe.format == "png" and recipe.dtype != "uint8":
        raise UsageError(
            f"{argument('format', 'png')}: PNGs hold grey levels, not standardized values",
            remedy=f"Use {argument('dtype', 'uint8')}.",
        )
    if options.engine == "keras":
        _check_keras(recipe)


def _check_keras(recipe: Recipe) -> None:
    if recipe.dtype != "float32" or recipe.format != "npy":
        raise UsageError(
            f"{argument('engine', 'keras')} makes standardized float32 values",
            remedy=f"Leave out {argument('dtype')} and {argument('format')}.",
        )
    if recipe.interpolation == "area":
        raise UsageError(
            f"{argument('engine', 'keras')} has no area interpolation",
            remedy=f"Use {argument('interpolation', 'nearest')} (its default), or bilinear.",
        )


def read_statistics(path: Path, recipe: Recipe) -> tuple[Statistics, StatisticsSource]:
    """Read the statistics that ``cxr preprocess --statistics fit`` fitted on the training table.

    Parameters
    ----------
    path
        The ``preprocess.json`` of the training table's store, or its folder.
    recipe
        What they will be used for: images of another size or interpolation have other statistics.

    Raises
    ------
    InputError
        The file is no manifest, holds no statistics, or was made by another recipe.
    """
    path = path / MANIFEST if path.is_dir() else path
    made = "cxr preprocess TRAIN --standardize featurewise --statistics fit"
    remedy = f"Give the preprocess.json that '{made}' wrote, or its folder."
    try:
        document = read_json(path, remedy=remedy)
        found = document["recipe"]["statistics"]
        statistics = Statistics(**found)
        fitted_on = InputFile(**document["statistics_fitted_on"])
        before = recipe_of(document)
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: holds no statistics of a training table", remedy=remedy) from error
    for name in ("image_size", "interpolation", "dtype", "window"):
        was, now = getattr(before, name), getattr(recipe, name)
        if was != now:
            raise InputError(
                f"{path}: its statistics are of images with {name.replace('_', ' ')} {was}, not {now}",
                remedy="Preprocess all tables alike, or fit again.",
            )
    return statistics, StatisticsSource(describe_input(path), fitted_on)


def recipe_of(document: Mapping[str, Any]) -> Recipe:
    """Return the recipe in a manifest.

    Raises
    ------
    ValueError, TypeError, LookupError
        There is none that makes sense.
    """
    found = document["recipe"]
    return Recipe(
        image_size=image_size_of(found["image_size"]),
        standardize=found["standardize"],
        interpolation=found["interpolation"],
        dtype=found["dtype"],
        format=found["format"],
        statistics=None if found["statistics"] is None else Statistics(**found["statistics"]),
        window=found.get("window"),
    )
