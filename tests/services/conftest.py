"""Fixtures of several services."""

from __future__ import annotations

import pytest

from cxr_cli.data.files import Outputs


@pytest.fixture
def model(tmp_path):
    """Return a file that stands for a model, with a model card beside it."""
    from tests.services.test_model_card import card_of

    path = tmp_path / "model.keras"
    path.write_bytes(b"weights")
    card_of(path).write(Outputs(tmp_path), path)
    return path
