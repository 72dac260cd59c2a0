"""How many recipients a destination takes, as it announced them with LIMITS (RFC 9422 §4.2, §4.3).

RCPTMAX counts the RCPT commands of a transaction, RCPTDOMAINMAX the different domains in those of a session; refused
ones count too. Whoever is too many is told 452 and comes again: nobody is lost. (MAILMAX bounds the transactions of a
connection, see `Upstream.spent`.)
"""

from __future__ import annotations

from collections.abc import Sequence

from moxy.mail import Recipient
from moxy.outbound.upstream import Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply


def beyond(upstream: Upstream, recipients: Sequence[Recipient]) -> Reply | None:
    """What to tell if so many more are too many for the transaction that is open on this connection."""
    offered = upstream.extensions
    if offered.recipients and upstream.asked + len(recipients) > offered.recipients:
        return replies.TOO_MANY_RECIPIENTS
    if offered.domains and len(upstream.domains.union(_domains(recipients))) > offered.domains:
        return replies.TOO_MANY_DOMAINS
    return None


def count(upstream: Upstream, recipients: Sequence[Recipient]) -> None:
    """They are about to be asked for."""
    if not upstream.extensions.bounded:
        return
    upstream.asked += len(recipients)
    if upstream.extensions.domains:
        upstream.domains.update(_domains(recipients))


def _domains(recipients: Sequence[Recipient]) -> list[str]:
    return [recipient.path.domain for recipient in recipients]
