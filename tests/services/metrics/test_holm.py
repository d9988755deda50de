from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.metrics.holm import holm

P = st.floats(0, 1)


def test_a_case_by_hand():
    # Sorted: 0.005 × 4, 0.01 × 3, 0.03 × 2 = 0.06, 0.04 × 1 raised to 0.06.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(st.lists(P, min_size=1, max_size=12))
def test_laws(values):
    adjusted = holm(values)
    assert (adjusted >= values).all()
    assert (adjusted <= np.minimum(np.array(values) * len(values), 1)).all()
    assert (np.diff(adjusted[np.argsort(values, kind="stable")]) >= 0).all()


@given(st.lists(P, min_size=1, max_size=8))
def test_it_rejects_what_the_step_down_procedure_rejects(values):
    level, order = 0.05, np.argsort(values, kind="stable")
    rejected = np.zeros(len(values), bool)
    for rank, place in enumerate(order):
        if values[place] * (len(values) - rank) > level:
            break
        rejected[place] = True
    np.testing.assert_array_equal(holm(values) <= level, rejected)


def test_a_test_that_was_not_made_does_not_count():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
    assert holm([]).shape == (0,)


def test_not_a_p_value():
    with pytest.raises(ValueError, match="p values"):
        holm([1.5])
