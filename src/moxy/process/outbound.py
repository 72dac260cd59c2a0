"""The sending side from a configuration: how destinations are spoken with, and what is known and learned of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import NamedTuple

from moxy.config import schema
from moxy.config.extensions import AUTO
from moxy.net.deadlines import Sweeper
from moxy.net.overhearing import overheard, unheard
from moxy.outbound.directory import SmtpDirectory
from moxy.outbound.ground import Ground
from moxy.outbound.prober import Prober
from moxy.outbound.profile import Profile
from moxy.process.destinations import build_settings
from moxy.process.tables import listed_routes
from moxy.routes import RouteTable


class Outbound(NamedTuple):
    """The sending side of one event loop."""

    directory: SmtpDirectory
    profile: Profile
    prober: Prober


def build_outbound(
    config: schema.Config,
    tables: RouteTable,
    listening: frozenset[tuple[str, int]],
    loop: asyncio.AbstractEventLoop,
    sweeper: Sweeper,
) -> Outbound:
    """For one of the configuration's workers. `listening` is where we do.

    Raises ConfigError for certificates and secrets that cannot be used.
    """
    times = config.timeouts
    pinned = None if config.extensions == AUTO else frozenset(config.extensions)
    profile = Profile(pinned)
    ground = Ground(
        hostname=config.hostname,
        sweeper=sweeper,
        loop=loop,
        hide=config.hide_destinations,
        listening=listening,
        connect=times.connect,
        connect_total=times.connect_total,
        reply=times.reply,
        data=times.data,
        idle=times.idle,
        prove=times.prove,
        overhear=overheard("destination", "C") if config.operator_log.level == "debug" else unheard,
        profile=profile,
    )
    directory = SmtpDirectory(ground, *build_settings(config))
    asked = config.probe and pinned is None  # of a pinned offer there is nothing to learn
    prober = Prober(directory, profile, partial(listed_routes, config, tables) if asked else tuple, config.workers)
    return Outbound(directory, profile, prober)
