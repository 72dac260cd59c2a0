"""A message given to a mail server that queues it, with whatever parameters a test wants in its envelope."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from typing import NamedTuple

from support.ports import LOOPBACK
from support.processes import PATIENCE

EIGHT_BIT = ("BODY=8BITMIME",)
"""The parameters of MAIL for content with octets above 127."""


class Letter(NamedTuple):
    """What a client is to send: content with CRLF and no dots stuffed, and parameters of MAIL and of each RCPT."""

    sender: str
    recipients: Sequence[str]
    content: bytes
    mail: Sequence[str] = EIGHT_BIT
    rcpt: Sequence[str] = ()


def submit(
    port: int,
    sender: str,
    recipients: Sequence[str],
    content: bytes,
    mail: Sequence[str] = EIGHT_BIT,
    rcpt: Sequence[str] = (),
) -> str:
    """Give a server on this port of loopback a message, which it must accept for all; what it said in the end."""
    with smtplib.SMTP(LOOPBACK, port, "localhost", PATIENCE) as client:
        client.ehlo()
        code, text = client.mail(sender, mail)
        assert code == 250, text
        for recipient in recipients:
            code, text = client.rcpt(recipient, rcpt)
            assert code == 250, text
        code, text = client.data(content)
    assert code == 250, text
    return text.decode()
