"""Patient ids in one normal form."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.patient_ids import coded_ids, coded_patients_in_names, normal_patient_id, patient_of_nih_name
from cxr_cli.data.schemas.chexpert import PATIENT_IN_NAME


@given(number=st.integers(0, 10**30), zeros=st.integers(0, 5), tail=st.sampled_from(["", ".0", ".00", "."]))
def test_normal_patient_id_is_one_form(number, zeros, tail):
    written = "0" * zeros + str(number) + tail
    assert normal_patient_id(written) == str(number)
    assert normal_patient_id(normal_patient_id(written)) == normal_patient_id(written)


def test_patient_of_nih_name():
    assert patient_of_nih_name("images_001/00000013_005.png") == "13"
    assert patient_of_nih_name("00000013-005.png") is None


FOLDERS = (
    "patient",
    "patient00013",
    "patient13",
    "patient0",
    "patient13x",
    "xpatient3",
    "patient\u0663",
    "Patient3",
    "a",
)
PATHS = st.lists(st.sampled_from(FOLDERS), min_size=1, max_size=4).map("/".join)


@given(
    st.lists(PATHS | st.builds("train/patient{:05}/{}".format, st.integers(0, 10**20), PATHS), min_size=1, max_size=3)
)
def test_numbers_behind_a_word_are_read_as_the_pattern_reads_them(names):
    found = coded_patients_in_names(names)
    matches = [re.search(PATIENT_IN_NAME, name) for name in names]
    ids = [match[1] if match else None for match in matches]
    if not any(ids):
        assert found is None
        return
    namespace, codes, patients = found
    expected, distinct = coded_ids(ids)
    assert (namespace, codes.tolist(), patients) == ("chexpert", expected.tolist(), distinct)
