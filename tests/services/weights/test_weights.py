import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cxr_cli.choices import Scheme, choices
from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.errors import LabelTableError, UsageError
from cxr_cli.services.metrics.calibration import correct_prior
from cxr_cli.services.metrics.losses import loss_parts, multi_label_loss
from cxr_cli.services.weights.weights import compute_weights, scheme_weights
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "weights"
counts = hnp.arrays(np.int64, 4, elements=st.integers(0, 10**6))


def write(folder, labels, names=None):
    """Write a label matrix as a table of the course's form; NaN becomes a blank cell."""
    labels = np.asarray(labels, dtype=float)
    names = names or ["Mass", "Edema", "Hernia", "Nodule"][: labels.shape[1]]
    rows = [
        ",".join([f"{index}.png", *("" if np.isnan(cell) else f"{cell:g}" for cell in row)])
        for index, row in enumerate(labels)
    ]
    path = folder / "labels.csv"
    path.write_text("\n".join([",".join(["Image", *names]), *rows]) + "\n")
    return path


def all_known(labels):
    """Whether every pathology has a label: a column without any is not an output."""
    return bool((~np.isnan(labels)).any(axis=0).all())


@pytest.fixture
def table(tmp_path):
    return lambda labels, names=None: read_labels(write(tmp_path, labels, names))


@pytest.fixture(scope="session")
def published(real_data):
    values = json.loads((real_data / "reference_values.json").read_text())["values"]
    return {value["id"]: value["expected"] for value in values}


@pytest.fixture(scope="session")
def train(real_data):
    return read_labels(real_data / "nih" / "train-small.csv")


def test_by_hand(table):
    """Mass: 2 of 4 known; Edema: 1 of 4, one unknown."""
    result = compute_weights(table([[1, 0], [1, np.nan], [0, 1], [0, 0]]))
    mass, edema = result.pathologies
    assert (mass.n_positive, mass.n_negative, mass.n_unknown, mass.prevalence) == (2, 2, 0, 0.5)
    assert (edema.n_positive, edema.n_negative, edema.n_unknown) == (1, 2, 1)
    assert (edema.positive_weight, edema.negative_weight) == pytest.approx((2 / 3, 1 / 3))
    assert (edema.positive_contribution, edema.negative_contribution) == pytest.approx((2 / 9, 2 / 9))
    assert (mass.weighted_loss_fraction, edema.weighted_loss_fraction) == pytest.approx((9 / 17, 8 / 17))
    assert (mass.unweighted_loss_fraction, edema.unweighted_loss_fraction) == (0.5, 0.5)
    assert edema.logit_shift == pytest.approx(math.log(2))
    assert edema.corrected_half == pytest.approx(1 / 3)
    assert (result.n_images, result.n_known, result.n_unknown, result.unweighted) == (4, 7, 1, ())
    assert result.class_weights.pathologies == ("Mass", "Edema")


def test_binary_example_of_the_course():
    result = compute_weights(read_labels(EXAMPLES / "binary.csv"), reduction="sum")
    assert (result.class_weights.positive, result.class_weights.negative) == ((0.25,), (0.75,))
    one, other = result.predictors[:2]
    assert (one.predictor, other.predictor) == ("always 0.9", "always 0.1")
    assert (one.unweighted_loss, other.unweighted_loss) == pytest.approx((2.6187, 7.0131), abs=5e-5)
    assert (one.weighted_loss, other.weighted_loss) == pytest.approx((1.8060, 1.8060), abs=5e-5)
    parts = one.pathologies[0]
    assert (parts.weighted_positive, parts.weighted_negative) == pytest.approx((0.0790, 1.7269), abs=5e-5)


def test_two_pathologies_of_the_course():
    labels = read_labels(EXAMPLES / "two.csv")
    predictions = read_predictions(EXAMPLES / "two-predictions.csv").in_order(labels)
    result = compute_weights(labels, predictions=predictions, reduction="sum")
    assert result.class_weights.positive == pytest.approx((0.2, 0.8), abs=1e-12)
    assert result.class_weights.negative == pytest.approx((0.8, 0.2), abs=1e-12)
    first, second = result.predictors[-1].pathologies
    assert (first.weighted_positive, first.weighted_negative) == pytest.approx((0.9632, 0.2853), abs=5e-5)
    assert (second.weighted_positive, second.weighted_negative) == pytest.approx((0.2853, 0.9632), abs=5e-5)
    assert first.weighted_positive + first.weighted_negative == pytest.approx(1.2485181986117349, abs=1e-6)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("epsilon", "expected"), [(1, -0.4956203), (1e-7, 0.9754045450464113)])
def test_assignment_of_the_course(number, epsilon, expected):
    labels = read_labels(EXAMPLES / "three.csv")
    predictions = read_predictions(EXAMPLES / f"three-predictions-{number}.csv").in_order(labels)
    result = compute_weights(labels, predictions=predictions, epsilon=epsilon)
    assert result.class_weights.positive == pytest.approx((0.25, 0.25, 0.5))
    assert result.predictors[-1].weighted_loss == pytest.approx(expected, abs=1e-7)


def test_frequencies_of_the_public_test(table, published):
    expected = published["weights.freqs.public_test"]
    result = compute_weights(table([[1, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 1]]))
    assert [row.prevalence for row in result.pathologies] == pytest.approx(expected["pos"], abs=1e-12)
    assert result.class_weights.positive == pytest.approx(expected["neg"], abs=1e-12)


def test_course_table(train, published):
    result = compute_weights(train)
    rows = {row.pathology: row for row in result.pathologies}
    order = published["weights.freqs.train"]["labels"]
    assert sorted(order) == sorted(rows)

    def column(name):
        return [getattr(rows[pathology], name) for pathology in order]

    assert column("prevalence") == pytest.approx(published["weights.freqs.train"]["freq_pos"], abs=1e-12)
    assert column("positive_weight") == pytest.approx(published["weights.freqs.train.neg"]["freq_neg"], abs=1e-12)
    contributions = published["weights.contrib.weighted"]["pos_contribution"]
    assert column("positive_contribution") == pytest.approx(contributions, abs=1e-9)
    assert column("negative_contribution") == pytest.approx(contributions, abs=1e-9)
    for pathology, ratio in published["weights.pos_weight_ratio"].items():
        row = rows[pathology]
        assert row.positive_weight / row.negative_weight == pytest.approx(ratio, abs=1e-5)
        assert math.exp(row.logit_shift) == pytest.approx(ratio, rel=1e-6)
    assert rows["Hernia"].weighted_loss_fraction == pytest.approx(0.0033, abs=5e-5)
    assert rows["Infiltration"].weighted_loss_fraction == pytest.approx(0.238, abs=5e-4)


@pytest.mark.parametrize(
    ("predictor", "key"),
    [
        ("always 0.5", "weights.train.constant_0.5"),
        ("always 0.1", "weights.train.constant_0.1"),
        ("always 0.9", "weights.train.constant_0.9"),
        ("always the prevalence", "weights.train.prevalence_prediction"),
    ],
)
def test_predictors_on_the_course_table(train, published, predictor, key):
    found = {item.predictor: item for item in compute_weights(train).predictors}[predictor]
    assert found.weighted_loss == pytest.approx(published[key]["weighted"], abs=1e-5)
    assert found.unweighted_loss == pytest.approx(published[key]["regular"], abs=1e-5)


def test_w_cel_on_the_course_table(train, published):
    expected = published["weights.wcel.pooled"]
    result = compute_weights(train, scheme="w-cel")
    assert sum(row.n_positive for row in result.pathologies) == expected["P"]
    assert result.class_weights.positive == pytest.approx([expected["beta_P"]] * 14, abs=1e-9)
    assert result.class_weights.negative == pytest.approx([expected["beta_N"]] * 14, abs=1e-9)


def test_balanced_is_as_scikit_learn_defines_it():
    positive, negative = scheme_weights([20], [80], "balanced")
    assert (positive[0], negative[0]) == (100 / (2 * 20), 100 / (2 * 80))


def test_effective_number_by_hand():
    """With beta 1/2, E(1) = 1, E(2) = 1.5: weights in proportion 3 : 2."""
    positive, negative = scheme_weights([1], [2], "effective-number", beta=0.5)
    assert (positive[0], negative[0]) == pytest.approx((1.2, 0.8))


def test_effective_number_between_its_ends():
    assert np.ravel(scheme_weights([5], [95], "effective-number", beta=0)).tolist() == [1, 1]
    positive, negative = scheme_weights([5], [95], "effective-number", beta=1 - 1e-12)
    assert positive[0] / negative[0] == pytest.approx(95 / 5, rel=1e-6)


@given(counts, counts, st.sampled_from(choices(Scheme)))
def test_weights_are_finite_and_positive(n_positive, n_negative, scheme):
    positive, negative = scheme_weights(n_positive, n_negative, scheme)
    for weights in (positive, negative):
        assert (np.isfinite(weights) & (weights > 0)).all()
    lacking = (n_positive == 0) | (n_negative == 0)
    assert (positive[lacking] == 1).all() and (negative[lacking] == 1).all()


@given(counts, counts)
def test_default_scheme_balances_inside_and_balanced_also_between(n_positive, n_negative):
    usable = (n_positive > 0) & (n_negative > 0)
    for scheme in ("frequency", "balanced"):
        positive, negative = scheme_weights(n_positive, n_negative, scheme)
        np.testing.assert_allclose((positive * n_positive)[usable], (negative * n_negative)[usable], rtol=1e-9)
    per_label = (positive * n_positive)[usable] / (n_positive + n_negative)[usable]
    np.testing.assert_allclose(per_label, 0.5, rtol=1e-9)


@given(counts, counts, st.sampled_from(choices(Scheme)), st.floats(1, 100))
def test_max_ratio_cuts_and_cuts_nothing_else(n_positive, n_negative, scheme, limit):
    free = scheme_weights(n_positive, n_negative, scheme)
    cut = scheme_weights(n_positive, n_negative, scheme, max_ratio=limit)
    np.testing.assert_array_equal(cut[1], free[1])
    np.testing.assert_allclose(cut[0] / cut[1], np.minimum(free[0] / free[1], limit), rtol=1e-12)


@given(counts, counts, st.sampled_from(choices(Scheme)), st.permutations(range(4)))
def test_permuting_pathologies_permutes_weights(n_positive, n_negative, scheme, order):
    for one, other in zip(
        scheme_weights(n_positive, n_negative, scheme),
        scheme_weights(n_positive[order], n_negative[order], scheme),
        strict=True,
    ):
        np.testing.assert_array_equal(one[order], other)


@given(
    labels=hnp.arrays(np.float64, (6, 3), elements=st.sampled_from([0.0, 1.0, np.nan])).filter(all_known),
    rows=st.permutations(range(6)),
    columns=st.permutations(range(3)),
    scheme=st.sampled_from(choices(Scheme)),
)
def test_permuting_the_table_changes_nothing_else(tmp_path_factory, labels, rows, columns, scheme):
    folder, names = tmp_path_factory.mktemp("permuted"), ["Mass", "Edema", "Hernia"]
    before = compute_weights(read_labels(write(folder, labels, names)), scheme=scheme)
    shuffled = write(folder, labels[rows][:, columns], [names[place] for place in columns])
    after = compute_weights(read_labels(shuffled), scheme=scheme)
    expected = {row.pathology: row for row in before.pathologies}
    assert [row.pathology for row in after.pathologies] == [names[place] for place in columns]
    for row in after.pathologies:
        assert dataclasses.astuple(row)[1:] == pytest.approx(
            dataclasses.astuple(expected[row.pathology])[1:], rel=1e-9, nan_ok=True
        )
    for one, other in zip(before.predictors, after.predictors, strict=True):
        assert (one.unweighted_loss, one.weighted_loss) == pytest.approx(
            (other.unweighted_loss, other.weighted_loss), rel=1e-9
        )


@given(
    labels=hnp.arrays(np.float64, (8, 2), elements=st.sampled_from([0.0, 1.0, np.nan])).filter(all_known),
    reduction=st.sampled_from(["mean", "sum"]),
    scheme=st.sampled_from(choices(Scheme)),
)
def test_the_losses_shown_are_those_of_the_reference(tmp_path_factory, labels, reduction, scheme):
    table = read_labels(write(tmp_path_factory.mktemp("reference"), labels))
    result = compute_weights(table, scheme=scheme, reduction=reduction)
    prevalence = [0.0 if np.isnan(row.prevalence) else row.prevalence for row in result.pathologies]
    weights = result.class_weights.positive, result.class_weights.negative
    for item, answer in zip(result.predictors, [0.9, 0.1, 0.5, prevalence], strict=True):
        regular, weighted = (
            multi_label_loss(table.labels, answer, *chosen, reduction=reduction) for chosen in ((), weights)
        )
        assert (item.unweighted_loss, item.weighted_loss) == pytest.approx((regular, weighted), rel=1e-9, abs=1e-12)
        positive, negative = loss_parts(table.labels, answer, *weights, reduction=reduction)
        assert [part.weighted_positive for part in item.pathologies] == pytest.approx(positive.tolist())
        assert [part.weighted_negative for part in item.pathologies] == pytest.approx(negative.tolist())


def test_shares_add_up_and_do_not_depend_on_the_constant_for_balanced_weights(train):
    result = compute_weights(train)
    assert sum(row.weighted_loss_fraction for row in result.pathologies) == pytest.approx(1)
    for item in result.predictors[:3]:
        for row, part in zip(result.pathologies, item.pathologies, strict=True):
            share = (part.weighted_positive + part.weighted_negative) / item.weighted_loss
            assert share == pytest.approx(row.weighted_loss_fraction, rel=1e-5)
    equal = compute_weights(train, scheme="balanced")
    assert [row.weighted_loss_fraction for row in equal.pathologies] == pytest.approx([1 / 14] * 14)


@given(st.floats(0.001, 0.999), st.floats(0.01, 100), st.floats(0.01, 100))
def test_prior_correction_undoes_what_weighting_does_to_the_best_answer(prevalence, positive, negative):
    best = positive * prevalence / (positive * prevalence + negative * (1 - prevalence))
    assert correct_prior(best, positive, negative) == pytest.approx(prevalence, rel=1e-6)

    def weighted_loss(answer):
        return -positive * prevalence * math.log(answer) - negative * (1 - prevalence) * math.log1p(-answer)

    for step in (-1e-3, 1e-3):  # `best` is where the weighted loss is least
        answer = best + step * best * (1 - best)
        assert weighted_loss(answer) >= weighted_loss(best) - 1e-12


def test_correct_prior_at_the_ends():
    np.testing.assert_array_equal(correct_prior([0.0, 1.0], 0.9, 0.1), [0, 1])


def test_one_sided_pathologies_are_named_and_left_unweighted(table):
    labels = [[1, 0, 1, -1], [0, 0, 1, -1], [0, 0, 1, -1]]  # of the last, nothing is known
    for scheme in choices(Scheme):
        result = compute_weights(table(labels), scheme=scheme)
        assert result.unweighted == ("Edema", "Hernia", "Nodule")
        assert result.class_weights.positive[1:] == result.class_weights.negative[1:] == (1, 1, 1)
        text = json.dumps(result.to_dict(), allow_nan=False)
        assert result.to_dict()["pathologies"][3]["prevalence"] is None
        assert json.loads(text) == result.to_dict()
        for item in result.predictors:
            assert math.isfinite(item.weighted_loss)


def test_unknown_labels_are_counted_out(tmp_path):
    path = tmp_path / "chexpert.csv"
    path.write_text(
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema\n"
        "a/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,1.0,-1.0\n"
        "a/patient00002/study1/view1_frontal.jpg,Male,68,Frontal,AP,,0.0,1.0\n"
        "a/patient00003/study1/view1_frontal.jpg,Male,68,Frontal,AP,,,0.0\n"
        "a/patient00004/study1/view1_frontal.jpg,Male,68,Frontal,AP,,0.0,\n"
    )
    result = compute_weights(read_labels(path))
    assert (result.n_known, result.n_unknown, result.n_uncertain) == (5, 3, 1)
    assert result.class_weights.positive == pytest.approx((2 / 3, 1 / 2))
    result = compute_weights(read_labels(path, uncertain="positive"))
    assert (result.n_known, result.n_unknown, result.n_uncertain) == (6, 2, 1)
    assert result.class_weights.positive == pytest.approx((2 / 3, 1 / 3))


def test_errors(table, tmp_path):
    labels = table([[1], [0]])
    with pytest.raises(UsageError, match="scheme='nope'; expected one of"):
        compute_weights(labels, scheme="nope")
    with pytest.raises(UsageError, match="beta has no effect with scheme='balanced'"):
        compute_weights(labels, scheme="balanced", beta=0.9)
    for beta in (-0.1, 1.0, math.nan):
        with pytest.raises(UsageError, match="from 0 to below 1"):
            compute_weights(labels, scheme="effective-number", beta=beta)
    for ratio in (0.5, math.inf, math.nan):
        with pytest.raises(UsageError, match="at least 1"):
            compute_weights(labels, max_ratio=ratio)
    for epsilon in (-1e-9, math.nan):
        with pytest.raises(UsageError, match="not negative"):
            compute_weights(labels, epsilon=epsilon)
    (tmp_path / "none.csv").write_text("Image,PatientId\na.png,1\n")
    with pytest.raises(LabelTableError, match="has no pathologies"):
        compute_weights(read_labels(tmp_path / "none.csv", schema="course"))
