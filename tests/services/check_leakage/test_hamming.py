from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.check_leakage import hamming
from cxr_cli.services.check_leakage.hamming import distances, flipped_distances, near_pairs

COMPLEMENTS = np.array([[0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)


def random_hashes(n, seed):
    return np.random.default_rng(seed).integers(0, 2**64, (n, 4), dtype=np.uint64)


def flipped(hashes, n_bits, seed):
    """Return copies with `n_bits` bits of each changed."""
    random = np.random.default_rng(seed)
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row in bits:
        row[random.choice(256, n_bits, replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


def found(first, second, distance, **options):
    return {
        (int(i), int(j)): int(d)
        for pairs in near_pairs(first, second, distance, **options)
        for i, j, d in zip(*pairs, strict=True)
    }


def by_hand(first, second, distance, flips=None):
    masks = np.where(COMPLEMENTS[:1] if flips is None else flips, ~np.uint64(0), np.uint64(0))
    every = np.min(
        [np.bitwise_count(first[:, None] ^ mask ^ second[None]).sum(axis=2, dtype=int) for mask in masks], axis=0
    )
    return {(i, j): int(every[i, j]) for i, j in np.argwhere(every <= distance).tolist()}


def test_two_hashes_worked_by_hand():
    one = np.array([[0b1011, 0, 0, 0]], dtype=np.uint64)
    other = np.array([[0b0001, 0, 1 << 63, 0], [2**64 - 1 - 0b1011, 2**64 - 1, 2**64 - 1, 2**64 - 1]], dtype=np.uint64)
    assert distances(one, other).tolist() == [3, 256]
    assert found(one, other, 3) == {(0, 0): 3}
    assert found(one, other, 2) == {}
    # All 256 bits differ: no neighbour, although 256 is 0 in eight bits.
    assert found(one, other, 3, flips=COMPLEMENTS) == {(0, 0): 3, (0, 1): 0}
    assert flipped_distances(one.repeat(2, axis=0), other, COMPLEMENTS).tolist() == [[3, 256], [253, 0]]


@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 126),
    st.none() | st.sets(st.tuples(*[st.booleans()] * 4)),
    st.integers(1, 3),
)
def test_finds_what_comparing_one_by_one_finds(n, m, distance, others, threads):
    flips = None if others is None else np.array([(False,) * 4, *sorted(others)])
    first, second = random_hashes(n, 1), random_hashes(m, 2)
    k = min(n, m) // 2
    second[:k] = flipped(first[:k], 40, 3)
    second[k : 2 * k] = ~flipped(first[k : 2 * k], 40, 3)
    assert found(first, second, distance, flips=flips, threads=threads) == by_hand(first, second, distance, flips)


def test_every_planted_neighbour_is_found_across_tiles(monkeypatch):
    monkeypatch.setattr(hamming, "ROWS", 64)
    monkeypatch.setattr(hamming, "COLUMNS", 128)
    monkeypatch.setattr(hamming, "STRIPE", 512)
    first, second = random_hashes(1000, 4), random_hashes(3000, 5)
    places = np.random.default_rng(6).permutation(3000)[:1000]
    second[places[:500]] = flipped(first[:500], 60, 7)
    second[places[500:]] = ~flipped(first[500:], 60, 7)
    expected = {(i, int(place)): 60 for i, place in enumerate(places)}
    assert found(first, second, 60, flips=COMPLEMENTS) == expected


def test_the_order_does_not_depend_on_the_threads(monkeypatch):
    monkeypatch.setattr(hamming, "ROWS", 16)
    first = random_hashes(200, 8)
    runs = [[pairs.first.tolist() for pairs in near_pairs(first, first, 100, threads=n)] for n in (1, 3)]
    assert runs[0] == runs[1]


def test_a_caller_may_stop_early():
    first = random_hashes(2000, 9)
    assert len(next(near_pairs(first, first, 0)).first) == 128


@pytest.mark.parametrize(
    ("hashes", "distance", "message"),
    [
        (np.zeros((3, 4), np.int64), 10, "int64"),
        (np.zeros((3, 2), np.uint64), 10, r"\(3, 2\)"),
        (np.zeros((3, 4), np.uint64), 127, "max_distance 127"),
        (np.zeros((3, 4), np.uint64), -1, "max_distance -1"),
    ],
)
def test_what_cannot_be_compared_is_refused(hashes, distance, message):
    with pytest.raises(ValueError, match=message):
        list(near_pairs(hashes, hashes, distance))
