import os
import subprocess
import sys

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
        "try: import cxr_cli.models.densenet\n"
        "except UsageError as error: print(error, 'keras' in sys.modules)"
    )
    done = run(code, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert f"KERAS_BACKEND is {backend}" in done.stdout
    assert "Unset KERAS_BACKEND" in done.stdout
    assert done.stdout.rstrip().endswith("False")


@pytest.mark.slow
def test_keras_configuration_file_changes_nothing(tmp_path):
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float16", "backend": "jax", "image_data_format": "channels_first"}'
    )
    code = (
        "from cxr_cli.services.build_model.build_model import assemble\n"
        "from cxr_cli.services.build_model.options import ModelOptions\n"
        "import sys; model, _ = assemble(ModelOptions(('A',), (32, 32)))\n"
        "model.save(sys.argv[1] if len(sys.argv) > 1 else 'x.keras')"
    )
    for home in (tmp_path, tmp_path / "empty"):
        target = tmp_path / f"{home.name}.keras"
        done = run(f"import sys; sys.argv.append({str(target)!r})\n{code}", KERAS_HOME=str(home), KERAS_BACKEND="")
        assert done.returncode == 0, done.stderr
    import zipfile

    configurations = [zipfile.ZipFile(path).read("config.json") for path in sorted(tmp_path.glob("*.keras"))]
    assert len(configurations) == 2
    assert configurations[0] == configurations[1]
    assert b"float16" not in configurations[0]
