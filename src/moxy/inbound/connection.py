"""ClientConnection: one client's octets in and out, their pace and their deadlines.

The only place of `inbound` that holds a transport. It turns octets into events (`Receiver`), has each answered
(`Conversation`), and writes all replies of one wake-up at once.

Rules:
- An idle connection owns no task, no timer and no buffer; its deadline is a field (P7).
- The clock of a command starts when we begin to wait for it; a single octet does not reset it (T39).
- While replies are due, or the client does not read them, or a destination is full, we stop reading (T22).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from structlog import get_logger

from moxy.delivery import Flow
from moxy.inbound.answering import Answering
from moxy.inbound.arrival import arrived, heed_header
from moxy.inbound.conversation import VERBS, Conversation
from moxy.inbound.pace import Pace
from moxy.inbound.service import Service
from moxy.mail import Session
from moxy.mail.client import ClientPattern, any_matches
from moxy.net.acknowledged import unacknowledged
from moxy.net.deadlines import NEVER
from moxy.smtp import replies
from moxy.smtp.command import Command
from moxy.smtp.proxyheader import ProxyHeader
from moxy.smtp.receiver import Receiver
from moxy.smtp.reply import Replies, Reply
from moxy.smtp.state import State

EVENTS_AT_ONCE: Final = 64
"""Events of one client that are answered before the others have their turn."""

UNREAD_LIMIT: Final = 65_536
"""Octets a client may send ahead of our answers before we stop reading."""

FIRST_LOOK: Final = 0.04
"""Seconds after both halves are closed until we ask whether the client has what we sent: before what is in doubt is
written (`moxy.ledger.shared.NOTE_SECONDS`).
"""

_AT_ONCE: Final = (Reply, Replies)
_CHUNKS: Final = State.CHUNKS
_GREETED: Final = State.GREETED

log = get_logger("moxy.inbound")


class ClientConnection(asyncio.Protocol):
    """One client's connection, from accept to close."""

    __slots__ = (
        "_closing", "_conversation", "_flow", "_gone_by", "_half_closed", "_leaving", "_lmtp", "_loop", "_pace",
        "_pumping", "_reading", "_receiver", "_service", "_transport", "_writable", "_xclient_from", "_yielded",
        "deadline", "header",
    )  # fmt: skip

    _gone_by: float
    _transport: asyncio.Transport
    _conversation: Conversation
    _receiver: Receiver

    def __init__(
        self,
        service: Service,
        loop: asyncio.AbstractEventLoop,
        *,
        lmtp: bool = False,
        xclient_from: Sequence[ClientPattern] = (),
    ) -> None:
        """`lmtp` is what the client speaks; if it is among `xclient_from`, it may say XCLIENT."""
        self._service = service
        self._loop = loop
        self._lmtp = lmtp
        self._xclient_from = xclient_from
        self.header: ProxyHeader | None = None
        """What a trusted proxy has said before the connection came to us."""
        self._flow = Flow(self._control_reading, self._control_reading)
        self._pumping = False
        self._reading = True
        self._writable = True
        self._yielded = False  # have we stopped in the middle, so that others come first?
        self._closing = False
        self._leaving = False  # is the session to end when its transaction has?
        self._half_closed = False
        self._pace: Pace | None = None  # while a client owes us content
        self.deadline = NEVER

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, or tell it that we are full."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport = transport
        service = self._service
        session = arrived(service.identify(), transport, lmtp=self._lmtp)
        if self.header is not None:
            heed_header(session, self.header)
        self._begin(session, trusted=bool(self._xclient_from) and any_matches(self._xclient_from, session.client))
        full = len(service.connections) >= service.bounds.sessions
        service.connections.add(self)
        service.sweeper.watched.add(self)
        if full or service.draining:
            self._close(replies.TOO_MANY_SESSIONS if full else replies.SHUTTING_DOWN)
        else:
            self._greet()

    def data_received(self, data: bytes) -> None:
        """Take octets in and work through what they complete."""
        if self._closing:
            return
        receiver = self._receiver
        receiver.receive(data)
        unconfirmed = self._conversation.unconfirmed
        if unconfirmed is not None:
            # Who has always waited for our answers has this one, too. Of one that sends ahead, or may have lost
            # patience, it shows nothing that it goes on: QUIT may be sent together with the dot.
            if receiver.ahead or unconfirmed.late:
                self._look_for_receipt()
            else:
                self._conversation.reply_received()
        if self._pace is not None:
            self._pace.octets += len(data)
        self._pump()

    def eof_received(self) -> bool:
        """The client sends no more; it still gets the replies that are due.

        Where it is open whether it has got one, this is not the end: an EOF may have crossed our reply, and Exim closes
        its half before it reads. An acknowledgement or a reset will tell.
        """
        self._half_closed = True
        self._look_for_receipt()
        if self._receiver.waiting and not self._closing:
            self._conversation.left_waiting(surely=False)
            return True
        if self._conversation.unconfirmed is None:
            return False
        if self._closing:
            self._look_soon()
        else:
            self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        del exc
        self._closing = True
        self.deadline = NEVER
        self._service.connections.discard(self)
        self._service.sweeper.watched.discard(self)
        self._conversation.end()
        if self._receiver.waiting:
            self._conversation.left_waiting(surely=True)
        else:
            self._conversation.reply_lost()
        self._flow.release()

    def pause_writing(self) -> None:
        """The client does not read our replies: do no more for it until it does."""
        self._writable = False
        self._control_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable = True
        if not self._pumping:
            self._pump()
            self._control_reading()

    def _begin(self, session: Session, *, trusted: bool) -> None:
        """Begin a session. `trusted`: the client may say XCLIENT (T27)."""
        bounds = self._service.bounds
        self._receiver = Receiver(lmtp=self._lmtp, size=bounds.enforced_size, command_line=bounds.command_line)
        self._conversation = Conversation(self._service, session, self._flow)
        if trusted:
            self._receiver.trust()
            self._conversation.distrust = self._receiver.distrust

    def _greet(self) -> None:
        service = self._service
        self._transport.write((service.lmtp_greeting if self._lmtp else service.greeting).wire)
        self.deadline = self._loop.time() + service.patience.hello

    # -- events and answers

    def _pump(self, *, progress: bool = False) -> None:
        """Have events answered, as many as our turn allows and as far as the client takes our replies."""
        if self._closing:
            return
        self._pumping = True
        receiver = self._receiver
        content = False
        turn = EVENTS_AT_ONCE
        while receiver.ready and turn and self._writable and (event := receiver.next_event()) is not None:
            progress = True
            turn -= 1
            if isinstance(event, Command):
                self._handle(event)
            elif isinstance(event, bytes):
                content = True
                self._conversation.content(event)
            else:
                self._conversation.fault(event.reply)
        self._pumping = False
        if content:
            self._conversation.flush()
        if not turn and receiver.ready:
            self._yield_turn()
        if (progress or self._half_closed) and (receiver.output or not receiver.waiting):
            self._settle()
        elif not self._reading or len(receiver.buffer) > UNREAD_LIMIT:  # never less than `unread`, which is a property
            self._control_reading()

    def _yield_turn(self) -> None:
        """One client must not keep all others waiting: let them come first, and take no more octets meanwhile."""
        if not self._yielded:
            self._yielded = True
            self._loop.call_soon(self._next_turn)
            self._control_reading()

    def _next_turn(self) -> None:
        self._yielded = False
        self._pump()
        if not self._closing:
            self._control_reading()

    def _settle(self) -> None:
        """After a wake-up that brought us on: write once, set the clock, read on or pause."""
        receiver = self._receiver
        if receiver.output:
            self._transport.write(receiver.take_output())
        if receiver.closed:
            self._end()
            return
        if receiver.waiting:
            if len(receiver.buffer) > UNREAD_LIMIT:
                self._control_reading()
        elif self._half_closed or (self._leaving and self._conversation.transaction is None):
            self._leave()
        elif (state := receiver.state) >= _CHUNKS:
            if self._pace is None:
                self._pace = Pace(self._service.patience, self._loop.time())
                self.deadline = self._pace.deadline
        elif state is not _GREETED or self.deadline == NEVER:
            # The time for HELO runs from the greeting, whatever is said before (T39). There is none where XCLIENT came
            # behind a command that had to wait.
            self.deadline = self._loop.time() + self._service.patience.command
            self._pace = None
        if not self._reading:
            self._control_reading()

    def _handle(self, command: Command) -> None:
        """Have one command answered, now or later."""
        try:
            answer = VERBS[type(command)](self._conversation, command)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a reply
            self.failed(command, error)
            return
        if isinstance(answer, _AT_ONCE):
            self._receiver.answer(command, answer)
        else:
            Answering(self, command, answer)()
            if self._receiver.waiting:  # the client waits for us
                self.deadline = NEVER
                self._pace = None

    def answered(self, command: Command, reply: Reply | Replies) -> None:
        """An answer that may have been waited for has come."""
        receiver = self._receiver
        receiver.answer(command, reply)
        if self._pumping:
            return
        if self._closing:
            self._conversation.reply_lost()
        elif receiver.ready:
            # All in one write: who sent QUIT with the dot closes when it has the reply to the dot, and what comes after
            # would be answered by a reset, as if the reply had been lost (Postfix).
            self._pump(progress=True)
        else:
            self._settle()

    def failed(self, command: Command, error: BaseException) -> None:
        """A bug of ours: the client is told to come again, nothing is delivered."""
        log.error("bug", session=self._conversation.session.id, command=repr(command), exc_info=error)
        reply = self._conversation.broken(command)
        self._conversation.end_transaction()
        self.answered(command, reply)

    def _leave(self) -> None:
        """It would be the client's turn, but it has closed its half, or Moxy is stopping and no transaction is open."""
        if not self._half_closed:
            self._close(replies.SHUTTING_DOWN)
        elif not self._receiver.ready:
            self._end()

    # -- pace

    def _control_reading(self) -> None:
        """Read on, unless a destination is full, the client does not read, has sent far ahead, or had its turn."""
        blocked = self._flow.blocked or not self._writable or self._yielded or self._receiver.unread > UNREAD_LIMIT
        if blocked is self._reading and not self._closing:
            self._reading = not blocked
            if blocked:
                if self._pace is not None:
                    self._pace.held_up = True
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def expire(self, now: float) -> None:
        """The sweeper found our deadline passed: judge the pace of content, or end the session."""
        self._look_for_receipt()
        if self._closing and self._conversation.unconfirmed is not None and now < self._gone_by:
            self._look_again()
        elif self._closing:
            self._transport.abort()
        elif self._pace is None or self._receiver.state < _CHUNKS:
            self._close(replies.TIMEOUT)
        elif (reply := self._pace.judge(now, reading=self._reading)) is not None:
            self._close(reply)
        else:
            self.deadline = self._pace.deadline

    # -- the end

    def _look_for_receipt(self) -> None:
        """Has the client got our verdict on its message? It has if all that we wrote since was acknowledged (D8)."""
        conversation = self._conversation
        if conversation.unconfirmed is not None and not self._receiver.waiting and not unacknowledged(self._transport):
            conversation.reply_received()

    def drain(self) -> None:
        """Moxy is stopping: end the session as soon as no transaction is open (421, RFC 5321 §3.8)."""
        self._leaving = True
        if not self._closing and not self._receiver.waiting and self._conversation.transaction is None:
            self._close(replies.SHUTTING_DOWN)

    def cut_off(self) -> None:
        """Moxy has stopped waiting: close without another word."""
        self._look_for_receipt()
        self._transport.abort()

    def _close(self, reply: Reply) -> None:
        """End the session from our side with a 421."""
        self._look_for_receipt()
        self._receiver.close(replies.closing(self._service.hostname, reply))
        self._transport.write(self._receiver.take_output())
        self._conversation.end_transaction()
        self._end()

    def _end(self) -> None:
        """Close so that the client still gets our last words.

        Closing a socket that holds unread octets resets the connection and may destroy our reply under way (T53): where
        the client may still be sending (in TLS always, for it takes leave), we say that we are done and read its octets
        into nothing until it closes. The same where it has not shown yet that it got our verdict on its message: how it
        closes will show it.
        """
        self._closing = True
        self._gone_by = self._loop.time() + self._service.patience.farewell
        in_doubt = self._conversation.unconfirmed is not None
        may_send = not self._half_closed and (
            self._receiver.state >= _CHUNKS
            or self._receiver.unread > 0
            or not self._reading
            or self._conversation.session.security is not None
        )
        if not (may_send or in_doubt):
            self.deadline = self._gone_by
            self._transport.close()
            return
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        self._close_half()
        self.deadline = self._gone_by
        if in_doubt:
            self._conversation.reply_in_doubt()
            self._look_soon()

    def _close_half(self) -> None:
        self._transport.write_eof()

    def _look_soon(self) -> None:
        """Where nothing more comes from the client, only its system can tell whether it has our verdict.

        Our half is closed, which has most systems acknowledge at once what they have. From a client whose half is open
        its close will come, or a reset: until then an acknowledgement is not yet that it has read.
        """
        if self._half_closed:
            self._loop.call_later(FIRST_LOOK, self._look_again)

    def _look_again(self) -> None:
        if self._conversation.unconfirmed is None or self._transport.is_closing():
            return
        self._look_for_receipt()
        if self._conversation.unconfirmed is not None:
            self.deadline = self._loop.time()  # at the next sweep once more, until its time is over
        else:
            self._transport.close()
