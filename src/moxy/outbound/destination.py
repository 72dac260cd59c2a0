"""SmtpDestination: a mail server, or several that stand in for each other, as somewhere a message can go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Final

from moxy.delivery import Flow
from moxy.mail import Envelope, Mode, Session
from moxy.outbound.anonymous import AnonymousDelivery
from moxy.outbound.forwarding import ForwardingDelivery
from moxy.outbound.ground import Ground
from moxy.outbound.handover import identity
from moxy.outbound.pool import Pool
from moxy.outbound.relay import RelayDelivery
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

_DELIVERIES: Final = {"none": AnonymousDelivery, "xforward": ForwardingDelivery}


class SmtpDestination:
    """The hosts behind one copy of a message: the first that can be reached gets it."""

    def __init__(self, name: str, mode: Mode, pools: Sequence[Pool], settings: Settings, ground: Ground) -> None:
        self.name = name
        self.individual = settings.protocol == "lmtp"
        self.settings = settings
        self.ground = ground
        self._deliver = _DELIVERIES.get(settings.identity, RelayDelivery)
        self._mode = mode
        self._in_order = list(pools)
        self._leased: dict[str, Upstream] = {}  # session id -> connection kept for it
        self.deliveries: set[RelayDelivery] = set()
        """Those under way, with or without a connection."""

    @property
    def pools(self) -> Sequence[Pool]:
        """The pools of its hosts."""
        return self._in_order

    @property
    def unused(self) -> bool:
        """Is nothing under way to it, and no pool of use? Then it can be forgotten and made anew when needed."""
        return not (self.deliveries or self._leased) and all(pool.unused for pool in self._in_order)

    def open(self, session: Session, envelope: Envelope, flow: Flow) -> RelayDelivery:
        """Begin a delivery (see `moxy.delivery`)."""
        delivery = self._deliver(self, session, envelope, flow)
        self.deliveries.add(delivery)
        return delivery

    def take(self, session: Session, now: float, preferred: str = "") -> Upstream | None:
        """A connection that can be had without waiting, if there is one. `preferred` is the host to try first."""
        if self.settings.lease == "session":
            return self._kept(session, preferred)
        return self._candidates(now, preferred)[0].take(now)

    def _kept(self, session: Session, preferred: str) -> Upstream | None:
        """The connection kept for a session, unless another delivery of the same transaction has it.

        Nor if it was made in the name of somebody whom the session is no longer (XCLIENT, another EHLO): T25.
        """
        kept = self._leased.get(session.id)
        if kept is None or kept.lost is not None or kept.lent or kept.carries != identity(self.settings, session):
            return None
        elsewhere = preferred != kept.name and any(preferred == str(pool.host) for pool in self._in_order)
        return None if elsewhere else kept

    async def lease(self, session: Session, deadline: float, preferred: str = "") -> Upstream | Reply:
        """A connection to the first host that can be reached; the last host's reply where none can. After `take`."""
        loop = self.ground.loop
        answer: Upstream | Reply = replies.DESTINATION_UNREACHABLE
        candidates = self._candidates(loop.time(), preferred)
        for tried, pool in enumerate(candidates):
            now = loop.time()
            answer = await pool.lease(
                session, now + (deadline - now) / (len(candidates) - tried)
            )  # leave time for others
            if isinstance(answer, Upstream):
                if self.settings.lease == "session":
                    self._keep(session, answer)
                return answer
            if loop.time() >= deadline:
                break
        return answer

    def give_back(self, session: Session, upstream: Upstream, *, clean: bool) -> None:
        """The transaction is over; see `Pool.give_back`. A session's own connection is kept for it, or closed (T25)."""
        if self.settings.lease == "transaction":
            upstream.owner.give_back(upstream, clean=clean)
            return
        upstream.lend(None)
        kept = self._leased.get(session.id) is upstream  # another one may be by now
        if not kept or upstream.in_content or upstream.spent:
            if kept:
                del self._leased[session.id]
            upstream.quit()
        elif not clean:
            upstream.request((b"RSET",), self.ground.reply, lambda answers: self._judge_reset(upstream, answers[0]))

    def discard(self, session: Session, upstream: Upstream) -> None:
        """Take leave of a connection that cannot take the transaction; it may have begun, but not its content."""
        upstream.lend(None)
        if self._leased.get(session.id) is upstream:
            del self._leased[session.id]
        upstream.quit()

    @staticmethod
    def _judge_reset(upstream: Upstream, reply: Reply) -> None:
        if not reply.positive:
            upstream.lose(reply)

    def _keep(self, session: Session, upstream: Upstream) -> None:
        before = self._leased.get(session.id)
        self._leased[session.id] = upstream
        if before is None:
            session.at_end(partial(self._let_go, session))
        elif not before.lent:
            before.quit()  # it is to another host than is wanted now; one that delivers is closed when it is given back

    def _let_go(self, session: Session) -> None:
        """The client is gone; a connection that still delivers for it is closed when it is given back (T19)."""
        kept = self._leased.pop(session.id, None)
        if kept is not None and not kept.lent:
            kept.quit()

    def _candidates(self, now: float, preferred: str) -> list[Pool]:
        """Hosts in the order in which they are tried: as listed or drawn by weight, those that just failed last.

        The one named `preferred` comes before all.
        """
        pools = self._in_order
        if len(pools) == 1:
            return pools
        if self._mode is Mode.BALANCE:
            pools = sorted(pools, key=lambda pool: random.random() ** (1 / pool.host.weight), reverse=True)  # noqa: S311
        pools = sorted(pools, key=lambda pool: pool.failing(now))
        return sorted(pools, key=lambda pool: str(pool.host) != preferred) if preferred else pools
