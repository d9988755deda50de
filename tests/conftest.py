"""Fixtures for all tests: a plain terminal, the sample data, the real data where it is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings
from typer.testing import CliRunner

from cxr_cli.cli.app import app

ROOT = Path(__file__).parent.parent

# Machines are shared and slow at times: a law is not broken because an example took long.
settings.register_profile("cxr", deadline=None, print_blob=True)
settings.load_profile("cxr")


@pytest.fixture(autouse=True, scope="session")
def plain_terminal():
    """CI systems and terminals set variables that put ANSI codes into help and tables, even under CliRunner."""
    names = (
        "GITHUB_ACTIONS",
        "FORCE_COLOR",
        "PY_COLORS",
        "CLICOLOR_FORCE",
        "COLUMNS",
        "LINES",
        "TERMINAL_WIDTH",
    )
    saved = {name: os.environ.pop(name) for name in names if name in os.environ}
    yield
    os.environ.update(saved)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Return the folder of the synthetic data set; never write into it."""
    return ROOT / "sample_data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder with the real NIH files; the test is skipped without them."""
    folder = os.environ.get("CXR_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CXR_REAL_DATA does not name the folder with the real NIH files")
    return Path(folder)


@pytest.fixture
def cxr(tmp_path, monkeypatch):
    """Run a command in-process in an empty folder: cxr("explore", path, "--json") -> result."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, **options):
        return CliRunner().invoke(app, [str(item) for item in arguments], **options)

    return run


@pytest.fixture(scope="session")
def network():
    """Return a DenseNet121 for five pathologies at 128 pixels, built once, for it takes seconds.

    Tests may assign its weights and freeze it; none relies on what they were.
    """
    from cxr_cli.models.densenet import build_densenet

    return build_densenet(("Emphysema", "Hernia", "Mass", "Pneumonia", "Edema"), (128, 128), seed=3)


@pytest.fixture
def golden():
    """Compare a command's JSON with tests/golden/NAME.json, whole but for versions, folders and float rounding.

    CXR_UPDATE_GOLDEN=1 writes the file instead: look at the difference before committing it.
    """

    def check(name: str, text: str) -> None:
        document = json.loads(text)
        assert document.pop("cxr_version") and document.pop("seal")
        assert document.pop("arguments")[0] == name
        document.pop("output_hashes")
        for item in document["inputs"]:
            item["path"] = Path(item["path"]).name
        path = ROOT / "tests" / "golden" / f"{name}.json"
        if os.environ.get("CXR_UPDATE_GOLDEN"):
            path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        assert_alike(document, json.loads(path.read_text(encoding="utf-8")), name)

    return check


def assert_alike(found: object, expected: object, where: str) -> None:
    """Compare plain JSON values; floats to a relative 1e-9."""
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            assert_alike(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            assert_alike(found[index], value, f"{where}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), where
    else:
        assert found == expected, where


@pytest.fixture(scope="session")
def hdf5_forks():
    """Start the server of `tests.robustness.hdf5_forks` when it is first asked for."""
    from tests.robustness.hdf5_forks import Forks

    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def quick_reader(monkeypatch, hdf5_forks):
    """Read weight files in forked processes, which are quicker than started ones, under the same limits."""
    monkeypatch.setattr("cxr_cli.data.weight_files.run_reader", hdf5_forks.run)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """Return a folder with drawn images of 32 pixels, tables, stores of them, and a model for three pathologies.

    ``train.csv``, ``valid.csv``, ``images/``, ``stores/train``, ``stores/valid``, ``model.keras``; never write into it.
    """
    from tests.drawing import draw
    from tests.helpers import made_once

    return made_once(tmp_path_factory, "drawn", draw)


@pytest.fixture(scope="session")
def _networks():
    return {}


@pytest.fixture
def one_network(_networks, monkeypatch):
    """Let a saved classifier be opened in a network that is built once: its weights are replaced every time."""
    from cxr_cli.models import classifier

    build = classifier.build_densenet

    def built(pathologies, image_size, **more):
        key = (tuple(pathologies), image_size, tuple(sorted(more.items())))
        if key not in _networks:
            _networks[key] = build(pathologies, image_size, **more)
        return _networks[key]

    monkeypatch.setattr(classifier, "build_densenet", built)
