"""LineFormat: a record as one line of text."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting.record import Outcome, Record
from moxy.accounting.textformat import LineFormat, unknown_words

FORMAT = "%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'"
DATE = "%d/%m/%y %T %z"

RECORD = Record(
    time=1_007_538_188.9,
    session="s",
    transaction="t",
    client="192.0.2.1",
    client_port=4711,
    hello="client.example",
    reverse_path="joe@example.org",
    destination="mail.example.net:2525",
    recipients=["ann@example.net", "bob@example.net"],
    size=26138,
    outcome=Outcome.DELIVERED,
)


@pytest.fixture
def california(monkeypatch):
    monkeypatch.setenv("TZ", "PST8PDT")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_original_s_example_comes_out_as_its_page_shows(california):
    assert LineFormat(FORMAT, DATE).render(RECORD) == (
        "04/12/01 23:43:08 -0800: 26138 bytes from <joe@example.org> [192.0.2.1] to [mail.example.net:2525]"
        " for 'ann@example.net,bob@example.net'"
    )


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("", ""),
        ("nothing", "nothing"),
        ("%shost|%sender|%dhost", "192.0.2.1|joe@example.org|mail.example.net:2525"),
        ("%rcpts %msize", "ann@example.net,bob@example.net 26138"),
        ("%msize%msize", "2613826138"),
        ("%msizes", "26138s"),
        ("%other %Sender %", "%other %Sender %"),
        ("100%% %%sender %%%msize", "100% %sender %26138"),
        ("%s %d %(x)s {0} {msize}", "%s %d %(x)s {0} {msize}"),
        ("a\tb", "a\tb"),
        ("a\nb\x1b", "a\\x0ab\\x1b"),
    ],
)
def test_words_are_replaced_and_all_else_stays(format, line):
    assert LineFormat(format, DATE).render(RECORD) == line


def test_the_null_reverse_path_is_empty():
    assert LineFormat("<%sender>", DATE).render(replace(RECORD, reverse_path="")) == "<>"


def test_the_date_follows_the_record_to_the_second(california):
    line_format = LineFormat("%date", "%T")
    times = [10.0, 10.9, 11.0, 9.5, 0.0]
    assert [line_format.render(replace(RECORD, time=moment)) for moment in times] == [
        "16:00:10",
        "16:00:10",
        "16:00:11",
        "16:00:09",
        "16:00:00",
    ]


@pytest.mark.parametrize(("date_format", "date"), [("%n", "\\x0a"), ("%t", "\t"), ("%%date", "%date"), ("", "")])
def test_a_date_is_part_of_one_line(date_format, date):
    assert LineFormat("%date", date_format).render(RECORD) == date


def test_a_date_format_that_cannot_be_used_is_refused_at_once():
    with pytest.raises(ValueError):
        LineFormat("%date", "\0")


def test_recipients_stay_as_spelled_and_control_characters_do_not():
    record = replace(
        RECORD, reverse_path='"a\r\nb"@x', recipients=['"one, two"@example.org', '"\x1b[2J"@y'], client="::1\n"
    )
    assert LineFormat("%sender %rcpts %shost", DATE).render(record) == (
        '"a\\x0d\\x0ab"@x "one, two"@example.org,"\\x1b[2J"@y ::1\\x0a'
    )


@given(
    st.lists(st.sampled_from(["%", "%%", "%sender", "%rcpts", "%date", "\n", " "]) | st.text(), max_size=8).map(
        "".join
    ),
    st.text(),
    st.lists(st.text(), max_size=3),
    st.integers(0, 2**31),
)
def test_whatever_comes_in_one_line_goes_out(format, sender, recipients, moment):
    record = replace(RECORD, reverse_path=sender, recipients=recipients, time=float(moment))
    line = LineFormat(format, "%d%n%H").render(record)
    assert len(line.splitlines()) <= 1
    assert not set(line) & set("\r\n\x0b\x0c\x85\u2028\u2029")


@pytest.mark.parametrize(
    ("format", "unknown"),
    [("%msize %sender", []), ("%sendr, %%sendr %dhosts", ["sendr"]), ("100% %Msize %_x", ["Msize", "_x"]), ("", [])],
)
def test_what_looks_like_a_word_and_is_none_is_found(format, unknown):
    assert unknown_words(format) == unknown


def test_a_client_behind_a_unix_socket_has_a_word_instead_of_an_address():
    record = replace(RECORD, client="", client_port=0)
    line = LineFormat(FORMAT, DATE).render(record)
    assert "[unix]" in line
