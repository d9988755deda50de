from __future__ import annotations

from pathlib import Path

import pytest

from cxr_cli.cli.arguments import find_split, match_split, refuse_same_file, split_names
from cxr_cli.errors import InputError, UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["train.csv", "train-small.csv"], "train.csv"),
        (["train-small.csv", "trainings.csv", "valid-small.csv"], "train-small.csv"),
        (["train.csv.gz"], "train.csv.gz"),
        (["train-small.csv.zip"], "train-small.csv.zip"),
        (["train"], "train"),
        (["train-small.txt", "train-x.csv"], "train-x.csv"),
    ],
)
def test_a_name_stands_for_one_file(folder, files, found):
    for name in files:
        (folder / name).touch()
    assert str(find_split("train")) == found


def test_a_folder_of_that_name_is_passed_over(folder):
    (folder / "train").mkdir()
    (folder / "train.csv").touch()
    assert str(find_split("train")) == "train.csv"


def test_a_name_may_have_folders(folder):
    (folder / "data").mkdir()
    (folder / "data" / "valid-small.csv").touch()
    assert find_split("data/valid").as_posix() == "data/valid-small.csv"


def test_a_file_name_is_taken_as_it_is(folder):
    assert str(find_split("missing.csv")) == "missing.csv"
    assert str(find_split("train_val_list.txt")) == "train_val_list.txt"


def test_several_matches_are_listed(folder):
    for name in ("train-a.csv", "train-b.csv"):
        (folder / name).touch()
    with pytest.raises(InputError, match=r"2 tables match: train-a.csv, train-b.csv"):
        find_split("train")


def test_no_match_lists_what_is_there(folder):
    (folder / "valid.csv").touch()
    with pytest.raises(InputError, match=r"no train.csv and no train-\*.csv; tables in .: valid.csv"):
        find_split("train")
    with pytest.raises(InputError, match="tables in nowhere: none"):
        find_split("nowhere/train")


def test_a_table_beside_a_folder_of_its_name_is_taken_and_else_the_folder(folder):
    (folder / "train").mkdir()
    assert find_split("train") == Path("train")
    (folder / "train-small.csv").touch()
    assert find_split("train") == Path("train-small.csv")
    (folder / "train.csv").touch()
    assert find_split("train") == Path("train.csv")


def test_names_are_short_and_distinct():
    assert split_names(["x/train-small.csv", "x/valid.csv.gz", "test_list.txt"]) == (
        "train-small",
        "valid",
        "test_list",
    )
    assert split_names(["a/b/train.csv", "a/c/train.csv"]) == ("b/train", "c/train")
    with pytest.raises(UsageError, match="given twice"):
        split_names(["train.csv", "./train.csv"])


def test_one_file_by_two_names_is_refused(folder):
    (folder / "train.csv").touch()
    (folder / "valid.csv").symlink_to("train.csv")
    with pytest.raises(UsageError, match="same file"):
        refuse_same_file([folder / "train.csv", folder / "valid.csv"])


def test_a_word_means_one_split():
    names = ("train-small", "valid-small", "b/test")
    assert match_split("valid", names, "--remove-from") == "valid-small"
    assert match_split("valid-small.csv", names, "--remove-from") == "valid-small"
    assert match_split("b/test", names, "--remove-from") == "b/test"
    with pytest.raises(UsageError, match="no splits match"):
        match_split("val", names, "--remove-from")
    with pytest.raises(UsageError, match="2 splits match"):
        match_split("valid", ("valid-a", "valid-b"), "--remove-from")
