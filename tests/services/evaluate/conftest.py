from __future__ import annotations

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import Predictions, read_predictions
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "evaluate"


@pytest.fixture(scope="session")
def examples():
    """Return the example files as they are read: the label table, and predictions by name."""
    files = {path.stem: read_predictions(path) for path in EXAMPLES.glob("*.csv") if path.stem != "test"}
    return read_labels(EXAMPLES / "test.csv"), files


@pytest.fixture
def table(tmp_path):
    """Write a label table and read it: table("Image,Mass\\na.png,1\\n")."""

    def make(text, name="labels.csv"):
        (tmp_path / name).write_text(text)
        return read_labels(tmp_path / name)

    return make


def predictions(scores, images=None, pathologies=("Mass",), **more):
    """Return predictions from an array of shape (n_images,) or (n_images, n_pathologies)."""
    values = np.asarray(scores, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    names = tuple(images or (f"i{row:03d}.png" for row in range(len(values))))
    return Predictions(names, tuple(pathologies), values, **more)


def labels_text(labels, patients=None, pathologies=("Mass",), images=None, **columns):
    """Return the text of a label table."""
    values = np.asarray(labels)
    values = values[:, None] if values.ndim == 1 else values
    names = images or [f"i{row:03d}.png" for row in range(len(values))]
    header = ["Image", *(["PatientId"] if patients is not None else []), *pathologies, *columns]
    lines = [",".join(header)]
    for row, name in enumerate(names):
        cells = [name, *([f"p{patients[row]}"] if patients is not None else [])]
        cells += ["" if value != value else str(int(value)) for value in values[row]]
        lines.append(",".join([*cells, *(str(column[row]) for column in columns.values())]))
    return "\n".join(lines) + "\n"
