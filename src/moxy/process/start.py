"""Start in order: bind, load, drop privileges, serve.

Low ports are bound and files opened while we may; nothing of a client is read before we are nobody in particular.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Callable

import uvloop
from structlog import get_logger

from moxy.config.schema import Config, FileRoutes, Listener
from moxy.config.values import Endpoint
from moxy.net import listening
from moxy.process import daemon, preload, privileges, worker  # noqa: F401 - importing `preload` is its use
from moxy.process.assembly import assemble
from moxy.process.privileges import Identity

log = get_logger("moxy")


def run(config: Config, *, detach: bool = False) -> None:
    """Run Moxy until it is told to stop, in the background with `detach`; then the process ends.

    Raises MoxyError if it cannot start.
    """
    user = privileges.required(config.runas)
    sockets = bind(config)
    serve(config, sockets, user, ready=daemon.detach() if detach else None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # at once: a name that is being looked up cannot be called off, and would hold us back for seconds


def serve(
    config: Config, sockets: list[socket.socket], user: Identity | None, *, ready: Callable[[], None] | None = None
) -> None:
    """Serve on sockets that are bound already, as `user`, until told to stop. `ready` is called once we do."""
    os.environ.setdefault("UV_USE_IO_URING", "0")  # measured: plain epoll takes 12 µs less for each connection
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")  # half may look up names: a dead name server holds each for long
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    with daemon.pid_file(config.pid_file, user):
        parts = assemble(config, frozenset(sock.getsockname()[:2] for sock in sockets), loop, user)
        if user is not None:
            privileges.drop(user)
        _warn_of_unreadable_tables(config)
        _spare_the_collector()
        loop.run_until_complete(worker.serve(parts, sockets, ready))  # not closed after: that waits for look-ups too


def _warn_of_unreadable_tables(config: Config) -> None:
    """A table read before privileges were dropped may be out of reach after: its next change would not be seen."""
    for section in config.routes.values():
        if isinstance(section, FileRoutes) and not os.access(section.path, os.R_OK):
            log.warning("table_not_readable", file=str(section.path), reason="changes to it will not be seen")


def _spare_the_collector() -> None:
    """What has been loaded stays, and connections leave no cycles: the collector of cycles has little to look for.

    Measured: its default thresholds cost 10 to 20 µs for each connection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def bind(config: Config) -> list[socket.socket]:
    """Listen on every endpoint of every listener."""
    return listening.bind(
        (endpoint.host, endpoint.port) for section in config.listener.values() for endpoint in section.listen
    )


def with_port(config: Config, port: int) -> Config:
    """The configuration with every listener on `port` instead (`moxy --port`)."""
    listeners = {
        name: Listener(listen=tuple(dict.fromkeys(Endpoint(place.host, port) for place in section.listen)))
        for name, section in config.listener.items()
    }
    return config.model_copy(update={"listener": listeners})
