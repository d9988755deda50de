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
from tests.films import film_pixels, save


def rounded(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def resized(pixels, side, how=Image.Resampling.BICUBIC):
    return np.asarray(Image.fromarray(pixels).resize((side, side), how))


#: What people do to films before they put them into a second data set.
ALTERED = {
    "512 pixels": lambda film: resized(film, 512),
    "brightness 1.2": lambda film: rounded(film * 1.2),
    "contrast 0.8": lambda film: rounded((film - film.mean()) * 0.8 + film.mean()),
    "gamma 0.7": lambda film: rounded(255 * (film / 255) ** 0.7),
    "mirrored": lambda film: np.ascontiguousarray(film[:, ::-1]),
    "inverted": lambda film: 255 - film,
    "mirrored and inverted": lambda film: np.ascontiguousarray(255 - film[:, ::-1]),
    "turned by 90 degrees": lambda film: np.rot90(film, -1),
    "turned by 180 degrees": lambda film: np.rot90(film, 2),
    "turned by 270 degrees": np.rot90,
    "mirrored and turned by 180 degrees": lambda film: film[::-1],
    "mirrored and turned by 90 degrees and inverted": lambda film: 255 - np.rot90(film[:, ::-1], -1),
    "framed": lambda film: np.pad(film, len(film) // 20),
    "white frame": lambda film: np.pad(film, len(film) // 10, constant_values=255),
    "letterboxed": lambda film: np.pad(film, ((0, 0), (len(film) // 6, len(film) // 6))),
    "framed and turned by 90 degrees": lambda film: np.rot90(np.pad(film, ((len(film) // 20,) * 2, (0, 0))), -1),
    "framed, JPEG 50": lambda film: np.pad(film, len(film) // 20),
    "framed, 320 pixels": lambda film: resized(np.pad(film, len(film) // 20), 320),
    "framed, gamma": lambda film: np.pad(rounded(255 * (film / 255) ** 0.7), len(film) // 20),
    "JPEG 50": np.asarray,
    "320 pixels": lambda film: resized(film, 320, Image.Resampling.BILINEAR),
    "gamma 1.5": lambda film: rounded(255 * (film / 255) ** 1.5),
    "blur": lambda film: np.asarray(Image.fromarray(film).filter(ImageFilter.GaussianBlur(3))),
    "noise": lambda film: rounded(film + np.random.default_rng(0).normal(0, 10, film.shape)),
    "12 bits": lambda film: film.astype(np.uint16) * 16,
    "1 % cropped": lambda film: np.ascontiguousarray(
        film[len(film) // 100 : -len(film) // 100, len(film) // 100 : -len(film) // 100]
    ),
    "rotated by 1 degree": lambda film: np.asarray(Image.fromarray(film).rotate(1, Image.Resampling.BICUBIC)),
}
#: Of these every film is tried; of the others every fourth.
NAMED = [*list(ALTERED)[:7], "turned by 90 degrees", "framed", "letterboxed", "JPEG 50"]


def records(folder, films, suffix="png", **options):
    paths = [save(folder / f"{index}.{suffix}", film, **options) for index, film in enumerate(films)]
    found = fingerprint_images(paths)
    assert not found.unreadable
    return found.records


@pytest.fixture(scope="module")
def real_films(real_data):
    names = sorted((real_data / "nih" / "images-small").glob("0*.png"))
    assert len(names) == 39
    return fingerprint_images(names).records, [np.asarray(Image.open(name).convert("L")) for name in names]


@pytest.mark.parametrize("name", ALTERED)
def test_every_altered_copy_of_a_real_film_is_found_and_no_stranger(tmp_path, real_films, name):
    originals, films = real_films
    chosen = range(0, 39, 1 if name in NAMED else 4)
    altered = [np.ascontiguousarray(ALTERED[name](films[index])) for index in chosen]
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


def test_real_strangers_keep_their_distance(real_films):
    originals, _ = real_films
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
    changed = film_pixels(5)
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
    one = records(tmp_path / "a", [film_pixels(5), film_pixels(6)])
    near, look = find_near_duplicates(one, records(tmp_path / "b", [film_pixels(7), changed]))
    assert [(near.pairs.first.tolist(), near.pairs.second.tolist()), near.pairs.alterations()] == [([0], [1]), [name]]
    assert look.n_pairs == 0


def test_films_of_equal_pixels_are_left_to_the_exact_comparison(tmp_path):
    films = [film_pixels(seed) for seed in range(3)]
    one, other = records(tmp_path / "a", films), records(tmp_path / "b", films, compress_level=1)
    near, look = find_near_duplicates(one, other)
    assert (near.n_pairs, look.n_pairs) == (0, 0)


def test_grades_follow_the_thresholds(tmp_path):
    films = [film_pixels(seed) for seed in range(6)]
    shifted = [np.roll(film, 2, axis=1) for film in films]
    one, other = records(tmp_path / "a", films), records(tmp_path / "b", shifted)
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
    film = film_pixels(1)
    one = records(tmp_path / "a", [rounded(film + step) for step in range(6)])
    other = records(tmp_path / "b", [rounded(film + 0.5 * film * step) for step in (0.1, 0.2, 0.3)])
    near, _ = find_near_duplicates(one, other)
    assert near.n_pairs == 18 and len(near.pairs) == 3
    assert near.first.all() and near.second.all()


def test_a_symmetric_film_is_counted_once(tmp_path):
    film = film_pixels(3)
    symmetric = rounded(film / 2 + film[:, ::-1] / 2.0)
    one, other = records(tmp_path / "a", [symmetric]), records(tmp_path / "b", [rounded(symmetric * 1.1)])
    near, _ = find_near_duplicates(one, other)
    assert near.n_pairs == 1


@pytest.mark.parametrize("limits", [(61, 0.85, 60, 0.8), (40, 0.7, 60, 0.8), (40, 0.85, 127, 0.8), (-1, 0.85, 60, 0.8)])
def test_thresholds_that_contradict_each_other_are_refused(limits):
    with pytest.raises(UsageError, match="expected"):
        Thresholds(*limits)
