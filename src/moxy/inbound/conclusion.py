"""Conclusion: from the client's dot to what it is told, and to what is known of it when it comes again.

    who need not be asked   has the message already, is about to get it, or has failed before the dot
    the dots                in the order of commit (`commit`)
    the verdicts            on each recipient, from its own destinations (`combine`)
    the reply               one for all, or one for each where the client takes that (D6)
    before it is heard      doubts and disagreements are in the ledger (D7, D8)
    afterwards              has the client got it?

Rules:
- Nobody hears of a verdict before the ledger has what a retry may need.
- What is said for all is true for each, or it is "come again" (D7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from moxy.accounting.record import Outcome
from moxy.delivery.combine import of_all, of_recipient, refusal, verdict
from moxy.inbound import commit
from moxy.inbound.account import Account
from moxy.inbound.leg import NO_PAST, Leg
from moxy.inbound.memory import Memory
from moxy.inbound.recipients import Recipients
from moxy.mail import Envelope, Session
from moxy.smtp import replies
from moxy.smtp.reply import Replies, Reply

if TYPE_CHECKING:
    from moxy.inbound.service import Service


AT_ONCE: Final = 14_600
"""Up to so many octets of content wait for the turn of their dot, and leave with it in one write: they arrive as soon
as the dot alone would, in TCP's first window (RFC 6928).
"""

SOON: Final = 1.0
"""Seconds after its dot within which a client still waits for the reply, even if it sends no more, as Exim does. Later
it may have lost patience.
"""


class Conclusion:
    """The end of one transaction with a message, or at DATA where destinations want none."""

    __slots__ = (
        "_account", "_begun", "_each", "_legs", "_lmtp", "_memory", "_over", "_recipients", "_service", "_told", "late",
    )  # fmt: skip

    def __init__(
        self,
        service: Service,
        session: Session,
        envelope: Envelope,
        recipients: Recipients,
        account: Account,
        memory: Memory,
    ) -> None:
        self._service = service
        self._lmtp = session.lmtp
        self._each = envelope.each
        self._recipients = recipients
        self._account = account
        self._memory = memory
        self._legs = tuple(recipients.legs.values())
        self._begun = service.clock()
        self._over = False  # have all verdicts come that are going to come?
        self.late = False
        """Has the client waited for our verdict for longer than SOON? It may have lost patience."""
        self._told: Sequence[Reply | None] = ()  # the verdict on each recipient, if the client is told so

    # -- the dots

    async def commit(self) -> Reply | Replies:
        """All content has come, and nothing local speaks against it: have the destinations' verdicts, and give ours."""
        commits = self._service.commits
        commits.add(self)
        try:
            pending = self._still_to_be_asked()
            if len(self._legs) > 1:
                await self._send_dots(pending)
            elif pending:
                leg = pending[0]
                self._heard(leg, await leg.delivery.finish(self._service.final))
            self._over = True
            self.late = self._service.clock() - self._begun > SOON
            self._memory.arrived(self._legs)
            if self._each:
                return await self._tell_each()
            return self._said_alike() or await self.tell_all()
        except BaseException:
            self._break_off()
            raise
        finally:
            commits.discard(self)

    def _still_to_be_asked(self) -> list[Leg]:
        pending = []
        for leg in self._legs:
            if (leg.past is not NO_PAST and self._settled_before(leg)) or leg.answers:
                continue
            failure = leg.delivery.failure
            if failure is None:
                pending.append(leg)
            else:
                self._account.refused(leg, failure)
        return pending

    def _settled_before(self, leg: Leg) -> bool:
        """Conclude a leg whose recipients have this very message already, or get it just now (D7, D8). Was it one?"""
        message = self._memory.message
        if message in leg.past.committed:
            self._suppress(leg)
            return True
        if message in leg.past.under_way:
            self._account.refused(leg, replies.UNDER_WAY)
            return True
        return False

    def _suppress(self, leg: Leg) -> None:
        """A second copy does not go out."""
        delivery = leg.delivery
        delivery.abort()
        leg.conclude([replies.ALREADY_ACCEPTED] * len(delivery.recipients))
        self._account.record(delivery, Outcome.SUPPRESSED, replies.ALREADY_ACCEPTED, delivery.recipients)

    async def _send_dots(self, pending: Sequence[Leg]) -> None:
        """Have a verdict of as many deliveries as is right."""
        if self._account.octets > AT_ONCE:  # let them have all of it while another one thinks
            for leg in pending:
                leg.delivery.flush()
        pending = self._service.order.sorted(pending)
        accepted, budget = self._recipients.accepted, self._service.final
        if not self._each:
            await commit.in_order(pending, accepted, self._legs, self._send_dot, budget)
        elif all(len(own) == 1 for _, _, own in accepted):
            await commit.at_once(pending, self._send_dot, budget)
        else:
            await commit.one_by_one(pending, accepted, self._send_dot, budget)

    async def _send_dot(self, leg: Leg, patience: float) -> None:
        self._heard(leg, await leg.delivery.finish(patience))
        if leg.accepted and [other for other in self._legs if not other.answers]:
            self._service.slow.call(asyncio.get_running_loop(), self._note_progress)

    def _heard(self, leg: Leg, answers: Sequence[Reply]) -> None:
        delivery = leg.delivery
        leg.conclude(answers, delivery.unanswered)
        self._account.concluded(leg)
        self._service.order.learn(delivery.name, refused=not leg.accepted)

    def _note_progress(self) -> None:
        """Somebody has the message while others still think about it: to be known, even if we come to no end."""
        if not self._over:
            self._memory.note([leg for leg in self._legs if leg.accepted], at_once=True)

    # -- the reply

    def _said_alike(self) -> Reply | None:
        """The verdict where one destination has spoken for all, or several have accepted the message for everybody.

        The usual cases, and a short way through them.
        """
        legs, recipients = self._legs, self._recipients
        if recipients.copies is not None:
            return None
        for leg in legs:
            reply = leg.unanimous
            if reply is None or leg.unanswered:
                return None
            if not reply.positive and (len(legs) > 1 or (reply.transient and self._takes_turns)):
                return None
        reply = recipients.accepted[0][2][0].answers[0]
        self._told = [reply] * len(recipients.accepted)
        return reply

    @property
    def _takes_turns(self) -> bool:
        """Are recipients asked one way at a time, so that others wait while these are put off by their destination?"""
        return self._recipients.apart or bool(self._recipients.put_off)

    async def tell_all(self) -> Reply:
        """One reply for all recipients."""
        told = self._verdicts()
        reply = verdict(told)
        self._part_with_the_others(told)
        if not _is_true_for_all(reply, told) or (reply.transient and _somebody_has_it(self._legs)):
            await self._memory.write(self._legs)
        else:
            self._told = told
            await self._memory.write_doubts(self._legs)
        await self._hand_on_the_turn(told)
        return reply

    async def _hand_on_the_turn(self, told: Sequence[Reply | None]) -> None:
        """Who is put off by its destination lets those go first the next time whom we put off for it."""
        if self._takes_turns and any(reply is not None and reply.transient for reply in told):
            accepted = [recipient for _, recipient, _ in self._recipients.accepted]
            await self._memory.had_their_turn(self._legs, accepted, self._recipients.put_off)

    async def _tell_each(self) -> Reply | Replies:
        """A reply for each recipient, as LMTP and PRDR have them (D6)."""
        self._told = told = [answer or replies.MIXED_VERDICTS for answer in self._verdicts()]
        self._part_with_the_others(told)
        ways = [own for _, _, own in self._recipients.accepted]
        if any(reply.transient and _somebody_has_it(own) for own, reply in zip(ways, told, strict=True)):
            await self._memory.write(self._legs, apart=False)
        else:
            await self._memory.write_doubts(self._legs)
        await self._hand_on_the_turn(told)
        last = of_all(told)
        if self._lmtp:
            return Replies(told, last)
        return Replies([replies.PRDR_BEGINS, *told, last], last) if len(told) > 1 else told[0]

    def _verdicts(self) -> list[Reply | None]:
        return [
            own[0].answer(recipient) if len(own) == 1 else of_recipient([leg.answer(recipient) for leg in own])
            for _, recipient, own in self._recipients.accepted
        ]

    def _part_with_the_others(self, told: Sequence[Reply | None]) -> None:
        """Those whom nobody asked for a verdict; and the copies, unless there is something to be copied."""
        why = refusal(told) or replies.MIXED_VERDICTS
        for leg in self._legs:
            if not leg.concluded:
                self._account.given_up(leg, why)
        copies = self._recipients.copies
        if copies is None:
            return
        accepted = [reply is not None and reply.positive for reply in told]
        if any(accepted) if self._each else all(accepted):
            recipients = [recipient for _, recipient, _ in self._recipients.accepted]
            copies.commit({one: reply for one, reply in zip(recipients, told, strict=True) if reply is not None}, why)
        else:
            copies.abort(why)

    # -- afterwards

    def settle(self) -> None:
        """The client has our reply: the matter is closed, but for those who were told to come again."""
        if self._memory.used:
            told = zip(self._recipients.accepted, self._told, strict=False)
            final = [recipient for (_, recipient, _), reply in told if reply is not None and not reply.transient]
            self._memory.settle(final)

    def doubt(self) -> None:
        """Whether the client has it will be known in a moment."""
        if self._told:
            self._memory.note(self._legs)

    def keep(self) -> None:
        """The client may not have it."""
        self._memory.lost = True
        if self._told:
            copies = self._recipients.copies
            self._memory.keep([*self._legs, *(copies.concluded if copies is not None else ())])

    def left_waiting(self, *, surely: bool) -> None:
        """Nobody waits for it any more; the destinations may still accept the message (T17, T19).

        Some send no more as soon as they have sent the dot, and wait. Who does so later has lost patience.
        """
        if self._over:
            self.keep()  # there was one, and it may not have come; they were asking for something else
            return
        impatient = self._service.clock() - self._begun > SOON
        self._memory.note_under_way(self._legs, at_once=surely or impatient)

    def broken(self) -> Reply | Replies:
        """What is answered to the dot where we failed to answer it."""
        return self._recipients.to_all(replies.INTERNAL_ERROR)

    def _break_off(self) -> None:
        """Our own bug: whatever was not committed yet must not stay open, and what was must be known."""
        for leg in self._legs:
            if not leg.concluded:
                self._account.given_up(leg, replies.INTERNAL_ERROR)
        if self._recipients.copies is not None:
            self._recipients.copies.abort(replies.INTERNAL_ERROR)
        self._memory.keep(self._legs)


def _is_true_for_all(reply: Reply, told: Sequence[Reply | None]) -> bool:
    """Does the one reply say for each recipient what its own verdict says?"""
    return all(answer is not None and answer.code // 100 == reply.code // 100 for answer in told)


def _somebody_has_it(legs: Sequence[Leg]) -> bool:
    return any(leg.accepted for leg in legs)
