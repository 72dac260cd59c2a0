"""One event loop at work: accept, serve, and stop without losing a message."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence

from structlog import get_logger

from moxy.process import serving
from moxy.process.assembly import Parts

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
    servers = await serving.accept(parts.service, sockets)
    log.info("ready", listening=[serving.place(listener) for listener in sockets])
    if ready is not None:
        ready()
    await stop.wait()
    log.info("draining", clients=len(parts.service.connections))
    await serving.stop(parts.service, servers, parts.drain)
    parts.directory.close()
    parts.recorder.close()
    parts.service.routes.close()
    log.info("stopped")
