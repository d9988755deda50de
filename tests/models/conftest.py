"""DenseNets are slow to build: one for all tests, and one set of files written by Keras 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PATHOLOGIES = ("Emphysema", "Hernia", "Mass", "Pneumonia", "Edema")
SIZE = (128, 128)


@pytest.fixture(scope="session")
def network():
    """Return a DenseNet121 with five pathologies; tests may assign its weights and freeze it, none relies on them."""
    from cxr_cli.models.densenet import build_densenet

    return build_densenet(PATHOLOGIES, SIZE, seed=3)


@pytest.fixture(scope="session")
def keras2(tmp_path_factory) -> Path:
    """Return a folder with what Keras 2 (tf_keras) writes for one network, its input and its features."""
    folder = tmp_path_factory.mktemp("keras2")
    script = Path(__file__).parent / "write_keras2_files.py"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, script, folder], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder
