"""Adding up lines: what counts, under which names, and how often."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting.linereader import LineReader
from moxy.cli import matching
from moxy.cli.tables import Row, arranged
from moxy.cli.tallying import CALENDARS, LISTINGS, Selection, Tally

READER = LineReader("%date %msize <%sender> [%shost] [%dhost] '%rcpts'", "%F %T")
EVERYTHING = Selection({})


def line(sender="a@b", client="192.0.2.1", host="h:25", recipients="x@y", size=10, date="2023-11-20 12:00:00"):
    return f"{date} {size} <{sender}> [{client}] [{host}] '{recipients}'\n".encode()


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def tallied(lines, by=None, selection=EVERYTHING, reader=READER):
    tally = Tally(reader, selection, by)
    tally.add(lines)
    return tally


def rows(lines, by, selection=EVERYTHING):
    return [(row.name, row.octets, row.messages) for row in arranged(tallied(lines, by, selection).rows(), "name")]


@pytest.mark.parametrize(
    ("by", "lines", "expected"),
    [
        ("from", [line("a@B"), line("a@b", size=1), line("A@b")], [("A@b", 10, 1), ("a@b", 11, 2)]),
        ("from", [line("")], [("<>", 10, 1)]),
        ("from-domain", [line("a@B"), line('"x@y"@b'), line("")], [("<>", 10, 1), ("b", 20, 2)]),
        ("ip", [line(client="::1"), line(client="192.0.2.1")], [("192.0.2.1", 10, 1), ("::1", 10, 1)]),
        ("dest", [line(host="H:25"), line(host="h:25"), line(host="h:26")], [("h:25", 20, 2), ("h:26", 10, 1)]),
        ("rcpt", [line(recipients='a@b,"c, d"@B'), line(recipients="a@b")], [('"c, d"@b', 10, 1), ("a@b", 20, 2)]),
        (
            "rcpt",
            [line(recipients="a@b,+97"), line(recipients="+3")],
            [("(not named in the log)", 1000, 100), ("a@b", 10, 1)],
        ),
        (
            "rcpt-domain",
            [line(recipients="a@b,c@B,d@e,+97")],
            [("(not named in the log)", 10, 1), ("b", 10, 1), ("e", 10, 1)],
        ),
        ("rcpt-domain", [line(recipients="Postmaster")], [("postmaster", 10, 1)]),
        ("day", [line(), line(date="2023-11-19 23:59:59")], [("2023-11-19", 10, 1), ("2023-11-20", 10, 1)]),
        ("hour", [line(), line(date="2023-11-20 12:59:59")], [("2023-11-20 12:00", 20, 2)]),
    ],
)
def test_lines_are_added_up_under_their_names(by, lines, expected):
    assert rows(lines, by) == expected


def test_names_with_octets_that_are_no_text_are_shown_as_such():
    tally = tallied([line().replace(b"a@b", b"\xff@b")], "from")
    assert tally.rows() == [Row("\\xff@b", 10, 1)]


def test_every_listing_has_its_word_in_the_format():
    assert {listing.word for listing in LISTINGS.values()} <= READER.words
    assert not set(LISTINGS) & set(CALENDARS)


@pytest.mark.parametrize(
    ("recipients", "number"), [("a@b", 1), ("a@b,c@d", 2), ('"a, b"@c,d@e', 2), ("a@b,+97", 98), ("+5", 5), ("+5@a", 1)]
)
def test_recipients_are_counted_one_by_one(recipients, number):
    assert tallied([line(recipients=recipients)]).recipients == number


def test_a_format_without_recipients_counts_none():
    assert tallied([b"5 a@b"], reader=LineReader("%msize %sender", "")).recipients == 0


def test_lines_that_do_not_count_are_told_apart():
    seen = []
    tally = Tally(READER, Selection({}, since=0.0), None, seen.append, seen.append)
    foreign, misfit = b"Nov 20 12:00:00 host cron[1]: hi\n", b"nonsense\n"
    undated, good = line(date="2023-02-31 12:00:00"), line()
    tally.add([foreign, misfit, undated, good])
    assert (tally.foreign, tally.misfits, tally.undated) == (1, 1, 1)
    assert tally.total() == Row("total", 10, 1)
    assert seen == [misfit, good]


def test_an_unreadable_date_does_not_matter_where_no_time_is_asked_for():
    tally = tallied([line(date="2023-02-31 12:00:00")], "dest")
    assert (tally.messages, tally.undated) == (1, 0)


LINES = [
    line("a@b", "192.0.2.1", "h:25", "x@y,z@y", date="2023-11-20 12:00:00"),
    line("a@c", "192.0.2.2", "h:26", "z@y", date="2023-11-21 12:00:00"),
    line("", "192.0.2.2", "i:25", "w@y", date="2023-11-22 12:00:00"),
]


@pytest.mark.parametrize(
    ("asked", "counted"),
    [
        ({}, [0, 1, 2]),
        ({"sender": ["a@b"]}, [0]),
        ({"sender": ["a@b", "<>"]}, [0, 2]),
        ({"sender": ["a@*"], "dhost": ["h:26"]}, [1]),
        ({"sender": ["a@b"], "dhost": ["h:26"]}, []),
        ({"dhost": ["h"]}, [0, 1]),
        ({"shost": ["192.0.2.2"]}, [1, 2]),
        ({"rcpts": ["z@Y"]}, [0, 1]),
        ({"rcpts": ["x@y", "w@y"]}, [0, 2]),
        ({"since": "2023-11-21"}, [1, 2]),
        ({"until": "2023-11-21 12:00"}, [0]),
        ({"since": "2023-11-21", "until": "2023-11-22"}, [1]),
        ({"since": "2023-11-21", "sender": ["a@*"]}, [1]),
    ],
)
def test_kinds_of_matches_must_all_hold_and_of_each_kind_one(asked, counted):
    readers = {"sender": matching.sender, "shost": matching.client, "dhost": matching.destination}
    tests = {
        word: [readers.get(word, matching.recipient)(text) for text in texts]
        for word, texts in asked.items()
        if isinstance(texts, list)
    }
    times = [matching.moment(asked[word], 0) if word in asked else None for word in ("since", "until")]
    seen = []
    Tally(READER, Selection(tests, *times), None, seen.append).add(LINES)
    assert seen == [LINES[index] for index in counted]


DELIVERIES = st.lists(
    st.tuples(
        st.sampled_from(["a@b", "A@b", '"c, \'> d"@b', "", "e@F"]),
        st.lists(st.sampled_from(["x@y", '"z, z"@y', "v@w", "Postmaster"]), min_size=1, max_size=3, unique=True),
        st.sampled_from(["h:25", "i:25"]),
        st.integers(0, 10**9),
    )
)


@given(DELIVERIES, st.sampled_from(["from", "dest", "ip", "day", "hour", "from-domain"]))
def test_a_table_of_what_a_line_has_once_adds_up_to_the_total(deliveries, by):
    lines = [line(sender, "::1", host, ",".join(names), size) for sender, names, host, size in deliveries]
    tally = tallied(lines, by)
    assert sum(row.octets for row in tally.rows()) == tally.octets == sum(size for *_, size in deliveries)
    assert sum(row.messages for row in tally.rows()) == tally.messages == len(deliveries)
    assert tally.misfits == 0


@given(DELIVERIES)
def test_each_recipient_has_the_octets_of_its_messages(deliveries):
    octets = Counter()
    for _, names, _, size in deliveries:
        octets.update({name.lower() if name == "Postmaster" else name: size for name in names})
    lines = [line(sender, "::1", host, ",".join(names), size) for sender, names, host, size in deliveries]
    tally = tallied(lines, "rcpt")
    assert {row.name: row.octets for row in tally.rows() if row.octets} == +octets
    assert sum(row.messages for row in tally.rows()) == tally.recipients
