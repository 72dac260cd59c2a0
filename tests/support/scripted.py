"""Destinations by script, and a proxy that breaks connections, in a thread: for tests that wait for other programs.

Rules: a test may change `answers` and read what was kept at any time; what acts on connections goes through `run`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from support.destination import Answer, Destination
from support.faults import FaultProxy
from support.processes import PATIENCE

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, T]], T]


@contextmanager
def loop_in_thread() -> Iterator[Run]:
    """An event loop in a thread of its own; what it gives runs a coroutine there, and waits for it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted")
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


@contextmanager
def scripted_destinations(count: int) -> Iterator[list[Destination]]:
    """So many destinations, each on a free port, that say yes to everything until told otherwise."""
    destinations = [Destination() for _ in range(count)]
    with loop_in_thread() as run:
        try:
            for destination in destinations:
                run(destination.start())
            yield destinations
        finally:
            for destination in destinations:
                run(destination.stop())


@contextmanager
def fault_proxy(target: int) -> Iterator[FaultProxy]:
    """A proxy before the server on this port of loopback, without a fault yet. Exim's half-closes go through it."""
    proxy = FaultProxy(target)
    proxy.half_closes = True
    with loop_in_thread() as run:
        run(proxy.start())
        try:
            yield proxy
        finally:
            run(proxy.stop())


def by_attempt(*answers: Answer) -> Callable[[str], Answer]:
    """The first answer the first time, and so on; the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def release(destination: Destination, answer: Answer) -> None:
    """Give the answer that silence withheld, from another thread."""
    assert destination._server is not None
    destination._server.get_loop().call_soon_threadsafe(destination.release, answer)
