"""Service extensions: the parameters they make legal, our offer, and what a destination announces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp.extension import ANNOUNCED, Extensions, Offer, offering_xclient
from moxy.smtp.parameter import EXTENSION_OF
from moxy.smtp.reply import Reply


def test_the_ehlo_reply_begins_with_our_name_and_lists_what_we_offer():
    assert Offer(size=1000).ehlo_reply("mx.test").wire == (
        b"250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
        b"250-CHUNKING\r\n250 PRDR\r\n"
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


def test_what_is_offered_is_what_is_announced_and_what_is_needed_is_there():
    everything = frozenset(ANNOUNCED) - {"REQUIRETLS"}
    offer = Offer(everything)
    assert "FUTURERELEASE 999999999 9999-12-31T23:59:59Z" in offer.keywords
    assert "BINARYMIME" not in offer.extensions or "CHUNKING" in offer.extensions
    assert "SMTPUTF8" in offer.extensions
    announced = Extensions.of(offer.ehlo_reply("mx.test"))
    assert all(keyword in announced for keyword in offer.extensions)


def test_smtputf8_is_offered_with_8bitmime_only():
    assert "SMTPUTF8" not in Offer(frozenset({"SMTPUTF8"})).keywords
    assert {"SMTPUTF8", "8BITMIME"} <= set(Offer(frozenset({"SMTPUTF8", "8BITMIME"})).keywords)


def test_requiretls_is_offered_inside_tls_only():
    assert "REQUIRETLS" not in Offer(frozenset({"REQUIRETLS"})).extensions
    assert "REQUIRETLS" in Offer(frozenset({"REQUIRETLS"}), tls=True).extensions


def test_what_cannot_be_offered_is_not():
    assert Offer(frozenset({"XCLIENT", "AUTH"})).keywords == Offer(frozenset()).keywords


def test_every_extension_of_a_parameter_can_be_offered():
    assert set(EXTENSION_OF.values()) <= set(ANNOUNCED)


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
