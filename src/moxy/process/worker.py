"""One event loop at work: accept, serve, and stop without losing a message."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final

from structlog import get_logger

from moxy.inbound.connection import ClientConnection
from moxy.net.listening import BACKLOG
from moxy.process.assembly import Parts

POLL: Final = 0.05
"""Seconds between two looks at whether the last client is done, while we stop."""

log = get_logger("moxy")


async def serve(parts: Parts, sockets: Sequence[socket.socket], ready: Callable[[], None] | None = None) -> None:
    """Serve on `sockets` until SIGTERM or SIGINT; then drain and close everything. SIGUSR1 reopens the logs.

    `ready` is called when the first client may come.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, parts.recorder.reopen)
    parts.sweeper.start(loop)
    servers = [
        await loop.create_server(lambda: ClientConnection(parts.service, loop), sock=sock, backlog=BACKLOG)
        for sock in sockets
    ]
    log.info("ready", listening=[_shown(sock) for sock in sockets])
    if ready is not None:
        ready()
    await stop.wait()
    for server in servers:
        server.close()
    await _drain(parts, loop)
    parts.sweeper.stop()
    parts.directory.close()
    parts.recorder.close()
    parts.service.routes.close()
    log.info("stopped")


async def _drain(parts: Parts, loop: asyncio.AbstractEventLoop) -> None:
    """Let running transactions finish; who is still there when time is up is cut off, its message not accepted."""
    service = parts.service
    service.drain()
    log.info("draining", clients=len(service.connections))
    deadline = loop.time() + parts.drain
    while service.connections and loop.time() < deadline:
        await asyncio.sleep(POLL)
    for connection in tuple(service.connections):
        connection.cut_off()


def _shown(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
