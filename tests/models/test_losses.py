import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cxr_cli.services.metrics import losses as reference

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")

from cxr_cli.models.losses import WeightedBinaryCrossentropy  # noqa: E402

N = 6
NAMES = [f"pathology {index}" for index in range(N)]


@pytest.fixture(scope="module")
def case():
    """Logits from -40 to 40 with both ends and 0 under both labels, some labels unknown, and weights."""
    random = np.random.default_rng(7)
    logits = random.uniform(-40, 40, (N, N)).astype("float32")
    labels = random.integers(0, 2, (N, N)).astype("float32")
    logits[0], labels[0] = [40, 40, -40, -40, 0, 0], [0, 1, 0, 1, 0, 1]
    labels[1, 2] = labels[3, 4] = np.nan
    positive, negative = random.uniform(0.1, 20, (2, N))
    return logits, labels, positive, negative


@pytest.fixture(autouse=True)
def restore_policy():
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


def one_step(case, output, *, policy="float32", run_eagerly=False, jit_compile=False):
    """Take one step of fit; return the loss and its gradient by the logits, as the optimiser saw it.

    The kernel holds the logits and the inputs are the unit vectors, so that the gradient of the kernel is that of
    the logits; the momentum after the first step is minus the gradient, with none of its digits lost to a sum.
    """
    logits, labels, positive, negative = case
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((N,))
    dense = keras.layers.Dense(N, use_bias=False, activation="sigmoid" if output == "sigmoid" else None)
    outputs = dense(inputs)
    if output == "activation layer":
        outputs = keras.layers.Activation("sigmoid", dtype="float32")(outputs)
    model = keras.Model(inputs, outputs)
    dense.set_weights([logits])
    loss = WeightedBinaryCrossentropy(NAMES, positive, negative, from_logits=output == "logits")
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    if policy == "mixed_float16":  # the default scale of 2**15 overflows on a confident mistake and skips the step
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2**8)
    model.compile(optimizer=optimizer, loss=loss, run_eagerly=run_eagerly, jit_compile=jit_compile)
    history = model.fit(np.eye(N, dtype="float32"), labels, batch_size=N, verbose=0)
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return history.history["loss"][0], -keras.ops.convert_to_numpy(optimizer.momentums[0]), dense.get_weights()[0]


@pytest.mark.parametrize("output", ["sigmoid", "activation layer", "logits"])
@pytest.mark.parametrize("mode", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=["graph", "eager", "compiled"])
def test_value_and_gradient_inside_fit(case, output, mode):
    loss, gradient, kernel = one_step(case, output, **mode)
    logits, labels, positive, negative = case
    expected = reference.logit_gradient(labels, logits, positive, negative) / N
    assert loss == pytest.approx(reference.logit_loss(labels, logits, positive, negative).sum() / N, rel=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    np.testing.assert_allclose(kernel, logits - expected, rtol=1e-6, atol=1e-5)
    assert (gradient[np.isnan(labels)] == 0).all()


@pytest.mark.parametrize("output", ["sigmoid", "activation layer", "logits"])
@pytest.mark.parametrize("mode", [{}, {"run_eagerly": True}], ids=["graph", "eager"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_stays_finite_and_right_to_its_digits(case, output, mode, policy):
    loss, gradient, kernel = one_step(case, output, policy=policy, **mode)
    logits, labels, positive, negative = case
    assert loss == pytest.approx(reference.logit_loss(labels, logits, positive, negative).sum() / N, rel=1e-3)
    assert np.isfinite(kernel).all()
    # A confident mistake is what a saturated sigmoid would learn nothing from.
    expected = reference.logit_gradient(labels, logits, positive, negative) / N
    np.testing.assert_allclose(gradient, expected, rtol=0.02, atol=1e-4)
    assert np.abs(gradient[0, 0]) > 0.01
    assert np.abs(gradient[0, 3]) > 0.01


def test_gradient_tape(case):
    tf = pytest.importorskip("tensorflow")
    logits, labels, positive, negative = case
    loss = WeightedBinaryCrossentropy(NAMES, positive, negative, reduction="sum")
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(labels, keras.activations.sigmoid(variable))
    expected = reference.logit_loss(labels, logits, positive, negative).sum()
    assert float(value) == pytest.approx(expected, rel=1e-6)
    gradient = reference.logit_gradient(labels, logits, positive, negative)
    np.testing.assert_allclose(tape.gradient(value, variable), gradient, rtol=1e-6)


def test_plain_probabilities_agree_with_the_reference():
    random = np.random.default_rng(3)
    labels = random.choice([0.0, 1.0, np.nan], (50, 3)).astype("float32")
    chances = random.uniform(0, 1, (50, 3)).astype("float32")
    chances[:2] = [[0, 1, 0], [1, 0, 1]]
    labels[:2] = [[0, 1, 0], [1, 0, 1]]
    weights = [0.1, 2.0, 30.0], [0.9, 0.5, 1.0]
    loss = WeightedBinaryCrossentropy(["a", "b", "c"], *weights, reduction="sum")
    expected = reference.multi_label_loss(labels, chances, *weights, epsilon=0, reduction="sum")
    assert float(loss(labels, chances)) == pytest.approx(expected, rel=1e-5)


def test_plain_probabilities_have_the_right_gradient_and_no_nan_at_the_ends():
    tf = pytest.importorskip("tensorflow")
    chances = tf.Variable([[1e-18, 0.25, 1 - 2**-20], [0.0, 1.0, 0.5]])
    labels = [[1.0, 1.0, 0.0], [1.0, 0.0, np.nan]]
    loss = WeightedBinaryCrossentropy(["a", "b", "c"], [0.5, 2, 1], [1, 1, 3], reduction="sum")
    with tf.GradientTape() as tape:
        value = loss(labels, chances)
    gradient = tape.gradient(value, chances).numpy()
    assert np.isfinite(float(value))
    np.testing.assert_allclose(gradient[0], [-0.5e18, -2 / 0.25, 3 * 2**20], rtol=1e-5)
    np.testing.assert_array_equal(gradient[1], [0, 0, 0])


def test_a_softmax_is_not_taken_for_a_sigmoid():
    tf = pytest.importorskip("tensorflow")
    loss = WeightedBinaryCrossentropy(["a", "b"], [1, 1], [1, 1], reduction="sum")
    logits, labels = [[1.0, 2.0]], [[1.0, 0.0]]
    expected = reference.multi_label_loss(labels, np.exp(logits) / np.exp(logits).sum(), epsilon=0, reduction="sum")

    @tf.function
    def in_graph():
        return loss(labels, keras.activations.softmax(tf.constant(logits)))

    assert float(loss(labels, keras.activations.softmax(tf.constant(logits)))) == pytest.approx(expected, rel=1e-6)
    assert float(in_graph()) == pytest.approx(expected, rel=1e-6)


def test_thresholded_answers_keep_their_meaning_in_a_graph():
    tf = pytest.importorskip("tensorflow")
    loss = WeightedBinaryCrossentropy(["a", "b"], [1, 1], [1, 1], reduction="sum")
    right = np.array([[1.0, 0.0]], "float32")

    @tf.function
    def rounded(logits):
        return loss(right, tf.cast(tf.cast(keras.activations.sigmoid(logits) + 0.5, "int32"), "float32"))

    assert float(rounded(tf.constant([[0.1, -0.1]]))) == pytest.approx(0, abs=1e-6)


def test_one_pathology_with_a_column_of_labels():
    loss = WeightedBinaryCrossentropy(["Mass"], [0.25], [0.75], reduction="sum")
    chances = np.full((4, 1), 0.9, "float32")
    for labels in ([1, 1, 1, 0], [[1], [1], [1], [0]]):
        assert float(loss(np.array(labels), chances)) == pytest.approx(1.8059592064889038, rel=1e-6)


def test_sample_weight_of_zero_leaves_an_image_out(case):
    logits, labels, positive, negative = case
    loss = WeightedBinaryCrossentropy(NAMES, positive, negative, from_logits=True, reduction="sum")
    value = loss(labels, logits, sample_weight=[0, 1, 1, 1, 1, 1])
    assert float(value) == pytest.approx(reference.logit_loss(labels, logits, positive, negative)[1:].sum(), rel=1e-6)


def test_a_saved_model_brings_its_loss_back(tmp_path):
    loss = WeightedBinaryCrossentropy(["Mass", "Edema"], [0.25, 0.5], [0.75, 0.5], from_logits=True, name="mine")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer="sgd", loss=loss)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").loss
    assert isinstance(again, WeightedBinaryCrossentropy)
    assert again.get_config() == loss.get_config()
    assert again.get_config()["pathologies"] == ["Mass", "Edema"]


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        ([1.0], [1.0, 1.0], "positive_weights has 1 values; expected one for each of 2 pathologies"),
        ([1.0, 1.0], [1.0, -1.0], "negative_weights of Edema is -1.0"),
        ([float("nan"), 1.0], [1.0, 1.0], "positive_weights of Mass is nan"),
        ([1.0, float("inf")], [1.0, 1.0], "positive_weights of Edema is inf"),
    ],
)
def test_bad_weights(positive, negative, message):
    with pytest.raises(ValueError, match=message):
        WeightedBinaryCrossentropy(["Mass", "Edema"], positive, negative)


@pytest.mark.parametrize(
    ("labels", "outputs"),
    [((4, 1), (4, 2)), ((4, 2), (4, 1)), ((4, 3), (4, 3)), ((1, 2), (4, 2)), ((4,), (4, 2))],
)
def test_shapes_that_would_only_broadcast_are_refused(labels, outputs):
    loss = WeightedBinaryCrossentropy(["Mass", "Edema"], [1, 1], [1, 1])
    with pytest.raises(ValueError, match=r"expected both \(n_images, 2\)"):
        loss(np.zeros(labels), np.full(outputs, 0.5))


BACKEND_SCRIPT = """
import sys, json, numpy, keras
from cxr_cli.models.losses import WeightedBinaryCrossentropy

case = numpy.load(sys.argv[1])
names = [str(index) for index in range(case["labels"].shape[1])]
said = {"backend": keras.backend.backend(), "value": [], "gradient": []}
for output in ("logits", "probabilities"):
    logits = case["logits"] if output == "logits" else numpy.clip(case["logits"], -40, 10)
    loss = WeightedBinaryCrossentropy(names, case["positive"], case["negative"], from_logits=output == "logits")
    said["value"].append(float(loss(case["labels"], logits if output == "logits" else keras.ops.sigmoid(logits))))
    if said["backend"] == "numpy":  # has no gradients
        continue
    dense = keras.layers.Dense(len(names), use_bias=False, activation=None if output == "logits" else "sigmoid")
    model = keras.Sequential([keras.Input((len(names),)), dense])
    dense.set_weights([logits])
    model.compile(optimizer=keras.optimizers.SGD(1.0, momentum=0.5), loss=loss)
    model.fit(numpy.eye(len(names), dtype="float32"), case["labels"], batch_size=len(names), verbose=0)
    said["gradient"].append((-keras.ops.convert_to_numpy(model.optimizer.momentums[0])).tolist())
print(json.dumps(said))
"""


@pytest.mark.parametrize(
    ("backend", "needs"), [("numpy", ["scipy", "jax"]), ("jax", ["jax"]), ("torch", ["torch"])], ids=lambda v: str(v)
)
def test_other_backends(case, tmp_path, backend, needs):
    for package in needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"Keras' {backend} backend needs {package}")
    logits, labels, positive, negative = case
    np.savez(tmp_path / "case.npz", logits=logits, labels=labels, positive=positive, negative=negative)
    done = subprocess.run(
        [sys.executable, "-c", BACKEND_SCRIPT, str(tmp_path / "case.npz")],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["backend"] == backend
    for index, scores in enumerate([logits, np.clip(logits, -40, 10)]):
        expected = reference.logit_loss(labels, scores, positive, negative).sum() / N
        assert said["value"][index] == pytest.approx(expected, rel=1e-4 if index else 1e-6)
        if backend != "numpy":
            gradient = reference.logit_gradient(labels, scores, positive, negative) / N
            np.testing.assert_allclose(said["gradient"][index], gradient, rtol=1e-2 if index else 1e-6)
