from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cxr_cli.errors import UsageError
from cxr_cli.services.check_leakage import near_duplicates
from cxr_cli.services.check_leakage.descriptors import correlation, orient_thumbnails, transpose_hashes
from cxr_cli.services.check_leakage.fingerprints import fingerprint_images
from cxr_cli.services.check_leakage.hamming import flipped_distances
from cxr_cli.services.check_leakage.near_duplicates import ALTERATIONS, find_near_duplicates
from cxr_cli.services.check_leakage.result import Thresholds
from tests.drawn_images import image_pixels, save


def rounded(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def resized(pixels, side, how=Image.Resampling.BICUBIC):
    return np.asarray(Image.fromarray(pixels).resize((side, side), how))


#: What people do to images before they put them into a second data set.
ALTERED = {
    "512 pixels": lambda image: resized(image, 512),
    "brightness 1.2": lambda image: rounded(image * 1.2),
    "contrast 0.8": lambda image: rounded((image - image.mean()) * 0.8 + image.mean()),
    "gamma 0.7": lambda image: rounded(255 * (image / 255) ** 0.7),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "inverted": lambda image: 255 - image,
    "mirrored and inverted": lambda image: np.ascontiguousarray(255 - image[:, ::-1]),
    "turned by 90 degrees": lambda image: np.rot90(image, -1),
    "turned by 180 degrees": lambda image: np.rot90(image, 2),
    "turned by 270 degrees": np.rot90,
    "mirrored and turned by 180 degrees": lambda image: image[::-1],
    "mirrored and turned by 90 degrees and inverted": lambda image: 255 - np.rot90(image[:, ::-1], -1),
    "framed": lambda image: np.pad(image, len(image) // 20),
    "white frame": lambda image: np.pad(image, len(image) // 10, constant_values=255),
    "letterboxed": lambda image: np.pad(image, ((0, 0), (len(image) // 6, len(image) // 6))),
    "framed and turned by 90 degrees": lambda image: np.rot90(np.pad(image, ((len(image) // 20,) * 2, (0, 0))), -1),
    "framed, JPEG 50": lambda image: np.pad(image, len(image) // 20),
    "framed, 320 pixels": lambda image: resized(np.pad(image, len(image) // 20), 320),
    "framed, gamma": lambda image: np.pad(rounded(255 * (image / 255) ** 0.7), len(image) // 20),
    "JPEG 50": np.asarray,
    "320 pixels": lambda image: resized(image, 320, Image.Resampling.BILINEAR),
    "gamma 1.5": lambda image: rounded(255 * (image / 255) ** 1.5),
    "blur": lambda image: np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(3))),
    "noise": lambda image: rounded(image + np.random.default_rng(0).normal(0, 10, image.shape)),
    "12 bits": lambda image: image.astype(np.uint16) * 16,
    "1 % cropped": lambda image: np.ascontiguousarray(
        image[len(image) // 100 : -len(image) // 100, len(image) // 100 : -len(image) // 100]
    ),
    "rotated by 1 degree": lambda image: np.asarray(Image.fromarray(image).rotate(1, Image.Resampling.BICUBIC)),
}
#: Of these every image is tried; of the others every fourth.
NAMED = [*list(ALTERED)[:7], "turned by 90 degrees", "framed", "letterboxed", "JPEG 50"]


def records(folder, images, suffix="png", **options):
    paths = [save(folder / f"{index}.{suffix}", image, **options) for index, image in enumerate(images)]
    found = fingerprint_images(paths)
    assert not found.unreadable
    return found.records


@pytest.fixture(scope="module")
def real_images(real_data):
    names = sorted((real_data / "nih" / "images-small").glob("0*.png"))
    assert len(names) == 39
    return fingerprint_images(names).records, [np.asarray(Image.open(name).convert("L")) for name in names]


@pytest.mark.parametrize("name", ALTERED)
def test_every_altered_copy_of_a_real_image_is_found_and_no_stranger(tmp_path, real_images, name):
    originals, images = real_images
    chosen = range(0, 39, 1 if name in NAMED else 4)
    altered = [np.ascontiguousarray(ALTERED[name](images[index])) for index in chosen]
    # Uncompressed, where the format plays no role: writing PNG takes most of the time.
    jpeg = ("jpg", {"quality": 50})
    suffix, options = {"JPEG 50": jpeg, "framed, JPEG 50": jpeg, "12 bits": ("tiff", {})}.get(name, ("bmp", {}))
    near, look = find_near_duplicates(originals, records(tmp_path, altered, suffix, **options))
    assert near.n_pairs == len(chosen) and look.n_pairs == 0
    assert sorted(zip(near.pairs.first.tolist(), near.pairs.second.tolist(), strict=True)) == [
        (index, place) for place, index in enumerate(chosen)
    ]
    if name in ALTERATIONS:
        # Some originals have a frame of their own, which then is not the difference.
        unframed = name.removeprefix("framed and ").replace("framed", "none")
        assert {ALTERATIONS[code] for code in near.pairs.alteration} <= {name, unframed}


def test_real_strangers_keep_their_distance(real_images):
    originals, _ = real_images
    first, second = np.triu_indices(39, 1)
    flips = near_duplicates._FLIPS
    least, highest = [], []
    for hashes in (originals["hash"], transpose_hashes(originals["hash"])):
        least.append(flipped_distances(hashes[first], originals["hash"][second], flips).min())
    for change in near_duplicates._CHANGES[::2]:
        transposed, upside_down, mirrored, _ = change
        changed = orient_thumbnails(
            originals["thumbnail"], transposed=transposed, upside_down=upside_down, mirrored=mirrored
        )
        highest.append(float(np.abs(correlation(changed[first], originals["thumbnail"][second])).max()))
    assert min(least) >= 80
    assert max(highest) < 0.6


@pytest.mark.parametrize("code", range(len(ALTERATIONS)))
def test_each_alteration_is_named(tmp_path, code):
    name = ALTERATIONS[code]
    changed = image_pixels(5)
    if "mirrored" in name:
        changed = changed[:, ::-1]
    for quarter in (1, 2, 3):
        if f"turned by {90 * quarter} degrees" in name:
            changed = np.rot90(changed, -quarter)
    if "inverted" in name:
        changed = 255 - changed
    if "framed" in name:
        changed = np.pad(changed, 8)
    changed = rounded(changed * 0.9)  # not the same pixels, whatever was done
    one = records(tmp_path / "a", [image_pixels(5), image_pixels(6)])
    near, look = find_near_duplicates(one, records(tmp_path / "b", [image_pixels(7), changed]))
    assert [(near.pairs.first.tolist(), near.pairs.second.tolist()), near.pairs.alterations()] == [([0], [1]), [name]]
    assert look.n_pairs == 0


def test_images_of_equal_pixels_are_left_to_the_exact_comparison(tmp_path):
    images = [image_pixels(seed) for seed in range(3)]
    one, other = records(tmp_path / "a", images), records(tmp_path / "b", images, compress_level=1)
    near, look = find_near_duplicates(one, other)
    assert (near.n_pairs, look.n_pairs) == (0, 0)


def test_grades_follow_the_thresholds(tmp_path):
    images = [image_pixels(seed) for seed in range(6)]
    shifted = [np.roll(image, 2, axis=1) for image in images]
    one, other = records(tmp_path / "a", images), records(tmp_path / "b", shifted)
    near, _ = find_near_duplicates(one, other, Thresholds(126, 0.01, 126, 0.01))
    pairs = near.pairs
    assert np.all(np.diff(pairs.correlation) <= 0)
    best = {int(i): k for k, i in reversed(list(enumerate(pairs.first)))}
    distance, fit = (np.array([values[best[i]] for i in range(6)]) for values in (pairs.distance, pairs.correlation))
    limits = Thresholds(int(np.median(distance)), float(np.median(fit)), 126, float(fit.min()))
    near, look = find_near_duplicates(one, other, limits)
    expected = (distance <= limits.near_distance) & (fit >= limits.near_correlation)
    assert 0 < expected.sum() < 6
    assert near.n_pairs == expected.sum()
    assert near.first.tolist() == expected.tolist()
    assert set(look.pairs.first.tolist()) >= set(np.flatnonzero(~expected).tolist())


def test_lists_are_capped_and_numbers_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(near_duplicates, "MAX_NEAR", 3)
    image = image_pixels(1)
    one = records(tmp_path / "a", [rounded(image + step) for step in range(6)])
    other = records(tmp_path / "b", [rounded(image + 0.5 * image * step) for step in (0.1, 0.2, 0.3)])
    near, _ = find_near_duplicates(one, other)
    assert near.n_pairs == 18 and len(near.pairs) == 3
    assert near.first.all() and near.second.all()


def test_a_symmetric_image_is_counted_once(tmp_path):
    image = image_pixels(3)
    symmetric = rounded(image / 2 + image[:, ::-1] / 2.0)
    one, other = records(tmp_path / "a", [symmetric]), records(tmp_path / "b", [rounded(symmetric * 1.1)])
    near, _ = find_near_duplicates(one, other)
    assert near.n_pairs == 1


@pytest.mark.parametrize("limits", [(61, 0.85, 60, 0.8), (40, 0.7, 60, 0.8), (40, 0.85, 127, 0.8), (-1, 0.85, 60, 0.8)])
def test_thresholds_that_contradict_each_other_are_refused(limits):
    with pytest.raises(UsageError, match="expected"):
        Thresholds(*limits)
