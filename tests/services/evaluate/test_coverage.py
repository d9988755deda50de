"""Intervals contain the truth about as often as they say; `benchmarks/coverage.py` does it at length."""

from __future__ import annotations

import numpy as np

from tests.conftest import ROOT
from tests.helpers import load_script

script = load_script(ROOT / "benchmarks" / "coverage.py")


def test_the_true_area_of_the_simulation():
    random = np.random.default_rng(0)
    for area in script.AREAS:
        labels, scores, _ = script.draw(random, 3000, area, "skewed")
        positive, negative = scores[labels == 1], scores[labels == 0]
        pairs = random.choice(positive, 400_000) > random.choice(negative, 400_000)
        assert abs(pairs.mean() - area) < 0.015


def test_intervals_over_patients_contain_it_and_those_over_images_do_not():
    over_patients, over_images = script.coverage(50, 0.7, "skewed", n_data_sets=80, draws=200, n_over_images=40)
    assert 0.85 <= over_patients <= 1
    assert over_images < 0.8 < over_patients
