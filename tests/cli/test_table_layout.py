"""Tables in narrow terminals: nothing cut, no number broken, every row still named."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cxr_cli.cli import console


def shown(table, width):
    stream = io.StringIO()
    Console(file=stream, width=width, markup=False, emoji=False, highlight=False).print(table)
    return stream.getvalue().splitlines()


def test_a_table_that_fits_is_one_table():
    lines = shown(console.table("Title", ["name", "n"], [["a", 1234]], caption="below"), 80)
    assert lines == ["Title", "┏━━━━━━┳━━━━━━━┓", "┃ name ┃     n ┃", "┡━━━━━━╇━━━━━━━┩", "│ a    │ 1,234 │"] + [
        "└──────┴───────┘",
        "below",
    ]


def test_a_table_too_wide_comes_in_parts_that_repeat_the_names():
    lines = shown(console.table("Title", ["name", "first", "second"], [["Edema", 123456, 654321]]), 24)
    text = "\n".join(lines)
    assert lines[0] == "Title"
    assert "Title (continued)" in lines
    assert text.count("Edema") == 2
    assert "123,456" in text
    assert "654,321" in text


def test_headers_wrap_between_words():
    lines = shown(console.table(None, ["name", "share of weighted loss"], [["Edema", "3.11 %"]]), 25)
    assert [line.split("┃")[2].strip() for line in lines if "┃" in line] == ["share of", "weighted loss"]


def test_text_columns_wrap_between_words():
    lines = shown(console.table(None, ["", ""], [["pathologies", "Edema, Effusion, Mass"]], text_columns=2), 34)
    assert [line.split("│")[2].strip() for line in lines if "│" in line] == ["Edema, Effusion,", "Mass"]


@pytest.mark.parametrize(("n_rows", "caption"), [(None, "2 more in --json"), (50, "48 more in --json")])
def test_long_lists_say_how_many_are_left(n_rows, caption):
    table = console.table(None, ["n"], [[n] for n in range(4)], most=2, n_rows=n_rows)
    assert table.caption == caption
    assert len(table.rows) == 2


def test_a_list_that_is_whole_says_nothing():
    assert console.table(None, ["n"], [[1], [2]], most=2).caption is None


numbers = st.integers(0, 10**9)


@given(
    width=st.integers(30, 120),
    rows=st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=3)
    ),
)
def test_no_line_is_too_long_and_no_number_is_broken(width, rows):
    columns = ["pathology", *(f"column {n}" for n in range(len(rows[0])))]
    lines = shown(console.table("T", columns, [["Pneumothorax", *row] for row in rows]), width)
    assert max(map(len, lines)) <= width
    cells = [cell.strip() for line in lines if line.startswith("│") for cell in line.strip("│").split("│")]
    for row in rows:
        for number in row:
            assert f"{number:,}" in cells


def test_columns_without_news_are_left_out():
    rows = [["a", 0, None, 0], ["b", 0, None, 2]]
    made = console.table("t", ["name", "n", "m", "k"], rows, if_any=("n", "m", "k"))
    assert made.columns == ["name", "k"]
    assert [[cell.plain for cell in row] for row in made.rows] == [["a", "0"], ["b", "2"]]
    assert console.table("t", ["name", "n"], [["a", 0]]).columns == ["name", "n"]


@pytest.mark.parametrize(
    "line",
    [
        "explore train-small.csv --no-plots",
        "weights train-small.csv --no-plots",
        "split train-small.csv --no-plots",
        "check-leakage train-small.csv valid-small.csv --no-plots",
    ],
)
def test_tables_of_the_sample_data_fit_80_columns_in_one_part(cxr, sample_data, monkeypatch, line):
    monkeypatch.setenv("COLUMNS", "80")
    words = [str(sample_data / word) if word.endswith(".csv") else word for word in line.split()]
    text = cxr(*words).stdout
    assert "(continued)" not in text
    assert max(len(part) for part in text.splitlines() if part[:1] in "┏┃┡│└") <= 80
