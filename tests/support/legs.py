"""Legs of a transaction, made by hand: deliveries into nothing, with recipients, a name and a past."""

from __future__ import annotations

from moxy.delivery import Flow
from moxy.delivery.sink import SinkDestination
from moxy.inbound.leg import NO_PAST, Leg, Past
from moxy.mail import Envelope, Recipient, Session
from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.reply import Reply

YES = Reply(250, "0.0", "taken")
LATER = Reply(450, "7.1", "later")
NEVER = Reply(550, "7.1", "never")
LOST = Reply(451, "4.2", "lost")


def leg(
    *recipients: str | Recipient,
    name: str = "one",
    refusals: int = 0,
    delay: float = 0.0,
    past: Past = NO_PAST,
) -> Leg:
    """A leg whose recipients have been accepted."""
    envelope = Envelope("T1", ReversePath.parse("ann@client.test"))
    delivery = SinkDestination(lambda _: None).open(
        Session("S1", "192.0.2.1"), envelope, Flow(lambda: None, lambda: None)
    )
    delivery.name = name
    delivery.host = f"{name}:25"
    delivery.refusals = refusals
    delivery.delay = delay
    delivery.recipients += [recipient(known) if isinstance(known, str) else known for known in recipients]
    return Leg(name, delivery, past)


def recipient(address: str) -> Recipient:
    return Recipient(ForwardPath.parse(address))
