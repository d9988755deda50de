import csv
import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.tables import _count_between, read_lines, read_table
from cxr_cli.errors import InputError, LabelTableError


def table(tmp_path, content: bytes, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return read_table(path)


def test_records_header_and_lines(tmp_path):
    raw = table(tmp_path, b"Image,A\na.png,1\n\nb.png,0\n")
    assert raw.header == ("Image", "A")
    assert [raw.record(row) for row in range(raw.n_rows)] == [b"a.png,1\n", b"b.png,0\n"]
    assert [raw.line(row) for row in range(2)] == [2, 4]
    assert raw.source.size == 25


def test_select_keeps_bytes_bom_and_crlf_and_completes_the_last_line(tmp_path):
    content = b'\xef\xbb\xbfImage,A\r\na.png, 1\r\n"b,b",0\r\nc.png,1'
    raw = table(tmp_path, content)
    assert raw.header == ("Image", "A")
    assert raw.select([0, 1, 2]) == content
    assert raw.select([2, 0]) == b"\xef\xbb\xbfImage,A\r\nc.png,1\r\na.png, 1\r\n"
    assert raw.select([]) == b"\xef\xbb\xbfImage,A\r\n"


@pytest.mark.parametrize("name", ["t.csv.gz", "t.zip"])
def test_compressed(tmp_path, name):
    packed = io.BytesIO()
    if name.endswith(".gz"):
        with gzip.open(packed, "wb") as stream:
            stream.write(b"Image,A\na.png,1\n")
    else:
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("x.csv", "Image,A\na.png,1\n")
            archive.writestr("__MACOSX/._x.csv", "junk")
    raw = table(tmp_path, packed.getvalue(), name)
    assert raw.n_rows == 1
    assert raw.source.size == len(packed.getvalue())


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=6)


@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    final=st.booleans(),
)
def test_records_are_the_rows_that_csv_and_pandas_see(tmp_path_factory, rows, end, final):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=end)
    writer.writerow(["x", "y", "z"])
    # A first cell that is never blank keeps the row from being a blank line.
    writer.writerows([["k" + row[0], *row[1:]] for row in rows])
    text = stream.getvalue()
    content = (text if final else text.removesuffix(end)).encode()
    raw = table(tmp_path_factory.mktemp("law"), content)
    assert raw.n_rows == len(rows)
    assert raw.select(range(raw.n_rows)) == content
    parsed = raw.frame({"x": str, "y": str, "z": str})
    expected = pd.read_csv(io.BytesIO(content), dtype=str)
    pd.testing.assert_frame_equal(parsed, expected)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\x89PNG\r\n\x1a\n0000", "is a PNG image"),
        (b"Image;A,B;C\na;b,c;d\n", "line 1: the columns could be separated by commas (Image;A / B;C) or semicolons"),
        (b"Image,A,A\na.png,1,1\n", "duplicate columns: A"),
        (b"Image,A\na.png,1\nb.png\nc.png\n", "line 3: 1 fields (2 such lines); expected 2 as in the header"),
        (b'Image,A\na.png,1\n"b.png,1\n', "line 3: a quote is not closed"),
        (b"Image,A\na\xe9.png,1\n", "line 2: byte 0xe9 is not UTF-8"),
        (b"Image,A\na\0.png,1\n", "byte 9 is NUL"),
        (b"\xff\xfeI\0m", "is damaged UTF-16"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x1f\x8b\x08 damaged", "damaged archive"),
        (b"PK\x03\x04 damaged", "damaged archive"),
    ],
)
def test_bad_content_is_one_clear_error(tmp_path, content, says):
    with pytest.raises(LabelTableError) as caught:
        table(tmp_path, content)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert caught.value.remedy


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_table(tmp_path)


def test_zip_with_several_tables(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "Image\n")
        archive.writestr("b.csv", "Image\n")
    with pytest.raises(LabelTableError, match=r"holds a\.csv, b\.csv; expected one table"):
        table(tmp_path, packed.getvalue(), "t.zip")


def test_lines_without_header(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.png\nb.png")
    raw = read_lines(path)
    assert raw.n_rows == 2
    assert raw.select([1, 0]) == b"b.png\na.png\n"


@pytest.mark.parametrize("content", [b'{"result": {}}\n', b'\xef\xbb\xbf  [\n "a"]\n'])
def test_json_is_called_json(tmp_path, content):
    with pytest.raises(LabelTableError, match="looks like JSON, not a table"):
        table(tmp_path, content)


@pytest.mark.parametrize("most", [3, 255, 256, 700])
def test_marks_are_counted_whatever_their_number(most):
    random = np.random.default_rng(most)
    counts = random.integers(0, most + 1, 50)
    counts[7] = most
    marks = np.concatenate([[False] * 3, *(random.permutation([True] * n + [False] * 5) for n in counts)])
    starts = 3 + np.concatenate([[0], np.cumsum(counts + 5)[:-1]])
    assert _count_between(marks, starts).tolist() == counts.tolist()
