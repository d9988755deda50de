"""The numbers on the page of advanced tips are those that its script measures."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from tests.conftest import ROOT
from tests.helpers import load_script

PAGE = ROOT / "docs" / "advanced_tips.md"


@pytest.fixture(scope="module")
def tips():
    return load_script(ROOT / "docs" / "measure_tips.py")


def on_the_page(name):
    (table,) = re.findall(
        rf"<!-- measured: {name} -->\n(.*?)\n<!-- end -->", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    return table


def test_every_table_has_its_place_and_is_filled(tips):
    names = re.findall(r"<!-- measured: ([\w-]+) -->", PAGE.read_text(encoding="utf-8"))
    assert sorted(names) == sorted({**tips.TABLES, **tips.KERAS_TABLES})
    for name in names:
        assert on_the_page(name).startswith("| ")


@pytest.mark.parametrize("name", ["positives", "statistics"])
def test_tables_that_need_no_real_data(tips, name):
    assert tips.TABLES[name](None) == on_the_page(name)


def test_tables_of_the_real_data(tips, real_data):
    study = tips.Study(read_labels(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz"))
    for name in ("image-split", "shortcuts"):
        assert tips.TABLES[name](study) == on_the_page(name)


def test_every_reference_is_cited_and_every_citation_has_one():
    text, references = PAGE.read_text(encoding="utf-8").split("## References")
    listed = {int(number) for number in re.findall(r"^(\d+)\. ", references, flags=re.MULTILINE)}
    cited = {int(number) for group in re.findall(r"\[(\d+(?:, \d+)*)\]", text) for number in group.split(", ")}
    assert cited == listed == set(range(1, len(listed) + 1))


def test_areas_by_hand(tips):
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    labels = np.array([False, True, False, True])
    # Of the four pairs three are in order and one is tied.
    assert tips.auroc(scores, labels) == pytest.approx(3.5 / 4)
    assert tips.auroc(scores, labels, np.array([1.0, 1, 0, 1])) == pytest.approx(1)
    # Steps: 1 of 1 called is positive, then 2 of 3.
    assert tips.average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)


def test_the_table_model_recovers_known_coefficients(tips):
    rng = np.random.default_rng(0)
    features = np.column_stack([np.ones(50_000), rng.normal(size=50_000)])
    labels = (rng.random(50_000) < tips.sigmoid(features @ np.array([-1.0, 2.0]))).astype(float)
    assert tips.fit_logistic(features, labels, np.ones(50_000)) == pytest.approx([-1, 2], abs=0.05)
