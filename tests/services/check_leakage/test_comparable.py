"""Patients are compared within one numbering only, and the result says where they were not."""

from __future__ import annotations

import json

import pytest

from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import read_labels
from cxr_cli.data.patient_map import PatientMap
from cxr_cli.errors import InputError, in_terminal
from cxr_cli.services.check_leakage.check_and_remove import check_and_remove
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from tests.drawn_images import image_pixels, save

CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema\ntrain/patient00013/study1/view1_frontal.jpg,M,60,Frontal,AP,1\n"
NIH = "Image Index,Finding Labels,Patient ID\n00000013_000.png,Edema,13\n"
OWN = "Image,PatientId,Mass\na.png,13,1\n"
LIKE_NIH = "Image,PatientId,Mass\n00000013_000.png,13,1\n"
RSNA = "patientId,x,y,width,height,Target\naaaa-1,,,,,0\n"


def tables(folder, **texts):
    made = {}
    for name, text in texts.items():
        path = folder / f"{name}{'.txt' if not text.startswith(('Path', 'Image', 'patientId')) else '.csv'}"
        path.write_text(text)
        made[name] = read_labels(path, allow_image_list=True)
    return made


@pytest.mark.parametrize(
    ("one", "other", "n_shared", "verdict"),
    [
        (NIH, LIKE_NIH.replace("_000", "_001"), 1, "leakage"),
        (OWN, OWN.replace("a.png", "b.png"), 1, "leakage"),
        (CHEXPERT, NIH, None, "clean"),
        (CHEXPERT, LIKE_NIH, None, "clean"),
        (CHEXPERT, OWN, None, "unchecked"),
        (NIH, OWN, None, "unchecked"),
    ],
)
def test_patients_are_compared_within_one_numbering(tmp_path, one, other, n_shared, verdict):
    both = tables(tmp_path, a=one, b=other)
    report = check_leakage(both)
    (pair,) = report.pairs
    assert report.verdict == verdict
    assert (pair.patients and pair.patients.n_patients) == n_shared
    assert (pair.patients_not_compared is None) == (n_shared is not None)
    if n_shared is None:
        assert "patient ids were not compared" in report.notes[0]
    assert check_leakage(both, same_patients=True).verdict == "leakage"


def test_names_tell_patients_alike_in_tables_and_lists(tmp_path):
    both = tables(tmp_path, a="Image,Mass\n00000001_000.png,1\n", b="00000001_001.png\n")
    for pair in (both, {"a": both["a"], "b": tables(tmp_path, b="Image,Mass\n00000001_001.png,1\n")["b"]}):
        report = check_leakage(pair)
        assert report.pairs[0].patients.n_patients == 1
        assert "patients come from the image names" in report.splits[0].notes
        assert [split.patients_from for split in report.splits] == ["image names", "image names"]


def test_lists_with_labels_name_the_image_first(tmp_path):
    both = tables(
        tmp_path,
        a="00000001_000.png 1 0\n00000002_000.png 0 0\n",
        b="00000001_000.png 0 0\n00000003_000.png 0 0\n",
    )
    (pair,) = check_leakage(both).pairs
    assert (pair.names.n_images, pair.patients.n_patients) == (1, 1)


def test_the_header_of_a_list_is_not_an_image(tmp_path):
    both = tables(tmp_path, a="Image Index\n00000001_000.png\n".replace("Image", "\ufeffImage"), b="00000002_000.png\n")
    both["b"] = tables(tmp_path, b2="image\n00000002_000.png\n")["b2"]
    assert check_leakage(both).verdict == "clean"


def test_a_list_of_patients_is_compared_by_patients_alone(tmp_path):
    both = tables(tmp_path, a=OWN, b="13\n14\n")
    report = check_leakage(both)
    assert report.pairs[0].patients.n_patients == 1
    assert report.splits[1].n_images == 0
    assert any("names patients, not images" in note for note in report.splits[1].notes)
    save(tmp_path / "images" / "a.png", image_pixels(1))
    with_images = check_and_remove(both, tmp_path / "images")
    assert with_images.splits[1].image_check.n_images == 0 and with_images.unchecked == ()


def test_a_list_of_patients_is_numbered_as_the_table_it_is_given_with(tmp_path):
    for text in (NIH, CHEXPERT, OWN):
        assert check_leakage(tables(tmp_path, a=text, b="13\n14\n")).verdict == "leakage"
        assert check_leakage(tables(tmp_path, a=text, b="15\n16\n")).verdict == "clean"


def test_ids_that_lost_their_digits_are_unknown(tmp_path):
    rows = "".join(f"{name}.png,8.39860E+35,1\n" for name in "xyz")
    report = check_leakage(tables(tmp_path, a="Image,PatientId,Mass\n" + rows, b=OWN))
    assert report.verdict == "unchecked"
    assert report.splits[0].n_without_patient == 3


@pytest.mark.parametrize("word", ["unknown", "-1", "?", "none"])
def test_placeholders_are_not_a_patient(tmp_path, word):
    both = tables(tmp_path, a=f"Image,PatientId,Mass\nx.png,{word},1\n", b=f"Image,PatientId,Mass\ny.png,{word},1\n")
    assert check_leakage(both).verdict == "unchecked"


def test_apostrophes_of_a_spreadsheet_are_not_part_of_an_id(tmp_path):
    both = tables(tmp_path, a="Image,PatientId,Mass\nx.png,'00013,1\n", b=OWN)
    assert check_leakage(both).pairs[0].patients.n_patients == 1


def test_one_name_for_different_images_is_not_leakage(tmp_path):
    both = {}
    for seed, name in enumerate(("a", "b")):
        save(tmp_path / name / "1.png", image_pixels(seed))
        both |= tables(tmp_path, **{name: f"Image,PatientId,Mass\n1.png,{name},1\n"})
    assert check_leakage(both).verdict == "leakage"
    report = check_and_remove(both, {name: tmp_path / name for name in both})
    (pair,) = report.pairs
    assert report.verdict == "clean"
    assert (pair.names.n_images, pair.names.different_images) == (0, ("1.png",))
    assert any("name different images" in note for note in report.notes)


def test_related_data_sets_are_unchecked_until_something_decides(tmp_path):
    both = tables(tmp_path, rsna=RSNA, nih=NIH)
    report = check_leakage(both)
    assert report.verdict == "unchecked"
    assert "have images in common" in report.pairs[0].related
    assert "its images are those of NIH ChestX-ray14: patient_map tells their patients" in report.splits[0].notes
    assert any("(patient_map), or folders, which compares" in note for note in report.notes)
    assert any("--patient-map FILE" in in_terminal(note) for note in report.notes)
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps([{"img_id": "00000013_001.png", "subset_img_id": "aaaa-1"}]))
    decided = check_and_remove(both, patient_map=PatientMap.read(path))
    assert decided.verdict == "leakage"
    assert decided.pairs[0].related is None
    assert "rsna: the patients of 1 of 1 rows come from mapping.json" in decided.notes[0]
    with pytest.raises(InputError, match="names no image and no patient of a, b"):
        check_and_remove(tables(tmp_path, a=OWN, b=OWN), patient_map=PatientMap.read(path))


def test_removal_takes_whole_patients_of_the_map(tmp_path):
    rows = "".join(f"aaaa-{number},,,,,0\n" for number in (1, 2, 3))
    both = tables(tmp_path, rsna="patientId,x,y,width,height,Target\n" + rows, nih=NIH)
    path = tmp_path / "mapping.json"
    images = {"aaaa-1": "00000013_001.png", "aaaa-2": "00000013_002.png", "aaaa-3": "00000020_000.png"}
    path.write_text(json.dumps([{"img_id": nih, "subset_img_id": rsna} for rsna, nih in images.items()]))
    report = check_and_remove(
        both, patient_map=PatientMap.read(path), remove_from=["rsna"], outputs=Outputs(tmp_path / "out")
    )
    assert report.removal.after.verdict == "clean"
    assert (tmp_path / "out" / "rsna.csv").read_text().splitlines()[1:] == ["aaaa-3,,,,,0"]


SPLIT = "Image,PatientId,Mass,split\na.png,1,1,train\nb.png,2,0,train\nc.png,1,0,test\nd.png,3,1,test\ne.png,4,1,\n"


def test_parts_of_one_table_are_compared_and_cleaned_in_one_table(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text(SPLIT)
    parts = read_labels(path).parts()
    assert list(parts) == ["test", "train"]
    report = check_and_remove(parts, remove_from=["train"], outputs=Outputs(tmp_path / "out"))
    assert report.pairs[0].patients.n_patients == 1
    assert (tmp_path / "out" / "all.csv").read_text() == SPLIT.replace("a.png,1,1,train\n", "")
    assert report.removal.after.verdict == "clean"
    assert report.removal.splits[0].n_images_after == 1


def test_folders_of_images_as_splits(tmp_path):
    for place, seed in (
        ("train/PNEUMONIA/person1_bacteria_1.jpeg", 1),
        ("train/NORMAL/1.png", 2),
        ("test/PNEUMONIA/person1_virus_6.jpeg", 3),
        ("test/NORMAL/1.png", 4),
    ):
        save(tmp_path / place, image_pixels(seed))
    splits = {name: read_labels(tmp_path / name) for name in ("train", "test")}
    report = check_and_remove(splits, {name: tmp_path / name for name in splits})
    (pair,) = report.pairs
    assert [patient.patient_id for patient in pair.patients.patients] == ["person1"]
    assert (pair.names.n_images, pair.names.different_images) == (0, ("NORMAL/1.png",))
    assert [split.n_without_patient for split in report.splits] == [1, 1]
