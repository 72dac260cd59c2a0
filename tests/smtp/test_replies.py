"""The table of our own replies: what must hold for all of them, and the codes that traps decided."""

from __future__ import annotations

import re

import pytest

from moxy.smtp import replies
from moxy.smtp.address import AddressError, ForwardPath, parse_hello
from moxy.smtp.replies import bad_address, bad_hello, closing, greeting, hello
from moxy.smtp.reply import Reply

TABLE = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}

DECIDED = {
    "OK": "250 2.0.0",
    "BYE": "221 2.0.0",
    "START_MAIL_INPUT": "354 ",
    "CANNOT_VERIFY": "252 2.5.0",
    "RELAYING_DENIED": "550 5.7.1",
    "LOOKUP_FAILED": "451 4.4.3",
    "NO_VALID_RECIPIENTS": "554 5.5.1",
    "TOO_MANY_RECIPIENTS": "452 4.5.3",
    "MESSAGE_TOO_BIG": "552 5.3.4",
    "LMTP_NO_VALID_RECIPIENTS": "503 5.5.1",
    "TOO_MANY_DOMAINS": "451 4.5.3",
    "TOO_MANY_TRANSACTIONS": "421 ",
    "SPLIT": "451 4.5.3",
    "ALREADY_ACCEPTED": "250 2.6.0",
    "PRDR_BEGINS": "353 ",
    "PRDR_ALL": "250 ",
    "PRDR_SOME": "250 ",
    "PRDR_NONE": "450 ",
    "SIZE_REFUSED_AT_RCPT": "550 5.3.4",
    "NO_8BITMIME": "550 5.6.3",
    "TOO_MANY_HOPS": "554 5.4.6",
    "DESTINATION_LOST": "451 4.4.2",
    "DESTINATION_UNREACHABLE": "451 4.4.1",
    "MIXED_VERDICTS": "451 4.3.0",
    "TLS_NOT_OFFERED": "451 4.7.4",
    "TLS_FAILED": "451 4.7.5",
    "NOT_LET_IN": "451 4.7.0",
    "NOT_LET_IN_NOW": "451 4.7.0",
    "INTERNAL_ERROR": "451 4.3.0",
    "DESTINATION_GARBLED": "451 4.5.0",
    "CHUNK_OK": "250 2.0.0",
    "BAD_CHUNK": "421 4.5.4",
    "CHUNK_TOO_BIG": "421 4.5.1",
    "BDAT_OR_RSET": "503 5.5.1",
    "BINARY_BY_BDAT": "503 5.5.1",
    "NO_LAST_LINE_END": "554 5.6.0",
}


@pytest.mark.parametrize("name", TABLE)
def test_every_reply_is_one_short_plain_line(name):
    reply = TABLE[name]
    assert len(reply.lines) == 1
    assert len(reply.wire) <= 100
    assert re.fullmatch(r"[A-Z][ -~]+", reply.lines[0])


@pytest.mark.parametrize("name", TABLE)
def test_every_reply_but_3xx_has_an_enhanced_status_code(name):
    reply = TABLE[name]
    assert bool(reply.enhanced) is not reply.intermediate


@pytest.mark.parametrize(("name", "code"), DECIDED.items())
def test_the_codes_are_those_of_the_contract(name, code):
    assert str(TABLE[name]).startswith(code)


def test_the_greeting_names_us_first():
    assert greeting("mx.test", "ESMTP ready").wire == b"220 mx.test ESMTP ready\r\n"
    assert greeting("mx.test", "").wire == b"220 mx.test\r\n"
    assert hello("mx.test").wire == b"250 mx.test\r\n"


def test_a_banner_cannot_break_the_greeting():
    assert greeting("mx.test", "hello\r\n250 trap").wire == b"220 mx.test hello??250 trap\r\n"


@pytest.mark.parametrize("name", [name for name, reply in TABLE.items() if reply.code in {221, 421}])
def test_closing_replies_name_us_first(name):
    reply = TABLE[name]
    wire = closing("mx.test", reply).wire.decode()
    assert wire == f"{reply.code} {reply.enhanced} mx.test {reply.lines[0]}\r\n"


@pytest.mark.parametrize(("text", "code"), [("a b@x.test", "501 5.1.3"), ("é@☃.test", "501 5.1.3")])
def test_a_refused_address_says_why(text, code):
    with pytest.raises(AddressError) as error:
        ForwardPath.parse(text, utf8=True)
    assert str(bad_address(error.value.status, str(error.value))) == f"{code} {error.value}"


def test_a_refused_hello_says_why():
    with pytest.raises(AddressError) as error:
        parse_hello(b"a b")
    assert str(bad_hello(str(error.value))) == f"501 5.5.4 {error.value}"
