"""Patient ids in one normal form."""

from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.patient_ids import normal_patient_id, patient_of_nih_name


@given(number=st.integers(0, 10**30), zeros=st.integers(0, 5), tail=st.sampled_from(["", ".0", ".00", "."]))
def test_normal_patient_id_is_one_form(number, zeros, tail):
    written = "0" * zeros + str(number) + tail
    assert normal_patient_id(written) == str(number)
    assert normal_patient_id(normal_patient_id(written)) == normal_patient_id(written)


def test_patient_of_nih_name():
    assert patient_of_nih_name("images_001/00000013_005.png") == "13"
    assert patient_of_nih_name("00000013-005.png") is None
