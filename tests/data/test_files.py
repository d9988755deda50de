import hashlib
import json
import os
from pathlib import Path

import pytest

from cxr_cli.data.files import Outputs, atomic_path, describe_input, json_text, read_input, remote_address
from cxr_cli.data.labels import read_labels
from cxr_cli.errors import InputError, MissingPackageError, OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_describe_input(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert (describe_input(path).size, describe_input(path).sha256) == (3, expected)
    assert describe_input(path) == describe_input(path, b"abc")


def test_atomic_path_writes_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "out.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "one"
    assert names(target.parent) == ["out.txt"]


def test_a_new_file_gets_the_usual_mode(tmp_path):
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("x")
    (tmp_path / "b").write_text("x")
    assert os.stat(tmp_path / "a").st_mode == os.stat(tmp_path / "b").st_mode


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"), atomic_path(tmp_path / "file" / "out"):
        pass


def test_outputs_lists_and_refuses_inputs(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("precious")
    os.symlink(table, tmp_path / "link.csv")
    outputs = Outputs(tmp_path, [table])
    written = outputs.write_json("a.json", {"x": [1, None]})
    assert outputs.written == [written]
    assert json.loads(written.read_text()) == {"x": [1, None]}
    for name in ("train.csv", "link.csv", tmp_path / "." / "train.csv"):
        with pytest.raises(OutputError, match="is an input"):
            outputs.write_text(name, "gone")
    assert table.read_text() == "precious"


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text({"x": float("nan")})


def test_equal_figures_give_equal_bytes(tmp_path):
    from matplotlib.figure import Figure

    outputs = Outputs(tmp_path)
    for name in ("a.png", "b.png"):
        figure = Figure()
        figure.subplots().plot([1, 2])
        outputs.write_figure(name, figure)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_remote_addresses_survive_path():
    assert remote_address(Path("s3://bucket/x.csv")) == "s3://bucket/x.csv"
    assert remote_address(Path("gs://b/x.csv")) == "gs://b/x.csv"
    for local in ("x.csv", "/x.csv", "C:/x.csv", "a:b/c.csv", "dir:x"):
        assert remote_address(local) is None, local


def test_a_table_is_read_through_fsspec():
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://bucket/t.csv", "wb") as stream:
        stream.write(b"Image,PatientId,Mass\na.png,1,1\n")
    table = read_labels(Path("memory://bucket/t.csv"))
    assert table.images == ["a.png"]
    with pytest.raises(InputError, match="memory://bucket/none.csv: cannot be read"):
        read_input(Path("memory://bucket/none.csv"))
    with pytest.raises(MissingPackageError, match="not installed"):
        read_input(Path("abfs://bucket/none.csv"))


def test_paths_that_are_no_utf_8_are_escaped_in_json(tmp_path):
    outputs = Outputs(tmp_path)
    path = outputs.write_json("a.json", {"path": os.fsdecode(b"x\xff.csv"), "é": 1})
    assert path.read_bytes().decode("utf-8") == '{\n  "path": "x\\udcff.csv",\n  "é": 1\n}\n'
    assert json.loads(path.read_bytes())["path"] == "x\udcff.csv"


def test_long_names_can_be_written(tmp_path):
    with atomic_path(tmp_path / ("n" * 250 + ".csv")) as temporary:
        temporary.write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 250 + ".csv"]
