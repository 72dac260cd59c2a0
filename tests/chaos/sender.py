"""A sender's mail server: a queue of one message, a state for each recipient, and retries until each is final.

Its log is the truth as the sender sees it. It behaves as Postfix and Exim do: replies to RCPT count for their
recipient, those to MAIL, DATA and the dot for all whom they concern; what was not answered is tried again, all of
that together; 5xx is final. It shares no code with Moxy.

Bugs: no time passes between attempts. A sender gives up after `ROUNDS` of them instead of five days.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from support.smtpclient import Client

ROUNDS = 12
"""Attempts before a sender gives up."""

TURNS = 12
"""Transactions in one session, for a sender that repeats those told 452 at once."""


class Leaving(StrEnum):
    """How a sender ends its session after the last verdict."""

    POLITE = "QUIT"
    """QUIT when the verdict has been read; then 221, then close."""
    POSTFIX = "QUIT with the dot, then close"
    """QUIT goes out in one write with the dot; it closes when it has the verdict, and waits for no 221."""
    EXIM = "QUIT with the dot, then half-close"
    """The same, but it closes its own half only, and reads on."""
    RUDE = "close"
    """No QUIT at all."""


@dataclass(frozen=True)
class Dialect:
    """How a sender speaks."""

    name: str
    leaving: Leaving = Leaving.POLITE
    pipelining: bool = True
    """Envelope and DATA in one write (RFC 2920)."""
    declares: bool = True
    """MAIL says how large the message is (RFC 1870)."""
    at_once: bool = False
    """Recipients told 452 are asked for again in the same session, unless a 5xx has bounced them, as Exim does."""
    prdr: bool = False
    lmtp: bool = False

    def __str__(self) -> str:
        return self.name


PLAIN = Dialect("plain", pipelining=False, declares=False)
RUDE = Dialect("no QUIT", Leaving.RUDE, declares=False)
POSTFIX = Dialect("as Postfix", Leaving.POSTFIX)
EXIM = Dialect("as Exim", Leaving.EXIM, at_once=True)
PRDR = Dialect("PRDR", Leaving.EXIM, at_once=True, prdr=True)
LMTP = Dialect("LMTP", lmtp=True)


class Fate(StrEnum):
    """What has become of a recipient."""

    QUEUED = "queued"
    SENT = "sent"
    BOUNCED = "bounced"
    EXPIRED = "expired"


@dataclass
class Recipient:
    """One line of the sender's queue."""

    path: str
    fate: Fate = Fate.QUEUED
    words: str = ""
    """What was last said about it."""

    def take(self, reply: str) -> None:
        """A reply that counts for it."""
        self.words = reply
        if reply.startswith("2"):
            self.fate = Fate.SENT
        elif reply.startswith("5"):
            self.fate = Fate.BOUNCED


class GoneError(Exception):
    """The connection ended."""


def _stuffed(content: bytes) -> bytes:
    return re.sub(rb"(?m)^\.", b"..", content) + b".\r\n"


@dataclass
class Sender:
    """One message on its way.

    `connect` gives the port for the next session, `rest` is awaited after each, `before_dot` after
    content, with the recipients that it is for.
    """

    dialect: Dialect
    reverse_path: str
    recipients: list[Recipient]
    content: bytes
    connect: Callable[[], int]
    rest: Callable[[], Awaitable[None]]
    before_dot: Callable[[Sequence[str]], Awaitable[None]]
    dots: int = 0
    """Ends of data handed to the network in this session."""
    octets: int = 0
    """Octets written in this session."""
    dot_ends: int = 0
    """How many octets of this session lead to the end of its first message, once that was written."""
    rounds: int = 0
    transactions: int = 0
    log: list[str] = field(default_factory=list)
    client: Client | None = None

    async def attempt(self) -> None:
        """One session for all who are in the queue."""
        self.rounds += 1
        self.log.append(f"-- session {self.rounds}")
        await self._session()
        await self.rest()

    async def deliver(self) -> None:
        """Try until nobody is left in the queue; after `ROUNDS` sessions the rest has expired."""
        while self.queue and self.rounds < ROUNDS:
            await self.attempt()
        for recipient in self.queue:
            recipient.fate = Fate.EXPIRED

    @property
    def queue(self) -> list[Recipient]:
        """Those whose fate is open."""
        return [recipient for recipient in self.recipients if recipient.fate is Fate.QUEUED]

    # -- a session

    async def _session(self) -> None:
        self.octets = self.dot_ends = self.dots = 0
        self.client = await Client.connect(self.connect())
        try:
            await self._talk()
        except GoneError:
            self.log.append("-- the connection ended")
        finally:
            await self.client.leave()

    async def _talk(self) -> None:
        greeting = await self._reply()
        if not greeting.startswith("220"):
            return
        offered = await self._ask("LHLO client.test" if self.dialect.lmtp else "EHLO client.test")
        if not offered.startswith("250"):
            return
        prdr = self.dialect.prdr and bool(re.search(r"(?m)^250[ -]PRDR$", offered))
        todo = self.queue
        for _ in range(TURNS):
            todo = await self._transaction(todo, prdr=prdr and len(todo) > 1)
            if not (todo and self.dialect.at_once):
                break
        if self.dialect.leaving is not Leaving.RUDE:
            await self._ask("QUIT")

    async def _transaction(self, recipients: Sequence[Recipient], *, prdr: bool) -> list[Recipient]:
        """One transaction. Returns those who may be asked for again at once."""
        self.transactions += 1
        mail = f"MAIL FROM:<{self.reverse_path}>"
        mail += f" SIZE={len(self.content)}" if self.dialect.declares else ""
        mail += " PRDR" if prdr else ""
        envelope = [mail, *(f"RCPT TO:<{recipient.path}>" for recipient in recipients), "DATA"]
        if self.dialect.pipelining:
            self._send(*envelope)
            mailed, *answers, data = [await self._reply() for _ in envelope]
        else:
            mailed, *answers = [await self._ask(line) for line in envelope[:-1]]
            data = await self._ask("DATA") if any(answer.startswith("250") for answer in answers) else ""
        if not mailed.startswith("250"):
            self._tell(recipients, mailed)
            return []
        for recipient, answer in zip(recipients, answers, strict=True):
            if not answer.startswith("2"):
                recipient.take(answer)
        accepted = [known for known, answer in zip(recipients, answers, strict=True) if answer.startswith("2")]
        again = [known for known, answer in zip(recipients, answers, strict=True) if answer.startswith("452")]
        if data.startswith("354"):
            assert accepted, "354 although nobody was accepted"
            await self._content(accepted, prdr=prdr, last=not (again and self.dialect.at_once))
        else:
            assert not data.startswith("2"), f"DATA was answered {data}"
            self._tell(accepted, data)
        if self.dialect.at_once and all(known.words.startswith("5") for known in accepted):
            self._tell(again, accepted[-1].words if accepted else "")  # Exim 4.96: they share what the others get
        return [known for known in again if known.fate is Fate.QUEUED and data.startswith("354")]

    async def _content(self, accepted: list[Recipient], *, prdr: bool, last: bool) -> None:
        """Content, dot and verdict; and in the `last` transaction what comes with and after it."""
        octets = _stuffed(self.content)
        self.dot_ends = self.dot_ends or self.octets + len(octets)
        leaves = last and self.dialect.leaving in (Leaving.POSTFIX, Leaving.EXIM)
        self.log.append("> (content and dot)" + (", QUIT" if leaves else ""))
        self._write(octets[:-3])
        await self.before_dot([recipient.path for recipient in accepted])
        self.dots += 1
        self._write(octets[-3:] + (b"QUIT\r\n" if leaves else b""))
        if self.dialect.lmtp:
            for recipient in accepted:
                recipient.take(await self._reply())
        else:
            reply = await self._reply()
            if prdr and reply.startswith("353"):
                await self._verdicts(accepted)
            else:
                self._tell(accepted, reply)
        if leaves:
            await self._leave()

    async def _leave(self) -> None:
        """The verdict is known, and QUIT was sent with the dot: go without waiting for the 221."""
        assert self.client is not None
        if self.dialect.leaving is Leaving.POSTFIX:
            self.client.transport.close()
        else:
            self.client.transport.write_eof()
        while True:
            await self._reply()

    async def _verdicts(self, accepted: list[Recipient]) -> None:
        """PRDR, as Exim reads it: they count only with the final reply, which may make them worse."""
        replies = [await self._reply() for _ in accepted]
        final = await self._reply()
        for recipient, reply in zip(accepted, replies, strict=True):
            worse = final.startswith("5") or (final.startswith("4") and reply.startswith("2"))
            recipient.take(final if worse else reply)

    @staticmethod
    def _tell(recipients: Sequence[Recipient], reply: str) -> None:
        for recipient in recipients:
            recipient.take(reply)

    # -- octets

    async def _ask(self, line: str) -> str:
        self._send(line)
        return await self._reply()

    def _send(self, *lines: str) -> None:
        self.log += [f"> {line}" for line in lines]
        self._write("".join(f"{line}\r\n" for line in lines).encode())

    def _write(self, octets: bytes) -> None:
        assert self.client is not None
        self.octets += len(octets)
        self.client.write(octets)

    async def _reply(self) -> str:
        """The next reply; GoneError when the connection has ended instead."""
        assert self.client is not None
        reply = await self.client.reply()
        if not reply:
            raise GoneError
        self.log += [f"< {line}" for line in reply.splitlines()]
        return reply
