"""Pool: the connections to one host. Few, reused, proved alive before use, and none of them a surprise.

What to do for a lease is decided at once; only then is anything waited for:

    an idle connection, used a moment ago    taken as it is: its first replies prove it alive, before any promise
    an idle connection, unused for a while   it answers RSET first, or the next one is taken (T24)
    fewer than `connections`                 a new one
    one whose client keeps us waiting        taken from it with RSET; its transaction is told anew when it goes on
    otherwise                                the waiting room, until one is given back

A probe, which only learns what the host offers, counts among them, and ends when mail needs its place.

So a few connections serve any number of slow clients. Last in, first out: what is not needed grows idle and is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Final

from moxy.mail import Host, Session
from moxy.outbound.connect import connect
from moxy.outbound.ground import Ground
from moxy.outbound.profile import Place
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

FRESH: Final = 1.0
"""Seconds after its last use that an idle connection is taken without asking it for a sign of life."""

UNHURRIED: Final = 0.05
"""Seconds that a client may keep a connection waiting before others who need one may have it."""

FORGIVEN: Final = 10.0
"""Seconds for which a host that could not be reached is tried after the others."""

LOCKED_OUT: Final = {replies.NOT_LET_IN: 60.0, replies.NOT_LET_IN_NOW: FORGIVEN}
"""Seconds for which a host that does not let us in is not told our secret again. A wrong one, told with each message,
looks like an attack: accounts are locked for less.
"""


_NOBODY: Final = Session("probe", "")
"""For whom a probe connects: a PROXY header says LOCAL, or UNKNOWN, and EHLO is said in our own name."""


class Pool:
    """The connections to one host."""

    def __init__(self, host: Host, ground: Ground, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.decides = True
        """Does a recipient depend on the host? If not, it gets copies, and what it offers does not count."""
        self._ground = ground
        self._open: set[Upstream] = set()
        self._idle: list[Upstream] = []
        self._waiting: deque[asyncio.Future[Upstream | None]] = deque()
        self._connecting: set[asyncio.Task[Upstream | Reply]] = set()
        self._probe: asyncio.Task[Upstream | Reply] | None = None
        self._cleaning = 0  # connections that are answering RSET, and will be free then
        self._relief: asyncio.TimerHandle | None = None
        self._failed = -FORGIVEN
        self._locked_out_until = 0.0
        self._locked_out_by = replies.NOT_LET_IN

    @property
    def place(self) -> Place:
        """What it is to the profile."""
        return self.settings, str(self.host)

    @property
    def unused(self) -> bool:
        """Is nothing open, nobody waiting, and nothing to be remembered? Then the pool can be forgotten."""
        now = self._ground.loop.time()
        busy = self._open or self._connecting or self._waiting or self._probe
        return not (busy or self._locked_out(now) or self.failing(now))

    def failing(self, now: float) -> bool:
        """Could the host not be reached a moment ago? Then others of its destination come first (T38)."""
        return now - self._failed < FORGIVEN

    def take(self, now: float) -> Upstream | None:
        """The connection used last, if that was a moment ago: most transactions of a busy host need not wait at all."""
        idle = self._idle
        if idle and now - idle[-1].quiet_since < FRESH and idle[-1].lost is None:
            return idle.pop()
        return None

    async def lease(self, session: Session, deadline: float) -> Upstream | Reply:
        """A connection for a transaction of this session, or why there is none; `deadline` is on the loop's clock."""
        loop = self._ground.loop
        while True:
            upstream: Upstream | None
            if self._idle:
                upstream = self._idle.pop()
            elif self._locked_out(loop.time()):
                if not self._open or self.settings.lease == "session":  # there is none that may become free
                    self._make_room()  # nobody else who waits will be let in
                    return self._locked_out_by
                upstream = await self._wait(loop, deadline)
            elif self._has_room():
                return await self._connect(session, loop, deadline)
            else:
                upstream = await self._wait(loop, deadline)
            if upstream is not None and await self._alive(upstream, loop.time()):
                return upstream
            if loop.time() >= deadline:
                return replies.DESTINATION_BUSY

    def _locked_out(self, now: float) -> bool:
        return now < self._locked_out_until

    async def _alive(self, upstream: Upstream, now: float) -> bool:
        if upstream.lost is None and now - upstream.quiet_since >= FRESH:
            (reply,) = await upstream.exchange((b"RSET",), self._ground.prove)
            if not reply.positive:
                upstream.lose(reply)
        return upstream.lost is None

    async def _connect(self, session: Session, loop: asyncio.AbstractEventLoop, deadline: float) -> Upstream | Reply:
        task = loop.create_task(connect(self.host, self._ground, self, self.settings, session, deadline))
        self._connecting.add(task)
        try:
            result = await task
        finally:
            self._connecting.discard(task)
        return self._take_in(result)

    def _take_in(self, result: Upstream | Reply) -> Upstream | Reply:
        """A new connection, or the reply that tells why there is none."""
        if isinstance(result, Upstream):
            if result.lost is None:
                self._open.add(result)
                most = self.settings.transactions
                result.allowed = min(most, result.extensions.transactions or most)
                if self.decides:
                    self._ground.profile.learn(self.settings, self.host, result.extensions, verified=result.verified)
                return result
            result = result.lost
        self._failed = self._ground.loop.time()
        if result in LOCKED_OUT:
            self._locked_out_until = self._failed + LOCKED_OUT[result]
            self._locked_out_by = result
        self._make_room()
        return result

    def _has_room(self) -> bool:
        """May mail have one more connection? A probe gives way."""
        taken = len(self._open) + len(self._connecting)
        if self._probe is not None and taken + 1 == self.settings.connections:
            self._probe.cancel()
        return taken < self.settings.connections

    async def probe(self) -> str:
        """Connect to learn what the host offers (`Ground.profile`). Returns why that could not be, in words that go on
        from its name; or "".

        That also where mail has all connections that there may be, or needs the probe's own: it learns as well. Once
        made, the connection is kept for mail, unless each client has one of its own.
        """
        if self._probe is not None or len(self._open) + len(self._connecting) >= self.settings.connections:
            return ""
        if self._locked_out(self._ground.loop.time()):
            return f"was not reached: {self._locked_out_by}"
        # Without a client there is nobody to speak for by XCLIENT; all other identities can do without.
        settings = replace(self.settings, identity="header") if self.settings.identity == "xclient" else self.settings
        ground = replace(self._ground, probing=True)
        deadline = ground.loop.time() + ground.connect_total
        task = self._probe = ground.loop.create_task(connect(self.host, ground, self, settings, _NOBODY, deadline))
        try:
            await asyncio.wait([task])
        finally:
            self._probe = None
            task.cancel()
        if task.cancelled():
            return ""
        result = self._take_in(task.result())
        if isinstance(result, Reply):
            return ground.objection or f"was not reached: {result}"
        if self.settings.lease == "session":
            result.quit()
        else:
            self._keep(result)
        return ""

    async def _wait(self, loop: asyncio.AbstractEventLoop, deadline: float) -> Upstream | None:
        """Wait in the room: for a connection, or for room to make one (None; also when time runs out)."""
        place: asyncio.Future[Upstream | None] = loop.create_future()
        timer = loop.call_at(deadline, _hand_over, place, None)
        self._waiting.append(place)
        if self._relief is None:
            self._relieve()
        upstream = await place
        timer.cancel()
        if place in self._waiting:
            self._waiting.remove(place)
        return upstream

    def _relieve(self) -> None:
        """While somebody waits: take connections from clients that have kept them waiting, the longest first."""
        self._relief = None
        if not self._waiting:
            return
        loop = self._ground.loop
        long_ago = loop.time() - UNHURRIED
        quiet = [upstream for upstream in self._open if upstream.lent and upstream.quiet_since <= long_ago]
        quiet.sort(key=lambda upstream: upstream.quiet_since)
        if not self._locked_out(loop.time()) and self._has_room():
            self._make_room()  # they were locked out until now
        wanted = len(self._waiting) - self._cleaning
        for upstream in quiet:
            if wanted > 0 and upstream.borrower is not None and upstream.borrower.park():
                wanted -= 1
        self._relief = loop.call_later(UNHURRIED, self._relieve)

    def _make_room(self) -> None:
        """A new connection may be made: the first who waits may try."""
        while self._waiting:
            if _hand_over(self._waiting.popleft(), None):
                return

    def give_back(self, upstream: Upstream, *, clean: bool) -> None:
        """The transaction is over. `clean`: nothing of it is left at the destination; otherwise RSET comes first."""
        upstream.lend(None)
        if upstream.lost is not None:
            return
        if upstream.in_content:
            upstream.lose(replies.DESTINATION_LOST)  # half a message cannot be unsent: no dot, no delivery (T18)
        elif clean:
            self._keep(upstream)
        else:
            self._cleaning += 1
            upstream.request((b"RSET",), self._ground.reply, lambda answers: self._cleaned(upstream, answers[0]))

    def _cleaned(self, upstream: Upstream, reply: Reply) -> None:
        self._cleaning -= 1
        if reply.positive:
            self._keep(upstream)
        else:
            upstream.lose(reply)

    def _keep(self, upstream: Upstream) -> None:
        """Hand it to the first who waits, or keep it idle."""
        if upstream.spent:
            upstream.quit()
            return
        while self._waiting:
            if _hand_over(self._waiting.popleft(), upstream):
                return
        upstream.deadline = upstream.quiet_since + self._ground.idle
        self._idle.append(upstream)

    def ended(self, upstream: Upstream) -> None:
        """A connection has ended, or is about to."""
        if upstream in self._open:
            self._open.discard(upstream)
            if upstream in self._idle:
                self._idle.remove(upstream)
            self._make_room()

    def close(self) -> None:
        """Say QUIT on every idle connection."""
        for upstream in tuple(self._idle):
            upstream.quit()


def _hand_over(place: asyncio.Future[Upstream | None], upstream: Upstream | None) -> bool:
    """Call who waits at `place`; False if nobody does any more."""
    if place.done():
        return False
    place.set_result(upstream)
    return True
