"""Prober: learns what destinations offer before mail comes for them, and keeps that knowledge fresh (contract T8).

It connects to the hosts of the routes that can be listed, as mail would, and says no MAIL (`Pool.probe`). What it
learns is the `Profile`'s.

Rules:
- Mail comes first: few probes at once, within the bounds of each host's pool, and one gives way to mail.
- A host that any connection was made to within REFRESHED_SECONDS is not probed. So is nobody whom no route lists.
- Who cannot be reached says nothing about the offer, is tried again after pauses that grow, and is told once (info).
- Bounded: MOST hosts, of all workers together TOGETHER, but LEAST of each; hosts beyond are learned of by use. Each
  worker probes for itself, in an order of its own.
- It owns no task while no probe is under way, and ends at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final

from structlog import get_logger

from moxy.mail import Route
from moxy.outbound.directory import SmtpDirectory
from moxy.outbound.pool import Pool
from moxy.outbound.profile import Place, Profile

MOST: Final = 256
TOGETHER: Final = 1024
LEAST: Final = 16
"""Hosts probed: by a worker, by all of them, and by each of however many."""

AT_ONCE: Final = 8
"""Probes under way, of all workers together; each may have one."""

REFRESHED_SECONDS: Final = 3600.0
"""After which a host is asked again."""

LOOKED_SECONDS: Final = 3.0
"""Between two looks at the routes."""

FIRST_PAUSE_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
"""Between two tries of a host that cannot be reached; each pause is twice the one before."""

log = get_logger("moxy.outbound")


class _Task:
    """A host to be probed."""

    __slots__ = ("due", "pause", "route", "unreached")

    route: Route
    """One that leads there."""

    def __init__(self) -> None:
        self.due = 0.0
        self.pause = FIRST_PAUSE_SECONDS
        self.unreached = ""
        """Why the last try failed."""


class Prober:
    """Probes the hosts of `routes()`, a cheap question. `workers` do so beside each other."""

    def __init__(
        self,
        directory: SmtpDirectory,
        profile: Profile,
        routes: Callable[[], Iterable[Route]],
        workers: int = 1,
    ) -> None:
        self._directory = directory
        self._profile = profile
        self._routes = routes
        self._most = max(LEAST, min(MOST, TOGETHER // workers))
        self._at_once = max(1, AT_ONCE // workers)
        self._seen: tuple[Route, ...] = ()
        self._look_at = float("-inf")
        self._places: dict[Place, _Task] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._busy: set[Place] = set()

    def tick(self) -> None:
        """Begin what is due. A chore of the Sweeper, once a second."""
        now = self._profile.clock()
        if now >= self._look_at:
            self._look_at = now + LOOKED_SECONDS
            self._look()
        self._begin_due()

    async def first_round(self, patience: float) -> None:
        """Probe every host once, as far as that is done within so many seconds. The others go on."""
        self.tick()
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while self._running and (left := end - loop.time()) > 0:
            await asyncio.wait(self._running, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def stop(self) -> None:
        """Probe no more, and end what is under way."""
        self._at_once = 0
        for task in self._running:
            task.cancel()

    @property
    def unreached(self) -> list[tuple[str, str]]:
        """Hosts that could not be asked when they were tried last, and why, in words that go on from the name. One with
        several settings is there for each.
        """
        return [(place[1], task.unreached) for place, task in self._places.items() if task.unreached]

    def _look(self) -> None:
        """Which hosts are there now?"""
        routes = tuple(self._routes())
        if routes == self._seen:
            return
        self._seen = routes
        places: dict[Place, _Task] = {}
        for place, route in islice(self._hosts(routes), self._most):
            places[place] = self._places.get(place) or _Task()
            places[place].route = route
        for gone in self._places.keys() - places.keys():
            self._profile.forget(gone)
        order = list(places.items())
        random.shuffle(order)  # so that workers do not all knock at the same door
        self._places = dict(order)

    def _hosts(self, routes: Iterable[Route]) -> Iterator[tuple[Place, Route]]:
        """All hosts, each once, and a route that leads there."""
        found: set[Place] = set()
        for route in routes:
            for pool in self._pools(route):
                if pool.place not in found:
                    found.add(pool.place)
                    yield pool.place, route

    def _pools(self, route: Route) -> Iterable[Pool]:
        return (pool for destination in self._directory.destinations(route) for pool in destination.pools)

    def _begin_due(self) -> None:
        now = self._profile.clock()
        for place, task in self._places.items():
            if len(self._running) >= self._at_once:
                return
            if task.due <= now and place not in self._busy:
                self._begin(place, task, now)

    def _begin(self, place: Place, task: _Task, now: float) -> None:
        heard = self._profile.heard(place)
        if heard is not None and now - heard < REFRESHED_SECONDS:
            task.due = heard + REFRESHED_SECONDS
            return
        self._busy.add(place)
        running = asyncio.get_running_loop().create_task(self._probe(place, task))
        self._running.add(running)
        running.add_done_callback(partial(self._done, place))

    def _done(self, place: Place, running: asyncio.Task[None]) -> None:
        self._busy.discard(place)
        self._running.discard(running)
        if not running.cancelled():
            running.result()
            self._begin_due()

    async def _probe(self, place: Place, task: _Task) -> None:
        pool = next(pool for pool in self._pools(task.route) if pool.place == place)
        objection = await pool.probe()
        now = self._profile.clock()
        if objection:
            self._put_off(place, task, objection, now)
            return
        if task.unreached:
            log.info("destination_probed", destination=place[1])
        task.unreached, task.pause, task.due = "", FIRST_PAUSE_SECONDS, now + FIRST_PAUSE_SECONDS
        if place not in self._places:  # meanwhile its route has gone
            self._profile.forget(place)

    @staticmethod
    def _put_off(place: Place, task: _Task, objection: str, now: float) -> None:
        if not task.unreached:
            log.info("destination_not_probed", destination=place[1], reason=objection)
        task.unreached = objection
        task.due = now + task.pause
        task.pause = min(2 * task.pause, LONGEST_PAUSE_SECONDS)
