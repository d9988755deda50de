import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize("backend", ["torch", "numpy", "evil"])
def test_another_backend_is_refused_before_keras_is_imported(backend):
    code = (
        "import sys\nfrom cxr_cli.errors import UsageError\n"
        "from cxr_cli.services.keras_backend import start_keras\n"
        "try: start_keras()\n"
        "except UsageError as error: print(error, 'keras' in sys.modules)"
    )
    done = run(code, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert f"KERAS_BACKEND is {backend}" in done.stdout
    assert "Unset KERAS_BACKEND" in done.stdout
    assert done.stdout.rstrip().endswith("False")


@pytest.mark.parametrize(("backend", "word"), [("numpy", "needs jax"), ("evil", "not a backend")])
def test_losses_say_which_backend_is_missing(backend, word):
    if importlib.util.find_spec("jax"):
        pytest.skip("jax is installed")
    done = run("import cxr_cli.models.losses", KERAS_BACKEND=backend)
    assert word in done.stderr
    assert "cxr_cli.errors." in done.stderr


def save_small_model(target):
    from cxr_cli import ModelOptions, assemble

    model, _ = assemble(ModelOptions(("A",), (32, 32)))  # before anything of Keras is imported
    from cxr_cli.models.saving import save_model

    save_model(model, Path(target))


@pytest.mark.slow
def test_keras_configuration_file_changes_nothing(tmp_path):
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float16", "backend": "jax", "image_data_format": "channels_first"}'
    )
    code = (
        "import sys; sys.path.insert(0, {root!r})\n"
        "from tests.services.test_keras_backend import save_small_model; save_small_model({target!r})"
    )
    code = code.format(root=str(ROOT), target=str(tmp_path / "there.keras"))
    done = run(code, KERAS_HOME=str(tmp_path), KERAS_BACKEND="")
    assert done.returncode == 0, done.stderr
    save_small_model(tmp_path / "here.keras")
    documents = [zipfile.ZipFile(path).read("config.json").decode() for path in sorted(tmp_path.glob("*.keras"))]
    # The number of a shared object is its place in memory.
    configurations = [
        json.loads(re.sub(r'"shared_object_id": \d+', '"shared_object_id": 0', text)) for text in documents
    ]
    assert len(configurations) == 2
    assert configurations[0] == configurations[1]
    assert "float16" not in documents[0]
