"""RelayDelivery: one mail transaction over one connection to a destination.

    rcpt    leases a connection with the first recipient, MAIL and RCPT in one write (D1, T6)
    data    asks for the 354
    write   passes content on; finish sends the dot; abort closes or resets, never with a dot

Until a recipient was accepted nothing has been promised, so a connection that turns out dead is silently replaced.

A client may take minutes between two commands, and a destination takes only so many connections. So one that is waiting
for its client may be `park`ed: the connection goes to others who wait for one, and when the client goes on, the
destination is asked again, on another connection, for what it had agreed to. It must agree to all of it, or the client
is told to come again: 354 still follows only upon the destination's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from moxy.delivery import Flow
from moxy.mail import Envelope, Recipient, Session
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.reply import IMPOSSIBLE_ANSWER, Phase, Reply, pass_on

if TYPE_CHECKING:
    from moxy.outbound.destination import SmtpDestination

ATTEMPTS: Final = 3
"""Connections tried for the first recipient when kept ones turn out dead."""


class RelayDelivery:
    """One message on its way to one mail server; see `moxy.delivery.Delivery` for the contract."""

    __slots__ = (
        "_aborted", "_asking", "_beginning", "_begun", "_destination", "_domain", "_envelope", "_failure", "_loop",
        "_parked", "_session", "_upstream", "_withdrawn", "delay", "flow", "host", "recipients", "refusals",
        "uncertain",
    )  # fmt: skip

    def __init__(self, destination: SmtpDestination, session: Session, envelope: Envelope, flow: Flow) -> None:
        self._destination = destination
        self._session = session
        self._envelope = envelope
        self.flow = flow
        self._loop = destination.ground.loop
        self._upstream: Upstream | None = None
        self._asking = 0  # questions to the destination that wait for their answers
        self._parked = False
        self._beginning: bool | None = None  # None: not begun; true until the first recipient has its answer
        self._begun: asyncio.Future[None] | None = None  # for recipients asked for meanwhile
        self._failure: Reply | None = None  # the answer to everything from now on
        self._domain = ""  # of the recipient asked for last
        self._aborted = False
        self._withdrawn = False
        self.recipients: list[Recipient] = []
        self.host = destination.name
        self.refusals = 0
        self.delay = 0.0
        self.uncertain = False

    # -- recipients

    async def rcpt(self, recipient: Recipient) -> Reply:
        """Ask the destination; see `moxy.delivery.Delivery`."""
        asked = self._loop.time()
        self._domain = recipient.path.domain
        self._asking += 1
        if self._beginning is None:
            self._beginning = True
            reply = await self._begin(recipient)
            self._first_answered()
        else:
            if self._beginning:
                await self._wait_for_the_first()
            reply = await self._next(recipient)
        self._asking -= 1
        self.delay = max(self.delay, self._loop.time() - asked)
        if reply.positive:
            self.recipients.append(recipient)
        else:
            self.refusals += 1
        return reply

    async def _wait_for_the_first(self) -> None:
        if self._begun is None:
            self._begun = self._loop.create_future()
        await self._begun

    def _first_answered(self) -> None:
        self._beginning = False
        if self._begun is not None:
            self._begun.set_result(None)

    async def _begin(self, recipient: Recipient) -> Reply:
        """Find a connection, and tell it MAIL and the first RCPT."""
        destination, session = self._destination, self._session
        now = self._loop.time()
        deadline = now + destination.ground.connect_total
        for _ in range(ATTEMPTS):
            leased = destination.take(session, now) or await destination.lease(session, deadline)
            if isinstance(leased, Reply):
                return self._fail(leased)
            if self._aborted:
                destination.give_back(session, leased, clean=True)
                return replies.DESTINATION_LOST
            used_before = leased.transactions > 0
            self._take(leased)
            reply = self._unfit(leased)
            if reply is None:
                mail, reply = await leased.exchange(
                    self._mail_command(leased), _rcpt_command(recipient), patience=destination.ground.reply
                )
                if not mail.positive:
                    reply = self._refused_mail(leased, mail)
            if self._aborted or not ((used_before and leased.lost is reply) or reply.code == replies.CLOSING_CODE):
                return self._passed_on(leased, reply)
            leased.lose(replies.DESTINATION_LOST)  # it was dead, or about to close: nothing was promised, so once more
            self._upstream = None
        return self._fail(replies.DESTINATION_LOST)

    def _take(self, upstream: Upstream) -> None:
        upstream.transactions += 1
        upstream.lend(self)
        self._upstream = upstream
        self.host = str(upstream.host)

    def _unfit(self, upstream: Upstream) -> Reply | None:
        """What this message needs and the destination does not offer (T7, T9, T11)."""
        offered, envelope = upstream.extensions, self._envelope
        if 0 < offered.size < envelope.size:
            return self._fail(replies.SIZE_REFUSED_AT_RCPT)
        if envelope.body == "8BITMIME" and not offered.eight_bit and self._destination.settings.eight_bit == "refuse":
            return self._fail(replies.NO_8BITMIME)
        return None

    def _refused_mail(self, upstream: Upstream, mail: Reply) -> Reply:
        """A refused MAIL is the answer to this recipient and to all later ones (T6); a closing one is tried again."""
        if upstream.lost is not mail and mail.code != replies.CLOSING_CODE:
            self._fail(self._passed_on(upstream, mail))
        return mail

    def _mail_command(self, upstream: Upstream) -> bytes:
        """MAIL with the parameters that this destination understands (T7)."""
        envelope, offered = self._envelope, upstream.extensions
        line = f"MAIL FROM:<{envelope.reverse_path.text}>"
        if envelope.size and "SIZE" in offered:
            line += f" SIZE={envelope.size}"
        if envelope.body and offered.eight_bit:
            line += f" BODY={envelope.body}"
        return line.encode()

    async def _next(self, recipient: Recipient) -> Reply:
        """A further recipient of a transaction that is open."""
        if self._parked and (refused := await self._resume()) is not None:
            return refused
        upstream = self._upstream
        if self._failure is not None or upstream is None:
            return self._failure or replies.DESTINATION_LOST
        (reply,) = await upstream.exchange(_rcpt_command(recipient), patience=self._destination.ground.reply)
        return self._passed_on(upstream, reply)

    def withdraw(self, recipient: Recipient) -> None:
        """The destination must not deliver to this recipient, although it agreed to (D2)."""
        self.recipients.remove(recipient)
        self._withdrawn = True

    async def _tell_again(self, upstream: Upstream, *first: bytes) -> Reply | None:
        """MAIL and all recipients accepted so far, behind what comes `first`. None when all is agreed to again."""
        self._withdrawn = False
        recipients = [_rcpt_command(recipient) for recipient in self.recipients]
        answers = await upstream.exchange(
            *first, self._mail_command(upstream), *recipients, patience=self._destination.ground.reply
        )
        changed = next((self._passed_on(upstream, answer) for answer in answers if not answer.positive), None)
        if changed is None:
            return None
        return self._fail(replies.MIXED_VERDICTS if changed.permanent else changed)

    # -- parking

    def park(self) -> bool:
        """Give the connection back while the client thinks; see `moxy.outbound.upstream.Borrower`."""
        upstream = self._upstream
        if upstream is None or self._asking or self._aborted or self._destination.settings.lease == "session":
            return False
        self._upstream = None
        self._parked = True
        self._destination.give_back(self._session, upstream, clean=False)
        return True

    async def _resume(self) -> Reply | None:
        """Have a connection again, and tell it what the one before had agreed to. None when all is as it was."""
        self._parked = False
        destination, session, now = self._destination, self._session, self._loop.time()
        deadline = now + destination.ground.connect_total
        leased = destination.take(session, now) or await destination.lease(session, deadline)
        if isinstance(leased, Reply):
            return self._fail(leased)
        if self._aborted:
            destination.give_back(session, leased, clean=True)
            return replies.DESTINATION_LOST
        self._take(leased)
        return self._unfit(leased) or await self._tell_again(leased)

    # -- content

    async def data(self) -> Reply:
        """Ask to send content; see `moxy.delivery.Delivery`."""
        self._asking += 1  # and for good: from here on the connection is needed to the end
        if self._parked and (refused := await self._resume()) is not None:
            return refused
        upstream = self._upstream
        if self._failure is not None or upstream is None:
            return self._failure or replies.DESTINATION_LOST
        if self._withdrawn and (refused := await self._tell_again(upstream, b"RSET")) is not None:
            return refused
        (reply,) = await upstream.exchange(b"DATA", patience=self._destination.ground.data)
        answer = self._passed_on(upstream, reply, Phase.DATA)
        return answer if answer.intermediate else self._fail(answer)

    def write(self, block: bytes) -> None:
        """Pass content on; see `moxy.delivery.Delivery`."""
        if self._upstream is not None:
            self._upstream.write(block)

    def flush(self) -> None:
        """Let out what was gathered."""
        if self._upstream is not None:
            self._upstream.flush()

    @property
    def failure(self) -> Reply | None:
        """Why this delivery can no longer succeed, if so."""
        upstream = self._upstream
        if self._failure is None and upstream is not None and upstream.lost is not None:
            self._failure = self._passed_on(upstream, upstream.lost, Phase.FINAL)
        return self._failure

    # -- the end

    async def finish(self) -> list[Reply]:
        """Send the dot; see `moxy.delivery.Delivery`."""
        upstream = self._upstream
        if self.failure is not None or upstream is None:
            return [self._failure or replies.DESTINATION_LOST] * len(self.recipients)
        (reply,) = await upstream.commit()
        answer = self._passed_on(upstream, reply, Phase.FINAL)
        self.uncertain = upstream.lost is reply or upstream.lost is answer
        if reply.code == replies.CLOSING_CODE:
            upstream.lose(answer)
        self._release(clean=True)
        return [answer] * len(self.recipients)

    def abort(self) -> None:
        """Let the destination go without a dot; see `moxy.delivery.Delivery`."""
        self._aborted = True
        self._release(clean=False)

    def _release(self, *, clean: bool) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if self._failure is None:
                self._failure = replies.DESTINATION_LOST
            self._destination.give_back(self._session, upstream, clean=clean)

    def _fail(self, reply: Reply) -> Reply:
        """From now on, this is the answer."""
        self._failure = reply
        return reply

    def _passed_on(self, upstream: Upstream, reply: Reply, phase: Phase = Phase.RCPT) -> Reply:
        """A destination's reply as the client may see it (P5, T41, T42)."""
        passed = pass_on(reply, phase)
        if passed is IMPOSSIBLE_ANSWER:
            upstream.lose(passed)  # out of step with us: nothing more it says can be trusted (T42)
        return upstream.veiled(passed, self._domain)


def _rcpt_command(recipient: Recipient) -> bytes:
    return f"RCPT TO:<{recipient.path.text}>".encode()
