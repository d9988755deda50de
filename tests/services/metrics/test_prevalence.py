from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.metrics.prevalence import prevalence_interval


def one(labels, clusters, **options):
    low, high = prevalence_interval(np.array(labels, float)[:, None], clusters, **options)
    return float(low[0]), float(high[0])


def test_wilson_for_independent_images():
    # 10 of 100: Wilson's interval as published, 0.0552 to 0.1744.
    assert one([1] * 10 + [0] * 90, range(100)) == pytest.approx((0.0552, 0.1744), abs=2e-4)


def test_copies_of_images_add_nothing():
    once = one([1] * 10 + [0] * 90, range(100))
    thrice = one(([1] * 10 + [0] * 90) * 3, [*range(100)] * 3)
    assert thrice == pytest.approx(once, abs=2e-3)
    apart = one(([1] * 10 + [0] * 90) * 3, range(300))
    assert apart[1] - apart[0] < 0.7 * (once[1] - once[0])


def test_unknown_labels_are_left_out_and_nothing_known_is_nan():
    assert one([1, 0, np.nan, 0, 0], [0, 1, 2, 3, 4]) == one([1, 0, 0, 0], [0, 1, 2, 3])
    assert np.isnan(one([np.nan], [0])).all()


def test_no_positives():
    low, high = one([0] * 50, range(50))
    assert low == 0 and 0.05 < high < 0.08
    assert one([0] * 50, [0, 1] * 25)[1] > 0.5


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(0, 5)), min_size=1, max_size=40))
def test_the_interval_holds_the_prevalence_and_is_never_narrower_than_for_images(rows):
    labels, clusters = [row[0] for row in rows], [row[1] for row in rows]
    low, high = one(labels, clusters)
    assert 0 <= low <= np.mean(labels) <= high <= 1
    apart = one(labels, range(len(rows)))
    assert high - low >= (apart[1] - apart[0]) * 0.999 - 1e-12
