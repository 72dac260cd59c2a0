"""Dovecot as the destination, by LMTP, on a Unix socket and over TCP: a verdict for each mailbox."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.dovecot import Dovecot
from support.exim import EximClient
from support.moxy_commands import written
from support.moxy_process import HOST_NAME, Moxy, running
from support.ports import LOOPBACK
from support.postfix import PostfixClient

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: to Dovecot\r\n\r\n.hidden dots\r\n..\r\n\xc3\xa9 Hello.\r\n"
ANN, BOB, ZED = "ann@one.test", "bob@one.test", "zed@one.test"
FULL = "Quota exceeded (mailbox for user is full)"


@contextmanager
def dovecot_behind_moxy(directory: Path, *, tcp: bool = False) -> Iterator[tuple[Moxy, Dovecot]]:
    """A Dovecot where ann has room, bob's mailbox is full, and zed is unknown."""
    with Dovecot(directory, {ANN: True, BOB: False}) as dovecot:
        host = dovecot.address if tcp else f"unix:{dovecot.socket}"
        section = f'[destination.boxes]\nhosts = ["{host}"]\nprotocol = "lmtp"\n'
        with running(*written(directory, "one.test boxes\n", section)) as moxy:
            yield moxy, dovecot


def submit(moxy: Moxy, *recipients: str) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
        return client.sendmail(SENDER, recipients, CONTENT, ["BODY=8BITMIME"])


@pytest.mark.parametrize("tcp", [False, True], ids=["Unix socket", "TCP"])
def test_a_message_is_delivered_bit_for_bit_and_an_unknown_user_refused(directory: Path, tcp: bool) -> None:
    with dovecot_behind_moxy(directory, tcp=tcp) as (moxy, dovecot):
        refused = submit(moxy, ANN, ZED)
        assert refused == {ZED: (550, f"5.1.1 <{ZED}> User doesn't exist: {ZED}".encode())}
        (stored,) = dovecot.delivered(ANN)
        above = stored.removesuffix(CONTENT.replace(b"\r\n", b"\n"))
        assert above != stored
        assert f"by {HOST_NAME}".encode() in above
        assert b"with LMTP" in above  # Dovecot's own: that is how it got it


def test_a_full_mailbox_refuses_in_its_own_words(directory: Path) -> None:
    with dovecot_behind_moxy(directory) as (moxy, dovecot):
        with pytest.raises(smtplib.SMTPDataError) as refused:
            submit(moxy, BOB)
        assert (refused.value.smtp_code, refused.value.smtp_error) == (552, f"5.2.2 <{BOB}> {FULL}".encode())
        assert dovecot.delivered(BOB) == []


def test_exim_learns_of_both_mailboxes_in_one_go(directory: Path) -> None:
    with dovecot_behind_moxy(directory) as (moxy, dovecot):
        exim = EximClient(directory, moxy.port, "sender.test")
        message = exim.take(SENDER, [ANN, BOB], CONTENT)
        exim.attempt(message)
        told = exim.verdicts()[message]
        assert [told[ANN][0], told[BOB][0]] == ["sent", "bounced"]
        assert told[BOB][1].endswith(f"552 5.2.2 <{BOB}> {FULL}")
        assert len(dovecot.delivered(ANN)) == 1
        assert not exim.has(message)


def test_postfix_learns_of_both_mailboxes_by_its_retry_and_nobody_has_two(directory: Path) -> None:
    with (
        dovecot_behind_moxy(directory) as (moxy, dovecot),
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        message = postfix.take(SENDER, [ANN, BOB], CONTENT)
        postfix.deliver_all()
        told = postfix.verdicts()[message]
        assert [told[ANN][0], told[BOB][0]] == ["sent", "bounced"]
        assert f"said: 552 5.2.2 <{BOB}> {FULL}" in told[BOB][1]
        assert len(dovecot.delivered(ANN)) == 1
        assert dovecot.delivered(BOB) == []
