"""Exim as the destination: it is asked for a verdict for each recipient (PRDR) where the client can take them."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.exim import EximClient, EximDestination
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: to Exim\r\n\r\nHello.\r\n"
NO = "550 5.7.1 bob wants none of it"
LATER = "451 4.7.1 eve wants it later"


@contextmanager
def exim_behind_moxy(directory: Path) -> Iterator[tuple[Moxy, EximDestination]]:
    """An Exim where ann takes everything, bob refuses content, eve defers it, and nobody else is known."""
    with (
        EximDestination(directory, "one.test", ["ann", "bob", "eve"], {"bob": NO, "eve": LATER}) as exim,
        running(*written(directory, f"one.test {exim.address}\n")) as moxy,
    ):
        yield moxy, exim


def test_every_recipient_has_a_verdict_of_its_own_from_exim_to_exim(directory: Path) -> None:
    with exim_behind_moxy(directory) as (moxy, destination):
        client = EximClient(directory, moxy.port, "sender.test")
        message = client.take(SENDER, [f"{user}@one.test" for user in ("ann", "bob", "zed", "eve")], CONTENT)
        client.attempt(message)
        told = client.verdicts()[message]
        assert [told[f"{user}@one.test"][0] for user in ("ann", "bob", "zed", "eve")] == [
            "sent",
            "bounced",
            "bounced",
            "deferred",
        ]
        assert told["bob@one.test"][1].endswith(NO)
        assert told["eve@one.test"][1].endswith(LATER)
        assert "550 5.1.1" in told["zed@one.test"][1]
        assert len(destination.wait_for_mail("ann")) == 1
        assert destination.delivered("bob") == destination.delivered("eve") == []
        assert "P=esmtp PRDR" in destination.log()


def test_a_final_yes_of_exim_does_not_make_a_refusal_good(directory: Path) -> None:
    """Exim 4.96 ends with `250 ... accepted for some recipients` also where nobody accepted."""
    with exim_behind_moxy(directory) as (moxy, destination):
        client = EximClient(directory, moxy.port, "sender.test")
        message = client.take(SENDER, ["bob@one.test", "eve@one.test"], CONTENT)
        client.attempt(message)
        told = client.verdicts()[message]
        assert [told[f"{user}@one.test"][0] for user in ("bob", "eve")] == ["bounced", "deferred"]
        assert told["bob@one.test"][1].endswith(NO)
        assert told["eve@one.test"][1].endswith(LATER)
        assert destination.delivered("bob") == destination.delivered("eve") == []


def test_a_client_that_cannot_take_them_gets_one_verdict_for_all(directory: Path) -> None:
    with exim_behind_moxy(directory) as (moxy, destination):
        with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
            client.sendmail(SENDER, ["ann@one.test", "bob@one.test"], CONTENT)
        assert len(destination.wait_for_mail("ann")) == 1
        assert "PRDR" not in destination.log()


def test_the_words_of_exim_reach_a_client_with_one_recipient(directory: Path) -> None:
    with exim_behind_moxy(directory) as (moxy, _), smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(SENDER, ["bob@one.test"], CONTENT)
        assert (refused.value.smtp_code, refused.value.smtp_error) == (550, NO[4:].encode())
