"""How a new connection to a destination begins: its greeting, our EHLO or LHLO, what it calls itself, and XCLIENT.

RFC 5321 §3.1, §3.2; RFC 2033 §4.1.
"""

from __future__ import annotations

from typing import Final

from structlog import get_logger

from moxy.mail import Session
from moxy.outbound.handover import hello_name, own_name, xclient
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Ground, Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

GREETED: Final = 220

log = get_logger("moxy.outbound")


async def introduce(
    upstream: Upstream, addresses: list[str], ground: Ground, settings: Settings, session: Session
) -> Upstream | Reply:
    """Await the greeting, say EHLO, or HELO to a server that knows no EHLO; LHLO knows nothing else.

    Where the destination is to take us for the client, XCLIENT and another EHLO follow. Returns the connection, fit for
    transactions, or the reply for the client. `addresses` are the host's.
    """
    hello = b"LHLO" if settings.protocol == "lmtp" else b"EHLO"
    (greeting,) = await upstream.greeting
    if greeting.code != GREETED:
        return _refused(upstream, greeting)
    hostname = hello_name(settings, session, ground.hostname).encode()
    (reply,) = await upstream.exchange(hello + b" " + hostname, patience=ground.reply)
    spoken = {_first_word(greeting), _first_word(reply)}
    if reply.permanent and upstream.lost is None and hello == b"EHLO":
        (reply,) = await upstream.exchange(b"HELO " + hostname, patience=ground.reply)
        spoken.add(_first_word(reply))
    if not reply.positive:
        return _refused(upstream, reply)
    # What a server calls itself is hidden if it looks like a host's name, or is said twice: "ESMTP" alone is no secret.
    names_of_it = {upstream.host.name, *addresses, *(word for word in spoken if "." in word or ":" in word)}
    if len(spoken) == 1:
        names_of_it |= spoken
    upstream.hide(frozenset(name.strip("[]").lower() for name in names_of_it))
    if settings.identity == "xclient":
        return await _speak_for(upstream, hello, ground, session)
    return upstream


async def _speak_for(upstream: Upstream, hello: bytes, ground: Ground, session: Session) -> Upstream | Reply:
    """XCLIENT, and EHLO in the client's name, since a new EHLO is what counts after it (XCLIENT_README; T26)."""
    commands = xclient(upstream.extensions.words("XCLIENT"), session)
    if not commands:
        return _unusable(upstream, "XCLIENT is not offered to us, or without ADDR")
    for command in commands:
        (reply,) = await upstream.exchange(command, patience=ground.reply)
        if reply.code != GREETED:
            return _unusable(upstream, f"XCLIENT is answered: {reply}")
    name = own_name(session, ground.hostname)
    (reply,) = await upstream.exchange(hello + b" " + name.encode(), patience=ground.reply)
    return upstream if reply.positive else _unusable(upstream, f"{hello.decode()} after XCLIENT is answered: {reply}")


def _unusable(upstream: Upstream, reason: str) -> Reply:
    """Without the client's identity nothing may be sent: the destination would judge by ours (T28)."""
    log.warning("identity_not_taken", destination=str(upstream.host), reason=reason)
    lost = upstream.lost
    upstream.quit()
    return lost or replies.IDENTITY_REFUSED


def _refused(upstream: Upstream, reply: Reply) -> Reply:
    """The destination does not want to talk to us now: that is no verdict on a recipient, so never a 5xx (T23)."""
    log.warning("destination_refuses_sessions", destination=str(upstream.host), reply=str(reply))
    lost = upstream.lost
    upstream.quit()
    return lost or replies.DESTINATION_UNREACHABLE


def _first_word(reply: Reply) -> str:
    return reply.lines[0].partition(" ")[0] if reply.lines else ""
