"""From the replies of several destinations to what the client gets (contract D2, D3, D5, D7). Pure.

First the verdict on each recipient, from its own destinations; then one reply for all recipients, where the client can
take only one. None stands for a destination that was not asked, and for a recipient whose verdict is therefore open.
"""

from __future__ import annotations

from collections.abc import Sequence

from moxy.smtp import replies
from moxy.smtp.reply import Reply


def refusal(answers: Sequence[Reply | None]) -> Reply | None:
    """The refusal to report where all must agree: a 4xx before a 5xx, since a retry may still save all (D2)."""
    refused = None
    for reply in answers:
        if reply is not None and reply.code >= 400:
            if reply.transient:
                return reply
            refused = refused or reply
    return refused


def of_recipient(answers: Sequence[Reply | None]) -> Reply | None:
    """The verdict on one recipient, from the replies of all destinations that its mail goes to; None if it is open.

    One refusal is enough, whatever the others would have said (D2).
    """
    refused = refusal(answers)
    return refused if refused is not None or None in answers else answers[0]


def of_all(recipients: Sequence[Reply]) -> Reply:
    """What the replies for each recipient come to, for PRDR's last reply.

    Exim, as a client, takes a last 5xx for the verdict on all recipients, words and all, and a last 4xx for that on
    those who were accepted: so it is 2xx if anybody was, and 5xx only if it is the truth for all.
    """
    if all(reply.positive for reply in recipients):
        return replies.PRDR_ALL
    if any(reply.positive for reply in recipients):
        return replies.PRDR_SOME
    same = all(reply == recipients[0] for reply in recipients)
    return recipients[0] if same else replies.PRDR_NONE


def verdict(recipients: Sequence[Reply | None]) -> Reply:
    """The one reply to a final dot, from the verdicts on all recipients.

    all accepted                     the first reply
    nobody, the same for all         that reply, 4xx or 5xx
    nobody, a 4xx among them         that 4xx: all of them are to come again
    nobody, else                     451: a 5xx would be the truth for some only
    some, but not all                451: the client asks again, and hears the truth about each (D7)
    """
    first = recipients[0]
    if first is not None:
        if all(reply is not None and reply.positive for reply in recipients):
            return first
        if all(reply == first for reply in recipients):
            return first
    refused = refusal(recipients)
    accepted = any(reply is not None and reply.positive for reply in recipients)
    return replies.MIXED_VERDICTS if accepted or refused is None or refused.permanent else refused
