"""The result of preprocessing a table: the store, the images that are not in it, and pixels before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxr_cli.choices import Engine, UncertainPolicy
from cxr_cli.services.preprocess.options import StatisticsSource
from cxr_cli.services.result import Result
from cxr_cli.services.store.manifest import StoreManifest
from cxr_cli.services.store.recipe import Recipe


@dataclass(frozen=True)
class Failure:
    """An image that is not in the store.

    Attributes
    ----------
    image
        Its name in the table.
    reason
        Why not.
    """

    image: str
    reason: str


@dataclass(frozen=True)
class Pixels:
    """Pixels of one image or of many together.

    Attributes
    ----------
    minimum
        Smallest value.
    maximum
        Largest value.
    mean
        Over all pixels.
    std
        Population standard deviation over all pixels.
    saturated
        Fraction of pixels at black or white; after preprocessing, of those that were so before they were standardized.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    saturated: float


@dataclass(frozen=True)
class ComparedImage:
    """One image before and after.

    Attributes
    ----------
    image
        Its name in the table.
    height
        Of the source, in pixels.
    width
        Of the source, in pixels.
    mode
        Of the source, as Pillow names it.
    before
        The source's pixels, in grey levels from 0 to 255.
    after
        The standardized values.
    """

    image: str
    height: int
    width: int
    mode: str
    before: Pixels
    after: Pixels


@dataclass(frozen=True)
class SourceSizes:
    """Range of the sizes of the sources.

    Attributes
    ----------
    min_height
        In pixels.
    max_height
        In pixels.
    min_width
        In pixels.
    max_width
        In pixels.
    """

    min_height: int
    max_height: int
    min_width: int
    max_width: int


@dataclass(frozen=True)
class Comparison:
    """Images before (grey levels, 255 is white, 16-bit sources scaled) and after preprocessing.

    Attributes
    ----------
    n_images
        How many.
    sizes
        Of the sources; None without images.
    before
        All pixels of all sources, in grey levels from 0 to 255; None without images.
    after
        All standardized values of all images; None without images.
    sample
        Some images one by one, in the order of the table.
    """

    n_images: int
    sizes: SourceSizes | None
    before: Pixels | None
    after: Pixels | None
    sample: tuple[ComparedImage, ...]


@dataclass(frozen=True)
class Start:
    """The files about to be written.

    Attributes
    ----------
    target
        The array, or the folder of PNGs.
    n_images
        Rows of the table.
    n_missing
        Those of them that have no file, or none that may be opened.
    n_bytes
        Size of the store, uncompressed, if no image fails.
    n_done_before
        Images that an earlier, interrupted run had seen to.
    replaces
        The finished store in the folder, unless it was made of the same table in the same way.
    left_over
        Its array or folder of PNGs, where that is not replaced, for the new store has the other format; it loses its
        index and manifest.
    notes
        How image names were matched otherwise than letter for letter, in sentences.
    """

    target: Path
    n_images: int
    n_missing: int
    n_bytes: int
    n_done_before: int
    replaces: StoreManifest | None
    left_over: Path | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreprocessResult(Result):
    """The result of `preprocess`.

    Attributes
    ----------
    output
        The folder with everything.
    store
        The array ``images.npy``, or the folder of PNGs.
    index
        A line for each image of the store, in its order.
    failures_file
        A line for each image that is not in the store.
    manifest
        Everything needed to repeat the run.
    shape
        Of the array: (n_done, height, width), or (n_done, height, width, 3) where the channels differ.
    dtype
        Of the array.
    n_bytes
        Size of the store on disk.
    recipe
        How each image was made.
    engine
        Who made the pixels: ``fast``, or ``keras`` for Keras' own ImageDataGenerator.
    statistics_from
        Where featurewise statistics came from; None if they were fitted here or are not used.
    seed
        Of the samples, drawn at random, for fitting and for comparison.
    uncertain
        How uncertain labels were read: "ignore" (unknown), "positive" or "negative".
    n_uncertain
        Cells of the table that hold an uncertain label.
    n_images
        Rows of the table.
    n_repeated
        Rows that name an image of an earlier row; the store holds it once for each.
    n_contradicting
        Those images that have rows with other labels or another patient.
    n_done
        Images in the store.
    n_failed
        Images that are not in the store.
    n_missing
        Those of them that have no file, or none that may be opened.
    n_done_before
        Images that an earlier, interrupted run had seen to.
    failures
        The first of the images that failed, 20 at most.
    comparison
        The images before and after.
    image_issues
        Assumptions made on reading images of the store, losses of grey levels, and in how many.
    """

    output: Path
    store: Path
    index: Path
    failures_file: Path
    manifest: Path
    shape: tuple[int, ...]
    dtype: str
    n_bytes: int
    recipe: Recipe
    engine: Engine
    statistics_from: StatisticsSource | None
    seed: int
    uncertain: UncertainPolicy
    n_uncertain: int
    n_images: int
    n_repeated: int
    n_contradicting: int
    n_done: int
    n_failed: int
    n_missing: int
    n_done_before: int
    failures: tuple[Failure, ...]
    comparison: Comparison
    image_issues: Mapping[str, int]

    @property
    def written(self) -> list[Path]:
        """Every file and folder that was written."""
        return [self.store, self.index, self.failures_file, self.manifest]
