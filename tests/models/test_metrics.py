import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cxr_cli.models.metrics import PathologyRanking

pytestmark = pytest.mark.slow

NAMES = ("Mass", "Hernia", "Edema")


def scores(labels, outputs, *, batches=1, sample_weight=None, **options):
    metric = PathologyRanking(NAMES[: np.shape(labels)[1]], **options)
    parts = (labels, outputs) if sample_weight is None else (labels, outputs, sample_weight)
    for batch in zip(*(np.array_split(np.asarray(part, np.float32), batches) for part in parts), strict=True):
        metric.update_state(*batch)
    return {key: float(value) for key, value in metric.result().items()}


def pairs_in_order(labels, outputs):
    """AUROC by its definition."""
    positives, negatives = outputs[labels == 1], outputs[labels == 0]
    difference = positives[:, None] - negatives[None, :]
    return float(np.mean(np.where(difference == 0, 0.5, difference > 0)))


def average_precision(labels, outputs):
    """AUPRC by its definition: over distinct thresholds, gain in recall times precision."""
    total = 0.0
    for threshold in np.unique(outputs):
        at = (outputs == threshold) & (labels == 1)
        total += at.sum() / (labels == 1).sum() * (labels[outputs >= threshold] == 1).mean()
    return float(total)


def test_worked_by_hand():
    labels = np.array([[1], [0], [1], [0], [0]])
    outputs = np.array([[0.9], [0.8], [0.6], [0.4], [0.1]])
    # 5 of 6 pairs in order; precision 1 at recall 1/2, 2/3 at recall 1.
    found = scores(labels, outputs)
    assert found["auroc_Mass"] == pytest.approx(5 / 6)
    assert found["auprc_Mass"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["auroc"] == found["auroc_Mass"]


def test_pathologies_without_positives_are_left_out_not_scored_zero():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1]])
    outputs = np.array([[0.9, 0.2, 0.3], [0.1, 0.3, 0.4], [0.8, 0.4, 0.5], [0.2, 0.5, 0.6]])
    found = scores(labels, outputs)
    assert np.isnan(found["auroc_Hernia"]) and np.isnan(found["auprc_Hernia"])
    assert np.isnan(found["auroc_Edema"]) and found["auprc_Edema"] == 1
    assert found["auroc"] == 1 and found["auprc"] == 1


def test_nothing_to_score_is_nan():
    found = scores(np.zeros((3, 2)), np.full((3, 2), 0.5))
    assert np.isnan(found["auroc"]) and np.isnan(found["auprc"])


labelled = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float32, (n, 2), elements=st.sampled_from([0.0, 1.0])),
        arrays.arrays(np.float32, (n, 2), elements=st.integers(1, 99).map(lambda value: value / 100)),
    )
)


@settings(max_examples=40)
@given(labelled, st.integers(1, 3))
def test_equals_the_definitions_in_any_batches(data, batches):
    labels, outputs = data
    found = scores(labels, outputs, batches=batches)
    rocs, prcs = [], []
    for column, name in enumerate(NAMES[:2]):
        y, p = labels[:, column], outputs[:, column]
        if y.any():
            prcs.append(average_precision(y, p))
            assert found[f"auprc_{name}"] == pytest.approx(prcs[-1], abs=1e-5)
        if y.any() and not y.all():
            rocs.append(pairs_in_order(y, p))
            assert found[f"auroc_{name}"] == pytest.approx(rocs[-1], abs=1e-5)
    for name, values in (("auroc", rocs), ("auprc", prcs)):
        if values:
            assert found[name] == pytest.approx(np.mean(values), abs=1e-5)
        else:
            assert np.isnan(found[name])


@settings(max_examples=20)
@given(labelled, st.data())
def test_masking_a_label_equals_leaving_the_image_out(data, draw):
    labels, outputs = data
    masked = draw.draw(arrays.arrays(np.bool_, len(labels)))
    with_nan = labels.copy()
    with_nan[masked, 0] = np.nan
    whole = scores(with_nan, outputs)
    without = scores(labels[~masked], outputs[~masked])
    for key in ("auroc_Mass", "auprc_Mass"):
        assert whole[key] == pytest.approx(without[key], abs=1e-6, nan_ok=True)


def test_weight_zero_equals_leaving_out_and_weight_two_equals_twice():
    random = np.random.default_rng(4)
    labels, outputs = random.integers(0, 2, (30, 2)), random.random((30, 2)).round(2)
    weight = random.integers(0, 3, 30)
    repeated = np.repeat(np.arange(30), weight)
    assert scores(labels, outputs, sample_weight=weight) == pytest.approx(scores(labels[repeated], outputs[repeated]))


def test_logits_and_their_probabilities_rank_alike():
    random = np.random.default_rng(2)
    labels, logits = random.integers(0, 2, (200, 3)), random.normal(size=(200, 3)) * 3
    from_logits = scores(labels, logits, from_logits=True)
    assert from_logits == pytest.approx(scores(labels, 1 / (1 + np.exp(-logits))), abs=2e-3)


def test_extreme_outputs_have_their_place():
    labels = np.array([[0], [0], [1], [1]])
    assert scores(labels, np.array([[0.0], [1e-7], [1 - 1e-7], [1.0]]))["auroc"] == 1
    assert scores(labels, np.array([[1.0], [1.0], [0.0], [0.0]]))["auroc"] == 0


def test_in_fit_with_unknown_labels_and_after_saving(tmp_path):
    import keras

    random = np.random.default_rng(0)
    inputs = random.normal(size=(64, 4)).astype(np.float32)
    labels = (inputs[:, :2] > 0).astype(np.float32)
    labels[::3, 0] = np.nan
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="sigmoid")])
    loss = {"class_name": "cxr>WeightedBinaryCrossentropy", "config": {}}
    loss["config"] = {"pathologies": NAMES[:2], "positive_weights": [1, 1], "negative_weights": [1, 1]}
    model.compile("adam", keras.losses.deserialize(loss), metrics=[PathologyRanking(NAMES[:2])])
    history = model.fit(
        inputs, labels, validation_data=(inputs, labels), batch_size=16, epochs=2, verbose=0, shuffle=False
    ).history
    assert {"auroc", "auprc", "auroc_Mass", "val_auroc", "val_auprc_Hernia"} <= set(history)
    expected = scores(labels, model.predict(inputs, verbose=0))
    assert history["val_auroc"][-1] == pytest.approx(expected["auroc"], abs=1e-5)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert again["auprc_Mass"] == pytest.approx(expected["auprc_Mass"], abs=1e-5)


def test_under_mixed_precision_counts_do_not_saturate():
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = scores(np.ones((5000, 1)) * (np.arange(5000)[:, None] % 2), np.full((5000, 1), 0.5))
    finally:
        keras.config.set_dtype_policy("float32")
    assert found["auroc"] == 0.5
    assert found["auprc"] == 0.5
