"""How a connection to a destination comes about: its addresses, TCP or a Unix socket. Then it is introduced."""

from __future__ import annotations

import asyncio
from functools import partial

from structlog import get_logger

from moxy.mail import Host, Session
from moxy.mail.route import SMTP_PORT
from moxy.outbound.handover import HEADERS, facts, header
from moxy.outbound.introduction import introduce
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Ground, Owner, Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

log = get_logger("moxy.outbound")


async def connect(
    host: Host, ground: Ground, owner: Owner, settings: Settings, session: Session, deadline: float
) -> Upstream | Reply:
    """Connect to `host` and be introduced to it until `deadline`; returns the reply for the client where that fails.

    It is for the client of `session` alone where `settings.lease` says so, else for everybody.

    Needs a task to run in.
    """
    loop = ground.loop
    if settings.protocol == "lmtp" and host.port == SMTP_PORT:
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
        upstream.carries = facts(settings, session)
        if settings.identity in HEADERS:
            upstream.preface(header(settings, session))
        timer = loop.call_at(deadline, upstream.lose, replies.DESTINATION_SILENT)
        try:
            return await introduce(upstream, found, ground, settings, session)
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


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
