"""`moxy check --probe`: ask the destinations what they offer, and tell what clients would be offered because of it.

It is the server's own prober that asks, once, and without a word of mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from structlog.testing import capture_logs

from moxy.config.extensions import OFFERED
from moxy.config.schema import Config
from moxy.net.deadlines import Sweeper
from moxy.process.outbound import Outbound, build_outbound
from moxy.process.tables import build_tables

PATIENCE: Final = 60.0
"""Seconds for all destinations together."""


def probed(config: Config) -> list[str]:
    """What is offered, and what keeps the rest from being offered, in lines. Raises ConfigError for unusable tables."""
    asked = config.model_copy(update={"probe": True, "workers": 1})
    with capture_logs():  # all that goes wrong is among the lines
        outbound = asyncio.run(_ask(asked))
    return list(_told(outbound))


async def _ask(config: Config) -> Outbound:
    loop, sweeper = asyncio.get_running_loop(), Sweeper()
    tables = build_tables(config)
    outbound = build_outbound(config, tables, frozenset(), loop, sweeper)
    sweeper.start(loop)
    await outbound.prober.first_round(PATIENCE)
    outbound.prober.stop()
    outbound.directory.close()
    sweeper.stop()
    tables.close()
    return outbound


def _told(outbound: Outbound) -> Iterator[str]:
    profile = outbound.profile
    offered = [keyword for keyword in OFFERED if keyword in profile.offered]
    yield f"offered to clients: {' '.join(offered) or 'nothing that destinations may lack'}"
    for keyword in OFFERED:
        if reason := profile.why_not(keyword):
            yield f"{keyword} is not offered: {reason}"
    for host, reason in dict.fromkeys(outbound.prober.unreached):
        words = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in reason)
        yield f"{host} {words}"
