import inspect
import itertools
import os
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr_cli.data import folders
from cxr_cli.data.folders import AmbiguousName, NearName, SharedFile, find_image_folder, locate_images
from cxr_cli.data.images import read_content
from cxr_cli.errors import ImageError


def build(folder, *places):
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(place)
    return folder


def places(located):
    return [None if path is None else Path(path).read_text() for path in located.paths]


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
        None,
        None,
        None,
    ]
    assert located.missing == (2, 4, 5)  # CheXpert-v1.0/ is not a leading folder of all names
    assert located.n_found == 2
    both = ("images_001/images/twice.png", "images_002/images/twice.png")
    assert located.ambiguous == (AmbiguousName("twice.png", both),)
    assert located.n_unnamed == 2  # a.png and view1_frontal.jpg; ._flat.png is not an image


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


def test_leading_folders_are_dropped_if_all_names_have_them(tmp_path):
    build(tmp_path, "train/p1/study1/view1.jpg", "valid/p2/study1/view1.jpg")
    names = ["CheXpert-v1.0-small/train/p1/study1/view1.jpg", "CheXpert-v1.0-small/valid/p2/study1/view1.jpg"]
    located = locate_images(tmp_path, names)
    assert places(located) == ["train/p1/study1/view1.jpg", "valid/p2/study1/view1.jpg"]
    assert located.dropped == "CheXpert-v1.0-small/"
    assert "all image names begin with CheXpert-v1.0-small/" in located.notes()[0]


def test_class_folders_under_train_and_test_are_not_confused(tmp_path):
    build(tmp_path, "train/NORMAL/1.png")
    names = ["train/NORMAL/1.png", "test/NORMAL/1.png"]
    assert places(locate_images(tmp_path, names)) == ["train/NORMAL/1.png", None]
    inside = locate_images(tmp_path / "train", names)
    assert places(inside) == [None, None]
    assert inside.missing == (0, 1)
    assert inside.notes() == ("train/NORMAL/1.png is missing; there is NORMAL/1.png (and 1 more like it)",)


def test_absolute_names_lose_one_common_beginning(tmp_path):
    build(tmp_path, "valid/p1/a.jpg", "valid/p2/a.jpg")
    located = locate_images(tmp_path, ["/nas/x/CheXpert-v1.0/valid/p1/a.jpg", "/nas/x/CheXpert-v1.0/valid/p2/a.jpg"])
    assert places(located) == ["valid/p1/a.jpg", "valid/p2/a.jpg"]
    assert located.dropped == "/nas/x/CheXpert-v1.0/"
    drive = locate_images(tmp_path, ["D:\\data\\valid\\p1\\a.jpg", "D:\\data\\valid\\p2\\a.jpg"])
    assert places(drive) == ["valid/p1/a.jpg", "valid/p2/a.jpg"]
    assert drive.dropped == "D:/data/"
    own = locate_images(tmp_path, [f"{tmp_path}/valid/p1/a.jpg", f"{tmp_path}/valid/p2/a.jpg"])
    assert places(own) == ["valid/p1/a.jpg", "valid/p2/a.jpg"]
    assert own.dropped == f"{tmp_path}/"
    mixed = locate_images(tmp_path, [f"{tmp_path}/valid/p1/a.jpg", "valid/p2/a.jpg"])
    assert places(mixed) == [None, "valid/p2/a.jpg"]
    assert mixed.refused == (0,)


def test_a_name_with_several_files_is_refused_with_the_folders_that_decide(tmp_path):
    build(tmp_path, "images/x.png", "masks/x.png", "images/y.png", "masks/y.png")
    located = locate_images(tmp_path, ["x.png", "y.png"])
    assert places(located) == [None, None]
    assert located.missing == ()
    with pytest.raises(ImageError) as caught:
        located.refuse_uncertain()
    assert "x.png could be images/x.png or masks/x.png (and 1 more like it)" in caught.value.what
    assert f"{tmp_path}/images or {tmp_path}/masks" in caught.value.remedy
    locate_images(tmp_path / "images", ["x.png", "y.png"]).refuse_uncertain()


def test_an_id_of_several_files_is_refused_like_a_name(tmp_path):
    build(tmp_path, "COVID/images/COVID-1.png", "COVID/masks/COVID-1.png", "COVID/images/COVID-2.png")
    located = locate_images(tmp_path, ["COVID-1", "COVID-2"])
    assert places(located) == [None, "COVID/images/COVID-2.png"]
    with pytest.raises(
        ImageError, match=r"COVID-1 could be COVID/images/COVID-1\.png or COVID/masks/COVID-1\.png"
    ) as caught:
        located.refuse_uncertain()
    assert "COVID/images or" in caught.value.remedy


def test_the_path_in_the_folder_comes_before_files_of_that_name_below(tmp_path):
    build(tmp_path, "x.png", "masks/x.png")
    assert places(locate_images(tmp_path, ["x.png"])) == ["x.png"]


def test_two_names_of_one_file_are_refused_by_name(tmp_path):
    build(tmp_path, "sub/a.png", "b.png")
    located = locate_images(tmp_path, ["a.png", "sub/a.png", "b.png"])
    assert places(located) == [None, None, "b.png"]
    assert located.shared == (SharedFile("sub/a.png", ("a.png", "sub/a.png")),)
    with pytest.raises(ImageError, match=r"a\.png and sub/a\.png are both the file sub/a\.png"):
        located.refuse_uncertain()


def test_an_image_on_several_lines_is_one_name(tmp_path):
    build(tmp_path, "a.png")
    located = locate_images(tmp_path, ["a.png", "a.png"])
    assert places(located) == ["a.png", "a.png"]
    located.refuse_uncertain()


COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "\u00e9.png"), unicodedata.normalize("NFD", "\u00e9.png")


@pytest.mark.parametrize(
    ("name", "file", "difference"),
    [
        ("a.png", "a.PNG", "letter case"),
        ("A.png", "a.png", "letter case"),
        ("a.png", "a.jpg", "ending"),
        ("a.png", "A.JPG", "letter case and ending"),
        ("a", "a.dcm", "ending"),
        (COMPOSED, DECOMPOSED, "Unicode form"),
        (DECOMPOSED, COMPOSED, "Unicode form"),
        ("sub\\x.png", "sub/x.png", "backslashes"),
        ("sub\\x.png", "sub/x.PNG", "backslashes and letter case"),
        ("Sub/x.png", "sub/x.png", "letter case"),
    ],
)
def test_a_name_that_differs_in_form_is_read_if_nothing_else_matches(tmp_path, name, file, difference):
    build(tmp_path, file)
    if len(list(tmp_path.rglob("*.*"))) != 1:
        pytest.skip("the file system joins these names")
    located = locate_images(tmp_path, [name])
    assert places(located) == [file]
    assert located.nearly == (NearName(name, file, difference),)
    assert f"1 image name differs from the file in {difference} only" in located.notes()[0]


def test_names_that_differ_in_form_are_not_guessed_at(tmp_path):
    build(tmp_path, "a.PNG", "a.jpg", "b.png", "c.JPG")
    located = locate_images(tmp_path, ["a.png", "b.jpg", "b.png", "c.jpg", "C.jpg"])
    assert places(located) == [None, None, "b.png", None, None]
    assert located.missing == (0, 1, 3, 4)
    assert located.notes() == ("a.png is missing; there is a.PNG (and 3 more like it)",)


def test_a_path_may_be_written_with_dots_and_double_slashes(tmp_path):
    build(tmp_path, "sub/a.png", "b.png")
    located = locate_images(tmp_path, ["./sub//a.png", "./b.png"])
    assert places(located) == ["sub/a.png", "b.png"]
    assert located.notes() == ()
    assert locate_images(tmp_path, ["b.png", "./b.png"]).shared == (SharedFile("b.png", ("b.png", "./b.png")),)


def test_many_files_of_one_name_under_the_wrong_folder(tmp_path):
    for patient in range(1500):
        build(tmp_path, f"train/p{patient}/study1/view1.jpg")
    names = [f"CheXpert/{part}/p{patient}/study1/view1.jpg" for part in ("a", "b") for patient in range(1500)]
    located = locate_images(tmp_path / "train", names)
    assert located.n_found == 0 and len(located.alternatives) == 3000
    assert located.alternatives[0].file == "p0/study1/view1.jpg"
    above = locate_images(tmp_path, ["p7/study1/view1.jpg", "other/x.jpg"])
    assert above.alternatives[0].file == "train/p7/study1/view1.jpg"


def test_links_to_folders_are_not_searched_and_named(tmp_path, tmp_path_factory):
    elsewhere = build(tmp_path_factory.mktemp("elsewhere"), "a.png")
    build(tmp_path, "real/b.png")
    (tmp_path / "out").symlink_to(elsewhere)
    (tmp_path / "again").symlink_to(tmp_path / "real")
    located = locate_images(tmp_path, ["out/a.png", "again/b.png"])
    assert places(located) == [None, "real/b.png"]
    assert located.refused == (0,)
    assert located.linked_folders == ("out",)
    assert "not searched, because they are links to folders elsewhere: out" in located.notes()[0]
    (tmp_path.parent / "link").symlink_to(tmp_path)
    through = locate_images(tmp_path.parent / "link", ["b.png"])
    assert places(through) == ["real/b.png"]
    assert through.as_given(through.paths[0]) == tmp_path.parent / "link" / "real" / "b.png"


def test_a_file_swapped_for_a_link_or_a_pipe_is_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = build(tmp_path / "images", "a.png", "b.png")
    located = locate_images(folder, ["a.png", "b.png"])
    for path in located.paths:
        path.unlink()
    located.paths[0].symlink_to(secret)
    os.mkfifo(located.paths[1])
    with pytest.raises(ImageError, match="is a link, which is not followed"):
        read_content(located.paths[0])
    with pytest.raises(ImageError, match="is not a file"):
        read_content(located.paths[1])


FOLDERS = ("", "train/", "test/", "train/N/", "test/N/", "N/", "data/train/N/")
FILES = ("a.png", "A.png", "a.PNG", "a.jpg", "b.png", COMPOSED, DECOMPOSED)
PLACES = st.builds(str.__add__, st.sampled_from(FOLDERS), st.sampled_from(FILES))
NAMES = st.builds(
    lambda lead, place, back: (lead + place).replace("/", "\\") if back else lead + place,
    st.sampled_from(("", "", "", "data/", "/nas/")),
    PLACES,
    st.sampled_from((False, False, False, True)),
)


def plain(text):
    return unicodedata.normalize("NFC", text).casefold().rpartition(".")[0]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(PLACES, max_size=8), st.lists(NAMES, min_size=1, max_size=6))
def test_a_row_never_gets_a_file_that_its_name_does_not_determine(files, names):
    with tempfile.TemporaryDirectory() as folder:
        root = build(Path(folder), *files)
        there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        located = locate_images(root, names)
        found = places(located)
        written = [name.replace("\\", "/") for name in names]
        assert all(name.startswith(located.dropped) for name in written)
        for name, text, place in zip(names, written, found, strict=True):
            if place is None:
                continue
            wanted = text.removeprefix(located.dropped)
            if place == wanted:
                continue
            if "/" not in text and place.rpartition("/")[2] == text:  # a bare name in a subfolder: the only one
                assert [item for item in there if item.rpartition("/")[2] == text] == [place]
                continue
            # In form only: nothing else in the folder is so near, and it is said.
            whole = "/" in text
            keys = [plain(item if whole else item.rpartition("/")[2]) for item in there]
            assert keys.count(plain(wanted)) == 1
            assert plain(place if whole else place.rpartition("/")[2]) == plain(wanted)
            assert place in [near.file for near in located.nearly if near.name == name]
        for (one, file), (two, other) in itertools.combinations(zip(names, found, strict=True), 2):
            assert one == two or file is None or file != other
        uncertain = {item.name for item in located.ambiguous}.union(*(item.names for item in located.shared))
        reported = {*located.missing, *located.refused, *(at for at, name in enumerate(names) if name in uncertain)}
        assert reported == {at for at, place in enumerate(found) if place is None}


STRANGERS = ["x%d.PNG", "N/x%d.png", "data/train/x%d.jpg", "a.png.x%d"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sets(PLACES, min_size=1, max_size=4),
    st.lists(NAMES, min_size=1, max_size=6),
    st.sets(st.sampled_from(STRANGERS)),
)
def test_a_big_table_beside_few_files_is_matched_as_a_small_one(files, names, strangers):
    names = [*names, *(form % number for form in strangers for number in range(50))]
    with tempfile.TemporaryDirectory() as folder:
        root = build(Path(folder), *files)
        quickly = locate_images(root, names)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folders, "_perhaps_near", lambda written, keys, names: names)
            assert quickly == locate_images(root, names)
