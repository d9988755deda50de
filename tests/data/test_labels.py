import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.labels import read_labels
from cxr_cli.data.patient_ids import nih_numbers
from cxr_cli.data.schemas import NIH_PATHOLOGIES, SCHEMAS
from cxr_cli.errors import LabelTableError, UsageError

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@pytest.fixture
def read(tmp_path):
    def read(text, name="t.csv", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return read_labels(path, **options)

    return read


def kinds(table):
    return {issue.kind: (issue.count, issue.rows) for issue in table.issues}


def test_course_form_by_hand(read):
    table = read("Image,Mass,PatientId,Edema\na.png,1,0007,0\nb.png,0,7,\nc.png,1,,1\n")
    assert table.schema == "course"
    assert table.pathologies == ("Mass", "Edema")
    assert table.images == ["a.png", "b.png", "c.png"]
    assert table.frame["patient_id"].tolist()[:2] == ["7", "7"]
    assert pd.isna(table.frame["patient_id"].iloc[2])
    np.testing.assert_array_equal(table.labels, np.array([[1, 0], [0, np.nan], [1, 1]], dtype=np.float32))
    assert table.n_null_cells == 2
    assert table.null_cells == (0, 0, 1, 1)
    assert table.column_types == ("str", "int64", "float64", "float64")
    assert table.n_findings_written is None
    assert kinds(table) == {"no-patient": (1, (2,))}
    assert [table.patient_ids[code] for code in table.patient_codes[:2]] == ["7", "7"]
    assert table.patient_codes[2] == -1


def test_findings_written_in_another_order_are_counted_apart(read):
    rows = [f"0000000{n}_000.png,{cell},0,{n},58,M,PA,1,1,1,1\n" for n, cell in enumerate(["Mass|Edema", "Edema|Mass"])]
    table = read(NIH_HEADER + "\n" + "".join(rows))
    assert table.n_findings_written == 2
    np.testing.assert_array_equal(table.labels[0], table.labels[1])
    types = dict(zip(table.columns, table.column_types, strict=True))
    assert (types["Image Index"], types["Patient Age"], types["Patient Gender"]) == ("str", "int64", "str")


@pytest.mark.filterwarnings("error")
def test_types_are_those_that_pandas_infers(real_data):
    for name in ("train-small.csv", "Data_Entry_2017_v2020.csv.gz"):
        frame = pd.read_csv(real_data / "nih" / name)
        expected = ["str" if str(kind) in ("object", "str") else str(kind) for kind in frame.dtypes]
        table = read_labels(real_data / "nih" / name)
        assert list(table.column_types) == expected
        assert list(table.null_cells) == frame.isna().sum().tolist()


def test_nih_2017_with_trailing_comma_and_old_ages(read):
    table = read(
        NIH_HEADER + ",\n"
        "00000001_000.png,Cardiomegaly|Mass,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
        "00000002_000.png,No Finding,0,2,013M,F,AP,2682,2749,0.143,0.143,\n"
        "00000002_001.png,No Finding|Hernia,1,3,414,F,AP,2682,2749,0.143,0.143,\n"
    )
    assert table.schema == "nih"
    assert table.pathologies == NIH_PATHOLOGIES
    assert table.labels.sum(axis=0)[[1, 7, 9]].tolist() == [1, 1, 1]
    assert table.frame["age"].tolist()[:2] == [58, pytest.approx(13 / 12)]
    assert np.isnan(table.frame["age"].iloc[2])
    assert table.frame["sex"].tolist() == ["M", "F", "F"]
    assert table.frame["view"].tolist() == ["PA", "AP", "AP"]
    assert table.frame["follow_up"].tolist() == [0, 0, 1]
    assert kinds(table) == {
        "no-finding-beside-finding": (1, (2,)),
        "age-converted": (1, (1,)),
        "age-out-of-range": (1, (2,)),
        "patient-contradicts-name": (1, (2,)),
        "empty-columns": (1, ()),
    }


def test_kaggle_sample_and_patient_sex(read):
    header = NIH_HEADER.replace("OriginalImage[Width,Height]", "OriginalImageWidth,OriginalImageHeight")
    header = header.replace("[x,y]", "_x,OriginalImagePixelSpacing_y").replace("Gender", "Sex")
    table = read(header + "\n00000001_000.png,Mass,0,1,001D,M,PA,1,1,1,1\n")
    assert table.schema == "nih-sample"
    assert table.frame["sex"].tolist() == ["M"]
    assert table.frame["age"].tolist() == [pytest.approx(1 / 365.25)]


CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Support Devices\n"
    "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,1.0\n"
    "CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg,Unknown,87,Lateral,,,-1.0,1.0,-1\n"
)


@pytest.mark.parametrize(("policy", "value"), [("ignore", np.nan), ("positive", 1), ("negative", 0)])
def test_chexpert_uncertain_policies(read, policy, value):
    table = read(CHEXPERT, uncertain=policy)
    assert table.schema == "chexpert"
    assert table.pathologies == ("Enlarged Cardiomediastinum", "Cardiomegaly", "Support Devices")
    np.testing.assert_array_equal(table.labels, [[np.nan, np.nan, 1], [value, 1, value]])
    assert table.n_uncertain == 2
    assert table.frame["patient_id"].tolist() == ["1", "2"]
    assert table.frame["view"].tolist() == ["AP", "Lateral"]
    assert "no-finding-beside-finding" not in kinds(table)
    assert kinds(table)["sex-unreadable"] == (1, (1,))


def test_stray_spaces_bom_and_crlf(read):
    table = read("\ufeffImage , PatientId,Mass\r\n a.png , 7 , 1 \r\nb.png,8, 0\r\n")
    assert table.images == ["a.png", "b.png"]
    assert table.frame["patient_id"].tolist() == ["7", "8"]
    assert table.labels.tolist() == [[1], [0]]


def test_ids_too_long_for_a_float_stay_apart(read):
    table = read("Image,PatientId,Mass\na.png,90071992547409931,1\nb.png,90071992547409932,1\nc.png,,0\n")
    assert table.frame["patient_id"].tolist()[:2] == ["90071992547409931", "90071992547409932"]


def test_image_list(read):
    table = read("00000013_005.png\nother.png\n", name="train_val_list.txt", allow_image_list=True)
    assert table.schema == "image-list"
    assert table.frame["patient_id"].iloc[0] == "13"
    assert table.pathologies == ()
    assert table.labels.shape == (2, 0)
    assert kinds(table) == {"no-patient": (1, (1,))}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Image,PatientId,Mass\n", "has a header and no rows"),
        (
            "Image,PatientId,Mass\na.png,1,2\nb.png,1,0\nc.png,1,3\n",
            "line 2: column Mass: label 2 (2 such rows, 3 in line 4)",
        ),
        ("Image,PatientId,Mass\na.png,1,maybe\n", "line 2: column Mass: label 'maybe'"),
        ("Image,PatientId,Mass\na.png,1,-2\n", "label -2; expected 0, 1, blank, or -1 for uncertain (see uncertain)"),
        ("Image,PatientId,Mass\n,1,1\n", "line 2: no image in column Image"),
        ("Image,PatientId,Mass\n../../etc/passwd,1,1\n", "line 2: image '../../etc/passwd' is absolute or leaves"),
        ("Image,PatientId,Mass\n/etc/passwd,1,1\na.png,1,1\n", "is absolute or leaves the image folder"),
        ("foo,bar\n1,2\n", "no column names the image: foo, bar"),
        (NIH_HEADER + "\na.png,Masss,0,1,1,M,PA,1,1,1,1\n", "line 2: column Finding Labels: unknown finding 'Masss'"),
    ],
)
def test_bad_tables(read, text, says):
    with pytest.raises(LabelTableError) as caught:
        read(text)
    assert says in str(caught.value)
    assert caught.value.remedy


def test_unknown_schema(read):
    with pytest.raises(UsageError, match="no such schema"):
        read("Image,PatientId,Mass\na.png,1,1\n", schema="nope")


def test_named_schema_takes_unknown_pathologies(read):
    table = read("Image,PatientId,Pneumoperitoneum\na.png,1,1\n", schema="course")
    assert table.pathologies == ("Pneumoperitoneum",)


def test_unsafe_names_can_be_kept_with_an_issue(read):
    table = read("Image,PatientId,Mass\n../x.png,1,1\nb.png,1,0\n", allow_unsafe_names=True)
    assert kinds(table) == {"unsafe-image-name": (1, (0,))}


def test_column_order_does_not_matter(read):
    columns = ["Image", "PatientId", *NIH_PATHOLOGIES]
    cells = {name: str(index % 2) for index, name in enumerate(columns)} | {"Image": "a.png", "PatientId": "5"}
    for order in (columns, columns[::-1]):
        table = read(",".join(order) + "\n" + ",".join(cells[name] for name in order) + "\n")
        assert dict(zip(table.pathologies, table.labels[0], strict=True)) == {
            name: float(cells[name]) for name in NIH_PATHOLOGIES
        }


def test_schema_names_are_distinct():
    assert len({schema.name for schema in SCHEMAS}) == len(SCHEMAS)


def test_real_course_tables(real_data):
    table = read_labels(real_data / "nih/train-small.csv")
    assert (table.n_images, len(table.patient_ids), table.schema, table.issues) == (1000, 928, "course", ())


def test_real_nih_table(real_data):
    table = read_labels(real_data / "nih/Data_Entry_2017_v2020.csv.gz")
    assert (table.n_images, len(table.patient_ids), table.schema, table.issues) == (112120, 30805, "nih", ())


@given(
    st.lists(
        st.one_of(
            st.from_regex(r"[0-9]{8}_[0-9]{3}\.png", fullmatch=True),
            st.from_regex(r"[0-9]{7,9}_[0-9]{2,4}\.(png|jpeg)", fullmatch=True),
            st.text(min_size=1, max_size=20),
        ),
        min_size=1,
    )
)
def test_numbers_of_names_are_read_one_by_one_as_all_together(names):
    expected = [
        int(name[:8] + name[9:12]) if re.match(r"[0-9]{8}_[0-9]{3}\.", name, flags=re.ASCII) else -1 for name in names
    ]
    assert nih_numbers(names).tolist() == expected


@given(st.lists(st.sampled_from(["00000001_000.png", "00000001_001.png", "b.png", "é.png", "00000001_000.jpg"])))
def test_duplicates_are_found_whatever_the_names(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("law") / "t.csv"
    path.write_text("Image,Mass,PatientId\nfirst.png,0,1\n" + "".join(f"{name},0,1\n" for name in names))
    duplicates = [row + 1 for row, name in enumerate(names) if name in names[:row]]
    found = kinds(read_labels(path)).get("duplicate-image", (0, ()))
    assert found == (len(duplicates), tuple(duplicates[:20]))
