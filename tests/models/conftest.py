"""Weight files of Keras 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def keras2(tmp_path_factory) -> Path:
    """Return a folder with what Keras 2 (tf_keras) writes for one network, its input and its features."""
    folder = tmp_path_factory.mktemp("keras2")
    script = Path(__file__).parent / "write_keras2_files.py"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, script, folder], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder
