from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_cli.data.labels import read_labels
from cxr_cli.services.explore.explore import explore

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
PLOTS = ("label-distribution", "co-occurrence", "images-per-patient", "images", "intensities")


@pytest.fixture
def train(sample_data):
    return sample_data / "train-small.csv"


@pytest.fixture
def copied(sample_data, tmp_path):
    """A table of 4 rows with its images, free to be changed."""
    lines = (sample_data / "train-small.csv").read_text().splitlines()[:5]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "images").mkdir()
    for line in lines[1:]:
        name = line.partition(",")[0]
        shutil.copy(sample_data / "images-small" / name, tmp_path / "images" / name)
    return tmp_path / "t.csv", sorted((tmp_path / "images").iterdir())


def test_golden(cxr, train, sample_data, golden):
    done = cxr("explore", train, "--check-images", "--n-images", 3, "--no-plots", "--json")
    assert done.exit_code == 0
    golden("explore", done.stdout.replace(str(sample_data), "sample_data"))


def test_json_is_what_the_service_returns(cxr, train, sample_data):
    done = cxr("explore", train, "--n-images", 5, "--seed", 3, "--json", "--no-plots")
    document = json.loads(done.stdout)
    expected = explore(read_labels(train), sample_data / "images-small", n_images=5, seed=3)
    assert document["result"] == json.loads(json.dumps(expected.to_dict()))
    assert document["command"] == "explore" and document["outputs"] == []
    assert [item["path"] for item in document["inputs"]] == [str(train)]


def test_tables_on_stdout_talk_on_stderr(cxr, train, tmp_path):
    done = cxr("explore", train)
    assert done.exit_code == 0
    for text in ("200 × 16", "images per patient", "Infiltration", "110 images (55.0 %) have none", "Random images"):
        assert text in done.stdout
    assert "--check-images opens all of them" in done.stderr
    for name in PLOTS:
        path = f"cxr-output/explore/{name}.png"
        assert f"saved {path}" in done.stderr and "saved" not in done.stdout
        with Image.open(tmp_path / path) as image:
            image.verify()
    assert len(list((tmp_path / "cxr-output" / "explore").iterdir())) == len(PLOTS) + 1  # result.json


def test_groups_differences_and_issues_are_shown(cxr, tmp_path):
    rows = []
    for number in range(400):
        finding = "Edema" if number % (3 if number < 200 else 20) == 0 else "No Finding"
        view = "AP" if number < 200 else "PA"
        age = 414 if number == 7 else 40
        rows.append(f"{number:08}_000.png,{finding},0,{number},{age},{'MF'[number % 2]},{view},1,1,1,1\n")
    (tmp_path / "nih.csv").write_text(NIH_HEADER + "".join(rows))
    done = cxr("explore", "nih.csv", "--output", "out")
    assert done.exit_code == 0
    assert "Possible shortcuts" in done.stdout and "6.7 ×" in done.stdout
    titles = ("Issues of the table", "Possible shortcuts", "Pathologies", "Prevalence by", "How the table was read")
    places = [done.stdout.index(title) for title in titles if title in done.stdout]
    assert places == sorted(places) and len(places) >= 4
    assert "A model can learn to recognise the group" in done.stdout
    assert "414" in done.stdout and "age unknown: 1 images" in done.stdout
    assert "no image folder was found beside the table" in done.stderr
    assert (tmp_path / "out" / "age-sex-view.png").exists()
    assert not (tmp_path / "out" / "images.png").exists()


def test_missing_images_are_reported_and_no_error(cxr, tmp_path, sample_data, train):
    (tmp_path / "empty").mkdir()
    done = cxr("explore", train, "--images", "empty", "--check-images", "--no-plots")
    assert done.exit_code == 0
    assert "warning: 200 of 200 images named in the table are not in empty" in done.stderr


def test_broken_images_are_bad_news(cxr, copied):
    table, images = copied
    images[0].write_bytes(images[0].read_bytes()[:3000])
    images[1].write_bytes(b"404")
    flat = np.full((64, 64), 9, dtype=np.uint8)
    Image.fromarray(flat).save(images[2])
    done = cxr("explore", table, "--check-images", "--json")
    check = json.loads(done.stdout)["result"]["images"]["check"]
    assert done.exit_code == 1
    assert "2 of the images opened are broken" in done.stderr
    assert {item["image"] for item in check["broken"]} == {images[0].name, images[1].name}
    assert check["issues"] == {"near-constant": 1} and check["n_opened"] == 2
    shown = cxr("explore", table, "--no-plots").stdout
    assert "Broken images" in shown and "Images with issues" in shown and "near-constant" in shown


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(cxr, train):
    one, two = (
        cxr("explore", train, "--check-images", "--json", "--no-plots", "--workers", number) for number in (1, 2)
    )
    assert one.exit_code == two.exit_code == 0
    assert one.stdout == two.stdout


def test_paths_of_images_are_as_the_folder_was_given(cxr, copied, tmp_path):
    _, images = copied
    images[0].write_text("text")
    names = [path.name for path in images]
    for given, shown in (("images", "images"), ("./images/", "images"), (tmp_path / "images", tmp_path / "images")):
        done = cxr("explore", "t.csv", "--images", given, "--check-images", "--json")  # the plots open these paths
        check = json.loads(done.stdout)["result"]["images"]["check"]
        assert {item["path"] for item in check["broken"]} == {f"{shown}/{names[0]}"}
        assert {item["path"] for item in check["sample"]} == {f"{shown}/{name}" for name in names[1:]}
    (tmp_path / "images").rename(tmp_path / "images_001")
    check = json.loads(cxr("explore", "t.csv", "--json", "--no-plots").stdout)["result"]["images"]["check"]
    assert {item["path"] for item in check["sample"]} <= {f"images_001/{name}" for name in names}


def test_same_seed_same_bytes_other_seed_other_images(cxr, train, tmp_path):
    outputs = []
    for folder in ("one", "two"):
        done = cxr("explore", train, "--seed", 4, "--n-images", 2, "--output", folder, "--json")
        document = json.loads(done.stdout)
        assert all(Path(path).parent == Path(folder) for path in document.pop("outputs"))
        assert document.pop("arguments") and document.pop("seal")
        outputs.append(document)
    assert outputs[0] == outputs[1]
    for path in (tmp_path / "one").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    other = json.loads(cxr("explore", train, "--seed", 5, "--n-images", 2, "--no-plots", "--json").stdout)
    first, second = (
        [item["image"] for item in document["result"]["images"]["check"]["sample"]] for document in (outputs[0], other)
    )
    assert len(first) == len(second) == 2 and first != second


def test_no_images_wanted_none_opened(cxr, train):
    check = json.loads(cxr("explore", train, "--n-images", 0, "--no-plots", "--json").stdout)["result"]["images"][
        "check"
    ]
    assert (check["n_opened"], check["statistics"], check["sample"]) == (0, None, [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("", "empty"),
        ("Image,Mass,PatientId\n", "no rows"),
        ("Image;Mass,PatientId\na.png;1,3\n", "commas"),
        ("Image,Mass,Mass,PatientId\na.png,1,1,3\n", "Mass"),
        ("Image,Mass,PatientId\na.png,2,3\n", "line 2"),
        ("Image,Mass,PatientId\n../../etc/passwd,1,3\n", "leaves the image folder"),
        ("Image,Mass,PatientId\n" + "a.png,1\n" * 10_000, "line 2"),
        ("A,B\n1,2\n", "no column names the image"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "PNG"),
    ],
)
def test_bad_tables_are_one_clear_error(cxr, tmp_path, content, said):
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = cxr("explore", path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {path}") and said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3 and "Traceback" not in done.stderr
    assert done.stdout == "" and not (tmp_path / "cxr-output").exists()


def test_bad_folders_are_one_clear_error(cxr, tmp_path, train):
    assert cxr("explore", tmp_path).exit_code == 2
    gone = cxr("explore", train, "--images", "gone")
    assert gone.exit_code == 2 and "gone: no such image folder" in gone.stderr
    taken = tmp_path / "taken"
    taken.write_text("a file")
    done = cxr("explore", train, "--output", taken)
    assert done.exit_code == 2 and "taken" in done.stderr and taken.read_text() == "a file"
    assert done.stdout == ""


def test_images_that_should_be_checked_and_are_nowhere(cxr, train, tmp_path):
    shutil.copy(train, tmp_path / "alone.csv")
    assert cxr("explore", "alone.csv", "--no-plots").exit_code == 0
    done = cxr("explore", "alone.csv", "--no-plots", "--check-images")
    assert done.exit_code == 2 and "Give one with --images" in done.stderr and done.stdout == ""


def test_a_cluster_with_nothing_to_do(cxr, train):
    done = cxr("explore", train, "--no-plots", "--cluster", "tcp://127.0.0.1:1")
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr == "error: --cluster has no effect without --check-images\n"
    assert cxr("explore", train, "--no-plots", "--workers", 1).exit_code == 0


def test_mac_side_files_are_never_opened(cxr, copied):
    table, images = copied
    (images[0].parent / f"._{images[0].name}").write_bytes(b"Mac OS X")
    done = cxr("explore", table, "--check-images", "--json", "--no-plots")
    result = json.loads(done.stdout)["result"]["images"]
    assert done.exit_code == 0 and result["n_not_named"] == 0 and result["check"]["n_opened"] == 4
