from __future__ import annotations

import json
import os
import re

from tests.conftest import ROOT
from tests.services.report.conftest import finished_study, study

__all__ = ["finished_study", "study"]


def test_the_page_its_content_and_metadata(cxr, study, monkeypatch):
    monkeypatch.chdir(study)
    done = cxr("report", "study", "--output", "out/report.html", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((study / "out" / "report.json").read_text())
    assert sorted(path.name for path in (study / "out").iterdir()) == [
        "report.croissant.json",
        "report.html",
        "report.json",
    ]
    assert document["outputs"] == ["out/report.html", "out/report.croissant.json", "out/report.json"]
    assert len(document["inputs"]) == document["result"]["n_runs"] == 5
    again = cxr("report", "study", "--output", "out/report.html")
    assert again.exit_code == 0 and "Leakage" in again.stdout and "cxr train MODEL.keras" in again.stdout


def test_a_broken_chain_is_bad_news(cxr, study, monkeypatch):
    monkeypatch.chdir(study)
    table = study / "study" / "splits" / "train.csv"
    table.write_bytes(table.read_bytes() + b"\n")
    done = cxr("report", "study")
    assert done.exit_code == 1 and "chain of custody is broken" in done.stdout
    assert "warning: study/splits/train.csv: changed since" in done.stderr
    assert (study / "report.html").exists()


def test_nothing_is_written_where_nothing_was_found(cxr, tmp_path):
    done = cxr("report")
    assert done.exit_code == 2 and "no results of cxr" in done.stderr and "cxr report DIR" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "unknown kind of page" in cxr("report", "--output", "report.pdf").stderr
    assert cxr("report", "--checklist", "claims").exit_code == 2


def masked(text):
    """Hide hashes, versions, and paths with the file sizes that follow from them."""
    text = re.sub(r"[^\s\"|`]*(sample\\?_data)", r"\1", re.sub(r'"size": \d+', '"size": 0', text))
    return re.sub(r"\b[0-9a-f]{12,64}\b", "HASH", re.sub(r"\b0\.1\.0\b", "VERSION", text))


def test_golden(cxr, study, monkeypatch, golden):
    monkeypatch.chdir(study)
    done = cxr("report", "study", "--output", "report.md", "--checklist", "claim", "--json")
    golden("report", masked(done.stdout))
    page = masked((study / "report.md").read_text(encoding="utf-8"))
    path = ROOT / "tests" / "golden" / "report.md"
    if os.environ.get("CXR_UPDATE_GOLDEN"):
        path.write_text(page, encoding="utf-8")
    assert page == path.read_text(encoding="utf-8")
