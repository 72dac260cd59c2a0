"""Transaction: one envelope, its recipients at their destinations, the content as it comes, and the held dot.

The promise is kept here (contract §1, §2). Everything passes on as it comes except the final dot: it is held until
nothing local speaks against the message, then given to the deliveries, and what they say becomes what the client is
told (`conclusion`). Whom it is for stands in `recipients`, what others must know of it later in `memory`.

Rules:
- A destination gets an end of data only after the client sent one, and never after anything said no (P2, D4).
- A recipient is told 2xx only when every delivery of its own has 2xx for its dot (P1).
- From the client's dot on, the client's leaving changes nothing: the verdicts still count (T19).
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from moxy.delivery import Flow
from moxy.inbound.account import Account
from moxy.inbound.conclusion import Conclusion
from moxy.inbound.leg import Leg
from moxy.inbound.memory import Memory
from moxy.inbound.recipients import Recipients
from moxy.mail import Envelope, Session
from moxy.message.trace import HopCounter, received
from moxy.net.steps import together
from moxy.smtp import replies
from moxy.smtp.reply import Replies, Reply

if TYPE_CHECKING:
    from moxy.inbound.service import Service


class Transaction:
    """One mail transaction (RFC 5321 §3.3), from an accepted MAIL to the verdict on its final dot."""

    __slots__ = (
        "_account", "_asked_for_data", "_hops", "_legs", "_memory", "_refusal", "_service", "_session", "_trace",
        "conclusion", "envelope", "recipients",
    )  # fmt: skip

    def __init__(self, service: Service, session: Session, envelope: Envelope, flow: Flow) -> None:
        self._service = service
        self._session = session
        self._account = Account(service, session, envelope)
        self._memory = Memory(service, session, envelope)
        self.recipients = Recipients(service, session, envelope, flow, self._account, self._memory)
        self._legs = self.recipients.legs
        self._refusal: Reply | None = None  # why the message cannot be delivered any more
        self._asked_for_data = False
        self.conclusion: Conclusion | None = None
        """From the client's dot on, and from a refusal at DATA on."""
        self._trace = b""  # ours, until it is written
        self._hops: HopCounter
        self.envelope = envelope

    # -- content

    @property
    def refusal(self) -> Reply | None:
        """Why the message cannot be delivered any more, if so."""
        return self._refusal

    def chunk(self, octets: int) -> Reply | Coroutine[Any, Any, Reply]:
        """A chunk of so many octets is announced: 354 if they are wanted; the first one asks the deliveries (`data`).

        A message that is refused stays so up to its end, whatever its chunks: they may be under way (T13).
        """
        if self._refusal is not None:
            return self._refusal
        size = self._service.bounds.enforced_size
        if not self.recipients.accepted:
            self.fail(replies.LMTP_NO_VALID_RECIPIENTS if self._session.lmtp else replies.NO_VALID_RECIPIENTS)
        elif 0 < size < octets:
            self.fail(replies.MESSAGE_TOO_BIG)
        elif self._asked_for_data:
            return replies.START_MAIL_INPUT
        else:
            self.envelope.chunked = True
            return self.data()
        return self._refusal or replies.START_MAIL_INPUT

    async def data(self) -> Reply:
        """Ask all deliveries that have recipients; 354 only if every one of them says so (D3, T4).

        A client that takes a verdict for each recipient gets 354 even if every one of several destinations refuses, and
        the refusals after its dot.
        """
        if self._refusal is not None:
            return self._refusal
        self.recipients.drop_empty_legs()
        self._asked_for_data = True
        legs = tuple(self._legs.values())
        if len(legs) == 1:
            leg = legs[0]
            self._hear_of_data(leg, await leg.delivery.data())
            refused = leg.concluded
        else:
            await self._ask_all_for_data(legs)
            refused = not self.envelope.each and any(leg.concluded for leg in legs)
        if self._refusal is not None:  # the client left meanwhile
            return self._refusal
        if refused:
            return await self._refuse_at_data()
        copies = self.recipients.copies
        if copies is not None:
            await copies.begin()
            if self._refusal is not None:
                return self._refusal
        self._begin_content()
        return replies.START_MAIL_INPUT

    async def _ask_all_for_data(self, legs: Sequence[Leg]) -> None:
        """Ask all at once, when each is ready."""
        if not (all(leg.delivery.ready for leg in legs) or await self._prepare(legs)):
            return
        ready = [leg for leg in legs if not leg.concluded]
        for leg, reply in zip(ready, await together([leg.delivery.data() for leg in ready]), strict=True):
            self._hear_of_data(leg, reply)

    async def _prepare(self, legs: Sequence[Leg]) -> bool:
        """Get each ready, in one order for all transactions. False: nobody is to be asked any more."""
        for leg in sorted(legs, key=lambda leg: leg.delivery.name):
            reply = await leg.delivery.prepare()
            if self._refusal is not None:  # the client left meanwhile
                return False
            if not reply.positive:
                self._account.refused(leg, reply)
                if not self.envelope.each:
                    return False
        return True

    def _hear_of_data(self, leg: Leg, reply: Reply) -> None:
        if reply.code != replies.START_MAIL_INPUT.code and self._refusal is None:
            self._account.refused(leg, reply)

    async def _refuse_at_data(self) -> Reply:
        conclusion = self._conclude()
        reply = self._refusal = self.recipients.refusal = await conclusion.tell_all()
        conclusion.settle()
        self._legs.clear()
        return reply

    def _begin_content(self) -> None:
        accepted, session = self.recipients.accepted, self._session
        accepted.sort()
        self._hops = HopCounter()
        self._trace = received(
            hello=session.hello,
            client=session.client,
            hostname=self._service.hostname,
            protocol=session.protocol,
            id=self.envelope.id,
            recipient=accepted[0][1].path.text if len(accepted) == 1 else None,
            date=self._service.trace_date(),
            utf8=self.envelope.utf8,
            tls="" if session.security is None else str(session.security),
        )

    def write(self, block: bytes) -> None:
        """Pass a block of content to every delivery, the trace field before the first."""
        if self._refusal is not None:
            return
        self._account.octets += len(block)
        self._memory.digest.feed(block)
        if not self._hops.done:
            self._hops.feed(block)
        if self._trace:
            block = self._trace + block
            self._trace = b""
        for leg in self._legs.values():
            leg.delivery.write(block)
        if self.recipients.copies is not None:
            self.recipients.copies.write(block)

    def flush(self) -> None:
        """Let out what `write` has gathered."""
        for leg in self._legs.values():
            leg.delivery.flush()
        if self.recipients.copies is not None:
            self.recipients.copies.flush()

    # -- the end

    def finish(self, octets: int) -> Reply | Replies | Coroutine[Any, Any, Reply | Replies]:
        """The client's dot has come: judge, then commit. Returns what the client is told (D4 to D7).

        `octets` is the size of the content after unstuffing.
        """
        if self._refusal is not None:
            return self.recipients.to_all(self._refusal)
        self._account.octets = self._memory.size = octets
        if self._trace:
            self.write(b"")  # an empty message still has its trace
        if self._hops.count > self._service.bounds.hops:
            self.fail(replies.TOO_MANY_HOPS)
            return self.recipients.to_all(replies.TOO_MANY_HOPS)
        return self._conclude().commit()

    def breaks_off(self) -> None:
        """The content does not end in CRLF. Some destinations cannot take it then, and say so at the end (T12)."""
        for leg in self._legs.values():
            leg.delivery.breaks_off()
        if self.recipients.copies is not None:
            self.recipients.copies.breaks_off()

    def _conclude(self) -> Conclusion:
        conclusion = self.conclusion = Conclusion(
            self._service, self._session, self.envelope, self.recipients, self._account, self._memory
        )
        return conclusion

    def broken(self) -> Reply | Replies:
        """What is answered to the client's dot where we failed to answer it."""
        return self.recipients.to_all(replies.INTERNAL_ERROR)

    def fail(self, reply: Reply) -> None:
        """Nothing of this message can be delivered any more: let the destinations go; `reply` answers what follows."""
        if self._refusal is not None:
            return
        self._refusal = self.recipients.refusal = reply
        for leg in self._legs.values():
            if leg.concluded:
                continue
            if self._asked_for_data:
                self._account.given_up(leg, reply)
            else:
                leg.delivery.abort()
        if self.recipients.copies is not None:
            self.recipients.copies.abort(reply)

    def abort(self) -> None:
        """The client gave up: RSET, a new EHLO, or it left. Too late once its dot has come (T18, T19)."""
        if self.conclusion is None:
            self.fail(replies.ABORTED)
