"""Damaged and unlucky predictions end in an error of ours or in a result, never in another exception."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_cli.data.predictions import read_predictions
from cxr_cli.errors import CxrError
from cxr_cli.services.evaluate.evaluate import evaluate
from tests.robustness.mutants import mutants
from tests.services.evaluate.conftest import labels_text, predictions

TEXT = b"Image,PatientId,Mass,Edema,Mass_pred,Edema_pred\n" + b"".join(
    b"%d.png,%d,%d,%d,0.%d,0.%d\n" % (k, k // 2, k % 2, k % 3 == 0, k * 7 % 10, k * 3 % 10) for k in range(12)
)


def test_mutated_predictions(tmp_path):
    path, n_results = tmp_path / "p.csv", 0
    for content in mutants([TEXT], 300, seed=4, most=3):
        path.write_bytes(content)
        try:
            result = evaluate(read_predictions(path), n_draws=100)
        except CxrError as error:
            assert str(path) in str(error)
        else:
            n_results += 1
            assert result.to_dict()["n_images"] <= 13
    assert n_results > 50


@pytest.mark.parametrize("seed", range(30))
def test_unlucky_data(table, seed):
    """Few images, unknown labels, ties, one patient, extreme scores: whatever is undefined is NaN."""
    random = np.random.default_rng(seed)
    n, k = int(random.integers(1, 12)), int(random.integers(1, 4))
    labels = random.choice([0.0, 1.0, np.nan], (n, k), p=random.dirichlet([1, 1, 0.3]))
    labels[0] = 1.0
    scores = random.choice([0.0, 1e-300, 0.5, 1 - 1e-16, 1.0, -1e300, 1e300], (n, k))
    names = ("Mass", "Edema", "Hernia")[:k]
    text = labels_text(
        labels, random.integers(0, int(random.integers(1, 4)), n), names, Sex=random.choice(["F", "M"], n)
    )
    given = predictions(scores, pathologies=names)
    try:
        result = evaluate(
            given,
            table(text),
            compare={"B": [given]},
            by=["sex"],
            thresholds=0.5,
            prevalence=0.1,
            n_draws=100,
            curves=True,
        )
    except CxrError as error:
        assert "no pathology has both" in str(error)
        return
    for row in result.models[0].pathologies:
        assert 0 <= row.auroc.value <= 1 and 0 < row.auprc.value <= 1
        assert np.isnan(row.auroc.low) or row.auroc.low <= row.auroc.high
