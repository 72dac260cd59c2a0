"""Transaction: one envelope, one delivery for each of its destinations, the held dot and the ordered commit.

The promise is kept here (contract §1, §2). Everything passes on as it comes except the final dot: it is held until
nothing local speaks against the message, then given to one delivery after another.

Rules:
- A destination gets an end of data only after the client sent one, and never after anything said no (P2, D4).
- 2xx to the client only when every delivery of every accepted recipient answered 2xx to its dot (P1).
- From the client's dot on, the client's leaving changes nothing: the verdicts still count (T19).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from moxy.accounting.record import Outcome, Record
from moxy.delivery import Delivery, Destination, Flow
from moxy.delivery.combine import refusal, verdict
from moxy.mail import Envelope, Recipient, Route, Session
from moxy.message.trace import HopCounter, received
from moxy.smtp import replies
from moxy.smtp.reply import Reply

if TYPE_CHECKING:
    from moxy.inbound.service import Service


class Transaction:
    """One mail transaction (RFC 5321 §3.3), from an accepted MAIL to the verdict on its final dot."""

    __slots__ = (
        "_asked_for_data", "_deliveries", "_finishing", "_flow", "_hops", "_octets", "_refusal", "_service",
        "_session", "_started", "_trace", "envelope",
    )  # fmt: skip

    def __init__(self, service: Service, session: Session, envelope: Envelope, flow: Flow) -> None:
        self._service = service
        self._session = session
        self._flow = flow
        self._deliveries: dict[Destination, Delivery] = {}
        self._refusal: Reply | None = None  # why the message cannot be delivered any more
        self._asked_for_data = False
        self._finishing = False
        self._octets = 0  # of content, so far
        self._started = service.clock()
        self._trace = b""  # ours, until it is written
        self._hops: HopCounter
        self.envelope = envelope

    # -- recipients

    async def rcpt(self, recipient: Recipient, route: Route) -> Reply:
        """Ask every destination of the route; the recipient is accepted if all of them accept it (D2)."""
        if self._refusal is not None:
            return self._refusal
        destinations = self._service.directory.destinations(route)
        if len(destinations) == 1:
            reply = await self._delivery(destinations[0]).rcpt(recipient)
        else:
            reply = await self._ask_all([self._delivery(destination) for destination in destinations], recipient)
        if reply.positive:
            self.envelope.recipients.append(recipient)
        return reply

    async def _ask_all(self, deliveries: Sequence[Delivery], recipient: Recipient) -> Reply:
        answers = await asyncio.gather(*(delivery.rcpt(recipient) for delivery in deliveries))
        refused = refusal(answers)
        if refused is None:
            return answers[0]
        for delivery, answer in zip(deliveries, answers, strict=True):
            if answer.positive:
                delivery.withdraw(recipient)
        return refused

    def _delivery(self, destination: Destination) -> Delivery:
        delivery = self._deliveries.get(destination)
        if delivery is None:
            delivery = destination.open(self._session, self.envelope, self._flow)
            self._deliveries[destination] = delivery
        return delivery

    # -- content

    async def data(self) -> Reply:
        """Ask all deliveries that have recipients; 354 only if every one of them says so (D3, T4)."""
        if self._refusal is not None:
            return self._refusal
        self._drop_those_without_recipients()
        self._asked_for_data = True
        deliveries = tuple(self._deliveries.values())
        if len(deliveries) == 1:
            reply = await deliveries[0].data()
            if reply.code == replies.START_MAIL_INPUT.code:
                self._begin_content()
                return replies.START_MAIL_INPUT
        else:
            refused = await self._ask_all_for_data(deliveries)
            if refused is None:
                self._begin_content()
                return replies.START_MAIL_INPUT
            # Recipients of the others were told 250: only "try again" is true for all of them (D3).
            reply = refused if refused.transient else replies.MIXED_VERDICTS
        self.fail(reply)
        return reply

    async def _ask_all_for_data(self, deliveries: Sequence[Delivery]) -> Reply | None:
        """Get each ready, in one order for all transactions, then ask all at once; the refusal if there is one."""
        for delivery in sorted(deliveries, key=lambda delivery: delivery.name):
            reply = await delivery.prepare()
            if not reply.positive:
                return reply
        return refusal(await asyncio.gather(*(delivery.data() for delivery in deliveries)))

    def _drop_those_without_recipients(self) -> None:
        for destination in [key for key, delivery in self._deliveries.items() if not delivery.recipients]:
            self._deliveries.pop(destination).abort()

    def _begin_content(self) -> None:
        recipients = self.envelope.recipients
        session = self._session
        self._hops = HopCounter()
        self._trace = received(
            hello=session.hello,
            client=session.client,
            hostname=self._service.hostname,
            protocol=session.protocol,
            id=self.envelope.id,
            recipient=recipients[0].path.text if len(recipients) == 1 else None,
            date=self._service.trace_date(),
        )

    def write(self, block: bytes) -> None:
        """Pass a block of content to every delivery, the trace field before the first."""
        if self._refusal is not None:
            return
        self._octets += len(block)
        if not self._hops.done:
            self._hops.feed(block)
        if self._trace:
            block = self._trace + block
            self._trace = b""
        for delivery in self._deliveries.values():
            delivery.write(block)

    def flush(self) -> None:
        """Let out what `write` has gathered."""
        for delivery in self._deliveries.values():
            delivery.flush()

    # -- the end

    async def finish(self, octets: int) -> Reply:
        """The client's dot has come: judge, then commit in order. Returns what the client is told (D4, D5, D7).

        `octets` is the size of the content after unstuffing.
        """
        if self._refusal is not None:
            return self._refusal
        self._octets = octets
        if self._trace:
            self.write(b"")  # an empty message still has its trace
        objection = self._objection()
        if objection is not None:
            self.fail(objection)
            return objection
        self._finishing = True
        self._service.commits += 1
        try:
            if len(self._deliveries) == 1:
                (delivery,) = self._deliveries.values()
                return verdict(await self._commit(delivery))
            return verdict(await self._commit_in_order())
        except BaseException:  # our own bug: whatever was not committed yet must not stay open
            for delivery in self._deliveries.values():
                delivery.abort()
            raise
        finally:
            self._service.commits -= 1

    def _objection(self) -> Reply | None:
        """Does anything speak against the message, now that all of it has been seen?"""
        if self._hops.count > self._service.bounds.hops:
            return replies.TOO_MANY_HOPS
        failures = [delivery.failure for delivery in self._deliveries.values()]
        return refusal([failure for failure in failures if failure is not None])

    async def _commit_in_order(self) -> list[Reply]:
        """Dot after dot, the likeliest refusal first: while nobody has it, a refusal keeps it from all (D5)."""
        pending = sorted(self._deliveries.values(), key=lambda delivery: (-delivery.refusals, -delivery.delay))
        for later in pending[1:]:
            later.flush()  # they may look at all of it while the first one thinks
        answers: list[Reply] = []
        for position, delivery in enumerate(pending):
            answers += await self._commit(delivery)
            if not any(answer.positive for answer in answers):
                for other in pending[position + 1 :]:
                    self._give_up(other, answers[0])
                break
        return answers

    async def _commit(self, delivery: Delivery) -> list[Reply]:
        answers = await delivery.finish()
        if delivery.uncertain:
            outcome = Outcome.UNKNOWN
        else:
            outcome = Outcome.DELIVERED if answers[0].positive else Outcome.REFUSED
        self._record(delivery, outcome, answers[0])
        return answers

    def fail(self, reply: Reply) -> None:
        """Nothing of this message can be delivered any more: let the destinations go; `reply` answers what follows."""
        if self._refusal is not None:
            return
        self._refusal = reply
        for delivery in self._deliveries.values():
            self._give_up(delivery, reply)

    def abort(self) -> None:
        """The client gave up: RSET, a new EHLO, or it left. Too late once its dot has come (T18, T19)."""
        if not self._finishing:
            self.fail(replies.ABORTED)

    def _give_up(self, delivery: Delivery, why: Reply) -> None:
        """Close one delivery without a dot; what had come as far as DATA is recorded."""
        failure = delivery.failure
        delivery.abort()
        if self._asked_for_data:
            self._record(delivery, Outcome.ABORTED if failure is None else Outcome.REFUSED, failure or why)

    def _record(self, delivery: Delivery, outcome: Outcome, reply: Reply) -> None:
        session, service = self._session, self._service
        now = service.clock()
        service.recorder.record(
            Record(
                time=now,
                session=session.id,
                transaction=self.envelope.id,
                client=session.client,
                client_port=session.client_port,
                hello=session.hello,
                reverse_path=self.envelope.reverse_path.text,
                destination=delivery.host,
                recipients=[recipient.path.text for recipient in delivery.recipients],
                size=self._octets,
                outcome=outcome,
                reply=reply,
                duration=now - self._started,
            )
        )
