"""SMTPUTF8 (RFC 6531): addresses and header fields in UTF-8, from real clients to real destinations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.exchange import Message
from support.exim import EximDestination
from support.features import UTF8_CLIENTS, UTF8_DESTINATIONS
from support.mailboxes import DovecotLmtp
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.offers import wait_for_offer
from support.ports import LOOPBACK
from support.postfix import PostfixDestination
from support.senders import SENDERS
from support.submit import Letter

pytestmark = pytest.mark.interop

SENDER = "grün@sender.test"
USER = "jürgen"
ASKED = ["BODY=8BITMIME", "SMTPUTF8"]
BODY = "Größe\r\n".encode()

DESTINATIONS: dict[str, Any] = {
    "Postfix": PostfixDestination,
    "Exim": EximDestination,
}


def message() -> Message:
    made = Message(BODY)
    made.content = made.content.replace(b"Subject: every octet", "Subject: jedes Bit zählt".encode())
    return made


@contextmanager
def stage(directory: Path, client: str, destination: str) -> Iterator[tuple[Any, Any, Moxy]]:
    """A client, a destination with mailboxes of two domains, and the Moxy between them."""
    homes = [directory / "from", directory / "to"]
    for home in homes:
        home.mkdir()
    with ExitStack() as stack:
        there = stack.enter_context(DESTINATIONS[destination](homes[1], "one.test", ["ann", USER]))
        table = f"one.test {LOOPBACK}:{there.port}\n"
        moxy = stack.enter_context(running(*written(directory, table)))
        wait_for_offer(moxy, "SMTPUTF8")
        sender: Any = SENDERS[client](homes[0], moxy.port)
        if isinstance(sender, AbstractContextManager):
            stack.enter_context(sender)
        yield sender, there, moxy


@pytest.mark.parametrize("destination", UTF8_DESTINATIONS)
@pytest.mark.parametrize("client", UTF8_CLIENTS)
def test_addresses_and_fields_in_utf_8_arrive_as_they_are(directory: Path, client: str, destination: str) -> None:
    with stage(directory, client, destination) as (sender, there, moxy):
        sent = message()
        recipient = f"{USER}@one.test"
        told = sender.send(Letter(SENDER, [recipient], sent.content, ASKED))
        assert told[recipient][0] == "sent", told
        (stored,) = there.wait_until(lambda: there.delivered(USER), "the message")
        assert stored.endswith(sent.stored)
        assert b"with UTF8SMTP id" in stored  # ours (RFC 6531 §3.7.3)
        del moxy


@pytest.mark.parametrize("client", UTF8_CLIENTS)
def test_a_destination_without_it_refuses_at_rcpt_and_the_sender_hears_why(directory: Path, client: str) -> None:
    """Dovecot 2.3 cannot; Postfix beside it can, so that SMTPUTF8 is offered."""
    homes = [directory / name for name in ("from", "postfix", "dovecot")]
    for home in homes:
        home.mkdir()
    with (
        PostfixDestination(homes[1], "one.test", ["ann"]) as postfix,
        DovecotLmtp(homes[2], "two.test") as dovecot,
        ExitStack() as stack,
    ):
        table = f"one.test {LOOPBACK}:{postfix.port}\ntwo.test boxes\n"
        section = f'[destination.boxes]\nhosts = ["{LOOPBACK}:{dovecot.port}"]\nprotocol = "lmtp"\n'
        moxy = stack.enter_context(running(*written(directory, table, section)))
        wait_for_offer(moxy, "SMTPUTF8")
        sender: Any = SENDERS[client](homes[0], moxy.port)
        if isinstance(sender, AbstractContextManager):
            stack.enter_context(sender)
        sent = message()
        told = sender.send(Letter(SENDER, ["ann@one.test", "ann@two.test"], sent.content, ASKED))
        assert told["ann@one.test"][0] == "sent", told
        assert told["ann@two.test"][0] == "bounced"
        assert "550 5.6.7" in told["ann@two.test"][1]
        assert dovecot.delivered("ann") == []
