"""TLS as a client: how certificates are judged, and sessions that are taken up again.

An event loop takes a context and no session. So each host gets a context of its own here, which does nothing but hand
the real one the host's last session when a connection begins.

Rules:
- TLS 1.2 or later (RFC 8996).
- A session that is taken up again brings no certificate: neither chain nor name is looked at (measured). So a session
  is kept only of a connection that was good, and used only for the same host under the same name.
- What goes wrong is an OSError with a text for the operator; `explain` makes it plain.
- The loop is told no name that cannot be one: it would print a traceback.

Measured, our side of a handshake with an ECDSA certificate that is judged: 860 µs; with a session taken up again 540,
200 of them for Python's copy of the session. With RSA the other side saves the most: 1,300 and 350 µs.

RFC 8446, RFC 5246 (TLS); RFC 6066 §3 (SNI); RFC 9525 (names in certificates).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from moxy.errors import MoxyError, UnusableFile

REMEMBERED: Final = 1000
"""Hosts whose last session is kept, some 15 KiB each."""

HANDSHAKE: Final = 60.0
"""Seconds for a handshake where nobody else counts them, as in the standard library."""

LENIENT: Final = "DEFAULT:!aNULL:!eNULL:@SECLEVEL=1"
"""Ciphers and keys where nobody judges the certificate: to refuse a short key would only lead to none at all."""

Shield = ssl.SSLObject
"""The encryption of one connection, as its transport has it under the name `ssl_object`."""

_PLACE_IN_SOURCE: Final = re.compile(r" ?\(_ssl\.c:\d+\)")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to take for who it should be."""

    judged: bool = False
    """Must the chain lead to a certificate authority that we trust, and the name be that of the host?"""
    authorities: Path | None = None
    """The file of those that we trust, in PEM; None: the system's."""
    pins: frozenset[str] = frozenset()
    """SHA-256 of the only certificates that we take, in hexadecimal; none: any that is good otherwise."""
    chain: Path | None = None
    """The file of our own certificate, with those that vouch for it, if the other side wants one."""
    key: Path | None = None
    """The file of its private key."""


class Agreed(NamedTuple):
    """What was agreed upon: `TLSv1.3`, the cipher's name, and whether an earlier session was taken up again."""

    version: str
    cipher: str
    resumed: bool


class _OfHost(ssl.SSLContext):
    """The context of one host under one name: what a loop asks of it goes to the real one, with the last session."""

    real: ssl.SSLContext
    session: ssl.SSLSession | None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        del session
        return self.real.wrap_bio(incoming, outgoing, server_side, server_hostname, self.session)


class _Gate(asyncio.Protocol):
    """Whose a connection is until its handshake is over, for a loop may tell what comes behind it too early."""

    def __init__(self) -> None:
        self.heard = b""

    def data_received(self, data: bytes) -> None:
        self.heard += data


class TlsClient:
    """Makes connections safe by one `Trust`. Raises MoxyError for files that cannot be used."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self._real = _context(trust)
        self._hosts: dict[tuple[str, str], _OfHost] = {}
        self._failed: dict[str, float] = {}

    def context(self, host: str, name: str) -> ssl.SSLContext:
        """For a connection to `host`, whose certificate should be for `name`. Raises OSError if none can be for it."""
        context = self._hosts.get((host, name))
        if context is None:
            _refuse_no_name(name)
            context = self._hosts[host, name] = _OfHost(ssl.PROTOCOL_TLS_CLIENT)
            context.real, context.session = self._real, None
            if len(self._hosts) > REMEMBERED:
                del self._hosts[next(iter(self._hosts))]
        return context

    async def connect(
        self, protocol: asyncio.Protocol, address: tuple[str, int], host: str, name: str, preface: bytes = b""
    ) -> asyncio.Transport:
        """Connect, and begin with TLS; but `preface` goes before, in clear. `protocol` hears of it once all is well.

        Raises OSError.
        """
        gate = _Gate()
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: gate, *address)
        try:
            if preface:
                transport.write(preface)
            if gate.heard:
                raise ssl.SSLError(1, "the other side speaks in clear")
            made = await self.start(transport, gate, host, name, HANDSHAKE)
        except BaseException:
            transport.abort()
            raise
        made.set_protocol(protocol)
        protocol.connection_made(made)
        if gate.heard:
            protocol.data_received(gate.heard)
        return made

    async def start(
        self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol, host: str, name: str, patience: float
    ) -> asyncio.Transport:
        """Shake hands on a connection that is open; the transport to use from now on, which `protocol` is told nothing
        of. Nothing that is in clear gets to `protocol` once this has been called.

        Raises OSError; the connection is closed then, and `protocol` may not be told.
        """
        if transport.is_closing():
            raise ConnectionAbortedError("the connection was closed before the handshake")
        transport.set_write_buffer_limits()  # the new transport has its own buffer before this one
        made = await asyncio.get_running_loop().start_tls(
            transport,
            protocol,
            self.context(host, name),
            server_hostname=name,
            ssl_handshake_timeout=max(patience, 0.001),
        )
        if made is None or made.is_closing():  # whoever aborts it meanwhile is told of no error
            raise ConnectionAbortedError("the connection was closed during the handshake")
        return made

    def objection(self, connection: Shield) -> str:
        """Why the certificate of the other side is not one that we take; "" if it is."""
        if not self.trust.pins:
            return ""
        found = hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
        return "" if found in self.trust.pins else f"the certificate's fingerprint is {found}"

    def remember(self, host: str, name: str, connection: Shield) -> None:
        """Keep the session of a connection that is good. In TLS 1.3 it is there once the other side has spoken.

        One that was taken up again is kept already. To ask for its successor would cost 180 µs, half of what it saves.
        """
        context = self._hosts.get((host, name))
        if context is not None and not connection.session_reused:
            context.session = connection.session

    def forget(self, host: str, name: str) -> None:
        """Begin anew at the next connection: with this session it went wrong."""
        self._hosts.pop((host, name), None)

    def avoid(self, host: str, until: float) -> None:
        """Have `avoids` tell that TLS with this host goes wrong, until that time."""
        self._failed.pop(host, None)
        self._failed[host] = until
        if len(self._failed) > REMEMBERED:
            del self._failed[next(iter(self._failed))]

    def avoids(self, host: str, now: float) -> bool:
        """Is it better not to try?"""
        return bool(self._failed) and self._failed.get(host, now) > now


def agreed(connection: Shield) -> Agreed:
    """What was agreed upon in a handshake."""
    cipher = connection.cipher()
    return Agreed(connection.version() or "", cipher[0] if cipher else "", bool(connection.session_reused))


def is_tls(error: BaseException) -> bool:
    """Is it the TLS of a connection that went wrong, and not the connection itself?"""
    return isinstance(error, ssl.SSLError)


def explain(error: BaseException) -> str:
    """What went wrong, for the operator."""
    return _PLACE_IN_SOURCE.sub("", str(error)) or type(error).__name__


def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525 §2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if trust.judged:
        _trust(context, trust.authorities)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers(LENIENT)
    if trust.chain is not None:
        _load_own(context, trust.chain, trust.key)
    return context


def _trust(context: ssl.SSLContext, authorities: Path | None) -> None:
    if authorities is None:
        context.load_default_certs()  # some 100 ms for the 140 of a usual system
        return
    try:
        context.load_verify_locations(cafile=authorities)
    except ssl.SSLError:
        raise UnusableFile(authorities, "holds no certificate in PEM form") from None
    except OSError as error:
        raise UnusableFile(authorities, f"cannot be read: {error.strerror}") from None


def _load_own(context: ssl.SSLContext, chain: Path, key: Path | None) -> None:
    def no_password() -> str:
        raise MoxyError(f"{key or chain} holds a key that is encrypted with a password")

    try:
        context.load_cert_chain(chain, key, no_password)
    except ssl.SSLError as error:
        raise MoxyError(f"{chain} and {key or chain} hold no certificate and its key: {explain(error)}") from None
    except OSError as error:
        raise MoxyError(f"{chain} or {key or chain} cannot be read: {error.strerror}") from None


def _refuse_no_name(name: str) -> None:
    try:
        fits = bool(name) and not name.startswith(".") and bool(name.encode("idna"))
    except UnicodeError:
        fits = False
    if not fits:
        raise ssl.SSLError(1, f"no certificate can be for `{name}`")
