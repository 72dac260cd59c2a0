"""A client by script: asks, waits for the reply, and notices what came that it did not ask for.

It shares no code with Moxy, for it is its witness.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self, cast

from support.faults import reset
from support.ports import LOOPBACK
from support.scenario import PATIENCE


class Client(asyncio.Protocol):
    """One connection to Moxy. Replies are texts as they came, lines joined by `\\n`; the empty text is the end."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.replies: asyncio.Queue[str] = asyncio.Queue()
        self.over = asyncio.Event()
        self.written = 0
        """Octets handed to the network."""
        self._lines: list[str] = []
        self._buffer = b""

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Connect; the greeting is still to be read."""
        _, client = await asyncio.get_running_loop().create_connection(cls, LOOPBACK, port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.over.set()
        self.replies.put_nowait("")

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            self._lines.append(line.decode())
            if line[3:4] != b"-":
                self.replies.put_nowait("\n".join(self._lines))
                self._lines = []

    async def reply(self) -> str:
        """The next reply; the empty text once the connection has ended."""
        async with asyncio.timeout(PATIENCE):
            return await self.replies.get()

    def send(self, *lines: str) -> None:
        """Send lines in one write, without waiting."""
        self.write("".join(f"{line}\r\n" for line in lines).encode())

    def write(self, octets: bytes) -> None:
        """Send octets as they are; nothing happens once the connection has ended."""
        if not self.transport.is_closing():
            self.written += len(octets)
            self.transport.write(octets)

    async def ask(self, line: str) -> str:
        """One command, and its reply."""
        self.send(line)
        return await self.reply()

    async def begin(self, recipients: Sequence[str], sender: str = "sender@client.test") -> list[str]:
        """MAIL and RCPT one by one; the replies to the recipients."""
        assert (await self.ask(f"MAIL FROM:<{sender}>")).startswith("250")
        return [await self.ask(f"RCPT TO:<{recipient}>") for recipient in recipients]

    async def data(self, content: bytes) -> str:
        """DATA, content in wire form, and the dot; the verdict, or the refusal of DATA."""
        reply = await self.ask("DATA")
        if not reply.startswith("354"):
            return reply
        self.write(content + b".\r\n")
        return await self.reply()

    async def deliver(self, recipients: Sequence[str], content: bytes = b"Subject: test\r\n\r\ntext\r\n") -> str:
        """A whole transaction whose recipients are all accepted; the verdict."""
        replies = await self.begin(recipients)
        assert all(reply.startswith("250") for reply in replies), replies
        return await self.data(content)

    def reset(self) -> None:
        """Vanish with a RST."""
        reset(self.transport)

    async def leave(self) -> None:
        """Close, and wait until that is done."""
        self.transport.abort()
        await self.over.wait()


@asynccontextmanager
async def connected(port: int, *, hello: bool = True) -> AsyncIterator[Client]:
    """A client that has been greeted, and has said EHLO unless told not to. It is gone when the block is left."""
    client = await Client.connect(port)
    try:
        greeting = await client.reply()
        assert greeting.startswith("220 "), greeting
        if hello:
            assert (await client.ask("EHLO client.test")).startswith("250-")
        yield client
    finally:
        await client.leave()
