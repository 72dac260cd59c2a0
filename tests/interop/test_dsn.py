"""DSN (RFC 3461): what clients ask for arrives as they said it, and real destinations do it."""

from __future__ import annotations

import email
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.destination import GOOD, Phase
from support.exchange import Message
from support.exim import EximDestination
from support.features import DSN_CLIENTS, DSN_DESTINATIONS
from support.moxy_commands import written
from support.moxy_process import running
from support.offers import wait_for_offer
from support.opensmtpd import OpenSmtpdDestination
from support.ports import LOOPBACK
from support.postfix import PostfixDestination
from support.scripted import scripted_destinations
from support.senders import SENDERS
from support.submit import Letter, submit

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
ANN = "ann@one.test"
MAIL = ["RET=HDRS", "ENVID=QQ314159+2Bx"]
RCPT = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Ann+2Bone@elsewhere.test"]

CLIENTS = {
    "Postfix": (MAIL, RCPT),
    "Exim": (MAIL, RCPT),
    "OpenSMTPD": (MAIL, RCPT),
    "smtplib": (MAIL, RCPT),
    "msmtp": (MAIL[:1], RCPT[:1]),
}
"""What each can say."""


@pytest.mark.parametrize("client", DSN_CLIENTS)
def test_what_a_client_asks_for_arrives_as_it_was_said(directory: Path, client: str) -> None:
    mail, rcpt = CLIENTS[client]
    with scripted_destinations(1) as (one,), ExitStack() as stack:
        one.answers[Phase.EHLO] = f"{str(GOOD[Phase.EHLO]).replace('250 8', '250-8')}\r\n250 DSN"
        moxy = stack.enter_context(running(*written(directory, f"one.test {one.address}\n")))
        wait_for_offer(moxy, "DSN")
        sender: Any = SENDERS[client](directory, moxy.port)
        if isinstance(sender, AbstractContextManager):
            stack.enter_context(sender)
        told = sender.send(Letter(SENDER, [ANN], Message(b"Hello.\r\n").content, mail, rcpt))
        assert told[ANN][0] == "sent"
        (kept,) = one.messages
        assert set(mail) <= set(kept.mail.split())
        (command,) = one.commands("RCPT")
        assert set(command.split()[2:]) == set(rcpt)


def postfix(directory: Path) -> PostfixDestination:
    return PostfixDestination(directory, "one.test", ["ann", SENDER])


def exim(directory: Path) -> EximDestination:
    return EximDestination(directory, "one.test", ["ann", "sender"], settings={"dsn_advertise_hosts": "*"})


def opensmtpd(directory: Path) -> OpenSmtpdDestination:
    return OpenSmtpdDestination(directory, "one.test", ["ann", SENDER])


DECODED = ["Original-Envelope-Id: QQ314159+x", "Original-Recipient: rfc822;Ann+one@elsewhere.test"]
AS_SENT = ["Original-Envelope-ID: QQ314159+2Bx", "Original-Recipient: rfc822;Ann+2Bone@elsewhere.test"]

DESTINATIONS: dict[str, tuple[Any, str, list[str]]] = {
    "Postfix": (postfix, SENDER, DECODED),
    "Exim": (exim, "sender", AS_SENT),
    "OpenSMTPD": (opensmtpd, "sender", []),
}
"""How to make each, the sender's mailbox there, and what its notification has of ENVID and ORCPT."""


@pytest.mark.parametrize("name", DSN_DESTINATIONS)
def test_a_destination_notifies_the_sender_of_success(directory: Path, name: str) -> None:
    make, mailbox, expected = DESTINATIONS[name]
    with make(directory) as there, running(*written(directory, f"one.test {LOOPBACK}:{there.port}\n")) as moxy:
        wait_for_offer(moxy, "DSN")
        submit(moxy.port, SENDER, [ANN], Message(b"Hello.\r\n").content, MAIL, RCPT)
        there.wait_until(lambda: there.delivered("ann"), "the message")
        (octets,) = there.wait_until(lambda: there.delivered(mailbox), "the notification")
        parts = {part.get_content_type(): part for part in email.message_from_bytes(octets).walk()}
        told = parts["message/delivery-status"].as_string().replace("rfc822; ", "rfc822;")
        for field in ["Final-Recipient: rfc822;ann@one.test", "Action: delivered", *expected]:
            assert f"{field}\n" in told
        assert "text/rfc822-headers" in parts  # RET=HDRS
