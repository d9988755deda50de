"""A training that is killed ends with the bytes of one that was not."""

from __future__ import annotations

import pytest

from tests.robustness.train_kills import Run, epochs_kept

pytestmark = pytest.mark.slow


def test_killed_training_loses_no_epoch_and_ends_alike(drawn, tmp_path):
    undisturbed, killed = (Run(drawn, tmp_path / name / "out") for name in ("a", "b"))
    for run in (undisturbed, killed):
        run.folder.parent.mkdir()
    undisturbed.finish()
    assert killed.kill_in_checkpoint(3) == -9
    # Two checkpoints were whole; half a third one took the place of neither.
    assert epochs_kept(killed.folder) == 2
    assert killed.kill_in_checkpoint(1) == -9
    assert epochs_kept(killed.folder) == 2
    killed.finish()
    assert killed.results() == undisturbed.results()
    assert killed.left_over() == []
