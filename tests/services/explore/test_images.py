from __future__ import annotations

import io
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cxr_cli.data.images import GrayImage, read_gray
from cxr_cli.services.explore import images as image_survey
from cxr_cli.services.explore.images import (
    INVERTED,
    BrokenImage,
    ImageFacts,
    ImageTask,
    anatomical_contrast,
    draw_sample,
    inspect_image,
    issues_of,
    measure,
    survey_files,
    turned_or_inverted,
)
from cxr_cli.services.parallel import KILLED_WORKER, Workers
from tests.helpers import die


def gray(pixels) -> GrayImage:
    pixels = np.asarray(pixels)
    white = 255 if pixels.dtype == np.uint8 else 65535
    return GrayImage(pixels, "PNG", "L" if white == 255 else "I;16", white)


@pytest.fixture(scope="module")
def image(sample_data):
    path = sorted((sample_data / "images-small").glob("*.png"))[0]
    return read_gray(path).pixels


@pytest.fixture
def save(tmp_path):
    def save(name, image, **options):
        made = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        made.save(tmp_path / name, **options)
        return ImageTask(name, str(tmp_path / name))

    return save


def test_measured_by_hand():
    facts = measure(gray(np.array([[0, 51], [102, 255]], dtype=np.uint8)), ImageTask("a.png", "x/a.png"))
    assert (facts.height, facts.width, facts.mode, facts.format) == (2, 2, "L", "PNG")
    assert (facts.minimum, facts.maximum, facts.mean) == (0.0, 1.0, pytest.approx(0.4))
    assert facts.std == pytest.approx(math.sqrt((0.4**2 + 0.2**2 + 0 + 0.6**2) / 4))


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
    )
)
def test_statistics_are_numpys(pixels):
    facts = measure(gray(pixels), ImageTask("a.png", "a.png"))
    shares = pixels.astype(np.float64) / np.iinfo(pixels.dtype).max
    assert (facts.minimum, facts.maximum) == (shares.min(), shares.max())
    assert facts.mean == pytest.approx(shares.mean(), abs=1e-12)
    assert facts.std == pytest.approx(shares.std(), abs=1e-9)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(16, 50), st.integers(16, 50))))
def test_contrast_changes_its_sign_when_an_image_is_inverted(pixels):
    assert anatomical_contrast(255 - pixels) == pytest.approx(-anatomical_contrast(pixels), abs=1e-9)


def test_contrast_of_nothing_is_nothing():
    assert anatomical_contrast(np.full((64, 64), 200, dtype=np.uint8)) == 0
    assert anatomical_contrast(np.arange(225, dtype=np.uint8).reshape(15, 15)) == 0


def check_inversion(paths):
    for path in paths:
        pixels = read_gray(path).pixels
        std = float(pixels.std())
        assert issues_of(gray(pixels), std, ".png") == (), path.name
        assert issues_of(gray(255 - pixels), std, ".png") == ("inverted",), path.name
        assert anatomical_contrast(pixels) > -INVERTED * std, path.name


def test_inverted_is_told_from_upright_on_sample_images(sample_data):
    check_inversion(sorted((sample_data / "images-small").glob("*.png"))[::5])


def test_inverted_is_told_from_upright_on_all_real_images(real_data):
    paths = sorted((real_data / "nih" / "images-small").glob("[0-9]*.png"))
    assert len(paths) == 39
    check_inversion(paths)


def check_turned(paths, n_quarters, name, fraction):
    """Most images that are turned are called so, inverted ones too; few are called anything else."""
    found = Counter()
    for path in paths:
        pixels = np.rot90(read_gray(path).pixels, n_quarters)
        found["+".join(turned_or_inverted(pixels))] += 1
        found["+".join(turned_or_inverted(255 - pixels))] += 1
    assert found[name] >= fraction * len(paths)
    assert found[f"inverted+{name}"] >= fraction * len(paths)
    assert found["inverted"] - (len(paths) - found[f"inverted+{name}"]) <= 0.05 * len(paths)


@pytest.mark.parametrize(("n_quarters", "name", "fraction"), [(1, "on its side", 0.85), (2, "upside down", 0.65)])
def test_turned_images_of_the_sample_are_called_turned(sample_data, n_quarters, name, fraction):
    check_turned(sorted((sample_data / "images-small").glob("*.png"))[::4], n_quarters, name, fraction)


@pytest.mark.parametrize(("n_quarters", "name", "fraction"), [(3, "on its side", 0.95), (2, "upside down", 0.7)])
def test_turned_real_images_are_called_turned(real_data, n_quarters, name, fraction):
    paths = sorted((real_data / "nih" / "images-small").glob("[0-9]*.png"))
    check_turned(paths, n_quarters, name, fraction)


def test_even_images_are_not_turned():
    assert turned_or_inverted(np.full((64, 64), 9, dtype=np.uint8)) == []


def test_tags_and_depths_are_named(save, image):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    facts = inspect_image(save("turned.jpg", stored, exif=exif))
    assert facts.issues == ("stored on its side (orientation tag 6)",)
    facts = inspect_image(save("deep.png", image.astype(np.uint16) * 16))
    assert facts.issues == ("12-bit in 16 bits",)


def test_oddities_of_files(save, image):
    sixteen = image.astype(np.uint16) * 257
    rgba = Image.fromarray(image).convert("RGBA")
    rgba.putalpha(0)
    tasks = {
        (): save("plain.png", image),
        ("16-bit",): save("sixteen.png", sixteen),
        ("mode RGBA",): save("rgba.png", rgba),
        ("mode P",): save("palette.png", Image.fromarray(image).convert("P")),
        ("near-constant",): save("flat.png", np.full((64, 64), 100, dtype=np.uint8)),
        ("inverted",): save("inverted.png", 255 - image),
        ("JPEG named .png",): save("jpeg.png", image, format="JPEG"),
        ("16-bit", "inverted"): save("both.png", 65535 - sixteen),
    }
    for expected, task in tasks.items():
        facts = inspect_image(task)
        assert isinstance(facts, ImageFacts) and facts.issues == expected
    plain, wide, clear = (inspect_image(tasks[key]) for key in [(), ("16-bit",), ("mode RGBA",)])
    assert wide.mean == pytest.approx(plain.mean) and wide.std == pytest.approx(plain.std)
    assert clear.mean == pytest.approx(plain.mean)  # wholly transparent, and alpha does not count


def test_what_cannot_be_opened_is_named_with_its_reason(tmp_path, image):
    whole = io.BytesIO()
    Image.fromarray(image).save(whole, "PNG")
    contents = {
        "cut.png": whole.getvalue()[:-2000],
        "empty.png": b"",
        "text.png": b"404 not found",
        "damaged.png": whole.getvalue()[:5000] + b"\xff\x00\xff" + whole.getvalue()[5003:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        broken = inspect_image(ImageTask(name, str(tmp_path / name)))
        assert isinstance(broken, BrokenImage) and broken.image == name
        assert broken.reason and str(tmp_path) not in broken.reason
    gone = inspect_image(ImageTask("gone.png", str(tmp_path / "gone.png")))
    assert isinstance(gone, BrokenImage) and gone.reason == "no such file"
    assert inspect_image(ImageTask("empty.png", str(tmp_path / "empty.png"))).reason.startswith("is empty")


@given(st.integers(0, 200), st.integers(0, 50), st.integers(0, 5))
def test_samples_are_distinct_sorted_and_repeatable(available, wanted, seed):
    drawn = draw_sample(available, wanted, seed)
    assert drawn == sorted(set(drawn)) == draw_sample(available, wanted, seed)
    assert len(drawn) == min(wanted, available) and all(0 <= place < available for place in drawn)


def test_seeds_draw_differently():
    assert len({tuple(draw_sample(1000, 9, seed)) for seed in range(20)}) == 20


@pytest.fixture
def tasks(tmp_path):
    """Twelve images, the fifth of them broken."""
    rng = np.random.default_rng(5)
    made = []
    for number in range(12):
        pixels = rng.integers(0, 200, (20 + number % 2, 30)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        made.append(ImageTask(f"{number}.png", str(tmp_path / f"{number}.png")))
    (tmp_path / "4.png").write_bytes(b"broken")
    return made


def test_all_images_together(tasks):
    check = survey_files(tasks, n_images=3, seed=1, every=True, findings=lambda place: (f"F{place}",))
    together = np.concatenate([read_gray(task.path).pixels.ravel() / 255 for task in tasks if task.image != "4.png"])
    assert (check.which, check.n_opened, check.n_broken) == ("all", 11, 1)
    assert [item.image for item in check.broken] == ["4.png"]
    statistics = check.statistics
    assert (statistics.n_images, statistics.n_pixels) == (11, together.size)
    assert (statistics.minimum, statistics.maximum) == (together.min(), together.max())
    assert (statistics.mean, statistics.std) == pytest.approx((together.mean(), together.std()))
    assert statistics.sizes == {"21 × 30": 6, "20 × 30": 5} and statistics.modes == {"L": 11}
    drawn = [place for place in draw_sample(12, 3, 1) if place != 4]
    assert [(item.image, item.pathologies) for item in check.sample] == [(f"{n}.png", (f"F{n}",)) for n in drawn]


def test_the_sample_is_the_same_with_and_without_the_others(tasks):
    alone = survey_files(tasks, n_images=5, seed=2)
    among = survey_files(tasks, n_images=5, seed=2, every=True)
    assert alone.sample == among.sample and alone.which == "sample"
    assert alone.n_opened + alone.n_broken == 5


def test_executors_and_progress_change_nothing(tasks):
    told = []
    with ThreadPoolExecutor(4) as pool:
        there = survey_files(tasks, every=True, executor=pool, progress=lambda *at: told.append(at))
    assert there == survey_files(tasks, every=True)
    assert told == [(number, 12) for number in range(1, 13)]


def test_no_files_no_statistics():
    check = survey_files([], every=True)
    assert (check.n_opened, check.statistics, check.sample) == (0, None, ())


def kill_on_b(task):
    if task.image == "b.png":
        die()
    return inspect_image(task)


@pytest.mark.slow
def test_an_image_that_kills_its_process_is_broken(save, monkeypatch):
    tasks = [save(name, np.eye(20, dtype=np.uint8)) for name in ("a.png", "b.png", "c.png")]
    monkeypatch.setattr(image_survey, "inspect_image", kill_on_b)
    with Workers(2) as workers:
        check = survey_files(tasks, every=True, executor=workers)
    assert (check.n_opened, check.broken) == (2, (BrokenImage("b.png", tasks[1].path, KILLED_WORKER),))
