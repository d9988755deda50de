"""Tables of ``cxr preprocess``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from cxr_cli.cli import console

if TYPE_CHECKING:
    from cxr_cli.services.preprocess.result import Pixels, PreprocessResult


def tables_of(result: PreprocessResult) -> Iterator[RenderableType]:
    """Yield the tables of a result, in the order in which they are shown."""
    recipe = result.recipe
    size = " × ".join(f"{side:,}" for side in result.shape)
    yield Text(
        f"{result.store}: {size}, {result.dtype}, {console.size(result.n_bytes)}; {recipe.standardize}, "
        f"{recipe.interpolation}" + (" (Keras engine)" if result.engine == "keras" else "")
    )
    if recipe.statistics is not None:
        yield Text(_statistics(result))
    comparison = result.comparison
    if comparison.before is not None and comparison.after is not None and comparison.sizes is not None:
        sizes = comparison.sizes
        rows: list[tuple[object, ...]] = []
        for image in comparison.sample:
            shape = f"{image.height} × {image.width}, {image.mode}"
            rows += _two_rows(image.image, shape, image.before, image.after, recipe.image_size)
        shape = f"{_range(sizes.min_height, sizes.max_height)} × {_range(sizes.min_width, sizes.max_width)}"
        rows += _two_rows(f"all {comparison.n_images:,}", shape, comparison.before, comparison.after, recipe.image_size)
        yield console.table(
            "Before and after",
            ["image", "", "height × width", "min", "max", "mean", "std"],
            rows,
            text_columns=2,
            caption="before: grey levels, 255 is white; at black or white are "
            f"{console.percent(comparison.before.saturated)} of all pixels before and "
            f"{console.percent(comparison.after.saturated)} after",
        )
    if result.image_issues:
        yield console.table("Assumed or lost on reading images", ["issue", "images"], list(result.image_issues.items()))
    if result.n_failed:
        yield _failures(result)


def _statistics(result: PreprocessResult) -> str:
    statistics = result.recipe.statistics
    assert statistics is not None
    source = result.statistics_from
    where = "this table" if source is None else f"{source.fitted_on.path} ({source.manifest.path})"
    return (
        f"statistics: mean {statistics.mean:.4f}, standard deviation {statistics.std:.4f} in grey levels, fitted on "
        f"{statistics.n_images:,} images of {where}"
    )


def _two_rows(
    name: str, shape: str, before: Pixels, after: Pixels, size: tuple[int, int]
) -> Iterator[tuple[object, ...]]:
    yield (name, "before", shape, *_numbers(before, 1))
    yield ("", "after", f"{size[0]} × {size[1]}", *_numbers(after, 3))


def _numbers(pixels: Pixels, digits: int) -> Iterator[str]:
    for value in (pixels.minimum, pixels.maximum, pixels.mean, pixels.std):
        # Adding 0.0 turns the -0.0 of a rounded trifle into 0.0.
        yield f"{round(value, digits) + 0.0:.{digits}f}"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def _failures(result: PreprocessResult) -> RenderableType:
    more = result.n_failed - len(result.failures)
    return console.table(
        f"{result.n_failed:,} images failed, {result.n_missing:,} of them missing",
        ["image", "reason"],
        [(failure.image, failure.reason) for failure in result.failures],
        text_columns=2,
        caption=f"and {more:,} more in {result.failures_file}" if more else None,
    )
