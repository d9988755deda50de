"""A training that is killed, and runs out of disk, ends with the bytes of one that was not."""

from __future__ import annotations

import sys

import pytest

from tests.robustness.train_kills import Run, epochs_kept

pytestmark = pytest.mark.slow


def fails_for_lack_of_space(run, largest, file):
    """Check that the command ends with an error where no file can grow beyond a size."""
    code, said = run.run_with_files_of_at_most(largest)
    assert code == 2 and "Traceback" not in said, said
    assert f"{run.folder}/{file}" in said
    assert "Free some space, or choose another --output" in said
    assert not [path for path in run.folder.rglob("*") if ".tmp" in path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited in size")
def test_killed_training_loses_no_epoch_and_ends_alike(drawn, tmp_path):
    undisturbed, disturbed = (Run(drawn, tmp_path / name / "out") for name in ("a", "b"))
    for run in (undisturbed, disturbed):
        run.folder.parent.mkdir()
    undisturbed.finish()
    fails_for_lack_of_space(disturbed, 50_000, "cache/train-features.npy")
    assert epochs_kept(disturbed.folder) == -1
    assert disturbed.kill_in_checkpoint(3) == -9
    # Two checkpoints were whole; half a third one took the place of neither.
    assert epochs_kept(disturbed.folder) == 2
    assert disturbed.kill_in_checkpoint(1) == -9
    assert epochs_kept(disturbed.folder) == 2
    # The first checkpoint of the last block is too large, and the last one of the head stays.
    fails_for_lack_of_space(disturbed, 2_000_000, "checkpoint.npz")
    assert epochs_kept(disturbed.folder) == 5
    disturbed.finish()
    assert disturbed.results() == undisturbed.results()
    assert disturbed.left_over() == []
