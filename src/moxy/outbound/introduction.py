"""How a new connection to a destination begins: its greeting, our EHLO or LHLO, and what it calls itself.

RFC 5321 §3.1, §3.2; RFC 2033 §4.1.
"""

from __future__ import annotations

from structlog import get_logger

from moxy.mail import Session
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Ground, Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

log = get_logger("moxy.outbound")


async def introduce(
    upstream: Upstream, addresses: list[str], ground: Ground, settings: Settings, session: Session
) -> Upstream | Reply:
    """Await the greeting, say EHLO, or HELO to a server that knows no EHLO; LHLO knows nothing else.

    Returns the connection, fit for transactions, or the reply for the client. `addresses` are the host's.
    """
    del session
    hello = b"LHLO" if settings.protocol == "lmtp" else b"EHLO"
    (greeting,) = await upstream.greeting
    if greeting.code != 220:
        return _refused(upstream, greeting)
    hostname = ground.hostname.encode()
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
    return upstream


def _refused(upstream: Upstream, reply: Reply) -> Reply:
    """The destination does not want to talk to us now: that is no verdict on a recipient, so never a 5xx (T23)."""
    log.warning("destination_refuses_sessions", destination=str(upstream.host), reply=str(reply))
    lost = upstream.lost
    upstream.quit()
    return lost or replies.DESTINATION_UNREACHABLE


def _first_word(reply: Reply) -> str:
    return reply.lines[0].partition(" ")[0] if reply.lines else ""
