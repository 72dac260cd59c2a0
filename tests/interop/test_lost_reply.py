"""The client never hears the reply to its dot, and comes again: nobody gets a second copy (RFC 1047)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.destination import GOOD, Act, Destination, Phase
from support.directories import make_writable
from support.exim import EximClient
from support.faults import Fault, Kind, Way
from support.moxy_commands import moxy as moxy_command
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.postfix import PostfixClient
from support.processes import PATIENCE, is_alive
from support.scripted import by_attempt, fault_proxy, release, scripted_destinations

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: was it heard?\r\n\r\nHello.\r\n"
RECIPIENTS = ["ann@one.test", "bob@two.test"]


class Client:
    """Postfix or Exim, through a proxy that can break its connections."""

    def __init__(self, program: PostfixClient | EximClient, moxy: Moxy) -> None:
        self.program = program
        self.moxy = moxy

    def send(self) -> str:
        """Put a message into the queue, and begin the first attempt."""
        message = self.program.take(SENDER, RECIPIENTS, CONTENT)
        if isinstance(self.program, EximClient):
            self.attempt = self.program.attempting(message)
        return message

    def deliver_all(self) -> None:
        if isinstance(self.program, EximClient):
            self.attempt.wait(PATIENCE)
        self.program.deliver_all()

    def die(self) -> None:
        """As the process that speaks with Moxy would in a crash. As long as it has not, its kernel takes our reply."""
        if isinstance(self.program, EximClient):
            os.killpg(self.attempt.pid, signal.SIGKILL)
            self.moxy.wait_until(lambda: not is_alive(self.attempt.pid), "the death of Exim")
            return
        (sending,) = self.program.processes("smtp")
        os.kill(sending, signal.SIGKILL)
        self.program.wait_until(lambda: sending not in self.program.processes("smtp"), "the death of Postfix's client")

    def told(self, message: str) -> set[str]:
        return {status for status, _ in self.program.verdicts()[message].values()}


@dataclass(frozen=True)
class Stage:
    """A real client, Moxy, and the destinations of its two recipients."""

    client: Client
    one: Destination
    two: Destination

    def held(self) -> list[int]:
        """How many messages each destination has."""
        return [len(self.one.messages), len(self.two.messages)]

    def wait_for_silence(self) -> None:
        """Wait until the first destination has a dot that it does not answer."""
        self.client.moxy.wait_until(lambda: self.one.silences, "a dot at the silent destination")


@contextmanager
def moxy_with_two(directory: Path) -> Iterator[tuple[Moxy, Destination, Destination]]:
    """A Moxy with a ledger of its own, and two destinations; the first is silent at its first dot."""
    make_writable(home(directory))
    with scripted_destinations(2) as (one, two):
        table = f"one.test {one.address}\ntwo.test {two.address}\n"
        with running(*written(directory, table, f'[ledger]\npath = "{home(directory) / "ledger.db"}"\n')) as moxy:
            one.answers[Phase.FINAL] = by_attempt(Act.SILENCE, GOOD[Phase.FINAL])
            yield moxy, one, two


def home(directory: Path) -> Path:
    """Where the ledger is."""
    path = directory / "ledger"
    path.mkdir(exist_ok=True)
    return path


def entries(directory: Path) -> list[bytes]:
    """The open entries of the ledger, a line of JSON for each."""
    shown = moxy_command("ledger", "show", "--json", str(home(directory) / "ledger.db"))
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.splitlines()


@contextmanager
def client(directory: Path, name: str, moxy: Moxy, port: int) -> Iterator[Client]:
    """The program of this name, which sends everything to this port."""
    if name == "Postfix":
        with PostfixClient(directory, port, "sender.test") as postfix:
            yield Client(postfix, moxy)
    else:
        pipelining = "without" not in name
        yield Client(EximClient(directory, port, "sender.test", prdr=False, pipelining=pipelining), moxy)


@pytest.mark.parametrize("name", ["Postfix", "Exim without pipelining"])
def test_a_reply_lost_on_its_way_is_given_again_without_a_second_copy(directory: Path, name: str) -> None:
    """The proxy takes the reply, passes one octet, and breaks.

    With pipelining Exim ends its half of the connection before it has the reply, so that a proxy which took all of it
    cannot be told from an Exim that did.
    """
    with (
        moxy_with_two(directory) as (moxy, one, two),
        fault_proxy(moxy.port) as proxy,
        client(directory, name, moxy, proxy.port) as sender,
    ):
        there = Stage(sender, one, two)
        heard = sender.send()
        there.wait_for_silence()
        until_354 = proxy.passed[Way.TO_CLIENT]
        release(one, GOOD[Phase.FINAL])
        sender.deliver_all()
        assert sender.told(heard) == {"sent"}
        proxy.begin_anew(Fault(Way.TO_CLIENT, until_354 + 1, Kind.RESET))
        lost = sender.send()
        sender.deliver_all()
        assert proxy.struck
        assert sender.told(lost) == {"sent"}
        assert there.held() == [2, 2]


@pytest.mark.parametrize("name", ["Postfix", "Exim", "Exim without pipelining"])
def test_a_client_that_dies_after_its_dot_and_comes_again_makes_no_second_copy(directory: Path, name: str) -> None:
    with moxy_with_two(directory) as (moxy, one, two), client(directory, name, moxy, moxy.port) as sender:
        there = Stage(sender, one, two)
        message = sender.send()
        there.wait_for_silence()
        sender.die()
        release(one, GOOD[Phase.FINAL])
        moxy.wait_until(lambda: there.held() == [1, 1], "the end of what the client began")
        # Exim had closed its half before: whether it has the reply is judged at the next sweep, within a second.
        moxy.wait_until(lambda: len(entries(directory)) == 2, "the doubt in the ledger")
        sender.deliver_all()
        assert sender.told(message) == {"sent"}
        assert there.held() == [1, 1]


@pytest.mark.parametrize("name", ["Postfix", "Exim", "Exim without pipelining"])
def test_a_reply_that_was_heard_leaves_no_doubt(directory: Path, name: str) -> None:
    """Each ends its connection in its own way; each is understood, and nothing would be taken for a retry."""
    with moxy_with_two(directory) as (moxy, one, two), client(directory, name, moxy, moxy.port) as sender:
        one.answers[Phase.FINAL] = GOOD[Phase.FINAL]
        messages = [sender.send() for _ in range(5)]
        sender.deliver_all()
        assert [sender.told(message) for message in messages] == [{"sent"}] * 5
        assert Stage(sender, one, two).held() == [5, 5]
        assert moxy.stop() == 0
        assert entries(directory) == []
