"""The trace field that nobody can break, its date, and the count of hops at every cut."""

from __future__ import annotations

import email.policy
import re
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.message.trace import HopCounter, received, without_origin

FACTS = {
    "hello": "client.test",
    "client": "192.0.2.1",
    "hostname": "mx.test",
    "protocol": "ESMTP",
    "id": "1A2B",
    "recipient": "ann@one.test",
    "date": "Thu, 20 Nov 2025 09:34:00 +0000",
}


def test_the_field_is_as_the_rfc_says():
    assert received(**FACTS) == (
        b"Received: from client.test ([192.0.2.1])\r\n"
        b"\tby mx.test with ESMTP id 1A2B\r\n"
        b"\tfor <ann@one.test>;\r\n"
        b"\tThu, 20 Nov 2025 09:34:00 +0000\r\n"
    )


def test_the_client_can_be_left_out():
    assert without_origin(received(**FACTS) + b"From: a\r\n\tby b\r\n") == (
        b"Received: by mx.test with ESMTP id 1A2B\r\n"
        b"\tfor <ann@one.test>;\r\n"
        b"\tThu, 20 Nov 2025 09:34:00 +0000\r\n"
        b"From: a\r\n\tby b\r\n"
    )


@given(st.text(), st.text())
def test_nothing_of_a_client_is_left_whatever_it_calls_itself(hello, client):
    field = without_origin(received(**FACTS | {"hello": hello, "client": client}))
    assert field == without_origin(received(**FACTS))


def test_without_a_recipient_none_is_named():
    assert received(**FACTS | {"recipient": None}) == (
        b"Received: from client.test ([192.0.2.1])\r\n"
        b"\tby mx.test with ESMTP id 1A2B;\r\n"
        b"\tThu, 20 Nov 2025 09:34:00 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("protocol", "written"),
    [("ESMTP", "UTF8SMTP"), ("ESMTPS", "UTF8SMTPS"), ("LMTP", "UTF8LMTP"), ("LMTPS", "UTF8LMTPS")],
)
def test_with_smtputf8_the_keyword_says_so_and_the_recipient_may_be_beyond_ascii(protocol, written):
    field = received(**FACTS | {"protocol": protocol, "recipient": "jörg@bücher.test"}, utf8=True)
    assert f"with {written} id 1A2B\r\n\tfor <jörg@bücher.test>;".encode() in field
    assert b"for" not in received(**FACTS | {"recipient": "jörg@bücher.test"})


@pytest.mark.parametrize(
    "recipient", ['"jörg m"@x.test', "ö\x85@x.test", "ö\u2028@x.test", "ö\u00a0@x.test", "ö>@x.test"]
)
def test_with_smtputf8_no_line_end_and_no_bracket_is_written(recipient):
    assert b"for" not in received(**FACTS | {"recipient": recipient}, utf8=True)


@pytest.mark.parametrize(
    ("fact", "value", "written"),
    [
        ("client", "2001:db8::1", b"([IPv6:2001:db8::1])"),
        ("client", "(", b"([?])"),
        ("client", "", b"Received: from client.test\r\n\tby "),  # a Unix socket has no TCP-info
        ("hello", "[192.0.2.1]", b"from [192.0.2.1] ("),
        ("hello", "[IPv6:2001:db8::1]", b"from [IPv6:2001:db8::1] ("),
        ("hello", "my_pc", b"from my_pc ("),
        ("hello", "", b"from unknown ("),
        ("hello", "a(b)c", b"from a?b?c ("),
        ("hello", "a b\r\nTo: c", b"from a?b??To:?c ("),
        ("hello", "bücher.test", b"from b?cher.test ("),
        ("hello", "h" * 300, b"from " + b"h" * 255 + b" ("),
        ("recipient", "a+b@[IPv6:2001:db8::1]", b"for <a+b@[IPv6:2001:db8::1]>;"),
        ("recipient", "postmaster", b"for <postmaster>;"),
    ],
)
def test_facts_are_written_harmlessly(fact, value, written):
    assert written in received(**FACTS | {fact: value})


@pytest.mark.parametrize(
    "recipient", ["", '"a b"@x.test', '"a)b"@x.test', "a>b@x.test", "a\r\nb@x.test", "a;b@x.test", "jörg@x.test"]
)
def test_a_recipient_that_would_need_quoting_is_not_named(recipient):
    assert received(**FACTS | {"recipient": recipient}) == received(**FACTS | {"recipient": None})


@given(st.text(max_size=300), st.text(max_size=50), st.text(max_size=300) | st.none())
def test_no_peer_can_break_the_field(hello, client, recipient):
    field = received(**FACTS | {"hello": hello, "client": client, "recipient": recipient})
    lines = field.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    assert lines[0].startswith("Received: from ")
    assert all(line.startswith("\t") for line in lines[1:])
    assert all(len(line) <= 998 and re.fullmatch(r"[\t -~]+", line) for line in lines)
    assert field.count(b"(") == field.count(b")") == bool(client)
    message = BytesParser(policy=email.policy.compat32).parsebytes(field + b"\r\n")
    assert message.keys() == ["Received"]


def naive_count(message: bytes) -> int:
    """What a reader with the whole message in hand counts: line by line, up to the first empty one."""
    count = 0
    for line in message.split(b"\r\n"):
        if line == b"":
            break
        count += line.lower().startswith(b"received:")
    return count


def counted(*chunks: bytes) -> HopCounter:
    counter = HopCounter()
    for chunk in chunks:
        counter.feed(chunk)
    return counter


MESSAGES = [
    (b"", 0, False),
    (b"\r\n", 0, True),
    (b"\r\nReceived: in the body\r\n", 0, True),
    (b"Received: a\r\n\r\nbody", 1, True),
    (b"RECEIVED: a\r\nreceived: b\r\n\tfolded\r\nReCeIvEd:c\r\nTo: d\r\n\r\nReceived: body", 3, True),
    (b"Received: a\r\nReceived: b", 2, False),
    (b"To: a\r\n Received: folded\r\nX-Received: b\r\n..Received: c\r\nReceived-SPF: d\r\n\r\n", 0, True),
    (b"To: a\nReceived: bare LF\r\n\r\n", 0, True),
    (b"To: a\r\n\rReceived: bare CR\r\n\r\n", 0, True),
    (b"Received:\r\nReceived:\r\n\r\n\r\nReceived:", 2, True),
]


@pytest.mark.parametrize(("message", "count", "done"), MESSAGES)
def test_hops_are_counted_in_the_header_section_at_every_cut(message, count, done):
    octets = [message[i : i + 1] for i in range(len(message))]
    cuts = [(message[:cut], message[cut:]) for cut in range(len(message) + 1)]
    for chunks in [(message,), octets, *cuts]:
        counter = counted(*chunks)
        assert (counter.count, counter.done) == (count, done)


pieces = st.sampled_from([b"\r\n", b"\r", b"\n", b"Received:", b"received", b":", b"RECEIVED: x", b"To: a", b" ", b"."])


@given(st.lists(pieces, max_size=20).map(b"".join), st.lists(st.integers(0, 200), max_size=6))
def test_hops_are_those_of_the_whole_message_however_it_comes(message, places):
    places = sorted({place for place in places if place < len(message)})
    chunks = [message[start:end] for start, end in zip([0, *places], [*places, len(message)], strict=True)]
    counter = counted(*chunks)
    assert counter.count == naive_count(message)
    assert counter.done == (b"\r\n\r\n" in b"\r\n" + message)


def test_little_is_kept_between_chunks():
    counter = counted(b"X: " + b"x" * 100_000, b"Received:" * 10_000)
    assert len(counter._tail) < 16
    assert counter.count == 0
