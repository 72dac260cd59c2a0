"""Recipients: whom a transaction is for, and the legs that their mail takes.

Rules:
- A recipient is accepted if every destination of its own accepts it (D2).
- Those who have a message already, those for whom it is under way, and those who have not, never share a delivery (D7).
- Where destinations disagreed before (D7), and where the operator wants it (`spread = "first"`, D9), recipients are
  asked one after the other, and only those who go where the first one goes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from moxy.delivery import Destination, Flow
from moxy.delivery.combine import refusal
from moxy.inbound.account import Account
from moxy.inbound.copies import Copies
from moxy.inbound.leg import NO_PAST, Accepted, Leg
from moxy.inbound.memory import NOTHING, Known, Memory, PutOff, Way
from moxy.mail import Envelope, Recipient, Route, Session
from moxy.net.steps import together
from moxy.smtp import replies
from moxy.smtp.reply import Replies, Reply

if TYPE_CHECKING:
    from moxy.inbound.service import Service

Legs = tuple[Leg, ...]

TOO_MANY: Final = replies.TOO_MANY_RECIPIENTS.code
TRY_AGAIN: Final = 451

_NO_WAYS: Final[frozenset[Way]] = frozenset()


class Recipients:
    """The recipients of one transaction."""

    __slots__ = (
        "_account", "_alone", "_asking", "_envelope", "_flow", "_memory", "_numbered", "_recalled", "_service",
        "_session", "_stepped_back", "_turns", "accepted", "apart", "copies", "legs", "put_off", "refusal",
    )  # fmt: skip

    def __init__(
        self, service: Service, session: Session, envelope: Envelope, flow: Flow, account: Account, memory: Memory
    ) -> None:
        self._service = service
        self._session = session
        self._envelope = envelope
        self._flow = flow
        self._account = account
        self._memory = memory
        self._numbered = 0  # asked for
        self._asking = 0  # those of them that wait for their answers
        self._alone = service.spread_first  # do only those of one and the same way belong here?
        self._turns: deque[asyncio.Future[None]] | None = None
        self._recalled: asyncio.Future[None] | None = None  # is somebody being looked up? Then when that is done
        self._stepped_back = _NO_WAYS  # the ways of those who were first before, and let others go
        self.legs: dict[object, Leg] = {}
        self.accepted: list[Accepted] = []
        """In the order of their answers, and from DATA on in that of their RCPTs."""
        self.apart = False
        """Is one of them asked alone because destinations disagreed when it came with others?"""
        self.put_off: tuple[PutOff, ...] = ()
        """Those who are to come after."""
        self.copies: Copies | None = None
        self.refusal: Reply | None = None
        """What everybody is told from now on."""

    async def ask(self, recipient: Recipient, route: Route) -> Reply:
        """Ask every destination of the route."""
        if self.refusal is not None:
            return self.refusal
        self._numbered += 1
        number = self._numbered
        known = NOTHING
        if self._recalled is not None or self._memory.concerns(recipient):
            known = await self._recall(recipient)
            if self.refusal is not None:  # given up while we waited
                return self.refusal
            if known.apart and not self._envelope.each:
                self.apart = self._alone = True
        if self._alone:
            return await self._ask_alone(number, recipient, route, known)
        self._asking += 1
        legs = self._legs_of(recipient, route, known)
        answer = await (legs[0].delivery.rcpt(recipient) if len(legs) == 1 else _ask_all(legs, recipient))
        reply = self._heard(number, recipient, legs, known, answer)
        self._asking -= 1
        if self._turns:
            self._pass_the_turn()
        return reply

    async def _recall(self, recipient: Recipient) -> Known:
        """What the ledger knows of it. Nobody overtakes who was asked for before, since it matters who is first."""
        before, done = self._recalled, asyncio.get_running_loop().create_future()
        self._recalled = done
        if before is not None:
            await before
        known = await self._memory.recall(recipient) if self._memory.concerns(recipient) else NOTHING
        if self._recalled is done:
            self._recalled = None
        done.set_result(None)
        return known

    def to_all(self, reply: Reply) -> Reply | Replies:
        """The reply to the dot where it is the same for all: LMTP has it once for each of those accepted."""
        each = self._session.lmtp and self.accepted
        return Replies([reply] * len(self.accepted), reply) if each else reply

    # -- one after the other

    async def _ask_alone(self, number: int, recipient: Recipient, route: Route, known: Known) -> Reply:
        if self._asking or self._turns:
            self._turns = deque() if self._turns is None else self._turns
            turn = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            await turn
        else:
            self._asking += 1
        reply = await self._ask_in_turn(number, recipient, route, known)
        self._asking -= 1
        self._pass_the_turn()
        return reply

    async def _ask_in_turn(self, number: int, recipient: Recipient, route: Route, known: Known) -> Reply:
        destinations = self._service.directory.destinations(route)
        first = await self._has_its_turn(destinations, known)
        if not (first and self._goes_with_the_others(recipient, destinations, known)):
            self.put_off += ((recipient, destinations),)
            return replies.SPLIT
        if self.refusal is not None:  # given up while we waited
            return self.refusal
        legs = self._legs_of(recipient, route, known)
        return self._heard(number, recipient, legs, known, await _ask_all(legs, recipient))

    def _pass_the_turn(self) -> None:
        if self._turns and not self._asking:
            self._asking += 1
            self._turns.popleft().set_result(None)

    async def _has_its_turn(self, destinations: Sequence[Destination], known: Known) -> bool:
        """Who is first goes first, but not time after time: then it steps back, and all who go its way."""
        if self.accepted or not known.apart:
            return True
        individual = any(destination.individual for destination in destinations)
        way = known.way(individual)
        if way not in self._stepped_back and await self._memory.yields(known, self._stepped_back, individual):
            self._stepped_back |= {way}
        return way not in self._stepped_back

    def _goes_with_the_others(self, recipient: Recipient, destinations: Sequence[Destination], known: Known) -> bool:
        keys = [_key(destination, recipient, known) for destination in destinations]
        return all([leg.key for leg in legs] == keys for _, _, legs in self.accepted)

    # -- asking

    def _legs_of(self, recipient: Recipient, route: Route, known: Known) -> Legs:
        directory = self._service.directory
        destinations = directory.destinations(route)
        if route.best_effort:
            self._offer_copies(directory.copies(route), recipient, known)
        if len(destinations) == 1:
            return (self._leg(destinations[0], recipient, known),)
        return tuple([self._leg(destination, recipient, known) for destination in destinations])

    def _heard(self, number: int, recipient: Recipient, legs: Legs, known: Known, reply: Reply) -> Reply:
        """All destinations of a recipient have answered; returns what it is told."""
        if reply.positive:
            self.accepted.append((number, recipient, legs))
            return reply
        if self.copies is not None:
            self.copies.withdraw(recipient)
        if reply.permanent and known is not NOTHING:
            self._memory.refused(known)
        if reply.code == TOO_MANY and len(self.legs) > 1:
            # Exim lets those whom 452 puts off share a 5xx that the others get later; here it comes from elsewhere.
            return reply.with_code(TRY_AGAIN)
        return reply

    def _leg(self, destination: Destination, recipient: Recipient, known: Known) -> Leg:
        key = destination if known is NOTHING else _key(destination, recipient, known)
        leg = self.legs.get(key)
        if leg is None:
            leg = self.legs[key] = self._open(destination, key, known, self._flow)
        return leg

    def _open(self, destination: Destination, key: object, known: Known, flow: Flow) -> Leg:
        delivery = destination.open(self._session, self._envelope, flow)
        if known is NOTHING:
            return Leg(key, delivery, NO_PAST)
        delivery.prefer(known.unknown_at(destination.name))
        return Leg(key, delivery, known.past_at(destination.name))

    def _offer_copies(self, destinations: Sequence[Destination], recipient: Recipient, known: Known) -> None:
        copies = self.copies
        if copies is None:
            copies = self.copies = Copies(self._service, self._account, self._memory, self._flow)
        for destination in destinations:
            key = _key(destination, recipient, known)
            make = partial(self._open, destination, key, known, copies.flow)
            copies.offer(copies.leg(key, make), recipient)

    def drop_empty_legs(self) -> None:
        """Content is about to begin: let those go who accepted nobody."""
        for key, leg in tuple(self.legs.items()):
            if not leg.delivery.recipients:
                del self.legs[key]
                leg.delivery.abort()


def _key(destination: Destination, recipient: Recipient, known: Known) -> object:
    """Recipients with equal keys share a delivery: the same destination, the same past there.

    Who is to be asked alone at a destination that gives each recipient a verdict of its own shares with nobody.
    """
    if known is NOTHING:
        return destination
    past = known.past_at(destination.name)
    alone = recipient.path.key if destination.individual and known.apart else ""
    return (destination, past, alone) if any(past) or alone else destination


async def _ask_all(legs: Legs, recipient: Recipient) -> Reply:
    answers = await together([leg.delivery.rcpt(recipient) for leg in legs])
    refused = refusal(answers)
    if refused is None:
        return answers[0]
    for leg, answer in zip(legs, answers, strict=True):
        if answer.positive:
            leg.delivery.withdraw(recipient)
    return refused
