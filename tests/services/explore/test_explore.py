from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import UsageError
from cxr_cli.services.explore.explore import explore

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)


@pytest.fixture
def found(tmp_path):
    """Explore a table given as text."""

    def found(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return explore(read_labels(path))

    return found


@pytest.fixture(scope="module")
def reference(real_data):
    values = json.loads((real_data / "reference_values.json").read_text())["values"]
    return {value["id"]: value["expected"] for value in values if value["id"].startswith(("explore.", "nih.v2020"))}


@pytest.fixture(scope="module")
def train(real_data):
    """The course's table with all of its images that are at hand, as plain JSON values."""
    folder = real_data / "nih"
    result = explore(read_labels(folder / "train-small.csv"), folder / "images-small", n_images=39)
    return json.loads(json.dumps(result.to_dict()))


@pytest.fixture(scope="module")
def nih(real_data):
    return json.loads(json.dumps(explore(read_labels(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")).to_dict()))


def test_by_hand(found):
    result = found(
        "Image,Mass,PatientId,Edema,Nodule\na.png,1,07,1,0\nb.png,0,7,,0\nc.png,1,8,1,\nd.png,0,,0,0\na.png,1,9,0,0\n"
    )
    table, patients, labels = result.table, result.patients, result.labels
    assert (table.n_rows, table.n_columns, table.n_null_cells) == (5, 5, 3)
    assert [(item.name, item.type, item.n_null) for item in table.columns][2:4] == [
        ("PatientId", "float64", 1),
        ("Edema", "float64", 1),
    ]
    assert (table.n_images, table.n_duplicates) == (4, 1)
    assert [(row.image, row.patient_id, row.pathologies) for row in table.first_rows] == [
        ("a.png", "7", ("Mass", "Edema")),
        ("b.png", "7", ()),
        ("c.png", "8", ("Mass", "Edema")),
        ("d.png", None, ()),
        ("a.png", "9", ("Mass",)),
    ]
    assert (patients.n_patients, patients.n_without_patient, patients.maximum) == (3, 1, 2)
    assert patients.images_per_patient == {1: 2, 2: 1} and patients.patients_with_maximum == ("7",)
    assert (patients.mean, patients.median) == (pytest.approx(4 / 3), 1)
    mass, edema, nodule = result.pathologies
    assert (mass.n_positive, mass.n_negative, mass.n_unknown, mass.n_patients) == (3, 2, 0, 3)
    assert (mass.prevalence, mass.negatives_per_positive) == (0.6, pytest.approx(2 / 3))
    assert (edema.n_positive, edema.n_negative, edema.n_unknown, edema.prevalence) == (2, 2, 1, 0.5)
    assert nodule.prevalence == 0 and math.isnan(nodule.negatives_per_positive)
    assert labels.per_image == {0: 2, 1: 1, 2: 2}
    assert (labels.n_labels, labels.mean_per_image) == (5, 1.0)
    assert (labels.n_without_finding, labels.n_with_one, labels.n_with_several, labels.n_unlabelled) == (2, 1, 2, 0)
    assert labels.n_combinations == 3 and labels.n_combinations_written is None
    assert {item.pathologies: item.n_images for item in labels.combinations} == {
        (): 2,
        ("Mass", "Edema"): 2,
        ("Mass",): 1,
    }
    assert result.co_occurrence.n_images == ((3, 2, 0), (2, 2, 0), (0, 0, 0))
    (pair,) = result.co_occurrence.pairs
    assert (pair.first, pair.second, pair.n_images) == ("Mass", "Edema", 2)
    assert (pair.fraction_of_first, pair.fraction_of_second) == (pytest.approx(2 / 3), 1)
    # Both are known on 4 images: 3 with Mass, 2 with Edema, so 1.5 together by chance.
    assert pair.lift == pytest.approx(2 / 1.5)
    assert result.age is result.by_view is result.by_sex is result.by_age is result.images is None


def test_age_sex_and_view_by_hand(found):
    rows = [("No Finding", "017Y", "F", "PA"), ("Mass|Nodule", "18", "M", "AP"), ("Mass", "101", "M", "PA")]
    rows += [("Mass", "200", "M", "PA"), ("", "", "F", "")]
    text = "".join(
        f"{n:08}_000.png,{cell},0,{n},{age},{sex},{view},1,1,1,1\n" for n, (cell, age, sex, view) in enumerate(rows, 1)
    )
    result = found(NIH_HEADER + text)
    age = result.age
    assert (age.n_known, age.n_unknown, age.minimum, age.maximum, age.median) == (3, 2, 17, 101, 18)
    assert (age.n_under_18, age.n_over_100, age.by_decade) == (1, 1, {10: 2, 100: 1})
    assert [(group.name, group.n_images) for group in result.by_view.groups] == [("PA", 3), ("AP", 1)]
    assert result.by_view.n_unknown == 1
    assert [(group.name, group.n_images) for group in result.by_sex.groups] == [("M", 3), ("F", 2)]
    assert result.by_sex.groups[0].prevalence["Mass"] == 1.0
    assert [group.n_images for group in result.by_age.groups] == [1, 1, 0, 0, 1]
    assert result.labels.n_unlabelled == 1 and result.table.first_rows[-1].pathologies is None
    assert {issue.kind for issue in result.issues} >= {"age-out-of-range", "no-findings-cell"}


def test_a_view_that_gives_the_finding_away_is_told(found):
    rows = []
    for number in range(400):
        finding = "Edema" if number % (3 if number < 200 else 20) == 0 else "No Finding"
        view = "AP" if number < 200 else "PA"
        rows.append(f"{number:08}_000.png,{finding},0,{number},{40 + number % 7},{'MF'[number % 2]},{view},1,1,1,1\n")
    (found_out,) = found(NIH_HEADER + "".join(rows)).differences
    assert (found_out.attribute, found_out.group, found_out.pathology) == ("view", "AP", "Edema")
    assert found_out.ratio == pytest.approx(67 / 10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.lists(st.sampled_from(["0", "1", ""]), min_size=3, max_size=3)),
        min_size=1,
        max_size=30,
    ).filter(lambda rows: all(any(cells[column] for _, cells in rows) for column in range(3)))
)
def test_counts_are_what_counting_one_by_one_gives(tmp_path, rows):
    path = tmp_path / "law.csv"
    lines = [f"{n:08}.png,{patient},{','.join(cells)}" for n, (patient, cells) in enumerate(rows)]
    path.write_text("Image,PatientId,Mass,Edema,Nodule\n" + "\n".join(lines) + "\n")
    result = explore(read_labels(path))
    for column, item in enumerate(result.pathologies):
        cells = [cells[column] for _, cells in rows]
        assert (item.n_positive, item.n_negative, item.n_unknown) == tuple(map(cells.count, ("1", "0", "")))
        assert item.n_patients == len({patient for patient, cells in rows if cells[column] == "1"})
    sets = [tuple(cell == "1" for cell in cells) for _, cells in rows]
    assert result.labels.n_combinations == len(set(sets))
    assert sum(number * count for number, count in result.labels.per_image.items()) == sum(map(sum, sets))
    assert sum(item.n_images for item in result.labels.combinations) == len(rows)
    assert [item.n_images for item in result.labels.combinations] == sorted(map(sets.count, set(sets)), reverse=True)
    assert sum(number * count for number, count in result.patients.images_per_patient.items()) == len(rows)
    matrix = np.array(result.co_occurrence.n_images)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix, np.array(sets, dtype=int).T @ np.array(sets, dtype=int))
    assert sum(pair.n_images for pair in result.co_occurrence.pairs) == np.triu(matrix, 1).sum()
    assert result.table.n_null_cells == sum(cells.count("") for _, cells in rows)


def test_missing_refused_and_unnamed_images_are_counted(tmp_path, sample_data):
    names = pd.read_csv(sample_data / "train-small.csv")["Image"][:4]
    (tmp_path / "images").mkdir()
    for name in names[:3]:
        shutil.copy(sample_data / "images-small" / name, tmp_path / "images" / name)
    shutil.copy(sample_data / "images-small" / names[3], tmp_path / "images" / "other.png")
    shutil.copy(sample_data / "images-small" / names[3], tmp_path / names[3])
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / names[3])
    (tmp_path / "images" / f"._{names[0]}").write_bytes(b"macOS")
    rows = [*names, names[0], "link.png", "gone.png"]
    (tmp_path / "t.csv").write_text(
        "Image,Mass,PatientId\n" + "".join(f"{name},0,{n}\n" for n, name in enumerate(rows))
    )
    images = explore(read_labels(tmp_path / "t.csv"), tmp_path / "images").images
    assert (images.n_named, images.n_found, images.n_missing, images.n_refused) == (6, 3, 2, 1)
    assert images.missing == (names[3], "gone.png") and images.refused == ("link.png",)
    assert images.n_not_named == 1  # other.png; the macOS file is none
    assert images.check.n_opened == 3 and images.check.n_broken == 0


def test_negative_numbers_are_refused(found, sample_data):
    table = read_labels(sample_data / "train-small.csv")
    with pytest.raises(UsageError):
        explore(table, n_images=-1)
    with pytest.raises(UsageError):
        explore(table, seed=-1)


def test_reference_table(train, reference):
    table = train["table"]
    assert {"rows": table["n_rows"], "columns": table["n_columns"]} == reference["explore.train.shape"]
    head = reference["explore.train.first_images"]
    assert [row["image"] for row in table["first_rows"]] == head["Image_head"]
    assert [int(row["patient_id"]) for row in table["first_rows"]] == head["PatientId_head"]
    assert [column["name"] for column in table["columns"]] == reference["explore.train.columns"]["columns"]
    nulls = reference["explore.train.nulls"]
    assert table["n_null_cells"] == nulls["null_values"]
    types = {column["name"]: column["type"] for column in table["columns"]}
    assert types.pop("Image") == "str" and nulls["dtypes"]["Image"] == "string/object"
    assert set(types.values()) == {nulls["dtypes"]["all other columns"]}


def test_reference_patients(train, reference):
    expected = reference["explore.train.ids"]
    assert train["table"]["n_rows"] - train["patients"]["n_without_patient"] == expected["patient_ids_total"]
    assert train["patients"]["n_patients"] == expected["patient_ids_unique"]
    derived = reference["explore.train.derived"]
    assert train["patients"]["images_per_patient"] == derived["images_per_patient"]
    assert train["patients"]["patients_with_maximum"] == [str(derived["max_images_patient"])]


def test_reference_labels(train, reference):
    expected = reference["explore.train.labels"]
    assert train["labels"]["n_pathologies"] == expected["n_label_columns"]
    assert [item["pathology"] for item in train["pathologies"]] == expected["labels"]
    positives = {item["pathology"]: item["n_positive"] for item in train["pathologies"]}
    assert positives == reference["explore.train.counts"]["positives"]
    derived = reference["explore.train.derived"]
    labels = train["labels"]
    assert labels["n_without_finding"] == derived["images_without_any_label"]
    assert labels["per_image"] == derived["labels_per_image"]
    assert (labels["n_labels"], labels["mean_per_image"]) == (derived["label_sum"], derived["cardinality"])


def test_reference_first_image(train, reference):
    expected = dict(reference["explore.first_image.raw"])
    images = train["images"]
    assert (images["n_named"], images["n_found"], images["n_missing"]) == (1000, 39, 961)
    (first,) = [item for item in images["check"]["sample"] if item["image"] == "00008270_015.png"]
    assert (first["height"], first["width"]) == (expected["height"], expected["width"])
    assert first["minimum"] == pytest.approx(expected["min"], abs=5e-5)
    assert first["maximum"] == pytest.approx(expected["max"], abs=5e-5)
    assert first["mean"] == pytest.approx(expected["mean"], abs=5e-5)
    assert first["std"] == pytest.approx(expected["std"], abs=5e-5)
    assert first["mean"] == pytest.approx(122.30158997 / 255, abs=1e-10)
    assert first["std"] == pytest.approx(70.31243031 / 255, abs=1e-10)
    assert images["check"]["n_with_issues"] == images["check"]["n_broken"] == 0


def test_reference_nih(nih, reference):
    expected = reference["nih.v2020"]
    labels, patients, age = nih["labels"], nih["patients"], nih["age"]
    assert (nih["table"]["n_images"], patients["n_patients"]) == (expected["images"], expected["patients"])
    assert labels["n_without_finding"] == expected["no_finding"]
    assert labels["n_with_one"] == expected["single_label"]
    assert labels["n_with_several"] == expected["multi_label"]
    assert labels["n_combinations_written"] == expected["label_combinations"]
    assert {item["pathology"]: item["n_positive"] for item in nih["pathologies"]} == expected["positives"]
    assert {group["name"]: group["n_images"] for group in nih["by_view"]["groups"]} == expected["views"]
    assert {group["name"]: group["n_images"] for group in nih["by_sex"]["groups"]} == expected["sex"]
    assert (age["minimum"], age["maximum"]) == (expected["age"]["min"], expected["age"]["max"])
    assert (age["n_over_100"], age["n_under_18"]) == (expected["age"]["gt100"], expected["age"]["lt18"])
    assert patients["maximum"] == expected["max_images_per_patient"]
    assert patients["images_per_patient"]["1"] == expected["patients_with_one_image"]


def test_nih_sets_of_findings_and_shortcuts(nih, real_data):
    cells = pd.read_csv(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")["Finding Labels"]
    assert nih["labels"]["n_combinations"] == cells.map(lambda cell: frozenset(cell.split("|"))).nunique() == 801
    differences = {(item["group"], item["pathology"]): item["ratio"] for item in nih["differences"]}
    # Portable images are taken of people who cannot stand, and edema is among the reasons.
    assert differences["AP", "Edema"] == pytest.approx(11.03, abs=0.01)
    assert all(item["attribute"] == "view" for item in nih["differences"])
