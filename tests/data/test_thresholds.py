from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cxr_cli.data.files import InputFile, Outputs
from cxr_cli.data.thresholds import Thresholds, read_thresholds
from cxr_cli.errors import InputError


def test_what_is_written_is_read_back(tmp_path):
    source = InputFile("valid.csv", 10, "ab")
    written = Thresholds({"youden": {"Mass": 0.1, "Edema": 1 / 3}, "best-f1": {"Mass": 0.5}}, "best-f1", (source,))
    path = written.write(Outputs(tmp_path), "thresholds.json")
    assert read_thresholds(path) == written
    np.testing.assert_array_equal(written.of(["Edema", "mass", "Hernia"], "youden"), [1 / 3, 0.1, np.nan])
    np.testing.assert_array_equal(written.of(["Mass", "Edema"]), [0.5, np.nan])
    with pytest.raises(InputError, match="one of youden, best-f1"):
        written.of(["Mass"], "file")


def test_a_pathology_without_a_threshold_is_left_out(tmp_path):
    path = Thresholds({"youden": {"Mass": 0.1, "Hernia": float("nan")}}, "youden").write(Outputs(tmp_path), "t.json")
    assert dict(read_thresholds(path).rules["youden"]) == {"Mass": 0.1}


def test_tables_of_others(tmp_path):
    (tmp_path / "t.csv").write_text("label,bestthr\nNo Finding,0.25\nPleural_Thickening,0.5\n")
    found = read_thresholds(tmp_path / "t.csv")
    assert (found.rule, found.rules["file"]) == ("file", {"No Finding": 0.25, "Pleural_Thickening": 0.5})


def test_a_published_file(real_data):
    found = read_thresholds(real_data / "predictions" / "nih-five-models" / "seed11" / "Threshold.csv")
    assert found.of(["No Finding"])[0] == pytest.approx(0.327123, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\nMass,1\n", "not a table of thresholds: a, b"),
        ("t.csv", "label,threshold\nMass,high\n", "line 2: the threshold of Mass is high"),
        ("t.csv", "label,threshold\nMass,nan\n", "line 2: the threshold of Mass is nan"),
        ("t.csv", "label,threshold\nMass,1\nmass,1\n", "line 3: pathology mass is there twice"),
        ("t.csv", "label,threshold\n,1\n", "line 2: no pathology"),
        ("t.json", "[]", "has no thresholds"),
        ("t.json", json.dumps({"thresholds": {"youden": 1}}), "has no thresholds"),
        ("t.json", json.dumps({"thresholds": {"youden": {"Mass": True}}}), "the threshold of Mass is True"),
        ("t.json", "{", "JSON"),
    ],
)
def test_errors(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_thresholds(Path(tmp_path / name))
    assert message in str(caught.value)
    assert caught.value.remedy
