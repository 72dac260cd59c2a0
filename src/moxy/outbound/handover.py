"""What a destination is told of the client, and how (`identity` in its settings).

    none             nothing: the trace field does not name the client (`anonymous`)
    header           the trace field, which `inbound` writes
    xforward         and XFORWARD before each MAIL (`forwarding`)
    xclient          XCLIENT after EHLO: the destination takes us for the client
    proxy-v1, -v2    a PROXY header before anything else: the same
    helo             EHLO in the client's name

The last four rows belong to a connection from its beginning to its end, so it serves one client only (T25).
"""

from __future__ import annotations

import re
from typing import Final, Literal

from moxy.mail import Session
from moxy.outbound.identity import PERSONAL
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import ClientIdentity
from moxy.smtp import clientname
from moxy.smtp.proxyheader import ClientTls, ProxyHeader, write

HEADERS: Final[dict[str, Literal[1, 2]]] = {"proxy-v1": 1, "proxy-v2": 2}
"""Identities that are a PROXY header, and its version."""

_RFC_NAME: Final = re.compile(r"[A-Za-z0-9.-]+|\[[A-Za-z0-9.:-]+\]")


def identity(settings: Settings, session: Session) -> ClientIdentity | None:
    """What a connection that is made for this session now stands for; None where it may serve anybody."""
    if settings.identity not in PERSONAL:
        return None
    name, login = session.told.get("NAME", ""), session.told.get("LOGIN", "")
    known = session.client, session.client_port, session.hello, session.extended, session.tls
    return *known, session.server(), name, login


def header(settings: Settings, session: Session) -> bytes:
    """The PROXY header: UNKNOWN, or LOCAL, for a client without an address."""
    version = HEADERS[settings.identity]
    if not session.client:
        return write(ProxyHeader(local=True), version)
    place = (session.client, session.client_port, *session.server())
    return write(ProxyHeader(*place, tls=ClientTls() if session.tls else None), version)


def hello_name(settings: Settings, session: Session, hostname: str) -> str:
    """What we call ourselves when we introduce ourselves."""
    return own_name(session, hostname) if settings.identity == "helo" else hostname


def own_name(session: Session, hostname: str) -> str:
    """The client's own name, if RFC 5321 §4.1.1.1 allows it and a destination so will; else ours."""
    return session.hello if _RFC_NAME.fullmatch(session.hello) else hostname


def xclient(announced: frozenset[str], session: Session) -> tuple[bytes, ...]:
    """The commands that hand the client over, with what the destination has announced; none if that is not enough.

    The address comes last: with it the destination judges anew whether we may say XCLIENT (T26). LOGIN is only told
    where a proxy before us has told it.
    """
    if "ADDR" not in announced:
        return ()
    told = session.told
    server, server_port = session.server()
    attributes = {
        "HELO": session.hello,
        "PROTO": "ESMTP" if session.extended else "SMTP",
        "NAME": told.get("NAME", ""),
        **({"LOGIN": told["LOGIN"]} if told.get("LOGIN") else {}),
        "DESTADDR": clientname.address(server),
        "DESTPORT": clientname.port(server_port),
        "PORT": clientname.port(session.client_port),
        "ADDR": clientname.address(session.client),
    }
    return clientname.commands("XCLIENT", clientname.only(attributes, announced))


def xforward(announced: frozenset[str], session: Session, id: str) -> tuple[bytes, ...]:
    """The commands that tell of the client of one transaction, whose id is `id`; none if nothing is announced.

    SOURCE is never LOCAL: that would have the destination rewrite header fields as for its own users.
    """
    attributes = {
        "NAME": session.told.get("NAME", ""),
        "ADDR": clientname.address(session.client),
        "PORT": clientname.port(session.client_port),
        "PROTO": "ESMTP" if session.extended else "SMTP",
        "HELO": session.hello,
        "IDENT": id,
        "SOURCE": "REMOTE",
    }
    return clientname.commands("XFORWARD", clientname.only(attributes, announced))
