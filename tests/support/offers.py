"""What a server offers in reply to EHLO, and waiting until it offers something."""

from __future__ import annotations

import smtplib

from support.moxy_process import Moxy
from support.ports import LOOPBACK
from support.processes import PATIENCE


def offers(port: int) -> dict[str, str]:
    """The keywords in lower case, with their arguments."""
    with smtplib.SMTP(LOOPBACK, port, "client.test", PATIENCE) as client:
        client.ehlo()
        return dict(client.esmtp_features)


def wait_for_offer(moxy: Moxy, keyword: str) -> None:
    """Wait until Moxy knows that its destinations have this extension."""
    moxy.wait_until(lambda: keyword.lower() in offers(moxy.port), f"{keyword} to be offered")
