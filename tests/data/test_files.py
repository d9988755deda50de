import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from cxr_cli.data import limits
from cxr_cli.data.files import Outputs, atomic_path, describe_input, json_text, read_input, remote_address
from cxr_cli.data.labels import read_labels
from cxr_cli.data.tables import unpack
from cxr_cli.errors import InputError, LabelTableError, MissingPackageError, OutputError


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


OURS = {"schema_version": 1, "command": "explore", "cxr_version": "0.1.0"}


def figure():
    from matplotlib.figure import Figure

    return Figure()


@pytest.mark.parametrize("name", ["plot.png", "table.csv", "result.json", "rows.npy", "folder/plot.png"])
def test_what_is_not_ours_is_not_replaced(tmp_path, name):
    path = tmp_path / name
    for content in (b"precious", b'{"command": "explore"}', b"[]", b"\x89PNG\r\n\x1a\n", b""):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        outputs = Outputs(tmp_path)
        with pytest.raises(OutputError, match="already exists and was not written by cxr; it will not be replaced"):
            outputs.refuse_to_replace(name)
        with pytest.raises(OutputError, match="was not written by cxr"):
            outputs.write_bytes(name, b"new")
        assert path.read_bytes() == content and outputs.written == []
        assert names(path.parent) == [path.name]
        outputs.write_bytes(name, content)  # nothing is lost
        outputs.refuse_to_replace(name)


def test_folders_and_links_in_the_way_are_not_ours(tmp_path):
    precious = tmp_path / "precious"
    Outputs(tmp_path).write_figure(precious.with_suffix(".png"), figure())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link.png").symlink_to(precious.with_suffix(".png"))
    (tmp_path / "out" / "dangling.png").symlink_to("nowhere")
    (tmp_path / "out" / "folder.png").mkdir()
    for name in ("link.png", "dangling.png", "folder.png"):
        with pytest.raises(OutputError, match="was not written by cxr"):
            Outputs(tmp_path / "out").write_figure(name, figure())
    assert len(names(tmp_path / "out")) == 3


def test_what_is_ours_is_replaced(tmp_path):
    for _ in range(2):
        outputs = Outputs(tmp_path)
        outputs.refuse_to_replace("plot.png", "table.csv", "result.json")
        outputs.write_figure("plot.png", figure(), dpi=70 + _)
        outputs.write_text("table.csv", f"{_}")
        outputs.write_json("result.json", {**OURS, "outputs": [f"elsewhere/{tmp_path.name}/table.csv"], "run": _})
    assert (tmp_path / "table.csv").read_text() == "1"
    # Inputs that a document names are not vouched for.
    (tmp_path / "result.json").write_text(json.dumps({**OURS, "inputs": [{"path": "mine.csv"}], "outputs": []}))
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(OutputError, match="not written by cxr"):
        Outputs(tmp_path).write_text("mine.csv", "other")


def test_a_file_that_the_user_named_is_replaced_unless_it_is_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    for path in (tmp_path / "weights.json", images / "weights.json"):
        path.write_text("old")
    outputs = Outputs(tmp_path / "out", images=images)
    outputs.write_text("weights.json", "new", folder=Path(), named_by_user=True)
    assert (tmp_path / "weights.json").read_text() == "new"
    for target in (images / "weights.json", Path("images/../images/weights.json")):
        with pytest.raises(OutputError, match="is an input"):
            outputs.write_text(target, "new", folder=Path(), named_by_user=True)
    (tmp_path / "link").symlink_to(images)
    with pytest.raises(OutputError, match="is an input"):
        outputs.write_text("link/weights.json", "new", folder=Path(), named_by_user=True)
    outputs.write_text(images / "new.json", "new", folder=Path(), named_by_user=True)  # takes the place of nothing
    assert (images / "weights.json").read_text() == "old"


def test_a_document_beside_a_single_file_vouches_for_all_that_was_written_with_it(tmp_path):
    outputs = Outputs(tmp_path)
    for name in ("p.csv", "p-failures.csv"):
        outputs.write_text(name, "old")
    outputs.write_json("p.csv.result.json", {**OURS, "outputs": [str(path) for path in outputs.written]})
    again = Outputs(tmp_path)
    again.refuse_to_replace("p.csv", "p-failures.csv", "p.csv.result.json")
    again.write_text("p.csv", "new")
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(OutputError, match="not written by cxr"):
        again.refuse_to_replace("mine.csv")


def test_where_the_document_of_a_command_belongs(tmp_path):
    out = tmp_path / "out"
    assert Outputs(out).result_path() is None
    assert Outputs(out, keeps_result=True).result_path() == out / "result.json"
    outputs = Outputs(out)
    outputs.write_text(tmp_path / "w.csv", "", folder=Path(), named_by_user=True)
    assert outputs.result_path() == tmp_path / "w.csv.result.json"
    outputs.write_text("plots/a.csv", "")
    assert outputs.result_path() == out / "result.json"


# -------------------------------------------------------------------------------------------- what is not read at all


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device")):
        for read in (read_input, describe_input):
            with pytest.raises(InputError, match=f"is {kind}, not a file"):
                read(path)


def test_files_larger_than_the_free_memory_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    with open(path, "wb") as stream:
        stream.truncate(2**40)  # sparse: it takes no space
    with pytest.raises(InputError, match="1,099,511,627,776 bytes"):
        read_input(path)
    monkeypatch.setattr(limits, "free_memory", lambda: 1000)
    path.write_bytes(b"a" * 101)
    with pytest.raises(InputError, match="at most 100 bytes"):
        read_input(path)
    path.write_bytes(b"a" * 100)
    assert read_input(path) == b"a" * 100
    with pytest.raises(LabelTableError, match="too little memory"):
        unpack(path, gzip.compress(b"a" * 101))
    monkeypatch.setattr(limits, "free_memory", lambda: None)
    assert unpack(path, gzip.compress(b"a" * 101)) == b"a" * 101


def test_free_memory_is_a_number_of_bytes():
    free = limits.free_memory()
    assert free is None or 2**20 < free < 2**50


@pytest.mark.parametrize(
    "protocol",
    [
        "reference",
        "dir",
        "jupyter",
        "generic",
        "asyncwrapper",
        "asynclocal",
        "data",
        "git",
        "zip",
        "filecache",
    ],
)
def test_addresses_of_other_protocols_are_refused(protocol):
    with pytest.raises(InputError, match=f"not read from {protocol}://"):
        read_input(Path(f"{protocol}://x/train.csv"))


def test_what_a_protocol_raises_is_an_error_of_ours(monkeypatch):
    fsspec = pytest.importorskip("fsspec")

    def fail(*arguments, **options):
        raise TypeError("unexpected\nargument")

    monkeypatch.setattr(fsspec, "open", fail)
    with pytest.raises(InputError, match="cannot be read: unexpected"):
        read_input(Path("s3://bucket/train.csv"))


def test_what_a_killed_process_left_is_removed(tmp_path):
    from cxr_cli.data.files import atomic_path, remove_abandoned

    target = tmp_path / "a[b].csv"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        left = tmp_path / temporary.name.replace(temporary.name[-20:-8], "x" * 12)
        left.write_text("half")
    others = [tmp_path / name for name in (".a[b]-x.tmp.csv", ".ab-0123456789abcdef.tmp.csv", "a[b]-1.csv")]
    for other in others:
        other.write_text("mine")
    remove_abandoned(target)
    assert not left.exists()
    assert target.read_text() == "whole" and all(other.exists() for other in others)
