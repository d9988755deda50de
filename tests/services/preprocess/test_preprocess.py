import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxr_cli.choices import PixelType, choices
from cxr_cli.data.files import Outputs
from cxr_cli.data.images import read_gray
from cxr_cli.data.labels import read_labels
from cxr_cli.data.store import refuse_clashes
from cxr_cli.errors import ImageError, InputError, OutputError, UsageError
from cxr_cli.services.images import prepare as preparation
from cxr_cli.services.images.prepare import prepare_image
from cxr_cli.services.images.resize import nearest
from cxr_cli.services.parallel import Workers
from cxr_cli.services.preprocess import preprocess as module
from cxr_cli.services.preprocess import schedule
from cxr_cli.services.preprocess.finished import finished_store
from cxr_cli.services.preprocess.options import Options, read_statistics
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.preprocess.samples import Sample, compare_interpolations
from cxr_cli.services.store.recipe import Recipe
from tests.drawn_images import image_pixels, save
from tests.helpers import die

SIZE = (16, 24)
SMALL = Recipe(image_size=SIZE)
UINT8 = replace(SMALL, dtype="uint8")
FEATUREWISE = replace(SMALL, standardize="featurewise")


@pytest.fixture
def images(tmp_path):
    """Twelve images of many kinds, two of them broken and one missing, and the table that names all 15."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{patient:08d}_000.png" for patient in range(1, 16)]
    for place, name in enumerate(names):
        pixels = rng.integers(0, 256, (40 + place, 50), dtype=np.uint8)
        image = Image.fromarray(pixels)
        if place == 2:
            image = Image.fromarray(pixels.astype(np.uint16) * 257)
        elif place == 4:
            image = Image.fromarray(rng.integers(0, 256, (40, 50, 4), dtype=np.uint8))
        elif place == 6:
            image = Image.new("L", (30, 30), 99)
        image.save(folder / name)
    (folder / names[3]).write_text("a text file")
    broken = bytearray((folder / names[8]).read_bytes())
    broken[60] ^= 1
    (folder / names[8]).write_bytes(broken)
    (folder / names[10]).unlink()
    rows = [f"{name},{place % 2},{place % 3 == 0:d},{place + 1}" for place, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["Image,Effusion,Mass,PatientId", *rows]) + "\n")
    return read_labels(tmp_path / "labels.csv"), folder


def run(images, output, recipe=SMALL, **options):
    where = {name: options.pop(name) for name in ("workers", "executor", "progress", "on_start") if name in options}
    return preprocess(*images, output, Options(recipe, **options), **where)


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_first_image_has_the_published_values(real_data, tmp_path):
    table = tmp_path / "one.csv"
    lines = (real_data / "nih" / "train-small.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:2]))
    recipe = Recipe(interpolation="nearest")
    result = preprocess(read_labels(table), real_data / "nih" / "images-small", tmp_path / "store", Options(recipe))
    image = np.load(result.store)[0]
    assert image.shape == (320, 320)
    assert image.max() == pytest.approx(1.7999, abs=5e-5)
    assert image.min() == pytest.approx(-1.7404, abs=5e-5)
    assert image.mean() == pytest.approx(0, abs=5e-5)
    assert image.std() == pytest.approx(1, abs=5e-5)


def test_store_index_and_failures(images, tmp_path):
    result = run(images, tmp_path / "out")
    table, folder = images
    index = pd.read_csv(tmp_path / "out" / "index.csv", dtype={"image": str, "patient_id": str})
    pixels = np.load(tmp_path / "out" / "images.npy", mmap_mode="r")
    assert pixels.shape == result.shape == (12, *SIZE) and pixels.dtype == np.float32
    sound = [place for place in range(15) if place not in (3, 8, 10)]
    assert index["image"].tolist() == [table.images[place] for place in sound]
    assert index["patient_id"].tolist() == [str(place + 1) for place in sound]
    np.testing.assert_array_equal(index[["Effusion", "Mass"]].to_numpy(), table.labels[sound])
    assert index["source_mode"].tolist()[2:5] == ["I;16", "RGBA", "L"]
    for row, place in enumerate(sound):
        source = read_gray(folder / table.images[place])
        levels = source.pixels * (255 / source.full_scale)
        line = index.iloc[row]
        assert (line["source_height"], line["source_width"]) == source.pixels.shape
        assert line["before_mean"] == pytest.approx(levels.mean(), rel=1e-6)
        assert line["before_std"] == pytest.approx(levels.std(), rel=1e-6, abs=1e-9)
        assert (line["before_minimum"], line["before_maximum"]) == pytest.approx((levels.min(), levels.max()), rel=1e-6)
        np.testing.assert_array_equal(pixels[row], prepare_image(str(folder / table.images[place]), SMALL)[0])
        assert line["after_maximum"] == pytest.approx(pixels[row].max(), abs=1e-4)
        assert line["after_mean"] == pytest.approx(0, abs=1e-5)
    failures = pd.read_csv(tmp_path / "out" / "failures.csv", dtype=str)
    assert failures["image"].tolist() == [table.images[place] for place in (3, 8, 10)]
    assert "not an image" in failures["reason"][0]
    assert "CRC" in failures["reason"][1]
    assert "no such file" in failures["reason"][2]
    assert (result.n_images, result.n_done, result.n_failed, result.n_missing) == (15, 12, 3, 1)
    assert [failure.image for failure in result.failures] == failures["image"].tolist()
    assert str(tmp_path) not in (tmp_path / "out" / "failures.csv").read_text()


def test_comparison(images, tmp_path):
    result = run(images, tmp_path / "out", n_sample=3)
    comparison = result.comparison
    table, folder = images
    sources = [read_gray(folder / name) for name in pd.read_csv(result.index)["image"]]
    levels = np.concatenate([source.pixels.ravel() * (255 / source.full_scale) for source in sources])
    assert comparison.n_images == 12
    assert comparison.before.mean == pytest.approx(levels.mean(), rel=1e-9)
    assert comparison.before.std == pytest.approx(levels.std(), rel=1e-9)
    assert comparison.before.saturated == pytest.approx(np.isin(levels, (0, 255)).mean())
    pixels = np.load(result.store).astype(float)
    assert comparison.after.std == pytest.approx(pixels.std(), rel=1e-4)
    assert comparison.after.maximum == pytest.approx(pixels.max(), rel=1e-5)
    assert (comparison.sizes.min_height, comparison.sizes.max_height) == (30, 54)
    assert [image.image for image in comparison.sample] == sorted(image.image for image in comparison.sample)
    assert len(comparison.sample) == 3
    assert run(images, tmp_path / "again", n_sample=3).comparison.sample == comparison.sample


@pytest.mark.parametrize("recipe", [SMALL, UINT8, replace(UINT8, format="png")], ids=["f", "u", "png"])
def test_same_bytes_whatever_the_workers(images, tmp_path, monkeypatch, recipe):
    alone = contents((run(images, tmp_path / "alone", recipe), tmp_path / "alone")[1])
    monkeypatch.setattr(schedule, "TASK_IMAGES", 2)
    monkeypatch.setattr(schedule, "CLUSTER_TASK_IMAGES", 2)
    with ThreadPoolExecutor(3) as pool:
        run(images, tmp_path / "threads", recipe, executor=pool)
    with Workers(2) as workers:
        for place in ("processes", "again"):
            run(images, tmp_path / place, recipe, executor=workers)
            assert workers.pool is not None  # it serves the next call as well
            assert contents(tmp_path / place) == alone
    assert contents(tmp_path / "threads") == alone


@given(st.integers(0, 500), st.integers(1, 20), st.integers(0, 9))
def test_tasks_are_all_the_items_and_end_small(n_items, largest, n_workers):
    sizes = list(schedule.task_sizes(n_items, largest, n_workers))
    assert sum(sizes) == n_items
    assert all(0 < size <= largest for size in sizes)
    if n_workers:
        assert sizes == sorted(sizes, reverse=True)
        assert sizes == [] or sizes[-1] <= 2


def test_tasks_read_and_bring_back_no_more_than_they_may(images, tmp_path, monkeypatch):
    def first_told(place, executor=None):
        told = []
        run(images, tmp_path / place, executor=executor, progress=lambda done, total: told.append(done))
        return told[1]

    assert first_told("all at once") == 14
    with ThreadPoolExecutor(2) as pool:
        assert first_told("cluster", pool) == 8
    for number, limit in enumerate(("TASK_SOURCE_BYTES", "TASK_BYTES")):
        with monkeypatch.context() as patch:
            patch.setattr(schedule, limit, 1)
            assert first_told(str(number)) == 1


@pytest.mark.parametrize("name", ["index.csv", "failures.csv"])
def test_a_file_that_cannot_be_written_is_named(images, tmp_path, name):
    (tmp_path / ".partial" / name).mkdir(parents=True)
    (tmp_path / ".partial" / "journal.jsonl").touch()
    with pytest.raises(OutputError, match=f"{name}: cannot write: Is a directory"):
        run(images, tmp_path)


def test_progress_and_start(images, tmp_path):
    told, starts = [], []
    run(images, tmp_path / "out", progress=lambda *at: told.append(at), on_start=starts.append)
    assert told[0] == (0, 14) and told[-1] == (14, 14)
    (start,) = starts
    assert (start.n_images, start.n_missing, start.n_done_before) == (15, 1, 0)
    assert start.n_bytes == 14 * 16 * 24 * 4


class Killed(BaseException):
    """Stands for what ends a process between two steps."""


@pytest.mark.parametrize("recipe", [SMALL, UINT8, replace(UINT8, format="png")], ids=["f", "u", "png"])
def test_a_run_interrupted_anywhere_continues_to_the_same_bytes(images, tmp_path, monkeypatch, recipe):
    run(images, tmp_path / "whole", recipe)
    whole = contents(tmp_path / "whole")
    monkeypatch.setattr(schedule, "TASK_IMAGES", 3)
    again = tmp_path / "again"
    for stop_at in (3, 9, 12):

        def stop(done, total, stop_at=stop_at):
            if done == stop_at:
                raise Killed

        with pytest.raises(Killed):
            run(images, again, recipe, progress=stop, workers=0)
        assert not (again / "preprocess.json").exists()
        assert not (again / "images.npy").exists()
    result = run(images, again, recipe, workers=0)
    assert result.n_done_before == 12
    assert contents(again) == whole


@pytest.mark.parametrize("recipe", [SMALL, replace(UINT8, format="png")], ids=["npy", "png"])
def test_interrupted_among_the_last_steps(images, tmp_path, monkeypatch, recipe):
    run(images, tmp_path / "out", recipe)
    whole = contents(tmp_path / "out")
    last = ((module.OpenStore, "finish"), (module, "_manifest"), (module.OpenStore, "give_final_name"))
    for owner, step in ((module.IndexWriter, "finish"), *last):
        with monkeypatch.context() as patch:

            def stop(*arguments, **options):
                raise Killed

            patch.setattr(owner, step, stop)
            with pytest.raises(Killed):
                run(images, tmp_path / "out", recipe)
        assert not (tmp_path / "out" / "preprocess.json").exists(), step
    result = run(images, tmp_path / "out", recipe)
    assert result.n_done_before == 14
    assert contents(tmp_path / "out") == whole


def test_another_run_in_the_same_folder_is_refused_unless_it_starts_over(images, tmp_path):
    def stop(done, total):
        if done:
            raise Killed

    with pytest.raises(Killed):
        run(images, tmp_path / "out", progress=stop)
    with pytest.raises(OutputError, match="dtype was float32 and is uint8"):
        run(images, tmp_path / "out", UINT8)
    os.utime(images[1] / images[0].images[0], (1, 1))
    with pytest.raises(OutputError, match="files was"):
        run(images, tmp_path / "out")
    assert run(images, tmp_path / "out", UINT8, start_over=True).n_done_before == 0


def test_damaged_leftovers_are_noticed(images, tmp_path):
    def stop(done, total):
        if done:
            raise Killed

    for damage in (lambda path: path.unlink(), lambda path: os.truncate(path, 200)):
        with pytest.raises(Killed):
            run(images, tmp_path / "out", progress=stop, start_over=True)
        damage(tmp_path / "out" / ".partial" / "images.npy")
        with pytest.raises(OutputError, match="start_over=True"):
            run(images, tmp_path / "out")


def test_second_run_replaces_the_first(images, tmp_path):
    run(images, tmp_path / "out", UINT8)
    first = contents(tmp_path / "out")
    run(images, tmp_path / "out", replace(UINT8, format="png"))
    # Nothing vouches for the array any more.
    with pytest.raises(OutputError, match=r"images\.npy: already exists"):
        run(images, tmp_path / "out", UINT8)
    (tmp_path / "out" / "images.npy").unlink()
    run(images, tmp_path / "out", UINT8)
    run(images, tmp_path / "out", UINT8)
    assert contents(tmp_path / "out").items() >= first.items()


PNG = replace(UINT8, format="png")


def starts(images, output, recipe=SMALL, **options):
    """Run, and return what was told at the start."""
    told = []
    run(images, output, recipe, on_start=told.append, **options)
    return told[0]


def test_a_store_that_will_be_lost_is_told_at_the_start(images, tmp_path):
    out = tmp_path / "out"
    first = starts(images, out)
    assert (first.replaces, first.left_over) == (None, None)
    assert starts(images, out).replaces is None  # the same again
    second = starts(images, out, UINT8)
    assert (second.replaces.table, second.replaces.recipe, second.replaces.n_done) == (images[0].source, SMALL, 12)
    assert second.left_over is None  # images.npy takes the place of images.npy
    other = tmp_path / "other.csv"
    other.write_text("\n".join(images[0].path.read_text().splitlines()[:9]) + "\n")
    third = starts((read_labels(other), images[1]), out, UINT8)
    assert (third.replaces.table.path, third.replaces.recipe) == (str(images[0].path), UINT8)
    read_otherwise = read_labels(other, uncertain="positive")
    assert starts((read_otherwise, images[1]), out, UINT8).replaces.uncertain == "ignore"


def test_the_store_of_the_other_format_stays_and_is_told(images, tmp_path):
    out = tmp_path / "out"
    run(images, out, UINT8)
    before = (out / "images.npy").read_bytes()
    assert starts(images, out, PNG).left_over == out / "images.npy"
    assert (out / "images.npy").read_bytes() == before
    pngs = contents(out / "images")
    (out / "images.npy").unlink()
    assert starts(images, out, UINT8).left_over == out / "images"
    assert contents(out / "images") == pngs
    run(images, tmp_path / "pngs", PNG)
    shutil.rmtree(tmp_path / "pngs" / "images")
    last = starts(images, tmp_path / "pngs", UINT8)
    assert last.replaces.store == "images" and last.left_over is None


def test_statistics_make_another_store(images, tmp_path):
    run(images, tmp_path / "train", FEATUREWISE, fit_statistics=True)
    assert starts(images, tmp_path / "train", FEATUREWISE, fit_statistics=True).replaces is None
    statistics, source = read_statistics(tmp_path / "train", FEATUREWISE)
    carried = {"recipe": replace(FEATUREWISE, statistics=statistics), "statistics_from": source}
    run(images, tmp_path / "valid", **carried)
    assert starts(images, tmp_path / "valid", **carried).replaces is None
    carried["recipe"] = replace(FEATUREWISE, statistics=replace(statistics, mean=1.0))
    assert starts(images, tmp_path / "valid", **carried).replaces.recipe.statistics == statistics


def test_the_store_behind_the_statistics_is_not_replaced(images, tmp_path):
    run(images, tmp_path / "train", FEATUREWISE, fit_statistics=True)
    before = contents(tmp_path / "train")
    statistics, source = read_statistics(tmp_path / "train", FEATUREWISE)
    recipe = replace(FEATUREWISE, statistics=statistics)
    with pytest.raises(OutputError, match="preprocess.json: is an input"):
        run(images, tmp_path / "train", recipe, statistics_from=source)
    assert contents(tmp_path / "train") == before


@pytest.mark.parametrize(
    "manifest",
    [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"inputs": [], "store": "../labels.csv"}'],
    ids=["empty", "no text", "list", "without anything", "deep", "without table"],
)
def test_a_manifest_that_makes_no_sense_is_no_store(images, tmp_path, manifest):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "preprocess.json").write_bytes(manifest)
    assert finished_store(tmp_path / "out") is None
    with pytest.raises(OutputError, match=r"preprocess\.json: already exists and was not written by cxr"):
        run(images, tmp_path / "out")
    assert contents(tmp_path / "out") == {"preprocess.json": hashlib.sha256(manifest).hexdigest()}


@pytest.mark.parametrize(
    "name", ["index.csv", "failures.csv", "images.npy", ".partial/notes.txt", ".partial/images.npy"]
)
@pytest.mark.parametrize("start_over", [False, True])
def test_files_of_the_user_are_not_replaced(images, tmp_path, name, start_over):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(OutputError, match=f"{name.partition('/')[0]}: already exists and was not"):
        run(images, tmp_path / "out", start_over=start_over)
    assert contents(tmp_path / "out") == {name: hashlib.sha256(b"precious").hexdigest()}


def test_a_run_stopped_among_its_last_steps_vouches_for_what_it_wrote(images, tmp_path, monkeypatch):
    run(images, tmp_path / "whole")
    for place in range(1, 5):
        real, n = os.replace, [0]

        def stop(source, target, at=place, real=real, n=n):
            if Path(target).parent == tmp_path / "out":
                n[0] += 1
                if n[0] == at:
                    raise Killed
            real(source, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, "replace", stop)
            run(images, tmp_path / "out")
        run(images, tmp_path / "out")
        assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["cut", "bit", "numbers", "empty", "other run"])
def test_statistics_that_were_damaged_are_fitted_again(images, tmp_path, damage):
    def stop(done, total):
        if path.exists() and b"mean" in path.read_bytes():
            raise Killed

    run(images, tmp_path / "whole", FEATUREWISE, fit_statistics=True)
    path = tmp_path / "out/.partial/statistics.jsonl"
    with pytest.raises(Killed):
        run(images, tmp_path / "out", FEATUREWISE, fit_statistics=True, progress=stop)
    content = path.read_bytes()
    head, entry = content.splitlines(keepends=True)
    assert b'"mean":' in entry
    changed = {
        "cut": content[:-9],
        "bit": content[:-30] + bytes([content[-30] ^ 1]) + content[-29:],
        "numbers": head + entry.replace(b'"mean":1', b'"mean":2'),
        "empty": b"",
        "other run": head.replace(b'"seed": 0', b'"seed": 1') + entry,
    }[damage]
    assert changed != content
    path.write_bytes(changed)
    if damage == "other run":
        with pytest.raises(OutputError, match="seed was 1 and is 0"):
            run(images, tmp_path / "out", FEATUREWISE, fit_statistics=True)
    else:
        run(images, tmp_path / "out", FEATUREWISE, fit_statistics=True)
        assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_only_a_store_is_told_to_stay(images, tmp_path):
    run(images, tmp_path / "out")
    path = tmp_path / "out" / "preprocess.json"
    for place, name in enumerate(("../labels.csv", "index.csv", 3, None, ["images"])):
        path.write_text(json.dumps({**json.loads(path.read_text()), "store": name}))
        (tmp_path / "out" / "images.npy").unlink()
        start = starts(images, tmp_path / "out", SMALL if place % 2 else UINT8)
        assert start.left_over is None and (start.replaces is not None) == (name == "index.csv")


def test_pngs_never_take_the_place_of_the_sources(images, tmp_path):
    table, folder = images
    before = contents(folder)
    with pytest.raises(OutputError, match="holds images that are to be preprocessed"):
        run(images, tmp_path, PNG)  # which would be tmp_path / "images"
    nested = tmp_path / "nested"
    shutil.copytree(folder, nested / "images" / "images_001")
    for where in (nested, nested / "images", nested / "images" / "images_001"):
        with pytest.raises(OutputError, match="holds images that are to be preprocessed"):
            run((table, where), nested, PNG)
    (tmp_path / "link").symlink_to(nested)
    with pytest.raises(OutputError, match="holds images that are to be preprocessed"):
        run((table, tmp_path / "link"), nested, PNG)
    assert contents(folder) == before == contents(nested / "images" / "images_001")
    assert not (tmp_path / ".partial").exists() and not (nested / ".partial").exists()
    run((table, nested), nested)  # an array beside them does no harm
    with pytest.raises(OutputError, match="holds images that are to be preprocessed"):
        run((table, nested), nested, PNG)


def test_pngs_never_take_the_place_of_other_things(images, tmp_path):
    mine = tmp_path / "out" / "images" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    run(images, tmp_path / "out")
    for start_over in (False, True):
        with pytest.raises(OutputError, match="was not written by cxr preprocess"):
            run(images, tmp_path / "out", PNG, start_over=start_over)
    assert mine.read_text() == "precious"


def test_pngs_are_the_resized_images(images, tmp_path):
    result = run(images, tmp_path / "out", replace(UINT8, format="png"))
    array = np.load(run(images, tmp_path / "npy", UINT8).store)
    index = pd.read_csv(result.index)
    for row, file in enumerate(index["file"]):
        np.testing.assert_array_equal(read_gray(tmp_path / "out" / file).pixels, array[row])
    assert result.store == tmp_path / "out" / "images"
    assert result.n_bytes == sum(path.stat().st_size for path in result.store.iterdir())


def test_16_bits_are_scaled_not_clipped(images, tmp_path):
    table, folder = images
    recipe = replace(SMALL, standardize="none", interpolation="nearest")
    made = np.load(run(images, tmp_path / "out", recipe).store)[2]
    np.testing.assert_allclose(made, nearest(read_gray(folder / table.images[2]).pixels, SIZE) / 257, rtol=1e-6)


def test_imagenet_has_three_channels_only_where_they_differ(images, tmp_path):
    imagenet = replace(SMALL, standardize="imagenet")
    assert run(images, tmp_path / "float", imagenet).shape == (12, *SIZE, 3)
    assert run(images, tmp_path / "uint8", replace(imagenet, dtype="uint8")).shape == (12, *SIZE)


@pytest.mark.parametrize("dtype", choices(PixelType))
def test_statistics_are_those_of_all_pixels_of_the_table(images, tmp_path, dtype):
    recipe = replace(FEATUREWISE, dtype=dtype)
    result = run(images, tmp_path / "out", recipe, fit_statistics=True)
    plain = np.load(run(images, tmp_path / "plain", replace(SMALL, dtype=dtype, standardize="none")).store)
    statistics = result.recipe.statistics
    assert statistics.mean == pytest.approx(plain.mean(dtype=float), rel=1e-7)
    assert statistics.std == pytest.approx(plain.std(dtype=float), rel=1e-7)
    assert (statistics.n_images, statistics.n_pixels) == (12, plain.size)
    if dtype == "float32":
        expected = (plain - np.float32(statistics.mean)) / np.float32(statistics.std + 1e-6)
        np.testing.assert_array_equal(np.load(result.store), expected)


def test_statistics_of_a_sample_depend_on_the_seed_only(images, tmp_path):
    def fitted(name, seed):
        result = run(images, tmp_path / name, FEATUREWISE, fit_statistics=True, fit_sample=5, seed=seed)
        return result.recipe.statistics

    one = fitted("a", 1)
    assert one == fitted("b", 1) != fitted("c", 2)
    assert one.n_images <= 5


def test_statistics_are_fitted_once_however_often_a_run_is_interrupted(images, tmp_path, monkeypatch):
    def stop(done, total):
        if total == 14 and done == 14:
            stop.times += 1
            if stop.times == 2:  # the first time is the end of fitting
                raise Killed

    stop.times = 0
    whole = run(images, tmp_path / "whole", FEATUREWISE, fit_statistics=True)
    with pytest.raises(Killed):
        run(images, tmp_path / "out", FEATUREWISE, fit_statistics=True, progress=stop)
    monkeypatch.setattr(module, "measure", None)
    assert run(images, tmp_path / "out", FEATUREWISE, fit_statistics=True, workers=0).recipe == whole.recipe
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_statistics_are_carried_to_other_tables(images, tmp_path):
    fitted = run(images, tmp_path / "train", FEATUREWISE, fit_statistics=True)
    for path in (tmp_path / "train", tmp_path / "train" / "preprocess.json"):
        statistics, source = read_statistics(path, FEATUREWISE)
        assert statistics == fitted.recipe.statistics
        assert source.fitted_on == images[0].source
    recipe = replace(FEATUREWISE, statistics=statistics)
    carried = run(images, tmp_path / "valid", recipe, statistics_from=source)
    np.testing.assert_array_equal(np.load(carried.store), np.load(fitted.store))
    manifest = json.loads(carried.manifest.read_text())
    assert manifest["statistics_fitted_on"]["sha256"] == images[0].source.sha256
    assert [item["path"] for item in manifest["inputs"]] == [str(images[0].path), source.manifest.path]
    assert read_statistics(tmp_path / "valid", FEATUREWISE)[1].fitted_on == images[0].source


def test_statistics_of_another_recipe_are_refused(images, tmp_path):
    run(images, tmp_path / "train", FEATUREWISE, fit_statistics=True)
    with pytest.raises(InputError, match=r"image size \(16, 24\), not \(32, 32\)"):
        read_statistics(tmp_path / "train", replace(FEATUREWISE, image_size=(32, 32)))
    run(images, tmp_path / "other")
    with pytest.raises(InputError, match="has no statistics"):
        read_statistics(tmp_path / "other", FEATUREWISE)


STATISTICS = {"statistics": object()}


@pytest.mark.parametrize(
    ("recipe", "options", "word"),
    [
        (FEATUREWISE, {}, "fit_statistics=True"),
        (SMALL, {"fit_statistics": True}, "uses no statistics"),
        (replace(FEATUREWISE, **STATISTICS), {"fit_statistics": True}, "exclude each other"),
        (replace(SMALL, **STATISTICS), {}, "uses no statistics"),
        (SMALL, {"fit_sample": 3}, "fit_sample has no effect"),
        (replace(SMALL, format="png"), {}, "grey levels"),
        (replace(SMALL, image_size=(0, 5)), {}, r"image_size=\(0, 5\); expected at least 1 pixel"),
        (SMALL, {"engine": "keras"}, "no area interpolation"),
        (UINT8, {"engine": "keras"}, "float32"),
    ],
)
def test_contradictions(images, tmp_path, recipe, options, word):
    with pytest.raises(UsageError, match=word):
        run(images, tmp_path / "out", recipe, **options)
    assert not (tmp_path / "out").exists()


def test_strict_stops_at_the_first_failure(images, tmp_path):
    table, folder = images
    with pytest.raises(ImageError, match="00000011_000.png: no such file"):
        run(images, tmp_path / "out", strict=True)
    shutil.copy(folder / table.images[0], folder / table.images[10])
    with pytest.raises(ImageError, match="00000004_000.png: is not an image"):
        run(images, tmp_path / "out", strict=True)


def test_no_image_at_all(images, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="none of the 15 images"):
        preprocess(images[0], tmp_path / "empty", tmp_path / "out")


def test_no_sound_image_is_an_empty_store(images, tmp_path):
    table, folder = images
    for path in folder.iterdir():
        path.write_text("text")
    result = run(images, tmp_path / "out")
    assert (result.n_done, result.comparison.before, result.comparison.sample) == (0, None, ())
    assert np.load(result.store).shape == (0, *SIZE)


def test_a_disk_too_small_is_refused(images, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(OutputError, match="0.0 GB are free"):
        run(images, tmp_path / "out")


def test_links_that_leave_the_folder_are_not_followed(images, tmp_path):
    table, folder = images
    secret = tmp_path / "secret.png"
    Image.new("L", (9, 9)).save(secret)
    (folder / table.images[10]).symlink_to(secret)
    result = run(images, tmp_path / "out")
    assert result.failures[-1].image == table.images[10]
    assert "leaves the image folder" in result.failures[-1].reason


def test_inputs_are_not_overwritten(images, tmp_path):
    table, folder = images
    clash = tmp_path / "out" / "index.csv"
    clash.parent.mkdir()
    shutil.copy(table.path, clash)
    before = clash.read_bytes()
    with pytest.raises(OutputError, match="is an input"):
        preprocess(read_labels(clash), folder, clash.parent)
    assert clash.read_bytes() == before


def kill_on_the_fifth(task):
    """Prepare, but die over the fifth image whatever is tried."""
    if any("00000005" in path for path in task.paths):
        die()
    return preparation.prepare(task)


@pytest.mark.slow
def test_an_image_that_kills_its_process_is_a_failure_like_any_other(images, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "TASK_IMAGES", 3)
    monkeypatch.setattr(module, "prepare", kill_on_the_fifth)
    result = run(images, tmp_path / "out", workers=2)
    assert (result.n_done, result.n_failed) == (11, 4)
    assert result.failures[1].reason == "the process that decoded it died"
    assert result.failures[1].image == "00000005_000.png"
    monkeypatch.undo()
    whole = np.load(run(images, tmp_path / "whole").store)
    np.testing.assert_array_equal(np.load(result.store), np.delete(whole, 3, axis=0))


def test_result_is_plain(images, tmp_path):
    document = run(images, tmp_path / "out").to_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["recipe"]["image_size"] == [16, 24]


def test_seed_and_what_became_of_uncertain_labels_are_told(tmp_path):
    image = tmp_path / "images" / "patient00001" / "study1" / "view1_frontal.png"
    image.parent.mkdir(parents=True)
    Image.new("L", (9, 9), 7).save(image)
    path = tmp_path / "chexpert.csv"
    path.write_text(
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema\n"
        "patient00001/study1/view1_frontal.png,Female,68,Frontal,AP,,1.0,-1.0\n"
    )
    table = read_labels(path, uncertain="positive")
    result = run((table, tmp_path / "images"), tmp_path / "out", seed=5)
    assert (result.seed, result.uncertain, result.n_uncertain) == (5, "positive", 1)
    assert pd.read_csv(result.index)["Edema"].tolist() == [1]


def test_interpolations_are_measured_against_the_mean():
    # A chequerboard: every mean is 127.5, every picked pixel is black or white.
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.float32)
    made = {item.interpolation: item for item in compare_interpolations(Sample("a.png", board, board, board), (4, 4))}
    assert made["area"].distance == 0
    assert made["nearest"].distance == pytest.approx(127.5)
    assert made["bilinear"].distance < 2


def test_a_name_of_several_files_ends_before_anything_is_written(tmp_path):
    for place in ("images/x.png", "masks/x.png"):
        save(tmp_path / "covid" / place, image_pixels(1))
    path = tmp_path / "t.csv"
    path.write_text("Image,PatientId,Mass\nx.png,1,1\n")
    with pytest.raises(ImageError, match=r"x\.png could be images/x\.png or masks/x\.png"):
        preprocess(read_labels(path), tmp_path / "covid", tmp_path / "out", Options())
    assert not (tmp_path / "out").exists()


CLASHES = [
    ("a.jpg", "a.jpg.png"),
    ("a", "a.png"),
    ("A.png", "a.png"),
    ("STRASSE.png", "straße.png"),
    ("é.png", "e\u0301.png"),
    ("x.png", "x.png/y.png"),
    ("x.png/y.png", "x.png"),
    ("x/y.jpg", "X/y.JPG.png"),
    ("d/x.png", "d./x.png"),
]


@pytest.mark.parametrize("names", CLASHES)
@pytest.mark.parametrize("between", [(), ("m.png", "n/o.png")])
def test_names_that_would_fall_together_are_refused(names, between):
    for first, last in (names, names[::-1]):
        with pytest.raises(ImageError, match="would fall together") as error:
            refuse_clashes([first, *between, last], "labels.csv")
        assert f"'{first}'" in str(error.value) and f"'{last}'" in str(error.value)
        assert "labels.csv" in str(error.value)


def test_names_that_do_not_fall_together():
    refuse_clashes(["a.png", "b.png", "x/a.png", "x/b.png", "a.png", "a.png.png", "x.y/a.png", "a.jpg"], "labels.csv")


def test_no_work_is_begun_where_two_images_would_become_one(tmp_path):
    (tmp_path / "images").mkdir()
    for number, name in enumerate(("a.jpg", "a.jpg.png", "b.png")):
        Image.effect_noise((30, 30), 20 + number).save(tmp_path / "images" / name)
    (tmp_path / "labels.csv").write_text("Image,Mass,PatientId\na.jpg,0,1\nb.png,1,2\na.jpg.png,1,3\n")
    images = read_labels(tmp_path / "labels.csv"), tmp_path / "images"
    with pytest.raises(ImageError, match=r"'a\.jpg' and 'a\.jpg\.png' would fall together"):
        run(images, tmp_path / "out", PNG)
    assert not (tmp_path / "out").exists()
    assert run(images, tmp_path / "out", UINT8).n_done == 3


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_twelve_bits_in_sixteen_keep_their_grey_levels(tmp_path, dtype):
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 4096, (40, 40)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "images" / "twelve.png")
    Image.fromarray((random.integers(30_000, 34_000, (40, 40))).astype(np.uint16)).save(
        tmp_path / "images" / "flat.png"
    )
    (tmp_path / "labels.csv").write_text("Image,Mass,PatientId\ntwelve.png,0,1\nflat.png,1,2\n")
    images = read_labels(tmp_path / "labels.csv"), tmp_path / "images"
    recipe = Recipe((40, 40), dtype=dtype, standardize="none", interpolation="nearest")
    result = run(images, tmp_path / "out", recipe)
    stored = np.load(result.store)
    expected = pixels * (255 / 4095)
    assert np.abs(stored[0] - expected).max() <= (0.5 if dtype == "uint8" else 1e-4)
    assert len(np.unique(np.rint(stored[0]))) > 250
    # It is said that the file itself does not tell its depth, and that little is left of the other.
    assert result.image_issues.pop("white taken for 4095: the least depth that holds the image's values") == 1
    assert result.image_issues == ({"fewer than 64 grey levels are left in uint8": 1} if dtype == "uint8" else {})


def test_a_folder_is_enough_and_outputs_are_listed(images, tmp_path):
    outputs = Outputs(tmp_path / "out")
    run(images, outputs)
    names = ["images.npy", "index.csv", "failures.csv", "preprocess.json", "distributions.png", "samples.png"]
    assert [path.name for path in outputs.written][:6] == names
    with pytest.raises(OutputError, match="is an input"):
        outputs.refuse_input(images[0].path)


def test_rows_that_repeat_or_contradict_are_counted(images, tmp_path):
    table, folder = images
    lines = table.path.read_text().splitlines()
    assert (lines[1], lines[2]) == ("00000001_000.png,0,1,1", "00000002_000.png,1,0,2")
    assert run(images, tmp_path / "once").n_repeated == 0
    more = ["00000001_000.png,0,1,1", "00000002_000.png,0,0,2", "00000002_000.png,1,1,2", "00000005_000.png,0,0,5"]
    table.path.write_text("\n".join([*lines, *more]) + "\n")
    again = run((read_labels(table.path), folder), tmp_path / "again")
    assert (again.n_images, again.n_repeated, again.n_contradicting, again.n_done) == (19, 4, 1, 16)
