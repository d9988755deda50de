from __future__ import annotations

import json
import shutil

import jsonschema
import pytest

from cxr_cli.services.json_schema import document_schema

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_network")]


def test_store(cxr, drawn, tmp_path, golden):
    done = cxr("predict", drawn / "model.keras", drawn / "stores" / "valid", "--output", "out/p.csv", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("predict"))
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"p.csv"}
    assert document["outputs"][0] == "out/p.csv"
    # What depends on the machine: digests, and the last digits of what TensorFlow computes.
    result = document["result"]
    for item in (*document["inputs"], result["model"], result["predictions"]):
        item.update(size=1, sha256="0", path=item["path"].rpartition("/")[2])
    result["source"] = "stores/valid"
    for item in result["pathologies"]:
        item.update({name: 0.5 for name in ("mean", "minimum", "maximum")})
    golden("predict", json.dumps(document))
    before = (tmp_path / "out" / "p.csv").read_bytes()
    assert cxr("predict", drawn / "model.keras", drawn / "stores" / "valid", "--output", "out/p.csv").exit_code == 0
    assert (tmp_path / "out" / "p.csv").read_bytes() == before


def test_failures_are_bad_news(cxr, drawn, tmp_path):
    shutil.copytree(drawn / "images", tmp_path / "images")
    first = (drawn / "valid.csv").read_text().splitlines()[1].split(",")[0]
    (tmp_path / "images" / first).unlink()
    done = cxr("predict", drawn / "model.keras", drawn / "valid.csv", "--images", "images", "--output", "p.csv")
    assert done.exit_code == 1
    assert "1 of " in done.stderr and "p-failures.csv" in done.stderr
    assert first in done.stdout


def test_a_table_is_read_with_the_options_of_tables(cxr, drawn, tmp_path):
    header, *rows = (drawn / "valid.csv").read_text().splitlines()
    name = header.split(",")[0]
    (tmp_path / "odd.csv").write_text("\n".join([header.replace(name, "radiogramm"), *rows]) + "\n")
    where = ("--images", drawn / "images", "--output")
    assert cxr("predict", drawn / "model.keras", drawn / "valid.csv", *where, "known.csv").exit_code == 0
    done = cxr("predict", drawn / "model.keras", "odd.csv", *where, "odd-p.csv", "--columns", "image=radiogramm")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "known.csv").read_bytes() == (tmp_path / "odd-p.csv").read_bytes()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--rule", "youden"), "--rule has no effect without --thresholds"),
        (("--images", "x"), "--images has no effect with a folder"),
        (("--columns", "image=x"), "--columns has no effect with a folder"),
        (("--patient-pattern", "(a)"), "--patient-pattern has no effect with a folder"),
        (("--thresholds", "missing.json"), "missing.json"),
        (("--output", "."), "is a folder"),
    ],
)
def test_wrong_use_is_named(cxr, drawn, more, message):
    done = cxr("predict", drawn / "model.keras", drawn / "stores" / "valid", *more)
    assert done.exit_code == 2
    assert message in done.stderr
