"""From the replies of several destinations to the one reply that the client gets (contract D2, D3, D7). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from moxy.smtp import replies
from moxy.smtp.reply import Reply


def refusal(answers: Sequence[Reply]) -> Reply | None:
    """The refusal to report where all must agree: a 4xx before a 5xx, since a retry may still save all (D2)."""
    refused = [reply for reply in answers if not (reply.positive or reply.intermediate)]
    return next((reply for reply in refused if reply.transient), refused[0] if refused else None)


def verdict(answers: Sequence[Reply]) -> Reply:
    """The reply to the final dot, from those of all recipients.

    all accepted             the first reply
    none, some for now only  that 4xx
    none, all for good       the first 5xx
    some accepted            451: the client asks again for all (D7)
    """
    refused = refusal(answers)
    if refused is None:
        return answers[0]
    return replies.MIXED_VERDICTS if any(reply.positive for reply in answers) else refused
