"""ForwardingDelivery: XFORWARD before MAIL, for the destination's log (`identity = "xforward"`; XFORWARD_README).

It holds for one transaction, so connections are shared as ever. It leaves in one write with MAIL. Where the destination
does not offer it, or refuses it, mail goes on without, and the operator is told once.
"""

from __future__ import annotations

from functools import partial

from structlog import get_logger

from moxy.mail import Recipient
from moxy.outbound.handover import xforward
from moxy.outbound.relay import RelayDelivery
from moxy.outbound.upstream import Upstream
from moxy.smtp.reply import Reply

log = get_logger("moxy.outbound")


class ForwardingDelivery(RelayDelivery):
    """One message on its way, with a word before it of who sent it to us."""

    __slots__ = ()

    async def _tell(self, upstream: Upstream, recipient: Recipient | None, *first: bytes) -> Reply:
        """MAIL and the recipients as ever. XFORWARD goes before MAIL, but behind the RSET that may be `first`."""
        patience = self._destination.ground.reply
        if first:
            upstream.request(first, patience, partial(_insist, upstream), ahead=True)
        commands = xforward(upstream.extensions.words("XFORWARD"), self._session, self._envelope.id)
        if commands:
            upstream.request(commands, patience, partial(self._heard, upstream), ahead=True)
        else:
            self._complain(upstream, "it does not offer XFORWARD to us")
        return await super()._tell(upstream, recipient)

    def _heard(self, upstream: Upstream, answers: list[Reply]) -> None:
        refused = next((answer for answer in answers if answer.permanent), None)
        if refused is not None:
            self._complain(upstream, f"XFORWARD is answered: {refused}")

    def _complain(self, upstream: Upstream, reason: str) -> None:
        unforwarded = self._destination.ground.unforwarded
        if upstream.host not in unforwarded:
            unforwarded.add(upstream.host)
            log.warning("identity_not_taken", destination=upstream.name, reason=reason)


def _insist(upstream: Upstream, answers: list[Reply]) -> None:
    """What is left of a transaction must go before the next one begins."""
    if not answers[0].positive:
        upstream.lose(answers[0])
