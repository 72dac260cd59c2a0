"""Tables of octets and messages, in every form."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from moxy.cli import tables
from moxy.cli.tables import Row, Table, arranged, csv_text, cut, human_size, json_text, plain_lines, total_of, with_bars

ROWS = [Row("b", 5, 30), Row("a", 1_000_000, 2), Row("c", 5, 1)]
ANY_ROWS = st.lists(st.builds(Row, st.text(), st.integers(0, 2**60), st.integers(0, 2**40)))


def table_of(rows, **more):
    return Table("name", rows, total_of(rows), **more)


def printed(table, columns=80, **how):
    output = io.StringIO()
    Console(file=output, width=columns, color_system=None).print(with_bars(table, columns=columns, **how))
    return output.getvalue().splitlines()


@pytest.mark.parametrize(
    ("by", "reverse", "names"),
    [
        ("octets", False, "abc"),
        ("octets", True, "bca"),
        ("messages", False, "bac"),
        ("messages", True, "cab"),
        ("name", False, "abc"),
        ("name", True, "cba"),
    ],
)
def test_rows_come_in_the_order_that_is_asked_for(by, reverse, names):
    assert "".join(row.name for row in arranged(ROWS, by, reverse=reverse)) == names


def test_what_is_cut_off_stays_in_one_row():
    assert cut(ROWS, 1) == ([ROWS[0]], Row("2 more", 1_000_005, 3))
    assert cut(ROWS, 3) == cut(ROWS, None) == (ROWS, None)


@given(ANY_ROWS, st.integers(1, 5))
def test_the_first_rows_and_the_rest_add_up_to_the_total(rows, top):
    first, rest = cut(arranged(rows), top)
    assert total_of([*first, rest] if rest else first) == total_of(rows)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024 * 999, "999.0 KiB"),
        (1024 * 1024, "1.0 MiB"),
        (12_900_000, "12.3 MiB"),
        (2**60, "1.0 EiB"),
        (2**80, "1,048,576.0 EiB"),
    ],
)
def test_people_read_a_few_digits_and_a_unit(octets, text):
    assert human_size(octets) == text


def test_plain_text_is_aligned_and_ends_with_the_total():
    rest = Row("2 more", 7, 1)
    assert list(plain_lines(Table("name", ROWS[:2], Row("", 1_000_012, 33), rest, ("rate",)))) == [
        "name       octets  messages   share  rate",
        "b               5        30    0.0%",
        "a       1,000,000         2  100.0%",
        "2 more          7         1    0.0%",
        "total   1,000,012        33  100.0%",
    ]


def test_human_units_and_further_cells_stand_in_their_columns():
    table = Table("name", [Row("b", 2048, 30, ("1/s",))], Row("total", 2048, 30), extra=("rate",))
    assert list(plain_lines(table, human=True)) == [
        "name    octets  messages   share  rate",
        "b      2.0 KiB        30  100.0%   1/s",
        "total  2.0 KiB        30  100.0%",
    ]


def test_nothing_at_all_is_a_table_too():
    assert list(plain_lines(table_of([])))[1] == "total       0         0   0.0%"
    assert json.loads(json_text(table_of([]), "names")) == {"names": [], "total": {"octets": 0, "messages": 0}}
    assert printed(table_of([]))


def test_one_long_name_does_not_push_all_numbers_away():
    lines = list(plain_lines(table_of([Row("x" * 200, 1, 1), Row("y", 1, 1)])))
    assert len(lines[1]) > 200
    assert max(map(len, [lines[0], *lines[2:]])) < 100


@given(ANY_ROWS)
def test_no_name_breaks_a_line_or_steers_a_terminal(rows):
    lines = list(plain_lines(table_of(rows)))
    assert len(lines) == len(rows) + 2
    assert all(line.isprintable() for line in lines)
    assert json_text(table_of(rows), "names").isascii()
    assert all(character.isprintable() or character in "\r\n" for character in csv_text(table_of(rows)))
    assert all(line.isprintable() for line in printed(table_of(rows)))


def test_programs_get_whole_numbers():
    table = table_of(ROWS)
    assert json.loads(json_text(table, "names", file="x")) == {
        "file": "x",
        "names": [{"name": row.name, "octets": row.octets, "messages": row.messages} for row in ROWS],
        "total": {"octets": 1_000_010, "messages": 33},
    }
    assert csv_text(table) == "name,octets,messages\r\nb,5,30\r\na,1000000,2\r\nc,5,1\r\n"


def test_commas_and_quotes_in_csv_are_quoted():
    name = '"one, two"@example.org'
    assert list(csv.reader(io.StringIO(csv_text(table_of([Row(name, 1, 2)])))))[1] == [name, "1", "2"]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_on_a_terminal_names_are_no_markup_and_bars_are_as_long_as_shares(columns):
    lines = printed(table_of([Row("[red]a", 750, 1), Row("b", 250, 1)]), columns)
    assert "[red]" in "".join(lines) or columns < 40
    assert max(map(len, lines)) <= columns
    if columns >= 80:
        assert [line.count("█") for line in lines[1:3]] == [30, 10]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_are_for_terminals_only(monkeypatch, capsys):
    tables.show(table_of(ROWS))
    assert "█" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    tables.show(table_of(ROWS))
    assert "█" in tables.sys.stdout.getvalue()
