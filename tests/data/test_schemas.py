"""Data-set knowledge is in one place: an entry is enough, and nothing else knows a data set by name."""

from __future__ import annotations

import ast
import re

import pytest

from cxr_cli.data import schemas
from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.data.schemas import SCHEMAS, Schema, fold, related
from cxr_cli.data.schemas.vocabulary import KNOWN_PATHOLOGIES, NOT_LABELS, NOT_THE_SAME, ROLES, SAME, same_pathology
from tests.conftest import ROOT

#: A data set that nobody has: everything about it is unusual, and one entry says so.
TOY = Schema(
    name="toy",
    title="a toy data set",
    image=("Radiograph",),
    required=("Radiograph", "Seen"),
    patient=("Person",),
    patient_namespace="toyland",
    patient_in_name=r"^(toy\d+)_",
    findings="Seen",
    separators="+",
    pathologies=("Lung Gear", "Loose Spring"),
    renamed={"Cog": "Lung Gear"},
    age=("Winters",),
    image_folders=("shelf",),
)


@pytest.fixture
def toy(monkeypatch, tmp_path, sample_data):
    monkeypatch.setattr(schemas, "SCHEMAS", (TOY, *SCHEMAS))
    images = sorted((sample_data / "images-small").glob("*.png"))[:24]
    (tmp_path / "shelf").mkdir()
    for part in (0, 1):
        rows = ["Radiograph,Seen,Person,Winters"]
        for place, image in enumerate(images[part::2]):
            name = f"toy{place + 20 * part}_{part}.png"
            (tmp_path / "shelf" / name).write_bytes(image.read_bytes())
            rows.append(
                f"{name},{('Cog', 'Cog+Loose Spring', 'No Finding')[place % 3]},{place + 20 * part},{20 + place}"
            )
        (tmp_path / f"part{part}.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_toy_data_set_in_one_entry_runs_through_all_commands(cxr, toy):
    table, other = toy / "part0.csv", toy / "part1.csv"
    found = read_labels(table)
    assert (found.schema, found.pathologies, found.patient_namespace) == ("toy", TOY.pathologies, "toyland")
    assert found.counts.n_positive.tolist() == [8, 4]
    runs = {
        "explore": [table, "--output", toy / "explore", "--n-images", "2"],
        "check-leakage": [table, other, "--output", toy / "leak"],
        "split": [table, "--fractions", "train=0.5,valid=0.5", "--output", toy / "split"],
        "preprocess": [
            table,
            "--images",
            toy / "shelf",
            "--output",
            toy / "store",
            "--image-size",
            "16",
            "--workers",
            "1",
        ],
        "weights": [table, "--output", toy / "weights"],
    }
    for command, arguments in runs.items():
        done = cxr(command, *arguments)
        assert done.exit_code == 0, (command, done.stderr)
    # Predictions are told from labels by their table.
    predictions = toy / "predictions.csv"
    rows = [f"{name},{0.1 + 0.02 * place:.2f},0.3" for place, name in enumerate(found.images)]
    predictions.write_text("\n".join(["image,Lung Gear,Loose Spring", *rows]) + "\n")
    measured = toy / "evaluate"
    done = cxr("evaluate", predictions, "--labels", table, "--draws", "100", "--output", measured, "--no-plots")
    assert done.exit_code == 0, done.stderr
    # The patients of a namespace are compared with none of another.
    mine = toy / "mine.csv"
    mine.write_text("Image,PatientId,Mass\nx.png,0,1\n")
    assert read_labels(mine).patient_namespace is None


def test_a_toy_data_set_in_one_entry_is_modelled(cxr, toy):
    pytest.importorskip("keras")
    table, other = toy / "part0.csv", toy / "part1.csv"
    size = ["--image-size", "32"]
    for part, store in ((table, "train"), (other, "valid")):
        where = ["--images", toy / "shelf", "--output", toy / store, *size, "--workers", "1"]
        assert cxr("preprocess", part, *where).exit_code == 0
    model, trained = toy / "model.keras", toy / "trained"
    steps = {
        "build-model": ["--labels", table, *size, "--standardize", "samplewise", "--loss", "binary-crossentropy"],
        "train": [model, "--train", toy / "train", "--valid", toy / "valid", "--epochs", "1", "--output", trained],
        "predict": [model, other, "--images", toy / "shelf", "--output", toy / "predicted.csv"],
        "explain": [model, other, "--images", toy / "shelf", "--train-labels", table, "--no-plots"],
        "report": [toy, "--output", toy / "report.html"],
    }
    steps["build-model"] += ["--save", model, "--no-plots"]
    steps["explain"] += ["--draws", "10", "--output", toy / "explained"]
    for command, arguments in steps.items():
        done = cxr(command, *arguments)
        assert done.exit_code in (0, 1), (command, done.stderr)
    assert set(read_predictions(toy / "predicted.csv", TOY.pathologies).pathologies) == set(TOY.pathologies)


def test_no_schema_is_named_outside_its_entry():
    names = {schema.name for schema in (*SCHEMAS, *schemas.names.FORMS)} - {"own", "folder", "course", "nih"}
    for path in (ROOT / "cxr_cli").rglob("*.py"):
        if "schemas" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare | ast.Set | ast.Tuple | ast.List):
                held = {item.value for item in ast.walk(node) if isinstance(item, ast.Constant)}
                assert not held & (names | {"nih", "course"}), (path, held & names)


def test_names_and_patterns_are_well_formed():
    assert len({schema.name for schema in SCHEMAS}) == len(SCHEMAS)
    for schema in SCHEMAS:
        if schema.patient_in_name is not None:
            assert re.compile(schema.patient_in_name).groups >= 1
        if schema.required:
            assert schema.fits([*schema.image, *schema.required])
            assert not schema.fits(schema.image)


def test_words_are_in_one_form_and_one_role():
    for role, words in ROLES.items():
        assert all(word == fold(word) for word in words), role
        assert len(set(words)) == len(words), role
    seen: dict[str, str] = {}
    for role, words in ROLES.items():
        for word in words:
            assert seen.setdefault(word, role) == role, word
    assert not NOT_LABELS & KNOWN_PATHOLOGIES.keys()
    for one, other, source in (*SAME, *NOT_THE_SAME):
        assert one != other and source


def test_the_other_name_of_a_pathology():
    assert same_pathology("Effusion", ["Mass", "Pleural Effusion"]) == "Pleural Effusion"
    assert same_pathology("pleural effusion", ["effusion"]) == "effusion"
    assert same_pathology("Pleural_Thickening", ["Pleural Other"]) is None
    assert same_pathology("Mass", ["Mass"]) is None


def test_known_relations():
    assert related("rsna", "nih") and related("siim", "rsna") and related("google-nih", "nih-boxes")
    assert related("chestx-det", "nih") and related("tbx11k", "montgomery") and related("covidx", "nih")
    assert not related("nih", "chexpert") and related("vindr-cxr", "vinbigdata") and not related("nih", "nih")
