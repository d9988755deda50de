from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.services.explore.subgroups import CodedLabels, break_down, count_distinct, far_commoner

NAN = math.nan


def coded(labels, patients=None) -> CodedLabels:
    values = np.array(labels, dtype=np.float32)
    names = [f"P{column}" for column in range(values.shape[1])]
    people = np.arange(len(values)) if patients is None else np.array(patients)
    return CodedLabels.of(names, list(values.T), people.astype(np.int64))


def labels_and_groups(max_rows=40, columns=3):
    row = st.tuples(
        st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=columns, max_size=columns),
        st.integers(-1, 2),
        st.integers(-1, 5),
    )
    return st.lists(row, min_size=1, max_size=max_rows)


def test_groups_by_hand():
    data = coded([[1, 0], [1, NAN], [0, 1], [0, 0]], patients=[7, 7, 8, -1])
    part = break_down(data, np.array([0, 0, 1, -1]), ["PA", "AP"])
    first, second = part.groups
    assert (first.name, first.n_images, first.n_patients) == ("PA", 2, 1)
    assert first.n_positive == {"P0": 2, "P1": 0} and first.prevalence == {"P0": 1.0, "P1": 0.0}
    assert (second.n_images, second.n_patients, second.prevalence["P1"]) == (1, 1, 1.0)
    assert part.n_unknown == 1


@given(labels_and_groups())
def test_groups_are_what_counting_one_by_one_gives(rows):
    labels = np.array([row[0] for row in rows])
    groups = np.array([row[1] for row in rows])
    patients = np.array([row[2] for row in rows])
    part = break_down(coded(labels, patients), groups, ["a", "b", "c"])
    assert part.n_unknown + sum(group.n_images for group in part.groups) == len(rows)
    for place, group in enumerate(part.groups):
        inside = [row for row in rows if row[1] == place]
        assert group.n_images == len(inside)
        assert group.n_patients == len({row[2] for row in inside} - {-1})
        for column in range(3):
            known = [row[0][column] for row in inside if not math.isnan(row[0][column])]
            assert group.n_positive[f"P{column}"] == sum(known)
            prevalence = group.prevalence[f"P{column}"]
            assert prevalence == pytest.approx(sum(known) / len(known)) if known else math.isnan(prevalence)


@pytest.mark.parametrize("columns", [0, 1, 32, 33, 100])
def test_coding_loses_nothing_however_many_pathologies(columns):
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, np.nan], dtype=np.float32), size=(50, columns))
    labels[25:] = labels[:25]
    data = coded(labels)
    assert len(data.positive) <= 25
    np.testing.assert_array_equal(data.positive[data.codes], labels == 1)
    np.testing.assert_array_equal(data.known[data.codes], ~np.isnan(labels))


def test_a_planted_difference_is_found_with_its_ratio():
    labels = np.zeros((400, 2))
    labels[:60, 0] = 1  # 30 % of the first group
    labels[200:220, 0] = 1  # 10 % of the second
    labels[::10, 1] = 1  # 10 % of both
    groups = np.repeat([0, 1], 200)
    (found,) = far_commoner(coded(labels), groups, ["AP", "PA"], "view")
    assert (found.attribute, found.group, found.pathology) == ("view", "AP", "P0")
    assert (found.prevalence, found.prevalence_elsewhere, found.ratio) == pytest.approx((0.3, 0.1, 3.0))
    # One image a patient: the score test of two shares, z = (p1 - p0) / sqrt(p (1 - p) (1/n1 + 1/n0)), but for the
    # variance, which is taken from the residuals as they are.
    assert found.p_value == pytest.approx(math.erfc(0.2 / math.sqrt(2 * 0.2 * 0.8 * (2 / 200))), rel=0.05)


def test_images_of_one_patient_are_one_observation():
    labels = np.zeros((400, 1))
    labels[:60] = 1
    groups = np.repeat([0, 1], 200)
    patients = np.arange(400)
    assert far_commoner(coded(labels, patients), groups, ["AP", "PA"], "view")
    patients[:60] = 0  # all 60 positives are images of one person
    assert not far_commoner(coded(labels, patients), groups, ["AP", "PA"], "view")


def test_a_finding_that_never_occurs_elsewhere_has_no_finite_ratio():
    labels = np.zeros((300, 1))
    labels[:40] = 1
    (found,) = far_commoner(coded(labels), np.repeat([0, 1, 1], 100), ["AP", "PA"], "view")
    assert math.isinf(found.ratio) and found.prevalence_elsewhere == 0


def test_few_positives_and_small_differences_are_no_news():
    labels = np.zeros((400, 2))
    labels[:8, 0] = 1  # 4 expected in each part
    labels[:90, 1] = 1
    labels[200:250, 1] = 1  # 45 % against 25 %: less than twice
    assert not far_commoner(coded(labels), np.repeat([0, 1], 200), ["AP", "PA"], "view")


def test_images_of_unknown_group_or_label_play_no_part():
    labels = np.zeros((400, 1))
    labels[:60] = 1
    labels[200:220] = 1
    groups = np.repeat([0, 1], 200)
    more = np.vstack([labels, np.ones((100, 1)), np.full((100, 1), NAN)])
    more_groups = np.concatenate([groups, np.full(100, -1), np.repeat([0, 1], 50)])
    (plain,) = far_commoner(coded(labels), groups, ["AP", "PA"], "view")
    (among,) = far_commoner(coded(more), more_groups, ["AP", "PA"], "view")
    assert among.ratio == pytest.approx(plain.ratio) and among.p_value == pytest.approx(plain.p_value)


@given(st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_patients_do_not_matter(random):
    rng = np.random.default_rng(3)
    patients = rng.integers(0, 80, 300)
    groups = rng.integers(0, 2, 300)
    labels = (rng.random((300, 2)) < np.where(groups, 0.4, 0.1)[:, None]).astype(float)
    rows = random.sample(range(300), 300)
    renamed = np.array(random.sample(range(80), 80))[patients]
    plain = far_commoner(coded(labels, patients), groups, ["a", "b"], "view")
    mixed = far_commoner(coded(labels[rows], renamed[rows]), groups[rows], ["a", "b"], "view")
    assert [item.pathology for item in mixed] == [item.pathology for item in plain] != []
    assert [item.p_value for item in mixed] == pytest.approx([item.p_value for item in plain])


def test_chance_alone_is_seldom_news():
    """Patients with many alike images, groups drawn by patient: the test must not take images for observations."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        n_images = rng.geometric(0.2, 200)
        patients = np.repeat(np.arange(200), n_images)
        groups = (rng.random(200) < 0.5).astype(int)[patients]
        labels = (rng.random((200, 5)) < 0.08).astype(float)[patients]
        alarms += bool(far_commoner(coded(labels, patients), groups, ["a", "b"], "view"))
    assert alarms <= 8  # 1 % is promised for the limit of many patients; 200 are few


def test_count_distinct():
    assert count_distinct(np.array([3, 3, -1, 0], dtype=np.int64)) == 2
    assert count_distinct(np.array([-1], dtype=np.int64)) == 0
