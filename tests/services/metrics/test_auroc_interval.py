from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.metrics.auroc_interval import auroc_half_width


def test_the_example_of_the_paper():
    # Hanley and McNeil, Table I: 58 normal and 51 abnormal CT images, area 0.893, standard error 0.032.
    assert auroc_half_width(51, 58, 0.893) / 1.96 == pytest.approx(0.032, abs=6e-4)


def test_it_foretells_the_spread_of_measured_areas():
    # Scores whose likelihood ratio the paper's formula assumes: negative exponential in both groups.
    auroc, n_positive, n_negative = 0.8, 50, 400
    rng = np.random.default_rng(0)
    scale = auroc / (1 - auroc)  # P(positive > negative) for exponential scores with means scale and 1
    areas = [
        np.mean(rng.exponential(scale, n_positive)[:, None] > rng.exponential(1.0, n_negative)) for _ in range(2000)
    ]
    assert 1.96 * np.std(areas) == pytest.approx(auroc_half_width(n_positive, n_negative, auroc), rel=0.05)


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.floats(0.5, 0.99))
def test_more_images_never_make_it_wider(n_positive, n_negative, auroc):
    width = auroc_half_width(n_positive, n_negative, auroc)
    assert auroc_half_width(n_positive + 1, n_negative, auroc) <= width + 1e-12
    assert auroc_half_width(n_positive, n_negative + 1, auroc) <= width + 1e-12


def test_without_positives_or_negatives_nothing_can_be_said():
    assert math.isnan(auroc_half_width(0, 10))
    assert math.isnan(auroc_half_width(10, 0))
