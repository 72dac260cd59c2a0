"""The sections `[limits]` and `[timeouts]` of the schema. As in `schema`, the text under a field documents the key.

Sources of the numbers: contract §4, RFC 5321 §4.5.3.
"""

from typing import Annotated

from pydantic import Field, model_validator

from moxy.config.types import Count, Duration, Form, Section, Size, contradiction
from moxy.smtp import limits

Bound = Annotated[int, Field(ge=0, le=limits.ANNOUNCED), Form("number", str)]


class Limits(Section):
    """How much a client may ask for."""

    message_size: Annotated[Size, Field(ge=65536)] = limits.MESSAGE_SIZE
    """The largest message in octets, announced as SIZE (RFC 1870). Never under 64 KiB (RFC 5321 §4.5.3.1.7). Content
    is cut off a sixty-fourth above it, since clients can only estimate (RFC 1870 §3)."""

    recipients: Annotated[Count, Field(ge=100)] = limits.RECIPIENTS
    """Recipients asked for in one transaction; further ones are answered 452. Announced (RFC 9422). Never under 100
    (RFC 5321 §4.5.3.1.8)."""

    transactions: Bound = 0
    """Messages begun in one session, failed ones too; who wants more is sent away with 421, and may connect again.
    Announced (RFC 9422). 0: no limit."""

    domains: Bound = 0
    """Domains of recipients in one session, refused ones too; recipients in further ones are answered 451. Announced
    (RFC 9422). 0: no limit."""

    hops: Count = 50
    """`Received` fields in a message before it is taken for one that goes in circles (RFC 5321 §6.3)."""

    bad_commands: Count = 10
    """Mistaken commands in one session before it is closed with 421."""

    sessions: Count = 10_000
    """Clients connected at once; further ones are greeted with 421."""

    command_line: Annotated[Count, Field(ge=512)] = limits.COMMAND_LINE
    """The longest command line in octets with its line end: 512 and room for extensions (RFC 5321 §4.5.3.1.4)."""


class Timeouts(Section):
    """How long Moxy waits: for clients as RFC 5321 §4.5.3.2 asks, for destinations less than clients wait for us."""

    hello: Duration = 30.0
    """For a client's first EHLO or HELO. Short: who connects and says nothing is no mail server."""

    command: Duration = 300.0
    """For each of a client's commands (RFC 5321 §4.5.3.2.7)."""

    block: Duration = 180.0
    """For the next block of a client's message (RFC 5321 §4.5.3.2.5)."""

    content: Duration = 1800.0
    """For a client's whole message. Bounds what a client that sends a little now and then can hold."""

    minimum_rate: Annotated[int, Field(ge=0, le=2**31 - 1), Form("number", str)] = 500
    """Octets a second that a client's message must keep up over any minute. 0: no minimum."""

    connect: Duration = 5.0
    """For a connection to one host of a destination. Short, for the next host may answer."""

    connect_total: Duration = 20.0
    """For connections to all hosts of a destination together, while the client waits for the answer to RCPT."""

    reply: Duration = 60.0
    """For a destination's greeting and its answers to EHLO, MAIL and RCPT."""

    data: Duration = 60.0
    """For a destination's answer to DATA. Clients wait two minutes (RFC 5321 §4.5.3.2.4)."""

    final: Duration = 480.0
    """For a destination's answer to the end of a message. Clients wait ten minutes (RFC 5321 §4.5.3.2.6)."""

    idle: Duration = 60.0
    """How long an unused connection to a destination is kept for the next message."""

    prove: Duration = 5.0
    """For the sign of life that a kept connection must give before it is used again."""

    drain: Duration = 30.0
    """How long transactions under way may take to finish when Moxy stops. After a reload, sessions that go on by the
    old configuration have as long before that.
    """

    @model_validator(mode="after")
    def _one_connection_fits_into_all(self) -> "Timeouts":
        if self.connect > self.connect_total:
            raise contradiction("one connection may not take longer than `connect_total` allows for all", "connect")
        return self
