"""Encryption of a new connection to a destination: STARTTLS, whose certificate is taken, what is done where it fails.

What `settings.Encryption` asks for, and what becomes of it:

    optional    STARTTLS where it is offered, with whatever certificate. If it fails, the next connections to that host
                are in clear for a while, as with Postfix's level `may`; the operator is told
    otherwise   nothing but EHLO and QUIT is ever said in clear, and there is no way back from that (T34)

A Unix socket needs none of it: nobody is between.

RFC 3207; RFC 7435 (why encryption without a judged certificate is better than none); RFC 8314 §3 (implicit TLS).
"""

from __future__ import annotations

from typing import Final

from structlog import get_logger

from moxy.net.tlsclient import agreed
from moxy.outbound.ground import Ground
from moxy.outbound.settings import Encryption
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

IN_CLEAR: Final = 300.0
"""Seconds for which a host whose optional TLS has failed is spoken with in clear, before it is tried again."""

log = get_logger("moxy.outbound")


async def encrypt(upstream: Upstream, wanted: Encryption, ground: Ground) -> Reply | None:
    """STARTTLS, if the destination has announced it. None: go on, encrypted or not; else what the client is told.

    Who goes on encrypted must say EHLO again.
    """
    host = upstream.name
    if "STARTTLS" not in upstream.extensions:
        if wanted.optional:
            return None
        ground.complain("tls_not_offered", destination=host)
        upstream.quit()
        return replies.TLS_NOT_OFFERED
    if wanted.optional and wanted.client.avoids(host, ground.loop.time()):
        return None
    (reply,) = await upstream.exchange((b"STARTTLS",), ground.reply)
    if reply.code != 220:
        return _refused(upstream, reply, wanted, ground)
    reason = await upstream.encrypt(wanted.client, name(upstream, wanted), ground.connect)
    if reason:
        return _failed(upstream, reason, wanted, ground)
    return judge(upstream, wanted, ground)


def judge(upstream: Upstream, wanted: Encryption, ground: Ground) -> Reply | None:
    """After a handshake: is the certificate one that we take? None if it is; else what the client is told."""
    connection = upstream.tls
    if connection is None:
        return upstream.lost or replies.DESTINATION_LOST
    objection = wanted.client.objection(connection)
    if objection:
        return _failed(upstream, objection, wanted, ground)
    trust = wanted.client.trust
    upstream.verified = trust.judged or bool(trust.pins)
    terms = agreed(connection)
    log.debug("encrypted", destination=upstream.name, verified=upstream.verified, **terms._asdict())
    return None


def remember(upstream: Upstream, wanted: Encryption) -> None:
    """The destination has spoken inside TLS: the next connection may take the session up again."""
    connection = upstream.tls
    if connection is not None and upstream.lost is None:
        wanted.client.remember(upstream.name, name(upstream, wanted), connection)


def name(upstream: Upstream, wanted: Encryption) -> str:
    """Whose certificate we want to see."""
    return wanted.name or upstream.host.name


def _refused(upstream: Upstream, reply: Reply, wanted: Encryption, ground: Ground) -> Reply | None:
    """The destination has offered STARTTLS, and does not do it."""
    told = {"destination": upstream.name, "reply": str(reply)}
    if upstream.lost is not None:
        ground.complain("tls_refused", **told)
        return upstream.lost
    if wanted.optional:
        log.warning("tls_refused", **told, then="in clear")
        return None
    ground.complain("tls_refused", **told)
    upstream.quit()
    return replies.TLS_FAILED


def _failed(upstream: Upstream, reason: str, wanted: Encryption, ground: Ground) -> Reply:
    host = upstream.name
    wanted.client.forget(host, name(upstream, wanted))
    upstream.lose(replies.TLS_FAILED)
    if wanted.optional and upstream.lost is replies.TLS_FAILED:  # and not for what was injected, or a deadline
        log.warning("tls_failed", destination=host, reason=reason, then=f"in clear for {IN_CLEAR:g} s")
        wanted.client.avoid(host, ground.loop.time() + IN_CLEAR)
    else:
        ground.complain("tls_failed", destination=host, reason=reason)
    return upstream.lost or replies.TLS_FAILED
