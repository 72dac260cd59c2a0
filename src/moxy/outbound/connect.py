"""How a connection to a destination comes about: its addresses, TCP or a Unix socket, the greeting, and EHLO or LHLO.

RFC 5321 §3.1, §3.2; RFC 2033 §4.1.
"""

from __future__ import annotations

import asyncio
from functools import partial

from structlog import get_logger

from moxy.mail import Host
from moxy.mail.route import SMTP_PORT
from moxy.outbound.upstream import Ground, Owner, Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

log = get_logger("moxy.outbound")


async def connect(host: Host, ground: Ground, owner: Owner, deadline: float, *, lmtp: bool = False) -> Upstream | Reply:
    """Connect to `host` and shake hands until `deadline`; returns the reply for the client where that fails.

    Needs a task to run in.
    """
    loop = ground.loop
    if lmtp and host.port == SMTP_PORT:
        log.warning("not_connected", destination=str(host), reason="LMTP is not for port 25")  # RFC 2033 §5
        return replies.DESTINATION_UNREACHABLE
    try:
        found = await _addresses(host, ground, deadline)
    except (OSError, UnicodeError, TimeoutError) as error:
        log.warning("name_not_resolved", destination=str(host), reason=_reason(error))
        return replies.DESTINATION_UNREACHABLE
    for address in found:
        upstream = Upstream(host, ground, owner)
        try:
            transport = await asyncio.wait_for(_open(upstream, address, ground), _patience(ground, deadline))
        except (OSError, TimeoutError) as error:
            log.warning("not_connected", destination=str(host), address=address, reason=_reason(error))
            continue
        if _is_ourselves(host, transport, ground):
            upstream.lose(replies.LOOP_TO_SELF)
            return replies.LOOP_TO_SELF
        timer = loop.call_at(deadline, upstream.lose, replies.DESTINATION_SILENT)
        try:
            return await _shake_hands(upstream, found, ground, b"LHLO" if lmtp else b"EHLO")
        finally:
            timer.cancel()
    return replies.DESTINATION_UNREACHABLE


async def _addresses(host: Host, ground: Ground, deadline: float) -> list[str]:
    """Where to find the host. Raises OSError, UnicodeError and TimeoutError where nobody can tell."""
    return [host.name] if host.local else await ground.names.addresses(host.name, _patience(ground, deadline))


async def _open(upstream: Upstream, address: str, ground: Ground) -> asyncio.BaseTransport:
    """Connect to one address of the host. Raises OSError."""
    protocol = partial(ground.overhear, upstream)
    if upstream.host.local:
        transport, _ = await ground.loop.create_unix_connection(protocol, address)
        return transport
    transport, _ = await ground.loop.create_connection(protocol, address, upstream.host.port)
    return transport


def _patience(ground: Ground, deadline: float) -> float:
    """Seconds for the next attempt: its own, but no more than are left of the whole (T38)."""
    return max(0.0, min(ground.connect, deadline - ground.loop.time()))


def _is_ourselves(host: Host, transport: asyncio.BaseTransport, ground: Ground) -> bool:
    """Did we reach one of our own listeners? Then the route loops (T44)."""
    if host.local:
        bound = transport.get_extra_info("peername")  # as its server calls it; the path that we know may be a link
        return not ground.listening.isdisjoint({(bound, 0), (host.name, 0)})
    peer = (transport.get_extra_info("peername") or ("", 0))[:2]
    own = (transport.get_extra_info("sockname") or ("", 0))[:2]
    if tuple(peer) in ground.listening:
        return True
    everywhere = "::" if ":" in peer[0] else "0.0.0.0"  # noqa: S104 - compared, not bound
    here = peer[0] == own[0] or peer[0].startswith("127.")
    return here and (everywhere, peer[1]) in ground.listening


async def _shake_hands(upstream: Upstream, addresses: list[str], ground: Ground, hello: bytes) -> Upstream | Reply:
    """Await the greeting, say EHLO, or HELO to a server that knows no EHLO (RFC 5321 §3.2); LHLO knows nothing else."""
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


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
