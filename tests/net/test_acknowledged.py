"""What a peer has not acknowledged yet, asked of the kernel over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from moxy.net import acknowledged
from moxy.net.acknowledged import unacknowledged
from support.faults import RESET_ON_CLOSE
from support.ports import LOOPBACK
from support.scenario import scenario, scenario_on_asyncio, until

WINDOW = 2048
"""The least that a socket may be told to receive ahead; the kernel makes a little more of it."""

MORE_THAN_A_WINDOW = bytes(50_000)


@asynccontextmanager
async def pair(path: Path | None = None) -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """Our end of a connection, and its peer, which reads only when told to: TCP, or the Unix socket at `path`."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Ours(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(cast("asyncio.Transport", transport))

    if path is None:
        server = await loop.create_server(Ours, LOOPBACK, 0)
        address: object = server.sockets[0].getsockname()
    else:
        server = await loop.create_unix_server(Ours, str(path))
        address = str(path)
    peer = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    peer.setblocking(False)
    try:
        await loop.sock_connect(peer, address)
        transport = await made
        yield transport, peer
        transport.abort()
        await asyncio.sleep(0)
    finally:
        peer.close()
        server.close()


async def read(peer: socket.socket, octets: int) -> None:
    loop = asyncio.get_running_loop()
    while octets:
        octets -= len(await loop.sock_recv(peer, octets))


async def a_peer_that_reads_nothing_acknowledges_no_more_than_its_window() -> None:
    async with pair() as (transport, peer):
        assert unacknowledged(transport) == 0
        transport.write(MORE_THAN_A_WINDOW)
        await until(lambda: not transport.get_write_buffer_size(), "the kernel to take it")
        assert 0 < unacknowledged(transport) <= len(MORE_THAN_A_WINDOW)
        await read(peer, len(MORE_THAN_A_WINDOW))
        await until(lambda: unacknowledged(transport) == 0, "the acknowledgement")


test_a_peer_that_reads_nothing_acknowledges_no_more_than_its_window = scenario(
    a_peer_that_reads_nothing_acknowledges_no_more_than_its_window
)
test_the_same_on_asyncio = scenario_on_asyncio(a_peer_that_reads_nothing_acknowledges_no_more_than_its_window)


@scenario
async def test_what_we_still_hold_ourselves_counts() -> None:
    async with pair() as (transport, _):
        transport.write(bytes(50_000_000))
        held = transport.get_write_buffer_size()
        assert held
        assert unacknowledged(transport) == held


@scenario
async def test_our_own_end_is_acknowledged_too() -> None:
    async with pair() as (transport, peer):
        transport.write(b"221 bye\r\n")
        transport.write_eof()
        await read(peer, len(b"221 bye\r\n"))
        await until(lambda: unacknowledged(transport) == 0, "the acknowledgement")


@scenario
async def test_a_peer_on_this_machine_acknowledges_by_reading(tmp_path: Path) -> None:
    async with pair(tmp_path / "socket") as (transport, peer):
        transport.write(b"250 fine\r\n")
        assert unacknowledged(transport) > 0
        await read(peer, len(b"250 fine\r\n"))
        await until(lambda: unacknowledged(transport) == 0, "the peer to have read")


@scenario
async def test_a_peer_that_resets_has_acknowledged_nothing_more() -> None:
    async with pair() as (transport, peer):
        transport.pause_reading()  # so that we do not learn of it
        transport.write(MORE_THAN_A_WINDOW)
        await until(lambda: not transport.get_write_buffer_size(), "the kernel to take it")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        peer.close()
        assert unacknowledged(transport) > 0


@scenario
async def test_of_a_connection_that_is_closed_nobody_can_tell() -> None:
    async with pair() as (transport, _):
        transport.abort()
        await until(lambda: transport.get_extra_info("socket").fileno() < 0, "the end")
        assert unacknowledged(transport) > 0


@scenario
async def test_where_the_kernel_does_not_tell_what_was_written_counts_as_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acknowledged, "_TELLS", False)
    async with pair() as (transport, _):
        transport.write(MORE_THAN_A_WINDOW)
        await until(lambda: not transport.get_write_buffer_size(), "the kernel to take it")
        assert unacknowledged(transport) == 0
        transport.write(bytes(50_000_000))
        assert unacknowledged(transport) > 0
