"""Damaged files of every other kind than label tables: read, or refused with an error that helps."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxr_cli.cli.app import app
from cxr_cli.data.class_weights import read_class_weights
from cxr_cli.data.images import read_gray, read_header
from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.data.weight_files import open_weight_file, read_array
from cxr_cli.errors import CxrError, WeightsFileError
from cxr_cli.services.check_leakage.fingerprints import FingerprintCache, fingerprint_images
from cxr_cli.services.preprocess.options import read_statistics
from cxr_cli.services.result import restore
from cxr_cli.services.store.manifest import StoreManifest
from cxr_cli.services.store.reader import open_store
from cxr_cli.services.store.recipe import Recipe
from tests.robustness.mutants import mutants
from tests.robustness.oracle import LONGEST_MESSAGE
from tests.stores import manifest_document

#: A warning on stderr would be none of ours.
pytestmark = [pytest.mark.filterwarnings("error::UserWarning"), pytest.mark.usefixtures("quick_reader")]


def attempt(read, path, content):
    """Read a file: whatever comes of it, but for an error that is none of ours."""
    path.write_bytes(content)
    try:
        return read(path)
    except CxrError as error:
        text = str(error)
        assert str(path) in text
        assert len(text) <= LONGEST_MESSAGE
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)
        return error


# ------------------------------------------------------------------------------------------------------- images


def image_file(mode: str, **options) -> bytes:
    pixels = np.add.outer(np.arange(24), np.arange(20)) * 5
    grey = Image.fromarray(pixels.astype(np.uint8))
    image = Image.fromarray((pixels * 250).astype(np.uint16)) if mode == "I;16" else grey.convert(mode)
    stream = io.BytesIO()
    image.save(stream, **({"format": "PNG"} | options))
    return stream.getvalue()


PNGS = [image_file(mode) for mode in ("L", "I;16", "RGBA", "P", "1", "RGB", "LA")]
OTHERS = [
    image_file("L", format="JPEG"),
    image_file("RGB", format="JPEG"),
    image_file("L", format="TIFF"),
    image_file("L", format="BMP"),
]


def with_good_checksums(content: bytes) -> bytes:
    """Mend the checksums of a damaged PNG, so that the damage reaches the decoder."""
    parts, start = [content[:8]], 8
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        body = content[start + 4 : start + 8 + min(length, len(content))]
        parts.append(struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body)))
        start += 12 + length
    return b"".join(parts)


def check_image(path, content):
    found = attempt(read_gray, path, content)
    if not isinstance(found, CxrError):
        assert found.pixels.dtype in (np.uint8, np.uint16)
        assert found.pixels.ndim == 2
        assert min(found.pixels.shape) > 0
        header = read_header(path)
        assert (header.height, header.width) == found.pixels.shape
    return found


def test_200_mutated_pngs(tmp_path):
    path = tmp_path / "image.png"
    assert not any(isinstance(check_image(path, content), CxrError) for content in PNGS + OTHERS)
    refused = [isinstance(check_image(path, content), CxrError) for content in mutants(PNGS, 200, seed=3, most=2)]
    assert sum(refused) > 150
    for content in mutants(PNGS, 400, seed=4, most=2):
        check_image(path, with_good_checksums(content))
    for content in mutants(OTHERS, 100, seed=5, most=2):
        check_image(path, content)


def test_every_byte_of_a_header(tmp_path):
    path = tmp_path / "image.png"
    for content in PNGS[:2]:
        for place in range(8, 33):
            for value in (0, 1, 2, 7, 16, 127, 255):
                changed = bytearray(content)
                changed[place] = value
                check_image(path, with_good_checksums(bytes(changed)))


# ------------------------------------------------------------------------------------- documents and small tables

WEIGHTS = {
    "schema_version": 1,
    "command": "weights",
    "result": {
        "class_weights": {
            "pathologies": ["Mass", "Edema"],
            "positive": [0.9, 0.5],
            "negative": [0.1, 0.5],
            "scheme": "x",
        }
    },
}
MANIFEST = manifest_document(image_size=[32, 32])
#: What JSON can hold and programs do not expect.
STRANGE = [
    None,
    True,
    0,
    -1,
    1e308,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "\x1b[2J",
    [],
    {},
    [[]],
    [1, "a"],
]


def strange_documents(document, seed: int, n: int):
    """Yield versions of a JSON document with something strange in the place of one of its values."""
    random_ = random.Random(seed)
    for _ in range(n):
        copy = json.loads(json.dumps(document))
        at = copy
        while True:
            key = random_.choice(list(at) if isinstance(at, dict) else range(len(at)))
            if not isinstance(at[key], (dict, list)) or not at[key] or random_.random() < 0.3:
                at[key] = random_.choice(STRANGE)
                break
            at = at[key]
        yield json.dumps(copy).encode()


def read_fitted(path):
    statistics, _ = read_statistics(path, restore(Recipe, MANIFEST["recipe"]))
    assert 0 <= statistics.mean <= 255 and 0 <= statistics.std < 128


@pytest.mark.parametrize(
    ("read", "document"),
    [(read_class_weights, WEIGHTS), (StoreManifest.read, MANIFEST), (read_fitted, MANIFEST)],
    ids=["class weights", "manifest", "statistics"],
)
def test_strange_documents(tmp_path, read, document):
    path = tmp_path / "document.json"
    good = json.dumps(document).encode()
    assert not isinstance(attempt(read, path, good), CxrError)
    for content in strange_documents(document, 1, 400):
        attempt(read, path, content)
    for content in mutants([good], 200, seed=2):
        attempt(read, path, content)
    for content in (
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"1" * 10_000,
        *map(json_line, STRANGE),
    ):
        assert isinstance(attempt(read, path, content), CxrError)


@pytest.fixture(scope="module", params=["npy", "png"])
def store(request, tmp_path_factory):
    """Make a store of three images."""
    folder = tmp_path_factory.mktemp("store")
    for name in ("a", "b", "c"):
        (folder / f"{name}.png").write_bytes(image_file("L"))
    (folder / "train.csv").write_text("Image,PatientId,Mass\na.png,1,0\nb.png,2,1\nc.png,3,\n")
    line = ["preprocess", "train.csv", "--images", ".", "--image-size", "8", "--no-plots", "--dtype", "uint8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, [*line, "--workers", "1", "--format", request.param])
    assert done.exit_code == 0, done.output
    return folder / "cxr-output/preprocess"


def test_damaged_stores(store):
    def read_all_of_it(path):
        found = open_store(path.parent if path.parent == store else store)
        batch = found.batch(slice(None))
        assert batch.shape == (3, 8, 8)
        assert found.labels.shape == (3, 1)

    manifest = store / "preprocess.json"
    document = json.loads(manifest.read_bytes())
    read_all_of_it(manifest)
    for path in sorted(path for path in store.rglob("*") if path.is_file()):
        good = path.read_bytes()
        damaged = [*strange_documents(document, 1, 150)] if path == manifest else []
        for content in [*damaged, *mutants([good], 60, seed=1, most=3)]:
            path.write_bytes(content)
            try:
                read_all_of_it(manifest)
            except CxrError as error:
                assert str(store) in str(error)
                assert len(str(error)) <= LONGEST_MESSAGE
        path.write_bytes(good)
    read_all_of_it(manifest)


@pytest.mark.parametrize("name", ["../../train.csv", "/etc/passwd"])
def test_a_store_that_names_files_outside(store, name):
    manifest = store / "preprocess.json"
    good = manifest.read_bytes()
    # Images are named one by one in the index.
    for key in ("index", "store") if (store / "images.npy").exists() else ("index",):
        manifest.write_bytes(json.dumps(json.loads(good) | {key: name}).encode())
        with pytest.raises(CxrError):
            open_store(store).batch([0])
    manifest.write_bytes(good)


def json_line(value) -> bytes:
    return json.dumps(value).encode()


def test_mutated_tables_of_weights_and_predictions(tmp_path):
    weights = b"pathology,positive_weight,negative_weight,scheme\nMass,0.9,0.1,frequency\nEdema,0.5,0.5,frequency\n"
    for content in mutants([weights], 200, seed=1, most=3):
        attempt(read_class_weights, tmp_path / "weights.csv", content)
    labels = tmp_path / "labels.csv"
    labels.write_bytes(b"Image,PatientId,Mass,Edema\na.png,1,0,1\nb.png,2,1,0\n")
    table = read_labels(labels)
    predictions = b"Image,Mass,Edema\na.png,0.5,0.25\nb.png,1,0\n"
    for content in mutants([predictions], 300, seed=2, most=3):
        found = attempt(
            lambda path: read_predictions(path, table.pathologies).in_order(table),
            tmp_path / "predictions.csv",
            content,
        )
        if not isinstance(found, CxrError):
            assert found.probabilities.shape == (2, 2)
            assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()


def test_mutated_cache_of_fingerprints(tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(PNGS[0])
    path = tmp_path / "cache.npz"
    cache = FingerprintCache(path)
    fingerprint_images([image], cache=cache)
    good = path.read_bytes()
    for content in [*mutants([good], 300, seed=1, most=3), pickle.dumps({}), b"", b"PK\x03\x04", np_bytes(["a"])]:
        found = attempt(FingerprintCache.load, path, content)
        if isinstance(found, FingerprintCache):
            fingerprint_images([image], cache=found)


def np_bytes(value) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, about=np.array(value, dtype=object))
    return stream.getvalue()


# -------------------------------------------------------------------------------------------------- weight files


class Canary:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def read_all(path):
    with open_weight_file(path) as stored:
        return [read_array(stored, layer, weight) for layer in stored.layers for weight in layer.arrays]


def keras_file(config, **members: bytes) -> bytes:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
        file["layers/dense/vars/1"] = np.ones(2, np.float32)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


CONFIG = {"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", "config": {"name": "head"}}]}}


def test_nothing_in_a_weight_file_is_run(tmp_path):
    canary = tmp_path / "canary"
    evil = pickle.dumps(Canary(canary))
    pytorch = io.BytesIO()
    with zipfile.ZipFile(pytorch, "w") as archive:
        archive.writestr("archive/data.pkl", evil)
    arrays = io.BytesIO()
    np.savez(arrays, a=np.array([Canary(canary)], dtype=object))
    plain = io.BytesIO()
    np.save(plain, np.array([Canary(canary)], dtype=object))
    marshalled = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
    with_code = json.loads(json.dumps(CONFIG))
    with_code["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "evil", "function": marshalled}})
    for content in (evil, pytorch.getvalue(), arrays.getvalue(), plain.getvalue(), keras_file(with_code)):
        assert isinstance(attempt(read_all, tmp_path / "model.h5", content), WeightsFileError)
    # What is beside the weights in a .keras file is not looked at.
    beside = keras_file(CONFIG, **{"assets/evil.pkl": evil, "../../evil.py": b"x"})
    assert len(attempt(read_all, tmp_path / "model.keras", beside)) == 2
    assert not canary.exists()


def test_strange_configurations(tmp_path):
    path = tmp_path / "model.keras"
    assert len(attempt(read_all, path, keras_file(CONFIG))) == 2
    for content in strange_documents(CONFIG, 1, 100):
        attempt(read_all, path, keras_file(json.loads(content)))
    for config in (*STRANGE, {"config": {"layers": [1, None, {"config": 3}, {"config": {"name": []}}]}}):
        attempt(read_all, path, keras_file(config))


def test_mutated_weight_files(tmp_path):
    legacy = io.BytesIO()
    with h5py.File(legacy, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0"]
        group["dense/kernel:0"] = np.ones((3, 2), np.float32)
    packed = keras_file(CONFIG)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        squeezed = io.BytesIO()
        with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as other:
            for name in archive.namelist():
                other.writestr(name, archive.read(name))
    for content in mutants([legacy.getvalue(), packed, squeezed.getvalue()], 300, seed=6, most=3):
        attempt(read_all, tmp_path / "model.keras", content)


def test_groups_that_contain_each_other(tmp_path):
    path = tmp_path / "loop.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["self"] = group
    with pytest.raises(WeightsFileError):
        read_all(path)
    # Every level twice: 2**60 paths to one array.
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("last")
        group["kernel"] = np.ones((2, 2), np.float32)
        for level in range(60):
            above = file.create_group(f"level{level}")
            above["left"] = group
            above["right"] = group
            group = above
    with pytest.raises(WeightsFileError):
        read_all(path)
