import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import ImageError
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.split_images import fingerprint_splits
from tests.drawn_images import image_pixels, save


def table(folder, name, images):
    path = folder / f"{name}.csv"
    rows = "".join(f"{image},{name}{row},1\n" for row, image in enumerate(images))
    path.write_text(f"Image,PatientId,Mass\n{rows}")
    return read_labels(path)


def test_class_folders_of_two_splits_are_not_taken_for_one_another(tmp_path):
    for place, seed in (("train/NORMAL/1.png", 1), ("test/NORMAL/1.png", 2)):
        save(tmp_path / "data" / place, image_pixels(seed))
    both = {name: table(tmp_path, name, [f"{name}/NORMAL/1.png"]) for name in ("train", "test")}
    images = fingerprint_splits(both, dict.fromkeys(both, tmp_path / "data"))
    assert check_leakage(both, images).verdict == "clean"
    with pytest.raises(ImageError, match="begin with train/, those of test with test/") as caught:
        fingerprint_splits(both, dict.fromkeys(both, tmp_path / "data" / "train"))
    assert "once per split" in caught.value.remedy
    each = {name: tmp_path / "data" / name for name in both}
    assert check_leakage(both, fingerprint_splits(both, each)).verdict == "clean"


def test_a_name_of_several_files_is_an_error(tmp_path):
    for place, seed in (("images/x.png", 1), ("Masks/x.png", 2)):
        save(tmp_path / "covid" / place, image_pixels(seed))
    tables = {"a": table(tmp_path, "a", ["x.png"]), "b": table(tmp_path, "b", ["y.png"])}
    with pytest.raises(ImageError, match=r"x\.png could be Masks/x\.png or images/x\.png"):
        fingerprint_splits(tables, dict.fromkeys(tables, tmp_path / "covid"))


def test_names_in_another_form_are_said_with_the_split(tmp_path):
    save(tmp_path / "images" / "a.PNG", image_pixels(1))
    save(tmp_path / "images" / "b.png", image_pixels(2))
    tables = {"a": table(tmp_path, "a", ["a.png"]), "b": table(tmp_path, "b", ["b.png"])}
    images = fingerprint_splits(tables, dict.fromkeys(tables, tmp_path / "images"))
    assert images.checks["a"].n_checked == 1
    assert images.checks["a"].notes == (
        "1 image name differs from the file in letter case only: a.png was read from a.PNG",
    )
