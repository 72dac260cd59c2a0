"""Account: what a transaction tells the accounting: a record for each delivery, or for each of its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moxy.accounting.record import Outcome, Record
from moxy.delivery import Delivery
from moxy.inbound.leg import Leg
from moxy.ledger import State
from moxy.mail import Envelope, Recipient, Session
from moxy.smtp.reply import Reply

if TYPE_CHECKING:
    from moxy.inbound.service import Service

_OUTCOMES = {
    State.COMMITTED: Outcome.DELIVERED,
    State.UNKNOWN: Outcome.UNKNOWN,
    State.UNDELIVERED: Outcome.REFUSED,
}


class Account:
    """One transaction's way to the recorder. `octets` of content so far; after the dot, its size unstuffed."""

    __slots__ = ("_envelope", "_service", "_session", "_started", "octets")

    def __init__(self, service: Service, session: Session, envelope: Envelope) -> None:
        self._service = service
        self._session = session
        self._envelope = envelope
        self._started = service.clock()
        self.octets = 0

    def concluded(self, leg: Leg) -> None:
        """A destination has given its verdicts, or none although it was sent a dot."""
        for state, reply, recipients in leg.groups():
            self.record(leg.delivery, _OUTCOMES[state], reply, recipients)

    def refused(self, leg: Leg, reply: Reply) -> None:
        """A destination has refused before the dot, or is to get none."""
        leg.delivery.abort()
        leg.conclude([reply] * len(leg.delivery.recipients))
        self.concluded(leg)

    def given_up(self, leg: Leg, why: Reply) -> None:
        """A delivery is closed without a dot, for its own reason if it has one."""
        failure = leg.delivery.failure
        leg.delivery.abort()
        outcome = Outcome.ABORTED if failure is None else Outcome.REFUSED
        self.record(leg.delivery, outcome, failure or why, leg.delivery.recipients)

    def record(self, delivery: Delivery, outcome: Outcome, reply: Reply, recipients: Sequence[Recipient]) -> None:
        """A delivery has come to `outcome` for these recipients."""
        session, service, envelope = self._session, self._service, self._envelope
        now = service.clock()
        service.recorder.record(
            Record(  # in the order of its fields: their names would cost as much again
                now,
                session.id,
                envelope.id,
                session.client,
                session.client_port,
                session.hello,
                envelope.reverse_path.text,
                delivery.host,
                [recipient.path.text for recipient in recipients],
                self.octets,
                outcome,
                reply,
                now - self._started,
                session.security,
            )
        )
