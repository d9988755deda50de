"""Cache and checkpoint."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple

import numpy as np
import pytest

from cxr_cli.errors import OutputError
from cxr_cli.services.train.cache import cached
from cxr_cli.services.train.checkpoint import Checkpoint, read_checkpoint

SHAPE = (10, 2, 3)
VALUES = np.arange(60, dtype=np.float32).reshape(SHAPE)


class Filler:
    """Computes rows in batches of 2 and counts them; may stop."""

    def __init__(self, stop_at: int = 99) -> None:
        self.stop_at, self.computed = stop_at, []

    def __call__(self, first, last, take):
        for row in range(first, last, 2):
            if row >= self.stop_at:
                raise KeyboardInterrupt
            self.computed += range(row, min(row + 2, last))
            take(row - first, VALUES[row : min(row + 2, last)])


def run(path, key="a", fill=None, dtype="float32"):
    seen = []
    array, reused = cached(path, key, SHAPE, dtype, 4, fill or Filler(), lambda done, total: seen.append((done, total)))
    return array, reused, seen


def test_computed_once(tmp_path):
    path = tmp_path / "cache" / "a.npy"
    array, reused, seen = run(path)
    np.testing.assert_array_equal(array, VALUES)
    assert not reused and seen[0] == (0, 10) and seen[-1] == (10, 10)
    fill = Filler()
    array, reused, _ = run(path, fill=fill)
    np.testing.assert_array_equal(array, VALUES)
    assert reused and not fill.computed
    assert sorted(item.name for item in path.parent.iterdir()) == ["a.npy", "a.npy.json"]


def test_cache_of_another_model_is_not_used(tmp_path):
    path = tmp_path / "a.npy"
    run(path, "model 1")
    fill = Filler()
    assert not run(path, "model 2", fill)[1]
    assert fill.computed == list(range(10))
    assert run(path, "model 2")[1]


@pytest.mark.parametrize("stop_at", [0, 2, 4, 6, 8])
def test_interrupted_computation_goes_on(tmp_path, stop_at):
    path = tmp_path / "a.npy"
    with pytest.raises(KeyboardInterrupt):
        run(path, fill=Filler(stop_at))
    assert not path.exists()
    fill = Filler()
    array, _, seen = run(path, fill=fill)
    np.testing.assert_array_equal(array, VALUES)
    kept = stop_at // 4 * 4
    assert fill.computed == list(range(kept, 10)) and seen[0] == (kept, 10)


def test_interrupted_computation_of_another_model_is_dropped(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(KeyboardInterrupt):
        run(path, "model 1", Filler(8))
    fill = Filler()
    run(path, "model 2", fill)
    assert fill.computed == list(range(10))


@pytest.mark.parametrize("damage", ["cut", "key", "no key", "longer"])
def test_damaged_cache_is_made_again(tmp_path, damage):
    path = tmp_path / "a.npy"
    run(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"x")
    elif damage == "key":
        (tmp_path / "a.npy.json").write_text("{")
    else:
        (tmp_path / "a.npy.json").unlink()
    array, reused, _ = run(path)
    assert not reused
    np.testing.assert_array_equal(array, VALUES)


def test_half_precision(tmp_path):
    array, _, _ = run(tmp_path / "a.npy", dtype="float16")
    assert array.dtype == np.float16
    np.testing.assert_array_equal(array, VALUES)


def test_full_disk_is_an_error_before_the_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 100))
    fill = Filler()
    with pytest.raises(OutputError, match="GB are free"):
        run(tmp_path / "a.npy", fill=fill)
    assert not fill.computed


CHECKPOINT = Checkpoint(
    "key",
    {"epoch": 3, "best": float("nan"), "rows": [{"a": 1}]},
    {"weights": [np.arange(4.0), np.ones((2, 2), np.float32)], "best": [], "optimizer": [np.array(3)]},
)


def test_checkpoint_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "checkpoint.npz"
    CHECKPOINT.write(path)
    found = read_checkpoint(path, "key")
    assert found.meta == {"epoch": 3, "best": None, "rows": [{"a": 1}]}
    assert [array.dtype for array in found.arrays["weights"]] == [np.float64, np.float32]
    np.testing.assert_array_equal(found.arrays["weights"][1], np.ones((2, 2)))
    assert found.arrays["optimizer"][0] == 3


def test_order_of_many_arrays_is_kept(tmp_path):
    many = [np.array(i) for i in range(300)]
    Checkpoint("key", {}, {"weights": many}).write(tmp_path / "c.npz")
    assert [int(array) for array in read_checkpoint(tmp_path / "c.npz", "key").arrays["weights"]] == list(range(300))


def test_checkpoint_of_another_training_is_not_used(tmp_path):
    CHECKPOINT.write(tmp_path / "c.npz")
    assert read_checkpoint(tmp_path / "c.npz", "other") is None
    assert read_checkpoint(tmp_path / "missing.npz", "key") is None


def test_no_damage_is_a_traceback(tmp_path):
    path = tmp_path / "c.npz"
    CHECKPOINT.write(path)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for place in [*range(0, len(content), 97), *random.integers(0, len(content), 200)]:
        path.write_bytes(content[: int(place)])
        assert read_checkpoint(path, "key") is None
    for place in random.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        read_checkpoint(path, "key")  # found or not, but never an exception


def test_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    CHECKPOINT.write(path)
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        Checkpoint("key", {}, {}).write(path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["c.npz"]


def test_pickles_are_not_loaded(tmp_path):
    head = np.frombuffer(json.dumps({"key": "key", "meta": {}}).encode(), np.uint8)
    np.savez(tmp_path / "c.npz", **{"/": head, "weights/00000": np.array([{"a": 1}], dtype=object)})
    assert read_checkpoint(tmp_path / "c.npz", "key") is None
