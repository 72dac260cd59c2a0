"""A relay with a ledger and two destinations, and clients that come again: for what is remembered between attempts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moxy.inbound.connection import ClientConnection
from moxy.ledger import Entry, State
from moxy.ledger.store import Store, Wanted
from moxy.net.acknowledged import unacknowledged
from moxy.outbound.settings import Settings
from moxy.smtp import replies
from support.destination import Act, Destination, Phase, running_destination
from support.faults import RESET_ON_CLOSE
from support.ledgers import written
from support.ports import LOOPBACK
from support.relay import Relay, route, running_relay
from support.scenario import until
from support.smtpclient import Client, connected

ONE, ALSO_ONE, TWO, BOTH = "a@one.test", "b@one.test", "c@two.test", "d@both.test"
SENDER = "sender@client.test"
CONTENT = b"Subject: x\r\n\r\nx\r\n"

ACCEPTED = "250 2.1.5 recipient fine"
TAKEN = "250 2.0.0 taken"
LATER = "450 4.7.1 later"
NEVER = "550 5.7.1 never"
ALREADY = str(replies.ALREADY_ACCEPTED)
MIXED = str(replies.MIXED_VERDICTS)
SPLIT = str(replies.SPLIT)
UNDER_WAY = str(replies.UNDER_WAY)
LOST = str(replies.DESTINATION_LOST)


@dataclass
class Place:
    """A relay with a ledger, and two destinations; mail for `both.test` goes to both."""

    relay: Relay
    one: Destination
    two: Destination
    ledger: Path

    def ask_first(self, destination: Destination) -> None:
        """Have it be the one that is asked first for its verdict, for it is said to refuse often (D5)."""
        self.relay.service.order.learn(destination.address, refused=True)

    def holds(self) -> tuple[int, int]:
        """How many messages each destination holds."""
        return len(self.one.messages), len(self.two.messages)

    async def entries(self) -> list[Entry]:
        """What is in the ledger's file, now that all has been written that was to be."""
        await written(self.relay.service.ledger)
        return in_file(self.ledger)

    async def noted(self) -> None:
        """Wait until there is something in the file."""
        await self.entries()  # there is a file
        await until(lambda: in_file(self.ledger), "the notes")

    async def states(self) -> dict[str, State]:
        """The states in the ledger's file, by recipient; of several destinations, by recipient and theirs."""
        names = {self.one.address: "one", self.two.address: "two"}
        entries = await self.entries()
        several = len({entry.forward_path for entry in entries}) < len(entries)
        return {
            f"{entry.forward_path} {names[entry.destination]}" if several else entry.forward_path: entry.state
            for entry in entries
        }

    async def idle(self) -> None:
        """Wait until no client is here, and nothing is under way."""
        await until(lambda: not self.relay.service.commits, "all dots to be answered")
        await self.relay.rest()


def in_file(path: Path) -> list[Entry]:
    """All entries of a ledger's file, the oldest first."""
    store = Store(path, 1000, make=False)
    try:
        return store.select(Wanted())
    finally:
        store.close()


@asynccontextmanager
async def place(directory: Path, *, lmtp_destinations: bool = False, **options: Any) -> AsyncIterator[Place]:
    """`options` are those of `running_relay`."""
    async with (
        running_destination(lmtp=lmtp_destinations) as one,
        running_destination(lmtp=lmtp_destinations) as two,
    ):
        routes = {"one.test": route(one.port), "two.test": route(two.port), "both.test": route(one.port, two.port)}
        ledger = directory / "ledger.db"
        if lmtp_destinations:
            options["settings"] = Settings(protocol="lmtp")
        async with running_relay(routes, ledger=ledger, **options) as relay:
            yield Place(relay, one, two, ledger)


async def attempt(
    place: Place,
    *recipients: str,
    content: bytes = CONTENT,
    sender: str = SENDER,
    hello: str = "client.test",
) -> list[str]:
    """One session of a client that waits for everything and says QUIT; its replies to RCPT, and to the content."""
    async with connected(place.relay.port, hello=False) as client:
        await client.ask(f"EHLO {hello}")
        answers = await client.begin(recipients, sender)
        if any(answer.startswith("250") for answer in answers):
            answers.append(await client.data(content))
        await client.ask("QUIT")
    await place.idle()
    return answers


class Deaf:
    """A client that sends without reading, so that its system soon acknowledges nothing more: a window is full."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._loop = asyncio.get_running_loop()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)  # the kernel makes a little more of it
        self.socket.setblocking(False)
        self.connection: ClientConnection

    async def deliver(self, *more: str) -> None:
        """A whole session up to the verdict, which Moxy has written, and `more` commands sent with the dot."""
        known = set(self._place.relay.service.connections)
        await self._loop.sock_connect(self.socket, (LOOPBACK, self._place.relay.port))
        message = [f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{ONE}>", "DATA", CONTENT.decode() + "."]
        await self.say("EHLO client.test", *["HELP"] * 300, *message, *more)
        await until(lambda: self._place.one.messages, "the message")
        (self.connection,) = self._place.relay.service.connections - known
        await self.answered()
        assert unacknowledged(self.connection._transport)

    async def say(self, *lines: str) -> None:
        await self._loop.sock_sendall(self.socket, "".join(f"{line}\r\n" for line in lines).encode())

    async def answered(self) -> None:
        """Wait until Moxy has nothing more to answer."""
        receiver = self.connection._receiver
        await until(lambda: not receiver.waiting and not receiver.unread, "all answers")

    def close_half(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    async def read(self) -> bytes:
        """All that comes."""
        found = b""
        while block := await self._loop.sock_recv(self.socket, 65_536):
            found += block
        return found

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.socket.close()


async def until_the_dot(place: Place, client: Client, destination: Destination, *recipients: str) -> None:
    """A transaction up to its dot, which the destination has, and is silent about."""
    good = destination.answers[Phase.FINAL]
    destination.answers[Phase.FINAL] = Act.SILENCE
    silences = destination.silences
    await client.begin(recipients or [ONE])
    assert (await client.ask("DATA")).startswith("354")
    client.write(CONTENT + b".\r\n")
    await until(lambda: destination.silences > silences, "the dot to arrive")
    destination.answers[Phase.FINAL] = good


async def lose_the_reply(place: Place, destination: Destination, *recipients: str, answer: str = TAKEN) -> None:
    """A client that has vanished when the verdict on its message comes."""
    async with connected(place.relay.port) as client:
        await until_the_dot(place, client, destination, *recipients)
        client.reset()
        await until(lambda: not place.relay.service.connections, "Moxy to notice")
        destination.release(answer)
    await place.idle()
