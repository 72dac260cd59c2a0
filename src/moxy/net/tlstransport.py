"""TlsTransport: the server's side of TLS between a transport and the protocol that used it in the clear until now.

Why not the event loop's own: that has no half-close, wants a task and a timer for each handshake, and hides from a
session that it began. Here a connection is counted from its first octet, its deadline stays a field (P7), and the end
of a session says as much as without TLS.

Rules:
- What was received in the clear before is not looked at: it is no part of the TLS connection (T32).
- All that can be decrypted is handed on at once, and what is written leaves at once: between two wake-ups nothing waits
  here but part of a record, and what has its turn later.
- Who sends much and says little has turns like everybody: records that change keys (27 octets, 27 µs) or hold single
  octets are decrypted some at a time, and meanwhile no more is read.
- The end of input is told once, be it TLS's own (close_notify, RFC 8446 §6.1) or TCP's. That the first is missing
  means nothing: a message ends with its dot.
- Nothing that a peer sends raises an exception: it ends the connection, and the reason is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from moxy.mail import TlsFacts

if TYPE_CHECKING:
    from moxy.net.tlsserver import ServerTls

BLOCK: Final = 65_536
"""Octets asked for at once; OpenSSL gives those of one record, 16 KiB at most."""

SLICE: Final = 8192
"""Octets given to OpenSSL at once; more, where as much was content in this wake-up: each time costs a few µs."""

BARREN: Final = 20_480
"""Octets without content that are looked at in one wake-up: more than a record (16 KiB), which says nothing before its
end.
"""

SUBJECT_LENGTH: Final = 256
"""As much of the name in a client's certificate as is told."""


class Secured(Protocol):
    """The protocol of an encrypted connection, which hears more than others."""

    def secured(self, facts: TlsFacts) -> None:
        """The handshake is done: from now on what is written and read is encrypted."""
        ...

    def not_secured(self, reason: str) -> None:
        """The handshake has failed. The connection is being closed."""
        ...


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """Encrypts the connection of `transport` for its protocol, which `owner` stands behind, as `tls` says.

    Until `owner.secured` nothing may be written. To `transport` this is its protocol from now on.
    """

    __slots__ = (
        "_asks_client", "_done", "_incoming", "_input_over", "_kept", "_outgoing", "_owner", "_paused", "_protocol",
        "_rest", "_tls", "_transport", "get_extra_info", "is_closing",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, owner: Secured, tls: ServerTls) -> None:
        self._transport = transport
        self._owner: Secured | None = owner
        self._protocol: asyncio.Protocol | None = cast("asyncio.Protocol", transport.get_protocol())
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._asks_client = tls.asks_clients
        self._done = False  # have we closed our half, or failed?
        self._input_over = False
        self._kept = False  # is the connection to stay open when the peer's half is closed?
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self._rest = b""  # what was received, and has its turn later; meanwhile `transport` is paused
        self._paused = False  # does the protocol want no more?
        transport.set_protocol(self)

    # -- for the transport we are a protocol

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand on what comes of it. Behind a close_notify OpenSSL reads no more, and would keep it all."""
        if self._done or self._input_over:
            return
        taken = self._read(data)
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())  # the end of our handshake, if nothing else was written
        if taken < len(data):
            self._rest = data[taken:]
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """The next turn for what waits."""
        if self._paused:
            return
        data, self._rest = self._rest, b""
        self.data_received(data)
        if not (self._rest or self._paused or self.is_closing()):
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer's TCP sends no more."""
        if self._owner is not None:
            self._fail("the connection was closed in the middle of the handshake")
            return False
        return self._kept if self._input_over else self._end_input()

    def pause_writing(self) -> None:
        """The peer does not read."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._owner is not None:
            self._fail("the connection was lost in the middle of the handshake")
        self._done = True
        self._rest = b""
        protocol, self._protocol = self._protocol, None  # no cycle is left for the collector
        if protocol is not None:
            protocol.connection_lost(exc)

    # -- for the protocol we are a transport

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and send."""
        if self._done:
            return
        tls = self._tls
        written = tls.write(data)  # at most a record
        while written < len(data):
            written += tls.write(data[written:])
        self._transport.write(self._outgoing.read())

    def pause_reading(self) -> None:
        """Hand on no more."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._paused = False
        if self._rest:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._transport.resume_reading()

    def write_eof(self) -> None:
        """Say that we send no more, in TLS and in TCP."""
        self._take_leave()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close, once everything is sent."""
        self._take_leave()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._done = True
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """Octets that we still hold."""
        return self._transport.get_write_buffer_size()

    # -- TLS

    def _shake_hands(self, owner: Secured) -> bool:
        """Go on with the handshake; is it done?"""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.write(self._outgoing.read())
            return False
        except ssl.SSLError as error:
            self._fail(str(error.reason or error.strerror or error).replace("_", " ").lower())
            return False
        self._owner = None
        owner.secured(self._facts())
        return not self._done

    def _fail(self, reason: str) -> None:
        self._done = True
        owner, self._owner = self._owner, None
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())  # the alert tells the peer why
        if owner is not None:
            owner.not_secured(reason)
        self._transport.close()

    def _facts(self) -> TlsFacts:
        tls = self._tls
        version, (cipher, _, _) = tls.version() or "", tls.cipher() or ("", "", 0)
        certificate = tls.getpeercert(binary_form=True) if self._asks_client else None
        if certificate is None:
            return TlsFacts(version, cipher)
        return TlsFacts(version, cipher, subject_of(certificate), hashlib.sha256(certificate).hexdigest())

    def _read(self, data: bytes) -> int:
        """Hand on everything that is there, or as much as is one turn's; how many octets of `data` were looked at.

        A record that is not yet whole stays with OpenSSL.
        """
        pieces: list[bytes] = []
        taken = content = 0
        ended = broken = False
        try:
            while taken < len(data) and taken - content < BARREN and not (ended or self._done):
                end = taken + max(SLICE, content)
                self._incoming.write(data[taken:end])
                taken = end
                if self._owner is None or self._shake_hands(self._owner):
                    octets, ended = self._decrypt(pieces)
                    content += octets
        except ssl.SSLError:  # no TLS any more: somebody has changed what was sent, or made it up
            broken = True
        if broken:  # before they are answered: OpenSSL writes no more, either
            self._fail("")
        if pieces and self._protocol is not None:
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended and not self._done and not self._input_over and not self._end_input():
            self.close()
        return len(data) if ended or self._done else taken

    def _decrypt(self, pieces: list[bytes]) -> tuple[int, bool]:
        """Add to `pieces` what OpenSSL can decrypt; how much that is, and whether it was the last. Raises SSLError."""
        tls, incoming = self._tls, self._incoming
        content = 0
        try:
            while incoming.pending:
                piece = tls.read(BLOCK)
                if not piece:
                    return content, True
                pieces.append(piece)
                content += len(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            return content, True
        return content, False

    def _end_input(self) -> bool:
        """The peer sends no more; does the protocol go on?"""
        self._input_over = True
        self._kept = self._protocol is not None and bool(self._protocol.eof_received())
        return self._kept

    def _take_leave(self) -> None:
        """Send a close_notify, the last of our records."""
        if self._done:
            return
        self._done = True
        with contextlib.suppress(ssl.SSLError):  # as a rule that the peer's own is not here yet: we do not wait for it
            self._tls.unwrap()
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())


def subject_of(certificate: bytes) -> str:
    """The subject of a certificate (DER), as RFC 4514 writes it."""
    from cryptography import x509  # imported already, where there is TLS; nobody else should pay for it

    try:
        return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()[:SUBJECT_LENGTH]
    except (ValueError, x509.InvalidVersion):  # OpenSSL took it all the same
        return ""
