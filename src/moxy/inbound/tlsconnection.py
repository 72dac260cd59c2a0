"""TlsConnection: a client's connection where there is TLS, after STARTTLS or from the first octet.

Why a class of its own: who is served without TLS pays nothing for it.

Rules:
- When TLS begins, everything that was said in the clear is forgotten (RFC 3207 §4.2, T32): receiver, conversation and
  session are new ones, nothing is carried over but who the client is, as its connection or a trusted proxy has said.
  The old ones get no octet more.
- The connection counts from its first octet, and the handshake has the time of a greeted client for its EHLO (T39).
- Until the handshake is done nothing is said; what is left to do then is to close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from structlog import get_logger

from moxy.inbound.connection import ClientConnection
from moxy.inbound.service import Service
from moxy.mail import Session, TlsFacts
from moxy.mail.client import ClientPattern
from moxy.net.overhearing import put_beneath
from moxy.net.tlstransport import TlsTransport
from moxy.smtp.reply import Reply

if TYPE_CHECKING:
    from moxy.net.tlsserver import ServerTls  # where nobody has a certificate, what reads them is not loaded

LEAVE_SECONDS: Final = 0.5
"""How long a client that said QUIT with its dot has to close by itself."""

log = get_logger("moxy.inbound")


class TlsConnection(ClientConnection):
    """One client's connection to a listener with TLS."""

    __slots__ = ("_handshaking", "_tls")

    def __init__(
        self,
        service: Service,
        loop: asyncio.AbstractEventLoop,
        *,
        lmtp: bool = False,
        xclient_from: Sequence[ClientPattern] = (),
        tls: ServerTls,
    ) -> None:
        super().__init__(service, loop, lmtp=lmtp, xclient_from=xclient_from)
        self._tls = tls
        self._handshaking = tls.implicit

    def secured(self, facts: TlsFacts) -> None:
        """The handshake is done: a session begins of which nothing is known but how it is encrypted."""
        before = self._conversation.session
        session = Session(before.id, before.client, before.client_port, lmtp=self._lmtp)
        session.server, session.told = before.server, before.told
        session.tls, session.security = True, facts
        self._begin(session, trusted=self._conversation.distrust is not None)
        self._handshaking = False
        log.debug("encrypted", session=session.id, tls=str(facts), certificate=facts.subject)
        if self._tls.implicit:
            super()._greet()
        else:  # RFC 3207 §4.2: no second greeting
            self.deadline = self._loop.time() + self._service.patience.hello

    def not_secured(self, reason: str) -> None:
        """There was no handshake. Strangers try all sorts of things: it is told, but not each time."""
        if self._closing:
            return
        self._closing = True
        self.deadline = self._loop.time() + self._service.patience.farewell
        if self._service.may_complain("handshake"):
            log.info("handshake_failed", client=self._conversation.session.client, reason=reason)

    def _begin(self, session: Session, *, trusted: bool) -> None:
        super()._begin(session, trusted=trusted)
        self._conversation.starttls = not (self._tls.implicit or session.tls)

    def _greet(self) -> None:
        if self._handshaking:
            self._secure()
        else:
            super()._greet()

    def _end(self) -> None:
        """The session is over; or, if STARTTLS was accepted, the part of it in the clear."""
        if self._receiver.secures and not (self._handshaking or self._closing or self._half_closed):
            self._handshaking = True
            self._secure()
        else:
            super()._end()

    def _secure(self) -> None:
        self._conversation.end()
        self._conversation.reply_lost()
        self._transport = put_beneath(self._transport, lambda transport: TlsTransport(transport, self, self._tls))
        self.deadline = self._loop.time() + self._service.patience.hello

    def _close_half(self) -> None:
        """Not at once where the client may not have our verdict, and has yet to close: who closes without having read
        our close_notify answers it by a reset, as if the verdict had been lost (Postfix; TCP has it so for any octets).
        """
        if self._conversation.unconfirmed is None or self._half_closed:
            super()._close_half()
        else:
            self._loop.call_later(LEAVE_SECONDS, self._transport.write_eof)

    def _close(self, reply: Reply) -> None:
        """With a 421 only where that would be encrypted."""
        if self._handshaking:
            self.not_secured(reply.lines[0])
            self._transport.abort()
        else:
            super()._close(reply)
