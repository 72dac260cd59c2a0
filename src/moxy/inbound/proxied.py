"""Proxied: a connection from a listed proxy, until its PROXY header has told who the client is.

It stands between the transport and the ClientConnection only that long, and only where a listener has `proxy_from`. So
nobody else's octets are ever taken for a header (T27), and whatever else comes first on a connection, such as TLS,
begins behind it.

Rules:
- Nothing is said before the header has come; it must come whole within the time for EHLO.
- A wrong header, or none, closes the connection: neither the proxy's address nor any other is right for that client.
- What comes behind the header is handed over with the connection, octet by octet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from structlog import get_logger

from moxy.inbound.connection import ClientConnection
from moxy.inbound.service import Service
from moxy.mail.client import ClientPattern, any_matches
from moxy.mail.route import host_port
from moxy.net.deadlines import NEVER
from moxy.smtp.proxyheader import ProxyHeaderError, read

ANY_HEADER: Final = 64
"""Octets of a broken beginning that the operator is shown."""

log = get_logger("moxy.inbound")


class Proxied(asyncio.Protocol):
    """The beginning of a connection that may come from a proxy in `proxy_from`.

    `connection` is the client's, `protocol` that or what stands around it.
    """

    __slots__ = ("_buffer", "_connection", "_loop", "_protocol", "_proxy_from", "_service", "_transport", "deadline")

    _transport: asyncio.Transport

    def __init__(
        self,
        service: Service,
        loop: asyncio.AbstractEventLoop,
        connection: ClientConnection,
        protocol: asyncio.Protocol,
        proxy_from: Sequence[ClientPattern],
    ) -> None:
        self._service = service
        self._loop = loop
        self._connection = connection
        self._protocol = protocol
        self._proxy_from = proxy_from
        self._buffer = b""
        self.deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header, if the peer is listed; else it is a client like any other.

        It is that, too, where we are full or about to stop: it is told so at once.
        """
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        service = self._service
        peer = transport.get_extra_info("peername")
        listed = isinstance(peer, tuple) and any_matches(self._proxy_from, peer[0])
        if not listed or service.draining or len(service.connections) >= service.bounds.sessions:
            self._hand_over(b"")
            return
        service.connections.add(self)
        service.sweeper.watched.add(self)
        self.deadline = self._loop.time() + service.patience.hello

    def data_received(self, data: bytes) -> None:
        """Take octets until the header is whole."""
        self._buffer += data
        try:
            found = read(self._buffer)
        except ProxyHeaderError as error:
            self._refuse(str(error))
            return
        if found is not None:
            header, length = found
            self._connection.header = header
            self._leave()
            self._hand_over(self._buffer[length:])

    def _hand_over(self, behind: bytes) -> None:
        """The connection is the client's from here on."""
        self._transport.set_protocol(self._protocol)
        self._protocol.connection_made(self._transport)
        if behind:
            protocol = cast("asyncio.Protocol", self._transport.get_protocol())  # TLS may be between by now
            protocol.data_received(behind)

    def eof_received(self) -> bool:
        """The proxy has closed; many do so after they have seen that we are alive."""
        if self._buffer:
            self._refuse("the header is cut off")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone before the header had come."""
        del exc
        self._leave()

    # -- as for every connection of the service

    def expire(self, now: float) -> None:
        """The sweeper found our deadline passed."""
        del now
        self._refuse("no PROXY header came")

    def drain(self) -> None:
        """Moxy is stopping: no transaction is open here."""
        self.cut_off()

    def cut_off(self) -> None:
        """Close without a word."""
        self._leave()
        self._transport.abort()

    def _refuse(self, reason: str) -> None:
        peer = self._transport.get_extra_info("peername")
        begins = self._buffer[:ANY_HEADER].decode(errors="backslashreplace")
        log.warning("proxy_header_refused", proxy=host_port(*peer[:2]), reason=reason, begins=begins)
        self.cut_off()

    def _leave(self) -> None:
        self.deadline = NEVER
        self._service.connections.discard(self)
        self._service.sweeper.watched.discard(self)
