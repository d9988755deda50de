import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr_cli.services.metrics import losses

LAB_BINARY = [1, 1, 1, 0]
LAB_TWO = [[1, 0], [1, 0], [1, 0], [1, 0], [0, 1]]
ASSIGNMENT = [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]

labels_with_unknown = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7),
    elements=st.sampled_from([0.0, 1.0, np.nan]),
)
weight = st.floats(0.01, 100)


@st.composite
def cases(draw):
    """Labels, probabilities and weights of fitting shapes."""
    labels = draw(labels_with_unknown)
    chances = draw(hnp.arrays(np.float64, labels.shape, elements=st.floats(0, 1)))
    positive = draw(hnp.arrays(np.float64, labels.shape[1], elements=weight))
    negative = draw(hnp.arrays(np.float64, labels.shape[1], elements=weight))
    return labels, chances, positive, negative


def test_binary_example_of_the_course():
    assert losses.binary_loss(LAB_BINARY, 0.9, epsilon=0) == pytest.approx(2.6186666399675245, abs=1e-12)
    assert losses.binary_loss(LAB_BINARY, 0.1, epsilon=0) == pytest.approx(7.013115794639963, abs=1e-12)
    for chance in (0.9, 0.1):
        sums = losses.binary_loss(LAB_BINARY, chance, 0.25, 0.75, epsilon=0)
        means = losses.binary_loss(LAB_BINARY, chance, 0.25, 0.75, epsilon=0, reduction="mean")
        assert sums == pytest.approx(1.8059592064889038, abs=1e-12)
        assert means == pytest.approx(0.45148980162222596, abs=1e-12)


def test_binary_parts():
    column = np.reshape(LAB_BINARY, (-1, 1))
    positive, negative = losses.loss_parts(column, 0.9, 0.25, 0.75, reduction="sum")
    assert positive[0] == pytest.approx(0.0790, abs=5e-5)
    assert negative[0] == pytest.approx(1.7269, abs=5e-5)


def test_two_pathologies_of_the_lab():
    weights = [0.2, 0.8], [0.8, 0.2]
    positive, negative = losses.loss_parts(LAB_TWO, [0.3, 0.7], *weights, epsilon=0, reduction="sum")
    np.testing.assert_allclose(positive, [0.9632, 0.2853], atol=5e-5)
    np.testing.assert_allclose(negative, [0.2853, 0.9632], atol=5e-5)
    np.testing.assert_allclose(positive + negative, 1.2485181986117349, rtol=1e-12)
    assert losses.multi_label_loss(LAB_TWO, [0.3, 0.7], *weights, epsilon=0) == pytest.approx(0.49940727944469393)


@pytest.mark.parametrize("chance", [0.7, 0.3])
@pytest.mark.parametrize(("epsilon", "expected"), [(1, -0.49562032220603847), (1e-7, 0.9754045450464113)])
def test_assignment(chance, epsilon, expected):
    loss = losses.multi_label_loss(ASSIGNMENT, chance, [0.25, 0.25, 0.5], [0.75, 0.75, 0.5], epsilon=epsilon)
    assert loss == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("chance", "expected"), [(0.7, -0.8280004443857936), (0.3, -0.5597364577911141)])
def test_assignment_tells_swapped_weights_apart(chance, expected):
    loss = losses.multi_label_loss(ASSIGNMENT, chance, [0.75, 0.75, 0.5], [0.25, 0.25, 0.5], epsilon=1)
    assert loss == pytest.approx(expected, abs=1e-9)


def test_published_values(real_data):
    """The constants above are those of the file, so that neither can drift alone."""
    values = {v["id"]: v["expected"] for v in json.loads((real_data / "reference_values.json").read_text())["values"]}
    assert values["weights.binary.regular"] == {"loss_reg_1": 2.6187, "loss_reg_2": 7.0131}
    assert values["weights.loss.public_test"]["L_y_pred_1"] == -0.4956203
    assert values["weights.loss.public_test_eps"]["L_y_pred_1"] == 0.9754045450464113
    assert values["weights.multi.loss"]["loss_1_full"] == 1.2485181986117349


@given(cases(), st.sampled_from(["sum", "mean"]))
def test_masking_a_cell_equals_deleting_it(case, reduction):
    labels, chances, positive, negative = case
    parts = losses.loss_parts(labels, chances, positive, negative, reduction=reduction)
    for index in range(labels.shape[1]):
        known = ~np.isnan(labels[:, index])
        alone = losses.loss_parts(
            labels[known][:, [index]],
            chances[known][:, [index]],
            positive[index],
            negative[index],
            reduction=reduction,
        )
        np.testing.assert_allclose([parts[0][index], parts[1][index]], np.ravel(alone), rtol=1e-9, atol=1e-12)


@given(cases(), st.floats(0.01, 100), st.sampled_from(["sum", "mean"]))
def test_scaling_both_weights_scales_the_loss(case, factor, reduction):
    labels, chances, positive, negative = case
    once = losses.multi_label_loss(labels, chances, positive, negative, reduction=reduction)
    scaled = losses.multi_label_loss(labels, chances, factor * positive, factor * negative, reduction=reduction)
    assert scaled == pytest.approx(factor * once, rel=1e-9, abs=1e-12)


@given(cases(), st.randoms(use_true_random=False))
def test_permuting_rows_and_columns_changes_nothing_else(case, random):
    labels, chances, positive, negative = case
    rows, columns = (random.sample(range(size), size) for size in labels.shape)
    parts = losses.loss_parts(labels, chances, positive, negative)
    permuted = losses.loss_parts(
        labels[rows][:, columns], chances[rows][:, columns], positive[columns], negative[columns]
    )
    np.testing.assert_allclose(permuted, np.stack(parts)[:, columns], rtol=1e-9, atol=1e-12)


@given(labels_with_unknown, st.floats(0, 1), st.sampled_from(["sum", "mean"]))
def test_a_constant_predictor_needs_only_the_counts(labels, chance, reduction):
    from_cells = losses.loss_parts(labels, chance, reduction=reduction)
    counts = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    from_counts = losses.constant_loss_parts(*counts, chance, reduction=reduction)
    np.testing.assert_allclose(from_counts, from_cells, rtol=1e-9, atol=1e-12)


@given(cases())
def test_logits_and_probabilities_agree(case):
    labels, logits, positive, negative = case
    logits = 10 * logits - 5
    from_logits = losses.logit_loss(labels, logits, positive, negative).sum(axis=0)
    chances = 1 / (1 + np.exp(-logits))
    parts = losses.loss_parts(labels, chances, positive, negative, epsilon=0, reduction="sum")
    np.testing.assert_allclose(from_logits, parts[0] + parts[1], rtol=1e-6, atol=1e-12)


@given(cases())
def test_gradient_is_the_slope_of_the_loss(case):
    labels, logits, positive, negative = case
    logits, step = 80 * logits - 40, 1e-4
    above = losses.logit_loss(labels, logits + step, positive, negative)
    below = losses.logit_loss(labels, logits - step, positive, negative)
    gradient = losses.logit_gradient(labels, logits, positive, negative)
    np.testing.assert_allclose((above - below) / (2 * step), gradient, rtol=1e-4, atol=1e-5)
    assert (gradient[np.isnan(labels)] == 0).all()


def test_certain_and_right_costs_nothing_certain_and_wrong_costs_everything():
    positive, negative = losses.loss_parts([[1.0], [0.0]], [[1.0], [0.0]], epsilon=0)
    assert positive[0] == negative[0] == 0
    positive, negative = losses.loss_parts([[1.0], [0.0]], [[0.0], [0.0]], epsilon=0)
    assert positive[0] == np.inf
    assert negative[0] == 0


def test_nothing_known_is_zero_not_nan():
    assert str(losses.multi_label_loss([[np.nan], [np.nan]], 0.5)) == "0.0"
    assert np.ravel(losses.constant_loss_parts([0], [0], 0.5)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("labels", "chances", "message"),
    [
        ([1, 0], 0.5, "shape"),
        ([[1], [2]], 0.5, "0, 1 or NaN"),
        ([[1], [0]], 1.5, r"\[0, 1\]"),
        ([[1], [0]], np.nan, r"\[0, 1\]"),
        ([[1], [0]], [[0.5, 0.5]], "broadcast"),
    ],
)
def test_errors(labels, chances, message):
    with pytest.raises(ValueError, match=message):
        losses.loss_parts(labels, chances)
