"""A service on its sockets: accept clients, and stop without losing a message. Moxy and its sinks are served alike.

Sockets are bound before, since that may need root (`moxy.net.listening`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from moxy.inbound.connection import ClientConnection
from moxy.inbound.service import Service
from moxy.mail.route import host_port
from moxy.net.listening import BACKLOG

GLANCE: Final = 0.05
"""Seconds between two looks at whether the last client is done, while we stop."""


def place(listener: socket.socket) -> str:
    """Where a socket listens, as people write it."""
    address, port = listener.getsockname()[:2]
    return host_port(address, port)


async def accept(service: Service, sockets: Sequence[socket.socket]) -> list[asyncio.Server]:
    """Serve every client that comes to `sockets` from now on."""
    loop = asyncio.get_running_loop()
    service.sweeper.start(loop)
    return [
        await loop.create_server(
            lambda: service.overhear(ClientConnection(service, loop)), sock=listener, backlog=BACKLOG
        )
        for listener in sockets
    ]


async def retire(service: Service, servers: Sequence[asyncio.Server], stop: asyncio.Event, patience: float) -> None:
    """Take no new client, and let those who are here go on for `patience` seconds, or until `stop` is set."""
    loop = asyncio.get_running_loop()
    for server in servers:
        server.close()
    deadline = loop.time() + patience
    await asyncio.sleep(GLANCE)  # who was taken at the last moment is not among the connections yet
    while service.connections and not stop.is_set() and loop.time() < deadline:
        await asyncio.sleep(GLANCE)


async def stop(service: Service, servers: Sequence[asyncio.Server], patience: float) -> None:
    """Take no new client, and let transactions under way finish for `patience` seconds.

    Who is still there then is cut off without a verdict, and so comes again.
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        server.close()
    service.drain()
    deadline = loop.time() + patience
    while (service.connections or service.commits) and loop.time() < deadline:
        await asyncio.sleep(GLANCE)
    for connection in tuple(service.connections):
        connection.cut_off()
    await asyncio.sleep(0)  # what was cut off hears of it now, and is recorded
    service.sweeper.stop()
