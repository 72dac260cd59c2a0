"""AUTH: a new connection to a destination that wants to know who we are (RFC 4954).

Rules:
- The first of our mechanisms that is offered is used; the next one only where the server finds that one too weak, or
  does not know it after all. A secret that was refused is not tried again by other means.
- The secret itself is told only where nobody can listen: inside TLS, and on a Unix socket.
- Without AUTH no mail: a destination that does not let us in is a 4xx to the client, whatever it says. The operator is
  told why.
- No secret is in what is logged.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from structlog import get_logger

from moxy.outbound.ground import Ground
from moxy.outbound.settings import Login
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies, sasl
from moxy.smtp.reply import Reply
from moxy.smtp.sasl import PLAINTEXT, SaslError

COMMAND_OCTETS: Final = 510
"""The longest AUTH command without CRLF (RFC 5321 §4.5.3.1.4): a longer initial response waits for a 334."""

NOT_THIS_MECHANISM: Final = frozenset({504, 534})
"""Replies to a mechanism, not to who we are (RFC 4954 §4, §6)."""

NONCE_OCTETS: Final = 24

CANCEL: Final = b"*"

log = get_logger("moxy.outbound")


async def log_in(upstream: Upstream, login: Login, ground: Ground) -> Reply | None:
    """Tell the destination who we are. None if it believes us; else what the client is told."""
    private = login.in_clear or upstream.host.local or upstream.tls is not None
    offered = upstream.extensions.words("AUTH")
    usable = [name for name in login.mechanisms if name in offered and (private or name not in PLAINTEXT)]
    reason, refusal = _why_none(login, offered), replies.NOT_LET_IN
    for mechanism in usable:
        try:
            reply = await _exchange(upstream, mechanism, login, ground.reply)
        except SaslError as error:
            reason = str(error)
            await upstream.respond(CANCEL, ground.reply)
            break
        if reply.code == 235:
            upstream.authenticated = True
            return None
        reason = _without_secret(reply, login)
        refusal = replies.NOT_LET_IN_NOW if reply.transient else replies.NOT_LET_IN
        if reply.code not in NOT_THIS_MECHANISM:
            break
    ground.complain("not_let_in", destination=upstream.name, user=login.user, reason=reason)
    lost = upstream.lost
    upstream.quit()
    if lost is replies.DESTINATION_LOST and usable:  # perhaps it was told, and has closed without a word
        return replies.NOT_LET_IN
    return lost or refusal


async def _exchange(upstream: Upstream, mechanism: str, login: Login, patience: float) -> Reply:
    """The verdict on one attempt. Raises SaslError, while the server waits for an answer or may, where it errs."""
    nonce = base64.b64encode(secrets.token_bytes(NONCE_OCTETS)).decode()
    machine = sasl.begin(mechanism, login.user, login.secret, nonce)
    command = b"AUTH " + mechanism.encode()
    initial = machine.initial
    if initial is not None:
        whole = command + b" " + (sasl.response(initial) or b"=")
        if len(whole) <= COMMAND_OCTETS:
            command, initial = whole, None
    (reply,) = await upstream.exchange((command,), patience)
    while reply.code == 334:
        octets = sasl.challenge(reply.lines[0])
        if initial is None:
            octets = machine.answer(octets)
        else:
            octets, initial = initial, None
        (reply,) = await upstream.respond(sasl.response(octets), patience)
    if reply.code == 235 and not machine.complete:
        return Reply(535, "7.8", "it says 235, and has not proved that it knows the secret")
    return reply


def _why_none(login: Login, offered: frozenset[str]) -> str:
    if not offered:
        return "AUTH is not offered"
    return f"of {', '.join(login.mechanisms)} none that is safe here is offered"


def _without_secret(reply: Reply, login: Login) -> str:
    """What the server says, unless it repeats what only it should know: as it is, or as it stood on our line."""
    text = str(reply)
    secret = login.secret.encode()
    sent = (sasl.response(secret), sasl.response(sasl.plain(login.user, login.secret)))
    repeated = login.secret in text or any(line.decode() in text for line in sent)
    return f"{reply.code} {reply.enhanced}".rstrip() if repeated else text
