"""Who a client is: as its connection says, and as a trusted proxy says instead (PROXY, XCLIENT).

Rules: what a proxy says is taken over here and nowhere else, and only from those who are listed (T27). All that is
judged by the client's address is judged by the one taken over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from moxy.mail import Session
from moxy.mail.client import plain
from moxy.smtp.address import AddressError, parse_hello
from moxy.smtp.proxyheader import ProxyHeader


def arrived(id: str, transport: asyncio.BaseTransport, *, lmtp: bool) -> Session:
    """The session of a client that has connected."""
    client, port = _endpoint(transport, "peername")
    session = Session(id, client, port, lmtp=lmtp)
    session.server = partial(_endpoint, transport, "sockname")
    return session


def _endpoint(transport: asyncio.BaseTransport, name: str) -> tuple[str, int]:
    """Address and port; a Unix socket has a path, or nothing."""
    found = transport.get_extra_info(name)
    return (plain(found[0]), found[1]) if isinstance(found, tuple) else ("", 0)


def heed_header(session: Session, header: ProxyHeader) -> None:
    """Take over what a PROXY header says; the peer's own address stays where it names nobody."""
    if header.source and not header.local:
        session.client, session.client_port = plain(header.source), header.source_port
        server = plain(header.destination), header.destination_port
        session.server = lambda: server
    session.tls = session.tls or header.tls is not None


def heed_xclient(session: Session, attributes: Mapping[str, str]) -> None:
    """Take over the attributes of XCLIENT: what none has named stays, what is not available is unknown.

    They may come in several commands, since a command has only so many octets.
    """
    told = session.told = {**session.told, **attributes}
    if "ADDR" in told:
        session.client, session.client_port = plain(told["ADDR"]), int(told.get("PORT") or 0)
    if "DESTADDR" in told:
        server = plain(told["DESTADDR"]), int(told.get("DESTPORT") or 0)
        session.server = lambda: server
    session.hello = _hello(told.get("HELO", ""))


def _hello(name: str) -> str:
    """The name, if a client could have given it to us."""
    try:
        return parse_hello(name.encode())
    except AddressError:
        return ""
