"""Fuzz the parameters of MAIL and RCPT: each is as its RFC says or refused, and is the same when it is written again.

No value can end its word or its line; a non-ASCII one stands where it is allowed to.
"""

from __future__ import annotations

from random import Random

from fuzzing import main, noise

from moxy.smtp import xtext
from moxy.smtp.command import Invalid, Mail, Rcpt, parse
from moxy.smtp.parameter import MAIL_PARAMETERS, RCPT_PARAMETERS, Parameters, parse_parameters
from moxy.smtp.reply import Reply

WORDS = [b" SIZE=", b" BODY=8BITMIME", b" body=BinaryMime", b" PRDR", b" SMTPUTF8", b" RET=HDRS", b" ENVID=", b" AUTH="]
WORDS += [
    b" REQUIRETLS",
    b" BY=120;R",
    b" BY=-9;NT",
    b" HOLDFOR=9",
    b" HOLDUNTIL=2026-02-31T12:00:00Z",
    b" MT-PRIORITY=-3",
]
WORDS += [
    b" NOTIFY=NEVER",
    b" NOTIFY=SUCCESS,DELAY",
    b" ORCPT=rfc822;",
    b" ORCPT=utf-8;",
    b",FAILURE",
    b"+3C+3E",
    b"<>",
]
WORDS += [b"a@b.test", b"+20", b"+0A", b"+2b", b"+FF", b"=", b"1", b"00", b";", "é".encode(), "\u2028".encode(), b"\t"]
WORDS += [b"x" * 100, b"\x1c", b"\x0b", "\u0661".encode(), b" X="]
LIMITS = {"SIZE": 20, "ENVID": 100, "AUTH": 500, "ORCPT": 500}
"""Octets; all others are shorter than 50."""


def check(words: dict[str, str], legal: Parameters) -> None:
    for keyword, value in words.items():
        assert keyword in legal
        assert len(value.encode()) <= LIMITS.get(keyword, 50)
        assert value.isascii() or keyword == "ORCPT"
        assert not any(letter <= " " or "\x7f" <= letter <= "\x9f" or letter in "\u2028\u2029" for letter in value)
        assert value.isascii() is False or not value or value.split() == [value]
    line = "".join([f" {keyword}={value}" if value else f" {keyword}" for keyword, value in words.items()])
    assert parse_parameters(line.encode(), legal) == words


def case(random: Random) -> None:
    text = noise(random, WORDS, 8)
    for legal in (MAIL_PARAMETERS, RCPT_PARAMETERS):
        found = parse_parameters(text, legal)
        if isinstance(found, Reply):
            assert found.code in (501, 555)
        else:
            check(found, legal)
            assert not text.isascii() or len(found) == len(text.decode().split())
    mail, rcpt = parse(b"MAIL FROM:<a@b.test>" + text), parse(b"RCPT TO:<a@b.test>" + text)
    assert isinstance(mail, Mail | Invalid)
    assert isinstance(rcpt, Rcpt | Invalid)
    if isinstance(mail, Mail):
        assert 0 <= mail.size < 10**20
        assert mail.body in ("", "7BIT", "8BITMIME", "BINARYMIME")
        check(dict(mail.parameters), MAIL_PARAMETERS)
    assert xtext.decode(xtext.encode(text)) == text
    assert xtext.decode_leniently(xtext.encode(text).encode()) == text


if __name__ == "__main__":
    main(case)
