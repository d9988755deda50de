"""Time `cxr preprocess` beside the loaders that people use, and beside the least that one core must do.

    python benchmarks/preprocess.py [--images 400] [--rounds 9] [--size 320]

Images are the real ones in the folder that CXR_REAL_DATA names, or else the sample data's scaled up to 1024 × 1024,
repeated under other names until there are as many as asked for. Every contestant reads, decodes, resizes and
standardizes them all, per image; cxr moreover sums up every source pixel, and stores the result, index and manifest on
disk, while the others hand batches over and forget them. What happens once for all is not counted: loading TensorFlow,
and starting cxr's processes, which one call after the other can share; a call that starts its own is shown beside.

The floor is one core reading, decoding (with the faster of two decoders) and averaging down to size, divided by the
number of cores. torchxrayvision takes part where it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import shutil
import statistics
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the floor is one core's; nobody else here uses it in this process

import numpy as np
from inputs import image_files, repeated
from PIL import Image
from timing import Timing, functions_in_turns, headline, ratio, ratios

from cxr_cli.data.images import decode_gray, read_content
from cxr_cli.data.labels import LabelTable, read_labels
from cxr_cli.services.images.resize import area
from cxr_cli.services.parallel import Workers, available_cores
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.recipe import Recipe

BATCH = 32
KERAS, KERAS_RGB = "ImageDataGenerator, nearest, grey", "ImageDataGenerator, nearest, RGB"
TF_AREA, TF_BILINEAR, PILLOW = "tf.data, area", "tf.data, antialiased bilinear", "Pillow loop, box"
XRV = "torchxrayvision"
UINT8, FLOAT32, NEAREST = "cxr, area, uint8 store", "cxr, area, float32 store", "cxr, nearest, float32 store"
STARTED, FLOOR = "the same, starting its processes", "floor"


def image_data_generator(paths: list[str], size: int, color_mode: str) -> None:
    """Iterate once over Keras' own loader."""
    import pandas as pd
    import tensorflow as tf

    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        samplewise_center=True, samplewise_std_normalization=True
    )
    with contextlib.redirect_stdout(io.StringIO()):
        batches = generator.flow_from_dataframe(
            pd.DataFrame({"path": paths}),
            x_col="path",
            class_mode=None,
            target_size=(size, size),
            color_mode=color_mode,
            interpolation="nearest",
            batch_size=BATCH,
            shuffle=False,
        )
    for index in range(len(batches)):
        batches[index]


def tf_data(paths: list[str], size: int, method: str, antialias: bool) -> None:
    """Iterate once over a tf.data pipeline on as many threads as it likes."""
    import tensorflow as tf

    def load(path: Any) -> Any:
        image = tf.io.decode_png(tf.io.read_file(path), channels=1)
        image = tf.image.resize(image, (size, size), method=method, antialias=antialias)
        return (image - tf.reduce_mean(image)) / (tf.math.reduce_std(image) + 1e-6)

    data = tf.data.Dataset.from_tensor_slices(paths).map(load, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    for _ in data:
        pass


def pillow_loop(paths: list[str], size: int) -> None:
    """Run the loop that one writes by hand."""
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX), np.float32)
        (pixels - pixels.mean()) / (pixels.std() + 1e-6)


def torchxrayvision_loop(paths: list[str], size: int) -> None:
    """Load as torchxrayvision's data sets do: its own reader and its own resizing."""
    import torchxrayvision

    resize = torchxrayvision.datasets.XRayResizer(size)
    for path in paths:
        pixels = resize(torchxrayvision.utils.load_image(path))
        (pixels - pixels.mean()) / (pixels.std() + 1e-6)


def cxr(table: LabelTable, images: Path, output: Path, recipe: Recipe, workers: Workers | None) -> None:
    """Run the whole service, from table to finished store."""
    result = preprocess(table, images, output, Options(recipe), executor=workers)
    if result.n_done != table.n_images:
        raise SystemExit(f"{result.n_failed} images failed")


def by_isal(content: bytes) -> np.ndarray[Any, Any]:
    """Decode a plain 8-bit grey PNG whose rows all have the Sub filter: ISA-L's inflate, imagecodecs' sums."""
    import imagecodecs
    from isal import isal_zlib

    width, height = struct.unpack_from(">II", content, 16)
    parts, place = [], 8
    view = memoryview(content)
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if (
            isal_zlib.crc32(view[place + 4 : place + 8 + length])
            != struct.unpack_from(">I", content, place + 8 + length)[0]
        ):
            raise ValueError("checksum")
        if kind == b"IDAT":
            parts.append(view[place + 8 : place + 8 + length])
        place += 12 + length
    rows = np.frombuffer(isal_zlib.decompress(b"".join(parts), 15, height * (width + 1)), np.uint8)
    rows = rows.reshape(height, width + 1)
    if (rows[:, 0] != 1).any():
        raise ValueError("other filters than Sub")
    return imagecodecs.delta_decode(rows[:, 1:], axis=1)


def decoders(sample: list[str]) -> dict[str, Callable[[bytes], Any]]:
    """Return the decoders that can be compared on these images."""
    found: dict[str, Callable[[bytes], Any]] = {
        "kornia_rs, as cxr uses it": lambda content: decode_gray(content, "image.png").pixels,
        "Pillow": lambda content: np.asarray(Image.open(io.BytesIO(content))),
    }
    if importlib.util.find_spec("isal") and importlib.util.find_spec("imagecodecs"):
        with contextlib.suppress(ValueError):  # images written by others have other filters
            for path in sample:
                by_isal(read_content(path))
            found["isal and imagecodecs.delta_decode"] = by_isal
    return found


def time_decoders(paths: list[str], rounds: int) -> str:
    """Print how decoders compare on one core; return the fastest."""
    contents = [read_content(path) for path in paths]

    def run(decode: Callable[[bytes], Any]) -> Callable[[], None]:
        def every() -> None:
            for content in contents:
                decode(content)

        return every

    functions = {name: run(decode) for name, decode in decoders(paths).items()}
    timings = functions_in_turns(functions, 2 * rounds)
    own = next(iter(functions))
    print(f"\nDecoding alone, one core, {len(contents)} images, checksums verified: ratio to cxr's")
    for name, timing in timings.items():
        values = ratios(timing, timings[own])
        print(f"  {name:36}{statistics.median(values):7.2f}   ({min(values):.2f} to {max(values):.2f})")
    for name in functions:
        if name != own:
            headline(f"decoding with {name}, against cxr's", ratios(timings[name], timings[own]))
    return min(functions, key=lambda name: ratio(timings[name], timings[own]))


def floor(paths: list[str], size: int, decode: Callable[[bytes], Any]) -> None:
    """Read, decode and average down: what no tool can do without."""
    for path in paths:
        area(decode(read_content(path)), (size, size))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings of the other libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def contestants(
    table: LabelTable, images: Path, size: int, output: Path, workers: Workers
) -> dict[str, Callable[[], object]]:
    """Return who takes part."""
    paths = [str(images / name) for name in table.images]

    def recipe(dtype: str, interpolation: str) -> Recipe:
        return Recipe((size, size), dtype=dtype, interpolation=interpolation)

    found: dict[str, Callable[[], object]] = {
        UINT8: lambda: cxr(table, images, output, recipe("uint8", "area"), workers),
        STARTED: lambda: cxr(table, images, output, recipe("uint8", "area"), None),
        FLOAT32: lambda: cxr(table, images, output, recipe("float32", "area"), workers),
        NEAREST: lambda: cxr(table, images, output, recipe("float32", "nearest"), workers),
        KERAS: lambda: image_data_generator(paths, size, "grayscale"),
        KERAS_RGB: lambda: image_data_generator(paths, size, "rgb"),
        TF_AREA: lambda: tf_data(paths, size, "area", antialias=False),
        TF_BILINEAR: lambda: tf_data(paths, size, "bilinear", antialias=True),
        PILLOW: lambda: pillow_loop(paths, size),
    }
    try:
        import torchxrayvision  # noqa: F401
    except Exception as error:  # a missing or broken package of it, or of those it needs
        print(f"{XRV} does not take part: {error}")
    else:
        found[XRV] = lambda: torchxrayvision_loop(paths, size)
    return found


def show(timings: dict[str, Timing], n_images: int) -> None:
    """Print a line for each contestant: milliseconds an image, and ratios to cxr's stores."""
    print("An image: wall-clock time in the median and at its quickest, processor time; ratios of wall-clock time")
    print("in the median to both stores of cxr's, and of the quickest to the quickest")
    print(f"{'':36}{'median':>8}{'quickest':>10}{'processor':>11}{'/ uint8':>9}{'/ float32':>11}{'quickest':>10}")
    for name, timing in timings.items():
        times = (statistics.median(timing.wall), min(timing.wall), statistics.median(timing.processor))
        median, quickest, processor = (seconds / n_images * 1e3 for seconds in times)
        one, other = (ratio(timing, timings[own]) for own in (UINT8, FLOAT32))
        best = min(timing.wall) / min(timings[UINT8].wall)
        print(f"{name:36}{median:8.2f}{quickest:10.2f}{processor:11.2f}{one:9.2f}{other:11.2f}{best:10.2f}")
    others = [name for name in timings if name not in (UINT8, STARTED, FLOAT32, NEAREST, FLOOR)]
    pairs = [(name, UINT8) for name in others] + [(KERAS, FLOAT32), (KERAS_RGB, FLOAT32), (KERAS, NEAREST)]
    for name, own in [*pairs, (KERAS_RGB, NEAREST), (STARTED, UINT8), (UINT8, FLOOR)]:
        against(name, timings[name], own, timings[own])


def against(one: str, timing: Timing, other: str, beside: Timing) -> None:
    """Print the ratio of two contestants, round by round and of their quickest rounds."""
    quickest = min(timing.wall) / min(beside.wall)
    headline(f"{one}, against {other}", ratios(timing, beside), f"; quickest against quickest {quickest:.2f}")


def as_if_for(n_images: int, n_floor: int, cores: int, floor: Timing) -> Timing:
    """Scale the floor, measured on fewer images and one core, to all images and all cores."""
    scale = n_images / n_floor
    return Timing(
        tuple(wall * scale / cores for wall in floor.wall), tuple(processor * scale for processor in floor.processor)
    )


def main() -> None:
    """Print a table of contestants and one of decoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=320)
    options = parser.parse_args()
    cores = available_cores()
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = Path(name)
        sources, what = image_files(folder)
        labels, images = repeated(sources, options.images, folder / "repeated")
        table = read_labels(labels)
        print(f"{what}, repeated to {options.images}, to {options.size} × {options.size}, {cores} cores")
        some = [str(path) for path in sources[:40]]
        fastest = decoders(some)[time_decoders(some, options.rounds)]
        print()
        output = folder / "store"
        workers = Workers(cores)
        functions = contestants(table, images, options.size, output, workers)
        functions[FLOOR] = lambda: floor(some, options.size, fastest)
        timings = functions_in_turns(
            functions, options.rounds, clean_up=lambda: shutil.rmtree(output, ignore_errors=True)
        )
        workers.close()
        timings[FLOOR] = as_if_for(options.images, len(some), cores, timings[FLOOR])
        show(timings, options.images)


if __name__ == "__main__":
    main()
