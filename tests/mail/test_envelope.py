"""Envelope and Recipient: who sends to whom."""

from __future__ import annotations

from moxy.mail import Envelope, Recipient
from moxy.smtp.address import ForwardPath, ReversePath


def test_an_envelope_begins_without_parameters() -> None:
    envelope = Envelope("id", ReversePath.parse(""))
    assert (envelope.size, envelope.body) == (0, "")
    assert not envelope.each
    assert not envelope.utf8
    assert not envelope.parameters


def test_the_same_path_may_come_twice_and_each_is_a_recipient_of_its_own() -> None:
    path = ForwardPath.parse("a@one.test")
    assert Recipient(path) != Recipient(path)


def test_a_recipient_shows_its_path() -> None:
    assert "a@one.test" in repr(Recipient(ForwardPath.parse("a@one.test")))


def test_smtputf8_is_seen_among_the_parameters() -> None:
    null = ReversePath.parse("")
    assert Envelope("id", null, parameters={"RET": "FULL", "SMTPUTF8": ""}).utf8
    assert not Envelope("id", null, parameters={"RET": "FULL"}).utf8


def test_a_recipient_has_the_parameters_of_its_rcpt() -> None:
    path = ForwardPath.parse("a@one.test")
    assert not Recipient(path).parameters
    assert Recipient(path, {"NOTIFY": "NEVER"}).parameters == {"NOTIFY": "NEVER"}
