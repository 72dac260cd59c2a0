"""The text of a route table: what it says, and every mistake in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.mail.route import Host, Mode, Route
from moxy.routes import tabletext
from moxy.routes.tabletext import read_entries, read_table, split_line

ALPHA = Route((Host("alpha.example", 2525),), Mode.FAILOVER, "alpha")
BETA = Route((Host("beta.example"),), Mode.ALL, "beta")


def read(text, mode=Mode.ALL, destinations=None):
    octets = text.encode() if isinstance(text, str) else text
    return read_table(octets.splitlines(keepends=True), "moxy.db", mode, destinations or {})


def problems(text, destinations=None):
    return [str(problem) for problem in read(text, destinations=destinations)[1]]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", None),
        (" \t\r\n", None),
        ("# comment", None),
        ("  # comment", None),
        ("#example.org mail:25", None),
        ("example.org mail:25\r\n", ("example.org", "mail:25")),
        ("\texample.org \t mail:25 \n", ("example.org", "mail:25")),
        ("example.org mail:25, other:26", ("example.org", "mail:25, other:26")),
        ("example.org mail:25 # why", ("example.org", "mail:25")),
        ("example.org mail:25\t#why#", ("example.org", "mail:25")),
        ("example.org # nothing", ("example.org", "")),
        ("example.org", ("example.org", "")),
        ("joe#1@example.org mail:25", ("joe#1@example.org", "mail:25")),
        ("example.org mail#1", ("example.org", "mail#1")),
        ('"j d"@example.org mail:25', ('"j d"@example.org', "mail:25")),
        ('"j # d"@example.org mail:25 # c', ('"j # d"@example.org', "mail:25")),
        (r'"j\" d"@example.org mail:25', (r'"j\" d"@example.org', "mail:25")),
        ('"j d@example.org mail:25', ('"j', "d@example.org mail:25")),
        ("example.org\x0bmail:25", ("example.org\x0bmail:25", "")),
    ],
)
def test_a_line_is_a_key_and_a_value(line, fields):
    assert split_line(line) == fields


def test_the_table_of_the_documentation_is_read_as_it_says():
    entries, mistakes = read(
        "# friends\n"
        "example.org         mail.example.org:2525\n"
        "bigorg.example      10.0.0.5:25, 10.0.0.6:25    # both get every message\n"
        "alice@example.org   [2001:db8::1]               # port 25\n"
        "here.example        unix:/run/dovecot/lmtp      # a server on this machine\n"
        ".example.org        alpha                       # all sub-domains\n"
        "*                   localhost:10025\n",
        destinations={"alpha": ALPHA},
    )
    assert not mistakes
    assert entries == {
        "example.org": Route((Host("mail.example.org", 2525),)),
        "bigorg.example": Route((Host("10.0.0.5"), Host("10.0.0.6"))),
        "alice@example.org": Route((Host("2001:db8::1"),)),
        "here.example": Route((Host("/run/dovecot/lmtp", 0),)),
        ".example.org": ALPHA,
        "*": Route((Host("localhost", 10025),)),
    }


def test_the_mode_is_that_of_the_table_and_a_destination_keeps_its_own():
    entries, _ = read("a.org m:25\nb.org alpha\n", Mode.BALANCE, {"alpha": ALPHA})
    assert entries["a.org"].mode is Mode.BALANCE
    assert entries["b.org"] is ALPHA


def test_equal_values_share_one_route():
    entries, _ = read("a.org m:25,n:26\nb.org\tm:25,n:26\n")
    assert entries["a.org"] is entries["b.org"]


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_key():
    entries, mistakes = read(b"\xef\xbb\xbfa.org m:25\r\n")
    assert (list(entries), mistakes) == (["a.org"], [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.org", "moxy.db:1: a.org: expected host:port, or several with commas between"),
        ("a.org m:25,", "moxy.db:1: a.org: expected host:port, or several with commas between"),
        ("\n\na.org m:0", "moxy.db:3: a.org: bad port `0`: expected a number from 1 to 65535"),
        ("a.org m!:25", "moxy.db:1: a.org: bad host `m!`: expected a host name or an IP address"),
        ("a.org m:25 n:26", "moxy.db:1: a.org: bad host `m:25 n:26`: an IPv6 address needs brackets"),
        ("*.a.org m:25", "moxy.db:1: *.a.org: all sub-domains of a domain are written `.a.org`"),
        ("a..org m:25", "moxy.db:1: a..org: expected a domain, `.domain`, user@domain or `*`"),
        (b"ok.org m:25\na\xff.org m:25", "moxy.db:2: expected UTF-8"),
        (b"a.org m:25 # \0", "moxy.db:1: a NUL octet"),
        ("a.org m:25\nb.org m:25\nA.ORG n:26", "moxy.db:3: a.org: stands in line 1 already"),
        ('j@a.org m:25\n"j"@a.org n:26', "moxy.db:2: j@a.org: stands in line 1 already"),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_what_was_expected(text, told):
    (only,) = problems(text)
    assert only.startswith(told)


def test_every_mistake_is_told_in_the_order_of_the_lines():
    text = "a.org\nb.org m:25\nb.org m:25\n\nc..org m:25\nd.org m:x\nb.org n:1\n"
    assert [problem.line for problem in read(text)[1]] == [1, 3, 5, 6, 7]


def test_a_slip_in_a_destination_s_name_is_no_host():
    (only,) = problems("a.org alhpa", {"alpha": ALPHA, "beta": BETA})
    assert "no destination is called `alhpa`; did you mean `alpha`?" in only
    (only,) = problems("a.org localhost", {"alpha": ALPHA})
    assert "no destination is called `localhost` (a host of that name needs a port)" in only


def test_a_word_is_a_host_where_there_are_no_destinations_or_it_has_a_port():
    assert read("a.org localhost")[0]["a.org"] == Route((Host("localhost"),))
    assert read("a.org alhpa:25", destinations={"alpha": ALPHA})[0]["a.org"] == Route((Host("alhpa"),))
    assert read("a.org m.org", destinations={"alpha": ALPHA})[0]["a.org"] == Route((Host("m.org"),))


def test_values_may_be_read_by_another_parser_once_each():
    read = []

    def parse(text):
        read.append(text)
        if text == "bad":
            raise ValueError("no good")
        return text.upper()

    entries, mistakes = read_entries([b"a.org x", b"b.org x", b"c.org bad", b"A.org y"], "moxy.db", parse)
    assert entries == {"a.org": "X", "b.org": "X"}
    assert [str(mistake) for mistake in mistakes] == [
        "moxy.db:3: c.org: no good",
        "moxy.db:4: a.org: stands in line 1 already",
    ]
    assert read == ["x", "bad", "y"]


@pytest.mark.parametrize("line", ["a..org m:25\n", "a.org m:25\n"])
def test_what_is_no_table_at_all_is_not_read_to_its_end(line):
    mistakes = read(line * (tabletext.PROBLEMS_LIMIT * 3))[1]
    assert len(mistakes) == tabletext.PROBLEMS_LIMIT + 1
    assert mistakes[-1].message == "too many mistakes, the rest was not read"


PIECES = st.sampled_from(
    [
        "a.org",
        "B.org",
        ".org",
        "*",
        "j@a.org",
        '"j d"@a.org',
        '"',
        "@",
        " ",
        "\t",
        "\n",
        "\r",
        "#",
        "m:25",
        ",",
        "alpha",
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join).map(str.encode) | st.binary())
def test_any_octets_give_entries_or_printable_mistakes(octets):
    entries, mistakes = read(octets, destinations={"alpha": ALPHA})
    assert all(isinstance(route, Route) for route in entries.values())
    assert all(str(mistake).isprintable() and mistake.line for mistake in mistakes)
