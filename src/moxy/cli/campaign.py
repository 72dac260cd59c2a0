"""Campaign: what `moxy send` is to send, to which server, and how that is connected to."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from moxy.errors import MoxyError
from moxy.mail.route import host_port
from moxy.net.tlsclient import TlsClient, explain, is_tls

CONNECT_PATIENCE: Final = 30.0
"""Seconds for a connection, and for the handshake of TLS."""

T = TypeVar("T", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Campaign:
    """Messages to send: all with the same envelope."""

    server: tuple[str, int]
    """Host and port, or the path of a Unix socket and 0."""
    hello: str
    reverse_path: str
    recipients: tuple[str, ...]
    count: int = 1
    concurrency: int = 1
    """Connections at once."""
    per_connection: int = 100
    """Messages over one connection, one after another."""
    pipelining: bool = True
    lmtp: bool = False
    """Speak LMTP (RFC 2033)?"""
    bdat: bool = False
    """Send content by BDAT (RFC 3030) to a server that offers CHUNKING?"""
    tls: TlsClient | None = None
    """What encrypts, after STARTTLS, or `implicit` from the first octet."""
    implicit: bool = False

    @property
    def place(self) -> str:
        """The server, as people write it."""
        return host_port(*self.server)


async def connect(campaign: Campaign, make: Callable[[], T]) -> T:
    """A connection to the server, for a protocol that `make` makes. Raises MoxyError."""
    try:
        return await asyncio.wait_for(_connected(campaign, make), CONNECT_PATIENCE)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        raise MoxyError(f"cannot connect to {campaign.place}: {_reason(error)}") from error


async def _connected(campaign: Campaign, make: Callable[[], T]) -> T:
    host, port = campaign.server
    loop = asyncio.get_running_loop()
    if campaign.tls is not None and campaign.implicit:
        protocol = make()
        await campaign.tls.connect(protocol, campaign.server, host, host)
    elif host.startswith("/"):
        _, protocol = await loop.create_unix_connection(make, host)
    else:
        _, protocol = await loop.create_connection(make, host, port)
    return protocol


async def encrypt(campaign: Campaign, transport: asyncio.Transport, protocol: T) -> asyncio.Transport:
    """The transport of a connection on which STARTTLS was accepted. Raises OSError."""
    if campaign.tls is None:
        raise RuntimeError("nobody asked for TLS")
    host = campaign.server[0]
    return await campaign.tls.start(transport, protocol, host, host, CONNECT_PATIENCE)


def _reason(error: OSError | UnicodeError) -> str:
    """In words for people: asyncio's own repeat the address, once for each that was tried."""
    if is_tls(error):
        return explain(error)
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "none of its addresses answers"
