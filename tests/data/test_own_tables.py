"""Tables that people really have: every kind of header, label and patient id, read right or refused with a way out."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_cli.data.columns import parse_columns
from cxr_cli.data.labels import parse_mapping, read_labels
from cxr_cli.errors import CxrError, InputError, LabelTableError, UsageError


@pytest.fixture
def read(tmp_path):
    def read(text, name="t.csv", **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(path, **options)

    return read


def kinds(table):
    return {issue.kind: issue.count for issue in table.issues}


def message(table, kind):
    return next(issue.message for issue in table.issues if issue.kind == kind)


def uses(table):
    return {column.name: column.use for column in table.account.columns}


def positives(table):
    return dict(zip(table.pathologies, table.counts.n_positive.tolist(), strict=True))


def patients(table):
    return [None if pd.isna(item) else item for item in table.frame["patient_id"]]


# Label columns.


@pytest.mark.parametrize(
    "change", [str.upper, str.lower, lambda name: name.replace(" ", "_"), lambda name: f" {name} "]
)
def test_header_names_match_regardless_of_case_blanks_and_underscores(read, change):
    names = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", "Pleural Effusion", "Lung Opacity"]
    row = "train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,1.0,0.0\n"
    table = read(",".join(map(change, names)) + "\n" + row)
    assert (table.schema, table.pathologies) == ("chexpert", ("Pleural Effusion", "Lung Opacity"))
    assert table.labels.tolist() == [[1, 0]]
    assert "not used" not in uses(table).values()


def test_a_column_that_a_data_set_does_not_know_is_named_once_with_the_option_that_uses_it(read):
    text = "Image Index,Finding Labels,Patient ID,Pneumothorax\n00000001_000.png,No Finding,1,YES\n"
    table = read(text)
    assert uses(table)["Pneumothorax"] == "not used"
    assert message(table, "columns-not-used").count("Pneumothorax") == 2
    assert "columns='labels=Pneumothorax'" in message(table, "columns-not-used")
    assert table.warnings() == (message(table, "columns-not-used"),)
    again = read(text, columns="labels=Pneumothorax")
    assert positives(again) == {"Pneumothorax": 1}
    assert uses(again)["Finding Labels"] == "not used"


@pytest.mark.parametrize("name", ["is_test", "Split", "fold", "Set Id", "is_train", "subset"])
def test_columns_known_to_be_splits_are_not_pathologies(read, name):
    table = read(f"Image,PatientId,Mass,Edema,{name}\na.png,1,1,0,0\nb.png,2,0,1,1\n")
    assert table.pathologies == ("Mass", "Edema")
    assert table.frame["split"].tolist() == ["0", "1"]
    assert list(table.parts()) == ["0", "1"]


@pytest.mark.parametrize("name", ["year", "Portable", "notes", "scanner", "Male", "StudyDate", "Hospital", "smoker"])
def test_columns_known_not_to_be_labels_are_left_out(read, name):
    table = read(f"Image,PatientId,Mass,{name}\na.png,1,1,0\nb.png,2,0,1\n")
    assert table.pathologies == ("Mass",)
    assert uses(table)[name] == "ignored"


def test_a_column_that_no_vocabulary_knows_is_read_and_named(read):
    table = read("Image,PatientId,Mass,Sarcoidosis,Score\na.png,1,1,0,7.5\nb.png,2,0,1,3\n")
    assert table.pathologies == ("Mass", "Sarcoidosis")
    assert message(table, "read-as-pathology") == "read as a pathology: Sarcoidosis (no vocabulary knows it)"
    assert uses(table)["Score"] == "not used"
    assert "Score" in message(table, "columns-not-used")


def test_a_column_without_any_label_is_not_an_output(read):
    table = read("Image,PatientId,Mass,Edema,Remnant\na.png,1,1,,\nb.png,2,0,,\n")
    assert table.pathologies == ("Mass",)
    assert kinds(table)["empty-label-column"] == 1
    assert uses(table) == {
        "Image": "image",
        "PatientId": "patient",
        "Mass": "pathology",
        "Edema": "empty",
        "Remnant": "empty",
    }


@pytest.mark.parametrize("name", ["No finding", "No_Finding", "Normal", "NO FINDINGS", "healthy"])
def test_all_names_of_no_finding_are_one(read, name):
    table = read(f"Image,Atelectasis,{name}\na.png,1,0\nb.png,0,1\nc.png,1,1\n")
    assert table.pathologies == ("Atelectasis",)
    assert uses(table)[name] == "no finding"
    assert kinds(table)["no-finding-beside-finding"] == 1


@pytest.mark.parametrize(("policy", "value"), [("ignore", np.nan), ("positive", 1), ("negative", 0)])
def test_uncertain_labels_work_in_every_one_hot_table(read, policy, value):
    table = read("Image,PatientId,Pneumonia\na.jpg,1,-1\nb.jpg,2,1\n", uncertain=policy)
    np.testing.assert_array_equal(table.labels, [[value], [1]])
    assert table.n_uncertain == 1
    assert "; uncertain decides" in message(table, "uncertain-labels")
    assert ("labels-without-zero" in kinds(table)) == (policy == "ignore")


def test_contradicting_rows_are_an_issue_of_their_own(read):
    rows = "a.png,1,1\na.png,1,0\nb.png,1,\nb.png,1,\nc.png,1,0\nc.png,2,0\n"
    table = read(f"Image,PatientId,Mass\n{rows}")
    assert kinds(table) == {"duplicate-image": 3, "contradicting-rows": 4}
    assert next(issue.rows for issue in table.issues if issue.kind == "contradicting-rows") == (0, 1, 4, 5)
    assert any("contradict" in text for text in table.warnings())


@pytest.mark.parametrize(
    ("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("YES", "NO"), ("True", "False"), ("positive", "negative"), ("y", "n")]
)
def test_forms_of_one_hot_labels(read, yes, no):
    table = read(f"Image,PatientId,Mass,Edema\na.png,1,{yes},{no}\nb.png,2,{no},\n")
    np.testing.assert_array_equal(table.labels, [[1, 0], [0, np.nan]])


@pytest.mark.parametrize(
    "cells",
    [
        ["Mass|Edema", "No Finding", "Edema", ""],
        ["Mass; Edema", "normal", "Edema", ""],
        ['"Mass,Edema"', "Normal", "Edema", ""],
        ["\"['Mass', 'Edema']\"", "['normal']", "['Edema']", ""],
    ],
)
def test_forms_of_lists(read, cells):
    text = "filename,subject,labels\n" + "".join(f"{row}.png,{row},{cell}\n" for row, cell in enumerate(cells))
    table = read(text)
    assert table.pathologies == ("Edema", "Mass")
    np.testing.assert_array_equal(table.labels, [[1, 1], [0, 0], [1, 0], [np.nan, np.nan]])
    assert table.account.labels == "list of findings"


def test_one_column_of_classes(read):
    table = read("filename,age,finding\na.jpg,30,COVID-19\nb.jpg,40,normal\nc.jpg,50,Viral Pneumonia\n")
    assert table.schema == "own"
    assert table.pathologies == ("COVID-19", "Viral Pneumonia")
    np.testing.assert_array_equal(table.labels, [[1, 0], [0, 0], [0, 1]])
    assert table.frame["age"].tolist() == [30, 40, 50]
    assert table.account.labels == "one class"
    again = read("file,label\na.jpg,sick\nb.jpg,fine\n", columns="negative=fine")
    assert positives(again) == {"sick": 1}


def test_numbers_of_classes_without_names_are_not_guessed(read):
    table = read("file,label\na.jpg,0\nb.jpg,1\nc.jpg,2\n")
    assert table.pathologies == ()
    assert "numbers without names of classes" in message(table, "columns-not-used")
    with pytest.raises(LabelTableError, match="has no labels"):
        read("file,label\na.jpg,0\nb.jpg,1\nc.jpg,2\n", need_labels=True)


def test_pathologies_under_another_name(read):
    text = "Image,PatientId,Effusion,Nodule,Mass\na.png,1,1,0,1\nb.png,2,0,0,\nc.png,3,0,0,0\n"
    table = read(text, map_pathologies=parse_mapping("Effusion=Pleural Effusion,nodule=Lung Lesion,Mass=Lung Lesion"))
    assert table.pathologies == ("Pleural Effusion", "Lung Lesion")
    np.testing.assert_array_equal(table.labels, [[1, 1], [0, np.nan], [0, 0]])
    assert "Effusion as Pleural Effusion" in table.warnings()[0]
    with pytest.raises(UsageError, match="has no pathology Hernia"):
        read(text, map_pathologies={"Hernia": "x"})


# Patients.


@pytest.mark.parametrize("written", ["8.39860E+35", "8.3986e+35", "1E+05", "8,39860E+35", "123456789012345680.0"])
def test_ids_whose_digits_a_spreadsheet_lost_are_unknown(read, written):
    table = read(f'Image,PatientId,Mass\na.png,"{written}",1\nb.png,"{written}",0\n')
    assert patients(table) == [None, None]
    assert kinds(table)["patient-id-digits-lost"] == 2
    assert table.account.why_without_patient == {"digits lost": 2}


@pytest.mark.parametrize("written", ["'00013", '="00013"', '"=""00013"""', "00013", "13.0", " 13", "\u201913"])
def test_marks_of_spreadsheets_are_stripped_from_ids(read, written):
    table = read(f"Image,PatientId,Mass\na.png,{written},1\n")
    assert patients(table) == ["13"]
    marked = {"patient-id-marks", "formula-cells"} & kinds(table).keys()
    assert bool(marked) == (written.strip('"')[:1] in ("'", "=", "\u2019"))
    assert table.raw.select([0]) == table.raw.content


@pytest.mark.parametrize("written", ["unknown", "-1", "?", "none", "N.A.", "--", "anonymous", "Not available"])
def test_placeholders_are_unknown_patients(read, written):
    table = read(f"Image,PatientId,Mass\na.png,{written},1\nb.png,{written},1\nc.png,7,1\n")
    assert patients(table) == [None, None, "7"]
    assert kinds(table)["patient-placeholder"] == kinds(table)["no-patient"] == 2


def test_patients_are_compared_within_one_namespace(read):
    chexpert = (
        "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema\ntrain/patient00013/study1/view1_frontal.jpg,M,60,Frontal,AP,1\n"
    )
    assert read(chexpert).patient_namespace == "chexpert"
    assert read("Image,PatientId,Mass\n00000013_000.png,13,1\n").patient_namespace == "nih"
    assert read("Image,PatientId,Mass\nmine-13.png,13,1\n").patient_namespace is None
    assert read("Path,Edema\ntest/patient64741/study1/view1_frontal.jpg,1.0\n").patient_namespace == "chexpert"
    # One name that is not in the pattern, and nobody knows whose number 14 is.
    assert read("Image,PatientId,Mass\n00000013_000.png,13,1\nmine.png,14,1\n").patient_namespace is None


def test_patients_come_from_names_alike_in_tables_lists_and_folders(read, tmp_path):
    names = ["00000001_000.png", "00000001_001.png", "00000022_000.png"]
    table = read("Image,Mass\n" + "".join(f"{name},1\n" for name in names))
    listed = read("\n".join(names), name="list.txt", allow_image_list=True)
    for name in names:
        (tmp_path / "images" / "Mass").mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / "Mass" / name).write_bytes(b"")
    folder = read_labels(tmp_path / "images")
    for found in (table, listed, folder):
        assert patients(found) == ["1", "1", "22"]
        assert (found.patient_namespace, found.account.patients) == ("nih", "image names")
    assert "pattern of nih" in message(table, "patients-from-names")


def test_a_pattern_of_the_user_finds_patients(read):
    text = "Image,Mass\nsite1_p07_a.png,1\nsite1_p07_b.png,0\nother.png,0\n"
    assert patients(read(text)) == [None, None, None]
    table = read(text, patient_pattern=r"_p(\d+)_")
    assert patients(table) == ["7", "7", None]
    assert table.account.why_without_patient == {"image name that the pattern does not fit": 1}
    for pattern, says in (("p(", "is not a regular expression"), ("p\\d", "has no group"), ("zzz(1)", "fits none")):
        with pytest.raises(UsageError, match=says):
            read(text, patient_pattern=pattern)


# Lists.


def test_lists_with_labels_behind_the_names(read):
    ones = "00000001_000.png " + " ".join("100000000000 1 0".split(maxsplit=0)[0].replace(" ", "")) + "\n"
    table = read(ones + ones.replace("1_000", "2_000"), name="train_list.txt")
    assert table.images == ["00000001_000.png", "00000002_000.png"]
    assert positives(table)["Atelectasis"] == 2
    short = read("00000001_000.png 1 0\n00000002_000.png 0 0\n", name="a.txt", allow_image_list=True)
    assert (short.images, patients(short)) == (["00000001_000.png", "00000002_000.png"], ["1", "2"])
    assert "label-columns-without-names" in kinds(short)
    with pytest.raises(LabelTableError, match="line 2: 1 labels behind the name; expected 2"):
        read("00000001_000.png 1 0\n00000002_000.png 0\n", name="a.txt", allow_image_list=True)


def test_a_first_line_without_the_ending_of_an_image_is_a_header(read):
    table = read("Image Index\na.png\nb.png\n", name="a.txt", allow_image_list=True)
    assert table.images == ["a.png", "b.png"]
    assert "Image Index" in message(table, "header-line")
    assert table.select([1]) == b"Image Index\nb.png\n"
    with pytest.raises(LabelTableError, match="a list of images without labels"):
        read("a.png\n", name="a.txt")


def test_lists_of_patients(read):
    table = read("patient00013\npatient00014\n", name="patients.txt", allow_image_list=True)
    assert (patients(table), table.patient_namespace, table.names_images) == (["13", "14"], "chexpert", False)
    table = read("patient_id\n007\nunknown\n", name="patients.txt", allow_image_list=True)
    assert patients(table) == ["7", None]


def test_lists_of_covidx(read):
    text = "3 a.png negative cohen\n3 b.png positive sirm\n4 c.png positive sirm\n"
    table = read(text, name="train_COVIDx9A.txt")
    assert (table.schema, positives(table)) == ("covidx", {"COVID-19": 2})
    assert patients(table) == ["cohen:3", "sirm:3", "sirm:4"]
    assert table.select([2]) == b"4 c.png positive sirm\n"


# Headers.


@pytest.mark.parametrize(
    ("text", "schema", "image"),
    [
        (",Image,PatientId,Mass\n0,a.png,1,1\n", "course", "a.png"),
        ("Unnamed: 0,Image,PatientId,Mass\n0,a.png,1,1\n", "course", "a.png"),
        ("Path,Cardiomegaly,Edema\ntest/patient64741/study1/view1_frontal.jpg,1.0,0.0\n", "own", None),
        ("Image Index,Patient ID,Mass\n00000001_000.png,1,1\n", "own", "00000001_000.png"),
        ("filename, Atelectasis, No Finding\na_jpg.rf.1.jpg,1,0\n", "own", "a_jpg.rf.1.jpg"),
        ("patientId,x,y,width,height,Target\nabc,,,,,0\n", "rsna", "abc"),
        ("X_ray_image_name,Label,Dataset_type\na.jpeg,Pnemonia,TRAIN\n", "own", "a.jpeg"),
        ("scan,mass\nz/a.png,1\n", "own", "z/a.png"),
    ],
)
def test_headers_of_all_kinds(read, text, schema, image):
    table = read(text)
    assert table.schema == schema
    assert image is None or table.images == [image]
    assert len(table.pathologies) >= 1


def test_absolute_names_are_read_and_never_opened(read):
    table = read("Path,Edema\n/nas/x/CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,1\n")
    assert (kinds(table)["absolute-image-names"], table.patient_ids) == (1, ("64541",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scan,mass\na,1\n", "no column names the image: scan, mass"),
        ("image,filename,mass\na.png,b.png,1\n", "2 columns could name the image: image, filename"),
        ("image,patient_id,subject,mass\na.png,1,2,1\n", "columns patient_id and subject could both name the patient"),
        ("Image,Mass\na.png,1\nb.png,2\nc.png,x\nd.png,7\n", "label '2' (3 such rows, 'x' in line 4, '7' in line 5)"),
        ("path,prob_Mass,prob_Edema\na.png,0.1,0.9\n", "is a file of predicted probabilities"),
        ("Image,Mass,Edema\na.png,0.1,0.9\n", "is a file of predicted probabilities"),
        ("label,auc\nMass,0.9\nEdema,0.8\n", "is a table of figures by pathology"),
        ("a.png,1\nb.png,0\n", "line 1: names an image, a.png, so it is not a header"),
        ("Image,labels\na.png,Mass;Edema|Hernia\n", "could be separated by | or by ;, as in 'Mass;Edema|Hernia'"),
        ("Image,Mass,mass\na.png,1,0\n", "columns Mass and mass are one pathology"),
    ],
)
def test_what_cannot_be_told_is_one_line_with_the_option_that_decides(read, text, says):
    with pytest.raises(LabelTableError) as caught:
        read(text)
    assert says in str(caught.value)
    assert caught.value.remedy
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("odd", ["2", "maybe"])
def test_a_column_of_labels_with_few_other_cells_is_named_with_them(read, odd):
    rows = "".join(f"{row}.png,{row % 2},{row // 2 % 2}\n" for row in range(10))
    text = f"Image,Mass,gizmo\n{rows}x.png,0,{odd}\n"
    table = read(text)
    (issue,) = [issue for issue in table.issues if issue.kind == "columns-not-used"]
    assert f"gizmo is 0 and 1 but for 1 row, '{odd}' in line 12" in issue.message
    assert "labels=gizmo" in issue.message
    # Named as labels, it is read cell by cell, and not as a column of findings.
    with pytest.raises(LabelTableError, match=f"line 12: column gizmo: label '?{odd}"):
        read(text, columns="labels=Mass+gizmo")


def test_the_user_names_columns(read):
    text = "scan,who,other,yrs,kind,Mass,Edema\na,p1,9,40,PA,1,0\nb,p1,8,41,AP,0,1\n"
    table = read(text, columns="image=scan,patient=who,age=yrs,view=kind,labels=Mass")
    assert (table.images, patients(table), table.pathologies) == (["a", "b"], ["p1", "p1"], ("Mass",))
    assert table.frame["age"].tolist() == [40, 41]
    assert table.frame["view"].tolist() == ["PA", "AP"]
    assert uses(table)["Edema"] == uses(table)["other"] == "not used"
    for columns, says in (
        ("image=scann", "has no such column; did you mean scan?"),
        ("img=scan", "'img' is not one of the keys; did you mean image?"),
        ("image", "'image' is not KEY=NAME"),
        ("image=scan,image=who", "image stands twice"),
        ("image=scan,patient=scan", "scan stands for image and for patient"),
        ("image=scan+who", "2 columns; expected one"),
    ):
        with pytest.raises(UsageError) as caught:
            read(text, columns=columns)
        assert says in str(caught.value)
    assert parse_columns("image=a b, labels=x+y") == {"image": ("a b",), "labels": ("x", "y")}


# How the file is written.

PLAIN = "Image,PatientId,Mass,Age\na.png,7,1,40.5\nb.png,8,0,50\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PLAIN.encode("utf-8-sig"), None),
        (PLAIN.encode("utf-16"), "utf-16"),
        (PLAIN.encode("utf-16-le"), "utf-16"),
        (PLAIN.replace(",", ";").replace("40.5", "40,5").encode(), "decimal-commas"),
        (b"sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n").encode(), "delimiter"),
        (PLAIN.replace(",", "\t").encode(), "delimiter"),
        (PLAIN.replace("\n", "\r\n").encode(), None),
        (PLAIN.replace("\n", ",,\n").encode(), "empty-columns"),
        (PLAIN.replace("7,1,40.5", "7,1,40.5,,").encode(), "empty-columns"),
        ((PLAIN + ",,,\n,,,\n").encode(), "blank-rows"),
        (PLAIN.replace("Age", '"Age"').replace("40.5", '"40.5"').encode(), None),
    ],
)
def test_a_table_is_the_same_however_it_is_written(read, content, kind):
    table, plain = read(content), read(PLAIN)
    assert table.images == plain.images
    np.testing.assert_array_equal(table.labels, plain.labels)
    assert (patients(table), table.frame["age"].tolist()) == (["7", "8"], [40.5, 50])
    assert (kind in kinds(table)) if kind else not table.issues
    # What is written is in the form of the input, and reads as what was selected.
    again = read(table.select([1]), name="again.csv")
    assert again.images == ["b.png"]
    assert table.select(range(2)).replace(b",,,\n", b"") in (
        content,
        content.replace(b",,,\n", b""),
        b"\xff\xfe" + content,
    )


def test_quotes_may_hold_line_breaks(read):
    table = read('Image,PatientId,Mass,Notes\na.png,7,1,"two\nlines"\nb.png,8,0,""\n')
    assert table.images == ["a.png", "b.png"]
    assert table.line(1) == 4


LABELS = st.lists(
    st.tuples(st.sampled_from(["1", "0", ""]), st.sampled_from(["1", "0"]), st.integers(1, 9)), min_size=1, max_size=12
)


@settings(max_examples=40)
@given(LABELS, st.randoms(use_true_random=False))
def test_order_of_rows_and_columns_and_the_program_that_wrote_them_change_no_number(tmp_path_factory, rows, random):
    folder = tmp_path_factory.mktemp("law")
    frame = pd.DataFrame(
        {
            "filename": [f"{place}.png" for place in range(len(rows))],
            "subject": [f"p{patient}" for _, _, patient in rows],
            "Mass": pd.array([int(one) if one else None for one, _, _ in rows], dtype="Int64"),
            "Edema": [int(other) for _, other, _ in rows],
        }
    )
    shuffled = frame.sample(frac=1, random_state=random.randrange(2**31))
    shuffled = shuffled[random.sample(list(frame.columns), len(frame.columns))]
    frame.to_csv(folder / "plain.csv", index=False)
    frame.to_csv(folder / "index.csv")
    shuffled.to_csv(folder / "shuffled.csv", index=False)
    frame.to_csv(folder / "excel.csv", index=False, sep=";", lineterminator="\r\n", encoding="utf-8-sig")
    (folder / "packed.csv.gz").write_bytes(gzip.compress((folder / "plain.csv").read_bytes()))
    tables = [
        read_labels(folder / name) for name in ("plain.csv", "index.csv", "shuffled.csv", "excel.csv", "packed.csv.gz")
    ]
    found = {
        (
            tuple(sorted(positives(table).items())),
            tuple(sorted(zip(table.pathologies, table.counts.n_unknown.tolist(), strict=True))),
            frozenset(zip(table.images, patients(table), strict=True)),
        )
        for table in tables
    }
    assert len(found) == 1


# Folders.


def folder_of(tmp_path, files):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def test_sub_folders_are_classes(tmp_path):
    folder = folder_of(
        tmp_path / "train",
        ["PNEUMONIA/person1_bacteria_1.jpeg", "PNEUMONIA/person1_virus_6.jpeg", "NORMAL/IM-0115-0001.jpeg", ".x/a.png"],
    )
    table = read_labels(folder)
    assert (table.schema, positives(table), table.n_images) == ("folder", {"PNEUMONIA": 2}, 3)
    assert patients(table) == [None, "person1", "person1"]
    assert table.patient_namespace == "kermany"
    assert table.select([1]) == b"image,class\nPNEUMONIA/person1_bacteria_1.jpeg,PNEUMONIA\n"
    pattern = read_labels(folder, patient_pattern=r"(\d{4}|person\d+)")
    assert patients(pattern) == ["115", "person1", "person1"]


def test_folders_without_classes_and_of_other_kinds(tmp_path):
    table = read_labels(folder_of(tmp_path / "flat", ["a.png", "b.jpg", "notes.txt"]))
    assert (table.images, table.pathologies) == (["a.png", "b.jpg"], ())
    parts = read_labels(folder_of(tmp_path / "nih", ["images_001/00000001_000.png", "images_002/00000002_000.png"]))
    assert (parts.pathologies, parts.patient_ids) == ((), ("1", "2"))
    with pytest.raises(LabelTableError, match="the class folder NORMAL has no image"):
        read_labels(folder_of(tmp_path / "empty", ["NORMAL/x.txt", "SICK/a.png"]))
    with pytest.raises(LabelTableError, match="its sub-folders are splits: test, train"):
        read_labels(folder_of(tmp_path / "splits", ["train/A/a.png", "test/A/b.png"]))
    with pytest.raises(InputError, match=r"a folder without images; it holds t\.csv"):
        read_labels(folder_of(tmp_path / "tables", ["t.csv"]))


def test_the_table_inside_a_folder_is_read(tmp_path):
    folder = folder_of(tmp_path / "train", ["a.jpg"])
    (folder / "_classes.csv").write_text("filename, Atelectasis, No Finding\na.jpg, 1, 0\n")
    table = read_labels(folder)
    assert (table.images, positives(table)) == (["a.jpg"], {"Atelectasis": 1})
    assert str(folder / "_classes.csv") in message(table, "table-inside-folder")


def test_every_error_of_a_strange_table_is_one_of_ours(read):
    for text in (
        "Image,Mass\n\n",
        "a;b\n1;2\n",
        "Image;Mass\n;;\n",
        "\t\n",
        ",,,\n1,2,3,4\n",
        "Image,label\na.png," + "x" * 300,
    ):
        try:
            read(text)
        except CxrError as error:
            assert error.remedy or error.expected
