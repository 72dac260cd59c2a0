"""What of a destination's words must not reach a client."""

from __future__ import annotations

import pytest

from moxy.outbound.hiding import veil
from moxy.smtp.reply import Reply

NAMES = frozenset({"mail.inner.test", "192.0.2.7", "[2001:db8::7]", "MX.moxy.test"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail.inner.test says no", "mx.moxy.test says no"),
        ("blocked by MAIL.Inner.Test.", "blocked by mx.moxy.test."),
        ("host [192.0.2.7] refuses", "host [mx.moxy.test] refuses"),
        ("see 2001:db8::7", "see mx.moxy.test"),
        ("id <1234@mail.inner.test>", "id <1234@mx.moxy.test>"),
        ("other.mail.inner.test is another", "other.mail.inner.test is another"),
        ("mail.inner.test.example is another", "mail.inner.test.example is another"),
        ("192.0.2.77 and 1192.0.2.7 are others", "192.0.2.77 and 1192.0.2.7 are others"),
        ("mx.moxy.test may stay", "mx.moxy.test may stay"),
        ("no such user", "no such user"),
    ],
)
def test_a_destinations_names_are_replaced_as_whole_words(text: str, shown: str) -> None:
    curtain = veil(NAMES, "mx.moxy.test")
    assert curtain is not None
    assert curtain.over(Reply(550, "1.1", text)) == Reply(550, "1.1", shown)


def test_every_line_is_looked_at() -> None:
    curtain = veil(NAMES, "mx.moxy.test")
    assert curtain is not None
    assert curtain.over(Reply(250, "", "mail.inner.test", "at 192.0.2.7")).lines == ("mx.moxy.test", "at mx.moxy.test")


def test_a_reply_without_names_is_the_same_object() -> None:
    curtain = veil(NAMES, "mx.moxy.test")
    reply = Reply(250, "0.0", "fine")
    assert curtain is not None
    assert curtain.over(reply) is reply


@pytest.mark.parametrize("names", [frozenset(), frozenset({""}), frozenset({"mx.moxy.test"})])
def test_nothing_to_hide_needs_no_veil(names: frozenset[str]) -> None:
    assert veil(names, "MX.moxy.test") is None


def test_a_name_is_no_pattern() -> None:
    curtain = veil(frozenset({"a.b"}), "mx.moxy.test")
    assert curtain is not None
    assert curtain.over(Reply(550, "", "axb")).lines == ("axb",)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unix:/run/Mail/lmtp is full", "mx.moxy.test is full"),
        ("see /run/mail/lmtp, or x/run/mail/lmtp2", "see mx.moxy.test, or xmx.moxy.test2"),
        ("mail.inner.test:24 and /run/mail/lmtp", "mx.moxy.test and mx.moxy.test"),
        ("/run/mail is another", "/run/mail is another"),
    ],
)
def test_the_path_of_a_socket_is_replaced_wherever_it_stands(text: str, shown: str) -> None:
    curtain = veil(NAMES | {"/run/mail/lmtp"}, "mx.moxy.test")
    assert curtain is not None
    assert curtain.over(Reply(550, "1.1", text)) == Reply(550, "1.1", shown)


def test_a_path_may_be_all_there_is_to_hide() -> None:
    curtain = veil(frozenset({"/run/a"}), "mx.moxy.test")
    assert curtain is not None
    assert curtain.over(Reply(550, "1.1", "no: /run/a")) == Reply(550, "1.1", "no: mx.moxy.test")
    assert curtain.over(Reply(550, "1.1", "no")) == Reply(550, "1.1", "no")
