"""Every command on damaged and hostile inputs, in this process: what one of its own adds is in test_faults."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import sys

import numpy as np
import pytest
from PIL import Image

from cxr_cli.cli.app import app
from cxr_cli.data.labels import read_labels
from cxr_cli.errors import CxrError
from tests.robustness import harness
from tests.robustness.harness import EXAMPLES, NEVER
from tests.robustness.mutants import mutants
from tests.robustness.seeds import CHEXPERT, COURSE, NIH

#: Those that read a label table.
COMMANDS = [command.name for command in app.registered_commands if "TRAIN" in EXAMPLES.get(command.name, ([],))[-1]]
every_command = pytest.mark.parametrize("command", COMMANDS)
#: Commands that do all their work in a few hundredths of a second.
QUICK = ["explore", "check-leakage", "split", "weights"]


@pytest.fixture
def run(cxr, monkeypatch):
    """Run a command in an empty folder and hold it against the promise."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments, codes=(0, 1, 2)):
        result = cxr(*arguments)
        seen = f"{arguments}: exit {result.exit_code}\n{result.stdout[-1500:]}\n{result.stderr[-3000:]}"
        assert not NEVER.search(result.output), seen
        assert result.exit_code in codes, seen
        if result.exit_code == 2 and "leakage" not in str(arguments[0]):
            assert "error" in result.stderr.lower(), seen
        if "--json" in arguments and result.exit_code != 2:
            json.loads(result.stdout, parse_constant=pytest.fail)
        assert "\x1b" not in result.output, seen
        return result

    return run


def with_table(command, path, *, json_too=False):
    """Return the quick example of a command with a table of ours in the place of the first."""
    given = [str(path) if item == "TRAIN" else item for item in EXAMPLES[command][1]]
    return [command, *given, *(["--json"] if json_too else [])]


def repeated(table: bytes, n: int) -> bytes:
    """Return a table with its rows n times, under other names of images and patients."""
    header, *rows = table.splitlines(keepends=True)
    made = [header]
    for turn in range(n):
        made += [re.sub(rb"0000(\d)", b"%04d\\1" % turn, row) for row in rows]
    return b"".join(made)


TABLES = [repeated(NIH, 4), repeated(CHEXPERT, 4), repeated(COURSE, 3)]


def test_100_mutated_tables_in_every_quick_command(run, world, tmp_path):
    path = tmp_path / "table.csv"
    n_read = 0
    for index, content in enumerate(mutants(TABLES, 100, seed=11, most=3)):
        path.write_bytes(content)
        try:
            read_labels(path)
        except CxrError:
            run(*with_table(QUICK[index % len(QUICK)], path), codes=[2])
            continue
        n_read += 1
        for command in (QUICK[index % len(QUICK)], QUICK[(index + 1) % len(QUICK)]):
            run(*world.place(with_table(command, path, json_too=index % 2 == 0)))
    assert 20 < n_read < 90
    assert world.untouched()


def xlsx() -> bytes:
    return b"PK\x03\x04" + b"\0" * 30


BAD_TABLES = {
    "latin-1": "Image,PatientId,Mass\nbildgrö\xdfe.png,1,0\n".encode("latin-1"),
    "damaged utf-16": "Image,PatientId,Mass\na.png,1,0\n".encode("utf-16")[:-1],
    "no header": b"a.png,1,0\nb.png,0,1\n",
    "empty": b"",
    "header only": b"Image,PatientId,Mass\n",
    "binary": bytes(range(256)) * 10,
    "archive": xlsx(),
    "web page": b"<!DOCTYPE html><html>log in</html>",
    "wide": b"," * 4_000_000,
    "another header": b"foo,bar\n1,2\n",
}


@every_command
@pytest.mark.parametrize("kind", sorted(BAD_TABLES))
def test_bad_tables(command, kind, run, world, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(BAD_TABLES[kind])
    result = run(*world.place(with_table(command, path)), codes=[2])
    assert result.stdout == ""
    assert "table.csv" in result.stderr.replace("\n", "")
    assert [item.name for item in tmp_path.iterdir()] == ["table.csv"]


@every_command
def test_missing_table_and_folder_instead_of_table(command, run, world, tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        result = run(*world.place(with_table(command, path)), codes=[2])
        assert result.stdout == ""


# ------------------------------------------------------------------------------------------------ hostile names


@pytest.fixture
def trap(tmp_path):
    """Make a folder of images with ways out of it, a table that names them, and note whatever is opened outside."""
    secret = tmp_path / "secret.png"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(secret)
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    names = []
    for index in range(8):
        Image.fromarray(np.roll(pixels, 5 * index + 5)).save(images / f"good{index}.png")
        names.append(f"good{index}.png")
    (images / "link.png").symlink_to(secret)
    (images / "up.png").symlink_to("../secret.png")
    (images / "out").symlink_to(tmp_path)
    (images / "loop.png").symlink_to("loop.png")
    (images / "broken.png").symlink_to("nowhere.png")
    os.mkfifo(images / "pipe.png")
    (images / "folder.png").mkdir()
    (images / "empty.png").write_bytes(b"")
    (images / "zero.png").symlink_to("/dev/zero")
    (images / "[bold]x.png").write_bytes(secret.read_bytes())
    links = ["link.png", "up.png", "out/secret.png", "loop.png", "broken.png", "pipe.png", "folder.png", "empty.png"]
    odd = [
        "zero.png",
        "[bold]x.png",
        "[/red]",
        "sub",
        ".",
        "...png",
        "a" * 300 + ".png",
        "=cmd()",
        "-x.png",
        "$(id).png",
    ]
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Image", "PatientId", "Mass", "Edema"])
        for index, name in enumerate([*names, *links, *odd]):
            writer.writerow([name, f"[i]{index}[/i]", index % 2, index % 3 // 2])
    opened = []
    watching = True

    def note(event, arguments):
        if watching and event == "open" and isinstance(arguments[0], (str, bytes)):
            opened.append(os.path.realpath(os.fsdecode(arguments[0])))

    sys.addaudithook(note)
    yield table, images, secret, opened
    watching = False


def hostile_command_lines(table, images):
    yield "explore", table, "--images", images, "--check-images", "--workers", "1"
    yield "explore", table, "--images", images, "--n-images", "30", "--json"
    yield "check-leakage", table, table.with_name("other.csv"), "--images", images, "--workers", "1"
    yield "preprocess", table, "--images", images, "--image-size", "16", "--workers", "1", "--no-plots"
    yield (
        "preprocess",
        table,
        "--images",
        images,
        "--image-size",
        "16",
        "--workers",
        "1",
        "--format",
        "png",
        "--no-plots",
    )
    yield "split", table
    yield "weights", table


def test_links_and_odd_names_in_a_table_are_never_followed(run, trap):
    table, images, secret, opened = trap
    table.with_name("other.csv").write_bytes(table.read_bytes())
    before = harness.digest(images)
    for line in hostile_command_lines(table, images):
        run(*line, codes=[0] if line[0] in ("split", "weights") else [1])
    assert str(images / "good0.png") in opened
    assert str(secret) not in opened
    assert "/dev/zero" not in opened
    assert harness.digest(images) == before


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "images/../../secret.png", "C:\\x.png", "a\x1b[2J.png"]
)
def test_names_that_leave_the_folder(run, trap, name):
    table, images, secret, opened = trap
    with table.open("a", newline="") as stream:
        csv.writer(stream).writerow([name, "99", "1", "0"])
    table.with_name("other.csv").write_bytes(b"Image,PatientId,Mass,Edema\ngood0.png,1,1,0\n")
    for line in hostile_command_lines(table, images):
        # preprocess reports this image among those that failed, and goes on.
        result = run(*line, codes=[1] if line[0] == "preprocess" else [2])
        if result.exit_code == 2:
            assert "table.csv" in result.stderr.replace("\n", "")
    assert str(secret) not in opened
    assert "/etc/passwd" not in opened


# ----------------------------------------------------------------------------------------------- damaged images


def test_a_folder_of_damaged_images_does_not_stop_the_others(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    names = [f"{index:03}.png" for index in range(220)]
    for name, content in zip(names[:200], mutants([stream.getvalue()], 200, seed=1, most=3), strict=True):
        (images / name).write_bytes(content)
    for index, name in enumerate(names[200:]):
        Image.fromarray(np.roll(pixels, 7 * index + 7)).save(images / name)
    for table, part in (("train.csv", names[::2]), ("valid.csv", names[1::2])):
        rows = [f"{name},{name[:3]},{index % 2}" for index, name in enumerate(part)]
        (tmp_path / table).write_text("\n".join(["Image,PatientId,Mass", *rows]))
    before = harness.digest(images)
    result = run("explore", tmp_path / "train.csv", "--images", images, "--check-images", "--json", codes=[1])
    assert '"n_' in result.stdout
    result = run("check-leakage", "train.csv", "valid.csv", "--images", images, "--json", codes=[1, 2])
    json.loads(result.stdout)
    for form in ("npy", "png"):
        result = run(
            "preprocess", "train.csv", "--images", images, "--image-size", "16", "--format", form, "--json", codes=[1]
        )
        assert 10 <= json.loads(result.stdout)["result"]["n_done"] < 110
    assert harness.digest(images) == before


def test_damaged_leftovers_of_an_unfinished_run(run, world, tmp_path, monkeypatch):
    def written(folder):  # but what says how many images were done before
        return {name: held for name, held in harness.digest(folder).items() if not name.endswith("result.json")}

    line = world.place(["preprocess", *EXAMPLES["preprocess"][1], "--workers", "1"])
    run(*line, codes=[0])
    whole = written(tmp_path)
    partial = tmp_path / "cxr-output/preprocess/.partial"
    # Stopped where the first output is to be put in its place.
    replace = os.replace

    def stop(source, target):
        if os.path.basename(target) == "images.npy":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        run(*line, codes=[2])
    journal = (partial / "journal.jsonl").read_bytes()
    rows = (partial / "images.npy").read_bytes()
    assert journal.count(b"\n") > 40
    for content in [b"", b"{}", b"[]\n", b"\xff\n", b"[" * 9999 + b"\n", *mutants([journal], 20, seed=1, most=3)]:
        partial.mkdir(exist_ok=True)
        (partial / "journal.jsonl").write_bytes(content)
        (partial / "images.npy").write_bytes(rows)
        result = run(*line, codes=[0, 2])
        if result.exit_code == 2:
            assert "--start-over" in result.stderr
        else:
            assert written(tmp_path) == whole
    run(*line, "--start-over", codes=[0])
    assert written(tmp_path) == whole


# ------------------------------------------------------------------------------------------ outputs and packages


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "build-model"])
def test_a_link_in_the_place_of_an_output_is_not_followed(command, run, world, reference, tmp_path):
    outputs = reference(command).outputs
    if command == "weights":  # a file that the user names is replaced, and so is a link to another
        outputs = {"weights.json": outputs["weights.json"]}
    precious = tmp_path.parent / f"precious-{command}"
    precious.write_bytes(b"precious")
    for name in outputs:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(precious)
    linked = harness.digest(tmp_path)
    run(command, *world.place(EXAMPLES[command][0]), codes=[0, 1] if command == "weights" else [2])
    assert precious.read_bytes() == b"precious"
    found = harness.digest(tmp_path)
    assert found == (reference(command).outputs if command == "weights" else linked)


def test_inputs_are_not_overwritten(run, world, tmp_path):
    table = tmp_path / "train.csv"
    table.write_bytes((world.data / "train-small.csv").read_bytes())
    run("split", table, "--output", tmp_path, "--no-plots", codes=[2])
    run("weights", table, "--save", table, "--no-plots", codes=[2])
    (tmp_path / "same.json").symlink_to(table)
    run("weights", table, "--save", tmp_path / "same.json", "--no-plots", codes=[2])
    os.link(table, tmp_path / "twin.json")
    run("weights", table, "--save", tmp_path / "twin.json", "--no-plots", codes=[2])
    assert table.read_bytes() == (world.data / "train-small.csv").read_bytes()


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("distributed", ["explore", "TRAIN", "--images", "IMAGES", "--check-images", "--cluster", "tcp://127.0.0.1:1"]),
        ("distributed", ["check-leakage", "TRAIN", "VALID", "--images", "IMAGES", "--cluster", "tcp://127.0.0.1:1"]),
        ("distributed", ["preprocess", "TRAIN", "--images", "IMAGES", "--cluster", "tcp://127.0.0.1:1"]),
        ("fsspec", ["explore", "s3://bucket/table.csv"]),
        ("fsspec", ["weights", "memory://table.csv"]),
    ],
)
def test_missing_package(run, world, monkeypatch, package, arguments):
    monkeypatch.setitem(sys.modules, package, None)
    result = run(*world.place(arguments), codes=[2])
    assert "not installed" in result.stderr or "pip install" in result.stderr
    assert result.stdout == ""
