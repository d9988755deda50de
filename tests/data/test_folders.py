import inspect
import os
import sys

import pytest

from cxr_cli.data.folders import find_image_folder, locate_images
from cxr_cli.errors import ImageError


@pytest.fixture
def tree(tmp_path):
    for name in (
        "flat.png",
        "._flat.png",
        "images_001/images/a.png",
        "images_002/images/b.png",
        "images_002/images/twice.png",
        "images_001/images/twice.png",
        "train/patient1/study1/view1_frontal.jpg",
        "notes.txt",
        ".hidden/c.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_flat_nested_and_relative_names(tree):
    names = [
        "flat.png",
        "b.png",
        "gone.png",
        "twice.png",
        "CheXpert-v1.0/train/patient1/study1/view1_frontal.jpg",
        "c.png",
    ]
    located = locate_images(tree, names)
    found = [None if path is None else path.relative_to(tree).as_posix() for path in located.paths]
    assert found == [
        "flat.png",
        "images_002/images/b.png",
        None,
        "images_001/images/twice.png",
        "train/patient1/study1/view1_frontal.jpg",
        None,
    ]
    assert located.missing == (2, 5)
    assert located.n_found == 4
    assert located.ambiguous == ("twice.png",)
    assert located.n_unnamed == 2  # a.png and the other twice.png; ._flat.png is no image


def test_links_and_names_that_leave_the_folder_are_refused(tree, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(b"x")
    os.symlink(outside, tree / "link.png")
    os.symlink(tree / "flat.png", tree / "good-link.png")
    located = locate_images(tree, ["link.png", "../secret.png", "good-link.png"])
    assert located.refused == (0, 1)
    assert located.paths[:2] == (None, None)
    assert located.paths[2] is not None


def test_find_image_folder(tmp_path):
    table = tmp_path / "t.csv"
    assert find_image_folder(table) is None
    (tmp_path / "images_001").mkdir()
    assert find_image_folder(table) == tmp_path
    (tmp_path / "images").mkdir()
    assert find_image_folder(table) == tmp_path / "images"
    (tmp_path / "images-small").mkdir()
    assert find_image_folder(table) == tmp_path / "images-small"
    table.write_bytes(b"")
    with pytest.raises(ImageError, match="is a file"):
        find_image_folder(table, table)
    with pytest.raises(ImageError, match="no such image folder"):
        find_image_folder(table, tmp_path / "none")


def test_pipes_broken_links_and_deep_folders(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink(tmp_path / "gone.png", tmp_path / "broken.png")
    os.symlink(tmp_path, tmp_path / "loop")
    os.symlink(tmp_path / "self.png", tmp_path / "self.png")
    deep = tmp_path.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    deep.joinpath("a.png").write_bytes(b"x")
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)  # less deep than the folders are
    try:
        located = locate_images(tmp_path, ["pipe.png", "broken.png", "a.png"])
    finally:
        sys.setrecursionlimit(usual)
    assert located.missing == (0, 1)
    assert located.paths[2] == deep / "a.png"
    assert located.n_unnamed == 0
