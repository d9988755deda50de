"""Weight files of Keras 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import made_once


@pytest.fixture(scope="session")
def keras2(tmp_path_factory) -> Path:
    """Return a folder with what Keras 2 (tf_keras) writes for one network, its input and its features."""

    def write(folder: Path) -> None:
        script = Path(__file__).parent / "write_keras2_files.py"
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([sys.executable, script, folder], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "keras2", write)
