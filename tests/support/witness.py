"""A client that remembers what it was told: one of the two witnesses of the promise (the other is the destination)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from support.smtpclient import Client

HELLO = "EHLO c.test"
MAIL = "MAIL FROM:<s@c.test>"


def content(number: int) -> bytes:
    """The content of message `number`, with every kind of line that dot-stuffing knows. Always the same size."""
    return b"N: %d\r\n\r\n..\r\n...two\r\n.\r\n\r\ne.\r\n" % number


def on_the_wire(number: int) -> bytes:
    """The same as it is sent, with its end of data."""
    return b"N: %d\r\n\r\n...\r\n....two\r\n..\r\n\r\ne.\r\n.\r\n" % number


def in_chunks(number: int) -> tuple[bytes, bytes]:
    """The same as it is sent by BDAT: two chunks, the first of which ends between CR and LF."""
    plain = content(number)
    place = plain.index(b"two\r") + 4
    first, last = plain[:place], plain[place:]
    return b"BDAT %d\r\n%b" % (len(first), first), b"BDAT %d LAST\r\n%b" % (len(last), last)


def octets_up_to_dot(recipients: Sequence[str], *, chunks: bool = False) -> int:
    """How many octets a client sends until the end of its first message."""
    lines = [HELLO, MAIL, *(f"RCPT TO:<{recipient}>" for recipient in recipients)]
    message = b"".join(in_chunks(0)) if chunks else b"DATA\r\n" + on_the_wire(0)
    return sum(len(line) + 2 for line in lines) + len(message)


@dataclass
class Told:
    """What the client was told about one message."""

    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    verdict: str = ""
    """The reply to its dot; empty when none was sent or none came."""


@dataclass
class Witness:
    """A session of `messages` transactions, gone through as far as it gets."""

    client: Client
    recipients: list[str]
    messages: int
    pipelining: bool
    """Whether envelope and DATA go out in one write, or envelope and all chunks (RFC 2920)."""
    chunks: bool = False
    """Whether content goes by BDAT."""
    asked: int = 1
    """What must be answered; to connect asks for the greeting."""
    replies: list[str] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    async def talk(self) -> None:
        """From the greeting to the end of the connection."""
        try:
            await self._reply()
            await self._ask(HELLO)
            for number in range(self.messages):
                await self._transaction(number)
            await self._ask("QUIT")
            while True:
                await self._reply()  # there should be none
        except ConnectionError:
            await self.client.leave()

    async def _transaction(self, number: int) -> None:
        told = Told()
        self.told.append(told)
        envelope = [MAIL, *(f"RCPT TO:<{recipient}>" for recipient in self.recipients)]
        if self.chunks:
            await self._by_chunks(told, envelope, in_chunks(number))
            return
        envelope.append("DATA")
        if self.pipelining:
            self.client.send(*envelope)
            self.asked += len(envelope)
        _, *answers, data = [await self._answer(line) for line in envelope]
        self._note(told, answers)
        if data.startswith("354"):
            self.asked += 1
            self.client.write(on_the_wire(number))
            told.verdict = await self._reply()
        else:
            await self._ask("RSET")

    async def _by_chunks(self, told: Told, envelope: list[str], chunks: tuple[bytes, bytes]) -> None:
        if self.pipelining:
            self.client.write(b"".join(f"{line}\r\n".encode() for line in envelope) + b"".join(chunks))
            self.asked += len(envelope) + len(chunks)
        _, *answers = [await self._answer(line) for line in envelope]
        self._note(told, answers)
        verdict = ""
        for chunk in chunks:
            if not self.pipelining:
                self.asked += 1
                self.client.write(chunk)
            verdict = await self._reply()
        told.verdict = verdict

    def _note(self, told: Told, answers: Sequence[str]) -> None:
        for recipient, answer in zip(self.recipients, answers, strict=True):
            (told.accepted if answer.startswith("250") else told.refused).add(recipient)

    async def _answer(self, line: str) -> str:
        return await self._reply() if self.pipelining else await self._ask(line)

    async def _ask(self, line: str) -> str:
        self.asked += 1
        self.client.send(line)
        return await self._reply()

    async def _reply(self) -> str:
        """The next reply; ConnectionError when the connection has ended instead."""
        reply = await self.client.reply()
        if not reply:
            raise ConnectionError
        self.replies.append(reply)
        return reply
