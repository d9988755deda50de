from __future__ import annotations

import json
import shutil

import jsonschema
import pytest

from cxr_cli.services.json_schema import document_schema

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_network")]


def explain(cxr, drawn, *more):
    return cxr("explain", drawn / "model.keras", drawn / "stores" / "valid", "--boxes", drawn / "boxes.csv", *more)


def test_an_untrained_model_shows_nothing(cxr, drawn, tmp_path):
    done = explain(cxr, drawn, "--draws", 50, "--output", "out", "--save-maps", "--n-images", 2, "--json")
    assert done.exit_code == 1, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("explain"))
    result = document["result"]
    assert result["method"] == "cam" and result["map_size"] == [1, 1] and result["n_boxes"] > 0
    assert [row["pathology"] for row in result["localization"]][-1] == "all"
    assert {item["map"] for item in result["localization"][0]["controls"]} == {"model", "random", "prior", "untrained"}
    assert any("shows nothing" in row["verdict"] for row in result["localization"])
    assert "point no better than the mean box" in done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"maps.png", "outside.png", "localization.png", "maps", "result.json"} or "maps.png" in names
    assert len(list((tmp_path / "out" / "maps").iterdir())) == 2
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == document
    again = explain(cxr, drawn, "--draws", 50, "--output", "out", "--save-maps", "--n-images", 2, "--json")
    assert json.loads(again.stdout)["result"] == result


def test_tables_say_bad_news_first(cxr, drawn):
    done = explain(cxr, drawn, "--draws", 20, "--no-plots", "--pathologies", "Edema")
    assert done.exit_code in (0, 1) and done.stdout.index("verdict") < done.stdout.index("pointing")
    assert "centre prior" in done.stdout and "Maps outside the lungs' usual field" in done.stdout


def test_a_table_with_images_and_a_missing_one(cxr, drawn, tmp_path):
    shutil.copytree(drawn / "images", tmp_path / "images")
    first = (drawn / "valid.csv").read_text().splitlines()[1].split(",")[0]
    (tmp_path / "images" / first).unlink()
    done = cxr("explain", drawn / "model.keras", drawn / "valid.csv", "--images", "images", "--no-plots", "--json")
    assert done.exit_code == 1, done.stderr
    result = json.loads(done.stdout)["result"]
    assert list(result["failures"]) == [first] and result["localization"] == []
    assert f"warning: {first}" in done.stderr


def test_a_folder_of_images(cxr, drawn):
    done = cxr("explain", drawn / "model.keras", drawn / "images", "--limit", 3, "--no-plots", "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert result["n_images"] == 3 and result["n_patients"] is None
    assert "images were drawn at random" in result["issues"][0]


def test_training_patients_are_refused_unless_insisted_on(cxr, drawn):
    valid = drawn / "valid.csv"
    done = explain(cxr, drawn, "--train-labels", valid, "--no-plots")
    assert done.exit_code == 2 and "are in the training table" in done.stderr
    assert "--allow-training-patients" in done.stderr
    done = explain(cxr, drawn, "--train-labels", valid, "--allow-training-patients", "--no-plots", "--draws", 20)
    assert done.exit_code in (0, 1) and "the model has seen them" in done.stderr
    done = explain(cxr, drawn, "--train-labels", drawn / "train.csv", "--no-plots", "--draws", 20)
    assert done.exit_code in (0, 1) and "training table" not in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--box-frame", "10x10"), "--box-frame has no effect without --boxes"),
        (("--allow-training-patients",), "has no effect without --train-labels"),
        (("--images", "x"), "--images has no effect with a folder"),
        (("--pathologies", "Hernia"), "no pathology Hernia"),
        (("--boxes", "missing.csv"), "missing.csv: no such file"),
        (("--method", "shap"), "shap"),
    ],
)
def test_wrong_use_is_named(cxr, drawn, more, message):
    done = cxr("explain", drawn / "model.keras", drawn / "stores" / "valid", *more)
    assert done.exit_code == 2 and message in done.stderr
    assert "Traceback" not in done.stderr


def test_golden(cxr, drawn, golden):
    done = explain(cxr, drawn, "--draws", 20, "--pathologies", "Edema", "--no-plots", "--json")
    document = json.loads(done.stdout)
    # What depends on the machine: digests, and what TensorFlow computes.
    for item in document["inputs"]:
        item.update(size=1, sha256="0")
    result = document["result"]
    result["model"] = "model.keras"
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    for row in result["localization"]:
        row.update(above_prior=estimate, verdict="shows nothing: not above the centre prior")
        for control in row["controls"]:
            control.update(
                {name: estimate for name in ("false_boxes", "pointing_game", "mass_inside")},
                found_at=dict.fromkeys(control["found_at"], estimate),
            )
    for row in result["shortcuts"]:
        row.update(n_images=1, outside_field=0.5, corners=0.5)
    for row in (*result["shown"], *result["outside"]):
        row.update(probability=0.5, outside_field=0.5)
    result["outside"] = result["outside"][:1]
    golden("explain", json.dumps(document))
