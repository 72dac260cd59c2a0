"""A service on its sockets: accept clients, and stop without losing a message. Moxy and its sinks are served alike.

Sockets are bound before, since that may need root (`moxy.net.listening`).
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from moxy.inbound.connection import ClientConnection
from moxy.inbound.proxied import Proxied
from moxy.inbound.service import Service
from moxy.inbound.tlsconnection import TlsConnection
from moxy.net.listening import BACKLOG, Listener

GLANCE: Final = 0.05
"""Seconds between two looks at whether the last client is done, while we stop."""


_KEEP_FILE: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""The file of a Unix socket is not ours to remove: others serve on it when we have stopped. (Loops would, on 3.13.)"""


async def accept(service: Service, listeners: Sequence[Listener]) -> list[asyncio.Server]:
    """Serve every client that comes to `listeners` from now on, in the protocol of each."""
    loop = asyncio.get_running_loop()
    service.sweeper.start(loop)
    service.sweeper.chores += {listener.tls.refresh for listener in listeners if listener.tls is not None}
    return [await _accept(service, listener, loop) for listener in listeners]


async def _accept(service: Service, listener: Listener, loop: asyncio.AbstractEventLoop) -> asyncio.Server:
    tls = listener.tls
    make = partial(ClientConnection if tls is None else partial(TlsConnection, tls=tls), service, loop)

    def connection() -> asyncio.BaseProtocol:
        client = make(lmtp=listener.lmtp, xclient_from=listener.xclient_from)
        heard = service.overhear(client)
        return Proxied(service, loop, client, heard, listener.proxy_from) if listener.proxy_from else heard

    if listener.socket.family == socket.AF_UNIX:
        return await loop.create_unix_server(connection, sock=listener.socket, backlog=BACKLOG, **_KEEP_FILE)
    return await loop.create_server(connection, sock=listener.socket, backlog=BACKLOG)


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
    service.break_off()
    await asyncio.sleep(0)  # what was cut off hears of it now, and is recorded
    service.sweeper.stop()
