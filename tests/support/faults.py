"""A proxy that breaks connections where it is told to: after exactly so many octets of one direction.

It forwards both directions unchanged until then.

Bugs: it knows no back-pressure, and passes a half-close on as a close unless told otherwise.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from support.ports import LOOPBACK
from support.scenario import until

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close with a RST: what is unread on either side is lost, as when a machine goes down."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


class Way(StrEnum):
    """A direction through the proxy."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Kind(StrEnum):
    """What happens when the octets have passed."""

    CLOSE = "close"
    DEATH = "death"
    """As when the process ends that should have got the octets: the kernel resets the connection if some are unread."""
    RESET = "reset"
    STALL = "stall"


@dataclass(frozen=True)
class Fault:
    """After `after` octets of one way, both sides are closed or reset; or that way passes no more."""

    way: Way
    after: int
    kind: Kind


class FaultProxy:
    """Stands before a server on loopback. `fault` strikes the next connection, `single_octets` holds for all."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.fault: Fault | None = None
        self.single_octets = False
        """Whether each octet is written on its own."""
        self.half_closes = False
        """Whether a half-close is passed on as one; a client that sends no more may still listen."""
        self.rewrite: Callable[[Way, bytes], bytes] = lambda _, data: data
        """What a man in the middle makes of what passes."""
        self.passed = dict.fromkeys(Way, 0)
        """Octets forwarded, of all connections since `begin_anew`."""
        self.struck = False
        """Whether the fault has happened since `begin_anew`."""
        self.open: set[_Side] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self) -> asyncio.Protocol:
        fault, self.fault = self.fault, None
        return _ClientSide(self, fault)

    async def stop(self) -> None:
        """Listen no more, and end every connection."""
        if self._server is not None:
            self._server.close()
        for side in tuple(self.open):
            side.transport.abort()
        await until(lambda: not self.open, "the fault proxy's connections to end")

    def begin_anew(self, fault: Fault | None) -> None:
        """From now on this fault, and counting from zero."""
        self.fault = fault
        self.passed = dict.fromkeys(Way, 0)
        self.struck = False


class _Side(asyncio.Protocol):
    """One of the two connections that make a way through: what comes in here goes out on the other side."""

    transport: asyncio.Transport
    way: Way

    def __init__(self, proxy: FaultProxy, fault: Fault | None) -> None:
        self.proxy = proxy
        self.other: _Side | None = None
        self.fault = fault
        self._left = fault.after if fault is not None and fault.way is self.way else None
        self._stalled = False
        self._early = b""  # what came before there was another side: a loop may read once although it is paused
        self._unread = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.proxy.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.open.discard(self)
        if self.other is not None and not self.other.transport.is_closing():
            if exc is None:
                self.other.transport.close()
            else:
                reset(self.other.transport)

    def eof_received(self) -> bool:
        self._ended = True
        if not self.proxy.half_closes or self.other is None or self.other._ended:
            return False
        self.other.transport.write_eof()
        return True

    def data_received(self, data: bytes) -> None:
        if self._stalled:
            return
        if self.other is None:
            self._early += data
            return
        if self._left is not None:
            self._unread = len(data) > self._left
            data = data[: self._left]
            self._left -= len(data)
        self._forward(data)
        if self._left == 0:
            self.strike()

    def _forward(self, data: bytes) -> None:
        if self.other is None or self.other.transport.is_closing():
            return
        self.proxy.passed[self.way] += len(data)
        data = self.proxy.rewrite(self.way, data)
        pieces = [data[place : place + 1] for place in range(len(data))] if self.proxy.single_octets else [data]
        for piece in pieces:
            self.other.transport.write(piece)

    def strike(self) -> None:
        """Do what was asked for, once what was forwarded has been written."""
        assert self.fault is not None
        self.proxy.struck = self._stalled = True
        if self.fault.kind is Kind.DEATH and self._unread:
            reset(self.transport)
        if self.fault.kind is not Kind.STALL:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._break, self.fault.kind)

    def _break(self, kind: Kind) -> None:
        for side in (self, self.other):
            if side is None or side.transport.is_closing():
                continue
            if kind is Kind.RESET:
                reset(side.transport)
            else:
                side.transport.close()


class _ClientSide(_Side):
    way = Way.TO_SERVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _ServerSide(self), LOOPBACK, self.proxy.target)
        except OSError:
            self.transport.close()


class _ServerSide(_Side):
    way = Way.TO_CLIENT

    def __init__(self, other: _ClientSide) -> None:
        super().__init__(other.proxy, other.fault)
        self.other = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.other is not None
        self.other.other = self
        if self.other.transport.is_closing():
            self.transport.close()
            return
        self.other.transport.resume_reading()
        if self.other._early:
            self.other.data_received(self.other._early)
        for side in (self, self.other):
            if side._left == 0:
                side.strike()


@asynccontextmanager
async def running_proxy(target: int) -> AsyncIterator[FaultProxy]:
    """A proxy before the server on this port of loopback, without a fault yet."""
    proxy = FaultProxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
