"""Damage small good files of every kind and see what comes of it: ``python -m tests.robustness.mutate --n 1500``.

For each mutant the reader of the package either refuses it with an error of its own, or accepts it. What is accepted is
held against an independent decoder of the same bytes (Pillow and the package's fast decoders have no part in it):

==============  ==========================================================================================
PNG             `strict_png` below: every checksum, every filter, straight from the standard
TIFF            ``tifffile``
JPEG            ``simplejpeg``, whose libjpeg-turbo is strict
HDF5            ``pyfive``, which is written in Python
tables, lists   ``tests.robustness.oracle``, with Python's csv module
JSON            Python's json module
==============  ==========================================================================================

*wrong* is what differs from it; *not detectable* what agrees with it and is not what the good file said, in formats
that have no checksum. The same seed gives the same mutants everywhere.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_cli.data.class_weights import read_class_weights
from cxr_cli.data.images import GrayImage, read_gray
from cxr_cli.errors import CxrError
from tests.robustness import mutants, oracle, seeds

#: Of every five mutants, one has all its damage behind the header.
BEHIND = 5


class Wrong(AssertionError):
    """What was read is not what the file says."""


@dataclass
class Family:
    """A kind of file.

    Attributes
    ----------
    name
        For the report.
    files
        Good ones.
    suffix
        What their names end with.
    header
        Bytes that count as the header.
    read
        The package's reader: takes a path.
    judge
        Takes the bytes of a mutant and what `read` made of it; raises `Wrong`, or returns what the file says in a form
        that can be compared with ``==``.
    text
        Whether words are put in, too.
    """

    name: str
    files: Sequence[bytes]
    suffix: str
    header: int
    read: Callable[[Path], Any]
    judge: Callable[[bytes, Any], Any]
    text: bool = False


@dataclass
class Tally:
    """What came of the mutants of a family."""

    tried: int = 0
    behind: int = 0
    refused: int = 0
    accepted: int = 0
    wrong: int = 0
    undetectable: int = 0
    tracebacks: int = 0
    longest: float = 0.0
    examples: list[str] = field(default_factory=list)


def damaged(content: bytes, random_: random.Random, *, behind: int) -> bytes:
    """Return bytes with one to three damages, all of them from byte `behind` on."""
    head, tail = content[:behind], bytearray(content[behind:])
    for _ in range(random_.choice((1, 1, 2, 3))):
        if not tail:
            break
        place = random_.randrange(len(tail))
        length = min(random_.choice((1, 1, 1, 2, 4, 16, 64, 512)), len(tail) - place)
        kind = random_.randrange(8)
        if kind <= 1:
            tail[place] ^= 1 << random_.randrange(8)
        elif kind == 2:
            tail[place] = random_.choice((0, 1, 2, 127, 128, 255))
        elif kind == 3:
            tail[place : place + length] = bytes(length)
        elif kind == 4:
            tail[place : place + length] = random_.randbytes(length)
        elif kind == 5:
            del tail[place : place + length]
        elif kind == 6:
            tail[place:place] = tail[place : place + length]
        elif random_.random() < 0.5:
            del tail[place:]
        else:
            tail[place : place + 4] = struct.pack(
                random_.choice("<>") + "I", random_.choice((0, 1, 2**16, 2**31, 2**32 - 1))
            )
    return head + bytes(tail)


def run(family: Family, n: int, seed: int, folder: Path, *, keep: Path | None = None) -> Tally:
    """Try `n` mutants of a family."""
    random_ = random.Random(f"{family.name} {seed}")
    tally = Tally()
    good: list[Any] = []
    path = folder / f"mutant{family.suffix}"
    for content in family.files:
        path.write_bytes(content)
        good.append(family.judge(content, family.read(path)))
    for number in range(n):
        which = random_.randrange(len(family.files))
        content = family.files[which]
        behind = number % BEHIND == 0
        if family.text and random_.random() < 0.5 and not behind:
            mutant = mutants.mutated(content, random_, 3)
        else:
            mutant = damaged(content, random_, behind=min(family.header, len(content) - 1) if behind else 0)
        path.write_bytes(mutant)
        tally.tried += 1
        tally.behind += behind
        start = time.monotonic()
        problem = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = family.read(path)
        except CxrError as error:
            tally.refused += 1
            text = str(error)
            if str(path) not in text or len(text) > oracle.LONGEST_MESSAGE or not text.replace("\n", "").isprintable():
                tally.tracebacks += 1
                problem = f"message {text[:200]!r}"
        except Wrong as error:  # some readers are oracles already
            tally.accepted += 1
            tally.wrong += 1
            problem = f"wrong: {error}"
        except Exception as error:
            tally.tracebacks += 1
            problem = f"{type(error).__name__}: {error} {traceback.extract_tb(error.__traceback__)[-1]}"
        else:
            tally.accepted += 1
            try:
                said = family.judge(mutant, found)
                if not _same(said, good[which]):
                    tally.undetectable += 1
            except Exception as error:  # a judge that fails cannot vouch for it
                tally.wrong += 1
                problem = f"wrong: {type(error).__name__} {error}"
        tally.longest = max(tally.longest, time.monotonic() - start)
        if problem:
            tally.examples.append(f"{number}: {problem[:300]}")
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{family.name.replace(' ', '-')}-{number}{family.suffix}").write_bytes(mutant)
    return tally


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and bool((one == other).all())
    return bool(one == other)


# ------------------------------------------------------------------------------------------------------------ images


def strict_png(content: bytes) -> np.ndarray:
    """Decode a PNG that is not interlaced, straight from the standard; anything unusual is an AssertionError."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    place, header, body, palette, ended = 8, None, b"", b"", False
    while not ended:
        length, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + length]
        assert len(data) == length
        assert zlib.crc32(kind + data) == struct.unpack_from(">I", content, place + 8 + length)[0]
        place += 12 + length
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", data)
        elif kind == b"PLTE":
            palette = data
        elif kind == b"IDAT":
            body += data
        ended = kind == b"IEND"
    assert header is not None
    width, height, bits, colour, *rest = header
    assert rest == [0, 0, 0]
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    raw = zlib.decompress(body)
    across = (width * channels * bits + 7) // 8
    step = max(1, channels * bits // 8)
    assert len(raw) == height * (across + 1)
    rows, above = [], bytearray(across)
    for row in range(height):
        kind, line = raw[row * (across + 1)], bytearray(raw[row * (across + 1) + 1 : (row + 1) * (across + 1)])
        for i in range(across):
            left, up, corner = (line[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda value, guess=guess: abs(guess - value))
            line[i] = (line[i] + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
        rows.append(bytes(line))
        above = line
    flat = np.frombuffer(b"".join(rows), np.uint8)
    if bits == 16:
        samples = flat.reshape(height, -1, 2).astype(int) @ [256, 1]
    elif bits == 8:
        samples = flat.reshape(height, -1).astype(int)
    else:
        spread = np.unpackbits(flat.reshape(height, across), axis=1)[:, : width * bits].reshape(height, width, bits)
        samples = spread @ (1 << np.arange(bits)[::-1])
        samples = samples * (255 // (2**bits - 1)) if colour == 0 else samples
    samples = samples.reshape(height, width, channels)
    if colour == 3:
        samples = np.frombuffer(palette, np.uint8).reshape(-1, 3).astype(int)[samples[..., 0]]
    if samples.shape[2] < 3:
        return samples[..., 0]
    return (samples[..., 0] * 19595 + samples[..., 1] * 38470 + samples[..., 2] * 7471 + 0x8000) >> 16


def encoded(pixels: np.ndarray, format: str, mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, format, **options)
    return stream.getvalue()


NOISE = np.random.default_rng(7).integers(0, 40, (48, 40))
GREY = (np.add.outer(np.arange(48), np.arange(40)) * 2 + NOISE).astype(np.uint8)
DEEP = GREY.astype(np.uint16) * 256 + NOISE.astype(np.uint16)
PNGS = [
    encoded(GREY, "PNG"),
    encoded(DEEP, "PNG"),
    *(encoded(GREY, "PNG", mode) for mode in ("RGB", "RGBA", "P", "1", "LA")),
]


def judge_png(content: bytes, image: GrayImage) -> np.ndarray:
    try:
        expected = strict_png(content)
    except (AssertionError, LookupError, ValueError, struct.error, zlib.error) as error:
        raise Wrong(f"a strict decoder refuses it: {error}") from error
    _equal(image.pixels, expected)
    return expected


def _equal(found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape:
        raise Wrong(f"shape {found.shape} instead of {expected.shape}")
    if not (found == expected).all():
        raise Wrong(f"{np.mean(found != expected):.1%} of the pixels differ")


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, software=False, **options)
    return stream.getvalue()


def tiffs() -> list[bytes]:
    turned = [(274, 3, 1, 6, True)]
    return [
        tiff(GREY, photometric="minisblack"),
        tiff(DEEP, photometric="minisblack", byteorder=">"),
        tiff(DEEP, photometric="miniswhite", byteorder="<"),
        tiff(GREY, photometric="miniswhite", compression="zlib", rowsperstrip=10),
        tiff(DEEP, photometric="minisblack", compression="zlib", extratags=turned),
        encoded(GREY, "TIFF", compression="tiff_lzw"),
        encoded(GREY, "TIFF", compression="packbits"),
    ]


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.T, 2),
    8: np.rot90,
}


def judge_tiff(content: bytes, image: GrayImage) -> np.ndarray:
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page = file.pages[0]
            raw = page.asarray()
            bits, white_is_zero = page.bitspersample, page.photometric == 0
            orientation = page.tags[274].value if 274 in page.tags else 1
    except Exception as error:
        raise Wrong(f"tifffile refuses it: {type(error).__name__} {error}") from error
    if raw.dtype.kind == "b":
        raw = raw.astype(int) * 255
    scales = {1: (255,), 8: (255,), 12: (4095,), 16: (255, 1023, 4095, 16383, 65535)}[bits]
    if image.full_scale not in scales or raw.max() > image.full_scale:
        raise Wrong(f"full scale {image.full_scale} of {bits} bits, highest {raw.max()}")
    levels = image.full_scale - raw.astype(int) if white_is_zero else raw.astype(int)
    _equal(image.pixels, UPRIGHT[orientation](levels))
    return image.pixels


JPEGS = [
    encoded(GREY.repeat(3, 0).repeat(3, 1), "JPEG", quality=85),
    encoded(GREY.repeat(3, 0).repeat(3, 1), "JPEG", quality=85, progressive=True),
    encoded(GREY.repeat(2, 0).repeat(2, 1), "JPEG", quality=90, restart_marker_rows=2),
    encoded(GREY.repeat(2, 0).repeat(2, 1), "JPEG", "RGB", quality=85),
]


def judge_jpeg(content: bytes, image: GrayImage) -> np.ndarray:
    import simplejpeg

    space = "GRAY" if image.mode == "L" else "RGB"
    try:
        found = simplejpeg.decode_jpeg(content, colorspace=space, strict=True).astype(int)
    except Exception as error:
        raise Wrong(f"simplejpeg refuses it: {error}") from error
    if space == "RGB":
        found = (found[..., 0] * 19595 + found[..., 1] * 38470 + found[..., 2] * 7471 + 0x8000) >> 16
    upright = UPRIGHT[image.orientation](found.reshape(found.shape[:2]))
    # Two builds of one library may round the inverse transform differently by a level.
    if image.pixels.shape != upright.shape or np.abs(image.pixels.astype(int) - upright).max(initial=0) > 2:
        _equal(image.pixels, upright)
    return image.pixels


# ---------------------------------------------------------------------------------------------- tables and documents


def read_with_oracle(**options: Any) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        try:
            found = oracle.check(path, path.read_bytes(), **options)
        except AssertionError as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise Wrong(f"{place.name}:{place.lineno} {place.line} {error}") from error
        if isinstance(found, CxrError):
            raise found
        return found

    return read


def judge_table(content: bytes, table: Any) -> Any:
    # What differs from Python's csv module has failed in `oracle.check` already.
    return [table.images, table.pathologies, np.nan_to_num(table.labels, nan=-1).tolist()]


WEIGHTS = {
    "schema_version": 1,
    "command": "weights",
    "result": {
        "class_weights": {
            "pathologies": ["Mass", "Edema", "Hernia"],
            "positive": [0.9, 0.5, 0.998],
            "negative": [0.1, 0.5, 0.002],
            "scheme": "frequency",
        }
    },
}


def _json(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise Wrong(f"json refuses it: {error}") from error


def judge_weights(content: bytes, weights: Any) -> Any:
    found = _json(content)["result"]["class_weights"]
    for name in ("pathologies", "positive", "negative"):
        if list(found[name]) != list(getattr(weights, name)):
            raise Wrong(f"{name} {getattr(weights, name)} instead of {found[name]}")
    for value in (*weights.positive, *weights.negative):
        if not (isinstance(value, float | int) and 1e-12 <= value <= 1e12):
            raise Wrong(f"weight {value}")
    return [list(weights.pathologies), list(weights.positive), list(weights.negative)]


def judge_weight_table(content: bytes, weights: Any) -> Any:
    import csv

    text = content.decode("utf-8-sig")
    for sign in ",;\t|":
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=sign) if row]
        header = [cell.strip() for cell in rows[0]]
        if "pathology" in header:
            break
    rows = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    for column, name in (
        ("pathology", "pathologies"),
        ("positive_weight", "positive"),
        ("negative_weight", "negative"),
    ):
        cells = [row[header.index(column)].strip() for row in rows]
        said = list(cells) if name == "pathologies" else [float(cell) for cell in cells]
        if said != list(getattr(weights, name)):
            raise Wrong(f"{name} {getattr(weights, name)} instead of {said}")
    return [list(weights.pathologies), list(weights.positive), list(weights.negative)]


def manifest() -> bytes:
    from tests.stores import manifest_document

    return json.dumps(manifest_document(image_size=[32, 24])).encode()


def read_manifest(path: Path) -> Any:
    from cxr_cli.services.store.manifest import StoreManifest

    return StoreManifest.read(path)


def judge_manifest(content: bytes, found: Any) -> Any:
    said = _json(content)["recipe"]
    if list(found.recipe.image_size) != said["image_size"] or not all(
        0 < side < 2**15 for side in found.recipe.image_size
    ):
        raise Wrong(f"image size {found.recipe.image_size} instead of {said['image_size']}")
    for name in ("standardize", "interpolation", "dtype"):
        # A key that is missing has its default; what is there must hold.
        if getattr(found.recipe, name) != said.get(name, getattr(found.recipe, name)):
            raise Wrong(f"{name} {getattr(found.recipe, name)} instead of {said[name]}")
    return [
        list(found.recipe.image_size),
        found.recipe.standardize,
        found.recipe.interpolation,
        list(found.pathologies or ()),
    ]


def read_fitted(path: Path) -> Any:
    from cxr_cli.services.preprocess.options import read_statistics
    from cxr_cli.services.store.manifest import StoreManifest

    recipe = StoreManifest.read(path).recipe
    return read_statistics(path, recipe)[0]


def judge_statistics(content: bytes, found: Any) -> Any:
    said = _json(content)["recipe"]["statistics"]
    for name in ("mean", "std", "n_images", "n_pixels"):
        if getattr(found, name) != said[name]:
            raise Wrong(f"{name} {getattr(found, name)} instead of {said[name]}")
    if not (0 <= found.mean <= 255 and 0 <= found.std < 128 and found.n_images > 0 and math.isfinite(found.std)):
        raise Wrong(f"statistics {found}")
    return [found.mean, found.std, found.n_images]


# ---------------------------------------------------------------------------------------------------------- HDF5


def hdf5_files() -> list[bytes]:
    import h5py

    def written(write: Callable[[Any], None], **options: Any) -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w", **options) as file:
            write(file)
        return stream.getvalue()

    random_ = np.random.default_rng(3)
    kernel, bias = random_.random((6, 5)).astype(np.float32), random_.random(5).astype(np.float32)

    def legacy(file: Any) -> None:
        file.attrs["layer_names"] = [b"dense"]
        file.attrs["backend"] = "tensorflow"
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        group["dense/kernel:0"], group["dense/bias:0"] = kernel, bias

    def whole(file: Any) -> None:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": []}})
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [b"dense"]
        group = root.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0"]
        group.create_dataset("dense/kernel:0", data=kernel, chunks=(3, 5), compression="gzip")

    def modern(file: Any) -> None:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "head"
        group["0"], group["1"] = kernel, bias

    config = {"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", "config": {"name": "head"}}]}}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("config.json", json.dumps(config))
        members.writestr("model.weights.h5", written(modern))
    return [written(legacy), written(whole), written(modern, libver="latest"), archive.getvalue()]


def read_weights(path: Path) -> Any:
    from cxr_cli.data.weight_files import open_weight_file, read_array

    with open_weight_file(path) as file:
        return {
            f"{layer.path}/{weight}": read_array(file, layer, weight)
            for layer in file.layers
            for weight in layer.arrays
        }


def judge_hdf5(content: bytes, found: dict[str, np.ndarray]) -> Any:
    import pyfive

    if content.startswith(b"PK"):
        content = zipfile.ZipFile(io.BytesIO(content)).read("model.weights.h5")
    held: list[np.ndarray] = []

    def collect(group: Any) -> None:
        for name in group:
            item = group[name]
            if isinstance(item, pyfive.Dataset):
                held.append(np.asarray(item[()]))
            else:
                collect(item)

    try:
        collect(pyfive.File(io.BytesIO(content)))
    except Exception as error:
        raise Wrong(f"pyfive refuses it: {type(error).__name__} {error}") from error
    for name, array in found.items():
        with np.errstate(over="ignore"):
            same = [other for other in held if other.shape == array.shape and np.array_equal(other.astype("f4"), array)]
        if not same:
            raise Wrong(f"{name} is not among the arrays that pyfive finds")
    return {name: array.tolist() for name, array in found.items()}


CSV = b"pathology,positive_weight,negative_weight\nMass,0.9,0.1\nEdema,0.5,0.5\nHernia,0.998,0.002\n"
_DOCUMENTS: dict[str, Any] = {"suffix": ".json", "header": 40, "text": True}
#: How to make each family; what it needs beyond the package's own requirements is imported then.
FAMILIES: dict[str, Callable[[], Family]] = {
    "PNG": lambda: Family("PNG", PNGS, ".png", 33, read_gray, judge_png),
    "TIFF": lambda: Family("TIFF", tiffs(), ".tif", 8, read_gray, judge_tiff),
    "JPEG": lambda: Family("JPEG", JPEGS, ".jpg", 623, read_gray, judge_jpeg),
    "tables": lambda: Family("tables", seeds.TABLES, ".csv", 90, read_with_oracle(), judge_table, text=True),
    "lists": lambda: Family(
        "lists", [seeds.LIST], ".txt", 16, read_with_oracle(allow_image_list=True), judge_table, text=True
    ),
    "class weights": lambda: Family(
        "class weights", [json.dumps(WEIGHTS).encode()], read=read_class_weights, judge=judge_weights, **_DOCUMENTS
    ),
    "class weights (CSV)": lambda: Family(
        "class weights (CSV)", [CSV], ".csv", 42, read_class_weights, judge_weight_table, text=True
    ),
    "manifests": lambda: Family("manifests", [manifest()], read=read_manifest, judge=judge_manifest, **_DOCUMENTS),
    "statistics": lambda: Family("statistics", [manifest()], read=read_fitted, judge=judge_statistics, **_DOCUMENTS),
    "HDF5": lambda: Family("HDF5", hdf5_files(), ".h5", 96, read_weights, judge_hdf5),
}


def row(name: str, tally: Tally) -> str:
    """Return a row of the table in docs/robustness.md."""
    numbers = (
        tally.tried,
        tally.behind,
        tally.refused,
        tally.accepted,
        tally.wrong,
        tally.undetectable,
        tally.tracebacks,
    )
    return f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} | {tally.longest:.1f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1500, help="mutants of each family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", action="append", help="only these")
    parser.add_argument("--keep", type=Path, help="folder for mutants that were read wrong")
    options = parser.parse_args()
    from cxr_cli.data import weight_files
    from tests.robustness.hdf5_forks import Forks

    forks = Forks()
    weight_files.run_reader = forks.run
    n_bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in options.family or FAMILIES:
            family = FAMILIES[name]()
            tally = run(family, options.n, options.seed, Path(folder), keep=options.keep)
            print(row(family.name, tally), flush=True)
            for example in tally.examples[:20]:
                print(f"    {example}", file=sys.stderr, flush=True)
            n_bad += tally.wrong + tally.tracebacks
    forks.close()
    sys.exit(1 if n_bad else 0)


if __name__ == "__main__":
    main()
