from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cxr_cli.data.labels import read_labels
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.split_images import fingerprint_splits
from tests.drawn_images import image_pixels, save
from tests.services.check_leakage.test_check_leakage import COURSE


@pytest.fixture
def sample(sample_data):
    return sample_data / "train", sample_data / "valid"


def result_of(done):
    return json.loads(done.stdout)["result"]


def table(path, rows):
    path.write_text(COURSE + "".join(f"{image},0,{patient},1\n" for image, patient in rows))
    return path


def test_json_is_the_services_result(cxr, sample, sample_data):
    done = cxr("check-leakage", *sample, "--images", sample_data / "images-small", "--json", "--no-plots")
    tables = {name: read_labels(sample_data / f"{name}-small.csv") for name in ("train", "valid")}
    images = fingerprint_splits(tables, dict.fromkeys(tables, sample_data / "images-small"))
    assert done.exit_code == 1
    assert result_of(done) == json.loads(json.dumps(check_leakage(tables, images).to_dict()))


def test_golden(cxr, golden, sample, sample_data):
    done = cxr(
        "check-leakage",
        *sample,
        "--images",
        sample_data / "images-small",
        "--remove-from",
        "valid",
        "--remove",
        "near-duplicates",
        "--json",
        "--no-plots",
    )
    assert done.exit_code == 0
    golden("check-leakage", done.stdout.replace(str(sample_data), "sample_data"))


def test_what_was_planted_in_the_sample_data_is_found(cxr, sample, sample_data):
    found = result_of(cxr("check-leakage", *sample, "--images", sample_data / "images-small", "--json", "--no-plots"))
    (pair,) = found["pairs"]
    assert pair["patients"]["n_patients"] == 5
    (copy,) = pair["near_duplicates"]["pairs"]
    assert copy["different_patient"] is True
    assert pair["candidates"]["n_pairs"] == 0
    assert found["n_copies_under_different_patient"] == 1


def test_tables_and_plots(cxr, sample, sample_data, tmp_path):
    done = cxr("check-leakage", *sample, "--images", sample_data / "images-small", "--workers", 1)
    assert done.exit_code == 1
    assert done.stdout.startswith("1 copy under another patient id")
    assert "6 of 50 valid images, 12.0 %, come from patients that are also in train.\nLeakage found.\n" in done.stdout
    assert f"{sample_data / 'train'} is {sample_data / 'train-small.csv'}" in done.stderr
    for name in ("split-sizes.png", "near-duplicates.png"):
        path = tmp_path / "cxr-output" / "check-leakage" / name
        assert f"saved cxr-output/check-leakage/{name}" in done.stderr
        with Image.open(path) as image:
            image.load()


def test_clean_splits_exit_0(cxr, tmp_path):
    train, valid = table(tmp_path / "train.csv", [("a.png", 1)]), table(tmp_path / "valid.csv", [("b.png", 2)])
    done = cxr("check-leakage", train, valid, "--no-plots")
    assert done.exit_code == 0
    assert done.stdout.rstrip().endswith("No leakage found.")
    note = "note: images were not compared; --images DIR finds copies under other names and patient ids\n"
    assert done.stderr == note


def test_short_names_in_the_current_folder(cxr, tmp_path, sample_data):
    for name in ("train", "valid"):
        shutil.copy(sample_data / f"{name}-small.csv", tmp_path)
    done = cxr("check-leakage", "train", "valid", "--no-plots", "--json")
    assert done.exit_code == 1
    assert [split["path"] for split in result_of(done)["splits"]] == ["train-small.csv", "valid-small.csv"]


def test_removal_is_checked_on_the_written_file(cxr, tmp_path, sample_data):
    arguments = (sample_data / "train", sample_data / "valid", "--no-plots")
    done = cxr("check-leakage", *arguments, "--remove-from", "valid", "--output", tmp_path / "out")
    assert done.exit_code == 0
    assert "The copies are clean." in done.stdout
    original = (sample_data / "valid-small.csv").read_bytes().splitlines(keepends=True)
    written = (tmp_path / "out" / "valid-small.csv").read_bytes().splitlines(keepends=True)
    assert len(written) < len(original)
    remaining = iter(original)
    assert all(line in remaining for line in written)
    again = cxr("check-leakage", sample_data / "train", tmp_path / "out" / "valid-small.csv", "--no-plots")
    assert again.exit_code == 0


def test_what_removal_leaves_is_bad_news(cxr, sample, sample_data):
    done = cxr(
        "check-leakage", *sample, "--images", sample_data / "images-small", "--remove-from", "valid", "--no-plots"
    )
    assert done.exit_code == 1
    assert "The copies still share something" in done.stdout


def test_ids_can_be_hidden_everywhere(cxr, sample, sample_data):
    plain = cxr("check-leakage", *sample, "--json", "--no-plots")
    ids = [item["patient_id"] for item in result_of(plain)["pairs"][0]["patients"]["patients"]]
    for options in (["--json", "--no-plots"], []):
        done = cxr("check-leakage", *sample, "--images", sample_data / "images-small", "--hide-ids", *options)
        assert done.exit_code == 1
        assert "patient-" in done.stdout
        assert not any(patient in done.stdout + done.stderr for patient in ids)
        assert "_000.png" not in done.stdout + done.stderr


def test_broken_images_are_named_and_never_clean(cxr, tmp_path):
    train = table(tmp_path / "train.csv", [("a.png", 1), ("gone.png", 1)])
    valid = table(tmp_path / "valid.csv", [("b.png", 2)])
    save(tmp_path / "images" / "a.png", image_pixels(1))
    save(tmp_path / "images" / "b.png", image_pixels(2)).write_bytes(b"not an image")
    done = cxr("check-leakage", train, valid, "--images", tmp_path / "images", "--no-plots")
    assert done.exit_code == 2
    assert "b.png" in done.stdout and "not an image" in done.stdout
    assert "warning: not checked: train: images without a file: 1\n" in done.stderr
    assert done.stdout.rstrip().endswith("Nothing found, but not everything could be checked.")


def test_one_image_folder_per_split(cxr, tmp_path):
    pixels = image_pixels(1)
    save(tmp_path / "one" / "a.png", pixels)
    save(tmp_path / "two" / "a.png", 255 - pixels)
    train = table(tmp_path / "train.csv", [("a.png", 1)])
    valid = table(tmp_path / "valid.csv", [("a.png", 2)])
    done = cxr(
        "check-leakage",
        train,
        valid,
        "--images",
        tmp_path / "one",
        "--images",
        tmp_path / "two",
        "--json",
        "--no-plots",
    )
    (pair,) = result_of(done)["pairs"][0]["near_duplicates"]["pairs"]
    assert pair["alteration"] == "inverted"


def test_a_second_run_uses_the_cache(cxr, sample, sample_data, tmp_path, monkeypatch):
    arguments = (
        *("check-leakage", *sample, "--images", sample_data / "images-small"),
        *("--cache", tmp_path / "cache.npz", "--workers", 1, "--json", "--no-plots"),
    )
    first = cxr(*arguments)

    def refuse(path):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("cxr_cli.services.check_leakage.fingerprints.read_content", refuse)
    second = cxr(*arguments)
    assert first.stdout == second.stdout


def test_the_number_of_workers_changes_nothing(cxr, sample, sample_data):
    arguments = ("check-leakage", *sample, "--images", sample_data / "images-small", "--json", "--no-plots")
    assert cxr(*arguments, "--workers", 1).stdout == cxr(*arguments, "--workers", 2).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.csv"], "one split given, and the table has no column of splits; expected two or more"),
        (["train.csv", "train.csv"], "same file"),
        (["train.csv", "nothing"], "no nothing.csv and no nothing-*.csv"),
        (["train.csv", "missing.csv"], "missing.csv: no such file"),
        (["train.csv", "valid.csv", "--remove-from", "test"], "--remove-from test: no splits match"),
        (["train.csv", "valid.csv", "--remove-from", "valid,valid"], "named twice"),
        (["train.csv", "valid.csv", "--images", "nowhere"], "nowhere: no such image folder"),
        (["train.csv", "valid.csv", *["--images", "."] * 3], "--images given 3 times"),
        (
            ["train.csv", "valid.csv", "--near-distance", "70"],
            "--near-distance 70, --review-distance 60; expected",
        ),
        (
            ["train.csv", "valid.csv", "--review-correlation", "0.9"],
            "--review-correlation 0.9; expected 0 < review",
        ),
        (["train.csv", "valid.csv", "--schema", "other"], "no such schema"),
        (["train.csv", "valid.csv", "--images", ".", "--cache", "train.csv"], "not a cache of fingerprints"),
        (["train.csv", "valid.csv", "--cache", "cache.npz"], "--cache has no effect without --images"),
        (["train.csv", "valid.csv", "--cluster", "tcp://127.0.0.1:1"], "--cluster has no effect without --images"),
        (["train.csv", "valid.csv", "--remove", "patients"], "--remove has no effect without --remove-from"),
        (["train.csv", "valid.csv", "--remove-from", "valid", "--output", "."], "is an input"),
    ],
)
def test_what_cannot_be_done_exits_2_with_one_reason(cxr, tmp_path, arguments, message):
    table(tmp_path / "train.csv", [("a.png", 1)])
    table(tmp_path / "valid.csv", [("b.png", 1), ("c.png", 2)])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = cxr("check-leakage", *arguments, "--no-plots")
    assert done.exit_code == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_may_stand_in_an_alias_does_no_harm_without_images(cxr, sample):
    options = ["--workers", 2, "--near-distance", 30, "--review-correlation", 0.7, "--json", "--no-plots"]
    results = [json.loads(cxr("check-leakage", *sample, *given).stdout)["result"] for given in (options, options[-2:])]
    assert results[0] == results[1]


def test_the_plots_option_saves_nothing_else(cxr, sample, tmp_path):
    assert cxr("check-leakage", *sample, "--no-plots").exit_code == 1
    assert not (tmp_path / "cxr-output").exists()


def test_altered_copies_of_real_images_under_new_names(cxr, real_data, tmp_path):
    """One alteration per image, every image once; the other images of the second split are strangers."""
    images = sorted((real_data / "nih" / "images-small").glob("0*.png"))
    rows = [(image.name, index) for index, image in enumerate(images)]
    copies = tmp_path / "copies"
    alterations = (
        lambda image: image.resize((512, 512)),
        lambda image: image.point(lambda value: min(255, value * 1.2)),
        lambda image: image.point(lambda value: 128 + 0.8 * (value - 128)),
        lambda image: image.point(lambda value: 255 * (value / 255) ** 0.7),
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.point(lambda value: 255 - value),
    )
    copies.mkdir()
    for index, path in enumerate(images[:14]):
        with Image.open(path) as image:
            gray = image.convert("L")
        if index % 7 == 6:
            gray.save(copies / f"copy-{index}.jpg", quality=50)
        else:
            alterations[index % 7](gray).save(copies / f"copy-{index}.jpg", quality=95)
    table(tmp_path / "train.csv", rows)
    table(tmp_path / "valid.csv", [(f"copy-{index}.jpg", 1000 + index) for index in range(14)])
    done = cxr(
        *("check-leakage", "train", "valid", "--images", images[0].parent, "--images", copies, "--json", "--no-plots")
    )
    pairs = result_of(done)["pairs"][0]
    found = {(pair["first_image"], pair["second_image"]) for pair in pairs["near_duplicates"]["pairs"]}
    assert found == {(images[index].name, f"copy-{index}.jpg") for index in range(14)}
    assert pairs["candidates"]["n_pairs"] == 0
    assert result_of(done)["n_copies_under_different_patient"] == 14


def test_cell_texts_are_not_markup(cxr, tmp_path):
    train = table(tmp_path / "train.csv", [("[bold]a[/bold].png", 1)])
    valid = table(tmp_path / "valid.csv", [("[bold]a[/bold].png", 1)])
    done = cxr("check-leakage", train, valid, "--no-plots")
    assert "[bold]a[/bold].png" in done.stdout


def test_images_of_other_sizes_and_depths(cxr, tmp_path):
    pixels = image_pixels(5, 256)
    save(tmp_path / "images" / "a.png", pixels)
    save(tmp_path / "images" / "b.png", pixels.astype(np.uint16) * 257)
    train = table(tmp_path / "train.csv", [("a.png", 1)])
    valid = table(tmp_path / "valid.csv", [("b.png", 2)])
    done = cxr("check-leakage", train, valid, "--images", tmp_path / "images", "--json", "--no-plots")
    (image,) = result_of(done)["pairs"][0]["exact_duplicates"]["duplicates"]
    assert image["kind"] == "same pixels"
