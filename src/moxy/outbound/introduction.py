"""How a new connection to a destination begins, step by step, and what it calls itself.

    greeting, EHLO or LHLO, [STARTTLS, EHLO], [AUTH], [XCLIENT, EHLO]

RFC 5321 §3.1, §3.2; RFC 2033 §4.1; RFC 3207 §4.2.
"""

from __future__ import annotations

from typing import Final

from structlog import get_logger

from moxy.mail import Session
from moxy.outbound.authentication import log_in
from moxy.outbound.encryption import encrypt, judge, remember
from moxy.outbound.ground import Ground
from moxy.outbound.handover import hello_name, own_name, xclient
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

GREETED: Final = 220

log = get_logger("moxy.outbound")


async def introduce(
    upstream: Upstream, addresses: list[str], ground: Ground, settings: Settings, session: Session
) -> Upstream | Reply:
    """Await the greeting, say EHLO, and take the steps that `settings` ask for.

    Returns the connection, fit for transactions, or the reply for the client. `addresses` are the host's.
    """
    hello = _Hello(upstream, ground, settings, session)
    refusal = await _begin(upstream, hello, ground, settings)
    if refusal is None and settings.login is not None:
        refusal = await log_in(upstream, settings.login, ground)
    if refusal is None and settings.identity == "xclient":
        refusal = await _speak_for(upstream, hello.verb, ground, session)
    if refusal is not None:
        return refusal
    upstream.hide(hello.names(addresses))
    return upstream


async def _begin(upstream: Upstream, hello: _Hello, ground: Ground, settings: Settings) -> Reply | None:
    """As far as an answer to EHLO that can be believed. None, or the reply for the client."""
    wanted = None if upstream.host.local else settings.encryption
    if wanted is not None and wanted.implicit and (refusal := judge(upstream, wanted, ground)) is not None:
        return refusal
    (greeting,) = await upstream.greeting
    hello.heard(greeting)
    if greeting.code != GREETED:
        return _refused(upstream, greeting, ground)
    refusal = await hello.say()
    if wanted is None or refusal is not None:
        return refusal
    if not wanted.implicit:
        refusal = await encrypt(upstream, wanted, ground)
        if refusal is None and upstream.tls is not None:
            refusal = await hello.say()
    remember(upstream, wanted)
    return refusal


class _Hello:
    """EHLO or LHLO, as often as it takes, and what the server calls itself."""

    def __init__(self, upstream: Upstream, ground: Ground, settings: Settings, session: Session) -> None:
        self.verb = b"LHLO" if settings.protocol == "lmtp" else b"EHLO"
        self._upstream = upstream
        self._ground = ground
        self._name = hello_name(settings, session, ground.hostname).encode()
        self._spoken: set[str] = set()

    async def say(self) -> Reply | None:
        """EHLO, or HELO to a server that knows no EHLO; LHLO knows nothing else. None, or the reply for the client."""
        upstream = self._upstream
        (reply,) = await upstream.exchange((self.verb + b" " + self._name,), self._ground.reply)
        self.heard(reply)
        if reply.permanent and upstream.lost is None and self.verb == b"EHLO":
            (reply,) = await upstream.exchange((b"HELO " + self._name,), self._ground.reply)
            self.heard(reply)
        return None if reply.positive else _refused(upstream, reply, self._ground)

    def heard(self, reply: Reply) -> None:
        """A greeting, or an answer to EHLO: its first word is the server's name."""
        self._spoken.add(reply.lines[0].partition(" ")[0] if reply.lines else "")

    def names(self, addresses: list[str]) -> frozenset[str]:
        """What to hide: what looks like a host's name, or is said each time; "ESMTP" alone is no secret."""
        spoken = self._spoken
        names_of_it = {self._upstream.host.name, *addresses, *(word for word in spoken if "." in word or ":" in word)}
        if len(spoken) == 1:
            names_of_it |= spoken
        return frozenset(name.strip("[]").lower() for name in names_of_it)


async def _speak_for(upstream: Upstream, hello: bytes, ground: Ground, session: Session) -> Reply | None:
    """XCLIENT, and EHLO in the client's name, since a new EHLO is what counts after it (XCLIENT_README; T26).

    None, or the reply for the client.
    """
    commands = xclient(upstream.extensions.words("XCLIENT"), session)
    if not commands:
        return _unusable(upstream, "XCLIENT is not offered to us, or without ADDR")
    for command in commands:
        (reply,) = await upstream.exchange((command,), ground.reply)
        if reply.code != GREETED:
            return _unusable(upstream, f"XCLIENT is answered: {reply}")
    name = own_name(session, ground.hostname)
    (reply,) = await upstream.exchange((hello + b" " + name.encode(),), ground.reply)
    return None if reply.positive else _unusable(upstream, f"{hello.decode()} after XCLIENT is answered: {reply}")


def _unusable(upstream: Upstream, reason: str) -> Reply:
    """Without the client's identity nothing may be sent: the destination would judge by ours (T28)."""
    log.warning("identity_not_taken", destination=upstream.name, reason=reason)
    lost = upstream.lost
    upstream.quit()
    return lost or replies.IDENTITY_REFUSED


def _refused(upstream: Upstream, reply: Reply, ground: Ground) -> Reply:
    """The destination does not want to talk to us now: that is no verdict on a recipient, so never a 5xx (T23)."""
    ground.complain("destination_refuses_sessions", destination=upstream.name, reply=str(reply))
    lost = upstream.lost
    upstream.quit()
    return lost or replies.DESTINATION_UNREACHABLE
