"""The commands that work through images give the same on a cluster as on one machine, a worker killed or not."""

import json
import os
import signal

import pytest

from tests.services.test_cluster import scheduler  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow


@pytest.fixture
def on_cluster(scheduler):  # noqa: F811
    """Return the options that run a command on two workers, and the process of one of them."""
    address, start_worker = scheduler
    victim, _ = start_worker(), start_worker()
    return ["--cluster", address], victim


def document(result):
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def test_explore(cxr, sample_data, on_cluster):
    options, _ = on_cluster
    command = ["explore", sample_data / "valid-small.csv", "--check-images", "--no-plots", "--json"]
    assert document(cxr(*command, *options)) == document(cxr(*command, "--workers", "1"))


def test_check_leakage(cxr, sample_data, on_cluster):
    options, _ = on_cluster
    tables = [sample_data / "train-small.csv", sample_data / "valid-small.csv"]
    command = ["check-leakage", *tables, "--images", sample_data / "images-small", "--no-plots", "--json"]
    assert document(cxr(*command, *options)) == document(cxr(*command, "--workers", "1"))


def test_preprocess_with_a_worker_killed(cxr, sample_data, on_cluster, monkeypatch, tmp_path):
    from cxr_cli.services.preprocess import preprocess as service

    options, victim = on_cluster
    original = service.map_surviving

    def killing(*arguments, **keywords):
        for number, values in enumerate(original(*arguments, **keywords)):
            yield values
            if number == 1 and victim.poll() is None:
                os.kill(victim.pid, signal.SIGKILL)

    command = ["preprocess", sample_data / "train-small.csv", "--image-size", "64", "--no-plots"]
    assert cxr(*command, "--workers", "1", "--output", "here").exit_code == 0
    monkeypatch.setattr(service, "map_surviving", killing)
    done = cxr(*command, *options, "--output", "there")
    assert done.exit_code == 0, done.output
    assert victim.wait(timeout=30) == -signal.SIGKILL
    for name in ("images.npy", "index.csv", "failures.csv", "preprocess.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name


def test_no_scheduler_is_one_error(cxr, sample_data, monkeypatch):
    from cxr_cli.services import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    result = cxr("explore", sample_data / "valid-small.csv", "--check-images", "--cluster", "tcp://127.0.0.1:9")
    assert result.exit_code == 2
    assert "no Dask scheduler answers" in result.stderr
    assert "Traceback" not in result.stderr
