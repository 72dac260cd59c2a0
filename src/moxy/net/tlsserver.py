"""ServerTls: the server's side of TLS for a listener: which certificate a client gets, and tickets for its next visit.

Connections begin in a context without a certificate, which lives as long as the listener: it holds the key of the
tickets by which sessions are resumed (RFC 8446 §2.2, RFC 5077). The client's hello tells the name that it wants (SNI,
RFC 6066 §3), and puts the context of a certificate in its place. So tickets outlive a change of certificates, and where
workers are forked from the process that has made this, each of them takes the tickets of the others.

Bugs: the key of the tickets changes only with a start or a reload. Who steals it from our memory can read the sessions
by TLS 1.2 that were recorded before (not those by TLS 1.3, which have secrets of their own).
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moxy.net.certificate import Certificate, authorities_context


class ServerTls:
    """TLS for the clients of a listener, from its first octet if `implicit`, else after STARTTLS.

    The first of `certificates` is the one for clients that want no name, or one that none is for. `authorities` is a
    file (PEM) that says whose certificates clients are asked for, and all certificates must know of it.
    """

    def __init__(
        self, certificates: Sequence[Certificate], authorities: Path | None = None, *, implicit: bool = False
    ) -> None:
        self.implicit = implicit
        self.asks_clients = authorities is not None
        self._certificates = certificates
        self._authorities = authorities
        self.context = authorities_context(authorities)
        self.context.sni_callback = self._choose
        self._index()
        _hush_names_that_are_none()

    def refresh(self) -> None:
        """Read again whatever has changed on disk. Never raises."""
        for certificate in self._certificates:
            certificate.refresh()
        if self._names != [certificate.names for certificate in self._certificates]:
            self._index()

    def certificate_for(self, name: str | None) -> Certificate:
        """The one for a client that wants `name`: an exact name before a wildcard, the earlier before the later."""
        if name is None:
            return self._certificates[0]
        name = name.lower().rstrip(".")
        exact = self._by_name.get(name)
        return exact or self._by_name.get(f"*.{name.partition('.')[2]}") or self._certificates[0]

    def _index(self) -> None:
        self._names = [certificate.names for certificate in self._certificates]
        self._by_name: dict[str, Certificate] = {}
        for certificate in self._certificates:
            for name in certificate.names:
                self._by_name.setdefault(name, certificate)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """OpenSSL asks, in the middle of a client's hello."""
        connection.context = self.certificate_for(name).context(self._authorities)


def _hush_names_that_are_none() -> None:
    """Any client may want a name that is not ASCII: the handshake fails, and Python would print a traceback of it."""
    before = sys.unraisablehook

    def hush(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
            before(unraisable)

    if getattr(before, "__name__", "") != hush.__name__:
        sys.unraisablehook = hush
