from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.listed_images import table_of_images

NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=12)


@given(st.lists(st.tuples(NAMES.map("{}.png".format), st.sampled_from(["", "1", "20", "A-7"])), min_size=1, max_size=6))
def test_names_and_patients_come_back(rows):
    images, patients = zip(*rows, strict=True)
    table = table_of_images(Path("store"), images, patients)
    assert list(table.images) == list(images)
    assert [table.patient_ids[code] if code >= 0 else "" for code in table.patient_codes] == list(patients)


def test_names_that_leave_the_folder_are_kept_to_be_compared():
    table = table_of_images(Path("store"), ["../a.png", 'say "b", c.png'], ["", ""])
    assert list(table.images) == ["../a.png", 'say "b", c.png']
    assert (table.patient_codes == -1).all()
