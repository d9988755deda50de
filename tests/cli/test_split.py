from __future__ import annotations

import json
import shutil

import pytest

from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import read_labels
from cxr_cli.services.split.split import fold_fractions, split


@pytest.fixture
def labels(tmp_path):
    """A table of 60 patients, the first 30 with two images; a third of the images show a mass, two a nodule."""
    lines = ["Image,Mass,Nodule,PatientId"]
    for patient in range(60):
        for image in range(2 if patient < 30 else 1):
            lines.append(f"{patient:08}_{image:03}.png,{int(patient % 3 == 0)},{int(patient in (40, 41))},{patient}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_tables_on_stdout_talk_on_stderr(cxr, labels):
    done = cxr("split", labels)
    assert done.exit_code == 0
    assert "90 images, 60 patients, seed 0" in done.stdout
    assert "± test" in done.stdout
    assert "check-leakage on the written tables: clean" in done.stdout
    assert "saved cxr-output/split/train.csv" in done.stderr and "saved cxr-output/split/split.png" in done.stderr
    assert "warning: no positives in valid, test of Nodule (2 in 2 patients)" in done.stderr
    assert "saved" not in done.stdout and "warning" not in done.stdout


def test_golden(cxr, sample_data, golden, tmp_path):
    shutil.copy(sample_data / "train-small.csv", tmp_path)
    golden("split", cxr("split", "train-small.csv", "--min-positives", 1, "--json").stdout)


def test_json_is_what_the_service_returns(cxr, labels, tmp_path):
    done = cxr("split", labels, "--fractions", "train=0.6,test=0.4", "--seed", 7, "--output", "out", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 0 and document["command"] == "split"
    assert [item["path"] for item in document["inputs"]] == [str(labels)]
    assert document["outputs"] == [
        f"out/{name}" for name in ("train.csv", "test.csv", "split.json", "split.png", "result.json")
    ]
    assert (tmp_path / "out" / "split.png").read_bytes().startswith(b"\x89PNG")
    again = split(
        read_labels(labels), {"train": 0.6, "test": 0.4}, seed=7, outputs=Outputs(tmp_path / "again", plots=False)
    )
    assert json.loads(json.dumps(again.to_dict()).replace(str(tmp_path / "again"), "out")) == document["result"]
    assert (tmp_path / "out" / "train.csv").read_bytes() == (tmp_path / "again" / "train.csv").read_bytes()


def test_tables_of_an_earlier_division_carry_a_warning(cxr, labels, tmp_path):
    assert "earlier" not in cxr("split", labels, "--folds", 5, "--output", "folds", "--no-plots").stderr
    done = cxr("split", labels, "--folds", 3, "--output", "folds", "--no-plots", "--json")
    assert done.exit_code == 0
    assert (
        "warning: left over from an earlier split into this folder: folds/fold-4.csv, folds/fold-5.csv;" in done.stderr
    )
    left_over = json.loads(done.stdout)["result"]["left_over"]
    assert [file["path"] for file in left_over] == ["folds/fold-4.csv", "folds/fold-5.csv"]
    assert json.loads((tmp_path / "folds" / "split.json").read_text())["left_over"] == left_over


def test_many_folds_are_shown_as_a_range(cxr, labels):
    done = cxr("split", labels, "--folds", 6, "--no-plots")
    assert done.exit_code == 0
    assert "fewest" in done.stdout and "± at worst" in done.stdout
    assert "split.png" not in done.stderr
    result = json.loads(cxr("split", labels, "--folds", 6, "--json").stdout)["result"]
    assert [item["name"] for item in result["splits"]] == list(fold_fractions(6))
    assert result["training"] is None


def test_a_minimum_that_cannot_be_had_is_bad_news(cxr, labels):
    done = cxr("split", labels, "--min-positives", 3)
    assert done.exit_code == 1
    assert "Prevalence relative to the" in done.stdout and "×" in done.stdout
    assert "valid has fewer than 3 positives of " in done.stderr
    assert (cxr("split", labels, "--min-positives", 3, "--json").exit_code) == 1


def test_shares_that_a_minimum_bends_are_said(cxr, labels):
    # A third of 90 images shows a mass: ten of them in valid do not fit into a fair tenth of nine images.
    done = cxr("split", labels, "--min-positives", 10)
    assert "of the images instead of 10.0 %" in done.stderr
    assert "instead of" not in cxr("split", labels).stderr


def test_a_pathology_of_one_patient(cxr, tmp_path):
    rows = "".join(f"{n}.png,{n % 2},{int(n == 0)},{n}\n" for n in range(30))
    (tmp_path / "labels.csv").write_text("Image,Mass,Hernia,PatientId\n" + rows)
    assert "of Hernia (1 in 1 patient)\n" in cxr("split", "labels.csv", "--no-plots").stderr


def test_official_lists(cxr, labels, tmp_path):
    names = [line.split(",")[0] for line in labels.read_text().splitlines()[1:]]
    (tmp_path / "tv.txt").write_text("\n".join(names[60:]))
    (tmp_path / "test.txt").write_text("\n".join(names[:60]))
    done = cxr("split", labels, "--official", "tv.txt,test.txt")
    assert done.exit_code == 0
    assert "test (official)" in done.stdout
    assert "2.0 images per patient where the others have 1.0" in done.stderr
    inputs = json.loads(cxr("split", labels, "--official", "tv.txt,test.txt", "--json").stdout)["inputs"]
    assert [item["path"] for item in inputs] == [str(labels), "tv.txt", "test.txt"]


def test_leaking_official_lists_are_bad_news(cxr, labels, tmp_path):
    names = [line.split(",")[0] for line in labels.read_text().splitlines()[1:]]
    (tmp_path / "tv.txt").write_text("\n".join(names[::2]))
    (tmp_path / "test.txt").write_text("\n".join(names[1::2]))
    done = cxr("split", labels, "--official", "tv.txt,test.txt")
    assert done.exit_code == 1
    assert "LEAKAGE: train and test share" in done.stdout


def test_images_divided_one_by_one_carry_a_warning(cxr, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("Image,Mass\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(30)))
    refused = cxr("split", path)
    assert refused.exit_code == 2 and "names no patients" in refused.stderr and not refused.stdout
    done = cxr("split", path, "--allow-image-split")
    assert done.exit_code == 0 and "images of one patient may be in several splits" in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--folds", 3, "--fractions", "0.5,0.5"], "--fractions and --folds exclude each other"),
        (["--fractions", "0.5,0.6"], "the fractions add up to 1.1"),
        (["--official", "one.txt"], "--official one.txt; expected two files"),
        (["--folds", 1], "--folds 1; expected at least 2"),
        (["--folds", 3, "--min-positives", 2], "--min-positives 2 needs a training split"),
    ],
)
def test_what_cannot_be_done(cxr, labels, options, complaint):
    done = cxr("split", labels, *options)
    assert done.exit_code == 2
    assert complaint in done.stderr and not done.stdout


def test_the_input_is_not_overwritten(cxr, labels, tmp_path):
    table = labels.rename(tmp_path / "train.csv")
    before = table.read_bytes()
    done = cxr("split", table, "--output", ".")
    assert done.exit_code == 2 and "is an input" in done.stderr
    assert table.read_bytes() == before
