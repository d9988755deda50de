"""Data sets as published: heads of real files, and rows made up in the form of those that cannot be shared."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from cxr_cli.data.labels import LabelTable, read_again, read_labels
from cxr_cli.errors import LabelTableError, UsageError


@pytest.fixture(scope="session")
def tables(real_data):
    return real_data / "tables"


def positives(table: LabelTable) -> dict[str, int]:
    return dict(zip(table.pathologies, table.counts.n_positive.tolist(), strict=True))


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def patients(table):
    return [None if pd.isna(item) else item for item in table.frame["patient_id"]]


# Heads of real files, counted one by one.


def test_google(tables):
    path = tables / "google_nih_relabels.csv"
    table, rows = read_labels(path), rows_of(path)
    assert (table.schema, table.n_images, len(table.patient_ids), table.patient_namespace) == (
        "google-nih",
        200,
        89,
        "nih",
    )
    expected = {name: sum(row[name] == "YES" for row in rows) for name in table.pathologies}
    assert positives(table) == expected
    assert expected == {"Fracture": 6, "Pneumothorax": 11, "Airspace opacity": 110, "Nodule or mass": 24}
    assert {name: part.n_images for name, part in table.parts().items()} == {
        name: sum(row["Set Id"] == name for row in rows) for name in {row["Set Id"] for row in rows}
    }
    assert "Finding Labels" in next(issue.message for issue in table.issues if issue.kind == "columns-not-used")
    assert read_labels(path, schema="nih").pathologies != table.pathologies


def test_rsna(tables):
    path = tables / "rsna_stage_2_train_labels.csv"
    table, rows = read_labels(path), rows_of(path)
    images = {row["patientId"] for row in rows}
    assert (table.n_images, table.account.n_rows) == (len(images), len(rows)) == (93, 120)
    assert positives(table) == {"Pneumonia": len({row["patientId"] for row in rows if row["Target"] == "1"})}
    assert not table.has_patients and "id of an image" in table.issues[0].message
    assert table.account.aggregation.startswith("93 images from 120 rows")
    assert sum(table.account.why_without_patient.values()) == 93
    joined = read_labels(path, join=[tables / "rsna_dicom_headers.csv"])
    headers = {row["PatientID"]: row for row in rows_of(tables / "rsna_dicom_headers.csv")}
    for image, age, sex in zip(joined.images, joined.frame["age"], joined.frame["sex"], strict=True):
        assert sex == headers[image]["PatientSex"]
        assert age == float(headers[image]["PatientAge"]) or (np.isnan(age) and int(headers[image]["PatientAge"]) > 120)
    assert [source.path for source in joined.sources] == [str(path), str(tables / "rsna_dicom_headers.csv")]
    # All lines of an image go together.
    several = next(name for name in images if sum(row["patientId"] == name for row in rows) > 1)
    chosen = table.images.index(several)
    lines = table.select([chosen]).decode().splitlines()
    assert len(lines) == 1 + sum(row["patientId"] == several for row in rows)
    assert {line.split(",")[0] for line in lines[1:]} == {several}


def test_headers_without_labels(tables):
    for name, n_images, n_patients in (("rsna_dicom_headers", 95, 0), ("openi_dicom_metadata", 40, 20)):
        table = read_labels(tables / f"{name}.csv")
        assert (table.n_images, len(table.patient_ids), table.pathologies) == (n_images, n_patients, ())
        assert not table.account.named("not used")
        with pytest.raises(LabelTableError, match="has no labels"):
            read_labels(tables / f"{name}.csv", need_labels=True)


def test_siim(tables):
    path = tables / "siim_train_rle.csv"
    table = read_labels(path)
    rows = [(row["ImageId"], row[" EncodedPixels"].strip()) for row in rows_of(path)]
    assert table.n_images == len({image for image, _ in rows}) == 40
    assert positives(table) == {"Pneumothorax": len({image for image, pixels in rows if pixels != "-1"})}


@pytest.mark.parametrize(("readers", "votes"), [("any", 1), ("majority", 2), ("all", 3)])
def test_vinbigdata(tables, readers, votes):
    path = tables / "vinbigdata_train.csv"
    table, rows = read_labels(path, readers=readers), rows_of(path)
    seen: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        seen.setdefault((row["image_id"], row["class_name"]), set()).add(row["rad_id"])
    assert (table.n_images, table.account.n_rows) == (60, 438)
    assert positives(table) == {
        name: sum(len(who) >= votes for (_, found), who in seen.items() if found == name) for name in table.pathologies
    }
    assert "No finding" not in table.pathologies and len(table.pathologies) == 14
    assert "cannot be checked" in table.issues[0].message


def test_boxes_of_nih(real_data):
    table = read_labels(real_data / "nih" / "BBox_List_2017.csv.gz")
    assert (table.schema, table.n_images, table.account.n_rows, len(table.patient_ids)) == ("nih-boxes", 880, 984, 726)
    # Published counts of boxes by pathology, each once an image.
    assert positives(table) == {
        **{"Atelectasis": 180, "Cardiomegaly": 146, "Effusion": 153, "Infiltration": 123},
        **{"Mass": 85, "Nodule": 79, "Pneumonia": 120, "Pneumothorax": 98},
    }


def test_predictions_with_labels_and_refused_ones(real_data):
    for name, n_images, n_patients in (("train_preds", 5000, 3825), ("valid_preds", 1000, 529)):
        table = read_labels(real_data / "predictions" / "course" / f"{name}.csv")
        assert (table.n_images, len(table.patient_ids), len(table.pathologies)) == (n_images, n_patients, 14)
        assert len(table.account.named("prediction")) == 14
    folder = real_data / "predictions" / "nih-five-models" / "seed11"
    table = read_labels(folder / "True.csv.gz")
    assert (table.n_images, len(table.patient_ids), len(table.pathologies)) == (6373, 1835, 14)
    for name, says in (
        ("preds.csv.gz", "predicted probabilities"),
        ("Threshold.csv", "figures by pathology"),
        ("TestEval.csv", "figures by pathology"),
        ("FPRFNR_NF_age.csv", "figures by pathology"),
        ("FPRFNR_NF_sex.csv", "figures by pathology"),
    ):
        with pytest.raises(LabelTableError, match=says):
            read_labels(folder / name)
    with pytest.raises(LabelTableError, match="predicted probabilities"):
        read_labels(real_data / "predictions" / "reproduce-chexnet" / "preds.csv.gz")


# Made up in the form of files that cannot be shared.


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def mimic(write):
    labels = write(
        "mimic-cxr-2.0.0-chexpert.csv",
        "subject_id,study_id,Atelectasis,Enlarged Cardiomediastinum,No Finding,Support Devices\n"
        "10000032,50414267,1.0,,,\n"
        "10000032,53189527,,-1.0,,1.0\n"
        "10000764,57375967,0.0,,1.0,\n"
        "10000898,50771383,1.0,,,\n",
    )
    metadata = write(
        "mimic-cxr-2.0.0-metadata.csv",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns\n"
        "aaa,10000032,50414267,CHEST,PA,3056,2544\n"
        "bbb,10000032,50414267,CHEST,LATERAL,3056,2544\n"
        "ccc,10000032,53189527,CHEST,,3056,2544\n"
        "ddd,10000764,57375967,CHEST,AP,3056,2544\n"
        "eee,10009999,59999999,CHEST,AP,3056,2544\n",
    )
    split = write(
        "mimic-cxr-2.0.0-split.csv",
        "dicom_id,study_id,subject_id,split\n"
        "aaa,50414267,10000032,train\nbbb,50414267,10000032,train\nccc,53189527,10000032,train\n"
        "ddd,57375967,10000764,test\neee,59999999,10009999,train\n",
    )
    return labels, metadata, split


def test_mimic(mimic):
    labels, metadata, split = mimic
    table = read_labels(labels, join=[split, metadata])
    assert table.images == [
        "files/p10/p10000032/s50414267/aaa.jpg",
        "files/p10/p10000032/s50414267/bbb.jpg",
        "files/p10/p10000032/s53189527/ccc.jpg",
        "files/p10/p10000764/s57375967/ddd.jpg",
    ]
    assert (patients(table), table.patient_namespace) == (["10000032"] * 3 + ["10000764"], "mimic-cxr")
    np.testing.assert_array_equal(
        table.labels, [[1, np.nan, np.nan], [1, np.nan, np.nan], [np.nan, np.nan, 1], [0, np.nan, np.nan]]
    )
    assert [None if pd.isna(view) else view for view in table.frame["view"]] == ["PA", "LATERAL", None, "AP"]
    assert {name: part.images[0][-7:] for name, part in table.parts().items()} == {
        "test": "ddd.jpg",
        "train": "aaa.jpg",
    }
    assert table.account.rows_not_used == {"study without an image": 1}
    assert table.account.aggregation == "4 images from 4 studies"
    assert {issue.kind: issue.count for issue in table.issues}["images-without-labels"] == 1
    # A part of the labels is written in their own form, and read again with the same files.
    part = labels.with_name("part.csv")
    part.write_bytes(table.select([0, 1]))
    assert part.read_text().splitlines()[1:] == ["10000032,50414267,1.0,,,"]
    assert read_again(table, part).images == table.images[:2]


@pytest.mark.parametrize(("given", "missing"), [((), 2), ((1,), 1), ((2,), 1)])
def test_two_of_the_three_files_of_mimic_are_missing(mimic, given, missing):
    with pytest.raises(LabelTableError) as caught:
        read_labels(mimic[0], join=[mimic[place] for place in given])
    text = caught.value.in_terminal()
    assert "is read together with" in text and text.count("--join") == missing


def test_a_file_that_does_not_belong_is_refused(mimic, write):
    other = write("other.csv", "a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"other\.csv: does not belong to"):
        read_labels(mimic[0], join=[mimic[1], mimic[2], other])
    with pytest.raises(UsageError, match="it is not joined with others"):
        read_labels(write("t.csv", "Image,Mass\na.png,1\n"), join=[other])


def test_padchest(write):
    table = read_labels(
        write(
            "padchest.csv",
            ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,Projection,Labels\n"
            "0,a.png,0,20140915,1,839860488694292331637988235681460987,1930.0,F,PA,"
            "\"['pulmonary fibrosis', ' nodule']\"\n"
            "1,b.png,0,20100101,2,p2,1950.0,M,L,\"['normal']\"\n"
            "2,c.png,0,20100101,3,p3,,M,AP_horizontal,\n"
            "3,d.png,0,20100101,4,p4,1700.0,M,PA,\"['exclude']\"\n"
            "4,e.png,0,20100101,5,p4,1940.0,M,PA,\"['breast mass', 'unchanged']\"\n",
        )
    )
    assert (table.schema, table.pathologies) == ("padchest", ("breast mass", "nodule", "pulmonary fibrosis"))
    np.testing.assert_array_equal(table.labels, [[0, 1, 1], [0, 0, 0], [np.nan] * 3, [np.nan] * 3, [1, 0, 0]])
    np.testing.assert_array_equal(table.frame["age"], [84, 60, np.nan, np.nan, 70])
    assert patients(table)[0] == "839860488694292331637988235681460987"
    kinds = {issue.kind: issue.count for issue in table.issues}
    assert (kinds["labels-undefined"], kinds["no-findings-cell"], kinds["age-out-of-range"]) == (1, 1, 1)
    assert not table.account.named("not used")


def test_brax_and_chexpert_plus(write):
    brax = read_labels(
        write(
            "brax.csv",
            "DicomPath,PngPath,PatientID,PatientSex,PatientAge,No Finding,Enlarged Cardiomediastinum,Edema,"
            "ViewPosition\n"
            "d/1.dcm,images/id_1/1.png,id_1,F,85 or more,1.0,,,AP\n",
        )
    )
    assert (brax.schema, brax.images, patients(brax)) == ("brax", ["images/id_1/1.png"], ["id_1"])
    assert (brax.frame["age"].tolist(), brax.patient_namespace) == ([85], "brax")
    plus = read_labels(
        write(
            "plus.csv",
            "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,report,age,sex,split\n"
            'train/patient00013/study1/view1_frontal.jpg,x.dcm,Frontal,AP,patient00013,"two\nlines",60.0,Male,train\n',
        )
    )
    assert (plus.schema, plus.pathologies, plus.patient_namespace) == ("chexpert-plus", (), "chexpert")


def test_labels_of_vindr_by_reader(write):
    table = read_labels(
        write(
            "image_labels_train.csv",
            "image_id,rad_id,Aortic enlargement,Nodule/Mass,No finding\n"
            "a,R1,1,0,0\na,R2,1,0,0\na,R3,0,1,0\nb,R1,0,0,1\nb,R2,0,0,1\nb,R4,0,0,1\n",
        ),
        readers="majority",
    )
    assert (table.schema, table.images) == ("vindr-cxr", ["a", "b"])
    assert table.labels.tolist() == [[1, 0], [0, 0]]


def test_test_labels_of_chexpert(write):
    table = read_labels(
        write(
            "test_labels.csv",
            "Study,Enlarged Cardiomediastinum,Lung Opacity,Pleural Other\n"
            "CheXpert-v1.0/test/patient64741/study1,1.0,0.0,0.0\n",
        )
    )
    assert (table.schema, patients(table)) == ("chexpert-test", ["64741"])


def test_boxes_and_readers_of_ones_own(write):
    boxes = read_labels(
        write(
            "boxes.csv", "file,subject,x,y,w,h,label\na.png,1,1,1,2,2,Mass\na.png,1,5,5,2,2,Edema\nb.png,2,,,,,normal\n"
        )
    )
    assert (boxes.n_images, positives(boxes)) == (2, {"Edema": 1, "Mass": 1})
    assert boxes.select([0]).count(b"a.png") == 2
    readers = read_labels(write("readers.csv", "image,reader,Mass\na.png,x,1\na.png,y,0\nb.png,x,0\nb.png,y,0\n"))
    assert (readers.n_images, positives(readers)) == (2, {"Mass": 1})
    both = read_labels(readers.path, readers="all")
    assert positives(both) == {"Mass": 0}
    contradicting = read_labels(
        write("c.csv", "file,subject,x,y,w,h,label\na.png,1,1,1,2,2,Mass\na.png,2,5,5,2,2,Mass\n")
    )
    assert "contradicting-rows" in {issue.kind for issue in contradicting.issues}
