"""How a connection to a destination comes about: its addresses, TCP or a Unix socket, implicit TLS. Then it is
introduced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from moxy.mail import Host, Session
from moxy.mail.route import SMTP_PORT
from moxy.net.tlsclient import explain, is_tls
from moxy.outbound.encryption import name
from moxy.outbound.ground import Ground
from moxy.outbound.handover import HEADERS, header, identity
from moxy.outbound.introduction import introduce
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Owner, Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply


async def connect(
    host: Host, ground: Ground, owner: Owner, settings: Settings, session: Session, deadline: float
) -> Upstream | Reply:
    """Connect to `host` and be introduced to it until `deadline`; returns the reply for the client where that fails.

    It is for the client of `session` alone where `settings.lease` says so, else for everybody.

    Needs a task to run in.
    """
    if settings.protocol == "lmtp" and host.port == SMTP_PORT:
        ground.complain("not_connected", destination=str(host), reason="LMTP is not for port 25")  # RFC 2033 §5
        return replies.DESTINATION_UNREACHABLE
    try:
        found = await _addresses(host, ground, deadline)
    except (OSError, UnicodeError, TimeoutError) as error:
        ground.complain("name_not_resolved", destination=str(host), reason=explain(error))
        return replies.DESTINATION_UNREACHABLE
    attempt = _Attempt(host, found, ground, owner, settings, session, deadline)
    for address in found:
        result = await attempt.at(address)
        if result is replies.TLS_FAILED and settings.encryption is not None and settings.encryption.optional:
            result = await attempt.at(address)  # in clear: the host is avoided now, and the client waits for an answer
        if result is not None:
            return result
    return replies.DESTINATION_UNREACHABLE


@dataclass(slots=True)
class _Attempt:
    """What is the same for all addresses of a host."""

    host: Host
    found: list[str]
    ground: Ground
    owner: Owner
    settings: Settings
    session: Session
    deadline: float

    async def at(self, address: str) -> Upstream | Reply | None:
        """One address; None: another may answer."""
        host, ground, settings = self.host, self.ground, self.settings
        upstream = Upstream(host, ground, self.owner)
        try:
            async with asyncio.timeout(
                _patience(ground, self.deadline)
            ):  # `wait_for` of 3.11 may swallow a cancellation
                transport = await self._open(upstream, address)
        except asyncio.CancelledError:
            upstream.lose(replies.DESTINATION_LOST)
            raise
        except (OSError, TimeoutError) as error:
            ground.complain("not_connected", destination=str(host), address=address, reason=explain(error))
            return replies.TLS_FAILED if is_tls(error) else None
        if _is_ourselves(host, transport, ground):
            upstream.lose(replies.LOOP_TO_SELF)
            return replies.LOOP_TO_SELF
        upstream.carries = identity(settings, self.session)
        if settings.identity in HEADERS and not self._implicit:
            upstream.preface(header(settings, self.session))
        timer = ground.loop.call_at(self.deadline, upstream.lose, replies.DESTINATION_SILENT)
        try:
            introduction = introduce(upstream, self.found, ground, settings, self.session)
            return await (_interruptible(upstream, introduction) if ground.probing else introduction)
        finally:
            timer.cancel()

    @property
    def _implicit(self) -> bool:
        encryption = self.settings.encryption
        return encryption is not None and encryption.implicit and not self.host.local

    async def _open(self, upstream: Upstream, address: str) -> asyncio.BaseTransport:
        """Connect to one address of the host. Raises OSError."""
        protocol = self.ground.overhear(upstream)
        loop, host, encryption = self.ground.loop, self.host, self.settings.encryption
        if host.local:
            transport, _ = await loop.create_unix_connection(lambda: protocol, address)
        elif encryption is not None and encryption.implicit:
            preface = header(self.settings, self.session) if self.settings.identity in HEADERS else b""
            place = (address, host.port)
            return await encryption.client.connect(protocol, place, str(host), name(upstream, encryption), preface)
        else:
            transport, _ = await loop.create_connection(lambda: protocol, address, host.port)
        return transport


async def _interruptible(upstream: Upstream, introduction: Coroutine[Any, Any, Upstream | Reply]) -> Upstream | Reply:
    """A probe may be cancelled. An `Answer` cannot be, but a connection that is lost gives all that are due."""
    task = asyncio.ensure_future(introduction)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        upstream.lose(replies.DESTINATION_LOST)
        raise
    return task.result()


async def _addresses(host: Host, ground: Ground, deadline: float) -> list[str]:
    """Where to find the host. Raises OSError, UnicodeError and TimeoutError where nobody can tell."""
    return [host.name] if host.local else await ground.names.addresses(host.name, _patience(ground, deadline))


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
