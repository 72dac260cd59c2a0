"""RelayDelivery: one mail transaction over one connection to a destination.

    rcpt    leases a connection with the first recipient, MAIL and RCPT in one write (D1, T6)
    data    asks for the 354, or settles that content goes in chunks
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
from moxy.net.steps import Answer
from moxy.outbound import bounds, parameters
from moxy.outbound.chunks import Chunks
from moxy.outbound.upstream import STALLED, Upstream
from moxy.outbound.verdicts import Verdicts
from moxy.smtp import replies
from moxy.smtp.parameter import BINARY
from moxy.smtp.reply import IMPOSSIBLE_ANSWER, Phase, Reply, pass_on

if TYPE_CHECKING:
    from moxy.outbound.destination import SmtpDestination

_DATA: Final = Phase.DATA
_FINAL: Final = Phase.FINAL

ATTEMPTS: Final = 3
"""Connections tried for the first recipient when kept ones turn out dead."""


class RelayDelivery:
    """One message on its way to one mail server; see `moxy.delivery.Delivery` for the contract."""

    __slots__ = (
        "_aborted", "_asking", "_chunks", "_destination", "_domain", "_envelope", "_failure", "_loop", "_opened",
        "_opening", "_prdr", "_preferred", "_session", "_upstream", "_withdrawn", "delay", "flow", "host", "name",
        "recipients", "refusals", "stalled", "unanswered",
    )  # fmt: skip

    def __init__(self, destination: SmtpDestination, session: Session, envelope: Envelope, flow: Flow) -> None:
        self._destination = destination
        self._session = session
        self._envelope = envelope
        self.flow = flow
        self._loop = destination.ground.loop
        self._upstream: Upstream | None = None  # None: not begun, parked, or over
        self._chunks: Chunks | None = None  # what content goes through, if it goes by BDAT
        self._asking = 0  # questions to the destination that wait for their answers
        self._opening = False  # is a connection being found, and told of the transaction?
        self._opened: asyncio.Future[None] | None = None  # for recipients asked for meanwhile
        self._failure: Reply | None = None  # the answer to everything from now on
        self._domain = ""  # of the recipient asked for last
        self._aborted = False
        self._withdrawn = False
        self._prdr = False  # was the destination asked for a verdict on each recipient?
        self._preferred = ""  # the host to try first
        self.recipients: list[Recipient] = []
        self.name = self.host = destination.name
        self.refusals = 0
        self.delay = 0.0
        self.stalled = STALLED
        self.unanswered = 0

    # -- recipients

    def prefer(self, host: str) -> None:
        """Try this host first; see `moxy.delivery.Delivery`."""
        self._preferred = host

    async def rcpt(self, recipient: Recipient) -> Reply:
        """Ask the destination; see `moxy.delivery.Delivery`."""
        asked = self._loop.time()
        self._domain = recipient.path.domain
        self._asking += 1
        if self._opening:
            await self._until_open()
        upstream = self._upstream
        if self._failure is not None:
            reply = self._noted(recipient, self._failure)
        elif upstream is None:
            reply = self._noted(recipient, await self._open(recipient))
        elif upstream.extensions.bounded and (refusal := bounds.beyond(upstream, [recipient])) is not None:
            reply = self._noted(recipient, await self._without_room(upstream, recipient, refusal))
        elif recipient.parameters and (refusal := parameters.lacking(recipient, upstream.extensions)) is not None:
            reply = self._noted(recipient, refusal)
        else:
            reply = await self._ask(upstream, recipient)
        self._asking -= 1
        self.delay = max(self.delay, self._loop.time() - asked)
        return reply

    def _ask(self, upstream: Upstream, recipient: Recipient) -> Answer[Reply]:
        """RCPT. Its answer is noted when it comes, and not when who waits for it goes on.

        `recipients` must be in the order of the RCPTs: in LMTP and PRDR the verdicts are.
        """
        answer: Answer[Reply] = Answer(self._loop)

        def answered(answers: list[Reply]) -> None:
            answer.set(self._noted(recipient, self._passed_on(upstream, answers[0])))

        bounds.count(upstream, [recipient])
        command = parameters.rcpt_command(recipient, upstream.extensions)
        upstream.request((command,), self._destination.ground.reply, answered)
        return answer

    def _noted(self, recipient: Recipient, reply: Reply) -> Reply:
        if reply.positive:
            self.recipients.append(recipient)
        else:
            self.refusals += 1
        return reply

    async def _without_room(self, upstream: Upstream, recipient: Recipient, refusal: Reply) -> Reply:
        """The connection takes no more (RFC 9422). If nobody was accepted there, another one may."""
        if self.recipients or self._asking > 1:
            return refusal
        self._leave(upstream)
        return await self._open(recipient)

    def _leave(self, upstream: Upstream) -> None:
        self._upstream = None
        self._destination.discard(self._session, upstream)

    async def _until_open(self) -> None:
        if self._opened is None:
            self._opened = self._loop.create_future()
        await self._opened

    async def _open(self, recipient: Recipient | None = None) -> Reply:
        """Find a connection and tell it the transaction so far, with the recipient asked for now if there is one."""
        destination, session = self._destination, self._session
        now = self._loop.time()
        deadline = now + destination.ground.connect_total
        self._opening = True
        try:
            attempts = ATTEMPTS
            while attempts:
                preferred = self._preferred
                leased = destination.take(session, now, preferred) or await destination.lease(
                    session, deadline, preferred
                )
                if isinstance(leased, Reply):
                    return self._fail(leased)
                if self._aborted:
                    destination.give_back(session, leased, clean=True)
                    return replies.DESTINATION_LOST
                if leased.domains and bounds.beyond(leased, self._all(recipient)):
                    destination.discard(session, leased)  # the domains it has served leave no room; a new one has some
                    continue
                attempts -= 1
                used_before = leased.transactions > 0
                self._take(leased)
                reply = self._unfit(leased) or await self._tell(leased, recipient)
                if self._aborted or not ((used_before and leased.lost is reply) or reply.code == replies.CLOSING_CODE):
                    return self._passed_on(leased, reply)
                leased.lose(replies.DESTINATION_LOST)  # dead, or about to close: nothing was promised, so once more
                self._upstream = None
            return self._fail(replies.DESTINATION_LOST)
        finally:
            self._opening = False
            if self._opened is not None:
                self._opened.set_result(None)
                self._opened = None

    def _all(self, recipient: Recipient | None) -> list[Recipient]:
        """Those accepted so far, and the new one if there is one."""
        return self.recipients if recipient is None else [*self.recipients, recipient]

    def _take(self, upstream: Upstream) -> None:
        upstream.lend(self)
        self._upstream = upstream
        self.host = upstream.name

    def _unfit(self, upstream: Upstream) -> Reply | None:
        """What this message needs and the destination does not offer (T7, T9 to T11, T15, T16)."""
        offered, envelope = upstream.extensions, self._envelope
        if 0 < offered.size < envelope.size:
            return self._fail(replies.SIZE_REFUSED_AT_RCPT)
        refusal = None
        if envelope.body or envelope.parameters or (self.recipients and "DSN" not in offered):
            refusal = parameters.unfit(envelope, self.recipients, upstream, self._destination.settings)
        return None if refusal is None else self._fail(refusal)

    async def _tell(self, upstream: Upstream, recipient: Recipient | None, *first: bytes) -> Reply:
        """MAIL, the recipients accepted so far and the new one, in one write (D1); `first` may go before.

        The reply is the last one, if those accepted before are accepted again. A destination that has changed its mind
        about one of them gets no content. A refused MAIL answers this recipient and all later ones (T6).
        """
        self._withdrawn = False
        upstream.transactions += 1
        offered = upstream.extensions
        refusal = self._too_many(upstream, recipient) if offered.bounded else None
        if self._failure is not None:
            return self._failure
        if recipient is not None and recipient.parameters:
            refusal = refusal or parameters.lacking(recipient, offered)
        commands = [*first, self._mail_command(upstream)]
        if self.recipients:
            commands += [parameters.rcpt_command(known, offered) for known in self.recipients]
        agreed = len(commands)  # those that must be positive for the transaction to go on
        if recipient is not None and refusal is None:
            commands.append(parameters.rcpt_command(recipient, offered))
        answers = await upstream.exchange(commands, self._destination.ground.reply)
        for answer in answers[:agreed]:
            if not answer.positive:
                return self._refused(upstream, answer)
        return refusal or answers[-1]

    def _refused(self, upstream: Upstream, reply: Reply) -> Reply:
        """The destination does not want the transaction, or has changed its mind; if the connection is lost, perhaps
        another one will do.
        """
        if reply is upstream.lost or reply.code == replies.CLOSING_CODE:
            return reply
        changed = bool(self.recipients) and reply.permanent
        return self._fail(replies.MIXED_VERDICTS if changed else self._passed_on(upstream, reply))

    def _too_many(self, upstream: Upstream, recipient: Recipient | None) -> Reply | None:
        """Why the new recipient cannot be asked for beside the others (RFC 9422). If they are too many, all is over."""
        upstream.asked = 0
        refusal = bounds.beyond(upstream, self._all(recipient))
        if refusal is None:
            bounds.count(upstream, self._all(recipient))
        elif recipient is None or bounds.beyond(upstream, self.recipients):
            self._fail(refusal)
        else:
            bounds.count(upstream, self.recipients)
        return refusal

    def _mail_command(self, upstream: Upstream) -> bytes:
        self._prdr = self._envelope.each and upstream.extensions.prdr and not self._destination.individual
        return parameters.mail_command(self._envelope, upstream, prdr=self._prdr)

    def withdraw(self, recipient: Recipient) -> None:
        """The destination must not deliver to this recipient, although it agreed to (D2)."""
        self.recipients.remove(recipient)
        self._withdrawn = True

    # -- parking

    def park(self) -> bool:
        """Give the connection back while the client thinks; see `moxy.outbound.upstream.Borrower`."""
        upstream = self._upstream
        if upstream is None or self._asking or self._failure or self._destination.settings.lease == "session":
            return False
        self._upstream = None
        self._destination.give_back(self._session, upstream, clean=False)
        return True

    # -- content

    @property
    def ready(self) -> bool:
        """Is there nothing to prepare?"""
        return self._upstream is not None and not self._withdrawn and self._failure is None

    async def prepare(self) -> Reply:
        """Have a connection and keep it, and an agreement that still stands; see `moxy.delivery.Delivery`.

        The destination is told again what it had agreed to after parking, and without those who were withdrawn.
        """
        self._asking += 1  # and for good: from here on the connection is needed to the end
        upstream = self._upstream
        if self._failure is not None:
            return self._failure
        if upstream is None:
            return await self._open()
        if self._withdrawn:
            # There is no way to take one recipient back: begin again with the others.
            if upstream.spent:
                self._leave(upstream)
                return await self._open()
            return self._passed_on(upstream, await self._tell(upstream, None, b"RSET"))
        return replies.OK

    async def data(self) -> Reply:
        """Ask to send content; see `moxy.delivery.Delivery`."""
        if self.ready:
            self._asking += 1  # as `prepare` does: for good
        else:
            reply = await self.prepare()
            if not reply.positive:
                return self._fail(reply)
        upstream = self._upstream
        if upstream is None:  # aborted meanwhile
            return self._fail(replies.DESTINATION_LOST)
        if upstream.extensions.chunking and self._goes_in_chunks():
            self._chunks = Chunks(upstream, self)
            return replies.START_MAIL_INPUT
        (reply,) = await upstream.exchange((b"DATA",), self._destination.ground.data)
        if reply.code == replies.START_MAIL_INPUT.code:
            return reply
        return self._fail(self._passed_on(upstream, reply, _DATA))

    def _goes_in_chunks(self) -> bool:
        """To a destination that offers CHUNKING."""
        envelope, wish = self._envelope, self._destination.settings.chunking
        return envelope.body == BINARY or wish == "always" or (wish == "as-received" and envelope.chunked)

    def write(self, block: bytes) -> None:
        """Pass content on; see `moxy.delivery.Delivery`."""
        if self._chunks is not None:
            self._chunks.write(block)
        elif self._upstream is not None:
            self._upstream.write(block)

    def flush(self) -> None:
        """Let out what was gathered."""
        if self._chunks is not None:
            self._chunks.flush()
        elif self._upstream is not None:
            self._upstream.flush()

    def breaks_off(self) -> None:
        """The content does not end in CRLF; see `moxy.delivery.Delivery`."""
        if self._chunks is None and self.failure is None:
            self._fail(replies.NO_LAST_LINE_END)

    @property
    def failure(self) -> Reply | None:
        """Why this delivery can no longer succeed, if so."""
        upstream = self._upstream
        if self._failure is None and upstream is not None and upstream.lost is not None:
            self._failure = self._passed_on(upstream, upstream.lost, _FINAL)
        return self._failure

    # -- the end

    async def finish(self, patience: float) -> list[Reply]:
        """Send the dot; see `moxy.delivery.Delivery`."""
        upstream = self._upstream
        if self._chunks is not None:
            patience = await self._chunks.settled(patience)
        if self.failure is not None or upstream is None:
            return [self._failure or replies.DESTINATION_LOST] * len(self.recipients)
        if self._prdr or self._destination.individual:
            return await self._finish_each(upstream, patience)
        (reply,) = await upstream.commit(patience)
        answer = self._passed_on(upstream, reply, _FINAL)
        if (
            upstream.lost is reply or upstream.lost is answer
        ):  # an equal verdict was before: we go on as soon as it comes
            self.unanswered = len(self.recipients)
        if reply.code == replies.CLOSING_CODE:
            upstream.lose(answer)
        self._release(clean=True)
        return [answer] * len(self.recipients)

    async def _finish_each(self, upstream: Upstream, patience: float) -> list[Reply]:
        """Send the dot to a destination that gives each recipient a verdict of its own."""
        farewell = self._destination.ground.prove
        told = Verdicts(upstream, len(self.recipients), patience, prdr=self._prdr, farewell=farewell)
        await told.ask()
        self.unanswered = told.unanswered
        answers = [
            self._shown(upstream, pass_on(reply, _FINAL), recipient.path.domain)
            for recipient, reply in zip(self.recipients, told.replies, strict=True)
        ]
        if any(reply.code == replies.CLOSING_CODE for reply in told.replies):
            upstream.lose(replies.DESTINATION_LOST)
        self._release(clean=True)
        return answers

    def abort(self) -> None:
        """Let the destination go without a dot; see `moxy.delivery.Delivery`."""
        self._aborted = True
        self._release(clean=False)

    def _release(self, *, clean: bool) -> None:
        self._destination.deliveries.discard(self)
        upstream, self._upstream = self._upstream, None
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None
        if self._failure is None:
            self._failure = replies.DESTINATION_LOST
        if upstream is not None:
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
        return self._shown(upstream, passed, self._domain)

    def _shown(self, upstream: Upstream, reply: Reply, domain: str) -> Reply:
        """The reply without what this client must not see: the destination's names, and more than ASCII (RFC 6531)."""
        if not (reply.wire.isascii() or self._envelope.utf8):
            reply = reply.in_ascii()
        return upstream.veiled(reply, domain)
