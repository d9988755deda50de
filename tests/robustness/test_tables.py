"""Tables of every kind of damage: read as they are written, or refused with an error that helps."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_cli.data.labels import LabelTable, read_labels
from cxr_cli.data.tables import MAX_HEADER
from cxr_cli.errors import CxrError, LabelTableError
from tests.robustness.fuzz import OPTIONS
from tests.robustness.mutants import WORDS, mutants
from tests.robustness.oracle import check
from tests.robustness.seeds import ARCHIVES, CHEXPERT, COURSE, LIST, NIH, TABLES, zipped

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
COURSE_HEADER = b"Image,PatientId,Mass\n"


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table.csv"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("content", [*TABLES, *ARCHIVES], ids=lambda content: content[:12].hex())
def test_seeds_keep_the_promise(table, content, options):
    check(table, content, **options)


def test_seeds_are_good_tables(table):
    assert all(isinstance(check(table, content), LabelTable) for content in [*TABLES, *ARCHIVES])
    assert isinstance(check(table.with_suffix(".txt"), LIST, allow_image_list=True), LabelTable)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_once_broke_the_promise(tmp_path, path):
    for options in OPTIONS:
        check(tmp_path / path.name, path.read_bytes(), **options)


def test_200_mutated_tables(table):
    read = sum(
        isinstance(check(table, content, **OPTIONS[index % 5]), LabelTable)
        for index, content in enumerate(mutants(TABLES, 200, seed=20240917, most=3))
    )
    # Both halves of the promise are exercised.
    assert 20 < read < 180


def test_mutated_archives_and_lists(table):
    for content in mutants(ARCHIVES, 100, seed=7):
        check(table, content)
    for content in mutants([LIST], 50, seed=8):
        check(table.with_suffix(".txt"), content, allow_image_list=True, allow_unsafe_names=True)


cells = st.one_of(
    st.sampled_from(["0", "1", "", "7", "007", "a.png"]),
    st.sampled_from([word.decode("utf-8", "ignore") for word in WORDS]),
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.integers(-(10**25), 10**25).map(str),
    st.floats().map(str),
)


@settings(max_examples=300)
@given(
    header=st.sampled_from([line.split(b"\n")[0].decode().split(",") for line in (NIH, COURSE, CHEXPERT)]),
    data=st.data(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    which=st.sampled_from(OPTIONS[:5]),
)
def test_any_cells_are_read_as_written_or_refused(tmp_path_factory, header, data, end, which):
    rows = data.draw(st.lists(st.lists(cells, min_size=len(header), max_size=len(header)), min_size=1, max_size=4))
    stream = io.StringIO()
    csv.writer(stream, lineterminator=end).writerows([header, *rows])
    check(tmp_path_factory.mktemp("law") / "t.csv", stream.getvalue().encode(), **which)


@settings(max_examples=300)
@given(
    labels=st.lists(st.sampled_from(["0", "1", "", "NA", "True", "FALSE", " 1", "1.0", "+1", "-0", "00"]), min_size=1),
    patients=st.lists(
        st.sampled_from(["7", "007", " 7", "+7", "7.0", "1e5", "TRUE", "NA", "", "p7", "9" * 20, "-0", "²"])
    ),
)
def test_odd_spellings_of_labels_and_patients(tmp_path_factory, labels, patients):
    rows = [f"{row}.png,{patient},{label}" for row, (label, patient) in enumerate(zip(labels, patients, strict=False))]
    content = COURSE_HEADER + "\n".join([*rows, "z.png,1,1"]).encode()
    found = check(tmp_path_factory.mktemp("law") / "t.csv", content)
    assert isinstance(found, LabelTable), found


def test_a_patient_is_the_same_in_two_tables_whatever_stands_beside(tmp_path):
    # pandas takes the first column for numbers and the second for text.
    first = check(tmp_path / "a.csv", COURSE_HEADER + b"a.png,1E5,1\nb.png,2,0\n")
    second = check(tmp_path / "b.csv", COURSE_HEADER + b"a.png,1E5,1\nb.png,p2,0\n")
    assert first.patient_ids[0] == second.patient_ids[0] == "1E5"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (COURSE_HEADER + b'a"b.png,1,1\nc"d.png,2,0\n', "line 2: a stray quote"),
        (COURSE_HEADER + b'a.png,1,1\nb.png, "2",0\n', "line 3: a stray quote"),
        (COURSE_HEADER + b'a.png,1,1\n"b".png,2,0\n', "line 3: a stray quote"),
        (COURSE_HEADER + b"a.png,1,1\nb.png\r,2,0\n", "line 3: a carriage return inside the line"),
        (COURSE_HEADER + b'" ",1,1\n', "line 2: no image in column Image"),
        (COURSE_HEADER + b"NA,1,1\n", "line 2: no image in column Image"),
        (COURSE_HEADER + b'"a\n.png",1,1\n', r"line 2: image 'a\n.png' holds a character that cannot be printed"),
        (b"Image,PatientId,labels\na.png,1,sex\n", "finding 'sex': a pathology cannot have this name"),
        (b"Image,PatientId,labels\na.png,1,image|age\n", "a pathology cannot have this name"),
        (b"Image,PatientId,Mass,\x1b[31mred\na.png,1,1,1\n", r"column '\x1b[31mred' has a character in its name"),
        (COURSE_HEADER + b"a.png,1," + b"9" * 400 + b"\n", "line 2: column Mass: label '99999"),
        (COURSE_HEADER + b"a.png,1," + b"x" * 400 + b"\n", "line 2: column Mass: label 'xxx"),
        (COURSE_HEADER + b"a.png,1,1_0\n", "label '1_0'"),
        (COURSE_HEADER + "a.png,1,١\n".encode(), "label '١'"),
        (zipped(b"x" * 9, "a\x1b.txt").replace(b".txt", b".tyt"), r"holds a\x1b.tyt; expected one table"),
    ],
)
def test_errors_say_what_is_wrong(table, content, says):
    error = check(table, content)
    assert isinstance(error, LabelTableError)
    assert says in str(error)


def test_ten_thousand_broken_rows_are_one_short_message(table):
    broken = "".join(f"{row}.png,{row},bad{row}\n" for row in range(10_000)).encode()
    error = check(table, COURSE_HEADER + b"a.png,1,1\n" + broken)
    assert "line 3: column Mass: label 'bad0' (10,000 such rows, 'bad1' in line 4, 'bad2' in line 5)" in str(error)
    rows = b"".join(b"%d.png,Wrong%d,0,1,1,M,PA,1,1,1,1,\n" % (row, row) for row in range(10_000))
    error = check(table, NIH.split(b"\n")[0] + b"\n" + rows)
    assert "line 2: column Finding Labels: unknown finding 'Wrong0' (10,000 such rows)" in str(error)
    error = check(table, COURSE_HEADER + b"a.png,1\n" * 10_000)
    assert "line 2: 2 fields (10,000 such lines); expected 3 as in the header" in str(error)


SIZE = 16 * 1024**2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"," * SIZE, "line 1: is 16,777,216 bytes long"),
        (b"a" * SIZE, "line 1: is 16,777,216 bytes long"),
        (b'"' * SIZE, "line 1: is 16,777,216 bytes long"),
        (COURSE_HEADER + b"," * SIZE, "line 2: 16,777,217 fields; expected 3"),
        (COURSE_HEADER + b"a" * SIZE, "line 2: 1 fields; expected 3"),
        (COURSE_HEADER + b'"' + b"," * SIZE + b'",1,2', "has 16,777,216 characters"),
        (COURSE_HEADER + b"a" * SIZE + b".png,1,2", "has 16,777,220 characters"),
        (COURSE_HEADER + b"../" * (SIZE // 3) + b",1,1", "has 16,777,215 characters"),
        (COURSE_HEADER + b"a.png,1," + b"1" * SIZE, "line 2: column Mass: label '1111"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[-60:].decode()[:12],
)
def test_a_very_wide_table_takes_memory_in_proportion_to_its_bytes(table, content, says):
    table.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(LabelTableError) as caught:
            read_labels(table)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert peak < 9 * SIZE


def test_very_many_columns_are_refused(table):
    names = ",".join(f"p{column}" for column in range(2000))
    table.write_text(f"Image,PatientId,Mass,{names}\na.png,1,1{',0' * 2000}\n")
    with pytest.raises(LabelTableError, match=r"2,001 columns of labels; expected at most 1,000"):
        read_labels(table)
    wide = "x," * (MAX_HEADER // 2 - 10)
    for header in (f"{wide}y", ",".join(f"c{column}" for column in range(100_000))):
        table.write_text(header + "\n")
        with pytest.raises(LabelTableError, match=r"columns; expected at most 10,000"):
            read_labels(table)


def test_hostile_names_in_a_list(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.png\n../b.png\n/c.png\n")
    with pytest.raises(CxrError, match=r"line 2: '\.\./b\.png' is absolute or leaves the image folder"):
        read_labels(path, allow_image_list=True)
    table = read_labels(path, allow_image_list=True, allow_unsafe_names=True)
    assert [(issue.kind, issue.rows) for issue in table.issues][0] == ("unsafe-image-name", (1, 2))


def test_ages_and_follow_ups_of_every_size(table):
    header = NIH.split(b"\n")[0]
    ages = [b"9" * 400, b"1e3", "٣".encode(), b"-5", b"12.5", b"400Y", b"\x1b[2J", b"x" * 500]
    rows = [b"%d.png,Mass,%s,1,%s,M,PA,1,1,1,1,\n" % (row, age, age) for row, age in enumerate(ages)]
    found = check(table, header + b"\n" + b"".join(rows))
    assert isinstance(found, LabelTable)
    assert found.frame["age"].tolist()[4] == 12.5
    assert np.isfinite(found.frame["follow_up"].dropna()).all()
