"""LineReader: what LineFormat wrote is read back, whatever the format and whoever chose the addresses."""

import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from moxy.accounting.escape import escaped
from moxy.accounting.linereader import LineReader
from moxy.accounting.patterns import recipients
from moxy.accounting.record import Outcome, Record
from moxy.accounting.textformat import LineFormat
from moxy.smtp.address import ForwardPath, ReversePath

FORMAT = "%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'"
DATE = "%d/%m/%y %T %z"
LINE = (
    b"04/12/01 23:43:08 -0800: 26138 bytes from <joe@example.org> [192.0.2.1] to [mail.example.net:2525]"
    b" for 'ann@example.net,bob@example.net'"
)
FIELDS = {
    "date": b"04/12/01 23:43:08 -0800",
    "msize": b"26138",
    "sender": b"joe@example.org",
    "shost": b"192.0.2.1",
    "dhost": b"mail.example.net:2525",
    "rcpts": b"ann@example.net,bob@example.net",
}
MOMENT = 1_007_538_188.0

RECORD = Record(
    time=MOMENT,
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


def fields(reader, line):
    match = reader.match(line)
    return match and {word: match[word] for word in reader.words}


def test_a_client_without_an_address_is_read_back():
    line = LineFormat(FORMAT, DATE).render(replace(RECORD, client="", client_port=0))
    assert fields(LineReader(FORMAT, DATE), line.encode())["shost"] == b"unix"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "prefix",
    [
        b"",
        b"Nov 20 12:00:00 host moxy[123]: ",
        b"Nov  2 12:00:00 host moxy: ",
        b"<22>Nov 20 12:00:00 moxy[123]: ",
        b"Nov 20 12:00:00 host mail.info moxy[123]: ",
        b"2026-11-20T12:00:00.123456+00:00 mx.example.org moxy[1]: ",
        b"2026-11-20T12:00:00Z host moxy[1]: ",
        b"<22>2026-11-20T12:00:00+0100 2001:db8::1 moxy[1]: ",
    ],
)
def test_a_line_reads_back_with_and_without_what_syslog_puts_before_it(prefix, end):
    assert fields(LineReader(FORMAT, DATE), prefix + LINE + end) == FIELDS


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        LINE + b" ",
        LINE[:-1],
        LINE.replace(b"joe@", b"joe doe@"),
        LINE.replace(b"joe@example.org", b"joe"),
        LINE.replace(b"26138", b""),
        LINE.replace(b"26138", b"9" * 19),
        LINE.replace(b"26138", "٢".encode()),
        LINE.replace(b":2525", b""),
        LINE.replace(b"bob@example.net", b""),
        LINE.replace(b"bob@example.net", b"+"),
        LINE.replace(b"bob@example.net", b"+9,x@y"),
        b"Nov 20 12:00:00 host moxy[123]: started",
        b"Nov 20 12:00:00 host postfix[1]: " + LINE,
        b"Nov 20 12:00:00 host x: moxy: " + LINE,
        b"\xff" + LINE,
    ],
)
def test_what_does_not_fit_is_no_match(line):
    assert LineReader(FORMAT, DATE).match(line) is None


def test_lines_of_other_programs_are_known():
    reader = LineReader(FORMAT, DATE)
    assert reader.is_foreign(b"Nov 20 12:00:00 host postfix/smtpd[12]: connect from x\n")
    assert reader.is_foreign(b"<4>2026-11-20T12:00:00Z host kernel: moxy[1]: boo")
    assert not reader.is_foreign(b"Nov 20 12:00:00 host moxy[12]: something else")
    assert not reader.is_foreign(b"nonsense")


@pytest.mark.parametrize(
    ("field", "was", "octets"),
    [
        ("sender", b"joe@example.org", b""),
        ("sender", b"joe@example.org", b"\"a> [9.9.9.9] to [evil:1] for 'x'\"@example.org"),
        ("sender", b"joe@example.org", b'"\\"> [9.9.9.9] to \\\\"@[IPv6:2001:db8::1]'),
        ("sender", b"joe@example.org", b"o'brien+a=b@x-y.example"),
        ("sender", b"joe@example.org", "jörg@exämple.org".encode()),
        ("sender", b"joe@example.org", b"\xff\xfe@\xff"),
        ("sender", b"joe@example.org", b"a\\xc2\\x85b@x\\xc2\\xa0y"),
        ("rcpts", b"ann@example.net,bob@example.net", b'"one, two"@x,"\',\'"@y,a@b'),
        ("rcpts", b"ann@example.net,bob@example.net", b"Postmaster,a@b"),
        ("rcpts", b"ann@example.net,bob@example.net", b"a@b,+97"),
        ("rcpts", b"ann@example.net,bob@example.net", b"+97"),
        ("rcpts", b"ann@example.net,bob@example.net", b"+97@x,+5"),
        ("shost", b"192.0.2.1", b"2001:db8::1"),
        ("shost", b"192.0.2.1", b"fe80::1%eth0"),
        ("dhost", b"mail.example.net:2525", b"[2001:db8::1]:25"),
        ("dhost", b"mail.example.net:2525", b"unix:/run/dovecot/lmtp-2.d"),
    ],
)
def test_every_address_that_may_come_is_read_whole(field, was, octets):
    assert LINE.count(was) == 1
    assert fields(LineReader(FORMAT, DATE), LINE.replace(was, octets)) == FIELDS | {field: octets}


def test_a_word_that_comes_twice_must_say_the_same():
    reader = LineReader("%msize %sender %msize", DATE)
    assert fields(reader, b"12 a@b 12") == {"msize": b"12", "sender": b"a@b"}
    assert reader.match(b"12 a@b 13") is None


def test_rsyslog_writes_a_tab_in_its_own_way():
    reader = LineReader("%msize\t%sender", DATE)
    assert fields(reader, b"12\ta@b") == fields(reader, b"12#011a@b") == {"msize": b"12", "sender": b"a@b"}


@pytest.mark.parametrize(
    ("format", "date_format", "message"),
    [
        ("%sender", DATE, "the format has no %msize"),
        ("%%msize", DATE, "the format has no %msize"),
        ("%sender%rcpts %msize", DATE, "%sender and %rcpts cannot be told apart"),
        ("%msize%date", DATE, "%msize and %date cannot be told apart"),
        ("%date%msize", "%s", "%date and %msize cannot be told apart"),
        ("%msize0", DATE, "%msize and the text behind it cannot be told apart"),
        ("%shost:%msize", DATE, "%shost and the text behind it cannot be told apart"),
        ("%msize%msize", DATE, "%msize and %msize cannot be told apart"),
        ("%sender.%msize", DATE, "%sender and the text behind it cannot be told apart"),
        ("%msize %date", "%10Y", "the date format has `%1`, which cannot be read back"),
    ],
)
def test_a_format_that_cannot_be_read_back_is_refused_with_the_reason(format, date_format, message):
    with pytest.raises(ValueError) as error:
        LineReader(format, date_format)
    assert str(error.value).startswith(message)


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("format", "date_format", "line", "moment"),
    [
        (FORMAT, DATE, LINE, MOMENT),
        (FORMAT, DATE, b"Nov 20 12:00:00 host moxy: " + LINE, MOMENT),  # the line's own date says more
        ("%msize", DATE, b"5", None),
        ("%msize %date", "%T", b"5 12:00:00", None),
        ("%msize", DATE, b"Nov 20 12:00:00 host moxy: 5", 1_700_481_600.0),
        ("%msize %date", "%T", b"Nov 20 12:00:00 host moxy: 5 12:00:00", 1_700_481_600.0),
        ("%msize", DATE, b"Nov 23 12:00:00 host moxy: 5", 1_669_204_800.0),  # not the future: last year
        ("%msize", DATE, b"2023-11-20T13:00:00.5+01:00 host moxy: 5", 1_700_481_600.5),
        ("%msize", DATE, b"2023-13-20T13:00:00Z host moxy: 5", None),
        ("%msize", DATE, b"Foo 20 12:00:00 host moxy: 5", None),
    ],
)
def test_the_time_of_a_line_is_its_date_or_else_that_of_syslog(utc, format, date_format, line, moment):
    reader = LineReader(format, date_format, now=1_700_481_600.0)
    match = reader.match(line)
    assert reader.moment(match) == moment
    assert reader.moment(match) == moment  # from memory


# Addresses as RFC 5321 §4.1.2 allows them, and RFC 6531 beyond.
ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~éü\u00a0", min_size=1, max_size=6)
QUOTED = st.lists(
    st.sampled_from(["a", " ", ",", "'", ">", "] [", "@", "\\\\", '\\"', "+9", "|", ";", "é", "\\ "]), max_size=8
).map(lambda parts: f'"{"".join(parts)}"')
LOCAL_PART = st.lists(ATOM, min_size=1, max_size=2).map(".".join) | QUOTED
DOMAIN = st.sampled_from(
    ["b", "example.org", "x-y.Example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[tag:!'|{}]", "exämple.org"]
)
MAILBOX = st.builds("{}@{}".format, LOCAL_PART, DOMAIN)
RECIPIENTS = st.lists(MAILBOX | st.just("postmaster"), min_size=1, max_size=4)
RECORDS = st.builds(
    replace,
    st.just(RECORD),
    time=st.integers(86_400, 2**31).map(float),
    reverse_path=MAILBOX | st.just(""),
    recipients=st.one_of(RECIPIENTS, RECIPIENTS.map(lambda named: [*named, "+12"]), st.just(["+7"])),
    client=st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1%eth0"]),
    destination=st.sampled_from(["mail.example.net:25", "a:2525", "192.0.2.9:1", "[2001:db8::1]:25"]),
    size=st.integers(0, 10**12),
)
WORDS = ["%date", "%msize", "%sender", "%shost", "%dhost", "%rcpts"]
PLAIN = st.sampled_from([" ", "; ", "> [", "] <", "\t", ": (", " '", "|"])
TRICKY = st.sampled_from([",", "'", '"', '","', "%%", "%%msize ", ".*", "\\", "/", "-", "@", "+", "[", "é", "", "0"])
BETWEEN = PLAIN | PLAIN | PLAIN | TRICKY | st.text(st.characters(blacklist_categories=("C", "Z")), max_size=3)
FORMATS = st.builds(
    lambda words, texts: "".join(text + word for text, word in zip(texts, words, strict=False)) + texts[-1],
    st.permutations(WORDS) | st.lists(st.sampled_from(WORDS), max_size=5).map(lambda words: [*words, "%msize"]),
    st.lists(BETWEEN, min_size=8, max_size=8),
)
DATES = st.sampled_from(
    [DATE, "%c", "%s", "%F %T", "%e. %B %Y %k:%M", "%Y%m%d%H%M%S", "%-d.%-m.%y %r", "[%A] %D %R %Z", "%j/%Y %I%p", ""]
)


@example(FORMAT, DATE, RECORD)
@example("%date,%shost,%sender,%dhost,%rcpts,%msize", DATE, RECORD)
@example("|%sender|%rcpts|%msize|", DATE, replace(RECORD, reverse_path="", recipients=["a@b", "x|y@z", "+5"]))
@given(FORMATS, DATES, RECORDS)
@settings(suppress_health_check=[HealthCheck.filter_too_much])  # many a format is refused, as it should be
def test_what_was_written_reads_back(format, date_format, record):
    try:
        reader = LineReader(format, date_format)
    except ValueError:
        assume(False)
    line = LineFormat(format, date_format).render(record).encode()
    expected = {
        "date": LineFormat("%date", date_format).render(record),
        "msize": str(record.size),
        "sender": escaped(record.reverse_path),
        "shost": record.client,
        "dhost": record.destination,
        "rcpts": escaped(",".join(record.recipients)),
    }
    for octets in (line + b"\n", b"Nov 20 12:00:00 host moxy[1]: " + line):
        assert fields(reader, octets) == {word: expected[word].encode() for word in reader.words}
    assert recipients(expected["rcpts"].encode()) == [escaped(path).encode() for path in record.recipients]


@given(MAILBOX)
def test_the_addresses_of_these_tests_are_real_ones(text):
    assert ReversePath.parse(text, utf8=True).text == ForwardPath.parse(text, utf8=True).text == text


@pytest.mark.parametrize("end", [b"!", b"'", b"'\n"])
@pytest.mark.parametrize("start", [b"", b"Nov 20 12:00:00 ", LINE.partition(b"joe")[0], LINE.partition(b"ann")[0]])
@pytest.mark.parametrize(
    "unit", [b"a", b"a@b,", b'"a"@b,', b"+1@a,", b",+11", b"postmaster,", b'"', b"\\\\", b'"\\', b"x ", b"[1]: ", b":"]
)
def test_a_hostile_line_takes_time_in_proportion_to_its_length(unit, start, end):
    reader = LineReader(FORMAT, DATE)
    line = start + unit * (2**19 // len(unit)) + end
    started = time.process_time()
    for octets in (line, line.replace(start, start + b'"', 1)):
        assert reader.match(octets) is None
        reader.is_foreign(octets)
    assert time.process_time() - started < 2  # 0.2 s at most; with the square of the length, it would be hours
