from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cxr_cli.errors import InputError
from cxr_cli.services.check_leakage import fingerprints
from cxr_cli.services.check_leakage.descriptors import describe
from cxr_cli.services.check_leakage.fingerprints import (
    FingerprintCache,
    Unreadable,
    fingerprint_image,
    fingerprint_images,
)
from cxr_cli.services.parallel import KILLED_WORKER, Workers
from tests.drawn_images import image_pixels, save
from tests.helpers import die


@pytest.fixture
def images(tmp_path):
    return [save(tmp_path / f"{seed}.png", image_pixels(seed)) for seed in range(5)]


def test_a_fingerprint_describes_the_averaged_image(images):
    found = fingerprint_image(images[0])
    expected = describe(image_pixels(0).reshape(64, 2, 64, 2).mean(axis=(1, 3)))
    assert found.hash.tolist() == expected.hash.tolist()
    assert found.thumbnail.tolist() == expected.thumbnail.tolist()
    assert not found.blank


def test_equal_pixels_in_another_format_have_equal_digests(tmp_path):
    pixels = image_pixels(1)
    png = fingerprint_image(save(tmp_path / "a.png", pixels))
    for path in (
        save(tmp_path / "b.png", pixels, compress_level=1),
        save(tmp_path / "c.bmp", pixels),
        save(tmp_path / "d.png", np.repeat(pixels[..., None], 3, axis=2)),
        save(tmp_path / "e.png", pixels.astype(np.uint16) * 257),
    ):
        assert fingerprint_image(path).pixels.tolist() == png.pixels.tolist()
        assert fingerprint_image(path).crc != png.crc
    other = pixels.copy()
    other[5, 5] += 1
    assert fingerprint_image(save(tmp_path / "f.png", other)).pixels.tolist() != png.pixels.tolist()
    assert fingerprint_image(save(tmp_path / "g.png", pixels.reshape(64, 256))).pixels.tolist() != png.pixels.tolist()


def test_an_even_image_is_blank(tmp_path):
    assert fingerprint_image(save(tmp_path / "a.png", np.full((50, 70), 9, np.uint8))).blank


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_file_gives_its_reason_without_its_path(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    result = fingerprint_image(path)
    assert isinstance(result, Unreadable) and result.reason and str(tmp_path) not in result.reason


def test_broken_and_missing_files_do_not_stop_the_others(images, tmp_path):
    images[1].write_bytes(images[1].read_bytes()[:300])
    found = fingerprint_images([*images, tmp_path / "missing.png"])
    assert sorted(found.unreadable) == [1, 5]
    assert found.unreadable[5] == "no such file"
    assert found.records["readable"].tolist() == [True, False, True, True, True, False]
    assert (found.n_decoded, found.n_cached) == (6, 0)


def test_the_executor_changes_nothing(images):
    with ThreadPoolExecutor(3) as pool:
        assert (
            fingerprint_images(images, executor=pool).records.tobytes() == fingerprint_images(images).records.tobytes()
        )


def test_progress_counts_every_file(images, tmp_path):
    cache = FingerprintCache()
    fingerprint_images(images[:2], cache=cache)
    seen = []
    fingerprint_images(images, cache=cache, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 5), (4, 5), (5, 5)]


def test_a_second_run_decodes_only_what_changed(images, tmp_path, monkeypatch):
    path = tmp_path / "cache.npz"
    first = fingerprint_images(images, cache=FingerprintCache.load(path))
    save(images[2], image_pixels(77))
    os.utime(images[2], ns=(1, 1))
    read = []
    monkeypatch.setattr(fingerprints, "read_content", lambda name: read.append(name) or name.read_bytes())
    again = fingerprint_images(images[::-1], cache=FingerprintCache.load(path))
    assert read == [images[2]]
    assert (again.n_decoded, again.n_cached) == (1, 4)
    keep = [0, 1, 3, 4]
    assert again.records[::-1][keep].tobytes() == first.records[keep].tobytes()
    assert len(FingerprintCache.load(path)) == 5
    assert fingerprint_images(images, cache=FingerprintCache.load(path)).n_decoded == 0


def test_the_cache_keeps_what_was_done_before_an_interruption(images, tmp_path):
    path = tmp_path / "cache.npz"

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fingerprint_images(images, cache=FingerprintCache.load(path), progress=stop)
    assert fingerprint_images(images, cache=FingerprintCache.load(path)).n_cached == 2


def test_a_long_run_saves_now_and_then(images, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "SAVE_EVERY", 2)
    path, sizes = tmp_path / "cache.npz", []

    def look(done, total):
        sizes.append(len(FingerprintCache.load(path)))

    fingerprint_images(images, cache=FingerprintCache.load(path), progress=look)
    assert sizes == [0, 0, 2, 2, 4]
    assert len(FingerprintCache.load(path)) == 5


def test_broken_files_are_tried_again(images, tmp_path):
    path, good = tmp_path / "cache.npz", images[1].read_bytes()
    images[1].write_bytes(b"broken")
    fingerprint_images(images, cache=FingerprintCache.load(path))
    images[1].write_bytes(good)
    assert not fingerprint_images(images, cache=FingerprintCache.load(path)).unreadable


def test_a_cache_of_another_version_is_made_anew(images, tmp_path, monkeypatch):
    path = tmp_path / "cache.npz"
    fingerprint_images(images, cache=FingerprintCache.load(path))
    monkeypatch.setattr(fingerprints, "CACHE_VERSION", 999)
    assert len(FingerprintCache.load(path)) == 0


@pytest.mark.parametrize("kind", ["text", "npy", "npz", "cut", "folder"])
def test_a_file_that_is_no_cache_is_refused(images, tmp_path, kind):
    path = tmp_path / "cache.npz"
    if kind == "text":
        path.write_text("my thesis")
    elif kind == "npy":
        np.save(path.open("wb"), np.zeros(3))
    elif kind == "npz":
        np.savez(path, images=np.zeros(3))
    elif kind == "folder":
        path.mkdir()
    else:
        fingerprint_images(images, cache=FingerprintCache.load(path))
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a cache of fingerprints"):
        FingerprintCache.load(path)


@pytest.mark.parametrize(
    "names",
    [[["a"], ["b"], ["c"], ["d"], ["e"]], [{}, 1, None, "d", "e"], ["a"] * 5, {"a": 1}, "abcde", 5, None],
    ids=str,
)
def test_a_cache_whose_names_are_none_is_refused(images, tmp_path, names):
    path = tmp_path / "cache.npz"
    fingerprint_images(images, cache=FingerprintCache.load(path))
    with np.load(path) as stored:
        parts = {name: stored[name] for name in stored.files}
    assert len(parts["records"]) == 5
    for content in (json.dumps(names).encode(), b"[" * 100_000):
        parts["paths"] = np.frombuffer(content, np.uint8)
        np.savez(path, **parts)
        with pytest.raises(InputError, match="not a cache of fingerprints"):
            FingerprintCache.load(path)


def kill_on_3(path):
    if path.name == "3.png":
        die()
    return fingerprint_image(path)


@pytest.mark.slow
def test_an_image_that_kills_its_process_is_unreadable(images, monkeypatch):
    monkeypatch.setattr(fingerprints, "fingerprint_image", kill_on_3)
    with Workers(2) as workers:
        found = fingerprint_images(images, executor=workers)
    assert found.unreadable == {3: KILLED_WORKER}
    assert found.records["readable"].sum() == 4


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cache")
    with pytest.raises(InputError, match="is not a cache"):
        FingerprintCache.load(tmp_path / "cache")
