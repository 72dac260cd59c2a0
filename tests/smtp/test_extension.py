"""Service extensions: the parameters they make legal, our offer, and what a destination announces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp.extension import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    Extensions,
    Offer,
    offering_xclient,
    parse_parameters,
)
from moxy.smtp.reply import Reply

PARAMETERS = [
    (b"", {}),
    (b"  ", {}),
    (b" SIZE=0", {"SIZE": "0"}),
    (b" Size=1000 bOdY=8bitMime", {"SIZE": "1000", "BODY": "8bitMime"}),
    (b"BODY=7BIT", {"BODY": "7BIT"}),
    (b"prdr SIZE=1", {"PRDR": "", "SIZE": "1"}),
]

REFUSED = [
    (b"SIZE", 501),
    (b"SIZE=1=1", 501),
    (b"SIZE=1k", 501),
    (b"SIZE=" + b"1" * 21, 501),
    (b"SIZE=1 SIZE=1", 501),
    (b"BODY=", 501),
    (b"BODY=9BIT", 501),
    (b"SIZE=\xff", 501),
    (b"PRDR=1", 501),
    (b"PRDR=", 501),
    (b"PRDR PRDR", 501),
    (b"=1", 555),
    (b"RET=FULL", 555),
    (b"SIZE=1 SMTPUTF8", 555),
]


@pytest.mark.parametrize(("text", "parameters"), PARAMETERS)
def test_parameters_are_read_by_keyword(text, parameters):
    assert parse_parameters(text, MAIL_PARAMETERS) == parameters


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_parameters_that_cannot_be_obeyed_are_refused(text, code):
    reply = parse_parameters(text, MAIL_PARAMETERS)
    assert isinstance(reply, Reply)
    assert reply.code == code


def test_rcpt_has_no_parameters_yet():
    reply = parse_parameters(b"SIZE=1", RCPT_PARAMETERS)
    assert isinstance(reply, Reply)
    assert reply.code == 555


@given(st.binary(max_size=40))
def test_any_octets_give_legal_parameters_or_a_refusal(text):
    answer = parse_parameters(text, MAIL_PARAMETERS)
    if isinstance(answer, Reply):
        assert answer.permanent
    else:
        assert all(MAIL_PARAMETERS[keyword](value) for keyword, value in answer.items())


def test_the_ehlo_reply_begins_with_our_name_and_lists_what_we_offer():
    assert Offer(size=1000).ehlo_reply("mx.test").wire == (
        b"250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 PRDR\r\n"
    )


def test_lmtp_needs_no_prdr():
    assert "PRDR" not in Offer(lmtp=True).keywords
    assert set(Offer().keywords) - set(Offer(lmtp=True).keywords) == {"PRDR"}


@pytest.mark.parametrize(
    ("bounds", "line"),
    [
        ({"recipients": 100}, "LIMITS RCPTMAX=100"),
        ({"recipients": 100, "transactions": 5, "domains": 1}, "LIMITS RCPTMAX=100 MAILMAX=5 RCPTDOMAINMAX=1"),
        ({"transactions": 2}, "LIMITS MAILMAX=2"),
        ({"recipients": 10**9}, "LIMITS RCPTMAX=999999"),  # RFC 9422 §4: at most six digits
    ],
)
@pytest.mark.parametrize("lmtp", [False, True])
def test_limits_are_announced_in_one_line(bounds, line, lmtp):
    assert Offer(lmtp=lmtp, **bounds).keywords[-1] == line


def test_what_is_not_limited_is_not_announced():
    assert not any(keyword.startswith("LIMITS") for keyword in Offer().keywords)


def test_every_parameter_that_is_legal_was_offered():
    offered = Extensions.of(Offer().ehlo_reply("mx.test"))
    assert "SIZE" in offered
    assert "8BITMIME" in offered
    assert "PRDR" in offered
    assert set(MAIL_PARAMETERS) == {"SIZE", "BODY", "PRDR"}


def test_what_a_destination_announces_is_read_in_any_case():
    extensions = Extensions.of(Reply(250, "", "mx.test", "pipelining", "SIZE 1000 ", " 8BitMime", "AUTH PLAIN LOGIN"))
    assert extensions.pipelining
    assert extensions.eight_bit
    assert extensions.size == 1000
    assert "AUTH" in extensions
    assert "MX.TEST" not in extensions


@pytest.mark.parametrize("announced", [None, {}, {"DSN": ""}])
def test_nothing_is_believed_that_was_not_announced(announced):
    extensions = Extensions(announced)
    assert not extensions.pipelining
    assert not extensions.eight_bit
    assert extensions.size == 0


@pytest.mark.parametrize(
    ("line", "size"), [("SIZE", 0), ("SIZE 0", 0), ("SIZE 10", 10), ("SIZE 10M", 0), ("SIZE ٣", 0)]
)
def test_a_size_that_is_no_number_is_no_limit(line, size):
    extensions = Extensions.of(Reply(250, "", "mx.test", line))
    assert extensions.size == size
    assert "SIZE" in extensions


def test_the_words_behind_a_keyword_are_read_in_any_case():
    extensions = Extensions.of(Reply(250, "", "mx.test", "Xclient Name ADDR  addr", "PIPELINING"))
    assert extensions.words("XCLIENT") == frozenset({"NAME", "ADDR"})
    assert extensions.words("PIPELINING") == extensions.words("XFORWARD") == frozenset()


def test_xclient_is_offered_behind_all_else():
    reply = offering_xclient(Reply(250, "", "mx.test", "PIPELINING"))
    assert reply.wire == (
        b"250-mx.test\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"
    )


def test_a_reply_of_one_line_announces_nothing():
    assert not Extensions.of(Reply(250, "", "PIPELINING")).pipelining


@pytest.mark.parametrize(
    ("line", "limits"),
    [
        ("LIMITS MAILMAX=10 RCPTMAX=100 RCPTDOMAINMAX=1", (10, 100, 1)),
        ("limits rcptmax=999999", (0, 999_999, 0)),
        ("LIMITS OTHER=x FLAG RCPTMAX=5 x", (0, 5, 0)),
        ("LIMITS RCPTMAX=5 RCPTMAX=3 RCPTMAX=4", (0, 3, 0)),
        ("LIMITS", (0, 0, 0)),
    ],
)
def test_limits_are_read_by_name_and_others_are_ignored(line, limits):
    extensions = Extensions.of(Reply(250, "", "mx.test", line))
    assert (extensions.transactions, extensions.recipients, extensions.domains) == limits
    assert extensions.bounded == (limits[1] > 0 or limits[2] > 0)


@pytest.mark.parametrize("value", ["", "=", "=0", "=010", "=1000000", "=-1", "=1.0", "=x", "=٣", "= 5", "=5=5"])
def test_a_limit_with_a_bad_value_is_ignored(value):
    extensions = Extensions.of(Reply(250, "", "mx.test", f"LIMITS RCPTMAX{value} MAILMAX=7"))
    assert extensions.recipients == 0
    assert extensions.transactions == 7


def test_prdr_is_believed_where_it_is_announced():
    assert Extensions.of(Reply(250, "", "mx.test", "prdr")).prdr
    assert not Extensions.of(Reply(250, "", "mx.test", "LIMITS PRDR=1")).prdr


@given(st.text(max_size=40))
def test_any_text_behind_limits_says_something_or_nothing(text):
    extensions = Extensions.of(Reply(250, "", "mx.test", f"LIMITS {text}"))
    assert 0 <= extensions.recipients <= 999_999
