"""Copies: deliveries that no recipient depends on (`best_effort`). Their failures are recorded, and told to no client.

They are asked with the others, and nobody waits for their answers but for a moment before content begins: who is not
ready then gets no copy. They set the pace of content like all, but for a shorter while. Their dots come last, when all
those who count have accepted the message (contract D5), and the client does not wait for what they say to it.

Bugs: a recipient that was put off while others of its copy were accepted, and comes again before the copy has been
answered, may have it twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from moxy.accounting.record import Outcome
from moxy.delivery import Flow
from moxy.inbound.account import Account
from moxy.inbound.leg import NO_PAST, Leg
from moxy.inbound.memory import Memory
from moxy.mail import Recipient
from moxy.net.steps import in_background
from moxy.smtp import replies
from moxy.smtp.reply import Reply

if TYPE_CHECKING:
    from moxy.inbound.service import Service

PATIENCE: Final = 2.0
"""Seconds that content waits for copies to be ready."""

STALLED: Final = 5.0
"""Seconds that a copy may hold all others up."""


class Copies:
    """The copies of one message. `flow` is the client's."""

    def __init__(self, service: Service, account: Account, memory: Memory, flow: Flow) -> None:
        self._service = service
        self._account = account
        self._memory = memory
        self._legs: dict[object, Leg] = {}
        self._asked: dict[Leg, int] = {}  # questions about recipients that wait for their answers
        self._unwanted: set[Recipient] = set()
        self._refused: list[tuple[Leg, Recipient, Reply]] = []
        self._calm: asyncio.Future[None] | None = None
        self._in_content: list[Leg] = []
        self._over = False
        self._reader = flow
        self.flow: Final = Flow(flow.block, flow.unblock)
        """Theirs: through the client's, until their dots."""

    # -- before content

    def leg(self, key: object, make: Callable[[], Leg]) -> Leg:
        """The leg that is known by `key`, made if there is none."""
        leg = self._legs.get(key)
        if leg is None:
            leg = self._legs[key] = make()
            leg.delivery.stalled = STALLED
        return leg

    def offer(self, leg: Leg, recipient: Recipient) -> None:
        """Ask for a copy for a recipient. It is a guess until the recipient itself is accepted."""
        self._ask(leg, self._offer(leg, recipient))

    async def _offer(self, leg: Leg, recipient: Recipient) -> None:
        reply = await leg.delivery.rcpt(recipient)
        if not reply.positive:
            self._refused.append((leg, recipient, reply))
        elif recipient in self._unwanted:
            leg.delivery.withdraw(recipient)

    def withdraw(self, recipient: Recipient) -> None:
        """The recipient was refused: no copy for it either."""
        self._unwanted.add(recipient)
        for leg in self._legs.values():
            if recipient in leg.delivery.recipients:
                leg.delivery.withdraw(recipient)

    async def begin(self) -> None:
        """All those who count are ready for content: take along who is so in a moment."""
        await self._until_calm()
        for leg, recipient, reply in self._refused:
            if recipient not in self._unwanted:
                self._account.record(leg.delivery, Outcome.REFUSED, reply, [recipient])
        silent = [leg for leg, questions in self._asked.items() if questions]
        for leg in silent:
            del self._asked[leg]
            self._give_up(leg, replies.DESTINATION_SILENT)
        waiting = [leg for leg in self._legs.values() if leg not in silent]
        for leg in waiting:
            if leg.delivery.recipients:
                self._ask(leg, self._data(leg))
        await self._until_calm()
        if not self._over:
            for leg in waiting:
                if leg not in self._in_content:
                    self._give_up(leg, replies.DESTINATION_SILENT)

    async def _data(self, leg: Leg) -> None:
        reply = await leg.delivery.data()
        if reply.code == replies.START_MAIL_INPUT.code and not self._over:
            self._in_content.append(leg)

    def _ask(self, leg: Leg, question: Coroutine[Any, Any, None]) -> None:
        self._asked[leg] = self._asked.get(leg, 0) + 1
        in_background(self._answered(leg, question))

    async def _answered(self, leg: Leg, question: Coroutine[Any, Any, None]) -> None:
        try:
            await question
        finally:
            if leg in self._asked:
                self._asked[leg] -= 1
            if self._calm is not None and not self._calm.done() and not any(self._asked.values()):
                self._calm.set_result(None)

    async def _until_calm(self) -> None:
        """Until all questions are answered, or PATIENCE has passed."""
        if not any(self._asked.values()):
            return
        loop = asyncio.get_running_loop()
        calm = self._calm = loop.create_future()
        timer = loop.call_later(PATIENCE, _give_up_waiting, calm)
        await calm
        timer.cancel()
        self._calm = None

    # -- content

    def write(self, block: bytes) -> None:
        """Content, for those who take it."""
        for leg in self._in_content:
            leg.delivery.write(block)

    def flush(self) -> None:
        """Let out what `write` has gathered."""
        for leg in self._in_content:
            leg.delivery.flush()

    def breaks_off(self) -> None:
        """The content does not end in CRLF."""
        for leg in self._in_content:
            leg.delivery.breaks_off()

    # -- the end

    def commit(self, told: Mapping[Recipient, Reply], why: Reply) -> None:
        """Those who count have the message: the copies get their dots, unless they have it from before.

        Where each was `told` a verdict of its own, a copy whose recipients were all refused ends without a dot, because
        of `why`.
        """
        self._let_the_client_go()
        for leg in self._in_content:
            if not any(told[recipient].positive for recipient in leg.delivery.recipients):
                self._account.given_up(leg, why)
            elif leg.past is not NO_PAST and self._memory.message in leg.past.committed:
                leg.delivery.abort()
                self._account.record(
                    leg.delivery, Outcome.SUPPRESSED, replies.ALREADY_ACCEPTED, leg.delivery.recipients
                )
            else:
                self._service.commits.add(leg)
                in_background(self._commit(leg, told))

    def _let_the_client_go(self) -> None:
        """It has its verdict, and is read on however slowly a copy goes out."""
        self._over = True
        if self.flow.blocked:
            self._reader.unblock()
        self.flow.release()

    async def _commit(self, leg: Leg, told: Mapping[Recipient, Reply]) -> None:
        try:
            answers = await leg.delivery.finish(self._service.final)
            leg.conclude(answers, leg.delivery.unanswered)
            self._account.concluded(leg)
            if self._memory.lost:  # the client has gone without our verdict, and will come again
                self._memory.keep([leg])
            elif put_off := [recipient for recipient in leg.delivery.recipients if told[recipient].transient]:
                await self._memory.copied(leg, put_off)
        finally:
            self._service.commits.discard(leg)

    @property
    def concluded(self) -> list[Leg]:
        """Those who have given their verdict on the dot."""
        return [leg for leg in self._legs.values() if leg.concluded]

    def abort(self, why: Reply) -> None:
        """There is no message to be copied."""
        if self._over:
            return
        self._over = True
        for leg in self._legs.values():
            if leg in self._in_content:
                self._account.given_up(leg, why)
            else:
                leg.delivery.abort()

    def _give_up(self, leg: Leg, why: Reply) -> None:
        if leg.delivery.recipients:
            self._account.given_up(leg, why)
        else:
            leg.delivery.abort()


def _give_up_waiting(calm: asyncio.Future[None]) -> None:
    if not calm.done():
        calm.set_result(None)
