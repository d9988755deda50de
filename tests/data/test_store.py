import contextlib
import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data import store as module
from cxr_cli.data.store import HEADER_BYTES, PngWriter, RowsPart, RowsWriter, npy_header, png_name
from cxr_cli.errors import OutputError


@given(
    st.lists(st.integers(0, 10**9), min_size=0, max_size=4).map(tuple),
    st.sampled_from(["<f4", "|u1"]),
)
def test_header_is_what_numpy_reads(shape, dtype):
    import io

    header = npy_header(shape, np.dtype(dtype))
    assert len(header) == HEADER_BYTES
    stream = io.BytesIO(header)
    assert np.lib.format.read_magic(stream) == (1, 0)
    assert np.lib.format.read_array_header_1_0(stream) == (shape, False, np.dtype(dtype))


def rows_writer(path, n_rows=0):
    return RowsWriter(path, (2, 3), np.dtype(np.float32), n_rows)


def rows(*numbers):
    return np.stack([np.full((2, 3), number, np.float32) for number in numbers])


def write_rows(path, first_row, values):
    with RowsPart(path, first_row) as part:
        for row in values:
            part.write(row)


# For each chunk of images: which of them are sound, and whether the worker writes them if it is told where.
CHUNKS = st.lists(st.tuples(st.lists(st.booleans(), min_size=1, max_size=4), st.booleans()), max_size=12)


@given(chunks=CHUNKS, ahead=st.integers(1, 5), seed=st.integers(0, 99))
def test_rows_end_up_in_order_whatever_fails_and_whoever_writes(tmp_path_factory, chunks, ahead, seed):
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    writer = rows_writer(path)
    rng = np.random.default_rng(seed)
    number, expected, under_way, to_write = 0, [], [], []

    def commit():
        sound, row, writes = under_way.pop(0)
        while to_write and rng.random() < 0.5:  # other workers write at any time before their own turn
            start, values = to_write.pop(int(rng.integers(len(to_write))))
            write_rows(path, start, values)
        for entry in [item for item in to_write if item[0] == row]:
            write_rows(path, *entry)
            to_write.remove(entry)
        writer.commit(len(sound), rows(*sound) if sound and not writes else None)

    for sound_ones, worker_writes in chunks:
        row = writer.reserve(len(sound_ones))
        sound = [number + place for place, is_sound in enumerate(sound_ones) if is_sound]
        number += len(sound_ones)
        expected += sound
        writes = worker_writes and row is not None
        if writes and sound:
            to_write.append((row, rows(*sound)))
        under_way.append((sound, row, writes))
        if len(under_way) >= ahead:
            commit()
    while under_way:
        commit()
    target = path.with_name("done.npy")
    writer.finish(target)
    made = np.load(target)
    assert made.shape == (len(expected), 2, 3)
    np.testing.assert_array_equal(made[:, 0, 0], expected)
    assert (made == made[:, :1, :1]).all()
    assert not path.exists()


def test_an_earlier_run_is_continued_behind_its_sound_rows(tmp_path):
    path = tmp_path / "rows.npy"
    writer = rows_writer(path)
    writer.reserve(3)
    writer.commit(3, rows(0, 1, 2))
    writer.close()
    writer = rows_writer(path, n_rows=2)
    assert path.stat().st_size == HEADER_BYTES + 2 * 24
    assert writer.reserve(1) == 2
    writer.commit(1, rows(7))
    writer.finish(tmp_path / "done.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "done.npy", mmap_mode="r")[:, 0, 0], [0, 1, 7])


def test_rows_that_are_gone_are_noticed(tmp_path):
    path = tmp_path / "rows.npy"
    rows_writer(path).close()
    writer = rows_writer(path, n_rows=1)
    assert not writer.holds_what_it_should
    assert path.stat().st_size == HEADER_BYTES


def test_an_error_of_the_disk_behind_our_back_is_not_forgotten(tmp_path, monkeypatch):
    told = []

    def fsync(handle):  # as Linux does: of each error it tells once
        if not told:
            told.append(handle)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "_FLUSHED_BYTES", 24)
    writer = rows_writer(tmp_path / "rows.npy")
    monkeypatch.setattr(os, "fsync", fsync)
    writer.reserve(1)
    writer.commit(1, rows(0))
    writer.reserve(1)
    with contextlib.suppress(OutputError):  # it may be told already, or not yet
        writer.commit(1, rows(1))
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            writer.sync()
    with pytest.raises(OutputError, match="cannot write"):
        writer.finish(tmp_path / "done.npy")
    writer.close()
    assert len(told) == 1
    assert not (tmp_path / "done.npy").exists()


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        rows_writer(tmp_path / "none" / "rows.npy")


def test_images_replace_those_of_an_earlier_run(tmp_path):
    target = tmp_path / "images"
    for number in (1, 2):
        writer = PngWriter(tmp_path / "partial")
        writer.commit(["a.png", f"patient/{number}.png"], [b"a%d" % number, b"b"])
        writer.sync()
        writer.finish(target)
    assert (target / "a.png").read_bytes() == b"a2"
    assert sorted(path.name for path in target.rglob("*.png")) == ["2.png", "a.png"]
    assert not (tmp_path / "partial").exists()


def test_names_of_images_stay_different():
    assert [png_name(name) for name in ("a.png", "A.PNG", "a.jpg", "p/view1.jpg")] == [
        "a.png",
        "A.PNG",
        "a.jpg.png",
        "p/view1.jpg.png",
    ]
