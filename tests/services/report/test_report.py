from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from cxr_cli.data.files import Outputs
from cxr_cli.errors import InputError, UsageError
from cxr_cli.services.report.report import report
from tests.conftest import ROOT
from tests.services.report.conftest import run


def made(study, **options):
    # The command writes report.json, which says that the files beside it are ours.
    (study / "out").mkdir(exist_ok=True)
    (study / "out" / "report.json").write_text('{"schema_version": 1, "command": "report", "cxr_version": "0"}')
    result, _ = report(["study"], page="out/report.html", outputs=Outputs(study), **options)
    return result, (study / "out" / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.headings, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in {"meta", "img", "link", "br", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_whole_study_is_one_page(study):
    result, text = made(study)
    assert result.breaks == () and result.n_runs == 5
    page = Page(text)
    assert page.open == [] and "script" not in page.tags and len(text.encode()) < 1_500_000
    assert page.tags.count("h1") == 1 and page.tags.count("svg") == 4
    ids = [value for _, name, value in page.attributes if name == "id" and value.isalpha()]
    assert {"data", "splits", "preprocessing", "weights", "model", "claim"} <= set(ids)
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert links and all(link.startswith("#") and f'id="{link[1:]}"' in text for link in links)
    for name in ("src", "href", "xlink:href"):
        assert not [value for _, found, value in page.attributes if found == name and "//" in value]
    filled = {section.name for section in result.sections if section.runs}
    assert filled == {"data", "leakage", "splits", "preprocessing", "weights"}
    assert "cxr train MODEL.keras" in text and "Infiltration" in text


def test_every_number_has_a_source(study):
    result, text = made(study)
    (split,) = next(section for section in result.sections if section.name == "splits").runs
    assert split.result_file == "study/splits/result.json" and split.sha256[:12] in text
    assert split.command == "cxr split " + " ".join(split.command.split()[2:])
    assert "--output study/splits" in split.command
    (path,) = [path for path in split.inputs if path.endswith("train-small.csv")]
    assert split.inputs[path][:12] in text


def test_the_same_study_gives_the_same_page(study):
    assert made(study)[1] == made(study)[1]


def test_checklists_are_answered_item_by_item(study):
    result, text = made(study, checklists=("claim", "tripod-ai", "datasheet", "model-card"))
    claim, tripod, *_ = result.checklists
    assert len(claim.items) == 44 and [item.number for item in claim.items] == [str(n) for n in range(1, 45)]
    assert len(tripod.items) == 52
    status = {item.number: item.status for item in claim.items}
    assert (status["20"], status["25"], status["3"]) == ("answered", "missing", "write")
    for checklist in result.checklists:
        counts = (checklist.n_answered, checklist.n_missing, checklist.n_to_write)
        assert sum(counts) == len(checklist.items)
    assert "you must write this" in text


def test_markdown_has_the_same_content(study):
    result, _ = report(["study"], page="report.md", outputs=Outputs(study))
    text = (study / "report.md").read_text(encoding="utf-8")
    for section in result.sections:
        assert f"## {section.title}\n" in text
        for item in section.runs:
            for table in item.tables:
                for row in table.rows:
                    assert " | ".join(cell.replace("_", r"\_") for cell in row[:2]) in text.replace("\\-", "-")
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        ("table", "changed", "study/splits/train.csv: 'cxr weights' read another content than 'cxr split' wrote"),
        ("foreign", "foreign", "'cxr preprocess' used a file that 'cxr split' of this report did not write"),
        ("edited", "edited", "the result of 'cxr split' was changed after cxr wrote it"),
        ("later", "changed", "study/splits/train.csv: changed since 'cxr preprocess' read it"),
    ],
)
def test_broken_custody_is_caught(study, sample_data, spoil, kind, said):
    table = study / "study" / "splits" / "train.csv"
    result_file = study / "study" / "splits" / "result.json"
    if spoil == "table":
        table.write_bytes(table.read_bytes().replace(b",1,", b",0,", 1))
        run("weights study/splits/train.csv --no-plots --output study/weights")
    elif spoil == "foreign":
        run(
            "preprocess {data}/valid-small.csv --images {data}/images-small --image-size 32 --no-plots "
            "--output study/other",
            data=sample_data,
        )
    elif spoil == "edited":
        result_file.write_text(re.sub(r'"n_images": \d+', '"n_images": 7', result_file.read_text(), count=1))
    else:
        table.write_bytes(table.read_bytes() + b"\n")
    result, text = made(study)
    messages = [item.message for item in result.breaks if item.kind == kind]
    assert any(said in message for message in messages), result.breaks
    assert "The chain of custody is broken" in text


def test_names_from_tables_are_hostile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "<script>alert(1)</script>"
    rows = "".join(f"{n}.png,{n},{n % 2},{int(n % 3 == 0)}\n" for n in range(30))
    (tmp_path / "t.csv").write_text(f'Image,PatientId,"{name}",Mass\n{rows}')
    run("explore t.csv --no-plots --output study")
    run("explore t.csv --output study/again")
    _, text = made(tmp_path)
    assert "<script" not in text and "&lt;script&gt;" in text
    report(["study"], page="r.md", outputs=Outputs(tmp_path))
    assert r"\<script\>" in (tmp_path / "r.md").read_text()


def test_no_patient_and_no_image_is_named(study):
    _, text = made(study)
    assert not re.search(r"000\d{5}_\d{3}", text) and "<img" not in text
    result, with_images = made(study, with_images=True)
    assert result.images_shown and with_images.count("<img") >= 1
    assert len(with_images.encode()) < 1_500_000


def test_what_is_no_result_is_left_out(study):
    (study / "study" / "x").mkdir()
    (study / "study" / "x" / "result.json").write_text("{}")
    (study / "study" / "y.result.json").write_text("[" * 100_000)
    result, _ = made(study)
    assert set(result.ignored) == {"study/x/result.json", "study/y.result.json"} and result.n_runs == 5


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="no results of cxr"):
        report([tmp_path])
    with pytest.raises(InputError, match="no such folder"):
        report([tmp_path / "gone"])
    with pytest.raises(UsageError, match=r"\.html or \.md"):
        report([tmp_path], page="report.pdf")


def test_croissant_metadata_is_valid(study):
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant (extra: dev)")
    made(study)
    path = study / "out" / "report.croissant.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["distribution"][0]["sha256"] == next(
        item["sha256"] for item in json.loads((study / "study/explore/result.json").read_text())["inputs"]
    )
    dataset = mlcroissant.Dataset(jsonld=str(path))
    assert dataset.metadata.issues.errors == set()
    assert len(document["recordSet"][0]["field"]) == 16


def test_curves_of_an_evaluation_are_on_the_page(study):
    examples = ROOT / "examples" / "evaluate"
    run(
        "evaluate {files}/test-a-seed1.csv --labels {files}/test.csv --draws 100 --output study/evaluation",
        files=examples,
    )
    _, text = made(study)
    assert 'alt="ROC curves"' in text and 'alt="Precision-recall curves"' in text
    assert "Performance of" in text and "Calibration slope" in text
