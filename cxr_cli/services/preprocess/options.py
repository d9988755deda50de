"""Options of ``cxr preprocess``, checked; and statistics carried from the training table's store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxr_cli.choices import Engine, checked
from cxr_cli.data.dicom.grey import read_window
from cxr_cli.data.files import InputFile
from cxr_cli.errors import InputError, UsageError, argument
from cxr_cli.services.store.manifest import StoreManifest
from cxr_cli.services.store.recipe import Recipe
from cxr_cli.services.store.standardization import Statistics

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
    """Options of `preprocess`.

    Attributes
    ----------
    recipe
        Preparation of each image.
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
    if recipe.standardize == "torchxrayvision":
        raise UsageError(
            f"{argument('engine', 'keras')} cannot standardize torchxrayvision",
            remedy=f"Leave out {argument('engine')}.",
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
        The file is not a manifest, has no statistics, or was made by another recipe.
    """
    made = "cxr preprocess TRAIN --standardize featurewise --statistics fit"
    remedy = f"Give the preprocess.json that '{made}' wrote, or its folder."
    manifest = StoreManifest.read(path, remedy=remedy)
    before, fitted_on = manifest.recipe, manifest.statistics_fitted_on
    if before.statistics is None or fitted_on is None or manifest.file is None:
        raise InputError(f"{path}: has no statistics of a training table", remedy=remedy)
    for name in ("image_size", "interpolation", "dtype", "window"):
        was, now = getattr(before, name), getattr(recipe, name)
        if was != now:
            raise InputError(
                f"{path}: its statistics are of images with {name.replace('_', ' ')} {was}, not {now}",
                remedy="Preprocess all tables alike, or fit again.",
            )
    return before.statistics, StatisticsSource(manifest.file, fitted_on)
