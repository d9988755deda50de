from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import InputError
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.evaluate.inputs import (
    build,
    groups_of,
    truth_of_table,
)
from tests.services.evaluate.conftest import labels_text, predictions


def kinds(result):
    return {issue.kind: issue for issue in result.issues}


def test_rows_are_joined_by_name_and_sorted(table):
    truth = truth_of_table(table(labels_text([1, 0, 1], ["x", "y", "x"], images=["c.png", "a.png", "b.png"])))
    data = build({"m": [predictions([0.1, 0.2, 0.3], images=["b.png", "c.png", "a.png"])]}, truth)
    assert data.images == ("a.png", "b.png", "c.png")
    assert data.labels.ravel().tolist() == [0, 1, 1]
    assert data.models[0].scores.ravel().tolist() == [0.3, 0.1, 0.2]
    assert data.clusters.tolist() == [0, 1, 1] and data.n_patients == 2


def test_names_missing_on_either_side_are_issues(table):
    truth = table(labels_text([1, 0, 1, 0], range(4), images=["a", "b", "c", "d"]))
    found = kinds(evaluate(predictions([0.1, 0.2, 0.3, 0.4], images=["z", "a", "b", "c"]), truth, n_draws=100))
    assert found["images-without-labels"].examples == ("z",)
    assert found["images-without-predictions"].examples == ("d",)
    with pytest.raises(InputError, match="no image in common"):
        evaluate(predictions([0.1, 0.2], images=["x", "y"]), truth, n_draws=100)


def test_folders_before_names_are_left_out_if_nothing_matches_with_them(table):
    truth = table(labels_text([1, 0, 1], range(3), images=["a.png", "b.png", "c.png"]))
    given = predictions([0.9, 0.1, 0.8], images=["x/a.png", "y\\b.png", "c.png"])
    # One name matches as it is, so the others count as missing.
    with pytest.raises(InputError, match="no pathology has both"):
        evaluate(given, truth, n_draws=100)
    result = evaluate(replace(given, images=("x/a.png", "y\\b.png", "x/c.png")), truth, n_draws=100)
    assert result.n_images == 3 and list(kinds(result)) == ["matched-without-folders"]
    twice = replace(given, images=("x/a.png", "y/a.png", "x/c.png"))
    with pytest.raises(InputError, match="no image in common"):
        evaluate(twice, truth, n_draws=100)


def test_names_of_pathologies_meet_however_they_are_written(table):
    truth = table(labels_text([[1], [0]], range(2), ("Pleural_Thickening",)))
    result = evaluate(predictions([0.9, 0.1], pathologies=("pleural thickening",)), truth, n_draws=100)
    assert result.models[0].pathologies[0].pathology == "Pleural_Thickening"
    with pytest.raises(InputError, match="predicts no pathology of"):
        evaluate(predictions([0.9, 0.1], pathologies=("Hernia",)), truth, n_draws=100)


def test_images_that_a_table_names_twice(table):
    text = "Image,PatientId,Mass,Edema\na.png,p1,1,0\na.png,p1,1,1\nb.png,p2,0,1\nc.png,p3,1,0\n"
    truth = truth_of_table(table(text))
    assert truth.images == ("a.png", "b.png", "c.png")
    np.testing.assert_array_equal(truth.labels[:, :2], [[1, np.nan], [0, 1], [1, 0]])
    assert [issue.kind for issue in truth.issues] == ["label-table-issues", "repeated-labels", "contradicting-labels"]


def test_patients_come_from_the_first_that_knows_them(table, tmp_path):
    images = [f"{patient:08d}_{k:03d}.png" for patient in (1, 2) for k in range(3)]
    labels = [1, 0, 1, 0, 1, 0]
    (tmp_path / "attributes.csv").write_text(labels_text(labels, [7, 8, 9, 7, 8, 9], images=images))
    attributes = read_labels(tmp_path / "attributes.csv")
    text = labels_text(labels, images=[f"x{image}" for image in images])
    own = predictions([0.6, 0.1, 0.7, 0.2, 0.3, 0.4], images=[f"x{image}" for image in images])
    without = table(text)
    unknown = evaluate(own, without, n_draws=100)
    assert (unknown.n_patients, unknown.patients_from, unknown.unit) == (0, None, "image")
    assert "too narrow" in kinds(unknown)["no-patients"].message
    in_file = evaluate(replace(own, patients=("a", "a", "b", "b", "c", "c")), without, n_draws=100)
    assert in_file.n_patients == 3 and in_file.patients_from == "predictions"
    named = replace(own, images=tuple(images))
    nih = table(labels_text(labels, images=images), "nih.csv")
    from_attributes = evaluate(named, nih, attributes=attributes, n_draws=100)
    assert from_attributes.patients_from in (attributes.source.path, str(nih.path))
    assert evaluate(named, nih, n_draws=100).n_patients == 2


def test_images_without_a_patient_are_patients_of_their_own(table):
    text = "Image,PatientId,Mass\n" + "".join(f"{k}.png,{'' if k > 3 else 'p1'},{k % 2}\n" for k in range(8))
    result = evaluate(predictions(np.arange(8) / 8, images=[f"{k}.png" for k in range(8)]), table(text), n_draws=100)
    assert kinds(result)["images-without-patient"].count == 4
    assert result.models[0].pathologies[0].n_patients == 5


def test_no_finding_of_a_table_that_lists_findings(tmp_path):
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows = ["a.png,No Finding,0,1,50,M,PA", "b.png,Mass|Edema,0,2,50,F,PA", "c.png,Hernia,0,3,50,F,PA"]
    (tmp_path / "nih.csv").write_text("\n".join([header, *rows]) + "\n")
    truth = truth_of_table(read_labels(tmp_path / "nih.csv"))
    assert truth.labels[:, truth.pathologies.index("No Finding")].tolist() == [1, 0, 0]


def test_models_must_have_the_same_images(examples):
    table, files = examples
    fewer = replace(files["test-b"], images=files["test-b"].images[1:], probabilities=files["test-b"].probabilities[1:])
    with pytest.raises(InputError, match=r"model and B predict different images: 1 only in .*, 0 only in"):
        evaluate(files["test-a-seed1"], table, compare={"B": [fewer]}, n_draws=100)


def test_a_pathology_missing_in_one_model_is_not_compared(examples):
    table, files = examples
    other = files["test-b"]
    keep = [column for column, name in enumerate(other.pathologies) if name != "Mass"]
    fewer = replace(
        other, pathologies=tuple(other.pathologies[k] for k in keep), probabilities=other.probabilities[:, keep]
    )
    result = evaluate(files["test-a-seed1"], table, compare={"B": [fewer]}, n_draws=100)
    assert kinds(result)["pathologies-missing-in-model"].examples == ("Mass",)
    assert "Mass" in result.models[0].mean.members and "Mass" not in result.models[1].mean.members
    assert "Mass" not in [row.pathology for row in result.comparisons[0].pathologies]
    whole = evaluate(files["test-a-seed1"], table, compare={"B": [other]}, n_draws=100)
    mean = result.comparisons[0].mean.auroc.value
    expected = [row.auroc.value for row in whole.comparisons[0].pathologies if row.pathology != "Mass"]
    assert mean == pytest.approx(np.mean(expected))
    with pytest.raises(InputError, match="predicts no pathology that the first model"):
        evaluate(files["test-a-seed1"], table, compare={"B": [replace(fewer, pathologies=tuple("wxyz"))]}, n_draws=100)


def test_runs_of_one_model_have_the_same_pathologies(examples):
    table, files = examples
    other = replace(files["test-a-seed2"], pathologies=("Cardiomegaly", "Effusion", "Hernia", "Infiltration", "Edema"))
    with pytest.raises(InputError, match="has other pathologies than"):
        evaluate([files["test-a-seed1"], other], table, n_draws=100)


def test_ages_are_grouped_by_twenty_years(table):
    text = labels_text([1, 0, 1, 0, 1, 0], range(6), Age=[0, 19, 20, 59.5, 80, ""])
    names = [f"i{row:03d}.png" for row in range(6)]
    assert groups_of("age", [*names, "other.png"], [table(text)]) == [
        "0-19",
        "0-19",
        "20-39",
        "40-59",
        "80+",
        None,
        None,
    ]


def test_any_column_divides_images(table):
    truth = table("Image,PatientId,Mass,Sex\na.png,1,1,M\nb.png,2,0,F\nc.png,3,0,\n")
    assert groups_of("Sex", ["c.png", "b.png", "a.png"], [truth]) == [None, "F", "M"]
    assert groups_of("PatientId", ["b.png"], [truth]) == ["2"]


def test_labels_of_several_readers_are_those_of_the_image(tmp_path):
    header = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    rows = [
        *("a,Cardiomegaly,3,R1,1,1,9,9", "a,No finding,14,R2,,,,", "a,Cardiomegaly,3,R3,1,1,9,9"),
        *(f"b,No finding,14,R{k},,,," for k in (1, 2, 3)),
        *(f"c,Cardiomegaly,3,R{k},1,1,9,9" for k in (1, 2, 3)),
    ]
    (tmp_path / "train.csv").write_text("\n".join([header, *rows]) + "\n")
    truth = truth_of_table(read_labels(tmp_path / "train.csv"))
    assert truth.images == ("a", "b", "c")
    assert truth.labels[:, truth.pathologies.index("Cardiomegaly")].tolist() == [1, 0, 1]
    assert groups_of("rad_id", ["c", "a"], [read_labels(tmp_path / "train.csv")]) == ["R1", "R1"]
