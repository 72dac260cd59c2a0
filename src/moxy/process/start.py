"""Start in order: bind, make files, drop privileges, start the workers.

Low ports are bound and files made while we may; nothing of a client is read before we are nobody in particular.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Sequence

import uvloop

from moxy.config import listeners as sections
from moxy.config.schema import Config
from moxy.config.values import Endpoint
from moxy.net import listening
from moxy.net.listening import Listener
from moxy.process import daemon, descriptors, logs, preload, privileges, worker  # noqa: F401 - importing `preload` is its use
from moxy.process.assembly import assemble
from moxy.process.ledger import Home
from moxy.process.listeners import Listeners
from moxy.process.supervisor import Supervisor, hold_signals


def run(read: Callable[[], Config], *, detach: bool = False) -> None:
    """Run Moxy until it is told to stop, in the background with `detach`. `read` reads the configuration, and reads it
    again for a reload.

    Raises MoxyError if it cannot start.
    """
    config = read()
    user = privileges.required(config.runas)
    logs.create_files(config, user)
    listeners = Listeners(config, user)
    ready = daemon.detach() if detach else _nobody_waits

    def read_again() -> Config:
        found = read()
        home.prepare(found)
        return found

    def adopt(config: Config) -> None:
        logs.configure_operator_log(config, detached=detach)

    def work(config: Config, listeners: Sequence[Listener], lifeline: int, ready: Callable[[], None]) -> None:
        def let_go_and_tell() -> None:
            if detach:
                daemon.let_go()
            ready()

        adopt(config)  # in this process: syslog is told its number
        serve(config, listeners, let_go_and_tell, lifeline, home)

    def serving() -> None:
        descriptors.warn_of_few(config)
        logs.warn_of_no_syslog(config, detached=detach)
        home.warn(config)
        ready()

    hold_signals()
    with contextlib.closing(listeners), daemon.pid_file(config.pid_file, user), Home() as home:
        home.prepare(config, user)
        descriptors.raise_limit()
        if user is not None:
            privileges.drop(user)
        adopt(config)
        listeners.read_certificates(config)
        _spare_the_collector()
        Supervisor(config, listeners, read_again, adopt, work).run(serving)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # at once: threads of other packages, if they have left any, would hold us back


def _nobody_waits() -> None:
    """What to do when ready, for a Moxy in the foreground."""


def serve(
    config: Config,
    listeners: Sequence[Listener],
    ready: Callable[[], None] = _nobody_waits,
    lifeline: int | None = None,
    home: Home | None = None,
) -> None:
    """Serve on listeners that are bound already, in this process, until told to stop. No `home`, no ledger."""
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")  # half may look up names: a dead name server holds each for long
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    ledger = home.open(config, loop) if home is not None else None
    addresses = frozenset(listening.address_of(listener.socket) for listener in listeners)
    parts = assemble(config, addresses, loop, ledger)
    _spare_the_collector()
    # The loop is not closed after: that would wait for names being looked up.
    loop.run_until_complete(worker.serve(parts, listeners, ready, lifeline))


def _spare_the_collector() -> None:
    """What has been loaded stays, and connections leave no cycles: the collector of cycles has little to look for.

    Measured: its default thresholds cost 10 to 20 µs for each connection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def with_port(config: Config, port: int) -> Config:
    """The configuration with every listener for SMTP on `port` instead (`moxy --port`), but for Unix sockets."""
    listeners = {
        name: section if section.protocol == "lmtp" else _moved(section, port)
        for name, section in config.listener.items()
    }
    return config.model_copy(update={"listener": listeners})


def _moved(section: sections.Listener, port: int) -> sections.Listener:
    places = [place if place.local else Endpoint(place.host, port) for place in section.listen]
    return section.model_copy(update={"listen": tuple(dict.fromkeys(places))})
