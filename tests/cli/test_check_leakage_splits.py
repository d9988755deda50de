"""All that can be a split of check-leakage, and who is who across data sets."""

from __future__ import annotations

import json

import pytest

from tests.drawn_images import image_pixels, save

CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema\ntrain/patient00013/study1/view1_frontal.jpg,M,60,Frontal,AP,1\n"
NIH = "Image Index,Finding Labels,Patient ID\n00000013_000.png,Edema,13\n"
OWN = "Image,PatientId,Mass\na.png,13,1\n"
RSNA = "patientId,x,y,width,height,Target\naaaa-1,,,,,0\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result_of(done):
    return json.loads(done.stdout)["result"]


def folders(here):
    save(here / "chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg", image_pixels(1))
    save(here / "chest_xray/train/NORMAL/1.png", image_pixels(2))
    save(here / "chest_xray/test/PNEUMONIA/person1_virus_6.jpeg", image_pixels(3))
    save(here / "chest_xray/test/NORMAL/1.png", image_pixels(4))


@pytest.mark.parametrize("arguments", [["chest_xray/train", "chest_xray/test"], ["chest_xray"]])
def test_folders_are_splits_and_their_images_are_compared(cxr, here, arguments):
    folders(here)
    done = cxr("check-leakage", *arguments, "--no-plots", "--json")
    assert done.exit_code == 1
    (pair,) = result_of(done)["pairs"]
    assert [item["patient_id"] for item in pair["patients"]["patients"]] == ["person1"]
    assert pair["names"]["n_images"] == 0 and pair["exact_duplicates"]["n_duplicates"] == 0
    assert "1 image names are in both and name different images: not leakage" in done.stderr
    assert ("the splits of chest_xray are its folders train, test" in done.stderr) == (len(arguments) == 1)


def test_a_table_beside_a_folder_comes_first_and_is_named(cxr, here):
    folders(here)
    (here / "chest_xray" / "train.csv").write_text(OWN)
    (here / "chest_xray" / "test-small.csv").write_text(OWN.replace("13", "14").replace("a.png", "b.png"))
    done = cxr("check-leakage", "chest_xray/train", "chest_xray/test", "--no-plots")
    assert done.exit_code == 0
    assert "chest_xray/train is chest_xray/train.csv" in done.stderr
    assert "chest_xray/test is chest_xray/test-small.csv" in done.stderr
    (here / "chest_xray" / "train.csv").unlink()
    done = cxr("check-leakage", "chest_xray/train", "chest_xray/test", "--no-plots")
    assert "chest_xray/train is the folder chest_xray/train" in done.stderr
    assert done.exit_code == 2  # the normal images name no patient


def test_tables_inside_folders(cxr, here):
    for name, seed in (("train", 1), ("valid", 2)):
        save(here / name / "a.jpg", image_pixels(seed))
        save(here / name / f"{name}.jpg", image_pixels(9))
        (here / name / "_classes.csv").write_text(f"filename, Atelectasis, No Finding\na.jpg, 1, 0\n{name}.jpg, 0, 1\n")
    done = cxr("check-leakage", "train", "valid", "--remove-from", "valid", "--output", "out", "--no-plots", "--json")
    result = result_of(done)
    assert result["pairs"][0]["exact_duplicates"]["n_duplicates"] == 1
    assert result["pairs"][0]["names"]["different_images"] == ["a.jpg"]
    (cleaned,) = result["removal"]["splits"]
    assert cleaned["rows_removed"] == [1]


def test_the_values_of_a_column_are_splits(cxr, here):
    text = "Image,PatientId,Mass,Set Id\na.png,1,1,train\nb.png,2,0,train\nc.png,1,0,test\nd.png,3,1,test\n"
    (here / "all.csv").write_text(text)
    done = cxr("check-leakage", "all.csv", "--no-plots", "--json")
    assert done.exit_code == 1
    assert [split["name"] for split in result_of(done)["splits"]] == ["test", "train"]
    done = cxr("check-leakage", "all.csv", "--remove-from", "train", "--output", "out", "--no-plots")
    assert done.exit_code == 0
    assert (here / "out" / "all.csv").read_text() == text.replace("a.png,1,1,train\n", "")
    (here / "mine.csv").write_text(text.replace("Set Id", "where"))
    assert cxr("check-leakage", "mine.csv", "--split-column", "where", "--no-plots").exit_code == 1
    done = cxr("check-leakage", "mine.csv", "--no-plots")
    assert done.exit_code == 2 and "--split-column" in done.stderr
    done = cxr("check-leakage", "mine.csv", "--split-column", "wheres", "--no-plots")
    assert (
        done.exit_code == 2 and "--split-column wheres: mine.csv has no such column; did you mean where?" in done.stderr
    )
    done = cxr("check-leakage", "mine.csv", "all.csv", "--split-column", "where", "--no-plots")
    assert done.exit_code == 2 and "--split-column has no effect with several splits" in done.stderr


def test_lists_of_images_and_of_patients(cxr, here):
    (here / "a.txt").write_text("00000001_000.png 1 0\n00000002_000.png 0 0\n")
    (here / "b.txt").write_text("00000001_000.png 0 0\n00000003_000.png 0 0\n")
    done = cxr("check-leakage", "a.txt", "b.txt", "--no-plots", "--json")
    (pair,) = result_of(done)["pairs"]
    assert (pair["names"]["n_images"], pair["patients"]["n_patients"]) == (1, 1)
    assert "a: patients come from the image names" in done.stderr


def test_numberings_of_patients(cxr, here):
    (here / "chexpert.csv").write_text(CHEXPERT)
    (here / "own.csv").write_text(OWN)
    done = cxr("check-leakage", "chexpert.csv", "own.csv", "--no-plots")
    assert done.exit_code == 2
    assert "patient ids were not compared" in done.stderr and "--same-patients" in done.stderr
    assert cxr("check-leakage", "chexpert.csv", "own.csv", "--same-patients", "--no-plots").exit_code == 1


def test_a_map_of_patients(cxr, here):
    (here / "rsna.csv").write_text(RSNA)
    (here / "nih.csv").write_text(NIH)
    (here / "map.json").write_text(json.dumps([{"img_id": "00000013_001.png", "subset_img_id": "aaaa-1"}]))
    done = cxr("check-leakage", "rsna.csv", "nih.csv", "--no-plots")
    assert done.exit_code == 2 and "have images in common" in done.stderr and "--patient-map" in done.stderr
    done = cxr("check-leakage", "rsna.csv", "nih.csv", "--patient-map", "map.json", "--no-plots", "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert [item["path"] for item in document["inputs"]] == ["rsna.csv", "nih.csv", "map.json"]
    assert document["result"]["pairs"][0]["patients"]["n_patients"] == 1


def test_split_by_a_map_and_by_lists_of_patients(cxr, here):
    rows = "".join(f"id-{number},,,,,{number % 2}\n" for number in range(60))
    (here / "rsna.csv").write_text("patientId,x,y,width,height,Target\n" + rows)
    origin = [{"img_id": f"{n // 3 + 1:08}_{n % 3:03}.png", "subset_img_id": f"id-{n}"} for n in range(60)]
    (here / "map.json").write_text(json.dumps(origin))
    assert cxr("split", "rsna.csv", "--no-plots").exit_code == 2
    done = cxr("split", "rsna.csv", "--patient-map", "map.json", "--output", "out", "--no-plots", "--json")
    assert done.exit_code == 0 and result_of(done)["n_patients"] == 20
    (here / "own.csv").write_text("Image,PatientId,Mass\n" + "".join(f"{n}.png,{n},{n % 2}\n" for n in range(40)))
    (here / "first.txt").write_text("patient\n" + "".join(f"{n}\n" for n in range(30)))
    (here / "test.txt").write_text("patient\n" + "".join(f"{n}\n" for n in range(30, 40)))
    done = cxr("split", "own.csv", "--official", "first.txt,test.txt", "--output", "own", "--no-plots")
    assert done.exit_code in (0, 1), done.stderr
    assert len((here / "own" / "test.csv").read_text().splitlines()) == 11


def test_names_of_images_are_accounted_for(cxr, here):
    for place, seed in (("cov/images/x.png", 1), ("cov/Masks/x.png", 2), ("cov/a.PNG", 3)):
        save(here / place, image_pixels(seed))
    (here / "t.csv").write_text("Image,PatientId,Mass\nx.png,1,1\na.png,2,0\nb.png,3,0\n")
    done = cxr("explore", "t.csv", "--images", "cov", "--no-plots", "--json")
    survey = result_of(done)["images"]
    assert done.exit_code == 1
    assert (survey["n_named"], survey["n_found"], survey["n_missing"], survey["n_ambiguous"]) == (3, 1, 1, 1)
    assert survey["ambiguous"] == ["x.png"]
    assert "note: x.png could be Masks/x.png or images/x.png: not opened" in done.stderr
    assert "a.png was read from a.PNG" in done.stderr
    done = cxr("preprocess", "t.csv", "--images", "cov", "--output", "out", "--no-plots")
    assert done.exit_code == 2 and "Give the folder that is meant (cov/Masks or cov/images)" in done.stderr
    assert not (here / "out").exists()


def test_class_folders_are_not_confused(cxr, here):
    folders(here)
    (here / "t.csv").write_text("Image,PatientId,Mass\ntrain/NORMAL/1.png,1,1\ntest/NORMAL/1.png,2,0\n")
    done = cxr("preprocess", "t.csv", "--images", "chest_xray/train", "--output", "out", "--no-plots")
    assert done.exit_code == 2
    assert "train/NORMAL/1.png is missing; there is NORMAL/1.png (and 1 more like it)" in done.stderr
    assert cxr("preprocess", "t.csv", "--images", "chest_xray", "--output", "out", "--no-plots").exit_code == 0
