import ast
import json

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.services.metrics.losses import multi_label_loss
from cxr_cli.services.weights.code import keras_code, torch_code
from cxr_cli.services.weights.weights import compute_weights


@pytest.fixture(scope="module")
def result(sample_data):
    return compute_weights(read_labels(sample_data / "train-small.csv"))


def constants(code):
    """Return the lists that the code assigns, by name."""
    found = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            lists = [part for part in ast.walk(node.value) if isinstance(part, ast.List)]
            if lists:
                found[node.targets[0].id] = tuple(ast.literal_eval(lists[0]))
    return found


@pytest.mark.parametrize("write", [keras_code, torch_code])
def test_the_numbers_are_whole_and_in_order(result, write):
    weights = result.class_weights
    assert constants(write(result, "title")) == {
        "pathologies": weights.pathologies,
        "positive": weights.positive,
        "negative": weights.negative,
    }


def test_lines_fit_an_editor_and_say_what_goes_wrong(result):
    for code in (keras_code(result, "title"), torch_code(result, "title")):
        assert max(len(line) for line in code.splitlines()) <= 120
    assert "fit(class_weight" in keras_code(result, "title")
    assert "mean over all cells" in torch_code(result, "title")


def test_a_title_stays_a_comment(result):
    for write in (keras_code, torch_code):
        first, second = write(result, "a\nimport os").splitlines()[:2]
        assert first == "# a import os"
        assert second.startswith(("from cxr_cli", "import torch"))


class Model:
    """Stands for the user's model: keeps what it is compiled with."""

    def compile(self, optimizer, loss):
        self.loss = loss


@pytest.mark.slow
@pytest.mark.parametrize("from_file", [False, True])
def test_keras_code_runs(result, tmp_path, from_file):
    pytest.importorskip("keras")
    saved = None
    if from_file:
        saved = tmp_path / "it's weights.json"
        saved.write_text(json.dumps({"command": "weights", "result": result.to_dict()}))
    model = Model()
    exec(keras_code(result, "title", saved), {"model": model})
    labels = np.random.default_rng(0).integers(0, 2, (20, 14)).astype("float32")
    weights = result.class_weights.positive, result.class_weights.negative
    expected = multi_label_loss(labels, 0.3, *weights, epsilon=0)
    assert float(model.loss(labels, np.full((20, 14), 0.3, "float32"))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_torch_code_runs(result):
    torch = pytest.importorskip("torch")
    names: dict = {}
    exec(torch_code(result, "title"), names)
    random = np.random.default_rng(0)
    logits = random.uniform(-8, 8, (20, 14))
    labels = random.choice([0.0, 1.0, np.nan], (20, 14))
    known = np.nan_to_num(labels)
    weights = result.class_weights.positive, result.class_weights.negative
    chances = 1 / (1 + np.exp(-logits))
    tensors = torch.tensor(logits, dtype=torch.float32), torch.tensor(known, dtype=torch.float32)
    expected = multi_label_loss(known, chances, *weights, epsilon=0)
    assert float(names["loss"](*tensors)) == pytest.approx(expected, rel=1e-5)
    ratio = np.divide(*weights)
    expected = multi_label_loss(known, chances, ratio, 1.0, epsilon=0) / 14
    assert float(names["simple_loss"](*tensors)) == pytest.approx(expected, rel=1e-5)
    expected = multi_label_loss(labels, chances, *weights, epsilon=0, reduction="sum") / 20
    with_unknown = torch.tensor(labels, dtype=torch.float32)
    assert float(names["loss"](tensors[0], with_unknown)) == pytest.approx(expected, rel=1e-5)
