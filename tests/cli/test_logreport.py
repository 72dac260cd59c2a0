"""What `moxylogalyze` says in the end."""

import json

import pytest

from moxy.accounting.linereader import LineReader
from moxy.cli.logreport import Style, print_tally, remark
from moxy.cli.tallying import Selection, Tally

READER = LineReader("%date %msize <%sender> '%rcpts'", "%F")
LINES = [b"2023-11-20 1000 <b@c> 'x@y,z@y'", b"2023-11-21 24 <a@c> 'x@y'", b"2023-11-19 1 <> 'x@y'"]
STYLE = Style(None, None, None, human=False, as_json=False, as_csv=False)


def tally_of(by=None, lines=LINES):
    tally = Tally(READER, Selection({}), by)
    tally.add(lines)
    return tally


def said(capsys, **wishes):
    print_tally(tally_of(wishes.get("by")), STYLE._replace(**wishes))
    return capsys.readouterr().out


def test_without_a_listing_the_total_is_a_sentence(capsys):
    assert said(capsys) == "1,025 octets in 3 messages to 4 recipients\n"
    assert said(capsys, human=True) == "1.0 KiB in 3 messages to 4 recipients\n"


def test_a_table_has_the_largest_first_unless_told_otherwise(capsys):
    names = [line.split()[0] for line in said(capsys, by="from").splitlines()]
    assert names == ["sender", "b@c", "a@c", "<>", "total"]
    names = [line.split()[0] for line in said(capsys, by="from", sort="name").splitlines()]
    assert names == ["sender", "<>", "a@c", "b@c", "total"]


def test_days_come_in_their_order(capsys):
    assert [line.split()[0] for line in said(capsys, by="day").splitlines()[1:4]] == [
        "2023-11-19",
        "2023-11-20",
        "2023-11-21",
    ]


def test_a_cut_table_tells_what_it_leaves_out(capsys):
    assert said(capsys, by="from", top=1).splitlines()[1:] == [
        "b@c      1,000         1   97.6%",
        "2 more      25         2    2.4%",
        "total    1,025         3  100.0%",
    ]


@pytest.mark.parametrize(
    ("by", "plural", "heading"),
    [("from", "senders", "sender"), ("rcpt", "recipients", "recipient"), ("day", "days", "day")],
)
def test_json_has_the_rows_under_what_they_are(capsys, by, plural, heading):
    told = json.loads(said(capsys, by=by, as_json=True, top=1))
    assert list(told) == ["lines", plural, "total"]
    assert list(told[plural][0]) == [heading, "octets", "messages"]
    assert told["total"] == {"octets": 1025, "messages": 3}


def test_json_without_a_listing_has_the_total_and_what_was_left_out(capsys):
    assert json.loads(said(capsys, as_json=True)) == {
        "lines": {"misfits": 0, "foreign": 0, "undated": 0},
        "total": {"octets": 1025, "messages": 3, "recipients": 4},
    }


def test_csv_has_a_line_of_headings(capsys):
    assert said(capsys, as_csv=True).splitlines() == ["total,octets,messages", "total,1025,3"]
    assert said(capsys, by="from", as_csv=True).splitlines()[0] == "sender,octets,messages"


def test_what_was_left_out_is_remarked_beside_the_answer(capsys):
    tally = tally_of(lines=[b"x", b"y", b"Nov 20 12:00:00 host cron: hi"])
    tally.undated = 1234
    remark(tally, verbose=False)
    remarks = capsys.readouterr()
    assert remarks.out == ""
    assert remarks.err.splitlines() == [
        "2 lines do not fit the format (-v shows them)",
        "1,234 lines have no date that can be read",
        "1 line is of other programs",
    ]
    remark(tally, verbose=True)
    assert capsys.readouterr().err.splitlines()[0] == "2 lines do not fit the format"
    remark(tally_of(), verbose=False)
    assert capsys.readouterr().err == ""
