"""Postfix as an LMTP client of Moxy, over TCP and on a Unix socket: a verdict for each recipient, at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.destination import Destination, Phase
from support.directories import make_writable
from support.moxy_commands import written
from support.moxy_process import running
from support.ports import LOOPBACK, free_port
from support.postfix import PostfixClient
from support.scripted import scripted_destinations

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: by LMTP\r\n\r\nHello.\r\n"
NO = "554 5.7.1 not such content"
LATER = "451 4.7.1 that is for tomorrow"


@dataclass(frozen=True)
class Stage:
    """Postfix, and a destination behind a Moxy for each of two domains."""

    postfix: PostfixClient
    one: Destination
    two: Destination


@contextmanager
def stage(directory: Path, kind: str) -> Iterator[Stage]:
    """`kind` of socket between Postfix and Moxy: TCP or Unix."""
    sockets = directory / "sockets"
    sockets.mkdir()
    make_writable(sockets)
    port = free_port()
    endpoint = f"{LOOPBACK}:{port}" if kind == "TCP" else f"unix:{sockets}/lmtp"
    next_hop = f"inet:{LOOPBACK}:{port}" if kind == "TCP" else f"unix:{sockets}/lmtp"
    mode = 'socket_mode = "0666"\n'  # Postfix connects as its own user
    section = f'[listener.mailboxes]\nlisten = ["{endpoint}"]\nprotocol = "lmtp"\n{mode}'
    with scripted_destinations(2) as (one, two):
        table = f"one.test {one.address}\ntwo.test {two.address}\n"
        configuration, smtp_port = written(directory, table, section)
        with running(configuration, smtp_port):
            settings = {"relayhost": "", "default_transport": f"lmtp:{next_hop}"}
            with PostfixClient(directory, smtp_port, "sender.test", settings) as postfix:
                yield Stage(postfix, one, two)


@pytest.mark.parametrize("kind", ["TCP", "Unix"])
def test_mixed_verdicts_are_told_in_one_go(directory: Path, kind: str) -> None:
    with stage(directory, kind) as there:
        there.one.answers[Phase.FINAL] = NO
        message = there.postfix.take(SENDER, ["ann@one.test", "bob@two.test", "ada@one.test"], CONTENT)
        there.postfix.wait_for_empty_queue()
        told = there.postfix.verdicts()[message]
        assert {recipient: status for recipient, (status, _) in told.items()} == {
            "ann@one.test": "bounced",
            "bob@two.test": "sent",
            "ada@one.test": "bounced",
        }
        assert f"said: {NO} (in reply to end of DATA command)" in told["ada@one.test"][1]
        assert len(there.two.messages) == 1
        assert len(there.one.commands("DATA")) == 1


def test_who_was_put_off_is_asked_again_alone(directory: Path) -> None:
    with stage(directory, "TCP") as there:
        there.one.answers[Phase.FINAL] = LATER
        message = there.postfix.take(SENDER, ["ann@one.test", "bob@two.test"], CONTENT)
        there.postfix.wait_for_log("status=deferred")
        there.one.answers[Phase.FINAL] = "250 2.0.0 now"
        there.postfix.deliver_all()
        told = there.postfix.verdicts()[message]
        assert {status for status, _ in told.values()} == {"sent"}
        assert [len(there.one.messages), len(there.two.messages)] == [1, 1]
