"""One event loop at work: accept, serve, and stop without losing a message.

    SIGTERM   no new client; transactions under way may finish, then 421 (`serving.stop`)
    SIGUSR2   no new client; those who are here finish their sessions, and then as above. So an old configuration ends
    SIGUSR1   open the logs anew

It also stops when its lifeline, the end of a pipe, says that who started it is gone.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Final

from structlog import get_logger

from moxy.net.listening import Listener
from moxy.process import serving
from moxy.process.assembly import Parts

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

FIRST_ROUND: Final = 2.0
"""Seconds to learn what destinations offer, before clients are offered anything: a sender who does not find SMTPUTF8
gives up. After a reload the old workers serve meanwhile.
"""

log = get_logger("moxy")


async def serve(
    parts: Parts, listeners: Sequence[Listener], ready: Callable[[], None], lifeline: int | None = None
) -> None:
    """Serve on `listeners` until told to stop; then drain and close everything. `ready`: the first client may come."""
    loop = asyncio.get_running_loop()
    stop, retire = asyncio.Event(), asyncio.Event()
    for number, heed in zip(SIGNALS, (stop.set, stop.set, parts.recorder.reopen, retire.set), strict=True):
        loop.add_signal_handler(number, heed)
    if lifeline is not None:
        loop.add_reader(lifeline, _orphaned, loop, lifeline, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # blocked by who started us, until we could heed them
    await parts.prober.first_round(FIRST_ROUND)
    servers = await serving.accept(parts.service, listeners)
    ready()
    await _first(stop, retire)
    parts.prober.stop()
    log.info("draining", clients=len(parts.service.connections))
    if not stop.is_set():
        await serving.retire(parts.service, servers, stop, parts.drain)
    await serving.stop(parts.service, servers, parts.drain)
    parts.directory.close()
    parts.service.ledger.close()
    parts.recorder.close()
    parts.service.routes.close()


def _orphaned(loop: asyncio.AbstractEventLoop, lifeline: int, stop: asyncio.Event) -> None:
    loop.remove_reader(lifeline)  # or its end would be told again and again
    stop.set()


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
