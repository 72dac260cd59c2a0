"""A client by script that encrypts, record by record: it can cut them anywhere, and vanish or cheat in between."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from support.certificates import client_context
from support.scenario import PATIENCE, until
from support.smtpclient import Client

Cutter = Callable[[bytes], list[bytes]]


def whole(octets: bytes) -> list[bytes]:
    return [octets]


class TlsClient(Client):
    """Without `secure`, it is as any other. `records` are cut by `cutter` before they are sent."""

    tls: ssl.SSLObject | None = None
    cutter: Cutter = staticmethod(whole)  # type: ignore[assignment]

    def start(self, context: ssl.SSLContext | None = None, name: str | None = "mx.moxy.test", **more: Any) -> bytes:
        """Begin a handshake; the client's hello, which is not sent."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or client_context()
        if name is None:
            context.check_hostname = False
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, **more)
        self.shaken = False
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    async def secure(
        self, context: ssl.SSLContext | None = None, name: str | None = "mx.moxy.test", **more: Any
    ) -> None:
        """Shake hands. Raises ssl.SSLError where the server or we refuse."""
        self.failure: ssl.SSLError | None = None
        hello = self.start(context, name, **more)
        await self.send_records(hello)
        await until(lambda: self.shaken or self.failure or self.over.is_set(), "the handshake", PATIENCE)
        if self.failure:
            raise self.failure
        assert self.shaken, "closed in the handshake"

    async def send_records(self, octets: bytes) -> None:
        for piece in self.cutter(octets):
            self.transport.write(piece)
            await asyncio.sleep(0)

    def data_received(self, data: bytes) -> None:
        if self.tls is None:
            super().data_received(data)
            return
        self._incoming.write(data)
        try:
            if not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            while block := self.tls.read(65_536):
                super().data_received(block)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.transport.close()
        except ssl.SSLError as error:
            self.failure = error
        else:
            self.transport.close()  # it has taken leave
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self.transport.is_closing():
            for piece in self.cutter(self._outgoing.read()):
                self.transport.write(piece)

    def encrypted(self, octets: bytes) -> bytes:
        """The records for these octets."""
        assert self.tls is not None
        for start in range(0, len(octets), 16_384):
            self.tls.write(octets[start : start + 16_384])
        return self._outgoing.read()

    def write(self, octets: bytes) -> None:
        if self.tls is None:
            super().write(octets)
            return
        records = self.encrypted(octets)
        if not self.transport.is_closing():
            for piece in self.cutter(records):
                self.transport.write(piece)

    def take_leave(self) -> bytes:
        """Our close_notify, which is not sent."""
        assert self.tls is not None
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._outgoing.read()


@asynccontextmanager
async def encrypted(port: int, *, implicit: bool = False, **how: Any) -> AsyncIterator[TlsClient]:
    """A client that has shaken hands and said EHLO. It is gone when the block is left."""
    client = await TlsClient.connect(port)
    try:
        if implicit:
            await client.secure(**how)
        assert (await client.reply()).startswith("220 ")
        if not implicit:
            assert "STARTTLS" in await client.ask("EHLO client.test")
            assert (await client.ask("STARTTLS")).startswith("220 2.0.0")
            await client.secure(**how)
        assert (await client.ask("EHLO client.test")).startswith("250-")
        yield client
    finally:
        await client.leave()
