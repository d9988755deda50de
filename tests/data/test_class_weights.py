import json

import pytest

from cxr_cli.data.class_weights import ClassWeights, read_class_weights
from cxr_cli.data.files import InputFile
from cxr_cli.errors import InputError

WEIGHTS = {"pathologies": ["Mass", "Edema"], "positive": [0.9, 0.75], "negative": [0.1, 0.25], "scheme": "frequency"}
CSV = "pathology,positive_weight,negative_weight,scheme\nMass,0.9,0.1,frequency\nEdema,0.75,0.25,frequency\n"


def write(folder, content, name="weights.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def document(**changes):
    return {"schema_version": 1, "command": "weights", "result": {"class_weights": {**WEIGHTS, **changes}}}


def test_json_and_csv_say_the_same(tmp_path):
    expected = ClassWeights(("Mass", "Edema"), (0.9, 0.75), (0.1, 0.25), "frequency")
    assert read_class_weights(write(tmp_path, document())) == expected
    assert read_class_weights(str(write(tmp_path, CSV, "weights.csv"))) == expected


def test_the_table_that_weights_come_from(tmp_path):
    table = InputFile("train.csv", 3, "ab")
    for digest, another in (("ab", False), ("cd", True)):
        inputs = {"inputs": [{"path": "x.csv", "size": 3, "sha256": digest}]}
        found = read_class_weights(write(tmp_path, document() | inputs))
        assert (found.table_sha256, found.is_of_another_table(table)) == (digest, another)
        assert found.in_order(["Edema", "Mass"]).is_of_another_table(table) == another
        first, *lines = CSV.splitlines()
        text = "\n".join([f"{first},source_sha256", *(f"{line},{digest}" for line in lines)])
        assert read_class_weights(write(tmp_path, text, "weights.csv")).is_of_another_table(table) == another
    for unknown in ({}, {"inputs": []}, {"inputs": [3]}, {"inputs": [{"sha256": 3}]}, {"inputs": "x"}):
        assert not read_class_weights(write(tmp_path, document() | unknown)).is_of_another_table(table)


def test_in_order_of_a_model():
    weights = ClassWeights(("Mass", "Edema"), (0.9, 0.75), (0.1, 0.25), "frequency")
    assert weights.in_order(["Edema", "Mass"]) == ClassWeights(("Edema", "Mass"), (0.75, 0.9), (0.25, 0.1), "frequency")
    with pytest.raises(InputError, match="there are no class weights for Hernia"):
        weights.in_order(["Mass", "Edema", "Hernia"])
    with pytest.raises(InputError, match="there are class weights for Edema"):
        weights.in_order(["Mass"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is not JSON"),
        ([1], "has no class weights; expected"),
        ({"command": "explore", "result": {}}, "has no class weights but the result of cxr explore"),
        (document(positive=None), "result.class_weights.positive is not a list"),
        (document(positive=[0.9]), "1 positive weights for 2 pathologies"),
        (document(negative=[0.1, None]), "the negative weight of Edema is None; expected a number from 1e-12 to 1e+12"),
        (document(negative=[0.1, "0.25"]), "the negative weight of Edema is '0.25'"),
        (document(negative=[0.1, True]), "the negative weight of Edema is True"),
        *(
            (document(positive=[weight, 1.0]), f"the positive weight of Mass is {weight!r}")
            for weight in (1e300, 1e39, 1e-39, 1e-320, 1e13, 9e-13, -1.0, float("inf"))
        ),
        (document(positive=[0.0, 1.0]), "the positive weight of Mass is 0.0"),
        (document(positive=[-1, 1.0]), "the positive weight of Mass is -1"),
        (document(pathologies=["Mass", "Mass"]), "pathology Mass is there twice"),
        (document(pathologies=["Mass", 3]), "3 is not the name of a pathology"),
        (document(pathologies=[], positive=[], negative=[]), "has no pathologies"),
        (json.dumps(document()).replace("0.9", "NaN"), "the positive weight of Mass is nan"),
    ],
)
def test_bad_json(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        read_class_weights(write(tmp_path, content))
    assert message in str(caught.value)
    assert "weights.json" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Image,Mass\na.png,1\n", "line 1: no column pathology"),
        (CSV.replace("0.75", "x"), "the positive weight of Edema is nan"),
        (CSV.replace("0.9", "1e300"), "the positive weight of Mass is 1e+300"),
        (CSV.replace("Edema", ""), "'' is not the name of a pathology"),
        ("pathology,positive_weight,negative_weight\n", "has no pathologies"),
    ],
)
def test_bad_csv(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        read_class_weights(write(tmp_path, content, "weights.csv"))
    assert message in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_class_weights(tmp_path / "none.json")


def test_weights_for_other_pathologies_name_their_file(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("pathology,positive_weight,negative_weight\nMass,0.9,0.1\n")
    with pytest.raises(InputError, match=r"weights\.csv: there are no class weights for Hernia"):
        read_class_weights(path).in_order(("Mass", "Hernia"))
