"""MAIL and RCPT as one destination understands them, and what is due where it lacks an extension.

They are built anew for each connection, of what the client asked for and what was announced there (contract T7). What a
destination lacks is left out where the message means the same without it, and is the answer at RCPT where it does not:

    BODY=8BITMIME           550 5.6.3, or left out by choice (`eight_bit`)                      RFC 6152 §3, T9
    BODY=BINARYMIME         550 5.6.3                                                           RFC 3030 §3, T12
    SMTPUTF8                550 5.6.7                                                           RFC 6531 §3.5, T10
    REQUIRETLS              550 5.7.30, also where TLS proves nobody's name                     RFC 8689 §4.2.1, T15
    NOTIFY=SUCCESS, NEVER   451 4.3.3: we would owe a report, or cannot keep others from it     RFC 3461 §5.2, T16
    BY, HOLDFOR, HOLDUNTIL, MT-PRIORITY     451 4.3.3
    NOTIFY=FAILURE, DELAY, RET, ENVID, ORCPT    left out: without them the same is done         RFC 3461 §5.2
    AUTH=                   left out, unless we have authenticated ourselves there              RFC 4954 §5

451, because what can be done without is offered only while all destinations have it (T8): the client that comes again
is not offered it.

Bugs: BY and HOLDFOR pass as they are, although some seconds of them may be over: those between the client's MAIL and
its first recipient. Each of several destinations gives the reports that it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from moxy.mail import Envelope, Recipient
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.extension import Extensions
from moxy.smtp.parameter import BINARY, EXTENSION_OF, UTF8
from moxy.smtp.reply import Reply

REQUIRETLS: Final = "REQUIRETLS"

_DUE: Final[Mapping[str, Reply]] = {
    UTF8: replies.NO_SMTPUTF8,
    REQUIRETLS: replies.NO_REQUIRETLS,
    "BY": replies.NO_DELIVERBY,
    "HOLDFOR": replies.NO_FUTURERELEASE,
    "HOLDUNTIL": replies.NO_FUTURERELEASE,
    "MT-PRIORITY": replies.NO_MT_PRIORITY,
}
"""The parameters of MAIL that must not get lost, each with what is told where the destination lacks its extension."""

_NOT_BY_DEFAULT: Final = frozenset({"SUCCESS", "NEVER"})


def unfit(envelope: Envelope, recipients: Sequence[Recipient], upstream: Upstream, settings: Settings) -> Reply | None:
    """Why this message, or a recipient accepted for it elsewhere, cannot go over this connection; None: it can."""
    offered = upstream.extensions
    if envelope.body == "8BITMIME" and not offered.eight_bit and settings.eight_bit == "refuse":
        return replies.NO_8BITMIME
    if envelope.body == BINARY and not (BINARY in offered and "CHUNKING" in offered):
        return replies.NO_BINARYMIME
    for keyword in envelope.parameters:
        if keyword in _DUE and EXTENSION_OF[keyword] not in offered:
            return _DUE[keyword]
    if REQUIRETLS in envelope.parameters and not upstream.verified:
        return replies.NO_REQUIRETLS
    return next((reply for recipient in recipients if (reply := lacking(recipient, offered)) is not None), None)


def lacking(recipient: Recipient, offered: Extensions) -> Reply | None:
    """What is told to a recipient whose parameters must not get lost and would; None: they do not."""
    if "DSN" in offered or _NOT_BY_DEFAULT.isdisjoint(recipient.parameters.get("NOTIFY", "").upper().split(",")):
        return None
    return replies.NO_DSN


def mail_command(envelope: Envelope, upstream: Upstream, *, prdr: bool) -> bytes:
    """MAIL with the parameters that this destination understands. The connection is not `unfit`."""
    offered = upstream.extensions
    line = f"MAIL FROM:<{envelope.reverse_path.text}>"
    if envelope.size and "SIZE" in offered:
        line += f" SIZE={envelope.size}"
    if envelope.body and (offered.eight_bit or envelope.body == BINARY):
        line += f" BODY={envelope.body}"
    if prdr:
        line += " PRDR"
    if envelope.parameters:
        line += _known(envelope.parameters, offered, authenticated=upstream.authenticated)
    return line.encode()


def rcpt_command(recipient: Recipient, offered: Extensions) -> bytes:
    """RCPT with the parameters that this destination understands."""
    line = f"RCPT TO:<{recipient.path.text}>"
    if recipient.parameters:
        line += _known(recipient.parameters, offered)
    return line.encode()


def _known(parameters: Mapping[str, str], offered: Extensions, *, authenticated: bool = False) -> str:
    """Those of the parameters whose extension is offered, as they are written behind a path."""
    line = ""
    for keyword, value in parameters.items():
        if authenticated if keyword == "AUTH" else EXTENSION_OF[keyword] in offered:
            line += f" {keyword}={value}" if value else f" {keyword}"
    return line
